"""Strips of ECG paper, one below the other: single leads of several records, or of one record in several states."""

import numpy as np
from matplotlib.patches import Rectangle

from cardiov.plots.style import INK, LEVEL_COLOURS, panels, styled

_MARGIN = 0.6  # mV above and below a trace


@styled
def ecg_strips(strips, title=None):
    """Draw strips of single leads on squares of 0.2 s and 0.5 mV.

    Parameters
    ----------
    strips : sequence of (str, array, float, tuple of two float or None)
        Words above the strip, the lead of shape (n,) in mV, its rate in Hz, and from when to when, in s, it is boxed.
    """
    heights = [np.ptp(lead) + 2 * _MARGIN for _, lead, *_ in strips]
    seconds = max(len(lead) / fs for _, lead, fs, _ in strips)
    mm = 165 / seconds * 0.4  # of one mV, so that a square is one
    height = sum(heights) * mm + 8 * len(strips) + 14
    figure, grid = panels(180, height, rows=len(strips), title=title, sharex=True, height_ratios=heights)
    for axes, (words, lead, fs, box) in zip(grid[:, 0], strips, strict=True):
        _strip(axes, lead, fs, box)
        axes.set_title(words, loc="left")
        axes.set_xlim(0, seconds)
    axes.set_xlabel("time (s); squares of 0.2 s × 0.5 mV")
    return figure


def _strip(axes, lead, fs, box):
    bottom, top = lead.min() - _MARGIN, lead.max() + _MARGIN
    axes.plot(np.arange(len(lead)) / fs, lead, color=INK, lw=0.7)
    axes.set(ylim=(bottom, top), yticks=[])
    axes.set_xticks(np.arange(0, len(lead) / fs + 0.01, 0.2), minor=True)
    axes.set_yticks(np.arange(np.ceil(2 * bottom) / 2, top, 0.5), minor=True)
    axes.grid(which="both", color="#ea9a9a", lw=0.4)
    axes.tick_params(which="minor", length=0)
    if box:
        axes.add_patch(Rectangle((box[0], bottom), box[1] - box[0], top - bottom, fill=False, ec=LEVEL_COLOURS[3], lw=1.5, zorder=3))
