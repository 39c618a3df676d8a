"""The ordinal framework (Fig. 1) and the loss during training."""

import numpy as np
import seaborn

from cardiov.mapping import LEVELS
from cardiov.plots.style import LEVEL_COLOURS, panels, styled


@styled
def learning_curves(histories, title=None):
    """Draw histories of `cardiov.training.run.fit`, told apart by ``seed``: both losses per epoch, a panel for each training step."""
    phases = histories["phase"].unique()
    figure, (row,) = panels(180, 65, columns=len(phases), title=title)
    losses = histories.rename(columns=lambda name: name.removesuffix("_loss"))
    long = losses.melt(["seed", "phase", "epoch"], ["train", "validation"], "split", "loss")
    look = {"hue": "split", "style": "split", "units": "seed", "palette": LEVEL_COLOURS[::3], "markers": ["o", "s"], "lw": 1}
    for axes, phase in zip(row, phases, strict=True):
        steps = long[long["phase"] == phase]
        seaborn.lineplot(steps, x="epoch", y="loss", estimator=None, **look, legend=axes is row[-1], ax=axes)
        axes.set(title=f"{phase} loss", ylabel="mean loss per record" if axes is row[0] else "")
        axes.xaxis.get_major_locator().set_params(integer=True)
    row[-1].legend()  # without a title
    return figure


@styled
def ordinal_framework(thresholds):
    """Draw how three threshold probabilities become four class probabilities (Fig. 1 of the paper, Eqs. 3 and 6).

    Parameters
    ----------
    thresholds : sequence of 3 float
        p1, p2, p3: the probabilities that the critical value is above 0, above 1 and above 2; not increasing.
    """
    figure, ((flow, questions, classes),) = panels(180, 75, columns=3, width_ratios=(0.9, 1, 1.1))
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
    axes.axis("off")
    steps = ("ECG\n12 leads × n samples", "CardioV\n61 convolutions", "3 logits z", "p = sigmoid(z)", "4 class probabilities")
    for i, step in enumerate(steps):
        y = 0.92 - 0.21 * i
        axes.text(0.5, y, step, ha="center", va="center", bbox={"boxstyle": "round,pad=0.4", "fc": "#eeeeee"})
        if i:
            axes.annotate("", (0.5, y + 0.065), (0.5, y + 0.145), arrowprops={"arrowstyle": "->", "lw": 1})


def _labelled_bars(axes, names, left, right, colours, title):
    """Horizontal bars from the top down, from `left` to `right`, each with its length."""
    bars = axes.barh(names, np.subtract(right, left), left=left, color=colours)
    axes.bar_label(bars, fmt="{:.2f}", padding=3)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.2), title=title, xlabel="probability")
