"""Error distributions of design spaces, and how two groups of networks compare (Radosavovic et al. 2020)."""

import numpy as np
import pandas as pd
from scipy.stats import binomtest, bootstrap, ks_2samp, mannwhitneyu


def error_distribution(errors, at):
    """Error distribution function of a sample of networks (Radosavovic et al. 2020, Eq. 1).

    Parameters
    ----------
    errors : array-like, shape (n,)
    at : array-like, shape (m,)
        Errors e to evaluate it at.

    Returns
    -------
    DataFrame
        ``error`` (e), ``share`` F(e) of networks with an error below e, and ``low`` and ``high``, its exact 95 %
        interval (Clopper-Pearson) at this e alone, over the choice of networks.
    """
    errors = np.asarray(errors)
    return pd.DataFrame([{"error": e, **_share((errors < e).sum(), len(errors))} for e in at])


def _share(k, n):
    """k of n as a share, with its exact 95 % interval."""
    low, high = binomtest(int(k), n).proportion_ci()
    return {"share": k / n, "low": low, "high": high}


def error_distributions(models):
    """The error distributions of the spaces, and of the sampled networks with and without squeeze-excitation.

    Parameters
    ----------
    models : DataFrame
        Of `read_models`.

    Returns
    -------
    DataFrame
        As `error_distribution`, from just below the least to just above the greatest error of all networks, the
        reference too, with ``panel`` and ``group``, by which it is sorted.
    """
    margin = 0.03 * np.ptp(models["error"])
    at = np.unique([*models["error"], models["error"].min() - margin, models["error"].max() + margin])
    sampled = models[models["role"] == "sampled"]
    gated = sampled["squeeze_excitation"].map({True: "with", False: "without"})
    found = {
        (panel, f"{group} (n = {len(errors)})"): error_distribution(errors, at)
        for panel, groups in (("design space", sampled["space"]), ("squeeze-excitation", gated))
        for group, errors in sampled["error"].groupby(groups)
    }
    return pd.concat(found, names=["panel", "group"]).droplevel(-1).reset_index()


def summary(models):
    """Errors of the sampled networks, a row a space and one for all, beside the reference's mean error over its seeds.

    Parameters
    ----------
    models : DataFrame
        Of `read_models`.

    Returns
    -------
    DataFrame
        By ``space``: ``n``, ``best``, ``median`` and ``worst`` error, ``share`` of networks with an error below the
        reference's, with its exact 95 % interval ``low`` to ``high`` over the choice of networks.
    """
    reference = models.loc[models["role"] == "reference", "error"].mean()
    sampled = models[models["role"] == "sampled"]
    errors = {"all": sampled["error"], **dict(list(sampled.groupby("space")["error"]))}
    rows = {
        space: {"n": len(e), "best": e.min(), "median": e.median(), "worst": e.max()}
        | _share((e < reference).sum(), len(e))
        for space, e in errors.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("space")


def compare(first, second, resamples=1000, seed=0):
    """Whether one sample of errors is lower than another.

    Parameters
    ----------
    first, second : array-like of float
        Errors of independent networks, two or more each.
    resamples, seed : int
        Of the bootstrap over networks.

    Returns
    -------
    dict
        ``difference`` of the medians, first - second, with its 95 % percentile bootstrap interval ``low`` to ``high``;
        ``first_lower``, the chance that a network of the first has a lower error than one of the second, ties counting
        one half, and ``p`` of its Mann-Whitney test; ``ks_p`` of the Kolmogorov-Smirnov test.
    """
    settings = {"n_resamples": resamples, "rng": seed, "method": "percentile"}
    interval = bootstrap((first, second), _median_difference, **settings).confidence_interval
    rank_test = mannwhitneyu(second, first)
    return {
        "difference": _median_difference(first, second),
        "low": interval.low,
        "high": interval.high,
        "first_lower": rank_test.statistic / (len(first) * len(second)),
        "p": rank_test.pvalue,
        "ks_p": ks_2samp(first, second).pvalue,
    }


def _median_difference(first, second, axis=-1):
    return np.median(first, axis=axis) - np.median(second, axis=axis)


def comparisons(models, resamples=1000):
    """`compare` of the space "growing" with "any", and of squeeze-excitation with none, over the sampled networks."""
    sampled = models[models["role"] == "sampled"]
    error, space, gated = sampled["error"], sampled["space"], sampled["squeeze_excitation"]
    pairs = {
        "growing - any": (error[space == "growing"], error[space == "any"]),
        "with - without squeeze-excitation": (error[gated], error[~gated]),
    }
    rows = {name: compare(*pair, resamples=resamples) for name, pair in pairs.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("comparison")
