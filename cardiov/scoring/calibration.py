"""Calibrated probabilities, and ranges of critical values that hold the label as often as stated.

Both are fitted on validation records. Temperature scaling (Guo et al. 2017) divides all outputs by one number. Split
conformal prediction (Vovk et al. 2005, Papadopoulos et al. 2002) gives a set of critical values that holds the label with a
stated probability, even if the probabilities are wrong; with a level for each critical value, it does so within each (Vovk
2012). The sets are contiguous ranges, as the label is ordinal (Lu et al. 2022).

References
----------
Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML (2017).
Vovk V, Gammerman A, Shafer G. Algorithmic learning in a random world. Springer (2005).
Papadopoulos H, Proedrou K, Vovk V, Gammerman A. Inductive confidence machines for regression. ECML (2002).
Vovk V. Conditional validity of inductive conformal predictors. ACML (2012).
Sadinle M, Lei J, Wasserman L. Least ambiguous set-valued classifiers with bounded error levels. J Am Stat Assoc 114:223 (2019).
Romano Y, Sesia M, Candès E. Classification with valid and adaptive coverage. NeurIPS (2020).
Lu C, Angelopoulos AN, Pomerantz S. Improving trustworthiness of AI disease severity rating in medical imaging with
ordinal conformal prediction sets. MICCAI (2022).
"""

import math
from collections.abc import Callable

import numpy as np

from cardiov.errors import ParameterError
from cardiov.mapping import CLASSES
from cardiov.scoring.decoding import monotone_probabilities

FLOOR = 1e-6  # in the likelihood only: a value between pooled thresholds has the probability 0
MAX_TEMPERATURE = 20  # and the lowest is 1/20
DIGITS = 9  # of a range's probability: beyond them processors round differently, and equal ones would not be equal

# from logits (B, outputs) to class probabilities (B, 4), never negative
Probabilities = Callable[[np.ndarray], np.ndarray]


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p of the labels, in nats; probabilities (N, 4) are floored at 1e-6, labels have the shape (N,)."""
    return log_losses(probabilities, labels).mean()


def log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log p of each label, (N,); see `negative_log_likelihood`."""
    return -np.log(np.maximum(np.asarray(probabilities)[np.arange(len(labels)), labels], FLOOR))


def fit_temperature(outputs, labels, probabilities: Probabilities = monotone_probabilities) -> float:
    """The temperature, 1/20 to 20, by which divided outputs make the labels most likely (Guo et al. 2017).

    For ordered thresholds the negative log-likelihood is convex in 1 / T (Burridge 1981, Pratt 1981): it has one minimum.
    ``outputs`` (N, outputs) are logits of validation records, ``labels`` (N,) whole numbers.

    Raises
    ------
    ParameterError
        If there is no record.
    """
    from scipy.optimize import minimize_scalar  # takes longer to import than a record to score

    labels = np.asarray(labels)
    if not len(labels):
        raise ParameterError("there are no records to fit a temperature on: check the run, and the split (validation).")
    logits = np.asarray(outputs, dtype=float)  # (N, outputs)

    def loss(log_temperature):
        return negative_log_likelihood(probabilities(logits / math.exp(log_temperature)), labels)

    end = math.log(MAX_TEMPERATURE)
    return math.exp(minimize_scalar(loss, bounds=(-end, end), method="bounded").x)


def prediction_sets(probabilities, level) -> tuple[np.ndarray, np.ndarray]:
    """Ranges of critical values that are still in question (Romano et al. 2020, Lu et al. 2022).

    A range grows from the most probable value of ``probabilities`` (N, 4) by the likelier of its neighbours, of equals the graver.
    A value is in question if the range's probability before the value joins does not exceed its level: one for all values
    (`conformal_level`), or one for each, (4,) (`conformal_levels`). The lowest and the highest value in question are (N,); what
    lies between them is in the range, which can only hold the label more often.

    Examples
    --------
    >>> prediction_sets([[0.1, 0.2, 0.6, 0.1]], 0.7)
    (array([1]), array([2]))
    >>> prediction_sets([[0.1, 0.2, 0.6, 0.1]], [0.7, 0.7, 0.7, 0.9])
    (array([1]), array([3]))
    """
    inside = _before_joining(probabilities) <= np.asarray(level)  # (N, 4), always with the most probable value
    return inside.argmax(axis=1), len(CLASSES) - 1 - inside[:, ::-1].argmax(axis=1)


def conformal_level(probabilities, labels, coverage: float) -> float:
    """The level at which ranges of new records hold their labels with at least the stated probability (Vovk et al. 2005).

    A range's probability before the label joins it is the record's level; the ceil((N + 1) coverage)-th smallest is taken, or
    infinity if there are too few records. ``probabilities`` are (N, 4) and ``labels`` (N,), of validation records. The promise is
    for all records together, not for those of each critical value.

    Raises
    ------
    ParameterError
        If the coverage is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise ParameterError(f"coverage is {coverage:g}: give a share between 0 and 1, such as 0.9.")
    labels = np.asarray(labels, dtype=int)
    before = _before_joining(probabilities)[np.arange(len(labels)), labels]
    rank = rank_for(len(labels), coverage)
    return float(np.sort(before)[rank - 1]) if rank <= len(labels) else math.inf


def conformal_levels(probabilities, labels, coverage: float) -> list[float]:
    """Of each critical value, the level at which ranges of its new records hold the label with at least the stated probability.

    Each is `conformal_level` on the validation records of that value (Vovk 2012, Sadinle et al. 2019). The promise is kept within
    each value if its new records are exchangeable with those of the validation split; one of few records varies much from
    one validation split to another, and below coverage / (1 - coverage) records the level is infinite.
    """
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    return [conformal_level(probabilities[labels == k], labels[labels == k], coverage) for k in CLASSES]


def rank_for(records, coverage):
    return math.ceil(round((records + 1) * coverage, 9))  # rounded: 0.07 * 100 is a little above 7


def _before_joining(probabilities):
    """Probability of the growing range before each value joins, (N, 4)."""
    low, high, mass = _growing(probabilities)
    mass = np.vstack([np.zeros(mass.shape[1]), mass])  # (5, N)
    ranges_without = np.stack([((k < low) | (high < k)).sum(axis=0) for k in CLASSES], axis=1)  # (N, 4)
    return mass[ranges_without, np.arange(mass.shape[1])[:, None]]


def _growing(probabilities):
    """Low, high and probability of ranges of 1, 2, 3 and 4 values: three arrays (4, N)."""
    p = np.asarray(probabilities, dtype=float)
    beside = np.pad(p, ((0, 0), (1, 1)), constant_values=-np.inf)  # (N, 6): nothing to add beyond the ends
    rows = np.arange(len(p))
    low = high = p.argmax(axis=1)
    mass = p[rows, low]
    grown = [(low, high, mass)]
    for _ in CLASSES[1:]:
        below, above = beside[rows, low], beside[rows, high + 2]
        upwards = above >= below
        low, high = np.where(upwards, low, low - 1), np.where(upwards, high + 1, high)
        mass = mass + np.where(upwards, above, below)
        grown.append((low, high, mass))
    low, high, mass = (np.stack(column) for column in zip(*grown, strict=True))
    return low, high, mass.round(DIGITS)
