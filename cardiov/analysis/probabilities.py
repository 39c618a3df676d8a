"""How well probabilities are calibrated, and how often prediction sets hold the label.

The methods are in `cardiov.scoring.calibration`; the records measured took no part in them. The 95 % intervals of shares are
exact (Clopper & Pearson 1934) and count records as independent.
"""

import numpy as np
import pandas as pd
from scipy.stats import betabinom

from cardiov.analysis.metrics import ALL_DRAWS_AT_ONCE, BINS, SCORES, bin_of, exact_share, weighted_metrics
from cardiov.analysis.subgroups import subgroups
from cardiov.mapping import CLASSES
from cardiov.ordinal import THRESHOLDS
from cardiov.scoring.calibration import (
    Probabilities,
    conformal_levels,
    fit_temperature,
    log_losses,
    prediction_sets,
    rank_for,
)
from cardiov.scoring.decoding import monotone_probabilities

# Temperature scaling


def calibrated(predictions: pd.DataFrame, temperature: float, probabilities: Probabilities = monotone_probabilities) -> pd.DataFrame:
    """Predictions with new ``p0`` to ``p3`` and ``predicted``, from outputs that are divided by the temperature.

    Ordinal predictions may change: sigmoids that flatten do not keep the order of their differences, as a softmax would.
    """
    logits = predictions.filter(regex=r"^output_\d+$").to_numpy(dtype=float)  # (N, outputs)
    scores = probabilities(logits / temperature)  # (N, 4)
    return predictions.assign(**dict(zip(SCORES, scores.T, strict=True)), predicted=scores.argmax(axis=1))


def calibrated_by_run(predictions: pd.DataFrame, chosen_on: pd.DataFrame) -> pd.DataFrame:
    """Predictions of several runs, each divided by the temperature that its own validation predictions give.

    Both tables have a column ``fold``, the test fold of the run.
    """
    tables = []
    for fold, table in predictions.groupby("fold"):
        known = chosen_on[chosen_on["fold"] == fold]
        temperature = fit_temperature(known.filter(regex=r"^output_\d+$"), known["critical_value"])
        tables.append(calibrated(table, temperature))
    return pd.concat(tables)


def averaged(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Predictions whose ``p0`` to ``p3`` are the means of two methods', both of the same records, by ``ecg_id``."""
    scores = (one[SCORES] + other.set_index("ecg_id")[SCORES].loc[one["ecg_id"]].to_numpy()) / 2  # (N, 4)
    return one.assign(**scores, predicted=scores.to_numpy().argmax(axis=1))


def probability_metrics(predictions: pd.DataFrame) -> pd.Series:
    """What temperature scaling is meant to improve (``rps``, ``nll``, ``ece``) and to leave alone (``mae``, ``auc_mean``).

    ``ece_by_chance`` is the ``ece`` that perfect probabilities would have on as many records.
    """
    return _weighted_probability_metrics(predictions, np.ones((1, len(predictions)))).iloc[0].rename(None)


def _weighted_probability_metrics(predictions, weights):
    scores = predictions[SCORES].to_numpy()
    losses = log_losses(scores, predictions["critical_value"].to_numpy())
    table = weighted_metrics(predictions, weights, ["rps", "ece", "mae", "auc_mean"])
    table.insert(1, "nll", weights @ losses / weights.sum(axis=1))
    table.insert(3, "ece_by_chance", _calibration_error_by_chance(scores, weights))
    return table


def _calibration_error_by_chance(probabilities, weights):
    """Mean ``ece`` if labels were drawn from the probabilities, of records that count by weights (R, N).

    In a bin the excess of confidence over being right is then nearly normal around 0, and its mean size sqrt(2 / pi) of its
    standard deviation.
    """
    highest = probabilities.max(axis=1)
    variances = weights @ (np.eye(BINS)[bin_of(highest)] * (highest * (1 - highest))[:, None])  # (R, BINS)
    return np.sqrt(2 / np.pi * variances).sum(axis=1) / np.sum(weights, axis=1)


ALL_DRAWS_AT_ONCE[probability_metrics] = _weighted_probability_metrics


def reliability(predictions: pd.DataFrame, bins: int = BINS) -> pd.DataFrame:
    """How often what is called so likely comes true (Murphy & Winkler 1977).

    Indexed by ``question`` ("most probable value": is it the label? "above 0" to "above 2": is the label above k?) and
    ``bin``, of those that have records: its probabilities ``from`` and ``to``; ``records``; ``predicted``, the mean
    probability; ``observed``, the share that came true, and its interval ``low`` to ``high``.
    """
    p, label = predictions[SCORES].to_numpy(), predictions["critical_value"].to_numpy()
    questions = {"most probable value": (p.max(axis=1), p.argmax(axis=1) == label)}
    questions |= {f"above {k}": (p[:, k + 1 :].sum(axis=1), label > k) for k in range(THRESHOLDS)}
    return pd.concat({name: _binned(*pair, bins) for name, pair in questions.items()}, names=["question"])


def _binned(probability, event, bins):
    table = pd.DataFrame({"bin": bin_of(probability, bins), "probability": probability, "event": event})
    rows = {}
    for number, inside in table.groupby("bin"):
        share = exact_share(inside["event"].sum(), len(inside))
        rows[number] = [number / bins, (number + 1) / bins, len(inside), inside["probability"].mean(), *share]
    columns = ["from", "to", "records", "predicted", "observed", "low", "high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("bin")


# Prediction sets


def chance_coverage(fitted: int, tested: int, coverage: float) -> tuple[float, float]:
    """Low and high end of the share covered, in 95 of 100 repetitions, if all records are exchangeable.

    ``fitted`` records gave the level for the stated coverage, which is checked on ``tested`` records. The number covered is
    beta-binomial if no levels are equal, and equal ones only add to it. Source: Vovk (2012), Conditional validity of inductive
    conformal predictors, ACML.
    """
    rank = rank_for(fitted, coverage)
    if rank > fitted:
        return 1.0, 1.0  # the level is infinite
    low, high = betabinom.ppf([0.025, 0.975], tested, rank, fitted + 1 - rank) / tested
    return float(low), float(high)


def sets_by_run(predictions: pd.DataFrame, chosen_on: pd.DataFrame, coverage: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value of prediction sets of several runs, by levels for each critical value that each run's own give.

    Both tables are from `calibrated_by_run`; the second are validation predictions, which give the levels.
    """
    ends = pd.DataFrame(index=predictions.index, columns=["low", "high"], dtype=int)
    for fold, table in predictions.groupby("fold"):
        known = chosen_on[chosen_on["fold"] == fold]
        levels = conformal_levels(known[SCORES], known["critical_value"], coverage)
        ends.loc[table.index] = np.transpose(prediction_sets(table[SCORES], levels))
    return ends["low"].to_numpy(), ends["high"].to_numpy()


def coverage_table(people: pd.DataFrame, low: np.ndarray, high: np.ndarray) -> pd.DataFrame:
    """How often ranges (`cardiov.scoring.calibration.prediction_sets`) hold the label and how wide they are.

    By ``group`` (all, by critical value, by sex and by age), those that have records: ``estimate``, the share of ranges that
    hold the label, its interval ``low`` to ``high``; ``mean_size``, the number of values in a range; ``records``.
    """
    label = people["critical_value"]
    by_person = subgroups(people).drop(columns="age unknown")
    groups = {"all": by_person.pop("all")} | {f"critical value {k}": label == k for k in CLASSES} | dict(by_person.items())
    held, size = (low <= label) & (label <= high), pd.Series(high - low + 1, people.index)
    rows = {
        name: [*exact_share(held[inside].sum(), inside.sum()), size[inside].mean(), int(inside.sum())]
        for name, inside in groups.items() if inside.any()
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index", columns=["estimate", "low", "high", "mean_size", "records"]).rename_axis("group")
