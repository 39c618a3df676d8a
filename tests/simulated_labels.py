"""Probabilities and labels whose truth is known, for the tests of calibration."""

import numpy as np
import torch

from cardiov.ordinal import monotone_probabilities
from cardiov.scoring.calibration import conformal_level, prediction_sets


def drawn(probabilities, seed):
    """A label a record, drawn by its probabilities (N, 4)."""
    at = np.random.default_rng(seed).random((len(probabilities), 1))
    return (at > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)


def ordered_logits(n, seed):
    """Threshold logits in order, and labels that follow their probabilities."""
    latent = 2 * np.random.default_rng(seed).normal(size=(n, 1))
    logits = latent - [-1.0, 0.5, 2.0]  # (n, 3)
    return logits, drawn(monotone_probabilities(torch.tensor(logits)).numpy(), seed + 1)


def some_probabilities(n, seed):
    return np.random.default_rng(seed).dirichlet([0.7] * 4, n)


def simulated_coverages(coverage, fitted, tested, repetitions, level=None):
    """Coverage on new records by probabilities that are far too sure; of the conformal level, or of a given one."""
    found = []
    for seed in range(repetitions):
        true = some_probabilities(fitted + tested, seed)
        labels = drawn(true, seed + 10_000)
        sharpened = true**3 / (true**3).sum(axis=1, keepdims=True)
        at = conformal_level(sharpened[:fitted], labels[:fitted], coverage) if level is None else level
        low, high = prediction_sets(sharpened[fitted:], at)
        found.append(((low <= labels[fitted:]) & (labels[fitted:] <= high)).mean())
    return np.array(found)
