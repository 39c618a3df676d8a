"""Metrics of predictions, confusion matrices and ROC curves.

``predictions`` are a run's ``predictions.csv``: per record ``patient_id``, the label ``critical_value``, the network's
outputs ``output_1`` ..., a score for each critical value ``p0`` to ``p3`` and the decoded ``predicted``. Scores need not be
probabilities (Eq. 6 may give negative ones; a regression's are minus its distance from the critical value).
"""

from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, roc_curve

from cardiov.mapping import CLASSES

SCORES = [f"p{k}" for k in CLASSES]
F1S, AUCS = ([f"{name}_{of}" for of in (*CLASSES, mean)] for name, mean in (("f1", "macro"), ("auc", "mean")))
ABOVES = [f"auc_above_{of}" for of in (*CLASSES[:-1], "mean")]  # of `threshold_aucs`
ERRORS = ["wrong", "error_1", "error_2", "error_3", "error_2_or_more"]
CALIBRATION = ["violation_rate", "rps", "ece"]
METRICS = ["mae", "macro_mae", "accuracy", "kappa", *AUCS, *ERRORS, *CALIBRATION]
STATISTICS = ["mae", "accuracy", *F1S, *AUCS]  # of Table 5
ROC_GRID = np.linspace(0, 1, 201)  # false positive rates of the mean curve
BINS = 10  # of equal width, from 0 to 1, for calibration


def metrics(predictions: pd.DataFrame) -> pd.Series:
    """All `METRICS` of one table of predictions.

    ``macro_mae`` is the mean of the four classes' own MAE (Baccianella et al. 2009), ``kappa`` is quadratically weighted
    (Cohen 1968), ``auc_k`` is that of class k against the rest. `ERRORS` and ``violation_rate`` (thresholds out of order:
    a negative probability) are shares of all records. NaN: `CALIBRATION` of scores that are no probabilities, the AUC
    of a class that is absent or alone, and a mean over the classes if one is absent.
    """
    return _unweighted(predictions, METRICS)


def subgroup_metrics(predictions: pd.DataFrame) -> pd.Series:
    """The `STATISTICS` of Table 5; NaN as in `metrics`."""
    return _unweighted(predictions, STATISTICS)


def _unweighted(predictions, names):
    return weighted_metrics(predictions, np.ones((1, len(predictions))), names).iloc[0].rename(None)


def weighted_metrics(predictions: pd.DataFrame, weights, names=METRICS) -> pd.DataFrame:
    """Metrics of records that count by weights, (R, N): R rows, some twenty times as fast as from a table for each."""
    label, predicted = (predictions[name].to_numpy() for name in ("critical_value", "predicted"))
    scores, weights = predictions[SCORES].to_numpy(), np.asarray(weights, dtype=float)
    cells = np.eye(len(CLASSES) ** 2)[len(CLASSES) * label + predicted]  # (N, 16)
    values = _confusion_metrics((weights @ cells).reshape(-1, len(CLASSES), len(CLASSES)))
    if {*AUCS} & {*names}:
        aucs = [_weighted_auc(label == k, scores[:, k], weights) for k in CLASSES]
        values |= dict(zip(AUCS, [*aucs, np.mean(aucs, axis=0)], strict=True))
    if {*CALIBRATION} & {*names}:
        values |= _calibration_metrics(scores, label, weights)
    return pd.DataFrame(values)[names]


@np.errstate(invalid="ignore")  # 0 / 0 is NaN: no record of a class, or none at all
def _confusion_metrics(counts):
    """F1s and the metrics that need no scores, from confusion matrices (R, 4, 4) with labels in rows."""
    steps = np.abs(np.subtract.outer(CLASSES, CLASSES))  # (4, 4)
    labelled, predicted = counts.sum(axis=2), counts.sum(axis=1)  # (R, 4)
    total = labelled.sum(axis=1)
    mean = lambda cost: (counts * cost).sum(axis=(1, 2)) / total  # noqa: E731
    by_chance = np.einsum("ri,rj,ij->r", labelled, predicted, steps**2) / total**2
    f1s = 2 * np.diagonal(counts, axis1=1, axis2=2) / np.where(labelled, labelled + predicted, np.nan)
    values = {"mae": mean(steps), "macro_mae": ((counts * steps).sum(axis=2) / labelled).mean(axis=1)}
    values |= {"accuracy": mean(steps == 0), "kappa": 1 - mean(steps**2) / by_chance, "wrong": mean(steps > 0)}
    values |= {f"error_{k}": mean(steps == k) for k in (1, 2, 3)} | {"error_2_or_more": mean(steps >= 2)}
    return values | dict(zip(F1S, [*f1s.T, f1s.mean(axis=1)], strict=True))


@np.errstate(invalid="ignore")
def _calibration_metrics(scores, label, weights):
    if (np.abs(scores.sum(axis=1) - 1) > 1e-3).any():
        return dict.fromkeys(CALIBRATION, np.nan)
    violations, ranked = (scores < 0).any(axis=1), ranked_probability_scores(scores, label)
    excess = np.abs(weights @ _confidence_excess(scores, label)).sum(axis=1)
    sums = [weights @ violations, weights @ ranked, excess]
    return {name: total / weights.sum(axis=1) for name, total in zip(CALIBRATION, sums, strict=True)}


@np.errstate(invalid="ignore")
def _weighted_auc(positive, score, weights):
    """`auc` of records that count by `weights` (R, N): (R,)."""
    others = np.flatnonzero(~positive)[np.argsort(score[~positive])]
    counted = np.cumsum(np.pad(weights[:, others], ((0, 0), (1, 0))), axis=1)  # of the others, from the lowest score up
    first, last = (np.searchsorted(score[others], score[positive], side) for side in ("left", "right"))
    won, below = weights[:, positive], (counted[:, first] + counted[:, last]) / 2
    return (won * below).sum(axis=1) / (won.sum(axis=1) * counted[:, -1])


def auc(positive, score) -> float:
    """Area under the ROC curve, ties counting one half (Mann-Whitney); NaN if all records or none are positive."""
    return _weighted_auc(np.asarray(positive), np.asarray(score), np.ones((1, len(score))))[0]


def threshold_aucs(predictions: pd.DataFrame) -> pd.Series:
    """``auc_above_k`` of the three questions "above 0?", "above 1?" and "above 2?", and their mean ``auc_above_mean``.

    Records are ranked by the probability of the values above k, and those of a regression, which has a single output, by this
    output: it answers all three questions, though its scores -|output - k| are at a disadvantage against probabilities.
    """
    return _weighted_threshold_aucs(predictions, np.ones((1, len(predictions)))).iloc[0].rename(None)


def _weighted_threshold_aucs(predictions, weights):
    label, weights = predictions["critical_value"].to_numpy(), np.asarray(weights, dtype=float)
    aucs = [_weighted_auc(label > k, score, weights) for k, score in enumerate(_scores_above(predictions))]
    return pd.DataFrame(dict(zip(ABOVES, [*aucs, np.mean(aucs, axis=0)], strict=True)))


def _scores_above(predictions):
    """What ranks records for each of the questions "above k?"."""
    outputs = predictions.filter(regex=r"^output_\d+$").to_numpy()
    if outputs.shape[1] == 1:
        return [outputs[:, 0]] * len(CLASSES[:-1])
    scores = predictions[SCORES].to_numpy()
    return [scores[:, k + 1 :].sum(axis=1).round(9) for k in CLASSES[:-1]]  # equal sums stay ties


def auc_orders(predictions: pd.DataFrame) -> pd.Series:
    """``auc_i_minus_auc_j`` of the extreme classes i, 0 and 3, and those between, j: positive by the paper (Fig. 2)."""
    return _weighted_auc_orders(predictions, np.ones((1, len(predictions)))).iloc[0].rename(None)


def _weighted_auc_orders(predictions, weights):
    aucs = weighted_metrics(predictions, weights, AUCS)
    return pd.DataFrame({f"auc_{i}_minus_auc_{j}": aucs[f"auc_{i}"] - aucs[f"auc_{j}"] for i in (0, 3) for j in (1, 2)})


# statistic -> the same of records that count by weights, a row per draw; without it each draw takes a table of its own
ALL_DRAWS_AT_ONCE = {
    metrics: weighted_metrics, subgroup_metrics: partial(weighted_metrics, names=STATISTICS),
    threshold_aucs: _weighted_threshold_aucs, auc_orders: _weighted_auc_orders,
}  # fmt: skip


def quadratic_kappa(label: np.ndarray, predicted: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights (Cohen 1968); NaN where both are one and the same constant."""
    by_chance = label.var() + predicted.var() + (label.mean() - predicted.mean()) ** 2  # the mean square by chance
    return 1 - ((label - predicted) ** 2).mean() / by_chance if by_chance else np.nan


def ranked_probability_scores(probabilities: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Of each record, the sum over k = 0, 1, 2 of (P(Y <= k) - [y <= k])²: 0 is perfect, 3 the worst.

    Source: Epstein (1969), J Appl Meteorol 8:985; in this form Murphy (1971), J Appl Meteorol 10:155.
    """
    cumulative = np.cumsum(probabilities, axis=1)[:, :-1]  # (N, 3)
    return ((cumulative - (label[:, None] <= np.array(CLASSES[:-1]))) ** 2).sum(axis=1)


def expected_calibration_error(probabilities: np.ndarray, label: np.ndarray, bins: int = BINS) -> float:
    """How far the probability of the most probable value is from how often that value is right, in bins of equal width.

    Even perfect probabilities have an error above 0 by chance. Source: Guo et al. (2017), ICML, Eq. 3.
    """
    return np.abs(_confidence_excess(probabilities, label, bins).sum(axis=0)).sum() / len(label)


def _confidence_excess(probabilities, label, bins=BINS):
    """By how much the highest probability exceeds being right (1) or wrong (0), each record in its bin: (N, bins)."""
    highest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == label
    return np.eye(bins)[bin_of(highest, bins)] * (highest - right)[:, None]


def bin_of(probability: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin of equal width, 0 to ``bins - 1``, in which each probability lies; an edge belongs to the bin below it."""
    return np.clip(np.ceil(bins * probability) - 1, 0, bins - 1).astype(int)


def with_median(predictions: pd.DataFrame) -> pd.DataFrame:
    """The same records, each called by the median of its probabilities: the lowest value k with P(Y <= k) of one half or more.

    The median has the least expected absolute error, the most probable value the least expected share of errors.
    """
    cumulative = np.cumsum(predictions[SCORES].to_numpy(), axis=1).round(9)[:, :-1]  # (N, 3)
    return predictions.assign(predicted=(cumulative < 0.5).sum(axis=1))


def constant(predictions: pd.DataFrame, value: int) -> pd.DataFrame:
    """The same records as predicted by a rule that calls each the same value, with certainty."""
    return predictions.assign(predicted=value, **{score: float(k == value) for k, score in enumerate(SCORES)})


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Records by critical value (rows) and prediction (columns), (4, 4)."""
    counts = confusion_matrix(predictions["critical_value"], predictions["predicted"], labels=list(CLASSES))
    return pd.DataFrame(counts, index=CLASSES, columns=CLASSES).rename_axis(index="critical_value", columns="predicted")


def roc_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """ROC curves of each critical value against the rest, and their mean at equal false positive rates (Fig. 2).

    The columns are ``curve`` ("0" to "3" and "mean"), ``false_positive_rate`` and ``true_positive_rate``. A class that is
    absent, or alone, has no curve, and then there is no mean.
    """
    label = predictions["critical_value"]
    drawable = [k for k in CLASSES if 0 < (label == k).sum() < len(label)]
    curves = {str(k): roc_curve(label == k, predictions[f"p{k}"])[:2] for k in drawable}
    if len(drawable) == len(CLASSES):
        rates = np.mean([np.interp(ROC_GRID, *curve) for curve in curves.values()], axis=0)
        curves["mean"] = [0, *ROC_GRID], [0, *rates]  # interpolation starts at the top of a curve's first rise
    columns = ["false_positive_rate", "true_positive_rate"]
    tables = {name: pd.DataFrame(dict(zip(columns, curve, strict=True))) for name, curve in curves.items()}
    return pd.concat(tables, names=["curve"]).reset_index("curve").reset_index(drop=True)


def holm(p: pd.Series) -> pd.Series:
    """p-values adjusted for their number, so that one false finding in all is as rare as p says (Holm 1979); NaN stays."""
    ordered = p.dropna().sort_values()
    return (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1).reindex(p.index)


def exact_share(count: int, total: int) -> list[float]:
    """A share and its exact 95 % interval (Clopper & Pearson 1934): share, low, high; NaN without records."""
    if not total:
        return [np.nan] * 3
    interval = binomtest(int(count), int(total)).proportion_ci(0.95, method="exact")
    return [count / total, interval.low, interval.high]
