"""Curves: error distributions, disturbed signals, reliability and the learning curve."""

from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cardiov.plots.style import LETTER, LEVEL_COLOURS, MM, SMALL, USUAL, statistics_axes

# Architecture search

_PAIR = {"any": (LEVEL_COLOURS[0], "--", "o"), "growing": (LEVEL_COLOURS[3], "-", "s"),
         "without": (LEVEL_COLOURS[0], "--", "o"), "with": (LEVEL_COLOURS[3], "-", "s")}  # fmt: skip
_ERROR = "error: 1 − mean AUC, validation split"


def error_distributions(table, reference, title=None):
    """Draw the error distribution functions of groups of networks, with their bands and the paper's network.

    Parameters
    ----------
    table : DataFrame
        From :func:`cardiov.analysis.search.error_distributions`; a panel for each ``panel``.
    reference : sequence of float
        Errors of the paper's network, one for each seed.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = table["panel"].unique()
    figure, panels = statistics_axes(180, 85, columns=len(names), title=title)
    for axes, name in zip(panels, names, strict=True):
        for group, curve in table[table["panel"] == name].groupby("group"):
            colour, style, _ = _PAIR[group.split()[0]]
            look = {"facecolor": (colour, 0.12), "edgecolor": (colour, 0.6), "lw": 0.5}
            axes.fill_between(curve["error"], curve["low"], curve["high"], step="pre", **look)
            axes.step(curve["error"], curve["share"], style, where="pre", color=colour, lw=1.5, label=group)
        axes.axvspan(min(reference), max(reference), color="black", alpha=0.12, lw=0)
        label = f"the paper's network ({len(reference)} seeds)"
        axes.axvline(np.mean(reference), color="black", ls=":", lw=1.5, label=label)
        axes.set_title(name, fontsize=USUAL)
        axes.set_xlabel(_ERROR, fontsize=USUAL)
        axes.locator_params(axis="x", nbins=6)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(fontsize=SMALL, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False)
    panels[0].set_ylabel("share of networks with a lower error", fontsize=USUAL)
    return figure


def searched_networks(models, title=None):
    """Draw the error of each network of a search against its multiply-adds and against its parameters.

    Parameters
    ----------
    models : DataFrame
        From :func:`cardiov.store.results.read_models`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, panels = statistics_axes(180, 80, columns=2, title=title)
    sampled, reference = (models[models["role"] == role] for role in ("sampled", "reference"))
    for axes, column in zip(panels, ("multiply_adds", "parameters"), strict=True):
        for (space, gated), group in sampled.groupby(["space", "squeeze_excitation"]):
            colour, _, marker = _PAIR[space]
            face, label = (colour, "with") if gated else ("none", "without")
            look = {"marker": marker, "s": 28, "edgecolors": colour, "facecolors": face, "linewidths": 1.2}
            axes.scatter(group[column] / 1e6, group["error"], **look, label=f"{space}, {label} squeeze-excitation")
        x = reference[column] / 1e6
        axes.scatter(x, reference["error"], marker="*", s=70, color="black", label="the paper's network, each seed")
        axes.set_xlabel(f"{column.replace('_', '-')} (millions)", fontsize=USUAL)
    panels[0].set_ylabel(_ERROR, fontsize=USUAL)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    return figure


# Cases and disturbances

_STRESS_NAMES = {"mae": "mean absolute error", "auc_mean": "mean AUC"}


def stress_panels(metrics, units, title=None):
    """Draw MAE and mean AUC against the strength of each disturbance, a column of panels for each.

    Filled points differ from the undisturbed records: the interval of the paired difference excludes 0. The grey band
    is the undisturbed records' interval.

    Parameters
    ----------
    metrics : DataFrame
        From :func:`cardiov.analysis.cases.stress_metrics`.
    units : dict of str to str
        Unit of each disturbance's strength.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(180 * MM, 100 * MM), layout="constrained", facecolor="white")
    panels = figure.subplots(len(_STRESS_NAMES), len(units), sharex="col", sharey="row", squeeze=False)
    for row, (statistic, label) in zip(panels, _STRESS_NAMES.items(), strict=True):
        chosen = metrics.xs(statistic, level="statistic")
        difference = metrics.xs(f"{statistic}_difference", level="statistic")
        shifted = (difference["low"] > 0) | (difference["high"] < 0)
        for axes, disturbance in zip(row, units, strict=True):
            _band(axes, chosen.loc["none"].iloc[0])
            _stress_points(axes, chosen.loc[disturbance], shifted.loc[disturbance], bool(units[disturbance]))
        row[0].set_ylabel(label, fontsize=USUAL)
    for axes, (disturbance, unit) in zip(panels[0], units.items(), strict=True):
        axes.set_title(disturbance, fontsize=USUAL)
    for axes, unit in zip(panels[-1], units.values(), strict=True):
        axes.set_xlabel(unit or "electrodes swapped", fontsize=USUAL)
        axes.tick_params(axis="x", labelrotation=0 if unit else 90)
    _stress_legend(figure)
    if title:
        figure.suptitle(fill(title, int(180 / LETTER)), fontsize=USUAL)
    return figure


def _stress_legend(figure):
    look = {"marker": "o", "ls": "", "ms": 4.5, "markeredgecolor": LEVEL_COLOURS[0]}
    handles = [
        Patch(color="#e4e4e4", label="undisturbed"),
        Line2D([], [], **look, markerfacecolor=LEVEL_COLOURS[0], label="difference to undisturbed excludes 0"),
        Line2D([], [], **look, markerfacecolor="white", label="difference includes 0"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)


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
    axes.tick_params(labelsize=USUAL)
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
        From :func:`cardiov.analysis.probabilities.reliability`.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(180 * MM, 104 * MM), layout="constrained", facecolor="white")
    panels = figure.subplots(2, len(_QUESTION_LOOKS), sharex=True, sharey=True)
    for row, table in zip(panels, (before, after), strict=True):
        for axes, (question, (colour, _)) in zip(row, _QUESTION_LOOKS.items(), strict=True):
            _reliability_dots(axes, table.loc[question], colour, table["records"].max())
    for axes, (_, words) in zip(panels[0], _QUESTION_LOOKS.values(), strict=True):
        axes.set_title(words, fontsize=USUAL)
    for axes, words in zip(panels[:, 0], ("before", "after"), strict=True):
        axes.set_ylabel(f"{words} temperature scaling:\nshare that came true", fontsize=USUAL)
    figure.supxlabel("mean predicted probability", fontsize=USUAL)
    if title:
        figure.suptitle(fill(title, int(180 / LETTER)), fontsize=USUAL)
    return figure


def _reliability_dots(axes, rows, colour, largest):
    """The bins of one question with their intervals, and the diagonal."""
    axes.plot([0, 1], [0, 1], color="grey", lw=0.7, ls=":", zorder=0)
    axes.vlines(rows["predicted"], rows["low"], rows["high"], color=colour, lw=0.8)
    axes.scatter(rows["predicted"], rows["observed"], s=8 + 50 * rows["records"] / largest, color=colour, zorder=3)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes.tick_params(labelsize=USUAL)
    axes.spines[["top", "right"]].set_visible(False)


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
        From :func:`cardiov.analysis.learning_curve.curve_points`; rows of the kind "published" are drawn as stars.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
        Bands and bars are 95 % intervals over patients and training seeds.
    """
    figure = Figure(figsize=(180 * MM, 85 * MM), layout="constrained", facecolor="white")
    for axes, (statistic, name) in zip(figure.subplots(1, 2), _CURVE_NAMES.items(), strict=True):
        kinds = dict(iter(points[points["statistic"] == statistic].groupby("kind")))
        _curve(axes, kinds)
        axes.set_xscale("log")
        ticks = [*kinds["mean"]["records"], kinds["forecast"]["records"].max()]
        axes.set_xticks(ticks, [f"{n:,.0f}" for n in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("training records", fontsize=USUAL)
        axes.set_ylabel(name, fontsize=USUAL)
        axes.tick_params(labelsize=USUAL)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    if title:
        figure.suptitle(fill(title, int(180 / LETTER)), fontsize=USUAL)
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
    axes.text(1.1 * largest, 0.02, "forecast", transform=axes.get_xaxis_transform(), size=SMALL, color="#555555")
    runs, mean = kinds["run"], kinds["mean"]
    axes.plot(runs["records"], runs["estimate"], "o", ms=4, mfc="none", color="grey", label="one training run")
    ends = [mean["estimate"] - mean["low"], mean["high"] - mean["estimate"]]
    axes.errorbar(mean["records"], mean["estimate"], ends, fmt="D", ms=4, lw=1, color="black", label="mean of the runs")
    if "published" in kinds:
        published = kinds["published"]
        axes.plot(published["records"], published["estimate"], "*", ms=10, color=LEVEL_COLOURS[3], label="published")
