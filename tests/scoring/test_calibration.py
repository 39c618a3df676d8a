"""Temperatures and prediction sets, by hand and by simulation."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import softmax
from simulated_labels import drawn, ordered_logits, simulated_coverages, some_probabilities
from sklearn.metrics import log_loss

from cardiov.errors import ParameterError
from cardiov.ordinal import monotone_probabilities
from cardiov.scoring.calibration import (
    conformal_level,
    conformal_levels,
    fit_temperature,
    negative_log_likelihood,
    prediction_sets,
)


@pytest.mark.parametrize("true", [0.4, 1, 3])
def test_a_known_temperature_is_found(true):
    logits, labels = ordered_logits(20_000, seed=0)
    assert fit_temperature(true * logits, labels) == pytest.approx(true, rel=0.04)


def test_a_known_temperature_is_found_with_other_probabilities():
    logits = 2 * np.random.default_rng(0).normal(size=(20_000, 4))
    labels = drawn(softmax(logits, axis=1), seed=1)
    assert fit_temperature(2.5 * logits, labels, partial(softmax, axis=1)) == pytest.approx(2.5, rel=0.04)


def test_no_temperature_of_a_fine_grid_is_better():
    """Also with thresholds out of order, whose pooled values have no probability at all."""
    rng = np.random.default_rng(3)
    logits = 2 * rng.normal(size=(150, 1)) - [0, 0.5, 1] + rng.normal(size=(150, 3))
    labels = rng.integers(4, size=150)
    found = fit_temperature(logits, labels)
    grid = np.geomspace(1 / 20, 20, 400)
    losses = [negative_log_likelihood(monotone_probabilities(torch.tensor(logits / T)).numpy(), labels) for T in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.02)


def test_without_records_there_is_no_temperature():
    with pytest.raises(ParameterError, match="no records to fit a temperature"):
        fit_temperature(np.empty((0, 3)), [])


def test_log_likelihood_by_hand_and_as_scikit_learn():
    p = np.array([[0.5, 0.5, 0, 0], [0.1, 0.2, 0.3, 0.4]])
    assert negative_log_likelihood(p, np.array([0, 3])) == pytest.approx(-(np.log(0.5) + np.log(0.4)) / 2)
    assert negative_log_likelihood(p, np.array([3, 3])) == pytest.approx((13.8155106 - np.log(0.4)) / 2)  # floored
    logits, labels = ordered_logits(300, seed=2)
    p = monotone_probabilities(torch.tensor(logits)).numpy()
    assert negative_log_likelihood(p, labels) == pytest.approx(log_loss(labels, p))


def plain_set(p, level):
    """One record's range, grown step by step."""
    low = high = int(np.argmax(p))
    while sum(p[low : high + 1]) <= level and high - low < 3:
        below, above = (p[low - 1] if low else -1), (p[high + 1] if high < 3 else -1)
        low, high = (low, high + 1) if above >= below else (low - 1, high)
    return low, high


def test_sets_by_hand():
    p = [[0.125, 0.25, 0.5, 0.125]] * 5
    expected = {0: (2, 2), 0.49: (2, 2), 0.5: (1, 2), 0.75: (1, 3), 0.875: (0, 3), math.inf: (0, 3)}
    for level, ends in expected.items():  # of equal neighbours the graver joins first
        low, high = prediction_sets(p, level)
        assert set(zip(low.tolist(), high.tolist(), strict=True)) == {ends}
    low, high = prediction_sets([[0.5, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, 1.0]], 0.6)
    assert (low.tolist(), high.tolist()) == ([0, 3], [3, 3])  # contiguous over what is itself impossible


def test_sets_agree_with_a_plain_loop():
    p = some_probabilities(200, seed=0)
    for level in (0.3, 0.6, 0.9, 0.99):
        low, high = prediction_sets(p, level)
        assert list(zip(low, high, strict=True)) == [plain_set(row, level) for row in p]


def test_sets_hold_the_most_probable_value_and_grow_with_the_level():
    p = some_probabilities(500, seed=1)
    before = p.argmax(axis=1), p.argmax(axis=1)
    for level in np.linspace(0, 1, 21):
        low, high = prediction_sets(p, level)
        assert ((low >= 0) & (low <= before[0]) & (before[1] <= high) & (high <= 3)).all()
        before = low, high


def test_level_by_hand():
    p = [[0.6, 0.3, 0.1, 0.0]] * 4  # 0, 1, 2 and 3 join at 0, 0.6, 0.9 and 1
    labels = [0, 1, 2, 0]
    assert conformal_level(p, labels, 0.4) == 0  # the second smallest of 0, 0, 0.6, 0.9
    assert conformal_level(p, labels, 0.6) == pytest.approx(0.6)
    assert conformal_level(p, labels, 0.8) == pytest.approx(0.9)
    assert conformal_level(p, labels, 0.81) == math.inf  # would take the fifth of four
    assert conformal_level(np.empty((0, 4)), [], 0.5) == math.inf


def test_the_rank_is_not_raised_by_the_last_digit_of_a_product():
    p = some_probabilities(99, seed=0)
    rarest = p.argmin(axis=1)  # so that no two levels are equal
    assert 0.07 * 100 > 7 and conformal_level(p, rarest, 0.07) == conformal_level(p, rarest, 0.069)


def test_the_level_covers_as_many_of_its_own_records_as_asked():
    p = some_probabilities(150, seed=2)
    labels = drawn(np.full((150, 4), 0.25), seed=3)
    for coverage in (0.5, 0.8, 0.9):
        level = conformal_level(p, labels, coverage)
        rank = math.ceil(151 * coverage)
        counts = []
        for at in (level, np.nextafter(level, 0)):  # no lower level would do
            low, high = prediction_sets(p, at)
            counts.append(((low <= labels) & (labels <= high)).sum())
        assert counts[1] < rank <= counts[0]


@pytest.mark.parametrize("coverage", [0, 1, 90])
def test_a_coverage_that_is_no_share_is_refused(coverage):
    with pytest.raises(ParameterError, match="between 0 and 1"):
        conformal_level([[1, 0, 0, 0]], [0], coverage)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_coverage_is_as_stated_even_where_probabilities_are_wrong(coverage):
    """Few records share a level here, so the mean over repetitions is the coverage itself, and not above it."""
    found = simulated_coverages(coverage, fitted=99, tested=100, repetitions=400)
    assert found.mean() == pytest.approx(coverage, abs=3 * found.std() / 20)
    at_their_word = simulated_coverages(coverage, fitted=99, tested=100, repetitions=20, level=coverage)
    assert at_their_word.mean() < coverage - 0.03


def test_few_records_promise_more_than_asked_rather_than_less():
    found = simulated_coverages(0.8, fitted=7, tested=50, repetitions=400)  # the seventh of seven: 7 / 8
    assert found.mean() == pytest.approx(7 / 8, abs=3 * found.std() / 20)


@pytest.mark.parametrize("rounded", [np.nextafter(0.6, 0), 0.6, np.nextafter(0.6, 1)])
def test_a_range_as_probable_as_the_level_grows_however_a_processor_rounds(rounded):
    low, high = prediction_sets([[0.1, 0.2, rounded, 0.1]], 0.6)
    assert (low.tolist(), high.tolist()) == ([1], [2])
    assert conformal_level([[0.1, 0.2, rounded, 0.1]], [1], 0.5) == 0.6


def test_levels_of_each_value_by_hand():
    """Each range grows 0, 1, 2, 3, and its values join at 0, 0.4, 0.7 and 0.9."""
    p = [[0.4, 0.3, 0.2, 0.1]]
    for levels, ends in (([0, 0, 0, 0], (0, 0)), ([0, 0.4, 0, 0], (0, 1)), ([0, 0, 0, 0.9], (0, 3)), ([0, 0.5, 0.69, 0.89], (0, 1))):
        low, high = prediction_sets(p, levels)
        assert (low.tolist(), high.tolist()) == ([ends[0]], [ends[1]])  # what lies between is filled


def test_levels_of_each_value_are_those_of_its_own_records():
    p, labels = some_probabilities(400, seed=4), drawn(np.tile([0.6, 0.3, 0.09, 0.01], (400, 1)), seed=5)
    levels = conformal_levels(p, labels, 0.9)
    assert levels == [conformal_level(p[labels == k], labels[labels == k], 0.9) for k in range(4)]
    assert (labels == 3).sum() < 9 and levels[3] == math.inf and math.isfinite(levels[2])  # 9 = 0.9 / 0.1
    low, high = prediction_sets(p, levels)
    assert (high == 3).all()  # a value without a promise is always in question
    rank = math.ceil(0.9 * ((labels == 0).sum() + 1))
    assert (low[labels == 0] == 0).sum() == rank  # 0 ends its ranges, so none is filled in


def test_each_value_is_covered_as_stated_even_where_one_level_fails_the_rare_one():
    """On simulated records of which the network misses most of value 3."""
    one, each = [], []
    for seed in range(300):
        true = some_probabilities(600, seed) * [1, 1, 1, 0.3]
        true /= true.sum(axis=1, keepdims=True)
        labels = drawn(true, seed + 10_000)
        shown = true ** [1, 1, 1, 3] / (true ** [1, 1, 1, 3]).sum(axis=1, keepdims=True)
        fitted, new = slice(0, 300), slice(300, 600)
        for found, level in ((one, conformal_level), (each, conformal_levels)):
            low, high = prediction_sets(shown[new], level(shown[fitted], labels[fitted], 0.8))
            held = (low <= labels[new]) & (labels[new] <= high)
            found.append([held[labels[new] == k].mean() for k in range(4)])
    assert np.nanmean(one, axis=0)[3] < 0.5
    means, error = np.nanmean(each, axis=0), np.nanstd(each, axis=0) / np.sqrt(300)
    assert (means > 0.8 - 3 * error).all() and means[3] < 0.9
