"""What the figures draw: the plotted arrays and texts, not the pixels."""

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cardiov.plots.roc import CURVES, confusion_matrix, label_distribution, roc_curves
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


def test_label_distribution_stacks_to_100_per_cent():
    index = pd.MultiIndex.from_product([["most-likely", "highest-risk"], ["train", "test"]], names=["rule", "split"])
    counts = pd.DataFrame([[5, 3, 1, 1], [0, 2, 1, 1], [2, 3, 3, 2], [0, 0, 2, 2]], index=index)
    panels = label_distribution(counts).axes
    assert [axes.get_title() for axes in panels] == ["rule: most-likely", "rule: highest-risk"]
    widths = [[bar.get_width() for bar in bars] for bars in panels[0].containers]
    assert widths == [[50, 0], [30, 50], [10, 25], [10, 25]]
    ends = [bar.get_x() + bar.get_width() for bar in panels[1].containers[-1]]
    assert ends == pytest.approx([100, 100])
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["train (n = 10)", "test (n = 4)"]
