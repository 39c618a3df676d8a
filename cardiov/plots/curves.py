"""Curves: error distributions, disturbed signals, reliability and the learning curve."""

import numpy as np
import seaborn

from cardiov.plots.style import INTERVAL, LEVEL_COLOURS, REFERENCE, interval_values, legend_below, panels, styled

_GROUPS = {"any": (LEVEL_COLOURS[0], "--", "o"), "growing": (LEVEL_COLOURS[3], "-", "s"),
           "without": (LEVEL_COLOURS[0], "--", "o"), "with": (LEVEL_COLOURS[3], "-", "s")}  # fmt: skip
_ERROR = "error: 1 − mean AUC, validation split"


@styled
def error_strips(models, title=None):
    """Draw the error of each network of a search as a dot, by design space and by squeeze-excitation, beside the paper's network.

    ``models`` are from `cardiov.store.results.read_models`. Bars are medians.
    """
    sampled, reference = (models[models["role"] == role] for role in ("sampled", "reference"))
    gates = sampled["squeeze_excitation"].map({True: "with squeeze-excitation", False: "without squeeze-excitation"})
    groups = {f"{name} stages": rows for name, rows in sampled.groupby("space")} | dict(iter(sampled.groupby(gates)))
    groups["the paper's network"] = reference
    figure, ((axes,),) = panels(150, 20 + 9 * len(groups), title=title)
    for y, (name, rows) in enumerate(groups.items()):
        colour = "black" if rows is reference else LEVEL_COLOURS[0]
        axes.scatter(rows["error"], np.full(len(rows), y), 24, facecolors="none", edgecolors=colour)
        axes.vlines(rows["error"].median(), y - 0.3, y + 0.3, color=colour, lw=2)
    axes.set_yticks(range(len(groups)), [f"{name} ({len(rows)})" for name, rows in groups.items()])
    axes.invert_yaxis()
    axes.set_xlabel(f"{_ERROR} (lower is better); bar: median")
    return figure


@styled
def searched_networks(models, title=None):
    """Draw the networks of `cardiov.store.results.read_models`: error against multiply-adds and against parameters."""
    figure, (row,) = panels(180, 80, columns=2, title=title, sharey=True)
    sampled, reference = (models[models["role"] == role] for role in ("sampled", "reference"))
    for axes, column in zip(row, ("multiply_adds", "parameters"), strict=True):
        for (space, gated), group in sampled.groupby(["space", "squeeze_excitation"]):
            colour, _, marker = _GROUPS[space]
            look = {"marker": marker, "s": 28, "edgecolors": colour, "facecolors": colour if gated else "none", "linewidths": 1.2}
            label = f"{space}, {'with' if gated else 'without'} squeeze-excitation"
            axes.scatter(group[column] / 1e6, group["error"], **look, label=label)
        look = {"marker": "*", "s": 70, "color": "black"}
        axes.scatter(reference[column] / 1e6, reference["error"], **look, label="the paper's network, each seed")
        axes.set_xlabel(f"{column.replace('_', '-')} (millions)")
    row[0].set_ylabel(_ERROR)
    legend_below(figure, axes, 3)
    return figure


_STRESSED = {"mae": "mean absolute error", "auc_mean": "mean AUC"}


@styled
def stress_panels(metrics, units, title=None):
    """Draw MAE and mean AUC against the strength of each disturbance; the grey band is the undisturbed records' interval.

    Parameters
    ----------
    metrics : DataFrame of `cardiov.analysis.cases.stress_metrics`
        A point is filled where the interval of the paired difference to the undisturbed records excludes 0.
    units : dict of str to str
        Unit of each disturbance's strength.
    """
    figure, grid = panels(180, 100, len(_STRESSED), len(units), title, sharex="col", sharey="row")
    for row, (statistic, label) in zip(grid, _STRESSED.items(), strict=True):
        chosen, difference = (metrics.xs(name, level="statistic") for name in (statistic, f"{statistic}_difference"))
        differs = (difference["low"] > 0) | (difference["high"] < 0)
        for axes, (disturbance, unit) in zip(row, units.items(), strict=True):
            undisturbed = chosen.loc["none"].iloc[0]
            axes.axhspan(undisturbed["low"], undisturbed["high"], color="#e4e4e4", lw=0, label="undisturbed")
            axes.axhline(undisturbed["estimate"], color="grey", lw=0.8)
            _stress_points(axes, chosen.loc[disturbance], differs.loc[disturbance].to_numpy(), joined=bool(unit))
            axes.set(title=disturbance if axes in grid[0] else "", xlabel=unit or "electrodes swapped", ylabel=label)
            axes.tick_params(axis="x", labelrotation=0 if unit else 90)
            axes.label_outer()
    legend_below(figure, axes, 3)
    return figure


def _stress_points(axes, points, differs, joined):
    """Estimates with intervals at evenly spaced strengths, joined where these have an order."""
    points, colour = points.rename_axis("strength"), LEVEL_COLOURS[0]
    look = {"color": colour, "lw": 1.2, "marker": "", "linestyle": "-" if joined else "none", "legend": False}
    seaborn.pointplot(interval_values(points), x="strength", y="value", order=points.index, **INTERVAL, **look, ax=axes)
    for chosen, face, label in ((differs, colour, "difference to undisturbed excludes 0"), (~differs, "white", "difference includes 0")):
        look = {"s": 18, "facecolors": face, "edgecolors": colour, "linewidths": 1.2, "zorder": 3, "label": label}
        axes.scatter(np.flatnonzero(chosen), points["estimate"][chosen], **look)


_QUESTIONS = {"most probable value": ("black", "is the most probable\nvalue the label?"),
              **{f"above {k}": (LEVEL_COLOURS[k + 1], f"is the critical\nvalue above {k}?") for k in range(3)}}  # fmt: skip


@styled
def reliability_diagram(before, after, title=None):
    """Draw the bins of `cardiov.analysis.probabilities.reliability`, before and after calibration, a panel for each question.

    The larger a dot, the more records. On the diagonal, probabilities are right.
    """
    figure, grid = panels(180, 104, 2, len(_QUESTIONS), title, sharex=True, sharey=True)
    for row, table, moment in zip(grid, (before, after), ("before", "after"), strict=True):
        for axes, (question, (colour, words)) in zip(row, _QUESTIONS.items(), strict=True):
            bins = table.loc[question]
            axes.plot([0, 1], [0, 1], **REFERENCE)
            axes.vlines("predicted", "low", "high", data=bins, color=colour, lw=0.8)
            sizes = 8 + 50 * bins["records"] / table["records"].max()
            axes.scatter("predicted", "observed", sizes, data=bins, color=colour, zorder=3)
            axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
            axes.set_title(words if axes in grid[0] else "")
        row[0].set_ylabel(f"{moment} temperature scaling:\nshare that came true")
    figure.supxlabel("mean predicted probability")
    return figure


_LEARNT = {"auc_mean": "mean AUC", "mae": "mean absolute error (steps)"}
_LAWS = {"fit": (LEVEL_COLOURS[0], "-", "fitted power law with its band", 0.25),
         "forecast": (LEVEL_COLOURS[0], "--", "its forecast with its band", 0.12),
         "forecast without a floor": (LEVEL_COLOURS[2], ":", "forecast of a law without a floor", 0)}  # fmt: skip


@styled
def learning_curve(points, title=None):
    """Draw the points of `cardiov.analysis.learning_curve.curve_points`: runs, their means, fitted power laws and forecasts.

    Rows of the kind "published" are drawn as stars. A fit on a boundary of its parameters is marked. Intervals are over patients
    and training seeds.
    """
    figure, (row,) = panels(180, 85, columns=2, title=title)
    for axes, (statistic, name) in zip(row, _LEARNT.items(), strict=True):
        kinds = dict(iter(points[points["statistic"] == statistic].set_index("records").groupby("kind")))
        _draw_laws(axes, kinds)
        _draw_runs(axes, kinds)
        ticks = [*kinds["mean"].index, kinds["forecast"].index.max()]
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{n:,.0f}" for n in ticks])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="training records", ylabel=name)
    legend_below(figure, axes, 3)
    return figure


def _draw_laws(axes, kinds):
    for kind, (colour, style, label, strength) in _LAWS.items():
        law = kinds[kind]
        axes.plot(law["estimate"], style, color=colour, label=label)
        if strength:
            axes.fill_between(law.index, law["low"], law["high"], color=colour, alpha=strength, lw=0)
    largest = kinds["fit"].index.max()
    axes.axvline(largest, **REFERENCE)
    axes.text(1.1 * largest, 0.02, "forecast", transform=axes.get_xaxis_transform(), color="#555555")
    if edge := kinds["fit"]["boundaries"].iloc[0]:
        axes.set_title(f"fit on a boundary: {edge}", color="#555555")


def _draw_runs(axes, kinds):
    axes.plot(kinds["run"]["estimate"], "o", mfc="none", color="grey", label="one training run")
    mean = kinds["mean"]
    ends = [mean["estimate"] - mean["low"], mean["high"] - mean["estimate"]]
    axes.errorbar(mean.index, mean["estimate"], ends, fmt="D", lw=1, color="black", label="mean of the runs")
    if "published" in kinds:
        axes.plot(kinds["published"]["estimate"], "*", ms=10, color=LEVEL_COLOURS[3], label="published")


_POLICIES = {"network": (LEVEL_COLOURS[0], "-", "alarm by the network, with its 95 % interval"),
             "alarm for all": (LEVEL_COLOURS[2], "--", "alarm for all")}  # fmt: skip


@styled
def net_benefit_curves(tables, title=None):
    """Draw `cardiov.analysis.dangers.net_benefit` against the threshold probability, a panel for each table, by name."""
    figure, (row,) = panels(30 + 75 * len(tables), 80, columns=len(tables), title=title, sharey=True)
    top = max(table.loc["network", "high"].max() for table in tables.values())
    for axes, (name, table) in zip(row, tables.items(), strict=True):
        for policy, (colour, style, label) in _POLICIES.items():
            axes.plot(table.loc[policy, "estimate"], style, color=colour, marker="o", label=label)
        network = table.loc["network"]
        axes.fill_between(network.index, network["low"], network["high"], color=_POLICIES["network"][0], alpha=0.15, lw=0)
        axes.axhline(0, **REFERENCE, label="no alarm")
        axes.set(title=name, xlabel="probability of high risk from which to act", ylim=(-0.5 * top, 1.1 * top))
    row[0].set_ylabel("net benefit (share of records)")
    legend_below(figure, axes, 3)
    return figure
