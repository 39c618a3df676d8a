"""ECGs on paper: 25 mm/s, 10 mm/mV, at true scale."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from cardiov.ecg.leads import LEADS
from cardiov.plots.style import HEAT, INK, styled

MM_PER_S, MM_PER_MV = 25, 10  # the standard paper speed and gain
_ROW_MM, _COLUMN_S, _COLUMNS = 32, 2.5, 4
_PULSE = np.array([[0, 1.5, 1.5, 6.5, 6.5, 8], [0, 0, 10, 10, 0, 0]])  # calibration: 1 mV for 0.2 s, in mm
_PULSE_MM = 8


def _paper(width, height):
    """An empty page of `width` x `height` mm, axes in mm, at true scale when printed."""
    figure = Figure(figsize=(width / 25.4, height / 25.4))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    for step, colour, line in ((1, "#f7cfcf", 0.35), (5, "#ea9a9a", 0.6)):
        upright = [[(x, 0), (x, height)] for x in range(0, int(width) + 1, step)]
        level = [[(0, y), (width, y)] for y in range(0, int(height) + 1, step)]
        axes.add_collection(LineCollection(upright + level, colors=colour, linewidths=line, zorder=0))
    return figure, axes


def _trace(axes, lead, signal, fs, x, y):
    """Draw one lead with its name, its first sample at (`x`, `y`) mm."""
    axes.plot(x + MM_PER_S * np.arange(len(signal)) / fs, y + MM_PER_MV * signal, color=INK, lw=0.7)
    halo = [withStroke(linewidth=2, foreground="white")]  # a trace may run through the name
    axes.text(x + 1, y + 11.5, lead, size="large", weight="bold", va="center", path_effects=halo)


@styled
def ecg_paper(signal, fs, title=None, leads=LEADS, heat=None):
    """Draw a 12-lead ECG as a printed page: 25 mm/s, 10 mm/mV, 3 x 4 leads of 2.5 s each, and 10 s of lead II below.

    Parameters
    ----------
    signal : array, shape (12, n), in mV
    fs : float, in Hz
    leads : sequence of 12 str
        Names of the rows of `signal`, in the order of the page, column by column.
    heat : array, shape (m,), from 0 to 1, optional
        Of one stage, evenly over the signal's time; shades the page behind the traces.
    """
    top = 16 if title else 8
    width, height = _PULSE_MM + _COLUMNS * _COLUMN_S * MM_PER_S + 12, 4 * _ROW_MM + top + 6
    figure, axes = _paper(width, height)
    left, column = 5 + _PULSE_MM, round(_COLUMN_S * fs)
    for row in range(4):
        y = height - top - _ROW_MM * (row + 0.5)
        axes.plot(5 + _PULSE[0], y + _PULSE[1], color=INK, lw=0.7)
        for k in range(_COLUMNS if row < 3 else 0):
            part = signal[3 * k + row][k * column : (k + 1) * column]
            _trace(axes, leads[3 * k + row], part, fs, left + k * _COLUMN_S * MM_PER_S, y)
    strip = signal[list(leads).index("II")][: _COLUMNS * column]
    _trace(axes, "II", strip, fs, left, y)
    axes.text(5, height - 6, title or "", size="x-large", va="center")
    axes.text(5, 3.5, f"{MM_PER_S} mm/s · {MM_PER_MV} mm/mV", va="center")
    if heat is not None:
        # behind all rows: a moment is as far from the left in the column that shows it as in the strip
        seconds = signal.shape[1] / fs
        shown = min(seconds, _COLUMNS * _COLUMN_S)
        rows = height - top - 4 * _ROW_MM, height - top
        _shade(axes, heat[: round(len(heat) * shown / seconds)], (left, left + MM_PER_S * shown, *rows))
        _shade_legend(axes, width - 12)
    return figure


def _shade(axes, heat, extent):
    # under the grid and faint, so that both the small squares and the trace can still be read
    look = {"cmap": HEAT, "vmin": 0, "vmax": 1, "alpha": 0.7, "aspect": "auto", "interpolation": "none", "zorder": -1}
    axes.imshow([heat], extent=extent, **look)


def _shade_legend(axes, right):
    _shade(axes, np.linspace(0, 1, 64), (right - 50, right - 20, 2, 5))
    axes.text(right - 52, 3.5, "heat: none", va="center", ha="right")
    axes.text(right - 18, 3.5, "strongest", va="center")
