"""Grad-CAM: heat behind twelve leads, strips by stage, and how it compares with chance (Fig. 5)."""

import numpy as np
import seaborn
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from cardiov.ecg.leads import LEADS
from cardiov.plots.style import HEAT, INK, INTERVAL, LEVEL_COLOURS, REFERENCE, interval_values, panels, styled

_BETWEEN_LEADS = 2  # mV
_FRAME = {"fill": False, "lw": 1.2, "ls": "--"}  # of an ectopic beat


def _heat_image(axes, time, heat, bottom, top):
    """A map from its lowest heat, 0, to its highest, 1; a flat one is 0 all over."""
    time, heat = np.asarray(time), np.asarray(heat, float)
    step, scaled = time[1] - time[0], (heat - heat.min()) / (np.ptp(heat) or 1)
    extent = (time[0] - step / 2, time[-1] + step / 2, bottom, top)
    return axes.imshow([scaled], cmap=HEAT, vmin=0, vmax=1, extent=extent, aspect="auto", interpolation="none")


def _boxes(axes, marks, bottom, top):
    for mark in marks[marks["mark"] == "ectopic beat"].itertuples():
        axes.add_patch(Rectangle((mark.onset, bottom), mark.end - mark.onset, top - bottom, **_FRAME, clip_on=False, zorder=3))


def _heat_legend(figure, image, axes, marks):
    """Colour bar, meaning of the marks and their source."""
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.45, aspect=35, pad=0.02)
    bar.set_label("heat (0: lowest of this record and stage, 1: highest)")
    source = ", ".join(marks["source"].unique())
    handles = [Line2D([], [], marker="v", ls="", color=INK, label=f"QRS complex ({source})")]
    if (marks["mark"] == "ectopic beat").any():
        handles += [Rectangle((0, 0), 1, 1, **_FRAME, label=f"ectopic beat ({source})")]
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles))


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
    figure, ((axes,),) = panels(180, 205, title=title)
    seconds = np.arange(signal.shape[1]) / fs
    bottom, top = -_BETWEEN_LEADS * len(LEADS) + 0.5, 1.5
    image = _heat_image(axes, time, heat, bottom, top)
    for row, (lead, trace) in enumerate(zip(LEADS, signal, strict=True)):
        axes.plot(seconds, trace - _BETWEEN_LEADS * row, color=INK, lw=0.6)
        axes.text(-0.06, -_BETWEEN_LEADS * row, lead, size="large", weight="bold", ha="right", va="center")
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


@styled
def heat_strips(time, heat, marks, cells, title=None):
    """Draw one strip of heat per stage, the deepest at the bottom, each from its lowest heat to its highest (Fig. 5 c and d).

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
        name, lowest = f"{stage.replace('s', 'stage ')}\n{1000 * cells[stage]:,.0f} ms", f"lowest\n{heat[stage].min():.2f}"
        axes.text(-0.01, 0.5, name, transform=axes.transAxes, ha="right", va="center")
        axes.text(1.01, 0.5, lowest, transform=axes.transAxes, ha="left", va="center")
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
    "best": ("black", "", "-", "most that the cells allow"),
    "trained": (LEVEL_COLOURS[0], "o", "-", "trained weights"),
    "contrast": (LEVEL_COLOURS[1], "D", "--", "trained, lowest heat taken off"),
    "random": (LEVEL_COLOURS[3], "s", "--", "random weights"),
    "energy": ("#777777", "^", ":", "the signal's own energy"),
    "another_record": (LEVEL_COLOURS[2], "D", "-.", "another record, trained weights"),
}


def _by_stage(axes, table, dodge):
    """A line per map, in the looks of that map, of `table` (estimate, low and high by map and stage)."""
    maps = [name for name in _MAPS if name in table.index.unique(0)]
    colours, markers, lines, words = (list(look) for look in zip(*(_MAPS[name] for name in maps), strict=True))
    table = table.rename(index=lambda stage: stage[1:], level="stage").rename(index=dict(zip(maps, words, strict=True)), level=0)
    values = interval_values(table.rename_axis(["map", "stage"]))
    values = values[(values["map"] != _MAPS["best"][3]) | (values["end"] == "estimate")]  # a bound, without an interval
    look = {"palette": colours, "markers": markers, "linestyles": lines, "lw": 1, "ms": 4, "mew": 0, "capsize": 0.1}
    seaborn.pointplot(values, x="stage", y="value", hue="map", hue_order=words, dodge=dodge, **INTERVAL, **look, ax=axes)
    axes.set(xlabel="", ylabel="")


@styled
def heat_enrichment(table, title=None):
    """Draw the ratios of `cardiov.analysis.heat.enrichment` by stage, a panel for each kind of window."""
    kinds = [kind for kind in ("P", "QRS", "T", "P to T", "ectopic beat") if kind in table.index.unique("window")]
    figure, grid = panels(180, 115, 2, 3, title, sharex=True, sharey=True)
    for axes, kind in zip(grid.flat, kinds, strict=False):
        rows = table.xs(kind, level="window")
        axes.set_yscale("log", base=2)
        _by_stage(axes, rows, dodge=0.3)
        axes.axhline(1, **REFERENCE)
        axes.set(title=f"{kind} ({rows.loc['trained', 'records'].max():,} records)")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.tick_params(labelbottom=True)
        axes.get_legend().remove()
    for axes in grid.flat[len(kinds) :]:
        axes.axis("off")
    figure.supxlabel("stage, the deepest to the right")
    figure.supylabel("heat inside ÷ time covered (1: chance)")
    grid.flat[-1].legend(*grid.flat[0].get_legend_handles_labels(), loc="center")
    return figure


@styled
def heat_sanity(correlations, cascade, tolerance, title=None):
    """Draw how the maps correlate with other maps, and how they change as weights are randomised.

    Parameters
    ----------
    correlations : DataFrame of `cardiov.analysis.heat.correlations`
    cascade : DataFrame
        ``heat_cascade`` of `cardiov.store.results.read_heat`.
    tolerance : float
        Mean rank correlation up to which random weights count as having destroyed the maps.
    """
    figure, ((left, right),) = panels(180, 85, columns=2, title=title, width_ratios=(1, 1.15))
    _by_stage(left, correlations, dodge=0.2)
    left.axhspan(-tolerance, tolerance, color="#eeeeee", zorder=0)
    left.axhline(0, **REFERENCE)
    left.legend(loc="lower left")
    left.set(title=f"mean over records; grey: within the tolerance of {tolerance:g}", ylim=(-1, 1))
    left.set(xlabel="stage of the map", ylabel="rank correlation with the trained map")
    stages = cascade.filter(regex=r"^s\d$").rename(columns=lambda stage: stage[1:])
    rows = cascade["randomised"].replace({r"^s(\d)": r"… to stage \1", "stem": "… to stem"}, regex=True)
    look = {"annot": True, "fmt": ".2f", "cmap": "RdBu_r", "vmin": -1, "vmax": 1, "cbar": False}
    seaborn.heatmap(stages, yticklabels=rows, **look, ax=right)
    right.set(title=f"randomised from the head down ({cascade['records'].iloc[0]} records)", xlabel="stage of the map")
    return figure
