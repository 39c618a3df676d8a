"""Metrics by hand, against scikit-learn and against plain loops; ROC curves and confusion matrices."""

import numpy as np
import pandas as pd
import pytest
import torch
from predictions import SIX, simulated
from scipy import stats
from sklearn import metrics as sk

from cardiov.analysis.metrics import (
    AUCS,
    F1S,
    SCORES,
    auc,
    auc_orders,
    bin_of,
    confusion,
    constant,
    exact_share,
    expected_calibration_error,
    holm,
    metrics,
    quadratic_kappa,
    ranked_probability_scores,
    roc_table,
    subgroup_metrics,
    threshold_aucs,
    with_median,
)
from cardiov.ordinal import violation_rate


def test_metrics_worked_by_hand():
    expected = {
        "mae": 6 / 6, "macro_mae": (0.5 + 0 + 2 + 1.5) / 4, "accuracy": 3 / 6, "wrong": 3 / 6, "error_1": 1 / 6,
        "error_2": 1 / 6, "error_3": 1 / 6, "error_2_or_more": 2 / 6, "violation_rate": 1 / 6,
        # class 0 scores 0.9 and 0.3 against 0.3, 0.7, 0.0, 0.9: 3.5 and 1.5 of 4 won
        "auc_0": 5 / 8,
        "rps": (0.01 + 0.59 + 0.19 + 0.75 + 0.1 + 2.81) / 6,  # record by record
    }  # fmt: skip
    values = metrics(SIX)
    assert values[list(expected)].to_dict() == pytest.approx(expected)
    assert values["auc_mean"] == pytest.approx(values[AUCS[:4]].mean())


def test_metrics_agree_with_scikit_learn():
    for table in (SIX, simulated(1), simulated(2).round(1)):  # the last has many ties
        label, predicted = table["critical_value"], table["predicted"]
        maes = [sk.mean_absolute_error(label[label == k], predicted[label == k]) for k in range(4)]
        f1s = sk.f1_score(label, predicted, average=None, zero_division=0)
        expected = {f"auc_{k}": sk.roc_auc_score(label == k, table[f"p{k}"]) for k in range(4)}
        expected |= {"mae": sk.mean_absolute_error(label, predicted), "accuracy": sk.accuracy_score(label, predicted)}
        values = metrics(table)
        assert values[list(expected)].to_dict() == pytest.approx(expected)
        assert values["macro_mae"] == pytest.approx(np.mean(maes))
        assert values["kappa"] == pytest.approx(sk.cohen_kappa_score(label, predicted, weights="quadratic"))
        assert subgroup_metrics(table)[list(expected)].to_dict() == pytest.approx(expected)
        assert subgroup_metrics(table)[F1S].tolist() == pytest.approx([*f1s, f1s.mean()])


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
    values = metrics(SIX[SIX["critical_value"] != 2])
    assert values[["auc_2", "auc_mean", "macro_mae"]].isna().all()
    assert values[["auc_0", "auc_1", "auc_3", "mae"]].notna().all()


def test_violations_are_those_of_the_logits():
    table = simulated(1)
    logits = torch.tensor(table[["output_1", "output_2", "output_3"]].to_numpy())
    assert metrics(table)["violation_rate"] == pytest.approx(violation_rate(logits)) and violation_rate(logits) > 0
    softmax = SIX.assign(p0=0.1, p1=0.2, p2=0.3, p3=0.4)
    assert metrics(softmax)["violation_rate"] == 0


def test_scores_that_are_no_probabilities_have_no_calibration():
    distances = -np.abs(SIX[["output_1"]].to_numpy() - np.arange(4))  # the scores of a regression
    values = metrics(SIX.assign(**dict(zip(SCORES, distances.T, strict=True))))
    assert values[["violation_rate", "rps", "ece"]].isna().all() and values[["mae", "auc_mean"]].notna().all()


def test_ranked_probability_score_by_hand():
    probabilities = np.tile([0.1, 0.2, 0.3, 0.4], (4, 1))  # cumulative 0.1, 0.3, 0.6
    by_label = ranked_probability_scores(probabilities, np.arange(4))
    assert by_label == pytest.approx([0.81 + 0.49 + 0.16, 0.01 + 0.49 + 0.16, 0.01 + 0.09 + 0.16, 0.01 + 0.09 + 0.36])
    assert ranked_probability_scores(np.eye(4)[[0, 0, 3]], np.array([0, 3, 0])).tolist() == [0, 3, 3]  # from 0 to 3


def test_ranked_probability_score_is_the_thresholds_brier_scores():
    table = simulated(1)
    label, scores = table["critical_value"], table[SCORES]
    assert (scores < 0).any(axis=None)  # also where Eq. 6 gives a negative probability
    above = [1 - scores.iloc[:, : k + 1].sum(axis=1).clip(0, 1) for k in range(3)]
    briers = [sk.brier_score_loss(label > k, above[k]) for k in range(3)]
    assert metrics(table)["rps"] == pytest.approx(sum(briers))


def test_calibration_error_by_hand():
    probabilities = np.array([[0.85, 0.15, 0, 0], [0.9, 0.1, 0, 0], [0, 0.05, 0.95, 0], [0.3, 0.3, 0.4, 0]])
    label = np.array([0, 1, 2, 3])  # of 0.85 and 0.9 one is right, 0.95 is, 0.4 is not
    assert expected_calibration_error(probabilities, label) == pytest.approx((abs(1.75 - 1) + 0.05 + 0.4) / 4)
    assert expected_calibration_error(probabilities, label, bins=1) == pytest.approx(abs(0.85 + 0.9 + 0.95 + 0.4 - 2) / 4)
    assert bin_of(np.array([0, 0.05, 0.1, 0.11, 0.95, 1, 1.0000001])).tolist() == [0, 0, 0, 1, 9, 9, 9]


def test_calibration_error_agrees_with_a_plain_loop():
    table = simulated(1)
    highest = table[SCORES].max(axis=1)
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
    for score in (ranked_probability_scores, expected_calibration_error):
        errors = [np.mean(score(probabilities, label)) for probabilities in (true, sharp, (true + 0.25) / 2)]
        assert errors[0] < min(errors[1:])
    assert expected_calibration_error(true, label) < 0.02 and expected_calibration_error(sharp, label) > 0.1


def test_exact_share_is_that_of_clopper_and_pearson():
    expected = [0.8, stats.beta.ppf(0.025, 8, 3), stats.beta.ppf(0.975, 9, 2)]
    assert exact_share(8, 10) == pytest.approx(expected)
    assert exact_share(0, 5)[:2] == [0, 0] and exact_share(5, 5)[::2] == [1, 1] and np.isnan(exact_share(0, 0)).all()


def test_orders_of_aucs_are_differences_of_them():
    values = metrics(simulated(1))
    orders = {f"auc_{i}_minus_auc_{j}": values[f"auc_{i}"] - values[f"auc_{j}"] for i, j in ((0, 1), (0, 2), (3, 1), (3, 2))}
    assert auc_orders(simulated(1)).to_dict() == pytest.approx(orders)


def test_threshold_aucs_by_hand_and_from_the_logits():
    # above 0, for example: 0.7, 0.3, 1 and 0.1 of the records above against 0.1 and 0.7 of those not above
    assert threshold_aucs(SIX).tolist() == pytest.approx([5 / 8, 6.5 / 9, 4.5 / 8, (5 / 8 + 6.5 / 9 + 4.5 / 8) / 3])
    table = simulated(2)
    for k, value in enumerate(threshold_aucs(table)[:3]):  # a threshold's probability rises with its logit
        assert value == pytest.approx(sk.roc_auc_score(table["critical_value"] > k, table[f"output_{k + 1}"]))
    none_above_2 = threshold_aucs(SIX[SIX["critical_value"] < 3])
    assert none_above_2.isna().tolist() == [False, False, True, True]


def test_threshold_aucs_of_a_regression_are_those_of_its_output():
    table = simulated(1).drop(columns=["output_2", "output_3"])
    table[SCORES] = -np.abs(table[["output_1"]].to_numpy() - np.arange(4))
    expected = [sk.roc_auc_score(table["critical_value"] > k, table["output_1"]) for k in range(3)]
    assert threshold_aucs(table).tolist() == pytest.approx([*expected, np.mean(expected)])
    assert metrics(table)["auc_mean"] < threshold_aucs(table)["auc_above_mean"] - 0.1  # what -|output - k| loses


def test_metrics_do_not_depend_on_the_order_of_records():
    table = simulated(1)
    pd.testing.assert_series_equal(metrics(table), metrics(table.sample(frac=1, random_state=0)))


def test_confusion_counts_labels_in_rows():
    assert confusion(SIX).to_numpy().tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1]]


def test_roc_points_by_hand_span_the_square():
    table = pd.DataFrame({"critical_value": [0, 0, 1, 1], "p0": 0.0, "p1": [0.1, 0.4, 0.35, 0.8]})
    points = roc_table(table).query("curve == '1'")[["false_positive_rate", "true_positive_rate"]]
    assert points.to_numpy().tolist() == [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]


def test_area_of_each_roc_curve_is_its_auc():
    table = simulated(1)
    values, curves = metrics(table), roc_table(table)
    assert curves["curve"].unique().tolist() == ["0", "1", "2", "3", "mean"]
    for name, curve in curves.groupby("curve"):
        area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
        assert area == pytest.approx(values[f"auc_{name}"], abs=0.003 if name == "mean" else 1e-9)
        assert curve.iloc[[0, -1], 1:].to_numpy().tolist() == [[0, 0], [1, 1]]


def test_an_absent_class_has_no_roc_curve_and_leaves_no_mean():
    assert set(roc_table(SIX[SIX["critical_value"] != 2])["curve"]) == {"0", "1", "3"}


def test_holm_adjusts_for_the_number_of_tests():
    p = pd.Series({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": np.nan})  # worked by hand
    adjusted = holm(p)
    assert adjusted[["d", "a", "c", "b"]].tolist() == pytest.approx([0.02, 0.03, 0.06, 0.06])
    assert np.isnan(adjusted["e"])
    assert holm(pd.Series([0.6, 0.7])).tolist() == [1, 1]


def test_the_median_is_where_half_of_the_probability_is_reached_and_what_no_other_value_beats_in_expected_error():
    probabilities = np.array([[0.4, 0.2, 0.1, 0.3], [0.5, 0.0, 0.0, 0.5], [0.1, 0.3, 0.09, 0.51], [0.45, 0.1, 0.15, 0.3]])
    medians = with_median(pd.DataFrame(probabilities, columns=SCORES))["predicted"]
    assert medians.tolist() == [1, 0, 3, 1]
    drawn = np.random.default_rng(0).dirichlet(np.ones(4), 200)
    expected = drawn @ np.abs(np.subtract.outer(range(4), range(4)))  # error of each record, called each value
    assert (with_median(pd.DataFrame(drawn, columns=SCORES))["predicted"] == expected.argmin(axis=1)).all()


def test_a_constant_ranks_nothing_and_errs_by_its_distance():
    values = metrics(constant(SIX, 2))
    assert values[["auc_0", "auc_1", "auc_2", "auc_3"]].tolist() == [0.5] * 4
    assert values["mae"] == pytest.approx((2 + 2 + 1 + 0 + 1 + 1) / 6) and values["macro_mae"] == 1
    assert (SIX["predicted"] != 2).any()  # and the table given stays as it is
