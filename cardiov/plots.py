"""Figures: ECG paper, ROC curves, confusion matrices, label distributions.

Every function returns a :class:`matplotlib.figure.Figure` that belongs to nobody's pyplot state.
"""

from textwrap import fill

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from cardiov.mapping import LEVELS
from cardiov.results import simulated
from cardiov.signals import LEADS

MM_PER_S, MM_PER_MV = 25, 10  # the standard paper speed and gain
_ROW_MM, _COLUMN_S, _COLUMNS = 32, 2.5, 4
_PULSE = np.array([[0, 1.5, 1.5, 6.5, 6.5, 8], [0, 0, 10, 10, 0, 0]])  # calibration: 1 mV for 0.2 s, in mm
_PULSE_MM = 8
_INK, _GRID, _GRID_5MM = "black", "#f7cfcf", "#ea9a9a"


def _paper(width, height):
    """An empty page of `width` x `height` mm, axes in mm, at true scale when printed."""
    figure = Figure(figsize=(width / 25.4, height / 25.4), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    for step, colour, line in ((1, _GRID, 0.35), (5, _GRID_5MM, 0.6)):
        upright = [[(x, 0), (x, height)] for x in range(0, int(width) + 1, step)]
        level = [[(0, y), (width, y)] for y in range(0, int(height) + 1, step)]
        axes.add_collection(LineCollection(upright + level, colors=colour, linewidths=line, zorder=0))
    return figure, axes


def _trace(axes, lead, signal, fs, x, y):
    """Draw one lead with its name, its first sample at (`x`, `y`) mm."""
    axes.plot(x + MM_PER_S * np.arange(len(signal)) / fs, y + MM_PER_MV * signal, color=_INK, lw=0.7)
    axes.text(x + 1, y + 11.5, lead, size=8, weight="bold", va="center")


def ecg_paper(signal, fs, title=None, leads=LEADS, heat=None):
    """Draw a 12-lead ECG as a printed page: 25 mm/s, 10 mm/mV, 3 x 4 leads and a strip of lead II.

    The columns follow each other in time (0-2.5 s, 2.5-5 s, ...), as on a three-channel
    recorder, and the strip below shows the first 10 s of lead II.

    Parameters
    ----------
    signal : array, shape (12, n)
        The leads in mV.
    fs : float
        Sampling rate in Hz.
    title : str, optional
        Line above the traces.
    leads : sequence of 12 str
        Name of each row of `signal`, in the order of the page (column by column).
    heat : array, shape (m,), optional
        Of one stage, 0 to 1, spread evenly over the signal's time: shades the page behind the traces.

    Returns
    -------
    matplotlib.figure.Figure
        At true scale: 1 mm of grid is 1 mm of paper.
    """
    width, height = _PULSE_MM + _COLUMNS * _COLUMN_S * MM_PER_S + 12, 4 * _ROW_MM + 22
    figure, axes = _paper(width, height)
    left, column = 5 + _PULSE_MM, round(_COLUMN_S * fs)
    for row in range(4):
        y = height - 16 - _ROW_MM * (row + 0.5)
        axes.plot(5 + _PULSE[0], y + _PULSE[1], color=_INK, lw=0.7)
        for k in range(_COLUMNS if row < 3 else 0):
            part = signal[3 * k + row][k * column : (k + 1) * column]
            _trace(axes, leads[3 * k + row], part, fs, left + k * _COLUMN_S * MM_PER_S, y)
    strip = signal[list(leads).index("II")][: _COLUMNS * column]
    _trace(axes, "II", strip, fs, left, y)
    axes.text(5, height - 6, title or "", size=10, va="center")
    axes.text(5, 3.5, f"{MM_PER_S} mm/s · {MM_PER_MV} mm/mV", size=8, va="center")
    if heat is not None:
        _shade(axes, heat, signal.shape[1] / fs, left, (height - 16 - 4 * _ROW_MM, height - 16))
        _shade_legend(axes, width - 12)
    return figure


def _shade(axes, heat, seconds, left, rows):
    """Heat behind all rows: a moment lies equally far from the left in the column that shows it and in the strip."""
    shown = min(seconds, _COLUMNS * _COLUMN_S)
    cells = heat[: round(len(heat) * shown / seconds)]
    _heat_cells(axes, cells, (left, left + MM_PER_S * shown, *rows))


def _shade_legend(axes, right):
    _heat_cells(axes, np.linspace(0, 1, 64), (right - 50, right - 20, 2, 5))
    axes.text(right - 52, 3.5, "heat: none", size=8, va="center", ha="right")
    axes.text(right - 18, 3.5, "strongest", size=8, va="center")


def _heat_cells(axes, cells, extent):
    # under the grid and faint, so that both the small squares and the trace can still be read
    look = {"cmap": HEAT, "vmin": 0, "vmax": 1, "alpha": 0.7, "aspect": "auto", "interpolation": "none", "zorder": -1}
    axes.imshow([cells], extent=extent, **look)


# Statistics: sized for a journal's column (85 to 180 mm), the critical values told apart by colour and by line style

# from the palette of Okabe & Ito, which colour-blind readers can tell apart, ordered from cold to warm
LEVEL_COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#D55E00")
LEVEL_STYLES = ("-", "--", "-.", ":")
_MM = 1 / 25.4
_INK_ON_LEVEL = ("white", "black", "black", "white")
_SMALL, _USUAL = 7, 8  # points
_LETTER = 1.6  # mm, wide enough for most letters of the usual size


def _statistics_axes(width, height, columns=1, title=None):
    """A figure of `width` x `height` mm with axes beside each other, which share their y axis."""
    figure = Figure(figsize=(width * _MM, height * _MM), layout="constrained", facecolor="white")
    axes = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
    for one in axes:
        one.tick_params(labelsize=_USUAL)
        one.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(fill(title, int(width / _LETTER)), fontsize=_USUAL)
    return figure, axes


def roc_curves(points, intervals, title=None):
    """Draw the ROC curve of each critical value against the rest, and their mean (Fig. 2 of the paper).

    Parameters
    ----------
    points : DataFrame
        From :func:`cardiov.evaluation.roc_table`.
    intervals : DataFrame
        From :func:`cardiov.evaluation.bootstrap`; its AUCs are told in the legend.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (axes,) = _statistics_axes(120, 115, title=title)
    names = {str(k): f"{k} {name}" for k, name in enumerate(LEVELS)} | {"mean": "mean of the four"}
    looks = dict(zip(names, zip(LEVEL_COLOURS, LEVEL_STYLES, strict=True), strict=False)) | {"mean": ("black", "-")}
    for curve, line in points.groupby("curve"):
        auc = intervals.loc[f"auc_{curve}"]
        label = f"{names[curve]}: AUC {auc['estimate']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})"
        colour, style = looks[curve]
        axes.plot(line["false_positive_rate"], line["true_positive_rate"], style, color=colour, lw=1.5, label=label)
    axes.plot([0, 1], [0, 1], color="grey", lw=0.7, label="chance: AUC 0.5")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel("false positive rate (1 − specificity)", fontsize=_USUAL)
    axes.set_ylabel("true positive rate (sensitivity)", fontsize=_USUAL)
    legend = axes.legend(fontsize=_SMALL, loc="lower right", frameon=False)
    legend.set_title("critical value (95 % interval)", prop={"size": _SMALL})
    return figure


def confusion_matrix(counts, title=None):
    """Draw how often each critical value is predicted as each, shaded by the share of its own row.

    Parameters
    ----------
    counts : DataFrame, shape (4, 4)
        From :func:`cardiov.evaluation.confusion`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (axes,) = _statistics_axes(95, 85, title=title)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        ink = "white" if share > 0.5 else "black"
        text = f"{counts.iloc[row, column]:,}\n{100 * share:.0f} %"
        axes.text(column, row, text, ha="center", va="center", color=ink, size=_USUAL)
    names = [f"{k} {name.removesuffix(' risk')}" for k, name in enumerate(LEVELS)]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted risk", fontsize=_USUAL)
    axes.set_ylabel("labelled risk", fontsize=_USUAL)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def label_distribution(counts, title=None):
    """Draw which share of each split has which critical value, a panel for each label rule.

    Parameters
    ----------
    counts : DataFrame
        Records, indexed by ``rule`` and ``split``, with the critical values 0 to 3 as columns.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    rules = counts.index.unique("rule")
    figure, panels = _statistics_axes(180, 62, columns=len(rules), title=title)
    figure.get_layout_engine().set(wspace=0.06)
    for axes, rule in zip(panels, rules, strict=True):
        _stacked_shares(axes, counts.loc[rule])
        axes.set_title(f"rule: {rule}", fontsize=_USUAL)
        axes.set_xlabel("share of the split's records (%)", fontsize=_USUAL)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(LEVELS), fontsize=_USUAL, frameon=False)
    return figure


def _stacked_shares(axes, table):
    """One bar a row of `table` (records by critical value), as long as 100 %."""
    shares = 100 * table.div(table.sum(axis=1), axis=0)
    names = [f"{split} (n = {n:,})" for split, n in table.sum(axis=1).items()]
    left = np.zeros(len(table))
    for k, (colour, ink) in enumerate(zip(LEVEL_COLOURS, _INK_ON_LEVEL, strict=True)):
        bars = axes.barh(names, shares[k], left=left, color=colour, edgecolor="white", label=f"{k} {LEVELS[k]}")
        texts = [f"{share:.0f}" if share >= 4 else "" for share in shares[k]]
        axes.bar_label(bars, texts, label_type="center", color=ink, fontsize=_SMALL)
        left += shares[k].to_numpy()
    axes.set_xlim(0, 100)


def data_title(dataset, detail=""):
    """Title that says what data a figure shows: simulated, or PTB-XL with its attribution."""
    origin = ""
    if simulated(dataset):
        origin = " (simulated)"
    elif "ptbxl" in dataset.lower().replace("-", ""):
        origin = " (PTB-XL, Wagner et al. 2020, CC BY 4.0)"
    return f"{dataset}{origin}{detail and ': '}{detail}"


def learning_curves(history, title=None):
    """Draw the loss of each epoch on training and validation records, a panel for each training step.

    Parameters
    ----------
    history : DataFrame
        Of :func:`cardiov.training.fit`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    phases = list(dict.fromkeys(history["phase"]))
    figure, panels = _statistics_axes(180, 65, columns=len(phases), title=title)
    for axes, phase in zip(panels, phases, strict=True):
        rows = history[history["phase"] == phase]
        for split, colour, style in (("train", LEVEL_COLOURS[0], "o-"), ("validation", LEVEL_COLOURS[3], "s--")):
            axes.plot(rows["epoch"], rows[f"{split}_loss"], style, color=colour, lw=1.5, ms=4, label=split)
        axes.set_title(f"{phase} loss", fontsize=_USUAL)
        axes.set_xlabel("epoch", fontsize=_USUAL)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.tick_params(labelleft=True)
    panels[0].set_ylabel("mean loss a record", fontsize=_USUAL)
    panels[-1].legend(fontsize=_USUAL, frameon=False)
    return figure


def ordinal_framework(thresholds):
    """Draw how three threshold probabilities become four class probabilities (Fig. 1 of the paper, Eqs. 3 and 6).

    Parameters
    ----------
    thresholds : sequence of 3 float
        p1, p2, p3: the probabilities that the critical value is above 0, above 1 and above 2; not increasing.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(180 * _MM, 75 * _MM), layout="constrained", facecolor="white")
    flow, questions, classes = figure.subplots(1, 3, width_ratios=(0.9, 1, 1.1))
    _draw_flow(flow)
    edges = np.array([1, *thresholds, 0])
    names = [f"Pr(> {name})" for name in LEVELS[:3]]
    _labelled_bars(questions, names, np.zeros(3), thresholds, "#999999", "three questions: sigmoid of z")
    names = [f"Pr({k} {name})" for k, name in enumerate(LEVELS)]
    _labelled_bars(classes, names, edges[1:], edges[:-1], LEVEL_COLOURS, "four classes: differences")
    for axes in (questions, classes):
        axes.vlines(thresholds, 0, 1, transform=axes.get_xaxis_transform(), color="black", lw=0.7, ls=":", zorder=0)
    return figure


def _draw_flow(axes):
    """The boxes from the ECG to the four probabilities."""
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    steps = ("ECG\n12 leads × n samples", "CardioV\n61 convolutions", "3 logits z", "p = sigmoid(z)", "4 class probabilities")
    for i, step in enumerate(steps):
        y = 0.92 - 0.21 * i
        axes.text(0.5, y, step, ha="center", va="center", size=_USUAL, bbox={"boxstyle": "round,pad=0.4", "fc": "#eeeeee"})
        if i:
            arrow = {"arrowstyle": "->", "lw": 1}
            axes.annotate("", (0.5, y + 0.065), (0.5, y + 0.145), arrowprops=arrow)


def _labelled_bars(axes, names, left, right, colours, title):
    """Horizontal bars from the top down, from `left` to `right`, each with its length."""
    widths = np.subtract(right, left)
    bars = axes.barh(names, widths, left=left, color=colours)
    axes.bar_label(bars, [f"{width:.2f}" for width in widths], padding=3, fontsize=_USUAL)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2)
    axes.set_title(title, fontsize=_USUAL)
    axes.set_xlabel("probability", fontsize=_USUAL)
    axes.tick_params(labelsize=_USUAL)
    axes.spines[["top", "right"]].set_visible(False)


# Architecture search

_PAIR = {"any": (LEVEL_COLOURS[0], "--", "o"), "growing": (LEVEL_COLOURS[3], "-", "s"),
         "without": (LEVEL_COLOURS[0], "--", "o"), "with": (LEVEL_COLOURS[3], "-", "s")}  # fmt: skip
_ERROR = "error: 1 − mean AUC, validation split"


def error_distributions(table, reference, title=None):
    """Draw the error distribution functions of groups of networks, with their bands and the paper's network.

    Parameters
    ----------
    table : DataFrame
        From :func:`cardiov.search.error_distributions`; a panel for each ``panel``.
    reference : sequence of float
        Errors of the paper's network, one for each seed.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = table["panel"].unique()
    figure, panels = _statistics_axes(180, 85, columns=len(names), title=title)
    for axes, name in zip(panels, names, strict=True):
        for group, curve in table[table["panel"] == name].groupby("group"):
            colour, style, _ = _PAIR[group.split()[0]]
            look = {"facecolor": (colour, 0.12), "edgecolor": (colour, 0.6), "lw": 0.5}
            axes.fill_between(curve["error"], curve["low"], curve["high"], step="pre", **look)
            axes.step(curve["error"], curve["share"], style, where="pre", color=colour, lw=1.5, label=group)
        axes.axvspan(min(reference), max(reference), color="black", alpha=0.12, lw=0)
        label = f"the paper's network ({len(reference)} seeds)"
        axes.axvline(np.mean(reference), color="black", ls=":", lw=1.5, label=label)
        axes.set_title(name, fontsize=_USUAL)
        axes.set_xlabel(_ERROR, fontsize=_USUAL)
        axes.locator_params(axis="x", nbins=6)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(fontsize=_SMALL, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False)
    panels[0].set_ylabel("share of networks with a lower error", fontsize=_USUAL)
    return figure


def searched_networks(models, title=None):
    """Draw the error of each network of a search against its multiply-adds and against its parameters.

    Parameters
    ----------
    models : DataFrame
        From :func:`cardiov.search.read_models`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, panels = _statistics_axes(180, 80, columns=2, title=title)
    sampled, reference = (models[models["role"] == role] for role in ("sampled", "reference"))
    for axes, column in zip(panels, ("multiply_adds", "parameters"), strict=True):
        for (space, gated), group in sampled.groupby(["space", "squeeze_excitation"]):
            colour, _, marker = _PAIR[space]
            face, label = (colour, "with") if gated else ("none", "without")
            look = {"marker": marker, "s": 28, "edgecolors": colour, "facecolors": face, "linewidths": 1.2}
            axes.scatter(group[column] / 1e6, group["error"], **look, label=f"{space}, {label} squeeze-excitation")
        x = reference[column] / 1e6
        axes.scatter(x, reference["error"], marker="*", s=70, color="black", label="the paper's network, each seed")
        axes.set_xlabel(f"{column.replace('_', '-')} (millions)", fontsize=_USUAL)
    panels[0].set_ylabel(_ERROR, fontsize=_USUAL)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=_SMALL, frameon=False)
    return figure


# Cases and disturbances


def odds_forest(odds, title=None):
    """Draw odds ratios with their intervals on a logarithmic axis, counts and numbers beside them.

    An interval that ends at 0 or infinity ends in an arrow at the axes' edge.

    Parameters
    ----------
    odds : DataFrame
        From :func:`cardiov.evaluation.error_odds`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    outcomes = odds.index.unique("outcome")
    figure, (axes,) = _statistics_axes(166, 18 + 6 * (len(odds) + 2 * len(outcomes)), title=title)
    drawn = odds[["odds_ratio", "low", "high"]].to_numpy()
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    left, right = min(0.1, *drawn) / 1.5, max(10, *drawn) * 1.5
    y, names = 0, {}
    for outcome, colour, marker in zip(outcomes, LEVEL_COLOURS[::3], "os", strict=True):
        for x, text in ((0.02, outcome), (1.03, "annotated"), (1.23, "others"), (1.41, "odds ratio (95 % interval)")):
            axes.text(x, y, text, transform=axes.get_yaxis_transform(), size=_SMALL, weight="bold", va="center")
        for annotation, row in odds.loc[outcome].iterrows():
            y += 1
            names[y] = annotation
            _odds_row(axes, y, row, (left, right), {"color": colour, "marker": marker})
        y += 2
    axes.axvline(1, color="black", lw=0.7)
    axes.set(xscale="log", xlim=(left, right), ylim=(y - 1.3, -0.7))
    axes.set_yticks(list(names), names.values())
    axes.tick_params(axis="y", length=0, pad=7)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("odds ratio: more errors where annotated to the right of 1, fewer to the left", fontsize=_USUAL)
    return figure


def _odds_row(axes, y, row, edges, look):
    """One interval, with arrows where it has no end, and its numbers to the right."""
    low, high = max(row["low"], edges[0]), min(row["high"], edges[1])
    axes.plot([low, high], [y, y], color=look["color"], lw=1.2)
    for end, bound, arrow in ((low, row["low"], "<"), (high, row["high"], ">")):
        if bound != end:
            axes.plot(end, y, arrow, color=look["color"], ms=5, clip_on=False)
    if edges[0] < row["odds_ratio"] < edges[1]:
        axes.plot(row["odds_ratio"], y, ls="", ms=5, **look)
    sides = [(row[f"{side}_with"], row[f"{side}_with"] + row[f"{side}_without"]) for side in ("annotated", "others")]
    ratio, low, high = ("∞" if np.isinf(value) else f"{value:.2f}" for value in row[["odds_ratio", "low", "high"]])
    interval = f"{'undefined' if ratio == 'nan' else ratio} ({low} to {high})"
    texts = [*(f"{bad:.0f} of {all_:.0f}" for bad, all_ in sides), interval]
    for x, text in zip((1.03, 1.23, 1.41), texts, strict=True):
        axes.text(x, y, text, transform=axes.get_yaxis_transform(), size=_SMALL, va="center")


_STRESS_NAMES = {"mae": "mean absolute error", "auc_mean": "mean AUC"}


def stress_panels(metrics, units, title=None):
    """Draw MAE and mean AUC against the strength of each disturbance, a column of panels for each.

    Filled points differ from the undisturbed records: the interval of the paired difference excludes 0. The grey band
    is the undisturbed records' interval.

    Parameters
    ----------
    metrics : DataFrame
        From :func:`cardiov.evaluation.stress_metrics`.
    units : dict of str to str
        Unit of each disturbance's strength.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(180 * _MM, 100 * _MM), layout="constrained", facecolor="white")
    panels = figure.subplots(len(_STRESS_NAMES), len(units), sharex="col", sharey="row", squeeze=False)
    for row, (statistic, label) in zip(panels, _STRESS_NAMES.items(), strict=True):
        chosen = metrics.xs(statistic, level="statistic")
        difference = metrics.xs(f"{statistic}_difference", level="statistic")
        shifted = (difference["low"] > 0) | (difference["high"] < 0)
        for axes, disturbance in zip(row, units, strict=True):
            _band(axes, chosen.loc["none"].iloc[0])
            _stress_points(axes, chosen.loc[disturbance], shifted.loc[disturbance], bool(units[disturbance]))
        row[0].set_ylabel(label, fontsize=_USUAL)
    for axes, (disturbance, unit) in zip(panels[0], units.items(), strict=True):
        axes.set_title(disturbance, fontsize=_USUAL)
    for axes, unit in zip(panels[-1], units.values(), strict=True):
        axes.set_xlabel(unit or "electrodes swapped", fontsize=_USUAL)
        axes.tick_params(axis="x", labelrotation=0 if unit else 90)
    _stress_legend(figure)
    if title:
        figure.suptitle(fill(title, int(180 / _LETTER)), fontsize=_USUAL)
    return figure


def _stress_legend(figure):
    look = {"marker": "o", "ls": "", "ms": 4.5, "markeredgecolor": LEVEL_COLOURS[0]}
    handles = [
        Patch(color="#e4e4e4", label="undisturbed"),
        Line2D([], [], **look, markerfacecolor=LEVEL_COLOURS[0], label="difference to undisturbed excludes 0"),
        Line2D([], [], **look, markerfacecolor="white", label="difference includes 0"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=_SMALL, frameon=False)


def _band(axes, interval):
    """A level with its interval, all across the axes."""
    axes.axhspan(interval["low"], interval["high"], color="#e4e4e4", lw=0)
    axes.axhline(interval["estimate"], color="grey", lw=0.8)


def _stress_points(axes, points, shifted, ordered):
    """Estimates with intervals at evenly spaced strengths, joined where these have an order."""
    x, colour = np.arange(len(points)), LEVEL_COLOURS[0]
    reach = [points["estimate"] - points["low"], points["high"] - points["estimate"]]
    axes.errorbar(x, points["estimate"], reach, fmt="-" if ordered else "none", color=colour, ecolor=colour, lw=1.2)
    faces = [colour if one else "white" for one in shifted]
    axes.scatter(x, points["estimate"], s=18, c=faces, edgecolors=colour, linewidths=1.2, zorder=3)
    axes.set_xticks(x, points.index)
    axes.set_xlim(-0.5, len(points) - 0.5)
    axes.tick_params(labelsize=_USUAL)
    axes.spines[["top", "right"]].set_visible(False)


# Grad-CAM: heat from white to vermilion, in which brightness alone tells the order and a black trace stays legible

HEAT = LinearSegmentedColormap.from_list("heat", ["white", "#F0E442", LEVEL_COLOURS[2], LEVEL_COLOURS[3]])
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
    bar.set_label("heat (0: lowest of this record and stage, 1: highest)", fontsize=_SMALL)
    bar.ax.tick_params(labelsize=_SMALL)
    source = ", ".join(marks["source"].unique())
    handles = [Line2D([], [], marker="v", ls="", color="black", ms=4, label=f"QRS complex ({source})")]
    if (marks["mark"] == "ectopic beat").any():
        handles += [Rectangle((0, 0), 1, 1, fill=False, lw=1.2, ls="--", label=f"ectopic beat ({source})")]
    figure.legend(handles=handles, loc="outside lower right", fontsize=_SMALL, frameon=False, ncols=len(handles))


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
        From :func:`cardiov.explain.beat_marks`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
        On a grid of 0.2 s and 0.5 mV, each square as on ECG paper.
    """
    figure, (axes,) = _statistics_axes(180, 205, title=title)
    seconds = np.arange(signal.shape[1]) / fs
    bottom, top = -_BETWEEN_LEADS * len(LEADS) + 0.5, 1.5
    image = _heat_image(axes, np.asarray(time), heat, bottom, top)
    for row, (lead, trace) in enumerate(zip(LEADS, signal, strict=True)):
        axes.plot(seconds, trace - _BETWEEN_LEADS * row, color=_INK, lw=0.6)
        axes.text(-0.06, -_BETWEEN_LEADS * row, lead, size=_USUAL, weight="bold", ha="right", va="center")
    qrs = marks[marks["mark"] == "QRS"]
    axes.plot((qrs["onset"] + qrs["end"]) / 2, np.full(len(qrs), top + 0.3), "v", color=_INK, ms=4, clip_on=False)
    _boxes(axes, marks, bottom, top)
    axes.set(xlim=(0, seconds[-1]), ylim=(bottom, top), aspect=0.4, yticks=[])
    axes.set_xticks(np.arange(0, seconds[-1], 0.2), minor=True)
    axes.set_yticks(np.arange(bottom, top, 0.5), minor=True)
    axes.grid(which="both", color="grey", lw=0.25, alpha=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("time (s); squares of 0.2 s × 0.5 mV", fontsize=_USUAL)
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
        From :func:`cardiov.explain.beat_marks`.
    cells : Series
        By stage: what time one cell of its map stands for, in s.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
        Each strip is drawn from its lowest heat to its highest; the lowest, as a share of the highest, is told beside
        it. Above the strips, the RR intervals.
    """
    figure = Figure(figsize=(180 * _MM, 105 * _MM), layout="constrained", facecolor="white")
    beats, *strips = figure.subplots(1 + len(heat.columns), 1, sharex=True)
    _rr_intervals(beats, marks[marks["mark"] == "QRS"])
    for axes, stage in zip(strips, heat.columns, strict=True):
        image = _heat_image(axes, np.asarray(time), heat[stage], 0, 1)
        _boxes(axes, marks, 0, 1)
        name, lowest = f"{stage}\n{1000 * cells[stage]:,.0f} ms", f"lowest\n{heat[stage].min():.2f}"
        axes.text(-0.01, 0.5, name, transform=axes.transAxes, ha="right", va="center", size=_SMALL)
        axes.text(1.01, 0.5, lowest, transform=axes.transAxes, ha="left", va="center", size=_SMALL)
        axes.set_yticks([])
        axes.tick_params(labelsize=_USUAL)
    strips[-1].set_xlabel("time (s); beside the strips: stage and length of its cells", fontsize=_USUAL)
    _heat_legend(figure, image, strips, marks)
    if title:
        figure.suptitle(fill(title, int(180 / _LETTER)), fontsize=_USUAL)
    return figure


def _rr_intervals(axes, qrs):
    """Marks of the beats with the intervals between them in ms."""
    beats = ((qrs["onset"] + qrs["end"]) / 2).to_numpy()
    axes.plot(beats, np.full(len(beats), 0.15), "v", color=_INK, ms=4)
    for before, after in zip(beats, beats[1:], strict=False):
        axes.text((before + after) / 2, 0.55, f"{1000 * (after - before):.0f}", ha="center", va="center", size=_SMALL)
    axes.text(-0.01, 0.5, "RR (ms)", transform=axes.transAxes, ha="right", va="center", size=_SMALL)
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
        From :func:`cardiov.explain.enrichment`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    kinds = [kind for kind in ("P", "QRS", "T", "P to T", "ectopic beat") if kind in table.index.unique("window")]
    figure = Figure(figsize=(180 * _MM, 115 * _MM), layout="constrained", facecolor="white")
    panels = figure.subplots(2, 3, sharex=True, sharey=True).flat
    for axes, kind in zip(panels, kinds, strict=False):
        rows = table.xs(kind, level="window")
        _by_stage(axes, rows, 0.08)
        axes.axhline(1, color="black", lw=0.5, ls=":")
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_title(f"{kind} ({rows.loc['trained', 'records'].max():,} records)", fontsize=_USUAL)
        axes.tick_params(labelsize=_SMALL, labelbottom=True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(figure.axes)[len(kinds) :]:
        axes.axis("off")
    figure.supxlabel("stage, the deepest to the right", fontsize=_USUAL)
    figure.supylabel("heat inside ÷ time covered (1: chance)", fontsize=_USUAL)
    figure.axes[-1].legend(*figure.axes[0].get_legend_handles_labels(), fontsize=_SMALL, frameon=False, loc="center")
    if title:
        figure.suptitle(fill(title, int(180 / _LETTER)), fontsize=_USUAL)
    return figure


def heat_sanity(correlations, cascade, tolerance, title=None):
    """Draw what the maps share with others' maps, and how they change as weights are randomised.

    Parameters
    ----------
    correlations : DataFrame
        From :func:`cardiov.explain.correlations`.
    cascade : DataFrame
        ``heat_cascade`` of :func:`cardiov.explain.read_heat`.
    tolerance : float
        Mean rank correlation up to which random weights count as having destroyed the maps.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(180 * _MM, 85 * _MM), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _by_stage(left, correlations, 0.1)
    left.axhspan(-tolerance, tolerance, color="#eeeeee", zorder=0)
    left.axhline(0, color="black", lw=0.5, ls=":")
    left.set_ylim(-1, 1)
    left.set_ylabel("rank correlation with the trained map", fontsize=_USUAL)
    left.set_title(f"mean over records; grey: within the tolerance of {tolerance:g}", fontsize=_SMALL)
    left.legend(fontsize=_SMALL, frameon=False, loc="lower left")
    left.spines[["top", "right"]].set_visible(False)
    values = cascade.filter(regex=r"^s\d$")
    right.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        ink = "white" if abs(value) > 0.7 else "black"
        right.text(column, row, f"{value:.2f}", ha="center", va="center", size=_SMALL, color=ink)
    right.set_xticks(range(values.shape[1]), values.columns)
    right.set_yticks(range(len(values)), ["head", *[f"… to {name}" for name in cascade["randomised"][1:]]])
    right.set_title(f"randomised from the head down ({cascade['records'].iloc[0]} records)", fontsize=_SMALL)
    for axes in (left, right):
        axes.set_xlabel("stage of the map", fontsize=_USUAL)
        axes.tick_params(labelsize=_SMALL)
    if title:
        figure.suptitle(fill(title, int(180 / _LETTER)), fontsize=_USUAL)
    return figure


# Subgroups and agreement

_MEASURES = {
    "mae": "mean absolute error\n(steps)", "accuracy": "accuracy", "f1_macro": "F1, mean of\nthe four classes",
    "auc_mean": "AUC, mean of\nthe four classes",
    **{f"auc_{k}": f"AUC of class {k}\n({name})" for k, name in enumerate(LEVELS)},
}  # fmt: skip
_SUBGROUP_LOOKS = {"all": ("black", "D"), "male": (LEVEL_COLOURS[0], "o"), "female": (LEVEL_COLOURS[2], "s"),
                   "age < 65": (LEVEL_COLOURS[1], "^"), "age >= 65": (LEVEL_COLOURS[3], "v"),
                   **{f"critical value {k}": (colour, "X") for k, colour in enumerate(LEVEL_COLOURS)},
                   "no tie": (LEVEL_COLOURS[0], "o"), "a tie decides": (LEVEL_COLOURS[3], "v"),
                   "likelihood 100": (LEVEL_COLOURS[1], "s"),
                   "likelihood below 100": (LEVEL_COLOURS[2], "^")}  # fmt: skip


def subgroup_forest(table, counts, title=None):
    """Draw each metric of Table 5 by subgroup with its 95 % interval; the dotted line is that of all records.

    Parameters
    ----------
    table : DataFrame
        From :func:`cardiov.evaluation.subgroup_table`.
    counts : DataFrame
        From :func:`cardiov.evaluation.subgroup_counts`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    return _forests(table, counts["records"], _MEASURES, (180, 105), 2, title)


_LABEL_MEASURES = {"mae": _MEASURES["mae"], "error_2_or_more": "share of errors\nof 2 steps or more",
                   "accuracy": "accuracy", "auc_mean": _MEASURES["auc_mean"]}  # fmt: skip


def label_forest(table, counts, title=None):
    """Draw metrics by how certain the label is, with 95 % intervals; the dotted line is that of all records.

    Parameters
    ----------
    table : DataFrame
        From :func:`cardiov.evaluation.bootstrap_subsets`.
    counts : Series of int
        Records of each subset.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    return _forests(table, counts, _LABEL_MEASURES, (180, 58), 1, title)


def _forests(table, counts, measures, size, rows, title):
    """A panel a metric, in `rows` rows, with the intervals of the groups of `table` (group, metric) that have looks."""
    groups = [name for name in _SUBGROUP_LOOKS if name in table.index.unique(0)]
    figure = Figure(figsize=(size[0] * _MM, size[1] * _MM), layout="constrained", facecolor="white")
    panels = figure.subplots(rows, len(measures) // rows, sharey=True).flat
    for axes, (statistic, name) in zip(panels, measures.items(), strict=True):
        chosen = table.xs(statistic, level="statistic").loc[groups]
        _forest(axes, chosen)
        axes.axvline(chosen.loc["all", "estimate"], color="grey", lw=0.7, ls=":", zorder=0)
        axes.set_xlabel(name, fontsize=_USUAL)
        axes.set_yticks(range(len(groups)), [f"{group} ({counts[group]:,})" for group in groups])
        axes.tick_params(labelsize=_USUAL)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(len(groups) - 0.5, -0.5)  # shared: the first group on top
    if title:
        figure.suptitle(fill(title, int(size[0] / _LETTER)), fontsize=_USUAL)
    return figure


def _forest(axes, rows):
    """Estimates with intervals, one below the other; "undefined" where there is none."""
    for y, (group, row) in enumerate(rows.iterrows()):
        colour, marker = _SUBGROUP_LOOKS.get(group, ("black", "o"))
        axes.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.5)
        axes.plot(row["estimate"], y, marker, color=colour, ms=4.5)
        if np.isnan(row["estimate"]):
            axes.text(0.5, y, "undefined", transform=axes.get_yaxis_transform(), ha="center", va="center", size=_SMALL)


_SIDE_LOOKS = {"label": (LEVEL_COLOURS[0], ""), "model": (LEVEL_COLOURS[2], "//"), "neither": ("#bbbbbb", "..")}


def agreement_bars(shares, title=None):
    """Draw with whom readers side on wrongly predicted records, with exact 95 % intervals.

    Parameters
    ----------
    shares : DataFrame
        From :func:`cardiov.evaluation.side_shares`, indexed by ``reader`` and ``side``.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    readers = shares.index.unique("reader")
    figure, (axes,) = _statistics_axes(120, 80, title=title)
    for k, (side, (colour, hatch)) in enumerate(_SIDE_LOOKS.items()):
        rows = 100 * shares.xs(side, level="side").loc[readers, ["share", "low", "high"]]
        x = np.arange(len(readers)) + 0.27 * (k - 1)
        ends = [rows["share"] - rows["low"], rows["high"] - rows["share"]]
        looks = {"color": colour, "hatch": hatch, "edgecolor": "white"}
        label = f"sides with {'' if side == 'neither' else 'the '}{side}"
        axes.bar(x, rows["share"], 0.25, yerr=ends, ecolor="black", capsize=2, error_kw={"lw": 1}, label=label, **looks)
        for at, share, high in zip(x, rows["share"], rows["high"], strict=True):
            axes.text(at, high + 1.5, f"{share:.1f} %", ha="center", size=_SMALL)
    totals = shares["records"].groupby("reader").sum()
    axes.set_xticks(range(len(readers)), [f"{reader}\n({totals[reader]:,} records)" for reader in readers])
    axes.set_xlim(-0.6, len(readers) - 0.4)
    axes.set_ylim(0, 100)
    axes.set_ylabel("share of the reread records (%)", fontsize=_USUAL)
    figure.legend(loc="outside lower center", ncols=3, fontsize=_USUAL, frameon=False)
    return figure


_ERROR_KINDS = {"adjacent": "errors to neighbouring values", "any": "errors to any value"}


def agreement_selection(table, published=None, title=None):
    """Draw a simulated reader's agreement on all records and on the wrongly predicted ones.

    Parameters
    ----------
    table : DataFrame
        From :func:`cardiov.review.selection`.
    published : dict, optional
        Published agreement on the wrongly predicted records in percent, "label" and "model", drawn as dotted lines.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
        A row of panels a kind of reading error, a column a scenario.
    """
    kinds, scenarios = table["errors"].unique(), table["scenario"].unique()
    figure = Figure(figsize=(180 * _MM, 125 * _MM), layout="constrained", facecolor="white")
    panels = figure.subplots(len(kinds), len(scenarios), sharex=True, sharey=True, squeeze=False)
    for (row, column), axes in np.ndenumerate(panels):
        lines = table[(table["errors"] == kinds[row]) & (table["scenario"] == scenarios[column])]
        _selection_lines(axes, lines, published or {})
        label, model = (f"{100 * lines[f'{name}_accuracy'].iloc[0]:.0f} %" for name in ("label", "model"))
        heading = f"{scenarios[column]}: label {label}, model {model}\n{_ERROR_KINDS[kinds[row]]}"
        axes.set_title(heading, fontsize=_USUAL)
    for axes in panels[:, 0]:
        axes.set_ylabel("reader's agreement (%)", fontsize=_USUAL)
    for axes in panels[-1]:
        axes.set_xlabel("reader's accuracy (%)", fontsize=_USUAL)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=_USUAL, frameon=False)
    if title:
        figure.suptitle(fill(title, int(180 / _LETTER)), fontsize=_USUAL)
    return figure


def _selection_lines(axes, lines, published):
    x = 100 * lines["reader_accuracy"]
    for side, marker, size, face in (("label", "o", 5, "none"), ("model", "s", 2.5, None)):  # equal curves stay visible
        colour = _SIDE_LOOKS[side][0]
        for subset, style, name in (("all", "--", "all records"), ("wrong", "-", "wrongly predicted records")):
            looks = {"marker": marker, "ms": size, "mfc": face, "color": colour, "lw": 1.2}
            axes.plot(x, 100 * lines[f"{side}_{subset}"], style, label=f"with the {side}, {name}", **looks)
        if side in published:
            axes.axhline(published[side], color=colour, lw=0.8, ls=":", label=f"with the {side}, published")
    axes.set(ylim=(0, 100))
    axes.tick_params(labelsize=_USUAL)
    axes.spines[["top", "right"]].set_visible(False)


# Calibration

_QUESTION_LOOKS = {  # colour, words
    "most probable value": ("black", "is the most probable\nvalue the label?"),
    **{f"above {k}": (LEVEL_COLOURS[k + 1], f"is the critical\nvalue above {k}?") for k in range(3)},
}


def reliability_diagram(before, after, title=None):
    """Draw how often what is called so likely comes true, before calibration and after it.

    A panel for each question; the larger a dot, the more records. On the diagonal, probabilities are right.

    Parameters
    ----------
    before, after : DataFrame
        From :func:`cardiov.calibration.reliability`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(180 * _MM, 104 * _MM), layout="constrained", facecolor="white")
    panels = figure.subplots(2, len(_QUESTION_LOOKS), sharex=True, sharey=True)
    for row, table in zip(panels, (before, after), strict=True):
        for axes, (question, (colour, _)) in zip(row, _QUESTION_LOOKS.items(), strict=True):
            _reliability_dots(axes, table.loc[question], colour, table["records"].max())
    for axes, (_, words) in zip(panels[0], _QUESTION_LOOKS.values(), strict=True):
        axes.set_title(words, fontsize=_USUAL)
    for axes, words in zip(panels[:, 0], ("before", "after"), strict=True):
        axes.set_ylabel(f"{words} temperature scaling:\nshare that came true", fontsize=_USUAL)
    figure.supxlabel("mean predicted probability", fontsize=_USUAL)
    if title:
        figure.suptitle(fill(title, int(180 / _LETTER)), fontsize=_USUAL)
    return figure


def _reliability_dots(axes, rows, colour, largest):
    """The bins of one question with their intervals, and the diagonal."""
    axes.plot([0, 1], [0, 1], color="grey", lw=0.7, ls=":", zorder=0)
    axes.vlines(rows["predicted"], rows["low"], rows["high"], color=colour, lw=0.8)
    axes.scatter(rows["predicted"], rows["observed"], s=8 + 50 * rows["records"] / largest, color=colour, zorder=3)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes.tick_params(labelsize=_USUAL)
    axes.spines[["top", "right"]].set_visible(False)


def coverage_forest(table, stated, title=None):
    """Draw by group how often ranges of critical values hold the label, and how many values they have on average.

    Parameters
    ----------
    table : DataFrame
        From :func:`cardiov.calibration.coverage_table`.
    stated : float
        The coverage that was promised, drawn as a dotted line; in the panel of sizes the line is that of all records.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (shares, sizes) = _statistics_axes(180, 18 + 8 * len(table), columns=2, title=title)
    _forest(shares, table)
    shares.set_xlabel("share of ranges that hold the label (95 % interval)", fontsize=_USUAL)
    _forest(sizes, table.assign(estimate=table["mean_size"], low=np.nan, high=np.nan))
    sizes.set_xlabel("mean number of critical values in a range", fontsize=_USUAL)
    for axes, line in ((shares, stated), (sizes, table.loc["all", "mean_size"])):
        axes.axvline(line, color="grey", lw=1, ls=":", zorder=0)
    sizes.set_xlim(0.9, len(LEVELS) + 0.1)
    shares.set_yticks(range(len(table)), [f"{group} ({n:,})" for group, n in table["records"].items()])
    shares.set_ylim(len(table) - 0.5, -0.5)
    return figure


# Recipes and methods compared


def comparison_forest(table, names, title=None):
    """Draw estimates or differences of several recipes, one panel a statistic, with their 95 % intervals.

    Parameters
    ----------
    table : DataFrame
        Indexed by recipe and ``statistic``, with ``estimate``, ``low`` and ``high``.
    names : dict of str to str
        Statistics to draw, and what to call each; a name that has "difference" in it gets a line at 0.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    recipes = table.index.unique(0)
    figure, panels = _statistics_axes(180, 20 + 6 * len(recipes), columns=len(names), title=title)
    for axes, (statistic, name) in zip(panels, names.items(), strict=True):
        rows = table.xs(statistic, level="statistic").loc[recipes]
        _forest(axes, rows)
        axes.set_xlabel(fill(name, int(150 / len(names) / _LETTER)), fontsize=_USUAL)
        if "difference" in name:
            axes.axvline(0, color="grey", lw=1, ls=":", zorder=0)
    panels[0].set_yticks(range(len(recipes)), recipes)
    panels[0].set_ylim(len(recipes) - 0.5, -0.5)
    return figure


# Learning curve

_CURVE_NAMES = {"auc_mean": "mean AUC", "mae": "mean absolute error (steps)"}
_LAWS = {"fit": (LEVEL_COLOURS[0], "-", "fitted power law with its band"),
         "forecast": (LEVEL_COLOURS[0], "--", "its forecast with its band"),
         "forecast without a floor": (LEVEL_COLOURS[2], ":", "forecast of a law without a floor")}  # fmt: skip


def learning_curve(points, title=None):
    """Draw mean AUC and MAE against the number of training records, and what fitted power laws forecast of more.

    Parameters
    ----------
    points : DataFrame
        From :func:`cardiov.scaling.curve_points`; rows of the kind "published" are drawn as stars.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
        Bands and bars are 95 % intervals over patients and training seeds.
    """
    figure = Figure(figsize=(180 * _MM, 85 * _MM), layout="constrained", facecolor="white")
    for axes, (statistic, name) in zip(figure.subplots(1, 2), _CURVE_NAMES.items(), strict=True):
        kinds = dict(iter(points[points["statistic"] == statistic].groupby("kind")))
        _curve(axes, kinds)
        axes.set_xscale("log")
        ticks = [*kinds["mean"]["records"], kinds["forecast"]["records"].max()]
        axes.set_xticks(ticks, [f"{n:,.0f}" for n in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("training records", fontsize=_USUAL)
        axes.set_ylabel(name, fontsize=_USUAL)
        axes.tick_params(labelsize=_USUAL)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=_SMALL, frameon=False)
    if title:
        figure.suptitle(fill(title, int(180 / _LETTER)), fontsize=_USUAL)
    return figure


def _curve(axes, kinds):
    """Runs, means, laws with their bands and published figures of one statistic."""
    for kind, (colour, style, label) in _LAWS.items():
        law = kinds[kind]
        axes.plot(law["records"], law["estimate"], style, color=colour, lw=1.5, label=label)
        if kind in ("fit", "forecast"):
            strength = 0.25 if kind == "fit" else 0.12
            axes.fill_between(law["records"], law["low"], law["high"], color=colour, alpha=strength, lw=0)
    largest = kinds["fit"]["records"].max()
    axes.axvline(largest, color="grey", lw=0.7, ls=":", zorder=0)
    axes.text(1.1 * largest, 0.02, "forecast", transform=axes.get_xaxis_transform(), size=_SMALL, color="#555555")
    runs, mean = kinds["run"], kinds["mean"]
    axes.plot(runs["records"], runs["estimate"], "o", ms=4, mfc="none", color="grey", label="one training run")
    ends = [mean["estimate"] - mean["low"], mean["high"] - mean["estimate"]]
    axes.errorbar(mean["records"], mean["estimate"], ends, fmt="D", ms=4, lw=1, color="black", label="mean of the runs")
    if "published" in kinds:
        published = kinds["published"]
        axes.plot(published["records"], published["estimate"], "*", ms=10, color=LEVEL_COLOURS[3], label="published")
