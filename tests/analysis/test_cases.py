"""Cases chosen by rule, odds of errors where noise is annotated, disturbed signals."""

import numpy as np
import pandas as pd
import pytest
from predictions import SIX, simulated
from scipy import stats

from cardiov.analysis.cases import (
    annotated_errors, annotated_leads, case_table, choose_cases, error_odds, errors_by_statement, stress_metrics, worst_stretch,
)
from cardiov.analysis.resampling import bootstrap, bootstrap_difference
from cardiov.ecg.leads import LEADS
from cardiov.errors import ParameterError


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
    assert choose_cases(cases)["why"].tolist()[2:] == ["IMI", "no such error has atrial premature complex: the gravest other one"]
    cases.loc[5, "error"] = 2
    assert choose_cases(cases)["ecg_id"]["fig4_right"] == 6
    cases.loc[2, "statements"] = "PAC:0"  # no IMI left: the gravest takes its place, and not the one with PAC
    assert choose_cases(cases)["ecg_id"][["fig4_left", "fig4_right"]].tolist() == [2, 3]


def test_of_the_errors_with_noise_the_most_disturbed_is_drawn():
    cases = pd.DataFrame([
        a_case(1, 3, baseline_drift="V1"), a_case(2, 1, baseline_drift="V2", burst_noise="V3"), a_case(3, 1, static_noise="alles"),
        a_case(4, 2, burst_noise="V4"), a_case(5, 0, baseline_drift="V5"), a_case(6, 3),
    ])  # fmt: skip
    annotated = annotated_errors(cases)
    assert annotated["kind"].to_dict() == {1: "drift", 2: "drift", 3: "noise", 4: "noise"}
    assert annotated["annotation"].to_dict() == {1: "V1", 2: "V2", 3: "alles", 4: "V4"}
    chosen = choose_cases(cases, {1: 0.5, 2: 2.0, 3: 0.3, 4: 0.1})["ecg_id"]
    assert chosen[["fig3_drift", "fig3_noise"]].tolist() == [2, 3]


@pytest.mark.parametrize(("annotation", "leads"), [
    ("V6", ["V6"]), ("v4-6", ["V4", "V5", "V6"]), ("I-AVR", ["I", "II", "III", "aVR"]), ("II,III,AVF", ["II", "III", "aVF"]),
    (" , II-AVL,AVF, ", ["II", "III", "aVR", "aVL", "aVF"]), ("I - V1", [*LEADS[:7]]), ("alles", [*LEADS]), ("stark", [*LEADS]),
    ("V5 stark!", ["V5"]), ("v1", ["V1"]),
])  # fmt: skip
def test_leads_of_an_annotation_are_read_as_ptbxl_writes_them(annotation, leads):
    assert annotated_leads(annotation) == leads


def test_the_worst_stretch_is_where_the_disturbance_was_put():
    time, signal = np.arange(1000) / 100, np.zeros((12, 1000))
    signal[7] += np.where((time > 5) & (time < 6), 2 * np.sin(np.pi * (time - 5)), 0)
    lead, size, start = worst_stretch(signal, 100, "drift", ["V1", "V2"])
    assert lead == "V2" and 1 < size < 2 and start <= 5 <= start + 3
    signal[8, 700:] += 0.1 * np.tile([1, -1], 150)
    lead, size, start = worst_stretch(signal, 100, "noise", list(LEADS))
    assert lead == "V3" and size == pytest.approx(0.1, rel=0.2) and 6 < start < 7


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
    row = error_odds(cases_of([[3, 1], [1, 3]])).loc[("wrong", "any of them")]
    assert row[["annotated_with", "annotated_without", "others_with", "others_without"]].tolist() == [3, 1, 1, 3]
    assert row[["odds_ratio", "low", "high", "p"]].tolist() == pytest.approx(
        [6.40832, 0.2117356, 626.2435, 34 / 70], rel=1e-5
    )


def test_exact_interval_against_the_noncentral_hypergeometric_distribution():
    (a, b), (c, d) = counts = [[7, 12], [9, 60]]
    row = error_odds(cases_of(counts)).loc[("error of 2 or more", "any of them")]
    margins = (a + b + c + d, a + c, a + b)
    assert stats.nchypergeom_fisher.sf(a - 1, *margins, row["low"]) == pytest.approx(0.025, abs=1e-6)
    assert stats.nchypergeom_fisher.cdf(a, *margins, row["high"]) == pytest.approx(0.025, abs=1e-6)
    assert stats.nchypergeom_fisher.mean(*margins, row["odds_ratio"]) == pytest.approx(a, abs=1e-5)
    assert row["p"] == pytest.approx(stats.fisher_exact(counts).pvalue)


def test_zero_counts_are_shown_as_zero_infinite_and_undefined():
    odds = error_odds(cases_of([[0, 5], [3, 10]])).loc["wrong"]
    assert odds.loc["static noise", ["odds_ratio", "low"]].tolist() == [0, 0] and odds.loc["static noise", "high"] > 1
    nothing = error_odds(cases_of([[0, 0], [3, 10]])).loc[("wrong", "any of them")]
    assert np.isnan(nothing["odds_ratio"]) and nothing["high"] == np.inf
    every = error_odds(cases_of([[5, 0], [3, 10]])).loc[("wrong", "any of them")]
    assert every["odds_ratio"] == every["high"] == np.inf and 0 < every["low"] < np.inf


def test_outcomes_and_annotations_are_counted_apart_and_rare_ones_together():
    drift, burst = ([a_case(5 * k + i, k, **{name: "V1"}) for i in range(5)] for k, name in ((1, "baseline_drift"), (2, "burst_noise")))
    rare = [a_case(20 + i, 3, static_noise="V1") for i in range(4)]
    odds = error_odds(pd.DataFrame([*drift, *burst, *rare, a_case(30, 0)]))["annotated_with"]
    assert odds.index.unique("annotation").tolist() == ["baseline drift", "burst noise", "any of them"]
    assert odds["wrong"].tolist() == [5, 5, 14] and odds["error of 2 or more"].tolist() == [0, 5, 9]


def test_odds_ratios_are_adjusted_for_all_tests_of_the_table():
    odds = error_odds(cases_of([[9, 3], [5, 40]]))  # static noise and any of them, each for two outcomes
    assert odds["p"].to_numpy() == pytest.approx(stats.fisher_exact([[9, 3], [5, 40]]).pvalue)
    assert odds["p_holm"].to_numpy() == pytest.approx(4 * odds["p"].to_numpy())


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
    assert table[4:].index.tolist() == [("mains", "0.1", name) for name in
                                        ("mae", "auc_mean", "mae_difference", "auc_mean_difference")]  # fmt: skip
    undisturbed, disturbed = table[:4].to_numpy(), table[4:].to_numpy()
    np.testing.assert_allclose(disturbed, [*single.to_numpy(), *paired.to_numpy()], rtol=1e-12, atol=1e-12)
    assert (undisturbed[2:] == 0).all()


def test_stress_metrics_keep_the_order_of_conditions_and_an_absent_class_undefined():
    table = SIX[SIX["critical_value"] != 2]
    estimates = stress_metrics(stressed_of(table, table, table.assign(predicted=0)), resamples=5)["estimate"]
    estimates = estimates.unstack("statistic", sort=False)
    assert estimates.index.tolist() == [("none", "0"), ("mains", "0.1"), ("mains", "1.0")]
    assert estimates["auc_mean"].isna().all() and estimates["mae"].tolist() == pytest.approx([0.8, 0.8, 1.4])


def test_incomplete_stress_tests_are_refused():
    with pytest.raises(ParameterError, match="lack some disturbances"):
        stress_metrics(stressed_of(SIX, SIX[:-1]))
    with pytest.raises(ParameterError, match="no predictions to evaluate"):
        stress_metrics(stressed_of(SIX)[:0])


def test_under_called_records_are_counted_against_the_statements_own_value():
    predictions = pd.DataFrame({
        "statements": ["SR;LVH", "SR;LVH;AMI", "SR;LVH", "SR;IRBBB"],
        "critical_value": [2, 3, 2, 1],
        "predicted": [1, 2, 3, 1],
    })  # fmt: skip
    table = errors_by_statement(predictions)
    assert table.index.tolist() == ["LVH", "AMI", "IRBBB"]  # nothing can be predicted below SR
    assert table["critical_value"].tolist() == [2, 3, 1] and table["records"].tolist() == [3, 1, 1]
    assert table["mean_error"].tolist() == pytest.approx([-1 / 3, -1, 0])
    assert table["under_called"].tolist() == [1, 1, 0]  # the second record is not below LVH's own 2
    assert table["estimate"].tolist() == pytest.approx([1 / 3, 1, 0])
    # Clopper-Pearson of 1 of 1 and 0 of 1: the 2.5 % point of Beta(1, 1)
    assert table.loc["AMI", ["low", "high"]].tolist() == pytest.approx([0.025, 1])
    assert table.loc["IRBBB", ["low", "high"]].tolist() == pytest.approx([0, 0.975])
    assert table.loc["LVH", "low"] == pytest.approx(1 - (1 - 0.025) ** (1 / 3))  # P(at least 1 of 3) = 2.5 %
