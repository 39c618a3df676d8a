"""ROC curves, confusion matrices and distributions of labels."""

import numpy as np

from cardiov.mapping import LEVELS
from cardiov.plots.style import LEVEL_COLOURS, SMALL, USUAL, statistics_axes

LEVEL_STYLES = ("-", "--", "-.", ":")
_INK_ON_LEVEL = ("white", "black", "black", "white")


def roc_curves(points, intervals, title=None):
    """Draw the ROC curve of each critical value against the rest, and their mean (Fig. 2 of the paper).

    Parameters
    ----------
    points : DataFrame
        From :func:`cardiov.analysis.metrics.roc_table`.
    intervals : DataFrame
        From :func:`cardiov.analysis.resampling.bootstrap`; its AUCs are told in the legend.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (axes,) = statistics_axes(120, 115, title=title)
    names = {str(k): f"{k} {name}" for k, name in enumerate(LEVELS)} | {"mean": "mean of the four"}
    looks = dict(zip(names, zip(LEVEL_COLOURS, LEVEL_STYLES, strict=True), strict=False)) | {"mean": ("black", "-")}
    for curve, line in points.groupby("curve"):
        auc = intervals.loc[f"auc_{curve}"]
        label = f"{names[curve]}: AUC {auc['estimate']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})"
        colour, style = looks[curve]
        axes.plot(line["false_positive_rate"], line["true_positive_rate"], style, color=colour, lw=1.5, label=label)
    axes.plot([0, 1], [0, 1], color="grey", lw=0.7, label="chance: AUC 0.5")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel("false positive rate (1 − specificity)", fontsize=USUAL)
    axes.set_ylabel("true positive rate (sensitivity)", fontsize=USUAL)
    legend = axes.legend(fontsize=SMALL, loc="lower right", frameon=False)
    legend.set_title("critical value (95 % interval)", prop={"size": SMALL})
    return figure


def confusion_matrix(counts, title=None):
    """Draw how often each critical value is predicted as each, shaded by the share of its own row.

    Parameters
    ----------
    counts : DataFrame, shape (4, 4)
        From :func:`cardiov.analysis.metrics.confusion`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (axes,) = statistics_axes(95, 85, title=title)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        ink = "white" if share > 0.5 else "black"
        text = f"{counts.iloc[row, column]:,}\n{100 * share:.0f} %"
        axes.text(column, row, text, ha="center", va="center", color=ink, size=USUAL)
    names = [f"{k} {name.removesuffix(' risk')}" for k, name in enumerate(LEVELS)]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted risk", fontsize=USUAL)
    axes.set_ylabel("labelled risk", fontsize=USUAL)
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
    figure, panels = statistics_axes(180, 62, columns=len(rules), title=title)
    figure.get_layout_engine().set(wspace=0.06)
    for axes, rule in zip(panels, rules, strict=True):
        _stacked_shares(axes, counts.loc[rule])
        axes.set_title(f"rule: {rule}", fontsize=USUAL)
        axes.set_xlabel("share of the split's records (%)", fontsize=USUAL)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(LEVELS), fontsize=USUAL, frameon=False)
    return figure


def _stacked_shares(axes, table):
    """One bar a row of `table` (records by critical value), as long as 100 %."""
    shares = 100 * table.div(table.sum(axis=1), axis=0)
    names = [f"{split} (n = {n:,})" for split, n in table.sum(axis=1).items()]
    left = np.zeros(len(table))
    for k, (colour, ink) in enumerate(zip(LEVEL_COLOURS, _INK_ON_LEVEL, strict=True)):
        bars = axes.barh(names, shares[k], left=left, color=colour, edgecolor="white", label=f"{k} {LEVELS[k]}")
        texts = [f"{share:.0f}" if share >= 4 else "" for share in shares[k]]
        axes.bar_label(bars, texts, label_type="center", color=ink, fontsize=SMALL)
        left += shares[k].to_numpy()
    axes.set_xlim(0, 100)
