"""Estimates with their intervals, one below the other: odds ratios, subgroups, labels, coverage, recipes."""

from textwrap import fill

import numpy as np
import seaborn

from cardiov.plots.style import INTERVAL, LEVEL_COLOURS, REFERENCE, interval_values, legend_below, panels, styled


@styled
def odds_forest(odds, title=None):
    """Draw the odds ratios of `cardiov.analysis.cases.error_odds` on a logarithmic axis, counts and numbers beside them.

    An interval that ends at 0 or infinity ends in an arrow at the axes' edge.
    """
    outcomes = odds.index.unique("outcome")
    figure, ((axes,),) = panels(166, 18 + 6 * (len(odds) + 2 * len(outcomes)), title=title)
    drawn = odds[["odds_ratio", "low", "high"]].to_numpy()
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    edges = min(0.1, *drawn) / 1.5, max(10, *drawn) * 1.5
    y, names = 0, {}
    for outcome, colour, marker in zip(outcomes, LEVEL_COLOURS[::3], "os", strict=True):
        _texts(axes, y, (outcome, "annotated", "others", "odds ratio (95 % interval)"), weight="bold")
        for y, (annotation, row) in enumerate(odds.loc[outcome].iterrows(), start=y + 1):
            names[y] = annotation
            _odds_row(axes, y, row, edges, {"color": colour, "marker": marker})
        y += 2
    axes.axvline(1, color="black", lw=0.7)
    axes.set(xscale="log", xlim=edges, ylim=(y - 1.3, -0.7), yticks=list(names), yticklabels=names.values())
    axes.tick_params(axis="y", length=0, pad=7)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("odds ratio: more errors where annotated to the right of 1, fewer to the left")
    return figure


def _texts(axes, y, texts, **look):
    """One text in the axes and three columns to their right."""
    for x, text in zip((0.02, 1.03, 1.23, 1.41), texts, strict=True):
        axes.text(x, y, text, transform=axes.get_yaxis_transform(), va="center", **look)


def _odds_row(axes, y, row, edges, look):
    """One interval, with arrows where it has no end, and its numbers."""
    ratio, *bounds = row[["odds_ratio", "low", "high"]]
    ends = np.clip(bounds, *edges)
    axes.plot(ends, [y, y], color=look["color"], lw=1.2)
    for end, bound, arrow in zip(ends, bounds, "<>", strict=True):
        if bound != end:
            axes.plot(end, y, arrow, color=look["color"], ms=5, clip_on=False)
    if edges[0] < ratio < edges[1]:
        axes.plot(ratio, y, ls="", ms=5, **look)
    counts = [f"{row[f'{side}_with']:.0f} of {row.filter(like=side).sum():.0f}" for side in ("annotated", "others")]
    shown, low, high = ("∞" if np.isinf(value) else f"{value:.2f}" for value in (ratio, *bounds))
    _texts(axes, y, ("", *counts, f"{shown.replace('nan', 'undefined')} ({low} to {high})"))


_LOOKS = {"all": ("black", "D"), "male": (LEVEL_COLOURS[0], "o"), "female": (LEVEL_COLOURS[2], "s"),
          "age < 65": (LEVEL_COLOURS[1], "^"), "age >= 65": (LEVEL_COLOURS[3], "v"),
          **{f"critical value {k}": (colour, "X") for k, colour in enumerate(LEVEL_COLOURS)},
          "no tie": (LEVEL_COLOURS[0], "o"), "a tie decides": (LEVEL_COLOURS[3], "v"),
          "likelihood 100": (LEVEL_COLOURS[1], "s"), "likelihood below 100": (LEVEL_COLOURS[2], "^")}  # fmt: skip


def _forest(axes, rows, names, reference=None, kept=(), missing="not available", **labels):
    """Estimates with intervals from the top down, `missing` where there is none, and a line to compare with."""
    rows, groups = rows.rename_axis("group"), list(rows.index)
    looks = _LOOKS | dict.fromkeys(kept, (LEVEL_COLOURS[3], "o"))
    palette, markers = zip(*(looks.get(group, ("black", "o")) for group in groups), strict=True)
    look = {"palette": list(palette), "markers": list(markers), "linestyle": "none", "lw": 1.5, "ms": 5.5, "mew": 0}
    values = interval_values(rows)
    seaborn.pointplot(values, x="value", y="group", order=groups, hue="group", hue_order=groups, **INTERVAL, **look, ax=axes)
    for y in np.flatnonzero(rows["estimate"].isna()):
        axes.text(0.5, y, missing, transform=axes.get_yaxis_transform(), ha="center", va="center")
    if reference is not None:
        axes.axvline(reference, **REFERENCE)
    axes.set_yticks(range(len(rows)), names)
    axes.locator_params(axis="x", nbins=10 // axes.get_gridspec().ncols)
    axes.set(ylabel="", **labels)


_MEASURES = {
    "mae": "mean absolute error\n(steps; lower is better)", "accuracy": "accuracy\n(higher is better)",
    "auc_mean": "AUC, mean of the four\n(higher is better)", "auc_3": "AUC of high risk\n(higher is better)",
}
_RANGES = {"mae": (0, None), "accuracy": (0, 1), "auc_mean": (0.5, 1), "auc_3": (0.5, 1)}  # common to all such figures


@styled
def subgroup_forest(table, counts, title=None):
    """Draw error, accuracy and AUCs by subgroup with their 95 % intervals, a panel for each; dotted: all records.

    Parameters
    ----------
    table : DataFrame
        Indexed by group and ``statistic``, with ``estimate``, ``low`` and ``high``; groups without looks are left out.
    counts : Series of int
        Records of each group.
    """
    groups = [name for name in _LOOKS if name in table.index.unique(0)]
    measures = [name for name in _MEASURES if name in table.index.unique("statistic")]
    figure, (row,) = panels(180, 26 + 6.5 * len(groups), columns=len(measures), title=title, sharey=True)
    for axes, name in zip(row, measures, strict=True):
        chosen = table.xs(name, level="statistic").loc[groups]
        _forest(axes, chosen, _counted(counts[groups]), chosen.loc["all", "estimate"], xlabel=_MEASURES[name], xlim=_RANGES[name])
    return figure


def _counted(counts):
    return [f"{group} ({n:,})" for group, n in counts.items()]


@styled
def coverage_forest(table, stated, title=None):
    """Draw by group how often ranges of critical values hold the label, and how many values they have on average.

    Parameters
    ----------
    table : DataFrame of `cardiov.analysis.probabilities.coverage_table`
    stated : float
        The coverage that was promised, dotted; the other dotted line is the mean size over all records.
    """
    figure, ((shares, sizes),) = panels(180, 18 + 8 * len(table), columns=2, title=title, sharey=True)
    names = _counted(table["records"])
    _forest(shares, table, names, stated, xlabel="share of ranges that hold the label (95 % interval)")
    mean = table.assign(estimate=table["mean_size"], low=np.nan, high=np.nan)
    _forest(sizes, mean, names, mean.loc["all", "estimate"], xlabel="mean number of critical values in a range", xlim=(0.9, 4.1))
    return figure


@styled
def comparison_forest(table, names, title=None, published=None, kept=(), missing="not available"):
    """Draw estimates or differences of several recipes with their 95 % intervals, a panel for each statistic.

    Parameters
    ----------
    table : DataFrame
        Indexed by recipe and ``statistic``, with ``estimate``, ``low`` and ``high``.
    names : dict of str to str
        What to call each statistic that is drawn, and which direction is better; one with "difference" gets a line at 0.
    published : dict of str to float, optional
        The published value of a statistic, drawn as a line.
    kept : sequence of str, optional
        Recipes that are drawn in colour.
    missing : str
        What to say where there is no estimate.
    """
    recipes, published = table.index.unique(0), published or {}
    figure, (row,) = panels(180, 24 + 6 * len(recipes), columns=len(names), title=title, sharey=True)
    for axes, (statistic, name) in zip(row, names.items(), strict=True):
        rows = table.xs(statistic, level="statistic").reindex(recipes)
        _forest(axes, rows, recipes, 0 if "difference" in name else None, kept, missing, xlabel=fill(name, int(90 / len(names))))
        if statistic in published:
            axes.axvline(published[statistic], color=LEVEL_COLOURS[3], lw=1, ls="--", zorder=0, label="published")
            marked = axes
    if published:
        legend_below(figure, marked, 1)
    return figure
