"""Temperature, reliability and prediction sets: literal values, plain loops, and data whose truth is known."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.metrics import log_loss

from cardiov import results
from cardiov.calibration import (
    calibrated,
    chance_coverage,
    conformal_level,
    coverage_table,
    fit_temperature,
    negative_log_likelihood,
    prediction_sets,
    probability_metrics,
    reliability,
)
from cardiov.errors import ParameterError
from cardiov.evaluation import SCORES, metrics
from cardiov.ordinal import monotone_probabilities


def drawn(probabilities, seed):
    """A label a record, drawn by its probabilities (N, 4)."""
    at = np.random.default_rng(seed).random((len(probabilities), 1))
    return (at > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)


def ordered_logits(n, seed):
    """Threshold logits in order, and labels that follow their probabilities."""
    latent = 2 * np.random.default_rng(seed).normal(size=(n, 1))
    logits = latent - [-1.0, 0.5, 2.0]  # (n, 3)
    return logits, drawn(monotone_probabilities(torch.tensor(logits)).numpy(), seed + 1)


def table_of(logits, labels):
    table = pd.DataFrame(logits, columns=["output_1", "output_2", "output_3"])
    table = table.assign(ecg_id=range(len(labels)), patient_id=range(len(labels)), critical_value=labels)
    return calibrated(table, 1)


def softmax(logits):
    return torch.softmax(logits, dim=1)


# Temperature


@pytest.mark.parametrize("true", [0.4, 1, 3])
def test_a_known_temperature_is_found(true):
    logits, labels = ordered_logits(20_000, seed=0)
    assert fit_temperature(true * logits, labels) == pytest.approx(true, rel=0.04)


def test_a_known_temperature_is_found_with_other_probabilities():
    logits = 2 * np.random.default_rng(0).normal(size=(20_000, 4))
    labels = drawn(softmax(torch.tensor(logits)).numpy(), seed=1)
    assert fit_temperature(2.5 * logits, labels, softmax) == pytest.approx(2.5, rel=0.04)


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


def test_a_temperature_of_one_is_the_monotone_decoder_and_a_high_one_flattens():
    logits = np.random.default_rng(0).normal(size=(50, 3))  # many out of order
    table = table_of(logits, np.zeros(50, int))
    np.testing.assert_allclose(table[SCORES], monotone_probabilities(torch.tensor(logits)))
    hot = calibrated(table, 1e6)
    np.testing.assert_allclose(hot[SCORES], np.tile([0.5, 0, 0, 0.5], (50, 1)), atol=1e-5)
    for scaled in (table, hot, calibrated(table, 0.2)):
        assert (scaled[SCORES] >= -1e-12).all(axis=None) and np.allclose(scaled[SCORES].sum(axis=1), 1)
        assert (scaled["predicted"] == scaled[SCORES].to_numpy().argmax(axis=1)).all()
        pd.testing.assert_frame_equal(scaled[["ecg_id", "output_1"]], table[["ecg_id", "output_1"]])


def test_probabilities_by_hand_at_temperature_two():
    logits = 2 * np.log([[9.0, 1.5, 0.25]])  # p = 0.9, 0.6, 0.2 after the division
    scaled = calibrated(table_of(logits, [2]), 2)
    assert scaled[SCORES].iloc[0].tolist() == pytest.approx([0.1, 0.3, 0.4, 0.2])
    assert scaled["predicted"].tolist() == [2]


def test_the_true_temperature_improves_the_probabilities_and_leaves_ranks_alone():
    logits, labels = ordered_logits(3000, seed=5)
    before = table_of(4 * logits, labels)
    after = calibrated(before, 4)
    found = pd.DataFrame({"before": probability_metrics(before), "after": probability_metrics(after)})
    assert found.index.tolist() == ["nll", "rps", "ece", "mae", "auc_mean"]
    assert (found.loc[["nll", "rps", "ece"], "after"] < found.loc[["nll", "rps", "ece"], "before"]).all()
    assert found.loc["ece", "after"] < 0.03 < 0.1 < found.loc["ece", "before"]
    extremes = ["auc_0", "auc_3"]  # of one threshold alone
    assert metrics(after)[extremes].tolist() == pytest.approx(metrics(before)[extremes].tolist())


def test_a_stored_runs_validation_likelihood_does_not_fall():
    stored = results.read_predictions("ptbxl-sample", "ordinal-0").query("split == 'validation'")
    temperature = fit_temperature(stored.filter(like="output_"), stored["critical_value"])
    nll = {t: probability_metrics(calibrated(stored, t))["nll"] for t in (1, temperature, 1.1 * temperature)}
    assert nll[temperature] <= min(nll.values()) and 0.5 < temperature < 5


# Reliability


def test_reliability_by_hand():
    p = [[0.85, 0.15, 0, 0], [0.82, 0.08, 0.1, 0], [0, 0.05, 0.95, 0]]
    table = pd.DataFrame(p, columns=SCORES).assign(critical_value=[0, 1, 2])
    found = reliability(table)
    top = found.loc["most probable value"]
    assert top.index.tolist() == [8, 9] and top["records"].tolist() == [2, 1]
    assert top["predicted"].tolist() == pytest.approx([0.835, 0.95]) and top["observed"].tolist() == [0.5, 1]
    assert top.loc[8, ["low", "high"]].tolist() == pytest.approx(stats.beta.ppf([0.025, 0.975], [1, 2], [2, 1]))
    above = found.loc["above 1"]
    assert above.index.tolist() == [0, 9] and above["predicted"].tolist() == pytest.approx([0.05, 0.95])
    assert above["observed"].tolist() == [0, 1] and above["records"].tolist() == [2, 1]
    assert found.index.unique("question").tolist() == ["most probable value", "above 0", "above 1", "above 2"]
    assert top[["from", "to"]].to_numpy().tolist() == [[0.8, 0.9], [0.9, 1.0]]


def test_reliability_adds_up_to_the_calibration_error_and_to_all_records():
    table = table_of(*ordered_logits(400, seed=7))
    found = reliability(table)
    assert (found.groupby("question")["records"].sum() == 400).all()
    assert ((found["from"] <= found["predicted"]) & (found["predicted"] <= found["to"])).all()
    top = found.loc["most probable value"]
    distance = (top["observed"] - top["predicted"]).abs()
    assert (distance * top["records"]).sum() / 400 == pytest.approx(metrics(table)["ece"])


def test_true_probabilities_lie_within_their_intervals():
    found = reliability(table_of(*ordered_logits(20_000, seed=8)))
    inside = (found["low"] <= found["predicted"]) & (found["predicted"] <= found["high"])
    assert inside.mean() > 0.85  # 95 % of some forty bins, give or take


# Prediction sets


def plain_set(p, level):
    """One record's range, grown step by step."""
    low = high = int(np.argmax(p))
    while sum(p[low : high + 1]) <= level and high - low < 3:
        below, above = (p[low - 1] if low else -1), (p[high + 1] if high < 3 else -1)
        low, high = (low, high + 1) if above >= below else (low - 1, high)
    return low, high


def some_probabilities(n, seed):
    return np.random.default_rng(seed).dirichlet([0.7] * 4, n)


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


def simulated_coverages(coverage, fitted, tested, repetitions, level=None):
    """Coverage on new records by probabilities that are far too sure; of the conformal level, or of a given one."""
    found = []
    for seed in range(repetitions):
        true = some_probabilities(fitted + tested, seed)
        labels = drawn(true, seed + 10_000)
        told = true**3 / (true**3).sum(axis=1, keepdims=True)
        at = conformal_level(told[:fitted], labels[:fitted], coverage) if level is None else level
        low, high = prediction_sets(told[fitted:], at)
        found.append(((low <= labels[fitted:]) & (labels[fitted:] <= high)).mean())
    return np.array(found)


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


def test_chance_leaves_the_range_that_repetitions_show():
    low, high = chance_coverage(99, 100, 0.9)
    found = simulated_coverages(0.9, fitted=99, tested=100, repetitions=400)
    assert 0.92 < ((low <= found) & (found <= high)).mean() < 0.99
    assert [low, high] == pytest.approx(np.quantile(found, [0.025, 0.975]), abs=0.021)


def test_chance_by_counting_orders():
    """Of all orders of 9 and 200 records, in how many do k of the 200 come before the fifth of the 9?"""
    orders = np.array([math.comb(k + 4, 4) * math.comb(200 - k + 4, 4) / math.comb(209, 9) for k in range(201)])
    assert orders.sum() == pytest.approx(1)
    expected = [np.argmax(orders.cumsum() >= share) / 200 for share in (0.025, 0.975)]
    assert chance_coverage(9, 200, 0.5) == pytest.approx(expected)
    assert chance_coverage(5, 200, 0.9) == (1, 1)  # of so few records, every range holds all values


def test_coverage_by_hand():
    people = pd.DataFrame({"critical_value": [0, 0, 3, 3, 1], "sex": ["male", "male", "female", "female", "female"],
                           "age": [40, 70, 65, np.nan, 30]})  # fmt: skip
    low, high = np.array([0, 1, 2, 0, 0]), np.array([0, 2, 3, 2, 3])  # held: yes, no, yes, no, yes
    found = coverage_table(people, low, high)
    assert found.index.tolist() == ["all", "critical value 0", "critical value 1", "critical value 3", "male", "female",
                                    "age < 65", "age >= 65"]  # fmt: skip
    assert found["estimate"].tolist() == pytest.approx([0.6, 0.5, 1, 0.5, 0.5, 2 / 3, 1, 0.5])
    assert found["mean_size"].tolist() == pytest.approx([12 / 5, 3 / 2, 4, 5 / 2, 3 / 2, 3, 5 / 2, 2])
    assert found["records"].tolist() == [5, 2, 1, 2, 2, 3, 2, 2]
    expected = [stats.beta.ppf(0.025, 3, 3), stats.beta.ppf(0.975, 4, 2)]
    assert found.loc["all", ["low", "high"]].tolist() == pytest.approx(expected)
