"""Estimates with their intervals, one below the other: odds ratios, subgroups, labels, coverage, recipes."""

from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from cardiov.mapping import LEVELS
from cardiov.plots.style import LETTER, LEVEL_COLOURS, MM, SMALL, USUAL, statistics_axes


def odds_forest(odds, title=None):
    """Draw odds ratios with their intervals on a logarithmic axis, counts and numbers beside them.

    An interval that ends at 0 or infinity ends in an arrow at the axes' edge.

    Parameters
    ----------
    odds : DataFrame
        From :func:`cardiov.analysis.cases.error_odds`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    outcomes = odds.index.unique("outcome")
    figure, (axes,) = statistics_axes(166, 18 + 6 * (len(odds) + 2 * len(outcomes)), title=title)
    drawn = odds[["odds_ratio", "low", "high"]].to_numpy()
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    left, right = min(0.1, *drawn) / 1.5, max(10, *drawn) * 1.5
    y, names = 0, {}
    for outcome, colour, marker in zip(outcomes, LEVEL_COLOURS[::3], "os", strict=True):
        for x, text in ((0.02, outcome), (1.03, "annotated"), (1.23, "others"), (1.41, "odds ratio (95 % interval)")):
            axes.text(x, y, text, transform=axes.get_yaxis_transform(), size=SMALL, weight="bold", va="center")
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
    axes.set_xlabel("odds ratio: more errors where annotated to the right of 1, fewer to the left", fontsize=USUAL)
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
        axes.text(x, y, text, transform=axes.get_yaxis_transform(), size=SMALL, va="center")


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
        From :func:`cardiov.analysis.subgroups.subgroup_table`.
    counts : DataFrame
        From :func:`cardiov.analysis.subgroups.subgroup_counts`.
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
        From :func:`cardiov.analysis.resampling.bootstrap_subsets`.
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
    figure = Figure(figsize=(size[0] * MM, size[1] * MM), layout="constrained", facecolor="white")
    panels = figure.subplots(rows, len(measures) // rows, sharey=True).flat
    for axes, (statistic, name) in zip(panels, measures.items(), strict=True):
        chosen = table.xs(statistic, level="statistic").loc[groups]
        _forest(axes, chosen)
        axes.axvline(chosen.loc["all", "estimate"], color="grey", lw=0.7, ls=":", zorder=0)
        axes.set_xlabel(name, fontsize=USUAL)
        axes.set_yticks(range(len(groups)), [f"{group} ({counts[group]:,})" for group in groups])
        axes.tick_params(labelsize=USUAL)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(len(groups) - 0.5, -0.5)  # shared: the first group on top
    if title:
        figure.suptitle(fill(title, int(size[0] / LETTER)), fontsize=USUAL)
    return figure


def _forest(axes, rows):
    """Estimates with intervals, one below the other; "undefined" where there is none."""
    for y, (group, row) in enumerate(rows.iterrows()):
        colour, marker = _SUBGROUP_LOOKS.get(group, ("black", "o"))
        axes.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.5)
        axes.plot(row["estimate"], y, marker, color=colour, ms=4.5)
        if np.isnan(row["estimate"]):
            axes.text(0.5, y, "undefined", transform=axes.get_yaxis_transform(), ha="center", va="center", size=SMALL)


def coverage_forest(table, stated, title=None):
    """Draw by group how often ranges of critical values hold the label, and how many values they have on average.

    Parameters
    ----------
    table : DataFrame
        From :func:`cardiov.analysis.probabilities.coverage_table`.
    stated : float
        The coverage that was promised, drawn as a dotted line; in the panel of sizes the line is that of all records.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (shares, sizes) = statistics_axes(180, 18 + 8 * len(table), columns=2, title=title)
    _forest(shares, table)
    shares.set_xlabel("share of ranges that hold the label (95 % interval)", fontsize=USUAL)
    _forest(sizes, table.assign(estimate=table["mean_size"], low=np.nan, high=np.nan))
    sizes.set_xlabel("mean number of critical values in a range", fontsize=USUAL)
    for axes, line in ((shares, stated), (sizes, table.loc["all", "mean_size"])):
        axes.axvline(line, color="grey", lw=1, ls=":", zorder=0)
    sizes.set_xlim(0.9, len(LEVELS) + 0.1)
    shares.set_yticks(range(len(table)), [f"{group} ({n:,})" for group, n in table["records"].items()])
    shares.set_ylim(len(table) - 0.5, -0.5)
    return figure


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
    figure, panels = statistics_axes(180, 20 + 6 * len(recipes), columns=len(names), title=title)
    for axes, (statistic, name) in zip(panels, names.items(), strict=True):
        rows = table.xs(statistic, level="statistic").loc[recipes]
        _forest(axes, rows)
        axes.set_xlabel(fill(name, int(150 / len(names) / LETTER)), fontsize=USUAL)
        if "difference" in name:
            axes.axvline(0, color="grey", lw=1, ls=":", zorder=0)
    panels[0].set_yticks(range(len(recipes)), recipes)
    panels[0].set_ylim(len(recipes) - 0.5, -0.5)
    return figure
