"""Probabilities that can be taken at their word, and ranges of critical values that hold the label as often as stated.

Two remedies after training, both chosen on validation records that the network was not trained on. Temperature scaling
(Guo et al. 2017) divides all outputs by one number, so that what is called 70 % likely comes true 70 times in 100.
Split conformal prediction (Vovk et al. 2005, Papadopoulos et al. 2002) gives, instead of one critical value, a set of
them that holds the label with a stated probability, whether the probabilities are right or not. The sets are contiguous
ranges, as an ordinal label asks for (Lu et al. 2022): "0 or 3" would help nobody.

References
----------
Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML (2017).
Vovk V, Gammerman A, Shafer G. Algorithmic learning in a random world. Springer (2005).
Papadopoulos H, Proedrou K, Vovk V, Gammerman A. Inductive confidence machines for regression. ECML (2002).
Romano Y, Sesia M, Candès E. Classification with valid and adaptive coverage. NeurIPS (2020).
Lu C, Angelopoulos AN, Pomerantz S. Improving trustworthiness of AI disease severity rating in medical imaging with
ordinal conformal prediction sets. MICCAI (2022).
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from cardiov.errors import ParameterError
from cardiov.mapping import CLASSES
from cardiov.ordinal import monotone_probabilities

FLOOR = 1e-6  # in the likelihood alone: where thresholds are pooled, a value between them has no probability at all
WIDEST = 20  # temperatures are looked for from 1/20 to 20

# from logits (B, outputs) to class probabilities (B, 4), never negative
Probabilities = Callable[[torch.Tensor], torch.Tensor]


# Temperature scaling


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log of the probability of the label, which is floored at 1e-6.

    Each label that had no probability adds 13.8 / N, which is the floor's doing: compare values of one table alone.

    Parameters
    ----------
    probabilities : array, shape (N, 4)
    labels : integer array, shape (N,)

    Returns
    -------
    float
        In nats.
    """
    of_label = np.asarray(probabilities)[np.arange(len(labels)), labels]
    return -np.log(np.maximum(of_label, FLOOR)).mean()


def fit_temperature(outputs, labels, probabilities: Probabilities = monotone_probabilities) -> float:
    """The temperature T that makes the labels most likely when all outputs are divided by it (Guo et al. 2017).

    Above 1 it takes confidence back, below 1 it adds some. For thresholds in order the negative log-likelihood is
    convex in 1 / T (differences of logistic functions are log-concave; Burridge 1981, Pratt 1981), so there is one
    minimum, which is looked for between 1/20 and 20 on the scale of log T.

    Parameters
    ----------
    outputs : array, shape (N, outputs)
        Logits of validation records.
    labels : integer array, shape (N,)
        Their critical values.
    probabilities : callable
        From logits to class probabilities that are never negative.

    Returns
    -------
    float

    Raises
    ------
    ParameterError
        If there is no record.
    """
    labels = np.asarray(labels)
    if not len(labels):
        raise ParameterError("there are no records to fit a temperature on: check the run, and the split (validation).")
    logits = torch.tensor(np.asarray(outputs, dtype=float))  # (N, outputs)

    def loss(log_temperature):
        return negative_log_likelihood(probabilities(logits / math.exp(log_temperature)).numpy(), labels)

    end = math.log(WIDEST)
    return math.exp(minimize_scalar(loss, bounds=(-end, end), method="bounded").x)


# Prediction sets


def prediction_sets(probabilities, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Ranges of critical values grown until their probability exceeds the level (Romano et al. 2020, Lu et al. 2022).

    Each starts as the most probable value alone and takes in the likelier of its two neighbours, of equals the graver.
    So it is contiguous, never empty, and of two levels the higher gives a range that contains the other's.

    Parameters
    ----------
    probabilities : array, shape (N, 4)
        Never negative.
    level : float
        From `conformal_level`; infinite where every range is to hold all values.

    Returns
    -------
    low, high : integer array, shape (N,)
        The ends, both included.

    Examples
    --------
    >>> prediction_sets([[0.1, 0.2, 0.6, 0.1]], 0.7)
    (array([1]), array([2]))
    """
    low, high, mass = _growing(probabilities)
    size = np.minimum((mass <= level).sum(axis=0), len(CLASSES) - 1)  # (N,), less 1
    rows = np.arange(len(size))
    return low[size, rows], high[size, rows]


def conformal_level(probabilities, labels, coverage: float) -> float:
    """The level at which ranges of new records hold their labels with at least the stated probability.

    A label is in a range from the level on that the range had before the label joined. Of the levels of the N labels
    this is the ceil((N + 1) coverage)-th smallest. A new record's is equally likely to have any rank among N + 1, if
    the record is exchangeable with these, so its label is in its range with a probability of at least the coverage
    (Vovk et al. 2005); at least, because levels are often equal: that of a right prediction is 0.

    Parameters
    ----------
    probabilities : array, shape (N, 4)
        Of validation records; never negative.
    labels : integer array, shape (N,)
    coverage : float
        Between 0 and 1.

    Returns
    -------
    float
        Infinite where there are too few records to promise as much.

    Raises
    ------
    ParameterError
        If the coverage is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise ParameterError(f"coverage is {coverage:g}: give a share between 0 and 1, such as 0.9.")
    labels = np.asarray(labels)
    low, high, mass = _growing(probabilities)
    without = ((labels < low) | (high < labels)).sum(axis=0)  # (N,), how many ranges the label is not in
    before = np.vstack([np.zeros(len(labels)), mass])[without, np.arange(len(labels))]
    rank = rank_for(len(labels), coverage)
    return float(np.sort(before)[rank - 1]) if rank <= len(labels) else math.inf


def rank_for(records, coverage):
    return math.ceil(round((records + 1) * coverage, 9))  # rounded: 0.07 * 100 is a little above 7


def _growing(probabilities):
    """Ends and probability of each record's range when it holds 1, 2, 3 and all 4 values: three arrays (4, N)."""
    p = np.asarray(probabilities, dtype=float)
    beside = np.pad(p, ((0, 0), (1, 1)), constant_values=-np.inf)  # (N, 6): beyond the ends there is nothing to take in
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
    return tuple(np.stack(column) for column in zip(*grown, strict=True))
