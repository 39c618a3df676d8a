"""Metrics of a run's predictions and their confidence intervals.

Every function takes the predictions table that a run leaves in ``predictions.csv``: one row a record, with
``patient_id``, the label ``critical_value``, the network's outputs ``output_1`` ..., a score for each critical value
``p0`` to ``p3`` and the decoded ``predicted``. Scores need not be probabilities: an ordinal run's may be negative
(Eq. 6), and a regression's is minus the distance between its output and the critical value. An ROC curve only uses
their order.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from sklearn.metrics import confusion_matrix, roc_curve

from cardiov.errors import ParameterError
from cardiov.mapping import LEVELS
from cardiov.ordinal import THRESHOLDS, violation_rate

CLASSES = range(len(LEVELS))
SCORES = [f"p{k}" for k in CLASSES]
ROC_GRID = np.linspace(0, 1, 201)  # false positive rates of the mean curve


def metrics(predictions: pd.DataFrame) -> pd.Series:
    """All metrics of one table of predictions.

    Returns
    -------
    Series
        ``mae``; ``macro_mae``, the mean of the four classes' own MAE (Baccianella et al. 2009), so that rare critical
        values count as much as common ones; ``accuracy``; ``kappa``, quadratically weighted; ``auc_0`` to ``auc_3``,
        one critical value against the rest, and ``auc_mean``; ``wrong``, ``error_1`` to ``error_3`` and
        ``error_2_or_more``, shares of all records; ``violation_rate``, the share of records whose thresholds are not
        monotone (ordinal runs; NaN for others). An AUC is NaN where its class is absent or alone, and a mean over the
        four classes is NaN where one of them is missing: it would be another quantity.
    """
    label = predictions["critical_value"].to_numpy()
    predicted = predictions["predicted"].to_numpy()
    error = np.abs(predicted - label)
    found = {"mae": error.mean(), "macro_mae": _macro_mae(label, error)}
    found |= {"accuracy": (error == 0).mean(), "kappa": quadratic_kappa(label, predicted)}
    found |= _aucs(label, predictions[SCORES].to_numpy())
    found |= {"wrong": (error > 0).mean()} | {f"error_{steps}": (error == steps).mean() for steps in (1, 2, 3)}
    found |= {"error_2_or_more": (error >= 2).mean(), "violation_rate": _violations(predictions)}
    return pd.Series(found, dtype=float)


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve from the ranks of the scores (Mann-Whitney), ties counting one half.

    Parameters
    ----------
    positive : bool array, shape (N,)
    score : float array, shape (N,)

    Returns
    -------
    float
        The value of `sklearn.metrics.roc_auc_score`, a few times as fast, which the bootstrap needs; NaN where all
        records or none are positive.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return np.nan
    above = rankdata(score)[positive].sum() - positives * (positives + 1) / 2
    return above / (positives * negatives)


def quadratic_kappa(label: np.ndarray, predicted: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights (Cohen 1968).

    With quadratic weights it is 1 - E(y - p)² / E(y - p')², where p' is independent of y; NaN where both are one and
    the same constant.
    """
    by_chance = label.var() + predicted.var() + (label.mean() - predicted.mean()) ** 2
    return 1 - ((label - predicted) ** 2).mean() / by_chance if by_chance else np.nan


def _macro_mae(label, error):
    present = [error[label == k].mean() for k in CLASSES if (label == k).any()]
    return np.mean(present) if len(present) == len(CLASSES) else np.nan


def _aucs(label, scores):
    each = [auc(label == k, scores[:, k]) for k in CLASSES]
    return {f"auc_{k}": value for k, value in zip(CLASSES, each, strict=True)} | {"auc_mean": np.mean(each)}


def _violations(predictions):
    logits = predictions.filter(regex=r"^output_\d+$").to_numpy()
    return violation_rate(torch.tensor(logits)) if logits.shape[1] == THRESHOLDS else np.nan


def bootstrap(
    predictions: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], pd.Series] = metrics,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Percentile bootstrap 95 % intervals that resample patients, not records.

    Records of one patient are alike, so each resample draws as many patients as there are, with replacement, and takes
    all records of each (Davison & Hinkley 1997, section 3.8). A statistic that is NaN in a resample, such as the AUC of
    a class that was not drawn, is left out there.

    Parameters
    ----------
    predictions : DataFrame
    statistic : callable
        From a table of predictions to a Series of numbers.
    resamples, seed : int

    Returns
    -------
    DataFrame
        Indexed by ``statistic``, with ``estimate``, ``low`` and ``high``.

    Raises
    ------
    ParameterError
        If there is no record to evaluate.
    """
    return _intervals(lambda rows: statistic(predictions.iloc[rows]), predictions["patient_id"], resamples, seed)


def bootstrap_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], pd.Series] = metrics,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Intervals of the difference first - second between two runs on the same records.

    Paired: each resample draws the same patients for both runs, so what makes a patient hard for both cancels out.

    Returns
    -------
    DataFrame
        As from `bootstrap`.

    Raises
    ------
    ParameterError
        If the runs hold different records or labels, or none.
    """
    first, second = (run.sort_values("ecg_id", ignore_index=True) for run in (first, second))
    same = ["ecg_id", "patient_id", "critical_value"]
    if not first[same].equals(second[same]):
        raise ParameterError("the runs predict different records or labels: compare runs of one data set and split.")
    return _intervals(
        lambda rows: statistic(first.iloc[rows]) - statistic(second.iloc[rows]), first["patient_id"], resamples, seed
    )


def _intervals(statistic, patient_id, resamples, seed):
    if not len(patient_id):
        raise ParameterError("there are no predictions to evaluate: check the run, and the split (validation or test).")
    drawn = pd.DataFrame([statistic(rows) for rows in _resampled_rows(patient_id, resamples, seed)])
    bounds = drawn.quantile([0.025, 0.975])  # skips NaN
    table = pd.DataFrame(
        {"estimate": statistic(np.arange(len(patient_id))), "low": bounds.loc[0.025], "high": bounds.loc[0.975]}
    )
    return table.rename_axis("statistic")


def _resampled_rows(patient_id, resamples, seed) -> Iterator[np.ndarray]:
    """Row positions of each resample, a record as often as its patient was drawn."""
    patients, patient = np.unique(patient_id, return_inverse=True)  # patient: (N,) index of each record's patient
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        times = np.bincount(rng.integers(len(patients), size=len(patients)), minlength=len(patients))
        yield np.repeat(np.arange(len(patient)), times[patient])


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
