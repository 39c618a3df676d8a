"""Alarms, net benefit and missed high-risk ECGs, by hand and on stored predictions."""

import numpy as np
import pandas as pd
import pytest
from predictions import simulated
from scipy import stats

from cardiov.analysis import dangers
from cardiov.analysis.metrics import SCORES
from cardiov.store import results


def table(p3, label, fold=10, **columns):
    p3 = np.asarray(p3)
    scores = {"p0": 1 - p3, "p1": 0.0, "p2": 0.0, "p3": p3}
    ids = {"ecg_id": range(len(p3)), "patient_id": range(len(p3))}
    return pd.DataFrame({**ids, "critical_value": label, "fold": fold, **scores, **columns})


TEN = np.arange(10) / 10


def test_an_alarm_is_what_exceeds_the_threshold_of_its_own_run():
    known = pd.concat([table(TEN, 0, fold=1), table(TEN / 2, 0, fold=2)])
    new = pd.concat([table([0.7, 0.75, 0.9], 0, fold=1), table([0.3, 0.36, 0.4], 0, fold=2)])
    assert dangers.alarms(new, known, 3, 0.2).tolist() == [False, True, True, False, True, True]  # above 0.7 and 0.35
    assert dangers.alarms(known, known, 3, 0.2).sum() == 4 and dangers.alarms(known, known, 3, 0.05).sum() == 0


def test_equal_probabilities_do_not_exceed_the_rate():
    known = table([0.9, 0.9, 0.9, *TEN[:7]], 0)
    assert dangers.alarms(known, known, 3, 0.2).sum() == 0 and dangers.alarms(known, known, 3, 0.3).sum() == 3


def test_alarms_by_hand():
    known = table(TEN, 0)
    new = table([0.95, 0.95, 0.85, 0.1], [3, 0, 3, 3]).assign(p2=[0, 0, 0.1, 0.8])
    found = dangers.alarm_table(new, known)
    high = found.loc["high risk"]
    assert high["found"].tolist() == [1, 2, 2] and high["records"].tolist() == [3] * 3  # above 0.9, 0.8 and 0.7
    assert high["sensitivity"].tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3]) and high["right"].tolist() == [0.5, 2 / 3, 2 / 3]
    assert high["alarm_rate"].tolist() == [0.5, 0.75, 0.75]
    assert high.iloc[1][["low", "high"]].tolist() == pytest.approx(stats.beta.ppf([0.025, 0.975], [2, 3], [2, 1]))
    assert found.loc[("medium or high risk", 0.1), "found"] == 3  # by p2 + p3


def test_alarm_rate_of_a_stored_run_on_its_own_validation_records_is_kept():
    known = results.read_predictions("ptbxl-sample", "ordinal-0").query("split == 'validation'").assign(fold=10)
    reached = dangers.alarm_table(known, known)["alarm_rate"]
    aimed = reached.index.get_level_values("aimed_rate")
    assert (reached <= aimed).all() and (aimed - reached < 0.01).all()


def test_net_benefit_by_hand():
    new = table([0.6, 0.6, 0.1, 0.0], [3, 0, 3, 0])
    found = dangers.net_benefit(new, resamples=20)["estimate"].unstack("threshold")
    assert found.loc["network", 0.5] == pytest.approx((1 - 1) / 4) and found.loc["network", 0.2] == pytest.approx((1 - 0.25) / 4)
    assert found.loc["network", 0.1] == pytest.approx((2 - 1 / 9) / 4)  # a probability of just the threshold alarms
    assert found.loc["alarm for all", 0.2] == pytest.approx((2 - 2 * 0.25) / 4)
    best = found.loc["network - best of all and none"]
    assert best[0.2] == pytest.approx(-0.75 / 4) and best[0.5] == 0


def test_a_perfect_network_has_the_share_of_high_risk_and_beats_both_policies():
    label = np.repeat([0, 3], [80, 20])
    found = dangers.net_benefit(table(label / 3, label), resamples=50)
    assert found.loc["network", "estimate"].to_numpy() == pytest.approx(0.2)
    assert (found.loc["network - best of all and none", "low"] > 0).all()


CODES = {0: {"IMI": 100.0, "SR": 0.0}, 1: {"IMI": 80.0}, 2: {"AMI": 15.0}, 3: {"3AVB": 100.0}, 4: {"NORM": 100.0}, 5: {"IMI": 50.0}}


@pytest.fixture
def five():
    """High-risk ECGs by four statements, of which two infarctions are called 0; one ECG is harmless."""
    records = pd.DataFrame({"scp_codes": CODES})
    return table([0.0] * 6, [3, 3, 3, 3, 0, 3]).assign(predicted=[3, 0, 0, 1, 0, 3]), records


def test_missed_by_statement_and_likelihood_by_hand(five):
    found = dangers.missed_by_statement(*five)
    assert found.index.tolist() == [
        ("all", "any"), ("all", "100"), ("all", "below 100"), ("IMI", "any"), ("IMI", "100"), ("IMI", "below 100"),
        ("3AVB", "any"), ("3AVB", "100"), ("AMI", "any"), ("AMI", "below 100"),
    ]  # fmt: skip
    assert found["records"].tolist() == [5, 2, 3, 3, 1, 2, 1, 1, 1, 1]
    assert found["called_0"].tolist() == [2, 0, 2, 1, 0, 1, 0, 0, 1, 1]
    assert found.loc[("all", "any"), "estimate"] == 0.4


def test_the_sentence_says_who_is_missed(five):
    assert dangers.missed_sentence(*five) == (
        "2 of 5 high-risk ECGs are called 0; 2 of these 2 are labelled by an infarction, 2 by a statement of a likelihood below 100."
    )


def test_spread_between_runs_by_hand():
    runs = {seed: simulated(seed).assign(fold=10) for seed in (1, 2, 3)}
    found = dangers.spread(runs, runs, resamples=200)
    maes = [(run["predicted"] - run["critical_value"]).abs().mean() for run in runs.values()]
    row = found.loc["mae"]
    expected = [np.mean(maes), min(maes), max(maes), np.std(maes, ddof=1)]
    assert row[["mean", "lowest", "highest", "sd"]].tolist() == pytest.approx(expected)
    assert found["runs"].tolist() == [3] * 3 and found.index.tolist() == ["mae", "auc_mean", "sensitivity at 10 % alarms"]
    error = (runs[1]["predicted"] - runs[1]["critical_value"]).abs()
    assert row["sd_patients"] == pytest.approx(error.std() / 20, rel=0.3)  # 400 records
    assert (runs[1][SCORES].sum(axis=1).round(9) == 1).all()
