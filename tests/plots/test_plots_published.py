"""What the dots of published against reproduced draw."""

import numpy as np
import pandas as pd
import pytest

from cardiov.plots.published import published_dots

ROWS = [
    ("Table 1", "lowest age", "contradicts", "ratio", "", np.inf, np.nan, np.nan, -np.inf, np.inf),
    ("Table 1", "records", "agrees", "ratio", "", 1, np.nan, np.nan, 1, 1),
    ("Text", "records MI", "agrees", "ratio", "", 1, np.nan, np.nan, 1, 1),
    ("Fig. 2", "mean absolute error", "not comparable on this data", "ratio", "", 1.01, 0.9, 1.1, 0.8, 1.2),
    ("Table 6", "mean AUC, ordinal - regression", "agrees", "difference", "0", 0.07, 0.06, 0.08, 0, np.inf),
    ("Fig. 2", "AUC of class 2", "cannot tell", "difference", "0.8", 0.03, -0.01, 0.07, 0, np.inf),
]  # fmt: skip


@pytest.fixture
def panels():
    columns = ["where", "quantity", "verdict", "scale", "bound", "estimate", "low", "high", "least", "most"]
    figure = published_dots(pd.DataFrame(ROWS, columns=columns), "title")
    return figure, *figure.axes


def dots(axes):
    points = (line for line in axes.lines if line.get_marker() != "None" and len(line.get_xdata()) == 1)
    return [(*point.get_xydata()[0], point.get_marker()) for point in points]


def lines(axes, width):
    return [list(line.get_xdata()) for line in axes.lines if line.get_linewidth() == width]


def test_rows_are_named_and_numbers_of_the_data_set_share_one(panels):
    _, figures, claims = panels
    assert [text.get_text() for text in figures.get_yticklabels()] == [
        "lowest age (Table 1)", "2 numbers of the data set", "MAE (Fig. 2)",
    ]  # fmt: skip
    assert [text.get_text() for text in claims.get_yticklabels()] == [
        "mean AUC, ordinal − regression (Table 6)", "AUC of 2 − 0.8 (Fig. 2)",
    ]  # fmt: skip


def test_dots_intervals_and_what_agrees_are_drawn_to_the_axes_edge(panels):
    _, figures, claims = panels
    right = figures.get_xlim()[1]
    assert dots(figures) == [(right, 0, ">"), (1, 1, "o"), (1, 1, "o"), (1.01, 2, "o")]
    assert dots(claims) == [(0.07, 0, "o"), (0.03, 1, "D")]
    assert lines(claims, 1.2) == [[0.06, 0.08], [-0.01, 0.07]]
    assert lines(claims, 6) == [[0, claims.get_xlim()[1]]] * 2 and lines(figures, 6) == [[1, 1], [1, 1], [0.8, 1.2]]


def test_the_legend_names_verdicts(panels):
    (legend,) = panels[0].legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["contradicts", "agrees", "not comparable on this data", "cannot tell", "what the paper says"]
    assert panels[0].get_suptitle() == "title"
