"""Metrics, ROC curves and intervals, against scikit-learn, SciPy, literal values and invariances."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn import metrics as sk

from cardiov.errors import DataSetError, ParameterError
from cardiov.evaluation import (
    auc,
    bin_of,
    bootstrap,
    bootstrap_difference,
    bootstrap_seeds,
    bootstrap_seeds_difference,
    bootstrap_subsets,
    case_table,
    choose_cases,
    confusion,
    error_odds,
    exact_share,
    expected_calibration_error,
    holm,
    metrics,
    preference,
    quadratic_kappa,
    ranked_probability_score,
    reader_kappas,
    roc_points,
    roc_table,
    seed_draws,
    side_shares,
    sides,
    stress_metrics,
    subgroup_counts,
    subgroup_differences,
    subgroup_metrics,
    subgroup_table,
    subgroups,
    threshold_aucs,
    with_people,
)
from cardiov.ordinal import violation_rate

# worked by hand below: errors 0 1 0 2 0 3, one record of patient 3 with thresholds out of order
SIX = pd.DataFrame({
    "ecg_id": [1, 2, 3, 4, 5, 6],
    "patient_id": [1, 1, 2, 3, 4, 4],
    "split": "test",
    "critical_value": [0, 0, 1, 2, 3, 3],
    "output_1": [-2.0, 1.0, 1.0, -1.0, 3.0, -2.0],
    "output_2": [-3.0, -1.0, -1.0, 0.0, 2.0, -3.0],
    "output_3": [-4.0, -2.0, -2.0, -3.0, 1.0, -4.0],
    "p0": [0.9, 0.3, 0.3, 0.7, 0.0, 0.9],
    "p1": [0.1, 0.4, 0.4, -0.2, 0.1, 0.1],
    "p2": [0.0, 0.2, 0.2, 0.4, 0.2, 0.0],
    "p3": [0.0, 0.1, 0.1, 0.1, 0.7, 0.0],
    "predicted": [0, 1, 1, 0, 3, 0],
})  # fmt: skip


def simulated(seed, n=400, patients=300, noise=1.0):
    """Predictions of an ordinal run on simulated records; labels and patients are the same for every seed."""
    common = np.random.default_rng(0)
    label = common.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    patient = common.integers(patients, size=n)
    latent = label[:, None] + noise * np.random.default_rng(seed).normal(size=(n, 1))  # (n, 1)
    logits = latent - [0.5, 1.5, 2.5] + 0.3 * np.random.default_rng(seed + 1).normal(size=(n, 3))
    thresholds = np.c_[np.ones(n), 1 / (1 + np.exp(-logits)), np.zeros(n)]
    scores = -np.diff(thresholds)  # (n, 4)
    table = pd.DataFrame({"ecg_id": np.arange(n), "patient_id": patient, "critical_value": label})
    table[["output_1", "output_2", "output_3"]] = logits
    table[["p0", "p1", "p2", "p3"]] = scores
    return table.assign(predicted=scores.argmax(axis=1))


def test_metrics_worked_by_hand():
    found = metrics(SIX)
    assert found["mae"] == pytest.approx(6 / 6)
    assert found["macro_mae"] == pytest.approx((0.5 + 0 + 2 + 1.5) / 4)
    assert found["accuracy"] == pytest.approx(3 / 6)
    assert found["wrong"] == pytest.approx(3 / 6)
    assert found["error_1"] == found["error_2"] == found["error_3"] == pytest.approx(1 / 6)
    assert found["error_2_or_more"] == pytest.approx(2 / 6)
    assert found["violation_rate"] == pytest.approx(1 / 6)
    # class 0 scores 0.9 and 0.3 against 0.3, 0.7, 0.0, 0.9: 3.5 and 1.5 of 4 won
    assert found["auc_0"] == pytest.approx(5 / 8)
    assert found["auc_mean"] == pytest.approx(found[["auc_0", "auc_1", "auc_2", "auc_3"]].mean())


def test_metrics_agree_with_scikit_learn():
    table = simulated(1)
    label, predicted = table["critical_value"], table["predicted"]
    found = metrics(table)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(label, predicted))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(label, predicted))
    assert found["kappa"] == pytest.approx(sk.cohen_kappa_score(label, predicted, weights="quadratic"))
    for k in range(4):
        assert found[f"auc_{k}"] == pytest.approx(sk.roc_auc_score(label == k, table[f"p{k}"]))
    worst = [sk.mean_absolute_error(label[label == k], predicted[label == k]) for k in range(4)]
    assert found["macro_mae"] == pytest.approx(np.mean(worst))


def test_auc_counts_ties_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    score = rng.integers(5, size=300) / 4  # many ties
    positive = rng.random(300) < 0.3
    assert auc(positive, score) == pytest.approx(sk.roc_auc_score(positive, score))
    assert auc(positive, np.zeros(300)) == 0.5
    assert auc(positive, positive.astype(float)) == 1
    assert auc(positive, -score) == pytest.approx(1 - auc(positive, score))
    assert np.isnan(auc(np.ones(3, bool), score[:3])) and np.isnan(auc(np.zeros(3, bool), score[:3]))


def test_kappa_of_constants():
    ones = np.ones(5)
    assert np.isnan(quadratic_kappa(ones, ones))
    assert quadratic_kappa(np.array([0, 3]), np.array([3, 0])) == pytest.approx(-1)


def test_an_absent_class_gives_nan_and_not_another_mean():
    found = metrics(SIX[SIX["critical_value"] != 2])
    assert found[["auc_2", "auc_mean", "macro_mae"]].isna().all()
    assert found[["auc_0", "auc_1", "auc_3", "mae"]].notna().all()


def test_violations_are_those_of_the_logits():
    table = simulated(1)
    logits = torch.tensor(table[["output_1", "output_2", "output_3"]].to_numpy())
    assert metrics(table)["violation_rate"] == pytest.approx(violation_rate(logits)) and violation_rate(logits) > 0


def test_violations_are_of_probabilities_only():
    assert np.isnan(metrics(SIX.assign(p0=SIX["p0"] - 1))["violation_rate"])  # the scores of a regression
    softmax = SIX.assign(p0=0.1, p1=0.2, p2=0.3, p3=0.4)
    assert metrics(softmax)["violation_rate"] == 0


def test_ranked_probability_score_by_hand():
    told = np.array([[0.1, 0.2, 0.3, 0.4]])  # cumulative 0.1, 0.3, 0.6
    by_label = [ranked_probability_score(told, np.array([k])) for k in range(4)]
    assert by_label == pytest.approx([0.81 + 0.49 + 0.16, 0.01 + 0.49 + 0.16, 0.01 + 0.09 + 0.16, 0.01 + 0.09 + 0.36])
    sure = np.eye(4)[[0, 0, 3]]
    assert ranked_probability_score(sure, np.array([0, 3, 0])) == pytest.approx((0 + 3 + 3) / 3)  # from 0 to 3
    assert metrics(SIX)["rps"] == pytest.approx((0.01 + 0.59 + 0.19 + 0.75 + 0.1 + 2.81) / 6)  # record by record


def test_ranked_probability_score_is_the_thresholds_brier_scores():
    table = simulated(1)
    label, scores = table["critical_value"], table[["p0", "p1", "p2", "p3"]]
    assert (scores < 0).any(axis=None)  # also where Eq. 6 gives a negative probability
    above = [1 - scores.iloc[:, : k + 1].sum(axis=1).clip(0, 1) for k in range(3)]
    briers = [sk.brier_score_loss(label > k, above[k]) for k in range(3)]
    assert metrics(table)["rps"] == pytest.approx(sum(briers))


def test_calibration_error_by_hand():
    told = np.array([[0.85, 0.15, 0, 0], [0.9, 0.1, 0, 0], [0, 0.05, 0.95, 0], [0.3, 0.3, 0.4, 0]])
    label = np.array([0, 1, 2, 3])  # of 0.85 and 0.9 one is right, 0.95 is, 0.4 is not
    assert expected_calibration_error(told, label) == pytest.approx((abs(1.75 - 1) + 0.05 + 0.4) / 4)
    assert expected_calibration_error(told, label, bins=1) == pytest.approx(abs(0.85 + 0.9 + 0.95 + 0.4 - 2) / 4)
    assert bin_of(np.array([0, 0.05, 0.1, 0.11, 0.95, 1, 1.0000001])).tolist() == [0, 0, 0, 1, 9, 9, 9]


def test_calibration_error_agrees_with_a_plain_loop():
    table = simulated(1)
    highest = table[["p0", "p1", "p2", "p3"]].max(axis=1)
    expected = 0
    for _, inside in table.groupby(pd.cut(highest, np.linspace(0, 1, 11)), observed=True):
        right = (inside["predicted"] == inside["critical_value"]).mean()
        expected += len(inside) / len(table) * abs(right - highest[inside.index].mean())
    assert metrics(table)["ece"] == pytest.approx(expected)


def test_the_true_probabilities_score_best():
    rng = np.random.default_rng(0)
    true = rng.dirichlet([1, 1, 1, 1], 20_000)
    label = (rng.random((20_000, 1)) > true.cumsum(axis=1)).sum(axis=1)
    sharp = true**2 / (true**2).sum(axis=1, keepdims=True)
    for score in (ranked_probability_score, expected_calibration_error):
        assert score(true, label) < min(score(sharp, label), score((true + 0.25) / 2, label))
    assert expected_calibration_error(true, label) < 0.02 and expected_calibration_error(sharp, label) > 0.1


def test_scores_that_are_no_probabilities_have_no_calibration():
    distances = -np.abs(SIX[["output_1"]].to_numpy() - np.arange(4))
    found = metrics(SIX.assign(**dict(zip(["p0", "p1", "p2", "p3"], distances.T, strict=True))))
    assert found[["rps", "ece"]].isna().all() and found[["mae", "auc_mean"]].notna().all()


def test_exact_share_is_that_of_clopper_and_pearson():
    expected = [0.8, stats.beta.ppf(0.025, 8, 3), stats.beta.ppf(0.975, 9, 2)]
    assert exact_share(8, 10) == pytest.approx(expected)
    assert exact_share(0, 5)[:2] == [0, 0] and exact_share(5, 5)[::2] == [1, 1] and np.isnan(exact_share(0, 0)).all()


def test_threshold_aucs_by_hand_and_from_the_logits():
    # above 0, for example: 0.7, 0.3, 1 and 0.1 of the records above against 0.1 and 0.7 of those not above
    assert threshold_aucs(SIX).tolist() == pytest.approx([5 / 8, 6.5 / 9, 4.5 / 8])
    table = simulated(2)
    for k, found in enumerate(threshold_aucs(table)):  # a threshold's probability rises with its logit
        assert found == pytest.approx(sk.roc_auc_score(table["critical_value"] > k, table[f"output_{k + 1}"]))
    none_above_2 = threshold_aucs(SIX[SIX["critical_value"] < 3])
    assert none_above_2.isna().tolist() == [False, False, True]


def test_metrics_do_not_depend_on_the_order_of_records():
    table = simulated(1)
    pd.testing.assert_series_equal(metrics(table), metrics(table.sample(frac=1, random_state=0)))


def test_confusion_counts_labels_in_rows():
    assert confusion(SIX).to_numpy().tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1]]


def test_roc_points_span_the_square():
    points = roc_points(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    assert points.to_numpy().tolist() == [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]


def test_area_of_each_roc_curve_is_its_auc():
    table = simulated(1)
    found, curves = metrics(table), roc_table(table)
    assert curves["curve"].unique().tolist() == ["0", "1", "2", "3", "mean"]
    for name, curve in curves.groupby("curve"):
        area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
        assert area == pytest.approx(found[f"auc_{name}"], abs=0.003 if name == "mean" else 1e-9)
        assert curve.iloc[[0, -1], 1:].to_numpy().tolist() == [[0, 0], [1, 1]]


def test_an_absent_class_has_no_roc_curve_and_leaves_no_mean():
    assert set(roc_table(SIX[SIX["critical_value"] != 2])["curve"]) == {"0", "1", "3"}


# Intervals


def mae(table):
    return pd.Series({"mae": (table["predicted"] - table["critical_value"]).abs().mean()})


def test_one_record_a_patient_gives_the_ordinary_bootstrap():
    table = simulated(1).assign(patient_id=range(400))
    error = (table["predicted"] - table["critical_value"]).abs().to_numpy()
    row = bootstrap(table, mae, resamples=2000).loc["mae"]
    ordinary = stats.bootstrap((error,), np.mean, n_resamples=2000, method="percentile", rng=1).confidence_interval
    width = ordinary.high - ordinary.low
    assert row["estimate"] == error.mean()
    assert row[["low", "high"]].tolist() == pytest.approx([ordinary.low, ordinary.high], abs=0.1 * width)


def test_copies_of_records_narrow_nothing():
    """Four equal records of a patient say no more than one: the interval must not shrink to half, as by records."""
    once = simulated(1, n=200).assign(patient_id=range(200))
    copied = pd.concat([once] * 4, ignore_index=True)
    by_patient = bootstrap(copied, mae, resamples=500)
    pd.testing.assert_frame_equal(by_patient, bootstrap(once, mae, resamples=500))
    by_record = bootstrap(copied.assign(patient_id=range(800)), mae, resamples=500)
    width = {name: table.loc["mae", "high"] - table.loc["mae", "low"] for name, table in
             {"patient": by_patient, "record": by_record}.items()}  # fmt: skip
    assert width["patient"] / width["record"] == pytest.approx(2, rel=0.2)


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
    """About 95 of 100 intervals of a known mean hold it, with two records a patient that share their error."""
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


def test_pairing_narrows_the_difference_of_similar_runs():
    first = simulated(1)
    second = first.assign(predicted=first["predicted"].where(first["ecg_id"] > 20, first["critical_value"]))
    paired = bootstrap_difference(first, second, mae, resamples=500).loc["mae"]
    single = bootstrap(first, mae, resamples=500).loc["mae"]
    assert paired["estimate"] == pytest.approx(metrics(first)["mae"] - metrics(second)["mae"])
    assert paired["high"] - paired["low"] < 0.5 * (single["high"] - single["low"])


def test_runs_of_different_records_are_not_compared():
    with pytest.raises(ParameterError, match="different records"):
        bootstrap_difference(SIX, SIX.iloc[:-1], resamples=2)
    with pytest.raises(ParameterError, match="labels"):
        bootstrap_difference(SIX, SIX.assign(critical_value=0), resamples=2)


def test_metrics_of_all_draws_at_once_are_those_of_each_draw():
    table = pd.concat([SIX.drop(columns="split"), simulated(1, n=40, patients=30)], ignore_index=True)
    at_once, each = (bootstrap(table, statistic, 60) for statistic in (metrics, lambda drawn: metrics(drawn)))
    pd.testing.assert_frame_equal(at_once, each)
    assert at_once.index.tolist() == metrics(table).index.tolist()
    assert bootstrap(SIX, resamples=60).loc["auc_2", ["low", "high"]].notna().all()


# Intervals over patients and seeds


def test_one_run_gives_the_intervals_over_patients():
    first, second = simulated(1), simulated(2)
    shuffled = first.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(bootstrap_seeds({7: shuffled}, resamples=100), bootstrap(first, resamples=100))
    pd.testing.assert_frame_equal(
        bootstrap_seeds_difference({7: shuffled}, {3: second}, mae, 100), bootstrap_difference(first, second, mae, 100)
    )


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
    """Runs that miss every record by the same number of steps, so that nothing hangs on the patients."""
    table = simulated(1, n=60).assign(critical_value=0)
    return {k: table.assign(predicted=error) for k, error in enumerate(errors)}


def test_runs_are_drawn_with_replacement():
    """The mean of four of four runs, two at 0 and two at 1, is binomial: 2.5 % and 97.5 % of B(4, 1/2) are 0 and 4."""
    seen = bootstrap_seeds(constant_errors(0, 0, 1, 1), resamples=2000).loc["mae"]
    assert seen.tolist() == [0.5, 0, 1]
    apart = bootstrap_seeds_difference(constant_errors(0, 1), constant_errors(0, 1), resamples=2000).loc["mae"]
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
    paired = bootstrap_seeds_difference(runs, better, resamples=500).loc["mae"]
    single = bootstrap_seeds(runs, resamples=500).loc["mae"]
    assert paired["high"] - paired["low"] < 0.5 * (single["high"] - single["low"])
    assert 0 < paired["estimate"] < single["estimate"]


def test_seeds_of_different_records_are_not_averaged():
    with pytest.raises(ParameterError, match="different records"):
        bootstrap_seeds({0: SIX, 1: SIX.iloc[:-1]}, resamples=2)
    with pytest.raises(ParameterError, match="labels"):
        bootstrap_seeds_difference({0: SIX}, {0: SIX.assign(critical_value=0)}, resamples=2)
    with pytest.raises(ParameterError, match="check the run, and the split"):
        bootstrap_seeds({0: SIX[:0]}, resamples=2)
    with pytest.raises(ParameterError, match="no runs"):
        bootstrap_seeds({}, resamples=2)


def test_draws_of_several_recipes_meet_the_same_patients():
    runs = {k: simulated(k) for k in range(3)}
    same, again, alone = seed_draws([{0: runs[0]}, {5: runs[0]}, runs], resamples=20)
    pd.testing.assert_frame_equal(same, again)
    assert len(alone) == 21
    assert alone.loc[0, "mae"] == pytest.approx(np.mean([metrics(run)["mae"] for run in runs.values()]))
    assert (alone["accuracy"] + alone["wrong"]).tolist() == pytest.approx([1] * 21)


def test_a_subset_of_everything_is_the_whole():
    runs = {k: simulated(k) for k in range(3)}
    subsets = pd.DataFrame({"all": True, "first": runs[0]["ecg_id"] < 150, "none": False}).set_index(runs[0]["ecg_id"])
    found = bootstrap_subsets(runs, subsets, {"all - first": ("all", "first")}, resamples=50)
    assert found.index.unique("subset").tolist() == ["all", "first", "none", "all - first"]
    pd.testing.assert_frame_equal(found.loc["all"], bootstrap_seeds(runs, resamples=50))
    mean = np.mean([metrics(run[run["ecg_id"] < 150])["mae"] for run in runs.values()])
    assert found.loc[("first", "mae"), "estimate"] == pytest.approx(mean)
    whole = found.loc[("all", "mae"), "estimate"]
    assert found.loc[("all - first", "mae"), "estimate"] == pytest.approx(whole - mean)
    assert found.loc["none"].isna().all(axis=None)


def test_differences_of_subsets_are_those_of_subgroups():
    table = people()
    subsets = subgroups(table).set_index(table["ecg_id"])
    found = bootstrap_subsets({0: table.sample(frac=1, random_state=0)}, subsets, {"apart": ("male", "female")},
                              subgroup_metrics, resamples=50, seed=2)  # fmt: skip
    expected = subgroup_differences(table, resamples=50, permutations=2, seed=2).loc["male - female"]
    pd.testing.assert_frame_equal(found.loc["apart"], expected[["estimate", "low", "high"]])


def test_nothing_to_evaluate_is_said():
    with pytest.raises(ParameterError, match="check the run, and the split"):
        bootstrap(SIX[SIX["split"] == "tset"])


def test_many_aucs_at_once_are_the_single_ones():
    rng = np.random.default_rng(0)
    positive, scores = rng.random(50) < 0.4, rng.integers(6, size=(3, 2, 50))
    together = auc(positive, scores)
    assert together.shape == (3, 2)
    assert together[2, 1] == auc(positive, scores[2, 1])
    assert np.isnan(auc(np.zeros(50, bool), scores)).all() and auc(np.zeros(50, bool), scores).shape == (3, 2)


# Cases


@pytest.fixture
def records():
    """What notebook 01 keeps, of the six records of SIX."""
    noise = dict.fromkeys(["baseline_drift", "static_noise", "burst_noise", "electrodes_problems"])
    statements = ["NORM:100;SR:0", "NORM:80", "ILMI:50;PAC:0", "NDT:100", "IMI:35", "IMI:100;PAC:0"]
    table = pd.DataFrame({"statements": statements} | noise, index=pd.Index(range(1, 7), name="ecg_id"), dtype=object)
    table.loc[2, ["baseline_drift", "static_noise"]] = [" , V1,  ", " , alles,  "]
    table.loc[4, "burst_noise"] = "V3"
    return table


def test_cases_are_listed_from_the_gravest(records):
    cases = case_table(SIX, records)
    assert cases["ecg_id"].tolist() == [6, 4, 2, 3, 5, 1]  # of those without an error, the label's lowest score first
    assert cases["error"].tolist() == [3, 2, 1, 0, 0, 0]
    assert cases.loc[0, "statements"] == "IMI:100;PAC:0" and cases.loc[0, "p0"] == 0.9
    assert cases.loc[2, ["baseline_drift", "static_noise"]].tolist() == ["V1", "alles"]  # without PTB-XL's commas
    assert cases.loc[0, "burst_noise"] is None or pd.isna(cases.loc[0, "burst_noise"])


def test_of_equal_errors_the_surest_comes_first(records):
    alike = pd.DataFrame(
        {"ecg_id": [1, 2, 3], "patient_id": 1, "critical_value": 0, "predicted": 1, "p0": [0.3, 0.1, 0.1], "p1": 0.6,
         "p2": 0.1, "p3": 0.1}
    )  # fmt: skip
    assert case_table(alike, records)["ecg_id"].tolist() == [2, 3, 1]


def a_case(ecg_id, error, statements="NDT:100", **noise):
    noise = dict.fromkeys(["baseline_drift", "static_noise", "burst_noise", "electrodes_problems"]) | noise
    return {"ecg_id": ecg_id, "error": error, "statements": statements, **noise}


def test_figures_3_and_4_are_chosen_by_rule():
    cases = pd.DataFrame([
        a_case(1, 3, baseline_drift="V1", static_noise="V2"),  # the gravest with drift
        a_case(2, 3, "ILMI:100"),  # unannotated and gravest, but no IMI
        a_case(3, 2, "SR:0;IMI:15"),
        a_case(4, 2, "IMI:15", burst_noise="V1"),  # noise without drift
        a_case(5, 2, "IMI:100", electrodes_problems="V1"),  # annotated, so not for Fig. 4
        a_case(6, 1, "PAC:0"),  # too small an error
        a_case(7, 0, "PAC:0", baseline_drift="V1"),
    ])  # fmt: skip
    chosen = choose_cases(cases)["ecg_id"]
    assert chosen.to_dict() == {"fig3_drift": 1, "fig3_noise": 4, "fig4_left": 3, "fig4_right": 2}
    assert choose_cases(cases)["why"].tolist()[2:] == ["IMI", "no such error with PAC: the gravest left"]
    cases.loc[5, "error"] = 2
    assert choose_cases(cases)["ecg_id"]["fig4_right"] == 6
    cases.loc[2, "statements"] = "PAC:0"  # no IMI left: the gravest takes its place, and not the one with PAC
    assert choose_cases(cases)["ecg_id"][["fig4_left", "fig4_right"]].tolist() == [2, 3]


def test_a_figure_without_any_such_error_is_left_out():
    cases = pd.DataFrame([a_case(1, 3, baseline_drift="V1"), a_case(2, 1), a_case(3, 0, burst_noise="V1")])
    assert choose_cases(cases)["ecg_id"].to_dict() == {"fig3_drift": 1, "fig4_left": 2}
    assert choose_cases(cases[:0]).empty


def cases_of(counts, column="static_noise"):
    """Records with so many (annotated and bad, annotated and good, other and bad, other and good)."""
    (a, b), (c, d) = counts
    rows = [a_case(0, 3, **{column: "V1"})] * a + [a_case(0, 0, **{column: "V1"})] * b
    return pd.DataFrame(rows + [a_case(0, 3)] * c + [a_case(0, 0)] * d)


def test_odds_ratio_of_fishers_tea():
    """As R's fisher.test; at the limits r⁴ (16r³ + r⁴) is 97.5 % (2.5 %) of 1 + 16r + 36r² + 16r³ + r⁴."""
    row = error_odds(cases_of([[3, 1], [1, 3]])).loc[("wrong", "static noise")]
    assert row[["annotated_with", "annotated_without", "others_with", "others_without"]].tolist() == [3, 1, 1, 3]
    assert row[["odds_ratio", "low", "high", "p"]].tolist() == pytest.approx(
        [6.40832, 0.2117356, 626.2435, 34 / 70], rel=1e-5
    )


def test_exact_interval_against_the_noncentral_hypergeometric_distribution():
    (a, b), (c, d) = counts = [[7, 12], [9, 60]]
    row = error_odds(cases_of(counts)).loc[("error of 2 or more", "any of them")]
    given = (a + b + c + d, a + c, a + b)
    assert stats.nchypergeom_fisher.sf(a - 1, *given, row["low"]) == pytest.approx(0.025, abs=1e-6)
    assert stats.nchypergeom_fisher.cdf(a, *given, row["high"]) == pytest.approx(0.025, abs=1e-6)
    assert stats.nchypergeom_fisher.mean(*given, row["odds_ratio"]) == pytest.approx(a, abs=1e-5)
    assert row["p"] == pytest.approx(stats.fisher_exact(counts).pvalue)


def test_zero_counts_are_shown_as_zero_infinite_and_undefined():
    odds = error_odds(cases_of([[0, 5], [3, 10]])).loc["wrong"]
    assert odds.loc["static noise", ["odds_ratio", "low"]].tolist() == [0, 0] and odds.loc["static noise", "high"] > 1
    assert np.isnan(odds.loc["burst noise", "odds_ratio"]) and odds.loc["burst noise", "high"] == np.inf
    every = error_odds(cases_of([[5, 0], [3, 10]])).loc[("wrong", "any of them")]
    assert every["odds_ratio"] == every["high"] == np.inf and 0 < every["low"] < np.inf


def test_outcomes_and_annotations_are_counted_apart():
    cases = pd.DataFrame([a_case(1, 1, baseline_drift="V1"), a_case(2, 2, burst_noise="V1"), a_case(3, 0)])
    odds = error_odds(cases)["annotated_with"]
    assert odds["wrong"].tolist() == [1, 0, 1, 0, 2] and odds["error of 2 or more"].tolist() == [0, 0, 1, 0, 1]
    assert odds.index.levels[1].size == 5


def stressed_of(*tables):
    names = [("none", "0"), ("mains", "0.1"), ("mains", "1.0")]
    return pd.concat(
        [table.assign(disturbance=name, strength=size) for table, (name, size) in zip(tables, names, strict=False)]
    )


def test_stress_metrics_are_those_of_the_bootstrap_and_its_paired_difference():
    clean, noisy = simulated(1, n=150, patients=90), simulated(2, n=150, patients=90, noise=2.0)
    table = stress_metrics(stressed_of(clean, noisy.sample(frac=1, random_state=0)), resamples=60, seed=5)
    single = bootstrap(noisy, resamples=60, seed=5).loc[["mae", "auc_mean"]]
    paired = bootstrap_difference(noisy, clean, resamples=60, seed=5).loc[["mae", "auc_mean"]]
    found = table.loc[("mains", "0.1")]
    np.testing.assert_allclose(found.loc[["mae", "auc_mean"]], single, rtol=1e-12)
    np.testing.assert_allclose(found.loc[["mae_difference", "auc_mean_difference"]], paired, atol=1e-12)
    undisturbed = table.loc[("none", "0")]
    assert (undisturbed.loc[["mae_difference", "auc_mean_difference"]] == 0).all(axis=None)


def test_stress_metrics_keep_the_order_of_conditions_and_an_absent_class_undefined():
    table = SIX[SIX["critical_value"] != 2]
    found = stress_metrics(stressed_of(table, table, table.assign(predicted=0)), resamples=5)
    assert found.index.droplevel("statistic").unique().tolist() == [("none", "0"), ("mains", "0.1"), ("mains", "1.0")]
    estimates = found["estimate"].unstack("statistic", sort=False)
    assert estimates["auc_mean"].isna().all() and estimates["mae"].tolist() == pytest.approx([0.8, 0.8, 1.4])


def test_incomplete_stress_tests_are_refused():
    with pytest.raises(ParameterError, match="lack some disturbances"):
        stress_metrics(stressed_of(SIX, SIX[:-1]))
    with pytest.raises(ParameterError, match="no predictions to evaluate"):
        stress_metrics(stressed_of(SIX)[:0])


# Subgroups


def people(seed=1, n=400, **changes):
    """Simulated predictions of men and women of 40 to 89; some patients turn 65 between their records."""
    table = simulated(seed, n=n)
    rng = np.random.default_rng(7)
    woman, age = rng.random(300) < 0.5, rng.integers(40, 89, 300)
    patient = table["patient_id"].to_numpy()
    later = age[patient] + np.arange(n) % 2
    sex = np.where(woman[patient], "female", "male")
    return table.assign(**{"sex": sex, "age": later.astype(float), "age_90_or_over": False} | changes)


def test_people_are_joined_by_record():
    columns = {"sex": ["male", "female", "male"], "age": [50, np.nan, 90], "age_90_or_over": [False, False, True]}
    records = pd.DataFrame(columns, index=pd.Index([6, 5, 4], name="ecg_id")).assign(split="train")
    joined = with_people(SIX.iloc[3:], records)
    assert joined["sex"].tolist() == ["male", "female", "male"]
    assert joined["age"].fillna(-1).tolist() == [90, -1, 50] and joined["split"].tolist() == ["test"] * 3
    with pytest.raises(DataSetError, match="3 predicted records are not in records.csv, the first being 1"):
        with_people(SIX, records)


def test_subgroups_by_hand_with_hidden_and_missing_ages():
    table = SIX.assign(sex=["male", "male", "female", "male", "female", "female"], age=[64, 65, np.nan, 90, 64.9, 30],
                       age_90_or_over=[False, False, False, True, False, False])  # fmt: skip
    inside = subgroups(table)
    found = {name: table.loc[rows, "ecg_id"].tolist() for name, rows in inside.items()}
    assert found == {"all": [1, 2, 3, 4, 5, 6], "male": [1, 2, 4], "female": [3, 5, 6], "age < 65": [1, 5, 6],
                     "age >= 65": [2, 4], "age unknown": [3]}  # fmt: skip
    counts = subgroup_counts(table)
    assert counts.loc["all"].tolist() == [6, 4, 2, 1, 1, 2, 1]
    assert counts.loc["age < 65"].tolist() == [3, 2, 1, 0, 0, 2, 0]  # patient 1 is in both age groups
    assert counts.loc["age >= 65"].tolist() == [2, 2, 1, 0, 1, 0, 1]
    assert counts.loc["age unknown"].tolist() == [1, 1, 0, 1, 0, 0, 0]


def test_subgroup_metrics_agree_with_metrics_and_scikit_learn():
    for table in (SIX, simulated(2), simulated(2).round(1)):  # the last has many ties
        found, others = subgroup_metrics(table), metrics(table)
        shared = ["mae", "accuracy", "auc_0", "auc_1", "auc_2", "auc_3", "auc_mean"]
        assert found[shared].tolist() == pytest.approx(others[shared].tolist())
        f1 = sk.f1_score(table["critical_value"], table["predicted"], average=None, zero_division=0)
        assert found[["f1_0", "f1_1", "f1_2", "f1_3"]].tolist() == pytest.approx(f1.tolist())
        assert found["f1_macro"] == pytest.approx(f1.mean())


def test_absent_classes_are_undefined_and_named():
    table = people()
    table = table[(table["sex"] == "male") | table["critical_value"].isin([0, 1])]
    found = subgroup_table(table, resamples=20)
    women = found.loc["female"]
    undefined = ["f1_2", "f1_3", "f1_macro", "auc_2", "auc_3", "auc_mean"]
    assert women.index[women["estimate"].isna()].tolist() == undefined
    assert set(women.loc[undefined, "note"]) == {"undefined: no record of class 2 and 3"}
    assert women.loc[undefined, ["low", "high"]].isna().all(axis=None)
    assert (found.loc["male", "note"] == "").all() and found.loc["male", "estimate"].notna().all()
    alone = subgroup_table(table[table["critical_value"] == 0], resamples=20).loc["female"]
    assert alone.loc[["auc_0", "mae"], "note"].tolist() == ["undefined: no record of class 1 and 2 and 3", ""]


def test_a_subgroup_without_records_is_left_out():
    found = subgroup_table(people(sex="male"), resamples=5)
    assert found.index.unique("subgroup").tolist() == ["all", "male", "age < 65", "age >= 65"]
    differences = subgroup_differences(people(sex="male"), resamples=5, permutations=5)
    assert differences.loc["male - female"].isna().all(axis=None)
    assert differences.loc["age < 65 - age >= 65", "p"].notna().all()


def test_subgroup_intervals_are_those_of_the_general_bootstrap():
    """All draws at once against one table a draw."""
    table = people()
    women = table[table["sex"] == "female"]
    expected = bootstrap(women, lambda drawn: subgroup_metrics(drawn), resamples=50, seed=2)
    found = subgroup_table(table, resamples=50, seed=2).loc["female"].drop(columns="note")
    pd.testing.assert_frame_equal(found, expected, check_names=False)


def test_difference_intervals_draw_all_patients_once():
    table = people()

    def difference(drawn):
        younger = drawn["age"] < 65
        return subgroup_metrics(drawn[younger]) - subgroup_metrics(drawn[~younger])

    expected = bootstrap(table, difference, resamples=50, seed=2)
    found = subgroup_differences(table, resamples=50, permutations=2, seed=2).loc["age < 65 - age >= 65"]
    pd.testing.assert_frame_equal(found[["estimate", "low", "high"]], expected, check_names=False)
    assert found.loc["mae", "excluded_beyond"] == max(abs(found.loc["mae", "low"]), abs(found.loc["mae", "high"]))


def test_permutation_p_agrees_with_scipy():
    table = people(patient_id=np.arange(400))  # one record a patient, as SciPy's test permutes them
    wrong = (table["predicted"] != table["critical_value"]).astype(float)
    table = table.assign(sex=np.where((wrong == 1) & (np.arange(400) % 4 == 0), "male", table["sex"]))
    men = table["sex"] == "male"
    right = 1 - wrong
    test = stats.permutation_test((right[men], right[~men]), lambda a, b: a.mean() - b.mean(), n_resamples=2000, rng=1)
    found = subgroup_differences(table, resamples=5, permutations=2000).loc[("male - female", "accuracy")]
    assert 0.001 < test.pvalue < 0.3
    assert found["p"] == pytest.approx(test.pvalue, abs=0.03)
    assert found["estimate"] == pytest.approx(test.statistic)


def test_permutation_finds_a_real_difference_and_seldom_another():
    table = people()
    worse = table.assign(predicted=table["predicted"].where(table["sex"] == "female", 3 - table["critical_value"]))
    p = subgroup_differences(worse, resamples=5, permutations=99)["p"].unstack("difference")
    assert p.loc["mae", "male - female"] == 0.01  # the least that 99 permutations can give
    rng, below = np.random.default_rng(0), 0
    for trial in range(40):  # the sex of whole patients at random: about 5 of 100 p-values below 0.05
        sexes = rng.choice(["male", "female"], 300)[table["patient_id"]]
        found = subgroup_differences(table.assign(sex=sexes), resamples=2, permutations=39, seed=trial)
        below += found.loc[("male - female", "mae"), "p"] < 0.05
    assert below <= 6


def test_copied_records_do_not_make_a_difference_significant():
    """Ten copies of each record say no more than one: permuted by records, every p-value would be small."""
    table = people(patient_id=np.arange(400))
    copied = pd.concat([table] * 10, ignore_index=True)
    once, many = (subgroup_differences(some, 5, permutations=200)["p"] for some in (table, copied))
    assert many.tolist() == pytest.approx(once.tolist(), abs=0.02)


def test_patients_in_both_age_groups_stay_where_they_are():
    from cardiov.evaluation import _permuted_sides

    patient = np.array([1, 1, 2, 3, 4, 4, 5, 6])
    side = np.array([1, -1, 1, -1, 1, 1, -1, 0])  # patient 1 turns 65; the age of 6 is unknown
    draws = np.array(list(_permuted_sides(side, patient, 200, seed=0)))
    assert (draws[:, [0, 1, 7]] == [1, -1, 0]).all()
    assert (draws[:, 4] == draws[:, 5]).all()
    assert set(map(tuple, draws[:, [2, 3, 4, 6]])) == {(1, -1, 1, -1), (1, 1, -1, -1), (-1, 1, 1, -1),
                                                       (1, -1, -1, 1), (-1, -1, 1, 1), (-1, 1, -1, 1)}  # fmt: skip


def test_holm_adjusts_for_the_number_of_tests():
    p = pd.Series({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": np.nan})  # worked by hand
    adjusted = holm(p)
    assert adjusted[["d", "a", "c", "b"]].tolist() == pytest.approx([0.02, 0.03, 0.06, 0.06])
    assert np.isnan(adjusted["e"])
    assert holm(pd.Series([0.6, 0.7])).tolist() == [1, 1]


# Agreement of a further reader


def test_sides_of_a_reader():
    wrong = pd.DataFrame({"critical_value": [0, 0, 1, 2], "predicted": [1, 2, 0, 3], "reading": [0, 2, 3, 2]})
    assert sides(wrong).to_dict() == {"label": 2, "model": 1, "neither": 1}
    with pytest.raises(ParameterError, match="predicted rightly"):
        sides(SIX.assign(reading=0))


def test_the_published_shares_with_exact_intervals():
    """38.43 % and 53.56 % from 259, 361 and 54 of 674; the ends are quantiles of beta distributions."""
    counts = pd.Series({"label": 259, "model": 361, "neither": 54})
    table = side_shares(counts)
    assert (100 * table["share"]).round(2).tolist() == [38.43, 53.56, 8.01]
    for side, k in counts.items():
        assert table.loc[side, "low"] == pytest.approx(stats.beta.ppf(0.025, k, 674 - k + 1))
        assert table.loc[side, "high"] == pytest.approx(stats.beta.ppf(0.975, k + 1, 674 - k))
    paired = preference(counts)
    assert paired["estimate"] == pytest.approx(361 / 620)
    assert paired["p"] == pytest.approx(2 * stats.binom.cdf(259, 620, 0.5))  # exact McNemar: 259 against 361
    assert preference(pd.Series({"label": 5, "model": 5, "neither": 9}))["p"] == 1


def test_agreement_of_no_one_is_undefined():
    nothing = pd.Series({"label": 0, "model": 0, "neither": 3})
    assert preference(nothing).isna().all()
    assert side_shares(nothing).loc["neither", ["share", "high"]].tolist() == [1, 1]
    assert side_shares(nothing * 0)["share"].isna().all()


def test_kappas_of_a_reader_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    wrong = pd.DataFrame(rng.integers(4, size=(200, 3)), columns=["critical_value", "predicted", "reading"])
    found = reader_kappas(wrong)
    for name, column in (("label", "critical_value"), ("model", "predicted")):
        expected = sk.cohen_kappa_score(wrong[column], wrong["reading"], weights="quadratic")
        assert found[f"kappa_{name}"] == pytest.approx(expected)
    assert found["kappa_model_minus_label"] == pytest.approx(found["kappa_model"] - found["kappa_label"])
    assert reader_kappas(wrong.assign(reading=wrong["predicted"]))["kappa_model"] == 1
