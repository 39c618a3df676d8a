"""What a network gets dangerously wrong: alarms and what they find, their net benefit, high-risk ECGs called harmless.

``predictions`` are as in `cardiov.analysis.metrics`, with a column ``fold``, the test fold of their run; ``chosen_on`` are the
validation predictions of the same runs, with the same column: thresholds come from them, for each run apart.
"""

import numpy as np
import pandas as pd

from cardiov import mapping
from cardiov.analysis.metrics import SCORES, exact_share, weighted_metrics
from cardiov.analysis.resampling import drawn_counts, intervals

ALARMS = {"high risk": 3, "medium or high risk": 2}  # an alarm, and the lowest critical value that it is for
RATES = (0.05, 0.1, 0.2)  # shares of all records that may alarm
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)  # probabilities of high risk from which somebody might act
DIGITS = 9  # of a probability: equal ones stay equal on every processor


def probability_from(predictions: pd.DataFrame, value: int) -> pd.Series:
    """Probability of a critical value of at least so much."""
    return predictions[SCORES[value:]].sum(axis=1).round(DIGITS)


def alarms(predictions: pd.DataFrame, chosen_on: pd.DataFrame, value: int, rate: float) -> pd.Series:
    """Whether each record alarms: its probability of the value or more exceeds a threshold of its run.

    It is the lowest threshold that at most this share of the run's validation records exceeds.
    """
    thresholds = probability_from(chosen_on, value).groupby(chosen_on["fold"]).agg(_threshold, rate)
    return probability_from(predictions, value) > predictions["fold"].map(thresholds)


def _threshold(scores, rate):
    return scores.sort_values(ascending=False).iloc[int(round(rate * len(scores), DIGITS))]


def alarm_table(predictions: pd.DataFrame, chosen_on: pd.DataFrame) -> pd.DataFrame:
    """What alarms for each of `ALARMS` find at each of `RATES`, with exact 95 % intervals, which count records as independent.

    Indexed by ``alarm`` and ``aimed_rate``: ``records`` that it is for; how many are ``found``; ``sensitivity``, their share,
    with ``low`` and ``high``; ``alarm_rate``, the share of all records that alarm, with ``rate_low`` and ``rate_high``;
    ``right``, the share of alarms that are right.
    """
    rows = {}
    for name, value in ALARMS.items():
        wanted = predictions["critical_value"] >= value
        for rate in RATES:
            alarmed = alarms(predictions, chosen_on, value, rate)
            found = int((alarmed & wanted).sum())
            shares = [*exact_share(found, wanted.sum()), *exact_share(alarmed.sum(), len(alarmed))]
            rows[name, rate] = [int(wanted.sum()), found, *shares, found / max(1, alarmed.sum())]
    index = pd.MultiIndex.from_tuples(rows, names=["alarm", "aimed_rate"])
    columns = ["records", "found", "sensitivity", "low", "high", "alarm_rate", "rate_low", "rate_high", "right"]
    return pd.DataFrame([*rows.values()], index, columns)


def net_benefit(predictions: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Net benefit of alarms for high risk: the share rightly alarmed, less that wrongly alarmed in units of what an alarm costs.

    Whoever acts from a probability t on holds a high-risk ECG found for worth (1 - t) / t false alarms. Indexed by ``policy``
    ("network", "alarm for all", "network - best of all and none") and ``threshold``, with ``estimate`` and the 95 % interval
    ``low`` to ``high`` over patients; no alarm at all has the net benefit 0. Source: Vickers & Elkin (2006), Med Decis Making 26:565.
    """
    counts = drawn_counts(predictions["patient_id"], resamples, seed)
    high, score = (predictions["critical_value"] == 3).to_numpy(), probability_from(predictions, 3).to_numpy()
    total, draws = counts.sum(axis=1), {}
    for threshold in THRESHOLDS:
        worth = np.where(high, 1, -threshold / (1 - threshold))  # (N,), of an alarm
        network, every = counts @ (worth * (score >= threshold)) / total, counts @ worth / total
        draws |= {("network", threshold): network, ("alarm for all", threshold): every}
        draws["network - best of all and none", threshold] = network - np.maximum(every, 0)
    return intervals(pd.DataFrame(draws), ["policy", "threshold"]).sort_index(level=0, sort_remaining=False)


def missed_by_statement(predictions: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """How many high-risk ECGs are called 0, by the statement that decides their label and by its likelihood.

    Indexed by ``statement``, first "all", then those of most records, and ``likelihood`` ("any", "100", "below 100"):
    ``records``, ``called_0``, and the latter's share as ``estimate`` with its exact 95 % interval ``low`` to ``high``.
    """
    high = _decided(predictions, records).query("critical_value == 3")
    order = ["all", *high["statement"].value_counts().sort_index().sort_values(ascending=False, kind="stable").index]
    rows = {}
    for statement in order:
        of_it = high if statement == "all" else high[high["statement"] == statement]
        for likelihood, group in [("any", of_it), *of_it.groupby("likelihood")]:
            counts = int(group["missed"].sum()), len(group)
            rows[statement, likelihood] = [counts[1], counts[0], *exact_share(*counts)]
    index = pd.MultiIndex.from_tuples(rows, names=["statement", "likelihood"])
    return pd.DataFrame([*rows.values()], index, columns=["records", "called_0", "estimate", "low", "high"])


def _decided(predictions, records):
    """Predictions with the deciding ``statement``, its ``likelihood`` and whether the record is ``missed``, called 0."""
    codes = predictions["ecg_id"].map(records["scp_codes"])
    statement = codes.map(mapping.deciding_statement)
    certain = [codes[name] == 100 for codes, name in zip(codes, statement, strict=True)]
    likelihood = np.where(certain, "100", "below 100")
    return predictions.assign(statement=statement, likelihood=likelihood, missed=predictions["predicted"] == 0)


def missed_sentence(predictions: pd.DataFrame, records: pd.DataFrame) -> str:
    """One sentence on the high-risk ECGs that are called 0: how many, how many infarctions, of what likelihood."""
    high = _decided(predictions, records).query("critical_value == 3")
    missed = high[high["missed"]]
    infarctions = missed["statement"].map(mapping.statements()["superclass"]) == "MI"
    doubted = missed["likelihood"] == "below 100"
    return (
        f"{len(missed)} of {len(high)} high-risk ECGs are called 0; {infarctions.sum()} of these {len(missed)} are labelled by an "
        f"infarction, {doubted.sum()} by a statement of a likelihood below 100."
    )


SPREAD = ["mae", "auc_mean"]


def spread(runs: dict, chosen_on: dict, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """How much figures differ between runs, and how much drawing other patients would change those of one run.

    ``runs`` and ``chosen_on`` are test and validation predictions by run. Indexed by ``statistic`` (MAE, mean AUC, and the
    sensitivity for high risk at an alarm rate of 10 %): ``runs``; ``mean``, ``lowest``, ``highest`` and standard deviation ``sd``
    over the runs; ``sd_patients``, the mean bootstrap standard deviation of one run's figure. Runs on different records
    (folds) differ by ``sd_patients`` too; runs on the same records do not.
    """
    figures, variances = [], []
    for name, run in runs.items():
        draws = _figures(run, chosen_on[name], drawn_counts(run["patient_id"], resamples, seed))
        figures.append(draws.iloc[0])
        variances.append(draws.iloc[1:].var())
    figures, variances = pd.DataFrame(figures), pd.DataFrame(variances)
    table = figures.agg(["count", "mean", "min", "max", "std"]).T.set_axis(["runs", "mean", "lowest", "highest", "sd"], axis=1)
    return table.assign(runs=len(figures), sd_patients=variances.mean() ** 0.5).rename_axis("statistic")


def _figures(run, chosen_on, counts):
    alarmed, high = alarms(run, chosen_on, 3, 0.1), run["critical_value"] == 3
    with np.errstate(invalid="ignore"):  # a draw without a high-risk record
        sensitivity = counts @ (alarmed & high).to_numpy() / (counts @ high.to_numpy())
    return weighted_metrics(run, counts, SPREAD).assign(**{"sensitivity at 10 % alarms": sensitivity})
