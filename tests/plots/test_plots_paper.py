"""What the figures draw: the plotted arrays and texts, not the pixels."""

import numpy as np
import pytest

from cardiov.ecg.leads import LEADS
from cardiov.plots.paper import ecg_paper


@pytest.fixture
def page():
    signal = np.arange(12)[:, None] / 100 + np.linspace(0, 0.5, 5000)  # every lead starts at its own level
    return signal, ecg_paper(signal, 500, "simulated")


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
    assert sorted(names) == sorted([*LEADS, "II"]) and names[-1] == "II"
    for name, line in zip(names, lines, strict=True):
        row = LEADS.index(name)
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
    axes = ecg_paper(signal, 500, heat=heat).axes[0]
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
    heated = ecg_paper(signal, 500, "simulated", heat=np.zeros(50))
    assert not figure.axes[0].images and len(heated.axes[0].lines) == len(figure.axes[0].lines)
    assert heated.axes[0].get_xlim() == figure.axes[0].get_xlim() and heated.axes[0].get_ylim() == figure.axes[0].get_ylim()


def test_ecg_paper_draws_a_short_signal():
    figure = ecg_paper(np.zeros((12, 700)), 500)
    assert [len(line.get_xdata()) for line in figure.axes[0].lines][-1] == 700
