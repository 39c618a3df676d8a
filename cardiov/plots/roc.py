"""ROC curves, confusion matrices, and who is in a data set."""

import numpy as np
import pandas as pd
import seaborn

from cardiov.mapping import LEVELS
from cardiov.plots.style import LEVEL_COLOURS, legend_below, panels, styled

_LEVELS = [f"{k} {name}" for k, name in enumerate(LEVELS)]
# curve -> colour and dashes: curves differ by more than colour
CURVES = {"0": (LEVEL_COLOURS[0], ""), "1": (LEVEL_COLOURS[1], (4, 1.5)), "2": (LEVEL_COLOURS[2], (6, 1, 1.5, 1)),
           "3": (LEVEL_COLOURS[3], (1, 1)), "mean": ("black", "")}  # fmt: skip


@styled
def roc_curves(points, intervals, title=None):
    """Draw the ROC curve of each critical value against the rest, and their mean (Fig. 2 of the paper).

    Parameters
    ----------
    points : DataFrame of `cardiov.analysis.metrics.roc_table`
    intervals : DataFrame of `cardiov.analysis.resampling.bootstrap`
        The legend gives its AUCs.
    """
    figure, ((axes,),) = panels(120, 140, title=title)
    aucs = {curve: intervals.loc[f"auc_{curve}"] for curve in CURVES}
    names = dict(zip(CURVES, (*_LEVELS, "mean of the four"), strict=True))
    names = {k: f"{name}: AUC {aucs[k].estimate:.3f} ({aucs[k].low:.3f} to {aucs[k].high:.3f})" for k, name in names.items()}
    palette, dashes = ({names[curve]: look[i] for curve, look in CURVES.items()} for i in (0, 1))
    seaborn.lineplot(
        points.assign(curve=points["curve"].map(names)), x="false_positive_rate", y="true_positive_rate", estimator=None, sort=False,
        hue="curve", hue_order=palette, palette=palette, style="curve", dashes=dashes, ax=axes,
    )  # fmt: skip
    axes.get_legend().remove()
    axes.plot([0, 1], [0, 1], color="grey", lw=0.7, label="chance: AUC 0.5")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set(xlabel="false positive rate (1 − specificity)", ylabel="true positive rate (sensitivity)")
    legend_below(figure, axes, 2, "critical value (95 % interval)")
    return figure


@styled
def confusion_matrix(counts, title=None):
    """Draw the counts of `cardiov.analysis.metrics.confusion`, shaded by their share of the row, that is, of the label."""
    figure, ((axes,),) = panels(95, 85, title=title)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    texts = counts.map("{:,}\n".format) + (100 * shares).map("{:.0f} %".format)
    names = [name.removesuffix(" risk") for name in _LEVELS]
    look = {"cmap": "Blues", "vmin": 0, "vmax": 1, "cbar": False, "square": True}
    seaborn.heatmap(shares, annot=texts, fmt="", xticklabels=names, yticklabels=names, **look, ax=axes)
    axes.set(xlabel="predicted risk", ylabel="labelled risk")
    axes.tick_params(length=0, labelrotation=0)
    return figure


@styled
def alarm_matrix(label, probability, threshold):
    """Draw how many ECGs of each label alarm, that is, have a probability of high risk from `threshold` on.

    Parameters
    ----------
    label, probability : Series, shape (N,)
        Critical values, and probabilities of high risk.
    """
    alarm = np.where(probability >= threshold, "alarm", "no alarm")
    counts = pd.crosstab(label, alarm).reindex(index=range(4), columns=["no alarm", "alarm"], fill_value=0)
    found, alarms = counts.loc[3, "alarm"], counts["alarm"].sum()
    title = f"From a probability of {threshold:.2f} on: {alarms:,} alarms find {found:,} of {counts.loc[3].sum():,} of high risk"
    figure, ((axes,),) = panels(100, 85, title=title)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    texts = counts.map("{:,}\n".format) + (100 * shares).map("{:.0f} %".format)
    seaborn.heatmap(shares, annot=texts, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, yticklabels=_LEVELS, ax=axes)
    axes.set(xlabel="", ylabel="labelled risk")
    axes.tick_params(length=0, labelrotation=0)
    return figure


@styled
def label_distribution(counts, title=None):
    """Draw the share of each critical value in each data set, a row of panels for each split and a column for each label rule.

    Parameters
    ----------
    counts : DataFrame
        Records, indexed by ``records of`` (the data set), ``rule`` and ``split``, with the critical values 0 to 3 as columns.
    """
    rules, splits = (counts.index.unique(level) for level in ("rule", "split"))
    figure, grid = panels(180, 30 + 18 * len(splits), len(splits), len(rules), title=title, sharex=True, sharey="row")
    figure.get_layout_engine().set(wspace=0.06, hspace=0.04)
    for row, split in zip(grid, splits, strict=True):
        for axes, rule in zip(row, rules, strict=True):
            _share_bars(axes, counts.xs((rule, split), level=("rule", "split")))
        row[0].set_ylabel(split)
        row[0].invert_yaxis()  # which the row shares
    figure.align_ylabels()
    for top, bottom, rule in zip(grid[0], grid[-1], rules, strict=True):
        top.set_title(f"rule: {rule}")
        bottom.set_xlabel("share of the records (%)")
    legend_below(figure, axes, len(LEVELS))
    return figure


def _share_bars(axes, table):
    """A bar for each row of counts, stacked to 100 %."""
    records = table.sum(axis=1)
    names = [f"{name}, n = {n:,}" for name, n in records.items()]
    shares = 100 * table.set_axis(_LEVELS, axis=1).div(records, axis=0).set_axis(names)
    shares.plot.barh(stacked=True, width=0.85, color=LEVEL_COLOURS, edgecolor="white", legend=False, ax=axes)
    for bars, ink in zip(axes.containers, ("white", "black", "black", "black"), strict=True):
        axes.bar_label(bars, [f"{share:.0f}" if share >= 4 else "" for share in bars.datavalues], label_type="center", color=ink)
    axes.set(ylabel="", xlim=(0, 100))


@styled
def population(tables, title=None):
    """Draw age, sex and critical values of two tables of records beside each other, by their names, as shares of the records."""
    figure, (row,) = panels(180, 70, columns=3, title=title, width_ratios=(1.3, 0.7, 1))
    looks = zip(tables.items(), ("#999999", LEVEL_COLOURS[0]), (-0.2, 0.2), strict=True)
    for (name, records), colour, shift in looks:
        _decades(row[0], records["age"], color=colour, label=f"{name}, n = {len(records):,}")
        counts = [records["sex"].value_counts(normalize=True).reindex(["male", "female"], fill_value=0),
                  records["critical_value"].value_counts(normalize=True).reindex(range(4), fill_value=0)]  # fmt: skip
        for axes, shares in zip(row[1:], counts, strict=True):
            axes.bar(np.arange(len(shares)) + shift, 100 * shares, 0.4, color=colour)
            axes.set_xticks(range(len(shares)), shares.index)
    row[0].set(xlabel="age (years)", ylabel="share of the records (%)")
    row[1].set_xlabel("sex")
    row[2].set_xlabel("critical value")
    legend_below(figure, row[0], 2)
    return figure


def _decades(axes, ages, **look):
    shares, edges = np.histogram(ages.dropna(), np.arange(0, 101, 10))
    axes.stairs(100 * shares / shares.sum(), edges, lw=1.5, **look)
