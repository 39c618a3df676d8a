"""Confidence intervals of statistics of predictions, by the bootstrap over patients and training seeds.

``predictions`` are as in `cardiov.analysis.metrics`; ``runs`` are such tables of the same records, by training seed;
``statistic`` is a function from a table to a Series of numbers. The functions named ``bootstrap...`` return a DataFrame
indexed by ``statistic``, with ``estimate`` and the 95 % percentile interval ``low`` to ``high`` over ``resamples`` draws.
Draws in which a statistic is NaN, such as the AUC of a class that was not drawn, are left out. Runs of different records
or labels, or no record at all, are a ParameterError.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.stats

from cardiov.analysis.metrics import ALL_DRAWS_AT_ONCE, metrics
from cardiov.errors import ParameterError

Statistic = Callable[[pd.DataFrame], pd.Series]
Runs = Mapping[int, pd.DataFrame]


def bootstrap(predictions: pd.DataFrame, statistic: Statistic = metrics, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Intervals over patients: a draw takes all records of as many as there are (Davison & Hinkley 1997, section 3.8)."""
    return intervals(_weighted(statistic, predictions, drawn_counts(predictions["patient_id"], resamples, seed)))


def bootstrap_difference(
    first: pd.DataFrame, second: pd.DataFrame, statistic: Statistic = metrics, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Intervals of first - second, two runs on the same records, paired: each draw takes the same patients for both."""
    return bootstrap_seeds_difference({0: first}, {0: second}, statistic, resamples, seed)


def bootstrap_seeds(runs: Runs, statistic: Statistic = metrics, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Intervals over patients and training seeds, of the mean over the seeds.

    Each draw takes patients, the same for all runs, and, independently, as many runs as there are: the bootstrap of two crossed
    factors (Owen 2007, The pigeonhole bootstrap). The seeds' part of the variance is too small by (S - 1) / S for S seeds.
    """
    return intervals(seed_draws([runs], statistic, resamples, seed)[0])


def bootstrap_seeds_difference(
    first: Runs, second: Runs, statistic: Statistic = metrics, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Intervals of first - second, means over training seeds on the same records.

    Paired by patients; and by runs, if both sides have the same seeds: runs of equal seed may begin with the same weights, and
    their figures then rise and fall together. Runs of other seeds, not necessarily as many, are drawn for each side alone.
    """
    return intervals(np.subtract(*seed_draws([first, second], statistic, resamples, seed)))


def seed_draws(recipes: Sequence[Runs], statistic: Statistic = metrics, resamples: int = 1000, seed: int = 0) -> list[pd.DataFrame]:
    """The draws behind `bootstrap_seeds`: for each recipe, the mean of each statistic (column) over its runs.

    The first row is over all runs on all records, each of ``resamples`` further rows over the runs and patients drawn: the
    same patients for all recipes, and the same seeds for recipes that have the same.
    """
    aligned = _aligned([run for recipe in recipes for run in recipe.values()])
    counts = drawn_counts(aligned[0]["patient_id"], resamples, seed)
    rng, remaining = np.random.default_rng([seed, 1]), iter(aligned)
    shares = {seeds: _drawn_runs(len(seeds), resamples, rng) for seeds in dict.fromkeys(map(tuple, recipes))}
    return [_seed_means([next(remaining) for _ in recipe], statistic, counts, shares[tuple(recipe)]) for recipe in recipes]


def bootstrap_subsets(
    runs: Runs, subsets: pd.DataFrame, differences: Mapping[str, tuple[str, str]],
    statistic: Statistic = metrics, resamples: int = 1000, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """`bootstrap_seeds` on subsets of the records, and the differences first - second between subsets, on the same draws.

    ``subsets`` are bool, indexed by ``ecg_id``, a column per subset; ``differences`` names two subsets for each difference;
    ``statistic`` is `metrics` or `subgroup_metrics`. The result has ``subset`` (subsets, then differences) and ``statistic``
    as index, and NaN where a subset has no such records.
    """
    runs = _aligned([*runs.values()])
    counts = drawn_counts(runs[0]["patient_id"], resamples, seed)
    shares = _drawn_runs(len(runs), resamples, np.random.default_rng([seed, 1]))
    inside = subsets.loc[runs[0]["ecg_id"]].to_numpy()  # (N, subsets)
    draws = {name: _seed_means(runs, statistic, counts * inside[:, k], shares) for k, name in enumerate(subsets)}
    draws |= {name: draws[first] - draws[second] for name, (first, second) in differences.items()}
    return pd.concat({name: intervals(table) for name, table in draws.items()}, names=["subset"])


def drawn_counts(patient_id, resamples: int, seed: int) -> np.ndarray:
    """How often each record counts, (1 + R, N): once in the first row, then as often as its patient is drawn."""
    if not len(patient_id):
        raise ParameterError("there are no predictions to evaluate: check the run, and the split (validation or test).")
    patients, patient = np.unique(patient_id, return_inverse=True)  # patient: (N,) index of each record's patient
    rng, size = np.random.default_rng(seed), len(patients)
    drawn = [np.bincount(rng.integers(size, size=size), minlength=size)[patient] for _ in range(resamples)]
    return np.array([np.ones(len(patient), dtype=int), *drawn])


def intervals(draws: pd.DataFrame, names: Sequence[str] = ("statistic",)) -> pd.DataFrame:
    """Estimate (first row) and 95 % percentile interval (other rows) of each column, indexed by the columns' names."""
    ends = draws.iloc[1:].quantile([0.025, 0.975])  # skips NaN
    return pd.DataFrame({"estimate": draws.iloc[0], "low": ends.loc[0.025], "high": ends.loc[0.975]}).rename_axis(list(names))


def _aligned(runs):
    """The runs with their records in one order."""
    if not runs:
        raise ParameterError("there are no runs to evaluate: give at least one.")
    runs = [run.sort_values("ecg_id", ignore_index=True) for run in runs]
    same = ["ecg_id", "patient_id", "critical_value"]
    if any(not run[same].equals(runs[0][same]) for run in runs[1:]):
        raise ParameterError("the runs predict different records or labels: compare runs of one data set and split.")
    return runs


def _drawn_runs(runs, resamples, rng):
    """Share of each run in the mean, (1 + R, S): equal shares first, then of as many drawn with replacement."""
    equal = np.full(runs, 1 / runs)
    return np.vstack([equal, rng.multinomial(runs, equal, resamples) / runs])


def _seed_means(runs, statistic, counts, shares):
    """Means of a statistic over S runs by `shares` (1 + R, S), of records that count by `counts` (1 + R, N)."""
    tables = [_weighted(statistic, run, counts) for run in runs]
    return pd.DataFrame(np.einsum("rs,srk->rk", shares, np.stack(tables)), columns=tables[0].columns)


def _weighted(statistic, predictions, counts):
    """The statistic of records that count by `counts` (R, N): a row per draw."""
    if weighted := ALL_DRAWS_AT_ONCE.get(statistic):
        return weighted(predictions, counts)
    rows = np.arange(len(predictions))
    return pd.DataFrame([statistic(predictions.iloc[np.repeat(rows, count)]) for count in counts])


def prediction_interval(values, level: float) -> tuple[float, float]:
    """Where one more value of a normal sample lies with this probability (Student 1908; Hahn & Meeker 1991, section 4.7)."""
    mean, spread, n = np.mean(values), np.std(values, ddof=1), len(values)
    half = scipy.stats.t.ppf((1 + level) / 2, n - 1) * spread * np.sqrt(1 + 1 / n)
    return float(mean - half), float(mean + half)
