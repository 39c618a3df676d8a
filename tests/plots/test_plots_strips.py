"""What the figures draw: the plotted arrays and texts, not the pixels."""

import numpy as np
import pytest

from cardiov.plots.strips import ecg_strips


def test_strips_draw_each_lead_over_squares_and_box_what_is_asked_for():
    lead = np.sin(np.arange(1000) / 20)
    figure = ecg_strips([("lead II", lead, 100, (2, 5)), ("the same at 500 Hz", np.repeat(2 * lead, 5), 500, None)], "two strips")
    first, second = figure.axes
    assert figure.get_suptitle() == "two strips" and first.get_title(loc="left") == "lead II"
    np.testing.assert_array_equal(first.lines[0].get_ydata(), lead)
    assert second.lines[0].get_xdata()[-1] == pytest.approx(9.998) and first.get_xlim() == second.get_xlim() == (0, 10)
    (box,) = first.patches
    assert (box.get_x(), box.get_width()) == (2, 3) and not second.patches
    times = [*first.get_xticks(minor=True), *first.get_xticks()]
    assert np.diff(np.unique(np.round(times, 6))) == pytest.approx(0.2) and np.diff(second.get_yticks(minor=True)) == pytest.approx(0.5)


def test_squares_are_square():
    figure = ecg_strips([("lead II", np.sin(np.arange(1000) / 20), 100, None), ("lead V2", np.sin(np.arange(1000) / 9) * 2, 100, None)], "two")
    figure.draw_without_rendering()
    for axes in figure.axes:
        width, height = np.diff(axes.transData.transform([(0, 0), (0.2, 0.5)]), axis=0)[0]
        assert height / width == pytest.approx(1, abs=0.15)  # titles take their place first
