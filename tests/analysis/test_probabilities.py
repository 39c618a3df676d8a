"""Reliability and coverage, by hand and by simulation."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from simulated_labels import ordered_logits, simulated_coverages

from cardiov.analysis.metrics import SCORES, expected_calibration_error, metrics
from cardiov.analysis.probabilities import (
    averaged,
    calibrated,
    calibrated_by_run,
    chance_coverage,
    coverage_table,
    probability_metrics,
    reliability,
    sets_by_run,
)
from cardiov.ordinal import monotone_probabilities
from cardiov.scoring.calibration import conformal_levels, fit_temperature, prediction_sets
from cardiov.store import results


def table_of(logits, labels):
    table = pd.DataFrame(logits, columns=["output_1", "output_2", "output_3"])
    table = table.assign(ecg_id=range(len(labels)), patient_id=range(len(labels)), critical_value=labels)
    return calibrated(table, 1)


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


def test_an_average_pairs_records_whatever_their_order():
    one = pd.DataFrame([[1, 0.5, 0.3, 0.2, 0.0], [2, 0.1, 0.2, 0.3, 0.4]], columns=["ecg_id", *SCORES]).assign(predicted=[0, 3])
    other = pd.DataFrame([[2, 0.9, 0.1, 0.0, 0.0], [1, 0.0, 0.5, 0.5, 0.0]], columns=["ecg_id", *SCORES]).assign(predicted=[0, 1])
    mean = averaged(one, other)
    np.testing.assert_allclose(mean[SCORES], [[0.25, 0.4, 0.35, 0.0], [0.5, 0.15, 0.15, 0.2]])
    assert mean["predicted"].tolist() == [1, 0] and mean["ecg_id"].tolist() == [1, 2]


def test_the_true_temperature_improves_the_probabilities_and_leaves_ranks_alone():
    logits, labels = ordered_logits(3000, seed=5)
    before = table_of(4 * logits, labels)
    after = calibrated(before, 4)
    values = pd.DataFrame({"before": probability_metrics(before), "after": probability_metrics(after)})
    assert values.index.tolist() == ["rps", "nll", "ece", "ece_by_chance", "mae", "auc_mean"]
    assert (values.loc[["nll", "rps", "ece"], "after"] < values.loc[["nll", "rps", "ece"], "before"]).all()
    assert values.loc["ece", "after"] < 0.03 < 0.1 < values.loc["ece", "before"]
    extremes = ["auc_0", "auc_3"]  # of one threshold alone
    assert metrics(after)[extremes].tolist() == pytest.approx(metrics(before)[extremes].tolist())


def test_calibration_error_by_chance_is_that_of_labels_drawn_from_the_probabilities():
    rng = np.random.default_rng(0)
    table = table_of(rng.normal(scale=1.5, size=(300, 3)), np.zeros(300, dtype=int))
    p = table[SCORES].to_numpy()
    drawn = [(rng.random((300, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1) for _ in range(2000)]
    by_chance = np.mean([expected_calibration_error(p, label) for label in drawn])
    assert by_chance > 0.03 and probability_metrics(table)["ece_by_chance"] == pytest.approx(by_chance, rel=0.05)


def test_a_stored_runs_validation_likelihood_does_not_fall():
    stored = results.read_predictions("ptbxl-sample", "ordinal-0").query("split == 'validation'")
    temperature = fit_temperature(stored.filter(like="output_"), stored["critical_value"])
    nll = {t: probability_metrics(calibrated(stored, t))["nll"] for t in (1, temperature, 1.1 * temperature)}
    assert nll[temperature] <= min(nll.values()) and 0.5 < temperature < 5


def test_reliability_by_hand():
    p = [[0.85, 0.15, 0, 0], [0.82, 0.08, 0.1, 0], [0, 0.05, 0.95, 0]]
    table = pd.DataFrame(p, columns=SCORES).assign(critical_value=[0, 1, 2])
    bins = reliability(table)
    assert bins.index.unique("question").tolist() == ["most probable value", "above 0", "above 1", "above 2"]
    top, above = bins.loc["most probable value"], bins.loc["above 1"]
    assert top.index.tolist() == [8, 9] and top["records"].tolist() == [2, 1]
    assert top["predicted"].tolist() == pytest.approx([0.835, 0.95]) and top["observed"].tolist() == [0.5, 1]
    assert top.loc[8, ["low", "high"]].tolist() == pytest.approx(stats.beta.ppf([0.025, 0.975], [1, 2], [2, 1]))
    assert above.index.tolist() == [0, 9] and above["predicted"].tolist() == pytest.approx([0.05, 0.95])
    assert above["observed"].tolist() == [0, 1] and above["records"].tolist() == [2, 1]
    assert top[["from", "to"]].to_numpy().tolist() == [[0.8, 0.9], [0.9, 1.0]]


def test_reliability_adds_up_to_the_calibration_error_and_to_all_records():
    table = table_of(*ordered_logits(400, seed=7))
    bins = reliability(table)
    assert (bins.groupby("question")["records"].sum() == 400).all()
    assert ((bins["from"] <= bins["predicted"]) & (bins["predicted"] <= bins["to"])).all()
    top = bins.loc["most probable value"]
    distance = (top["observed"] - top["predicted"]).abs()
    assert (distance * top["records"]).sum() / 400 == pytest.approx(metrics(table)["ece"])


def test_true_probabilities_lie_within_their_intervals():
    bins = reliability(table_of(*ordered_logits(20_000, seed=8)))
    inside = (bins["low"] <= bins["predicted"]) & (bins["predicted"] <= bins["high"])
    assert inside.mean() > 0.85  # 95 % of some forty bins, give or take


def test_chance_leaves_the_range_that_repetitions_show():
    low, high = chance_coverage(99, 100, 0.9)
    coverages = simulated_coverages(0.9, fitted=99, tested=100, repetitions=400)
    assert 0.92 < ((low <= coverages) & (coverages <= high)).mean() < 0.99
    assert [low, high] == pytest.approx(np.quantile(coverages, [0.025, 0.975]), abs=0.021)


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
    coverage = coverage_table(people, low, high)
    assert coverage.index.tolist() == ["all", "critical value 0", "critical value 1", "critical value 3", "male", "female",
                                    "age < 65", "age >= 65"]  # fmt: skip
    assert coverage["estimate"].tolist() == pytest.approx([0.6, 0.5, 1, 0.5, 0.5, 2 / 3, 1, 0.5])
    assert coverage["mean_size"].tolist() == pytest.approx([12 / 5, 3 / 2, 4, 5 / 2, 3 / 2, 3, 5 / 2, 2])
    assert coverage["records"].tolist() == [5, 2, 1, 2, 2, 3, 2, 2]
    expected = [stats.beta.ppf(0.025, 3, 3), stats.beta.ppf(0.975, 4, 2)]
    assert coverage.loc["all", ["low", "high"]].tolist() == pytest.approx(expected)


def test_sets_of_several_runs_are_by_the_levels_of_each():
    runs = {fold: table_of(*ordered_logits(300, seed=20 + fold)).assign(fold=fold) for fold in (1, 2)}
    known = pd.concat([runs[1], runs[2].assign(critical_value=3)], ignore_index=True)
    new = pd.concat([runs[2].assign(fold=1), runs[1].assign(fold=2)], ignore_index=True)
    low, high = sets_by_run(new, known, 0.9)
    for fold in (1, 2):
        of_run, chosen_on = new["fold"] == fold, known[known["fold"] == fold]
        levels = conformal_levels(chosen_on[SCORES], chosen_on["critical_value"], 0.9)
        expected = prediction_sets(new.loc[of_run, SCORES], levels)
        assert low[of_run].tolist() == expected[0].tolist() and high[of_run].tolist() == expected[1].tolist()
    assert (low[new["fold"] == 2] == 0).all() and (low[new["fold"] == 1] > 0).any()  # no record of 0 chose the second


def test_each_run_is_divided_by_its_own_temperature():
    runs = {fold: table_of(*ordered_logits(3000, seed=fold)).assign(fold=fold) for fold in (1, 2)}
    runs[2][["output_1", "output_2", "output_3"]] *= 3
    scaled = calibrated_by_run(pd.concat(runs, ignore_index=True), pd.concat(runs, ignore_index=True))
    for fold, run in runs.items():
        temperature = fit_temperature(run.filter(like="output_"), run["critical_value"])
        assert temperature == pytest.approx([1, 3][fold - 1], rel=0.1)
        expected = calibrated(run, temperature)[SCORES]
        np.testing.assert_allclose(scaled.loc[scaled["fold"] == fold, SCORES], expected)
