"""Grad-CAM: heat behind twelve leads, strips by stage, and how it compares with chance (Fig. 5)."""

import numpy as np
import seaborn
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from cardiov.ecg.leads import LEADS
from cardiov.plots.style import HEAT, INK, INTERVAL, LEVEL_COLOURS, interval_values, legend_below, panels, styled

_GAP = 0.3  # mV, at least, between the traces of two leads
_FRAME = {"fill": False, "lw": 1.2, "ls": "--"}  # of an ectopic beat


def _heat_image(axes, time, heat, bottom, top):
    """A map on the one scale of all heat, from none to the strongest of its record and stage."""
    time = np.asarray(time)
    step = time[1] - time[0]
    extent = (time[0] - step / 2, time[-1] + step / 2, bottom, top)
    look = {"cmap": HEAT, "vmin": 0, "vmax": 1, "alpha": 0.7, "aspect": "auto", "interpolation": "none"}
    return axes.imshow([np.asarray(heat)], extent=extent, **look)


def _boxes(axes, marks, bottom, top):
    for mark in marks[marks["mark"] == "ectopic beat"].itertuples():
        axes.add_patch(Rectangle((mark.onset, bottom), mark.end - mark.onset, top - bottom, **_FRAME, clip_on=False, zorder=3))


def _heat_legend(figure, image, axes, marks):
    """Colour bar, meaning of the marks and their source."""
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.45, aspect=35, pad=0.02)
    bar.set_label("heat (0: no evidence, 1: the strongest of this record and stage)")
    source = ", ".join(marks["source"].unique())
    handles = [Line2D([], [], marker="v", ls="", color=INK, label=f"QRS complex ({source})")]
    if (marks["mark"] == "ectopic beat").any():
        handles += [Rectangle((0, 0), 1, 1, **_FRAME, label=f"ectopic beat ({source})")]
    legend_below(figure, handles, len(handles))


@styled
def heat_ecg(signal, fs, time, heat, marks, title=None):
    """Draw twelve leads under each other over the heat that they have in common (Fig. 5 a and b of the paper).

    Parameters
    ----------
    signal : array, shape (12, n), in mV
    fs : float, in Hz
    time, heat : array, shape (m,)
        Times in s and the heat of one stage; a map has no leads.
    marks : DataFrame of `cardiov.experiments.waves.beat_marks`
    """
    baselines = _baselines(signal)
    bottom, top = baselines[-1] + signal[-1].min() - 0.5, signal[0].max() + 0.5
    figure, ((axes,),) = panels(180, 45 + 6.5 * (top - bottom), title=title)
    seconds = np.arange(signal.shape[1]) / fs
    image = _heat_image(axes, time, heat, bottom, top)
    for lead, trace, y in zip(LEADS, signal, baselines, strict=True):
        axes.plot(seconds, trace + y, color=INK, lw=0.6)
        axes.text(-0.06, y, lead, size="large", weight="bold", ha="right", va="center")
    qrs = marks[marks["mark"] == "QRS"]
    axes.plot((qrs["onset"] + qrs["end"]) / 2, np.full(len(qrs), top + 0.3), "v", color=INK, clip_on=False)
    _boxes(axes, marks, bottom, top)
    axes.set(xlim=(0, seconds[-1]), ylim=(bottom, top), aspect=0.4, yticks=[], xlabel="time (s); squares of 0.2 s × 0.5 mV")
    axes.set_xticks(np.arange(0, seconds[-1], 0.2), minor=True)
    axes.set_yticks(np.arange(bottom, top, 0.5), minor=True)
    axes.grid(which="both", color="grey", lw=0.25, alpha=0.5)
    axes.tick_params(which="minor", length=0)
    _heat_legend(figure, image, axes, marks)
    return figure


def _baselines(signal):
    """Heights in mV of the leads' zero lines, so far apart that no trace touches the next."""
    between = np.min(signal[:-1], axis=1) - np.max(signal[1:], axis=1) - _GAP
    return np.concatenate([[0], np.minimum(between, -1).cumsum()])


@styled
def heat_strips(time, heat, marks, cells, title=None):
    """Draw one strip of heat per stage, the deepest at the bottom (Fig. 5 c and d).

    Parameters
    ----------
    time : array, shape (m,), in s
    heat : DataFrame, shape (m, stages), from 0 to 1
    marks : DataFrame of `cardiov.experiments.waves.beat_marks`
    cells : Series
        By stage, the length of one cell of its map in s.
    """
    figure, grid = panels(180, 105, rows=1 + len(heat.columns), title=title, sharex=True)
    beats, *strips = grid[:, 0]
    _rr_intervals(beats, marks[marks["mark"] == "QRS"])
    for axes, stage in zip(strips, heat.columns, strict=True):
        image = _heat_image(axes, time, heat[stage], 0, 1)
        _boxes(axes, marks, 0, 1)
        name = f"{stage.replace('s', 'stage ')}\n{1000 * cells[stage]:,.0f} ms"
        axes.text(-0.01, 0.5, name, transform=axes.transAxes, ha="right", va="center")
        axes.set_yticks([])
    strips[-1].set_xlabel("time (s); beside the strips: stage and length of its cells")
    _heat_legend(figure, image, strips, marks)
    return figure


def _rr_intervals(axes, qrs):
    """Marks of the beats with the intervals between them in ms."""
    beats = ((qrs["onset"] + qrs["end"]) / 2).to_numpy()
    axes.plot(beats, np.full(len(beats), 0.15), "v", color=INK)
    for middle, interval in zip((beats[1:] + beats[:-1]) / 2, np.diff(beats), strict=True):
        axes.text(middle, 0.55, f"{1000 * interval:.0f}", ha="center", va="center")
    axes.text(-0.01, 0.5, "RR (ms)", transform=axes.transAxes, ha="right", va="center")
    axes.set_ylim(0, 1)
    axes.axis("off")


_MAPS = {  # map -> colour, marker, line, words
    "trained": (LEVEL_COLOURS[0], "o", "-", "trained weights"),
    "random": (LEVEL_COLOURS[3], "s", "--", "random weights"),
    "another_record": (LEVEL_COLOURS[2], "D", "-.", "another record, trained weights"),
    "energy": ("#777777", "^", ":", "the signal's own energy"),
}


@styled
def heat_by_stage(table, ylabel, span, title=None):
    """Draw how maps compare, stage by stage, with their 95 % intervals.

    Parameters
    ----------
    table : DataFrame
        ``estimate``, ``low`` and ``high`` by map (of `cardiov.analysis.heat`) and ``stage``.
    span : tuple of two float
        What counts as alike, grey; where both ends are the same, a line.
    """
    maps = [name for name in _MAPS if name in table.index.unique(0)]
    colours, markers, lines, words = (list(look) for look in zip(*(_MAPS[name] for name in maps), strict=True))
    table = table.rename(index=lambda stage: stage[1:], level="stage").rename(index=dict(zip(maps, words, strict=True)), level=0)
    values = interval_values(table.rename_axis(["map", "stage"]))
    figure, ((axes,),) = panels(120, 85, title=title)
    look = {"palette": colours, "markers": markers, "linestyles": lines, "lw": 1, "ms": 4, "mew": 0, "capsize": 0.1}
    seaborn.pointplot(values, x="stage", y="value", hue="map", hue_order=words, dodge=0.2, **INTERVAL, **look, ax=axes)
    axes.axhspan(*span, color="#e4e4e4", lw=0.8, zorder=0)
    axes.set(xlabel="stage, the deepest to the right", ylabel=ylabel)
    axes.get_legend().remove()
    legend_below(figure, axes, 2)
    return figure
