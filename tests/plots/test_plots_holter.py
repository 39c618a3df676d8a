"""The shares of critical values over a long record, and each window's expected value."""

import numpy as np
import pytest

from cardiov.plots.holter import scores_over_time
from cardiov.scoring.record import Window


@pytest.mark.parametrize("count", [8640, 12])
def test_every_window_is_counted_in_its_time(count):
    values = np.arange(count) * 4 // count  # a quarter of each, in order
    windows = [Window(10.0 * k, 10.0, int(value), tuple(np.eye(4)[value])) for k, value in enumerate(values)]
    shares, expected = scores_over_time(windows).axes
    bars = np.array([[bar.get_height() for bar in container] for container in shares.containers])  # (values, bins)
    bins = min(count, 96)
    np.testing.assert_array_equal(bars, np.repeat(np.eye(4), bins // 4, axis=1))
    (line,) = expected.lines
    np.testing.assert_allclose(line.get_xdata(), np.arange(count) / 360)
    np.testing.assert_array_equal(line.get_ydata(), values)
    assert expected.get_xlim()[1] == pytest.approx(count / 360)
