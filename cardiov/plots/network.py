"""The ordinal framework (Fig. 1) and the loss during training."""

import numpy as np
from matplotlib.figure import Figure

from cardiov.mapping import LEVELS
from cardiov.plots.style import LEVEL_COLOURS, MM, USUAL, statistics_axes


def learning_curves(history, title=None):
    """Draw the loss of each epoch on training and validation records, a panel for each training step.

    Parameters
    ----------
    history : DataFrame
        Of :func:`cardiov.training.run.fit`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    phases = list(dict.fromkeys(history["phase"]))
    figure, panels = statistics_axes(180, 65, columns=len(phases), title=title)
    for axes, phase in zip(panels, phases, strict=True):
        rows = history[history["phase"] == phase]
        for split, colour, style in (("train", LEVEL_COLOURS[0], "o-"), ("validation", LEVEL_COLOURS[3], "s--")):
            axes.plot(rows["epoch"], rows[f"{split}_loss"], style, color=colour, lw=1.5, ms=4, label=split)
        axes.set_title(f"{phase} loss", fontsize=USUAL)
        axes.set_xlabel("epoch", fontsize=USUAL)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.tick_params(labelleft=True)
    panels[0].set_ylabel("mean loss a record", fontsize=USUAL)
    panels[-1].legend(fontsize=USUAL, frameon=False)
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
    figure = Figure(figsize=(180 * MM, 75 * MM), layout="constrained", facecolor="white")
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
        axes.text(0.5, y, step, ha="center", va="center", size=USUAL, bbox={"boxstyle": "round,pad=0.4", "fc": "#eeeeee"})
        if i:
            arrow = {"arrowstyle": "->", "lw": 1}
            axes.annotate("", (0.5, y + 0.065), (0.5, y + 0.145), arrowprops=arrow)


def _labelled_bars(axes, names, left, right, colours, title):
    """Horizontal bars from the top down, from `left` to `right`, each with its length."""
    widths = np.subtract(right, left)
    bars = axes.barh(names, widths, left=left, color=colours)
    axes.bar_label(bars, [f"{width:.2f}" for width in widths], padding=3, fontsize=USUAL)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2)
    axes.set_title(title, fontsize=USUAL)
    axes.set_xlabel("probability", fontsize=USUAL)
    axes.tick_params(labelsize=USUAL)
    axes.spines[["top", "right"]].set_visible(False)
