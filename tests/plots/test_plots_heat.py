"""What the figures draw: the plotted arrays and texts, not the pixels."""

import numpy as np
import pandas as pd
import pytest

from cardiov.ecg.leads import LEADS
from cardiov.plots.heat import heat_by_stage, heat_ecg, heat_strips


@pytest.fixture
def marks():
    rows = [("QRS", 0.4, 0.6), ("QRS", 1.2, 1.4), ("QRS", 2.5, 2.7), ("ectopic beat", 1.2, 1.7)]
    return pd.DataFrame(rows, columns=["mark", "onset", "end"]).assign(source="detected")


TIME = np.arange(150) / 50 + 0.01  # s


def images(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_heat_ecg_draws_twelve_leads_over_one_map(marks):
    signal = np.random.default_rng(0).normal(0, 0.1, (12, 1500))
    figure = heat_ecg(signal, 500, TIME, 0.5 + TIME / 10, marks, "simulated")
    axes = figure.axes[0]
    drawn = np.array([line.get_ydata() for line in axes.lines[:12]])
    np.testing.assert_allclose(np.diff(drawn - signal, axis=1), 0, atol=1e-12)  # moved, not scaled
    assert (drawn[:-1].min(axis=1) > drawn[1:].max(axis=1)).all()  # no trace touches the next
    assert [text.get_text() for text in axes.texts] == list(LEADS)
    np.testing.assert_allclose(images(figure)[0][0], 0.5 + TIME / 10)  # on the one scale of all heat
    assert axes.images[0].get_extent()[:2] == pytest.approx([0, 3])
    assert axes.lines[12].get_xdata().tolist() == pytest.approx([0.5, 1.3, 2.6])
    assert axes.get_aspect() == 0.4  # a square is 0.2 s x 0.5 mV, as on ECG paper
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["QRS complex (detected)", "ectopic beat (detected)"]


def test_heat_strips_tell_cells_and_intervals(marks):
    heat = pd.DataFrame({"s1": np.linspace(0.25, 1, 150), "s2": np.full(150, 0.5)})
    figure = heat_strips(TIME, heat, marks, pd.Series({"s1": 0.04, "s2": 2.56}), "simulated")
    first, second = images(figure)
    np.testing.assert_allclose(first[0], np.linspace(0.25, 1, 150))
    np.testing.assert_allclose(second[0], 0.5)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["800", "1300", "RR (ms)", "stage 1\n40 ms", "stage 2\n2,560 ms"]
    (frame,) = figure.axes[1].patches
    assert (frame.get_x(), frame.get_width()) == pytest.approx((1.2, 0.5))


def curves(axes):
    """The line of each map, over two stages."""
    return [line for line in axes.lines if len(line.get_xdata()) == 2 and 0.5 < np.diff(line.get_xdata()) < 1.5 and line.get_color() != "grey"]


def bars(axes, curve):
    """Low and high ends of the intervals of a curve, by stage."""
    drawn = [line.get_ydata() for line in axes.lines if line.get_color() == curve.get_color() and len(line.get_ydata()) > 2]
    return [end for y in drawn if np.isfinite(y).any() for end in (np.nanmin(y), np.nanmax(y))]


def heat_table(maps, name):
    index = pd.MultiIndex.from_product([maps, ["QRS", "T"], ["s1", "s2"]], names=[name, "window", "stage"])
    values = np.arange(len(index)) + 1.0
    return pd.DataFrame({"estimate": values, "low": values - 0.5, "high": values + 1, "records": 7}, index)


def test_maps_are_compared_stage_by_stage_with_their_intervals():
    table = heat_table(["best", "energy", "random", "trained"], "map").xs("QRS", level="window")
    figure = heat_by_stage(table, "heat inside ÷ time covered", (1, 1), "simulated")
    (axes,) = figure.axes
    trained, random, energy = curves(axes)
    np.testing.assert_allclose([trained.get_ydata(), random.get_ydata(), energy.get_ydata()], [[13, 14], [9, 10], [5, 6]])
    assert bars(axes, trained) == pytest.approx([12.5, 14, 13.5, 15])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["trained weights", "random weights", "the signal's own energy"]
    assert figure.get_suptitle() == "simulated" and axes.get_ylabel() == "heat inside ÷ time covered"
