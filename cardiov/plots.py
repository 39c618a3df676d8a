"""Figures: ECG paper, ROC curves, confusion matrices, label distributions.

Every function returns a :class:`matplotlib.figure.Figure` that belongs to nobody's pyplot state.
"""

from textwrap import fill

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

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


def ecg_paper(signal, fs, title=None, leads=LEADS):
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
    return figure


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
