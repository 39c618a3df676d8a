"""What the figures draw: the plotted arrays and texts, not the pixels."""

import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from cardiov.plots.roc import CURVES, alarm_matrix, confusion_matrix, label_distribution, population, roc_curves
from cardiov.plots.style import LEVEL_COLOURS


@pytest.fixture
def points():
    square = {"false_positive_rate": [0.0, 0.2, 1.0], "true_positive_rate": [0.0, 0.9, 1.0]}
    curves = {name: pd.DataFrame(square) for name in ("0", "1", "2", "3", "mean")}
    return pd.concat(curves, names=["curve"]).reset_index("curve").reset_index(drop=True)


@pytest.fixture
def intervals():
    rows = {f"auc_{name}": [0.85, 0.8, 0.9] for name in (0, 1, 2, 3, "mean")}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["estimate", "low", "high"])


def curves(axes):
    return [line for line in axes.lines if len(line.get_xdata()) == 3]


def test_levels_differ_by_colour_and_by_line_style(points, intervals):
    colours, dashes = zip(*CURVES.values(), strict=True)
    assert colours[:4] == LEVEL_COLOURS and len(set(colours)) == 5 and len(set(dashes[:4])) == 4
    drawn = curves(roc_curves(points, intervals).axes[0])
    assert [line.is_dashed() for line in drawn] == [dash != "" for dash in dashes]


def test_roc_curves_draw_the_given_points_and_tell_the_intervals(points, intervals):
    figure = roc_curves(points, intervals, "simulated")
    (axes,) = figure.axes
    drawn = curves(axes)
    assert len(drawn) == 5  # four critical values and their mean
    for line in drawn:
        assert line.get_xdata().tolist() == [0, 0.2, 1] and line.get_ydata().tolist() == [0, 0.9, 1]
    assert tuple(to_hex(line.get_color()).upper() for line in drawn[:4]) == LEVEL_COLOURS
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[3] == "3 high risk: AUC 0.850 (0.800 to 0.900)" and texts[4].startswith("mean of the four")
    assert texts[5:] == ["chance: AUC 0.5"] and axes.get_legend() is None
    assert axes.get_xlabel() and axes.get_ylabel() and figure.get_suptitle() == "simulated"


def test_colours_stay_with_their_critical_value_where_one_has_no_curve(points, intervals):
    points.loc[points["curve"] == "2", "true_positive_rate"] = 0.5
    (axes,) = roc_curves(points[points["curve"] != "1"], intervals).axes
    drawn = [to_hex(line.get_color()).upper() for line in curves(axes)]
    assert drawn[:3] == [LEVEL_COLOURS[k] for k in (0, 2, 3)]
    assert curves(axes)[1].get_ydata().tolist() == [0.5] * 3


def test_confusion_matrix_shades_by_row_and_writes_counts():
    counts = pd.DataFrame([[8, 2, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1500]])
    (axes,) = confusion_matrix(counts).axes
    shares = axes.collections[0].get_array().reshape(4, 4)
    assert shares[0].tolist() == [0.8, 0.2, 0, 0] and shares[1].tolist() == [0, 0, 0, 0]  # no division by zero
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == "8\n80 %" and texts[1] == "2\n20 %" and texts[15] == "1,500\n100 %"
    assert axes.get_ylabel() == "labelled risk" and axes.yaxis_inverted()  # label 0 is the top row


def test_alarms_are_counted_by_label_from_the_threshold_on():
    figure = alarm_matrix(pd.Series([0, 0, 2, 3, 3, 3]), pd.Series([0.1, 0.3, 0.2, 0.3, 0.9, 0.1]), 0.3)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["1\n50 %", "1\n50 %", "0\n0 %", "0\n0 %", "1\n100 %", "0\n0 %", "1\n33 %", "2\n67 %"]
    assert figure.get_suptitle().replace("\n", " ") == "From a probability of 0.30 on: 3 alarms find 2 of 3 of high risk"


def test_label_distribution_sets_data_sets_beside_each_other_and_stacks_to_100_per_cent():
    levels = {"records of": ["PTB-XL", "sample"], "rule": ["most-likely", "highest-risk"], "split": ["train", "test"]}
    index = pd.MultiIndex.from_product(levels.values(), names=levels)
    counts = pd.DataFrame([[50, 30, 10, 10], [0, 20, 10, 10], [20, 30, 30, 20], [0, 0, 20, 20],
                           [4, 0, 0, 1], [0, 0, 0, 0], [0, 2, 2, 1], [0, 0, 0, 0]], index=index)  # fmt: skip
    figure = label_distribution(counts, "some")
    train, train_by_risk, test, _ = figure.axes
    assert [train.get_title(), train_by_risk.get_title()] == ["rule: most-likely", "rule: highest-risk"]
    assert [train.get_ylabel(), test.get_ylabel()] == ["train", "test"]
    assert widths(train) == [[50, 80], [30, 0], [10, 0], [10, 20]]
    assert widths(test) == [[0, 0], [50, 0], [25, 0], [25, 0]]  # a split may be empty
    assert [bar.get_x() + bar.get_width() for bar in train_by_risk.containers[-1]] == pytest.approx([100, 100])
    assert [label.get_text() for label in train.get_yticklabels()] == ["PTB-XL, n = 100", "sample, n = 5"]
    assert train.yaxis_inverted() and test.yaxis_inverted()  # the first data set is on top
    assert [text.get_text() for text in train.texts] == ["50", "80", "30", "", "10", "", "10", "20"]


def widths(axes):
    return [[bar.get_width() for bar in bars] for bars in axes.containers]


def test_numbers_in_bars_can_be_read():
    """Contrast of at least 4.5 to 1, as WCAG 2.1 asks of text."""
    index = pd.MultiIndex.from_tuples([("PTB-XL", "most-likely", "all")], names=["records of", "rule", "split"])
    (axes,) = label_distribution(pd.DataFrame([[1, 1, 1, 1]], index=index)).axes
    grounds = [to_rgb(bars[0].get_facecolor()) for bars in axes.containers]
    inks = [to_rgb(text.get_color()) for text in axes.texts]
    assert min(contrast(ink, ground) for ink, ground in zip(inks, grounds, strict=True)) >= 4.5


def contrast(*colours):
    """Of two sRGB colours, by WCAG 2.1."""
    linear = [[c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour] for colour in colours]
    dark, light = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in linear)
    return (light + 0.05) / (dark + 0.05)


def test_population_shows_shares_of_the_records_beside_each_other():
    whole = pd.DataFrame({"age": [5, 15, 15, None], "sex": ["male"] * 3 + ["female"], "critical_value": [0, 0, 3, 3]})
    ages, sexes, values = population({"all": whole, "sample": whole[:2]}, "two").axes
    assert [share for step in ages.patches for share in step.get_data().values[:2]] == pytest.approx([100 / 3, 200 / 3, 50, 50])
    assert [bar.get_height() for bar in sexes.patches] == [75, 25, 100, 0]
    assert [bar.get_height() for bar in values.patches][:4] == [50, 0, 0, 50]
    assert [text.get_text() for text in ages.figure.legends[0].get_texts()] == ["all, n = 4", "sample, n = 2"]
