"""Intervals over patients and training seeds: coverage, pairing, and agreement of the fast form with the plain one."""

import numpy as np
import pandas as pd
import pytest
from predictions import SIX, mae, people, simulated
from scipy import stats

from cardiov.analysis.metrics import ALL_DRAWS_AT_ONCE, auc_orders, metrics, subgroup_metrics, threshold_aucs
from cardiov.analysis.probabilities import probability_metrics
from cardiov.analysis.resampling import (
    bootstrap,
    bootstrap_difference,
    bootstrap_seeds,
    bootstrap_seeds_difference,
    bootstrap_subsets,
    prediction_interval,
    seed_draws,
)
from cardiov.analysis.subgroups import subgroup_differences, subgroups
from cardiov.errors import ParameterError


def width(table):
    return table.loc["mae", "high"] - table.loc["mae", "low"]


def test_one_record_per_patient_gives_the_ordinary_bootstrap():
    table = simulated(1).assign(patient_id=range(400))
    error = (table["predicted"] - table["critical_value"]).abs().to_numpy()
    table = bootstrap(table, mae, resamples=2000)
    ordinary = stats.bootstrap((error,), np.mean, n_resamples=2000, method="percentile", rng=1).confidence_interval
    assert table.loc["mae", "estimate"] == error.mean()
    assert table.loc["mae", ["low", "high"]].tolist() == pytest.approx([*ordinary], abs=0.1 * width(table))


def test_copies_of_records_narrow_nothing():
    """Four equal records of a patient say no more than one: the interval must not shrink to half, as by records."""
    once = simulated(1, n=200).assign(patient_id=range(200))
    copied = pd.concat([once] * 4, ignore_index=True)
    by_patient = bootstrap(copied, mae, resamples=500)
    pd.testing.assert_frame_equal(by_patient, bootstrap(once, mae, resamples=500))
    by_record = bootstrap(copied.assign(patient_id=range(800)), mae, resamples=500)
    assert width(by_patient) / width(by_record) == pytest.approx(2, rel=0.2)


def test_every_resample_holds_whole_patients():
    seen = []

    def unequal_counts(table):
        counts = table["ecg_id"].value_counts().reindex(range(1, 7), fill_value=0)
        seen.append(abs(counts[1] - counts[2]) + abs(counts[5] - counts[6]))  # two records of one patient each
        return pd.Series({"records": len(table)})

    bootstrap(SIX, unequal_counts, resamples=50)
    assert len(seen) == 51 and sum(seen) == 0


def test_intervals_are_deterministic_and_ignore_the_order_of_a_patients_records():
    table = simulated(1)
    first = bootstrap(table, resamples=100, seed=3)
    pd.testing.assert_frame_equal(first, bootstrap(table, resamples=100, seed=3))
    pd.testing.assert_frame_equal(first, bootstrap(table.sample(frac=1, random_state=1), resamples=100, seed=3))
    assert not first.equals(bootstrap(table, resamples=100, seed=4))
    assert ((first["low"] <= first["estimate"]) & (first["estimate"] <= first["high"])).all()


def test_a_class_that_is_not_always_drawn_is_skipped():
    table = bootstrap(SIX, resamples=200)
    assert table.loc["auc_2", ["low", "high"]].notna().all()


def test_intervals_cover_the_truth():
    """About 95 of 100 intervals of a known mean hold it, with two records per patient that share their error."""
    rng, hits = np.random.default_rng(0), 0
    patient = np.repeat(np.arange(60), 2)
    for trial in range(100):
        wrong = (rng.random(60) < 0.3).astype(int)[patient]
        table = pd.DataFrame({"patient_id": patient, "wrong": wrong})
        row = bootstrap(table, lambda drawn: pd.Series({"wrong": drawn["wrong"].mean()}), 100, seed=trial).loc["wrong"]
        hits += row["low"] <= 0.3 <= row["high"]
    assert 88 <= hits <= 100


def test_a_run_does_not_differ_from_itself():
    table = simulated(1)
    same = bootstrap_difference(table, table.sample(frac=1, random_state=0), resamples=50)
    assert (same == 0).all(axis=None)


@pytest.mark.parametrize("statistic", [metrics, subgroup_metrics, threshold_aucs, auc_orders, probability_metrics])
def test_statistics_of_all_draws_at_once_are_those_of_each_draw(statistic):
    table = pd.concat([SIX.drop(columns="split"), simulated(1, n=40, patients=30)], ignore_index=True)
    at_once, each = (bootstrap(table, of, 60) for of in (statistic, lambda drawn: statistic(drawn)))
    pd.testing.assert_frame_equal(at_once, each)
    assert at_once.index.tolist() == statistic(table).index.tolist() and statistic in ALL_DRAWS_AT_ONCE


def test_one_run_gives_the_intervals_over_patients():
    first, second = simulated(1), simulated(2)
    shuffled = first.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(bootstrap_seeds({7: shuffled}, resamples=100), bootstrap(first, resamples=100))
    expected = bootstrap(first, lambda drawn: mae(drawn) - mae(second.loc[drawn.index]), 100)
    pd.testing.assert_frame_equal(bootstrap_difference(shuffled, second, mae, 100), expected)


def test_pairing_narrows_the_difference_of_similar_runs():
    first = simulated(1)
    second = first.assign(predicted=first["predicted"].where(first["ecg_id"] > 20, first["critical_value"]))
    paired = bootstrap_difference(first, second, mae, resamples=500)
    assert paired.loc["mae", "estimate"] == pytest.approx(metrics(first)["mae"] - metrics(second)["mae"])
    assert width(paired) < 0.5 * width(bootstrap(first, mae, resamples=500))


def test_draws_of_several_recipes_meet_the_same_patients():
    runs = {k: simulated(k) for k in range(3)}
    same, again, others = seed_draws([{0: runs[0]}, {5: runs[0]}, runs], resamples=20)
    pd.testing.assert_frame_equal(same, again)
    assert len(others) == 21
    assert others.loc[0, "mae"] == pytest.approx(np.mean([metrics(run)["mae"] for run in runs.values()]))
    assert (others["accuracy"] + others["wrong"]).tolist() == pytest.approx([1] * 21)


def test_runs_alike_add_nothing_to_the_patients_part():
    runs = dict.fromkeys(range(3), simulated(1))
    pd.testing.assert_frame_equal(bootstrap_seeds(runs, resamples=100), bootstrap(runs[0], resamples=100))
    none = bootstrap_seeds_difference(runs, dict.fromkeys(range(2), runs[0]), resamples=100)
    assert none.abs().max(axis=None) < 1e-12


def test_the_estimate_is_the_mean_over_runs():
    runs = {k: simulated(k, noise=1 + k) for k in range(3)}
    means = [metrics(run)["auc_mean"] for run in runs.values()]
    assert bootstrap_seeds(runs, resamples=5).loc["auc_mean", "estimate"] == pytest.approx(np.mean(means))
    difference = bootstrap_seeds_difference(runs, {0: runs[0]}, resamples=5).loc["auc_mean", "estimate"]
    assert difference == pytest.approx(np.mean(means) - means[0])


def constant_errors(*errors):
    """Runs that miss every record by the same number of steps, so that nothing depends on the patients."""
    table = simulated(1, n=60).assign(critical_value=0)
    return {k: table.assign(predicted=error) for k, error in enumerate(errors)}


def test_runs_are_drawn_with_replacement():
    """The mean of four of four runs, two at 0 and two at 1, is binomial: 2.5 % and 97.5 % of B(4, 1/2) are 0 and 4."""
    seen = bootstrap_seeds(constant_errors(0, 0, 1, 1), resamples=2000).loc["mae"]
    assert seen.tolist() == [0.5, 0, 1]


def test_runs_are_paired_by_their_seeds_if_both_sides_have_the_same():
    same, others = constant_errors(1, 3, 2), {seed + 10: run for seed, run in constant_errors(0, 1).items()}
    paired = bootstrap_seeds_difference(same, constant_errors(0, 2, 1), resamples=200).loc["mae"]
    assert paired.tolist() == pytest.approx([1, 1, 1])  # each run by its counterpart, whichever are drawn
    apart = bootstrap_seeds_difference(constant_errors(0, 1), others, resamples=2000).loc["mae"]
    assert apart.tolist() == [0, -1, 1]  # -1 or 1 in one of 16 draws each: the sides are not drawn as one


def test_intervals_over_seeds_cover_the_truth():
    """About 95 of 100 hold the mean over all patients and seeds, where either varies; patients alone give fewer."""
    rng, hits, alone = np.random.default_rng(0), 0, 0
    label = pd.DataFrame({"ecg_id": range(60), "patient_id": range(60), "critical_value": 0, "p0": 0.0, "p1": 0.0,
                          "p2": 0.0, "p3": 0.0})  # fmt: skip
    for trial in range(100):
        chance = 0.3 + 0.15 * rng.choice([-1, 1], 60) + 0.1 * rng.choice([-1, 1], (8, 1))  # (seeds, patients)
        runs = {k: label.assign(predicted=(rng.random(60) < wrong).astype(int)) for k, wrong in enumerate(chance)}
        low, high = bootstrap_seeds(runs, resamples=100, seed=trial).loc["mae", ["low", "high"]]
        hits += low <= 0.3 <= high
        low, high = bootstrap(runs[0], resamples=100, seed=trial).loc["mae", ["low", "high"]]
        alone += low <= 0.3 <= high
    assert 88 <= hits <= 100
    assert alone < 85


def test_pairing_by_patients_narrows_the_difference_over_seeds():
    """Runs of one recipe that differ on few records, and the same runs right on some more."""
    table = simulated(1)
    runs = {k: table.assign(predicted=table["predicted"].where(table["ecg_id"] % 50 != k, 0)) for k in range(3)}
    better = {k: run.assign(predicted=run["predicted"].where(run["ecg_id"] > 20, run["critical_value"]))
              for k, run in runs.items()}  # fmt: skip
    paired, single = bootstrap_seeds_difference(runs, better, resamples=500), bootstrap_seeds(runs, resamples=500)
    assert width(paired) < 0.5 * width(single)
    assert 0 < paired.loc["mae", "estimate"] < single.loc["mae", "estimate"]


def test_a_subset_of_everything_is_the_whole():
    runs = {k: simulated(k) for k in range(3)}
    subsets = pd.DataFrame({"all": True, "first": runs[0]["ecg_id"] < 150, "none": False}).set_index(runs[0]["ecg_id"])
    table = bootstrap_subsets(runs, subsets, {"all - first": ("all", "first")}, resamples=50)
    assert table.index.unique("subset").tolist() == ["all", "first", "none", "all - first"]
    pd.testing.assert_frame_equal(table.loc["all"], bootstrap_seeds(runs, resamples=50))
    mean = np.mean([metrics(run[run["ecg_id"] < 150])["mae"] for run in runs.values()])
    assert table.loc[("first", "mae"), "estimate"] == pytest.approx(mean)
    whole = table.loc[("all", "mae"), "estimate"]
    assert table.loc[("all - first", "mae"), "estimate"] == pytest.approx(whole - mean)
    assert table.loc["none"].isna().all(axis=None)


def test_differences_of_subsets_are_those_of_subgroups():
    table = people()
    subsets = subgroups(table).set_index(table["ecg_id"])
    differences = bootstrap_subsets({0: table.sample(frac=1, random_state=0)}, subsets, {"apart": ("male", "female")},
                              subgroup_metrics, resamples=50, seed=2)  # fmt: skip
    expected = subgroup_differences(table, resamples=50, permutations=2, seed=2).loc["male - female"]
    pd.testing.assert_frame_equal(differences.loc["apart"], expected[["estimate", "low", "high"]])


@pytest.mark.parametrize(("values", "level", "middle", "half"), [  # quantiles of Student's t as printed tables have them
    ([1, 2, 3, 4, 5], 0.99, 3, 4.604 * 2.5**0.5 * 1.2**0.5), ([1, 2, 3, 4, 5], 0.95, 3, 2.776 * 2.5**0.5 * 1.2**0.5),
    ([-1, 1], 0.9, 0, 6.314 * 2**0.5 * 1.5**0.5), ([0.84, 0.84, 0.84], 0.99, 0.84, 0),
])  # fmt: skip
def test_a_prediction_interval_is_students(values, level, middle, half):
    low, high = prediction_interval(values, level)
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=1e-3)


@pytest.mark.parametrize(("n", "level"), [(5, 0.99), (5, 0.8), (3, 0.95), (20, 0.99)])
def test_a_prediction_interval_holds_one_more_value_as_often_as_it_says(n, level):
    samples = np.random.default_rng(0).normal(0.85, 0.01, (4000, n + 1))
    intervals = np.array([prediction_interval(sample[:n], level) for sample in samples])
    share = ((intervals[:, 0] <= samples[:, n]) & (samples[:, n] <= intervals[:, 1])).mean()
    assert share == pytest.approx(level, abs=4 * (level * (1 - level) / 4000) ** 0.5)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: bootstrap_difference(SIX, SIX.iloc[:-1]), "different records"),
    (lambda: bootstrap_difference(SIX, SIX.assign(critical_value=0)), "labels"),
    (lambda: bootstrap_seeds({0: SIX, 1: SIX.iloc[:-1]}), "different records"),
    (lambda: bootstrap_seeds_difference({0: SIX}, {0: SIX.assign(critical_value=0)}), "labels"),
    (lambda: bootstrap_seeds({0: SIX[:0]}), "check the run, and the split"),
    (lambda: bootstrap_seeds({}), "no runs"),
    (lambda: bootstrap(SIX[SIX["split"] == "tset"]), "check the run, and the split"),
])  # fmt: skip
def test_what_cannot_be_evaluated_is_said(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
