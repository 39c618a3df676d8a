"""What the figures draw: the plotted arrays and texts, not the pixels."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from cardiov import plots

# Statistics


@pytest.fixture
def points():
    square = {"false_positive_rate": [0.0, 0.2, 1.0], "true_positive_rate": [0.0, 0.9, 1.0]}
    curves = {name: pd.DataFrame(square) for name in ("0", "1", "2", "3", "mean")}
    return pd.concat(curves, names=["curve"]).reset_index("curve").reset_index(drop=True)


@pytest.fixture
def intervals():
    rows = {f"auc_{name}": [0.85, 0.8, 0.9] for name in (0, 1, 2, 3, "mean")}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["estimate", "low", "high"])


def test_levels_differ_by_colour_and_by_line_style():
    assert len(set(plots.LEVEL_COLOURS)) == len(set(plots.LEVEL_STYLES)) == 4


def test_roc_curves_draw_the_given_points_and_tell_the_intervals(points, intervals):
    figure = plots.roc_curves(points, intervals, "simulated")
    (axes,) = figure.axes
    assert len(axes.lines) == 6  # four critical values, their mean, chance
    for line in axes.lines[:5]:
        assert line.get_xdata().tolist() == [0, 0.2, 1] and line.get_ydata().tolist() == [0, 0.9, 1]
    assert tuple(to_hex(line.get_color()).upper() for line in axes.lines[:4]) == plots.LEVEL_COLOURS
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[3] == "3 high risk: AUC 0.850 (0.800 to 0.900)" and texts[4].startswith("mean of the four")
    assert axes.get_xlabel() and axes.get_ylabel() and figure.get_suptitle() == "simulated"


def test_colours_stay_with_their_critical_value_where_one_has_no_curve(points, intervals):
    (axes,) = plots.roc_curves(points[points["curve"] != "1"], intervals).axes
    drawn = {line.get_label()[0]: to_hex(line.get_color()).upper() for line in axes.lines}
    assert [drawn[k] for k in "023"] == [plots.LEVEL_COLOURS[k] for k in (0, 2, 3)]


def test_confusion_matrix_shades_by_row_and_writes_counts():
    counts = pd.DataFrame([[8, 2, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1500]])
    (axes,) = plots.confusion_matrix(counts).axes
    shares = axes.images[0].get_array()
    assert shares[0].tolist() == [0.8, 0.2, 0, 0] and shares[1].tolist() == [0, 0, 0, 0]  # no division by zero
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == "8\n80 %" and texts[1] == "2\n20 %" and texts[15] == "1,500\n100 %"
    assert axes.get_ylabel() == "labelled risk" and axes.yaxis_inverted()  # label 0 is the top row


def test_label_distribution_stacks_to_100_per_cent():
    index = pd.MultiIndex.from_product([["most-likely", "highest-risk"], ["train", "test"]], names=["rule", "split"])
    counts = pd.DataFrame([[5, 3, 1, 1], [0, 2, 1, 1], [2, 3, 3, 2], [0, 0, 2, 2]], index=index)
    panels = plots.label_distribution(counts).axes
    assert [axes.get_title() for axes in panels] == ["rule: most-likely", "rule: highest-risk"]
    widths = [[bar.get_width() for bar in bars] for bars in panels[0].containers]
    assert widths == [[50, 0], [30, 50], [10, 25], [10, 25]]
    ends = [bar.get_x() + bar.get_width() for bar in panels[1].containers[-1]]
    assert ends == pytest.approx([100, 100])
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["train (n = 10)", "test (n = 4)"]


def test_titles_say_where_the_data_come_from():
    assert plots.data_title("demo", "test split") == "demo (simulated): test split"
    assert plots.data_title("ptbxl-sample") == "ptbxl-sample (PTB-XL, Wagner et al. 2020, CC BY 4.0)"
    assert plots.data_title("clinic", "test split") == "clinic: test split"

# ECG paper


@pytest.fixture
def page():
    signal = np.arange(12)[:, None] / 100 + np.linspace(0, 0.5, 5000)  # every lead starts at its own level
    return signal, plots.ecg_paper(signal, 500, "simulated")


def test_ecg_paper_is_at_true_scale(page):
    _, figure = page
    (axes,) = figure.axes
    assert figure.get_size_inches() * 25.4 == pytest.approx([axes.get_xlim()[1], axes.get_ylim()[1]])
    fine, coarse = (np.unique([segment[0][0] for segment in grid.get_segments()]) for grid in axes.collections)
    assert np.unique(np.diff(fine)) == [1] and np.unique(np.diff(coarse)) == [5]  # mm


def test_ecg_paper_draws_each_lead_in_its_place_and_the_strip(page):
    signal, figure = page
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 6]
    names = [text.get_text() for text in figure.axes[0].texts if text.get_weight() == "bold"]
    assert sorted(names) == sorted([*plots.LEADS, "II"]) and names[-1] == "II"
    for name, line in zip(names, lines, strict=True):
        row = plots.LEADS.index(name)
        start = 0 if line is lines[-1] else row // 3 * 1250
        expected = signal[row, start : start + len(line.get_xdata())]
        np.testing.assert_allclose(np.diff(line.get_ydata()), 10 * np.diff(expected), atol=1e-9)  # 10 mm/mV
        np.testing.assert_allclose(np.diff(line.get_xdata()), 25 / 500)  # 25 mm/s
    assert [len(line.get_xdata()) for line in lines] == [1250] * 12 + [5000]


def test_ecg_paper_tells_its_scale_and_leaves_pyplot_alone(page):
    from matplotlib import pyplot

    texts = [text.get_text() for text in page[1].axes[0].texts]
    assert "25 mm/s · 10 mm/mV" in texts and "simulated" in texts
    assert not pyplot.get_fignums()


@pytest.mark.parametrize(("seconds", "shown"), [(10, 10), (6, 6), (12, 10)])
def test_ecg_paper_shades_each_moment_in_its_column_and_in_the_strip(seconds, shown):
    signal = np.tile(np.arange(seconds * 500) / 500, (12, 1))  # mV: the time in s
    heat = np.arange(seconds * 100) / (seconds * 100)
    axes = plots.ecg_paper(signal, 500, heat=heat).axes[0]
    image, legend = axes.images
    left, right, bottom, top = image.get_extent()
    cells = image.get_array()[0]
    assert len(cells) == shown * 100 and right - left == shown * 25 and image.get_zorder() < 0
    lines = [line.get_data() for line in axes.lines if len(line.get_xdata()) != 6]  # without the pulses
    for k, (x, y) in enumerate(lines):
        moment = (y - lines[k // 4 * 4][1][0]) / 10  # s, as the trace tells, from the row's first sample, which is at 0 s
        at = ((x + 1e-9 - left) / (right - left) * len(cells)).astype(int)
        np.testing.assert_allclose(cells[at], moment / seconds, atol=0.011 / seconds)
    assert bottom > 0 and top - bottom == 4 * 32
    assert list(legend.get_array()[0][[0, -1]]) == [0, 1]
    assert {"heat: none", "strongest"} <= {text.get_text() for text in axes.texts}


def test_ecg_paper_without_heat_has_no_image_and_with_it_the_same_scale(page):
    signal, figure = page
    heated = plots.ecg_paper(signal, 500, "simulated", heat=np.zeros(50))
    assert not figure.axes[0].images and len(heated.axes[0].lines) == len(figure.axes[0].lines)
    assert heated.axes[0].get_xlim() == figure.axes[0].get_xlim() and heated.axes[0].get_ylim() == figure.axes[0].get_ylim()


def test_ecg_paper_draws_a_short_signal():
    figure = plots.ecg_paper(np.zeros((12, 700)), 500)
    assert [len(line.get_xdata()) for line in figure.axes[0].lines][-1] == 700


# Cases and disturbances


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
    (axes,) = plots.odds_forest(odds, "simulated").axes
    assert axes.get_xscale() == "log" and axes.yaxis_inverted()
    lines = [list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
    assert lines[0] == [0.85, 7.3]
    assert [list(line.get_xdata()) for line in axes.lines if line.get_marker() in ("o", "s")] == [[2.53]]
    texts = {text.get_text() for text in axes.texts}
    assert {"9 of 26", "17 of 99", "2.53 (0.85 to 7.30)", "wrong", "error of 2 or more"} <= texts


def test_odds_forest_shows_what_has_no_end(odds):
    (axes,) = plots.odds_forest(odds).axes
    left, right = axes.get_xlim()
    arrows = [(line.get_marker(), line.get_xdata()[0]) for line in axes.lines if line.get_marker() in "<>"]
    assert arrows == [("<", left), (">", right), ("<", left), (">", right)]
    texts = {text.get_text() for text in axes.texts}
    assert {"0.00 (0.00 to 4.50)", "∞ (1.20 to ∞)", "undefined (0.00 to ∞)"} <= texts


def stress_table():
    conditions = [("none", "0"), ("mains", "0.1"), ("mains", "1.0"), ("lead swap", "LA/RA")]
    rows = {}
    for k, key in enumerate(conditions):
        rows |= {(*key, "mae"): [0.3 + k / 10, 0.2, 0.8], (*key, "auc_mean"): [0.9 - k / 10, 0.5, 0.95]}
        low = -0.1 if k < 2 else 0.05
        rows |= {(*key, "mae_difference"): [k / 10, low, 0.4], (*key, "auc_mean_difference"): [-k / 10, -0.4, -low]}
    index = pd.MultiIndex.from_tuples(rows, names=["disturbance", "strength", "statistic"])
    return pd.DataFrame([*rows.values()], index=index, columns=["estimate", "low", "high"])


def test_stress_panels_have_a_column_for_each_disturbance_and_a_row_for_each_metric():
    figure = plots.stress_panels(stress_table(), {"mains": "mV amplitude", "lead swap": ""}, "simulated")
    mae, swaps, auc, _ = figure.axes
    assert [axes.get_title() for axes in figure.axes[:2]] == ["mains", "lead swap"]
    assert mae.get_ylabel() == "mean absolute error" and auc.get_ylabel() == "mean AUC"
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == ["mV amplitude", "electrodes swapped"]
    points = mae.collections[-1]
    assert points.get_offsets()[:, 1].tolist() == pytest.approx([0.4, 0.5])
    assert [label.get_text() for label in auc.get_xticklabels()] == ["0.1", "1.0"]
    assert swaps.collections[-1].get_offsets()[:, 1].tolist() == pytest.approx([0.6])


def test_stress_panels_fill_the_points_whose_difference_excludes_zero():
    figure = plots.stress_panels(stress_table(), {"mains": "mV amplitude"})
    for axes in figure.axes:
        empty, filled = (to_hex(face).upper() for face in axes.collections[-1].get_facecolors())
        assert (empty, filled) == ("#FFFFFF", plots.LEVEL_COLOURS[0])
    assert [text.get_text() for text in figure.legends[0].get_texts()][0] == "undisturbed"


# Grad-CAM


@pytest.fixture
def marks():
    rows = [("QRS", 0.4, 0.6), ("QRS", 1.2, 1.4), ("QRS", 2.5, 2.7), ("ectopic beat", 1.2, 1.7)]
    return pd.DataFrame(rows, columns=["mark", "onset", "end"]).assign(source="detected")


TIME = np.arange(150) / 50 + 0.01  # s


def images(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_heat_ecg_draws_twelve_leads_over_one_map(marks):
    signal = np.random.default_rng(0).normal(0, 0.1, (12, 1500))
    figure = plots.heat_ecg(signal, 500, TIME, 0.5 + TIME / 10, marks, "simulated")
    axes = figure.axes[0]
    for row, line in enumerate(axes.lines[:12]):
        np.testing.assert_allclose(line.get_ydata(), signal[row] - 2 * row)  # 2 mV between leads
    assert [text.get_text() for text in axes.texts] == list(plots.LEADS)
    np.testing.assert_allclose(images(figure)[0][0], np.linspace(0, 1, 150))
    assert axes.images[0].get_extent()[:2] == pytest.approx([0, 3])
    assert axes.lines[12].get_xdata().tolist() == pytest.approx([0.5, 1.3, 2.6])
    assert axes.get_aspect() == 0.4  # a square is 0.2 s x 0.5 mV, as on ECG paper
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["QRS complex (detected)", "ectopic beat (detected)"]


def test_heat_strips_tell_cells_lowest_heat_and_intervals(marks):
    heat = pd.DataFrame({"s1": np.linspace(0.25, 1, 150), "s2": np.full(150, 0.5)})
    figure = plots.heat_strips(TIME, heat, marks, pd.Series({"s1": 0.04, "s2": 2.56}), "simulated")
    first, second = images(figure)
    np.testing.assert_allclose(first[0], np.linspace(0, 1, 150))
    assert not second.any()  # flat
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["800", "1300", "RR (ms)", "s1\n40 ms", "lowest\n0.25", "s2\n2,560 ms", "lowest\n0.50"]
    (frame,) = figure.axes[1].patches
    assert (frame.get_x(), frame.get_width()) == pytest.approx((1.2, 0.5))


def heat_table(maps, name):
    index = pd.MultiIndex.from_product([maps, ["QRS", "T"], ["s1", "s2"]], names=[name, "window", "stage"])
    values = np.arange(len(index)) + 1.0
    return pd.DataFrame({"estimate": values, "low": values - 0.5, "high": values + 1, "records": 7}, index)


def test_heat_enrichment_draws_a_panel_a_window_and_a_line_a_map():
    figure = plots.heat_enrichment(heat_table(["best", "random", "trained"], "map"), "simulated")
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["QRS (7 records)", "T (7 records)"]
    drawn = {bars.get_label(): bars.lines[0].get_ydata().tolist() for bars in panels[0].containers}
    assert drawn == {"trained weights": [9, 10], "random weights": [5, 6]}
    (bars,) = panels[0].containers[0].lines[2]
    np.testing.assert_allclose([segment[:, 1] for segment in bars.get_segments()], [[8.5, 10], [9.5, 11]])
    texts = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert texts == ["most that the cells allow", "trained weights", "random weights"]


def test_heat_sanity_draws_correlations_and_the_cascade():
    correlations = heat_table(["energy", "random"], "compared").xs("QRS", level="window") / 10
    cascade = pd.DataFrame({"randomised": ["head", "s2"], "s1": [0.9, 0.1], "s2": [0.5, -0.2], "records": 32})
    figure = plots.heat_sanity(correlations, cascade, 0.5, "simulated")
    assert images(figure)[0].tolist() == [[0.9, 0.5], [0.1, -0.2]]
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["head", "… to s2"]
    drawn = {bars.get_label(): bars.lines[0].get_ydata() for bars in figure.axes[0].containers}
    assert drawn["random weights"] == pytest.approx([0.5, 0.6])
    assert "tolerance of 0.5" in figure.axes[0].get_title()


# Architecture search


@pytest.fixture
def networks():
    return pd.DataFrame({
        "role": ["reference"] * 2 + ["sampled"] * 4,
        "space": ["growing"] * 2 + ["any", "any", "growing", "growing"],
        "squeeze_excitation": [True, True, True, False, True, False],
        "error": [0.2, 0.4, 0.5, 0.6, 0.1, 0.3],
        "multiply_adds": [5e6, 5e6, 4e6, 4.5e6, 5.5e6, 6e6],
        "parameters": [3e5, 3e5, 1e5, 2e5, 4e5, 5e5],
    })  # fmt: skip


def test_error_distributions_are_steps_with_bands_beside_the_reference():
    curve = pd.DataFrame({"error": [0.0, 0.1, 0.5], "share": [0, 0.5, 1], "low": [0, 0.1, 0.4], "high": [0.6, 0.9, 1]})
    curves = {("design space", f"{name} (n = 2)"): curve for name in ("any", "growing")}
    table = pd.concat(curves, names=["panel", "group"]).droplevel(-1).reset_index()
    figure = plots.error_distributions(table, [0.2, 0.4], "simulated")
    (axes,) = figure.axes
    first, second, reference = axes.lines
    assert first.get_xdata().tolist() == [0, 0.1, 0.5] and first.get_ydata().tolist() == [0, 0.5, 1]
    assert first.get_drawstyle() == "steps-pre" and first.get_linestyle() != second.get_linestyle()
    assert reference.get_xdata() == pytest.approx([0.3, 0.3])  # the mean over the seeds
    assert axes.patches[0].get_x() == 0.2 and axes.patches[0].get_width() == pytest.approx(0.2)
    assert [text.get_text() for text in axes.get_legend().get_texts()][2] == "the paper's network (2 seeds)"
    assert axes.get_title() == "design space" and figure.get_suptitle() == "simulated"


def test_searched_networks_are_drawn_against_both_costs(networks):
    figure = plots.searched_networks(networks)
    for axes, column in zip(figure.axes, ("multiply_adds", "parameters"), strict=True):
        drawn = np.concatenate([points.get_offsets().data for points in axes.collections])
        expected = networks[[column, "error"]] / [1e6, 1]
        np.testing.assert_allclose(drawn[drawn[:, 1].argsort()], expected.sort_values("error"))
        assert axes.get_xlabel() == f"{column.replace('_', '-')} (millions)"
    assert len(figure.legends[0].get_texts()) == 5  # two spaces, each with and without, and the reference


# Subgroups and agreement


def subgroup_rows(groups, missing=None):
    statistics = ["mae", "accuracy", "f1_macro", "auc_mean", "auc_0", "auc_1", "auc_2", "auc_3"]
    index = pd.MultiIndex.from_product([groups, statistics], names=["subgroup", "statistic"])
    table = pd.DataFrame({"estimate": 0.5, "low": 0.4, "high": 0.7}, index=index)
    if missing:
        table.loc[missing] = np.nan
    return table, pd.DataFrame({"records": 1200}, index=groups)


def test_forest_draws_estimates_with_intervals_and_says_undefined():
    figure = plots.subgroup_forest(*subgroup_rows(["all", "male", "female"], ("female", "auc_3")), "simulated")
    assert len(figure.axes) == 8 and figure.get_suptitle() == "simulated"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["all (1,200)", "male (1,200)", "female (1,200)"]
    lines = [line.get_xdata() for line in figure.axes[0].lines]
    assert [list(line) for line in lines[:2]] == [[0.4, 0.7], [0.5]] and list(lines[-1]) == [0.5, 0.5]
    assert figure.axes[0].yaxis_inverted() and all(axes.get_xlabel() for axes in figure.axes)
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts == [[]] * 7 + [["undefined"]]
    markers = {line.get_marker() for line in figure.axes[0].lines} - {"None"}
    assert len(markers) == 3  # groups differ by more than colour


def test_label_forest_draws_the_subsets_and_leaves_their_differences_to_the_table():
    subsets = ["all", "a tie decides", "no tie", "a tie decides - no tie"]
    index = pd.MultiIndex.from_product([subsets, ["mae", "error_2_or_more", "accuracy", "kappa", "auc_mean"]],
                                       names=["subset", "statistic"])  # fmt: skip
    table = pd.DataFrame({"estimate": 0.5, "low": 0.4, "high": 0.7}, index=index)
    table.loc[("a tie decides", "auc_mean")] = np.nan
    figure = plots.label_forest(table, pd.Series([1200, 28, 174], subsets[:3]), "simulated")
    assert len(figure.axes) == 4 and figure.get_suptitle() == "simulated"
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == ["all (1,200)", "no tie (174)", "a tie decides (28)"]
    assert [list(line.get_xdata()) for line in figure.axes[1].lines[:2]] == [[0.4, 0.7], [0.5]]
    assert [text.get_text() for text in figure.axes[3].texts] == ["undefined"]
    assert len({line.get_marker() for line in figure.axes[0].lines} - {"None"}) == 3


def test_agreement_bars_have_exact_intervals_and_percentages():
    from cardiov.evaluation import side_shares

    counts = pd.Series({"label": 259, "model": 361, "neither": 54}).rename_axis("side")
    shares = pd.concat({"published": side_shares(counts), "reader": side_shares(counts // 9)}, names=["reader"])
    figure = plots.agreement_bars(shares, "counts")
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches][:2] == pytest.approx([100 * 259 / 674, 100 * 28 / 74])
    assert {"38.4 %", "53.6 %", "8.0 %"} <= {text.get_text() for text in axes.texts}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["published\n(674 records)", "reader\n(74 records)"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["sides with the label", "sides with the model", "sides with neither"]
    assert len({bar.get_hatch() for bar in axes.patches}) == 3  # sides differ by more than colour


def test_selection_draws_a_panel_a_scenario_and_kind_of_error():
    from cardiov.review import selection

    table = selection([0.4, 0.3, 0.2, 0.1], [0.5, 0.9], n=1000)
    figure = plots.agreement_selection(table, {"label": 38.43, "model": 53.56}, "simulated")
    assert len(figure.axes) == 6 and all(len(axes.lines) == 6 for axes in figure.axes)
    first = table.query("errors == 'adjacent' and scenario == 'label better'")
    drawn = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert drawn["with the label, wrongly predicted records"] == pytest.approx((100 * first["label_wrong"]).tolist())
    assert drawn["with the model, all records"] == pytest.approx((100 * first["model_all"]).tolist())
    assert drawn["with the model, published"] == [53.56, 53.56]
    assert figure.axes[3].get_title() == "label better: label 90 %, model 75 %\nerrors to any value"


# Calibration


def reliability_rows(shift):
    questions = ["most probable value", "above 0", "above 1", "above 2"]
    index = pd.MultiIndex.from_product([questions, [4, 9]], names=["question", "bin"])
    table = pd.DataFrame({"records": [10, 40] * 4, "predicted": [0.45, 0.95] * 4}, index)
    observed = np.arange(8) / 10 + shift
    return table.assign(observed=observed, low=observed - 0.1, high=observed + 0.2)


def test_reliability_diagram_has_before_above_after_and_a_column_a_question():
    figure = plots.reliability_diagram(reliability_rows(0), reliability_rows(0.05), "simulated")
    assert len(figure.axes) == 8 and figure.get_suptitle() == "simulated"
    assert figure.axes[0].get_ylabel().startswith("before") and figure.axes[4].get_ylabel().startswith("after")
    assert figure.axes[3].get_title() == "is the critical\nvalue above 2?"
    for number, axes in enumerate(figure.axes):
        lines, dots = axes.collections
        observed = np.array([0, 0.1]) + 0.2 * (number % 4) + (0.05 if number > 3 else 0)
        np.testing.assert_allclose(dots.get_offsets(), np.c_[[0.45, 0.95], observed])
        ends = [segment[:, 1].tolist() for segment in lines.get_segments()]
        np.testing.assert_allclose(ends, np.c_[observed - 0.1, observed + 0.2])
        small, large = dots.get_sizes()
        assert 0 < small < large
        assert [line.get_xydata().tolist() for line in axes.lines] == [[[0, 0], [1, 1]]]  # perfect calibration


def test_coverage_forest_draws_shares_against_the_stated_one_and_sizes_against_all():
    groups = ["all", *(f"critical value {k}" for k in range(4)), "male", "female", "age < 65", "age >= 65"]
    table = pd.DataFrame({"estimate": 0.8, "low": 0.7, "high": 0.95, "mean_size": 1.5, "records": 1200},
                         index=groups)  # fmt: skip
    table.loc["critical value 3", ["estimate", "mean_size"]] = [0.6, 2.5]
    figure = plots.coverage_forest(table, 0.9, "simulated")
    shares, sizes = figure.axes
    dots = [[line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1] for axes in figure.axes]
    assert dots == [[0.8] * 4 + [0.6] + [0.8] * 4, [1.5] * 4 + [2.5] + [1.5] * 4]
    assert list(shares.lines[0].get_xdata()) == [0.7, 0.95]
    assert [list(axes.lines[-1].get_xdata()) for axes in figure.axes] == [[0.9, 0.9], [1.5, 1.5]]  # dotted
    assert [label.get_text() for label in shares.get_yticklabels()][4] == "critical value 3 (1,200)"
    assert shares.yaxis_inverted() and not shares.texts and not sizes.texts


# Learning curve


@pytest.fixture
def curve():
    rows = []
    for statistic, sign in (("auc_mean", 1), ("mae", -1)):
        rows += [(statistic, "run", n, 0.6 + sign * k / 20, None, None) for k, n in enumerate((100, 200, 400))]
        rows += [(statistic, "mean", n, 0.6 + sign * k / 20, 0.5, 0.8) for k, n in enumerate((100, 200, 400))]
        for kind, ns in (("fit", (100, 400)), ("forecast", (400, 3000)), ("forecast without a floor", (400, 3000))):
            rows += [(statistic, kind, n, 0.6, 0.55, 0.65) for n in ns]
        rows.append((statistic, "published", 3000, 0.7, None, None))
    return pd.DataFrame(rows, columns=["statistic", "kind", "records", "estimate", "low", "high"])


def test_learning_curve_draws_runs_laws_and_published_figures(curve):
    figure = plots.learning_curve(curve, "simulated")
    auc, mae = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["mean AUC", "mean absolute error (steps)"]
    assert auc.get_xscale() == "log" and figure.get_suptitle() == "simulated"
    assert [label.get_text() for label in auc.get_xticklabels()] == ["100", "200", "400", "3,000"]
    drawn = {line.get_label(): line for line in mae.lines}
    assert list(drawn["one training run"].get_ydata()) == pytest.approx([0.6, 0.55, 0.5])
    assert list(drawn["published"].get_xdata()) == [3000] and list(drawn["published"].get_ydata()) == [0.7]
    forecast = drawn["its forecast with its band"]
    assert list(forecast.get_xdata()) == [400, 3000] and forecast.get_linestyle() == "--"
    assert [text.get_text() for text in mae.texts] == ["forecast"] and mae.texts[0].get_position()[0] > 400
    assert len([band for band in mae.collections if isinstance(band, PolyCollection)]) == 2
    (bars,) = mae.containers
    ends = [segment[:, 1].tolist() for segment in bars.lines[2][0].get_segments()]
    assert ends == [pytest.approx([0.5, 0.8])] * 3
    assert len(figure.legends[0].get_texts()) == 6


def test_learning_curve_without_published_figures_has_no_star(curve):
    figure = plots.learning_curve(curve[curve["kind"] != "published"])
    assert "published" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_comparisons_are_drawn_in_order_with_a_line_at_no_difference():
    index = pd.MultiIndex.from_product([["wider", "longer"], ["mae", "auc_mean"]], names=["idea", "statistic"])
    bounds = {"estimate": [0.1, 0.2, np.nan, 0.4], "low": [0.0, 0.1, np.nan, 0.3], "high": [0.2, 0.3, np.nan, 0.5]}
    names = {"auc_mean": "difference in mean AUC", "mae": "mean absolute error"}
    figure = plots.comparison_forest(pd.DataFrame(bounds, index), names, "simulated")
    auc, mae = figure.axes
    assert [label.get_text() for label in auc.get_yticklabels()] == ["wider", "longer"]
    assert [axes.get_xlabel().replace("\n", " ") for axes in figure.axes] == list(names.values())
    assert [line.get_xdata()[0] for line in auc.lines[1::2]][:2] == [0.2, 0.4]
    assert any(list(line.get_xdata()) == [0, 0] for line in auc.lines)  # no difference
    assert not any(list(line.get_xdata()) == [0, 0] for line in mae.lines)
    assert [text.get_text() for text in mae.texts] == ["undefined"]
