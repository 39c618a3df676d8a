"""Grad-CAM: heat behind twelve leads, strips by stage, and what of it chance would give (Fig. 5)."""

from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from cardiov.ecg.leads import LEADS
from cardiov.plots.style import HEAT, INK, LETTER, LEVEL_COLOURS, MM, SMALL, USUAL, statistics_axes

_BETWEEN_LEADS = 2  # mV


def _scaled(heat):
    """A map from 0, its lowest, to 1, its highest; a flat one is 0 all over."""
    heat = np.asarray(heat, float)
    return (heat - heat.min()) / (np.ptp(heat) or 1)


def _heat_image(axes, time, heat, bottom, top):
    step = time[1] - time[0]
    extent = (time[0] - step / 2, time[-1] + step / 2, bottom, top)
    return axes.imshow([_scaled(heat)], cmap=HEAT, vmin=0, vmax=1, extent=extent, aspect="auto", interpolation="none")


def _boxes(axes, marks, bottom, top):
    """Frames around the ectopic beats."""
    for mark in marks[marks["mark"] == "ectopic beat"].itertuples():
        size = mark.end - mark.onset, top - bottom
        axes.add_patch(Rectangle((mark.onset, bottom), *size, fill=False, lw=1.2, ls="--", clip_on=False, zorder=3))


def _heat_legend(figure, image, axes, marks):
    """Colour bar, and what the marks mean and where they come from."""
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.45, aspect=35, pad=0.02)
    bar.set_label("heat (0: lowest of this record and stage, 1: highest)", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    source = ", ".join(marks["source"].unique())
    handles = [Line2D([], [], marker="v", ls="", color="black", ms=4, label=f"QRS complex ({source})")]
    if (marks["mark"] == "ectopic beat").any():
        handles += [Rectangle((0, 0), 1, 1, fill=False, lw=1.2, ls="--", label=f"ectopic beat ({source})")]
    figure.legend(handles=handles, loc="outside lower right", fontsize=SMALL, frameon=False, ncols=len(handles))


def heat_ecg(signal, fs, time, heat, marks, title=None):
    """Draw twelve leads under each other over the heat that they have in common (Fig. 5 a and b of the paper).

    Parameters
    ----------
    signal : array, shape (12, n)
        In mV.
    fs : float
        In Hz.
    time, heat : array, shape (m,)
        Times in s and the heat of one stage; a map has no leads.
    marks : DataFrame
        From :func:`cardiov.experiments.waves.beat_marks`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
        On a grid of 0.2 s and 0.5 mV, each square as on ECG paper.
    """
    figure, (axes,) = statistics_axes(180, 205, title=title)
    seconds = np.arange(signal.shape[1]) / fs
    bottom, top = -_BETWEEN_LEADS * len(LEADS) + 0.5, 1.5
    image = _heat_image(axes, np.asarray(time), heat, bottom, top)
    for row, (lead, trace) in enumerate(zip(LEADS, signal, strict=True)):
        axes.plot(seconds, trace - _BETWEEN_LEADS * row, color=INK, lw=0.6)
        axes.text(-0.06, -_BETWEEN_LEADS * row, lead, size=USUAL, weight="bold", ha="right", va="center")
    qrs = marks[marks["mark"] == "QRS"]
    axes.plot((qrs["onset"] + qrs["end"]) / 2, np.full(len(qrs), top + 0.3), "v", color=INK, ms=4, clip_on=False)
    _boxes(axes, marks, bottom, top)
    axes.set(xlim=(0, seconds[-1]), ylim=(bottom, top), aspect=0.4, yticks=[])
    axes.set_xticks(np.arange(0, seconds[-1], 0.2), minor=True)
    axes.set_yticks(np.arange(bottom, top, 0.5), minor=True)
    axes.grid(which="both", color="grey", lw=0.25, alpha=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("time (s); squares of 0.2 s × 0.5 mV", fontsize=USUAL)
    _heat_legend(figure, image, axes, marks)
    return figure


def heat_strips(time, heat, marks, cells, title=None):
    """Draw one strip of heat a stage, the deepest at the bottom (Fig. 5 c and d of the paper).

    Parameters
    ----------
    time : array, shape (m,)
        In s.
    heat : DataFrame, shape (m, stages)
        A column a stage, from 0 to 1.
    marks : DataFrame
        From :func:`cardiov.experiments.waves.beat_marks`.
    cells : Series
        By stage: what time one cell of its map stands for, in s.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
        Each strip is drawn from its lowest heat to its highest; the lowest, as a share of the highest, is told beside
        it. Above the strips, the RR intervals.
    """
    figure = Figure(figsize=(180 * MM, 105 * MM), layout="constrained", facecolor="white")
    beats, *strips = figure.subplots(1 + len(heat.columns), 1, sharex=True)
    _rr_intervals(beats, marks[marks["mark"] == "QRS"])
    for axes, stage in zip(strips, heat.columns, strict=True):
        image = _heat_image(axes, np.asarray(time), heat[stage], 0, 1)
        _boxes(axes, marks, 0, 1)
        name, lowest = f"{stage}\n{1000 * cells[stage]:,.0f} ms", f"lowest\n{heat[stage].min():.2f}"
        axes.text(-0.01, 0.5, name, transform=axes.transAxes, ha="right", va="center", size=SMALL)
        axes.text(1.01, 0.5, lowest, transform=axes.transAxes, ha="left", va="center", size=SMALL)
        axes.set_yticks([])
        axes.tick_params(labelsize=USUAL)
    strips[-1].set_xlabel("time (s); beside the strips: stage and length of its cells", fontsize=USUAL)
    _heat_legend(figure, image, strips, marks)
    if title:
        figure.suptitle(fill(title, int(180 / LETTER)), fontsize=USUAL)
    return figure


def _rr_intervals(axes, qrs):
    """Marks of the beats with the intervals between them in ms."""
    beats = ((qrs["onset"] + qrs["end"]) / 2).to_numpy()
    axes.plot(beats, np.full(len(beats), 0.15), "v", color=INK, ms=4)
    for before, after in zip(beats, beats[1:], strict=False):
        axes.text((before + after) / 2, 0.55, f"{1000 * (after - before):.0f}", ha="center", va="center", size=SMALL)
    axes.text(-0.01, 0.5, "RR (ms)", transform=axes.transAxes, ha="right", va="center", size=SMALL)
    axes.set_ylim(0, 1)
    axes.axis("off")


_HEAT_LOOKS = {  # map -> colour, line and marker, words
    "trained": (LEVEL_COLOURS[0], "o-", "trained weights"),
    "contrast": (LEVEL_COLOURS[1], "D--", "trained, lowest heat taken off"),
    "random": (LEVEL_COLOURS[3], "s--", "random weights"),
    "energy": ("#777777", "^:", "the signal's own energy"),
    "best": ("black", "-", "most that the cells allow"),
    "another_record": (LEVEL_COLOURS[2], "D-.", "another record, trained weights"),
}


def _by_stage(axes, table, shift=0.0):
    """One line of `table` (estimate, low, high by stage) a map, in the looks of that map."""
    names = list(dict.fromkeys(table.index.get_level_values(0)))
    for i, name in enumerate(name for name in _HEAT_LOOKS if name in names):
        rows, (colour, style, words) = table.loc[name], _HEAT_LOOKS[name]
        x = np.arange(len(rows)) + shift * (i - 1)
        if name == "best":
            axes.plot(range(len(rows)), rows["estimate"], style, color=colour, lw=0.7, label=words)
            continue
        errors = np.abs(rows[["low", "high"]].sub(rows["estimate"], axis=0)).T.to_numpy()
        axes.errorbar(x, rows["estimate"], errors, fmt=style, color=colour, ms=3, lw=1, capsize=1.5, label=words)
    axes.set_xticks(range(len(rows)), rows.index)


def heat_enrichment(table, title=None):
    """Draw how many times more heat than chance each kind of window holds, by stage.

    Parameters
    ----------
    table : DataFrame
        From :func:`cardiov.analysis.heat.enrichment`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    kinds = [kind for kind in ("P", "QRS", "T", "P to T", "ectopic beat") if kind in table.index.unique("window")]
    figure = Figure(figsize=(180 * MM, 115 * MM), layout="constrained", facecolor="white")
    panels = figure.subplots(2, 3, sharex=True, sharey=True).flat
    for axes, kind in zip(panels, kinds, strict=False):
        rows = table.xs(kind, level="window")
        _by_stage(axes, rows, 0.08)
        axes.axhline(1, color="black", lw=0.5, ls=":")
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_title(f"{kind} ({rows.loc['trained', 'records'].max():,} records)", fontsize=USUAL)
        axes.tick_params(labelsize=SMALL, labelbottom=True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(figure.axes)[len(kinds) :]:
        axes.axis("off")
    figure.supxlabel("stage, the deepest to the right", fontsize=USUAL)
    figure.supylabel("heat inside ÷ time covered (1: chance)", fontsize=USUAL)
    figure.axes[-1].legend(*figure.axes[0].get_legend_handles_labels(), fontsize=SMALL, frameon=False, loc="center")
    if title:
        figure.suptitle(fill(title, int(180 / LETTER)), fontsize=USUAL)
    return figure


def heat_sanity(correlations, cascade, tolerance, title=None):
    """Draw what the maps share with others' maps, and how they change as weights are randomised.

    Parameters
    ----------
    correlations : DataFrame
        From :func:`cardiov.analysis.heat.correlations`.
    cascade : DataFrame
        ``heat_cascade`` of :func:`cardiov.store.results.read_heat`.
    tolerance : float
        Mean rank correlation up to which random weights count as having destroyed the maps.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(180 * MM, 85 * MM), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _by_stage(left, correlations, 0.1)
    left.axhspan(-tolerance, tolerance, color="#eeeeee", zorder=0)
    left.axhline(0, color="black", lw=0.5, ls=":")
    left.set_ylim(-1, 1)
    left.set_ylabel("rank correlation with the trained map", fontsize=USUAL)
    left.set_title(f"mean over records; grey: within the tolerance of {tolerance:g}", fontsize=SMALL)
    left.legend(fontsize=SMALL, frameon=False, loc="lower left")
    left.spines[["top", "right"]].set_visible(False)
    _cascade(right, cascade)
    for axes in (left, right):
        axes.set_xlabel("stage of the map", fontsize=USUAL)
        axes.tick_params(labelsize=SMALL)
    if title:
        figure.suptitle(fill(title, int(180 / LETTER)), fontsize=USUAL)
    return figure


def _cascade(axes, table):
    """Rank correlations by stage (columns) as the weights are randomised from the head down (rows)."""
    values = table.filter(regex=r"^s\d$")
    axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        ink = "white" if abs(value) > 0.7 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", size=SMALL, color=ink)
    axes.set_xticks(range(values.shape[1]), values.columns)
    axes.set_yticks(range(len(values)), ["head", *[f"… to {name}" for name in table["randomised"][1:]]])
    axes.set_title(f"randomised from the head down ({table['records'].iloc[0]} records)", fontsize=SMALL)
