"""What the figures draw: the plotted arrays and texts, not the pixels."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from cardiov.plots.curves import (
    error_strips,
    learning_curve,
    net_benefit_curves,
    reliability_diagram,
    searched_networks,
    stress_panels,
)
from cardiov.plots.style import LEVEL_COLOURS


@pytest.fixture
def curve():
    rows = []
    for statistic, sign in (("auc_mean", 1), ("mae", -1)):
        rows += [(statistic, "run", n, 0.6 + sign * k / 20, None, None) for k, n in enumerate((100, 200, 400))]
        rows += [(statistic, "mean", n, 0.6 + sign * k / 20, 0.5, 0.8) for k, n in enumerate((100, 200, 400))]
        for kind, ns in (("fit", (100, 400)), ("forecast", (400, 3000)), ("forecast without a floor", (400, 3000))):
            rows += [(statistic, kind, n, 0.6, 0.55, 0.65) for n in ns]
        rows.append((statistic, "published", 3000, 0.7, None, None))
    return pd.DataFrame(rows, columns=["statistic", "kind", "records", "estimate", "low", "high"]).assign(boundaries="")


def stress_table():
    conditions = [("none", "0"), ("mains", "0.1"), ("mains", "1.0"), ("lead swap", "LA/RA")]
    rows = {}
    for k, key in enumerate(conditions):
        rows |= {(*key, "mae"): [0.3 + k / 10, 0.2, 0.8], (*key, "auc_mean"): [0.9 - k / 10, 0.5, 0.95]}
        low = -0.1 if k < 2 else 0.05
        rows |= {(*key, "mae_difference"): [k / 10, low, 0.4], (*key, "auc_mean_difference"): [-k / 10, -0.4, -low]}
    index = pd.MultiIndex.from_tuples(rows, names=["disturbance", "strength", "statistic"])
    return pd.DataFrame([*rows.values()], index=index, columns=["estimate", "low", "high"])


def stress_points(axes):
    points = np.concatenate([points.get_offsets() for points in axes.collections])
    return points[points[:, 0].argsort()]


def test_stress_panels_have_a_column_for_each_disturbance_and_a_row_for_each_metric():
    figure = stress_panels(stress_table(), {"mains": "mV amplitude", "lead swap": ""}, "simulated")
    mae, swaps, auc, _ = figure.axes
    assert [axes.get_title() for axes in figure.axes[:2]] == ["mains", "lead swap"]
    assert mae.get_ylabel() == "mean absolute error" and auc.get_ylabel() == "mean AUC"
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == ["mV amplitude", "electrodes swapped"]
    assert stress_points(mae)[:, 1].tolist() == pytest.approx([0.4, 0.5])
    bars = [list(line.get_ydata()) for line in mae.lines if list(line.get_xdata()) in ([0, 0], [1, 1])]
    assert bars == [[0.2, 0.8]] * 2
    assert [label.get_text() for label in auc.get_xticklabels()] == ["0.1", "1.0"]
    assert stress_points(swaps)[:, 1].tolist() == pytest.approx([0.6])


def test_stress_panels_fill_the_points_whose_difference_excludes_zero():
    figure = stress_panels(stress_table(), {"mains": "mV amplitude"})
    for axes in figure.axes:
        filled, empty = axes.collections
        assert filled.get_offsets()[:, 0].tolist() == [1] and empty.get_offsets()[:, 0].tolist() == [0]
        assert [to_hex(points.get_facecolor()[0]).upper() for points in (filled, empty)] == [LEVEL_COLOURS[0], "#FFFFFF"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["undisturbed", "difference to undisturbed excludes 0", "difference includes 0"]


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


def test_error_strips_show_every_network_and_the_medians(networks):
    figure = error_strips(networks, "simulated")
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["any stages (2)", "growing stages (2)", "with squeeze-excitation (2)", "without squeeze-excitation (2)",
                     "the paper's network (2)"]  # fmt: skip
    dots = [points.get_offsets()[:, 0].tolist() for points in axes.collections[::2]]
    assert dots == [[0.5, 0.6], [0.1, 0.3], [0.5, 0.1], [0.6, 0.3], [0.2, 0.4]]
    medians = [bars.get_segments()[0][0, 0] for bars in axes.collections[1::2]]
    assert medians == pytest.approx([0.55, 0.2, 0.3, 0.45, 0.3]) and axes.yaxis_inverted()


def test_searched_networks_are_drawn_against_both_costs(networks):
    figure = searched_networks(networks)
    for axes, column in zip(figure.axes, ("multiply_adds", "parameters"), strict=True):
        drawn = np.concatenate([points.get_offsets().data for points in axes.collections])
        expected = networks[[column, "error"]] / [1e6, 1]
        np.testing.assert_allclose(drawn[drawn[:, 1].argsort()], expected.sort_values("error"))
        assert axes.get_xlabel() == f"{column.replace('_', '-')} (millions)"
    assert len(figure.legends[0].get_texts()) == 5  # two spaces, each with and without, and the reference


def reliability_rows(shift):
    questions = ["most probable value", "above 0", "above 1", "above 2"]
    index = pd.MultiIndex.from_product([questions, [4, 9]], names=["question", "bin"])
    table = pd.DataFrame({"records": [10, 40] * 4, "predicted": [0.45, 0.95] * 4}, index)
    observed = np.arange(8) / 10 + shift
    return table.assign(observed=observed, low=observed - 0.1, high=observed + 0.2)


def test_reliability_diagram_has_before_above_after_and_a_column_a_question():
    figure = reliability_diagram(reliability_rows(0), reliability_rows(0.05), "simulated")
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


def test_learning_curve_draws_runs_laws_and_published_figures(curve):
    figure = learning_curve(curve, "simulated")
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


def test_learning_curve_marks_a_fit_on_a_boundary(curve):
    edge = (curve["statistic"] == "auc_mean") & (curve["kind"] == "fit")
    figure = learning_curve(curve.assign(boundaries=curve["boundaries"].mask(edge, "a = 0")))
    assert [axes.get_title() for axes in figure.axes] == ["fit on a boundary: a = 0", ""]


def test_learning_curve_without_published_figures_has_no_star(curve):
    figure = learning_curve(curve[curve["kind"] != "published"])
    assert "published" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_net_benefit_is_drawn_with_its_band_and_both_policies():
    rows = {("network", 0.1): [0.10, 0.05, 0.15], ("network", 0.5): [0.02, -0.01, 0.06],
            ("alarm for all", 0.1): [0.07, 0.04, 0.09], ("alarm for all", 0.5): [-0.7, -0.8, -0.6]}  # fmt: skip
    index = pd.MultiIndex.from_tuples(rows, names=["policy", "threshold"])
    table = pd.DataFrame([*rows.values()], index, columns=["estimate", "low", "high"])
    first, second = net_benefit_curves({"fold 10": table, "all folds": table / 2}).axes
    assert (first.get_title(), second.get_title()) == ("fold 10", "all folds")
    network, every = first.lines[:2]
    assert network.get_xydata().tolist() == [[0.1, 0.1], [0.5, 0.02]] and every.get_ydata().tolist() == [0.07, -0.7]
    (band,) = [drawn for drawn in first.collections if isinstance(drawn, PolyCollection)]
    assert {(0.1, 0.05), (0.1, 0.15), (0.5, -0.01), (0.5, 0.06)} <= {tuple(point) for point in band.get_paths()[0].vertices.tolist()}
