"""Errors of design spaces, and how two groups of networks compare (Radosavovic et al. 2020).

``models`` are the networks of a search (`cardiov.store.results.read_models`). The intervals of shares are exact
(Clopper & Pearson 1934), 95 %, over the choice of networks.
"""

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, ks_2samp, mannwhitneyu

from cardiov.analysis.metrics import exact_share


def summary(models: pd.DataFrame) -> pd.DataFrame:
    """Errors of the sampled networks, of all and by ``space``.

    ``share``, with its interval ``low`` to ``high``, is that of networks below the reference's mean error over its seeds.
    """
    reference = models.loc[models["role"] == "reference", "error"].mean()
    sampled = models[models["role"] == "sampled"]
    rows = {
        space: [len(e), e.min(), e.median(), e.max(), *exact_share((e < reference).sum(), len(e))]
        for space, e in [("all", sampled["error"]), *sampled.groupby("space")["error"]]
    }
    columns = ["n", "best", "median", "worst", "share", "low", "high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("space")


def comparisons(models: pd.DataFrame, resamples: int = 1000) -> pd.DataFrame:
    """`compare` of the space "growing" with "any", and of squeeze-excitation with none, over the sampled networks."""
    sampled = models[models["role"] == "sampled"]
    error, space, gated = sampled["error"], sampled["space"], sampled["squeeze_excitation"]
    rows = {
        "growing - any": compare(error[space == "growing"], error[space == "any"], resamples),
        "with - without squeeze-excitation": compare(error[gated], error[~gated], resamples),
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("comparison")


def compare(first, second, resamples: int = 1000, seed: int = 0) -> dict:
    """Whether one sample of errors (two or more independent networks each) is lower than another.

    ``difference`` is that of the medians, first - second, with its 95 % percentile bootstrap interval; ``first_lower``
    the chance that a network of the first has a lower error than one of the second, ties counting one half, with ``p``
    of its Mann-Whitney test; ``ks_p`` is of the Kolmogorov-Smirnov test.
    """
    settings = {"n_resamples": resamples, "rng": seed, "method": "percentile"}
    interval = bootstrap((first, second), _median_difference, **settings).confidence_interval
    rank_test = mannwhitneyu(second, first)
    return {
        "difference": _median_difference(first, second), "low": interval.low, "high": interval.high,
        "first_lower": rank_test.statistic / (len(first) * len(second)), "p": rank_test.pvalue,
        "ks_p": ks_2samp(first, second).pvalue,
    }  # fmt: skip


def _median_difference(first, second, axis=-1):
    return np.median(first, axis=axis) - np.median(second, axis=axis)
