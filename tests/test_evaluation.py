"""Metrics, ROC curves and intervals, against scikit-learn, SciPy, literal values and invariances."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk

from cardiov.errors import ParameterError
from cardiov.evaluation import (
    auc,
    bootstrap,
    bootstrap_difference,
    confusion,
    metrics,
    quadratic_kappa,
    roc_points,
    roc_table,
)

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


def test_violations_are_for_ordinal_outputs_only():
    assert np.isnan(metrics(SIX.assign(output_4=0.0))["violation_rate"])
    assert np.isnan(metrics(SIX.drop(columns=["output_2", "output_3"]))["violation_rate"])


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


def test_nothing_to_evaluate_is_said():
    with pytest.raises(ParameterError, match="check the run, and the split"):
        bootstrap(SIX[SIX["split"] == "tset"])
