"""From a network's outputs to class probabilities in NumPy, never negative; `cardiov.objectives` has Eq. 6 itself."""

from functools import partial

import numpy as np
from scipy.special import expit, softmax

from cardiov.mapping import CLASSES

THRESHOLDS = len(CLASSES) - 1


def monotone_probabilities(logits) -> np.ndarray:
    """`cardiov.ordinal.monotone_probabilities`, (N, 3) to (N, 4): the nearest non-increasing thresholds, then Eq. 6."""
    p = expit(logits)
    fitted = [np.min([_largest_mean(p, start, k) for start in range(k + 1)], axis=0) for k in range(THRESHOLDS)]
    return _differences(np.stack(fitted, axis=1))


def _largest_mean(p, start, k):
    """The largest mean of thresholds from `start` to k or beyond, (N,)."""
    return np.max([p[:, start : end + 1].mean(axis=1) for end in range(k, THRESHOLDS)], axis=0)


def chained_probabilities(logits) -> np.ndarray:
    """`cardiov.objectives.corn_probabilities`, (N, 3) to (N, 4)."""
    return _differences(expit(logits).cumprod(axis=1))


def _differences(p):
    return -np.diff(p, axis=1, prepend=1, append=0)


DECODERS = {  # objective -> function of outputs (N, m); regression gives no probabilities
    "ordinal": monotone_probabilities,
    "coral": monotone_probabilities,
    "corn": chained_probabilities,
    **dict.fromkeys(("classification", "sord", "emd"), partial(softmax, axis=1)),
}
