"""What the figures draw: the plotted arrays and texts, not the pixels."""

import numpy as np
import pandas as pd
import pytest

from cardiov.plots.forests import comparison_forest, coverage_forest, odds_forest, subgroup_forest


@pytest.fixture
def odds():
    rows = {
        ("wrong", "static noise"): [9, 17, 17, 82, 2.53, 0.85, 7.3, 0.06],
        ("wrong", "burst noise"): [0, 4, 26, 95, 0.0, 0.0, 4.5, 0.6],
        ("error of 2 or more", "static noise"): [2, 0, 3, 96, np.inf, 1.2, np.inf, 0.02],
        ("error of 2 or more", "burst noise"): [0, 0, 5, 120, np.nan, 0.0, np.inf, 1.0],
    }
    columns = ["annotated_with", "annotated_without", "others_with", "others_without", "odds_ratio", "low", "high", "p"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.set_index(pd.MultiIndex.from_tuples(rows, names=["outcome", "annotation"]))


def test_odds_forest_draws_intervals_on_a_log_axis_with_counts_and_numbers(odds):
    (axes,) = odds_forest(odds, "simulated").axes
    assert axes.get_xscale() == "log" and axes.yaxis_inverted()
    lines = [list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
    assert lines[0] == [0.85, 7.3]
    assert [list(line.get_xdata()) for line in axes.lines if line.get_marker() in ("o", "s")] == [[2.53]]
    texts = {text.get_text() for text in axes.texts}
    assert {"9 of 26", "17 of 99", "2.53 (0.85 to 7.30)", "wrong", "error of 2 or more"} <= texts


def test_odds_forest_shows_what_has_no_end(odds):
    (axes,) = odds_forest(odds).axes
    left, right = axes.get_xlim()
    arrows = [(line.get_marker(), line.get_xdata()[0]) for line in axes.lines if line.get_marker() in "<>"]
    assert arrows == [("<", left), (">", right), ("<", left), (">", right)]
    texts = {text.get_text() for text in axes.texts}
    assert {"0.00 (0.00 to 4.50)", "∞ (1.20 to ∞)", "undefined (0.00 to ∞)"} <= texts


def estimates(axes):
    """What is drawn as a point, from the top down."""
    points = [point for line in axes.lines if line.get_marker() != "None" for point in line.get_xydata()]
    return [x for x, _ in sorted(points, key=lambda point: point[1]) if not np.isnan(x)]


def intervals(axes):
    """What is drawn as a level line, from the top down."""
    lines = [line.get_xydata() for line in axes.lines if line.get_marker() == "None" and np.isfinite(line.get_xdata()).all()]
    return [list(line[:, 0]) for line in sorted(lines, key=lambda line: line[0, 1]) if line[0, 1] == line[1, 1]]


def dotted(axes):
    return [list(line.get_xdata()) for line in axes.lines if line.get_linestyle() == ":"]


def subgroup_rows(groups, missing=None):
    statistics = ["mae", "accuracy", "f1_macro", "auc_mean", "auc_0", "auc_1", "auc_2", "auc_3"]
    index = pd.MultiIndex.from_product([groups, statistics], names=["subgroup", "statistic"])
    table = pd.DataFrame({"estimate": 0.5, "low": 0.4, "high": 0.7}, index=index)
    if missing:
        table.loc[missing] = np.nan
    return table, pd.Series(1200, index=groups)


def test_forest_draws_estimates_with_intervals_and_says_undefined():
    figure = subgroup_forest(*subgroup_rows(["all", "male", "female"], ("female", "auc_3")), "simulated")
    assert len(figure.axes) == 4 and figure.get_suptitle() == "simulated"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["all (1,200)", "male (1,200)", "female (1,200)"]
    assert estimates(figure.axes[0]) == [0.5] * 3 and intervals(figure.axes[0]) == [[0.4, 0.7]] * 3
    assert dotted(figure.axes[0]) == [[0.5, 0.5]]  # of all records
    assert estimates(figure.axes[3]) == [0.5] * 2
    assert figure.axes[0].yaxis_inverted() and all(axes.get_xlabel() for axes in figure.axes)
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts == [[]] * 3 + [["not available"]] and figure.axes[1].get_xlim() == (0, 1)
    markers = {line.get_marker() for line in figure.axes[0].lines} - {"None"}
    assert len(markers) == 3  # groups differ by more than colour


def test_forest_draws_the_subsets_of_labels_and_leaves_their_differences_to_the_table():
    subsets = ["all", "a tie decides", "no tie", "a tie decides - no tie"]
    index = pd.MultiIndex.from_product([subsets, ["mae", "error_2_or_more", "accuracy", "kappa", "auc_mean"]],
                                       names=["subset", "statistic"])  # fmt: skip
    table = pd.DataFrame({"estimate": 0.5, "low": 0.4, "high": 0.7}, index=index)
    table.loc[("a tie decides", "auc_mean")] = np.nan
    table.loc[("no tie", "accuracy")] = [0.2, 0.1, 0.3]
    figure = subgroup_forest(table, pd.Series([1200, 28, 174], subsets[:3]), "simulated")
    assert len(figure.axes) == 3 and figure.get_suptitle() == "simulated"
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == ["all (1,200)", "no tie (174)", "a tie decides (28)"]
    assert estimates(figure.axes[1]) == [0.5, 0.2, 0.5] and intervals(figure.axes[1]) == [[0.4, 0.7], [0.1, 0.3], [0.4, 0.7]]
    assert figure.axes[1].get_xlabel() == "accuracy\n(higher is better)"
    assert [text.get_text() for text in figure.axes[2].texts] == ["not available"]
    assert len({line.get_marker() for line in figure.axes[0].lines} - {"None"}) == 3


def test_coverage_forest_draws_shares_against_the_stated_one_and_sizes_against_all():
    groups = ["all", *(f"critical value {k}" for k in range(4)), "male", "female", "age < 65", "age >= 65"]
    table = pd.DataFrame({"estimate": 0.8, "low": 0.7, "high": 0.95, "mean_size": 1.5, "records": 1200},
                         index=groups)  # fmt: skip
    table.loc["critical value 3", ["estimate", "mean_size"]] = [0.6, 2.5]
    figure = coverage_forest(table, 0.9, "simulated")
    shares, sizes = figure.axes
    assert [estimates(axes) for axes in figure.axes] == [[0.8] * 4 + [0.6] + [0.8] * 4, [1.5] * 4 + [2.5] + [1.5] * 4]
    assert intervals(shares) == [[0.7, 0.95]] * 9 and intervals(sizes) == []
    assert [dotted(axes) for axes in figure.axes] == [[[0.9, 0.9]], [[1.5, 1.5]]]
    assert [label.get_text() for label in shares.get_yticklabels()][4] == "critical value 3 (1,200)"
    assert shares.yaxis_inverted() and not shares.texts and not sizes.texts


def test_comparisons_are_drawn_in_order_with_a_line_at_no_difference():
    index = pd.MultiIndex.from_product([["wider", "longer"], ["mae", "auc_mean"]], names=["idea", "statistic"])
    bounds = {"estimate": [0.1, 0.2, np.nan, 0.4], "low": [0.0, 0.1, np.nan, 0.3], "high": [0.2, 0.3, np.nan, 0.5]}
    names = {"auc_mean": "difference in mean AUC", "mae": "mean absolute error"}
    look = {"published": {"mae": 0.5}, "kept": ["longer"], "missing": "no probabilities"}
    figure = comparison_forest(pd.DataFrame(bounds, index), names, "simulated", **look)
    auc, mae = figure.axes
    assert [label.get_text() for label in auc.get_yticklabels()] == ["wider", "longer"]
    assert [axes.get_xlabel().replace("\n", " ") for axes in figure.axes] == list(names.values())
    assert estimates(auc) == [0.2, 0.4] and intervals(auc) == [[0.1, 0.3], [0.3, 0.5]] and estimates(mae) == [0.1]
    assert dotted(auc) == [[0, 0]] and dotted(mae) == []  # no difference
    assert [text.get_text() for text in mae.texts] == ["no probabilities"]
    published = [list(line.get_xdata()) for line in mae.lines if line.get_label() == "published"]
    assert published == [[0.5, 0.5]] and figure.legends[0].get_texts()[0].get_text() == "published"
    colours = {line.get_color() for line in auc.lines if line.get_marker() == "o" and len(line.get_xdata())}
    assert len(colours) == 2  # the kept one is coloured
