"""Metrics of a table of predictions, confusion matrices and ROC curves.

Every function takes the predictions table that a run leaves in ``predictions.csv``: one row per record, with
``patient_id``, the label ``critical_value``, the network's outputs ``output_1`` ..., a score for each critical value
``p0`` to ``p3`` and the decoded ``predicted``. Scores need not be probabilities: an ordinal run's may be negative
(Eq. 6), and a regression's is minus the distance between its output and the critical value. An ROC curve only uses
their order.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest, rankdata
from sklearn.metrics import confusion_matrix, roc_curve

from cardiov.mapping import CLASSES

SCORES = [f"p{k}" for k in CLASSES]
F1S, AUCS = ([f"{name}_{of}" for of in (*CLASSES, mean)] for name, mean in (("f1", "macro"), ("auc", "mean")))
ERRORS = ["wrong", "error_1", "error_2", "error_3", "error_2_or_more"]
METRICS = ["mae", "macro_mae", "accuracy", "kappa", *AUCS, *ERRORS, "violation_rate", "rps", "ece"]
ROC_GRID = np.linspace(0, 1, 201)  # false positive rates of the mean curve
BINS = 10  # of equal width, from 0 to 1, for calibration


def metrics(predictions: pd.DataFrame) -> pd.Series:
    """All metrics of one table of predictions.

    Returns
    -------
    Series
        ``mae``; ``macro_mae``, the mean of the four classes' own MAE (Baccianella et al. 2009), so that rare critical
        values count as much as common ones; ``accuracy``; ``kappa``, quadratically weighted; ``auc_0`` to ``auc_3``,
        one critical value against the rest, and ``auc_mean``; ``wrong``, ``error_1`` to ``error_3`` and
        ``error_2_or_more``, shares of all records; ``violation_rate``, the share of records with a negative
        probability, which is where thresholds are not monotone; ``rps`` and ``ece``, how far the scores can be taken
        for probabilities (`ranked_probability_score`, `expected_calibration_error`). These three are NaN where the
        scores are no probabilities, as in regression runs. An AUC is NaN where its class is absent or alone, and a mean over the four classes is NaN where one of them is
        missing: it would be another quantity.
    """
    return _unweighted(weighted_metrics(predictions), len(predictions))


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve from the ranks of the scores (Mann-Whitney), ties counting one half.

    Parameters
    ----------
    positive : bool array, shape (N,)
    score : float array, shape (..., N)

    Returns
    -------
    float or ndarray, shape (...)
        The value of `sklearn.metrics.roc_auc_score`, a few times as fast, which the bootstrap needs; NaN where all
        records or none are positive.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return np.full(np.shape(score)[:-1], np.nan)[()]
    above = rankdata(score, axis=-1)[..., positive].sum(axis=-1) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def quadratic_kappa(label: np.ndarray, predicted: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights (Cohen 1968).

    With quadratic weights it is 1 - E(y - p)² / E(y - p')², where p' is independent of y; NaN where both are one and
    the same constant.
    """
    by_chance = label.var() + predicted.var() + (label.mean() - predicted.mean()) ** 2
    return 1 - ((label - predicted) ** 2).mean() / by_chance if by_chance else np.nan


def ranked_probability_score(probabilities: np.ndarray, label: np.ndarray) -> float:
    """Squared error of the cumulative probabilities, summed over the three thresholds (Epstein 1969, Murphy 1971).

    The mean over the records of the sum over k = 0, 1, 2 of (P(Y <= k) - [y <= k])², not divided by the number of
    thresholds: 0 is perfect, 3 the worst. It is a proper score, lowest on average when the true probabilities are
    told; unlike the log-likelihood it counts by how many steps the probability misses, and it stays finite. Negative
    probabilities of Eq. 6 do no harm, since each threshold's own is between 0 and 1.

    Parameters
    ----------
    probabilities : array, shape (N, 4)
    label : integer array, shape (N,)

    Returns
    -------
    float

    References
    ----------
    Epstein ES. A scoring system for probability forecasts of ranked categories. J Appl Meteorol 8:985-987 (1969).
    Murphy AH. A note on the ranked probability score. J Appl Meteorol 10:155-156 (1971), which has this form.
    """
    return _ranked_scores(probabilities, label).mean()


def expected_calibration_error(probabilities: np.ndarray, label: np.ndarray, bins: int = BINS) -> float:
    """How far the probability of the most probable value is from how often that value is right (Guo et al. 2017).

    Records are put in ten bins of equal width by that probability; the distances between mean probability and share of
    right records are averaged, each bin by its records. Chance alone gives each bin a distance, so even perfect
    probabilities have an error above 0, the more so the fewer the records.

    Parameters
    ----------
    probabilities : array, shape (N, 4)
    label : integer array, shape (N,)
    bins : int

    Returns
    -------
    float

    References
    ----------
    Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML (2017), Eq. 3.
    """
    return np.abs(_confidence_excess(probabilities, label, bins).sum(axis=0)).sum() / len(label)


def bin_of(probability: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin of equal width, 0 to ``bins - 1``, in which each probability lies; an edge belongs to the bin below it."""
    return np.clip(np.ceil(bins * probability) - 1, 0, bins - 1).astype(int)


def _ranked_scores(probabilities, label):
    """`ranked_probability_score` of each record, (N,)."""
    below = np.cumsum(probabilities, axis=1)[:, :-1]  # (N, 3)
    return ((below - (label[:, None] <= np.array(CLASSES[:-1]))) ** 2).sum(axis=1)


def _confidence_excess(probabilities, label, bins=BINS):
    """By how much the highest probability exceeds being right (1) or wrong (0), each record in its bin: (N, bins)."""
    highest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == label
    return np.eye(bins)[bin_of(highest, bins)] * (highest - right)[:, None]


def _unweighted(evaluate, n):
    return evaluate(np.ones((1, n))).iloc[0].rename(None)


def weighted_metrics(predictions, names=METRICS):
    """Function from weights of the N records, R arrays (N,), to their `metrics` (or F1s), R rows.

    Resampling and regrouping only change how often a record counts, so all draws are computed at once: cutting a table
    for each takes some twenty times as long.
    """
    label, predicted = (predictions[name].to_numpy() for name in ("critical_value", "predicted"))
    scores = predictions[SCORES].to_numpy()
    cell = np.eye(len(CLASSES) ** 2)[len(CLASSES) * label + predicted]  # (N, 16)
    negative, ranked, excess = _calibration(scores, label)

    def evaluate(weights):
        weights = np.array(weights, dtype=float)  # (R, N)
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: no record of a class, or none at all
            found = _counted_metrics((weights @ cell).reshape(-1, len(CLASSES), len(CLASSES)))
            aucs = [_weighted_auc(label == k, scores[:, k], weights) for k in CLASSES]
            found |= dict(zip(AUCS, [*aucs, np.mean(aucs, axis=0)], strict=True))
            sums = {"violation_rate": weights @ negative, "rps": weights @ ranked}
            sums["ece"] = np.abs(weights @ excess).sum(axis=1)
            found |= {name: total / weights.sum(axis=1) for name, total in sums.items()}
        return pd.DataFrame(found)[list(names)]

    return evaluate


def _calibration(scores, label):
    """What `metrics` sums over the records for ``violation_rate`` and ``rps``, (N,), and ``ece``, (N, BINS).

    NaN where the scores are no probabilities.
    """
    if (np.abs(scores.sum(axis=1) - 1) > 1e-3).any():
        return np.full(len(label), np.nan), np.full(len(label), np.nan), np.full((len(label), BINS), np.nan)
    return (scores < 0).any(axis=1), _ranked_scores(scores, label), _confidence_excess(scores, label)


def _counted_metrics(counts):
    """What confusion matrices (R, 4, 4), labels in rows, tell: F1s and those of `METRICS` that need no scores."""
    steps = np.abs(np.subtract.outer(CLASSES, CLASSES))  # (4, 4)
    labelled, called = counts.sum(axis=2), counts.sum(axis=1)  # (R, 4)
    total = labelled.sum(axis=1)

    def share(kept):
        return (counts * kept).sum(axis=(1, 2)) / total

    by_chance = np.einsum("ri,rj,ij->r", labelled, called, steps**2) / total**2
    f1s = 2 * np.diagonal(counts, axis1=1, axis2=2) / np.where(labelled, labelled + called, np.nan)
    found = {"mae": share(steps), "macro_mae": ((counts * steps).sum(axis=2) / labelled).mean(axis=1)}
    found |= {"accuracy": share(steps == 0), "kappa": 1 - share(steps**2) / by_chance, "wrong": share(steps > 0)}
    found |= {f"error_{k}": share(steps == k) for k in (1, 2, 3)} | {"error_2_or_more": share(steps >= 2)}
    return found | dict(zip(F1S, [*f1s.T, f1s.mean(axis=1)], strict=True))


def _weighted_auc(positive, score, weights):
    """`auc` of records that count by `weights` (R, N): (R,)."""
    order = np.argsort(score, kind="stable")
    ties = np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0)  # where a new score begins
    weights, positive = weights[:, order], positive[order]
    won, lost = (np.add.reduceat(weights * some, ties, axis=1) for some in (positive, ~positive))
    below = np.cumsum(lost, axis=1) - lost / 2
    return (won * below).sum(axis=1) / (won.sum(axis=1) * lost.sum(axis=1))


def threshold_aucs(predictions: pd.DataFrame) -> pd.Series:
    """AUC of each of the three questions "above 0?", "above 1?" and "above 2?"; for `bootstrap`.

    Unlike the AUC of one critical value against the rest, it asks about all values on one side of a threshold, as the
    network itself does. The score is the probability of the values above the threshold: by Eq. 6 that threshold's own.

    Returns
    -------
    Series
        ``auc_above_0`` to ``auc_above_2``; NaN where all records or none are above.
    """
    label, scores = predictions["critical_value"].to_numpy(), predictions[SCORES].to_numpy()
    above = [scores[:, k + 1 :].sum(axis=1).round(9) for k in CLASSES[:-1]]  # equal sums stay ties
    return pd.Series({f"auc_above_{k}": auc(label > k, score) for k, score in enumerate(above)})


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Records by critical value (rows) and prediction (columns), (4, 4)."""
    counts = confusion_matrix(predictions["critical_value"], predictions["predicted"], labels=list(CLASSES))
    table = pd.DataFrame(counts, index=CLASSES, columns=CLASSES)
    return table.rename_axis(index="critical_value", columns="predicted")


def roc_points(positive: np.ndarray, score: np.ndarray) -> pd.DataFrame:
    """One ROC curve: ``false_positive_rate`` and ``true_positive_rate``, from (0, 0) to (1, 1)."""
    fpr, tpr, _ = roc_curve(positive, score)
    return pd.DataFrame({"false_positive_rate": fpr, "true_positive_rate": tpr})


def roc_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """ROC curves of each critical value against the rest, and their mean (Fig. 2).

    Returns
    -------
    DataFrame
        ``curve`` ("0" to "3" and "mean"), ``false_positive_rate`` and ``true_positive_rate``. The mean is that of the
        true positive rates at equal false positive rates. A class that is absent, or alone, has no curve, and then
        there is no mean.
    """
    label = predictions["critical_value"]
    drawable = [k for k in CLASSES if 0 < (label == k).sum() < len(label)]
    curves = {str(k): roc_points(label == k, predictions[f"p{k}"]) for k in drawable}
    if len(drawable) == len(CLASSES):
        rates = np.mean([np.interp(ROC_GRID, *curve.to_numpy().T) for curve in curves.values()], axis=0)
        # every curve starts at (0, 0), where interpolation takes the top of its first rise
        mean = {"false_positive_rate": [0, *ROC_GRID], "true_positive_rate": [0, *rates]}
        curves["mean"] = pd.DataFrame(mean)
    return pd.concat(curves, names=["curve"]).reset_index("curve").reset_index(drop=True)


STATISTICS = pd.Index(["mae", "accuracy", *F1S, *AUCS])


def subgroup_metrics(predictions: pd.DataFrame) -> pd.Series:
    """The metrics of Table 5.

    Returns
    -------
    Series
        ``mae``, ``accuracy``, ``f1_0`` to ``f1_3`` of each critical value and their mean ``f1_macro``, ``auc_0`` to
        ``auc_3`` and ``auc_mean``. F1 and AUC of a class without records are NaN, and so are the means over the
        classes, which would otherwise be other quantities in one subgroup than in the next.
    """
    return _unweighted(weighted_metrics(predictions, STATISTICS), len(predictions))


def holm(p: pd.Series) -> pd.Series:
    """Adjust p-values for their number, so that one false finding in all is as rare as p says (Holm 1979).

    A NaN is no test and stays NaN.
    """
    ordered = p.dropna().sort_values()
    adjusted = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1)
    return adjusted.reindex(p.index)


def exact_share(count: int, total: int) -> list[float]:
    """A share and its exact 95 % interval (Clopper & Pearson 1934): share, low, high; NaN where there is no record."""
    if not total:
        return [np.nan] * 3
    interval = binomtest(int(count), int(total)).proportion_ci(0.95, method="exact")
    return [count / total, interval.low, interval.high]
