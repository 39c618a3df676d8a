"""Confidence intervals of any statistic of predictions, by the bootstrap over patients and training seeds.

The predictions are tables as `cardiov.analysis.metrics` describes them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from cardiov.analysis.metrics import STATISTICS, metrics, subgroup_metrics, weighted_metrics
from cardiov.errors import ParameterError


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
    return intervals(_weighted(statistic, predictions)(drawn_counts(predictions["patient_id"], resamples, seed)))


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
    first, second = _aligned([first, second])
    times = drawn_counts(first["patient_id"], resamples, seed)
    return intervals(_weighted(statistic, first)(times) - _weighted(statistic, second)(times))


def bootstrap_seeds(
    runs: Mapping[int, pd.DataFrame],
    statistic: Callable[[pd.DataFrame], pd.Series] = metrics,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Intervals over patients and training seeds, of the mean over the seeds.

    Another study would meet other patients and train from other seeds. So each resample draws patients, the same for
    all runs, and, independently of them, as many runs as there are, with replacement: the bootstrap of two crossed
    factors (Owen 2007, The pigeonhole bootstrap). With one run it is `bootstrap`.

    The part of the seeds is rough. Few values tell little about how far others may lie, and means of S values drawn
    from S have a variance that is too small by the factor (S - 1) / S: with three seeds, a standard deviation too
    small by about a fifth. Where patients make up most of an interval, that hardly matters.

    Parameters
    ----------
    runs : mapping of int to DataFrame
        Predictions of the same records by training seed, from `cardiov.store.results.read_seeds`.
    statistic, resamples, seed
        As in `bootstrap`.

    Returns
    -------
    DataFrame
        As from `bootstrap`; ``estimate`` is the mean of the statistic over the runs.

    Raises
    ------
    ParameterError
        If the runs hold different records or labels, or none.
    """
    return intervals(seed_draws([runs], statistic, resamples, seed)[0])


def bootstrap_seeds_difference(
    first: Mapping[int, pd.DataFrame],
    second: Mapping[int, pd.DataFrame],
    statistic: Callable[[pd.DataFrame], pd.Series] = metrics,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Intervals of the difference first - second between means over training seeds, on the same records.

    Paired by patients, which are drawn once for all runs, as in `bootstrap_difference`. Runs are drawn for either side
    alone: that two recipes share the number of a seed makes no pair of them. What `bootstrap_seeds` says about few
    seeds holds here even more, since pairing takes off much of the patients' part and nothing of the seeds'.

    Parameters
    ----------
    first, second : mapping of int to DataFrame
        As in `bootstrap_seeds`; not necessarily as many runs.
    statistic, resamples, seed
        As in `bootstrap`.

    Returns
    -------
    DataFrame
        As from `bootstrap`.

    Raises
    ------
    ParameterError
        If any of the runs hold different records or labels, or none.
    """
    one, other = seed_draws([first, second], statistic, resamples, seed)
    return intervals(one - other)


def seed_draws(
    recipes: Sequence[Mapping[int, pd.DataFrame]],
    statistic: Callable[[pd.DataFrame], pd.Series] = metrics,
    resamples: int = 1000,
    seed: int = 0,
) -> list[pd.DataFrame]:
    """The draws behind `bootstrap_seeds`, for whatever is to be computed from several recipes together.

    Parameters
    ----------
    recipes : sequence of mappings of int to DataFrame
        Runs of each recipe by training seed, all on the same records.
    statistic, resamples, seed
        As in `bootstrap`.

    Returns
    -------
    list of DataFrame
        For each recipe, the mean of each statistic (column) over its runs: in the first row over all runs on all
        records, and in each of ``resamples`` further rows over the runs and patients drawn. Row for row the patients
        are the same for all recipes; the runs are drawn for each recipe alone.

    Raises
    ------
    ParameterError
        If any of the runs hold different records or labels, or none.
    """
    runs = _aligned([run for recipe in recipes for run in recipe.values()])
    times = drawn_counts(runs[0]["patient_id"], resamples, seed)
    rng, rest = np.random.default_rng([seed, 1]), iter(runs)
    shares = [_drawn_runs(len(recipe), resamples, rng) for recipe in recipes]
    return [_seed_means([next(rest) for _ in share.T], statistic, times, share) for share in shares]


def intervals(draws: pd.DataFrame) -> pd.DataFrame:
    """Estimates, from the first row, and 95 % percentile intervals, from the other rows; a table as of `bootstrap`."""
    return percentiles(draws.iloc[0], draws.iloc[1:])


def bootstrap_subsets(
    runs: Mapping[int, pd.DataFrame],
    subsets: pd.DataFrame,
    differences: Mapping[str, tuple[str, str]],
    statistic: Callable[[pd.DataFrame], pd.Series] = metrics,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """`bootstrap_seeds` on subsets of the records, and the differences between subsets.

    All subsets are evaluated on the same draws of all patients and runs, so that a patient with records in two of
    them counts in both. Differences are between different records: nothing of what makes a record hard cancels out.

    Parameters
    ----------
    runs : mapping of int to DataFrame
        As in `bootstrap_seeds`.
    subsets : DataFrame of bool
        Indexed by ``ecg_id``, a column a subset.
    differences : mapping of str to tuple of two str
        The two subsets (first - second) of each difference.
    statistic, resamples, seed
        As in `bootstrap`; a statistic that takes all draws at once (`metrics` or `subgroup_metrics`).

    Returns
    -------
    DataFrame
        Indexed by ``subset`` (subsets, then differences) and ``statistic``, with ``estimate``, ``low`` and ``high``;
        NaN where a subset has no such records.

    """
    runs = _aligned([*runs.values()])
    times = drawn_counts(runs[0]["patient_id"], resamples, seed)
    shares = _drawn_runs(len(runs), resamples, np.random.default_rng([seed, 1]))
    inside = subsets.loc[runs[0]["ecg_id"]].to_numpy()  # (N, subsets)
    draws = {name: _seed_means(runs, statistic, times * inside[:, k], shares) for k, name in enumerate(subsets)}
    draws |= {name: draws[first] - draws[second] for name, (first, second) in differences.items()}
    return pd.concat({name: intervals(table) for name, table in draws.items()}, names=["subset"])


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


def _seed_means(runs, statistic, times, shares):
    """Means of a statistic over S runs by `shares` (1 + R, S), of records that count by `times` (1 + R, N)."""
    tables = [_weighted(statistic, run)(times) for run in runs]
    means = np.einsum("rs,srk->rk", shares, np.stack(tables))  # tables: (S, 1 + R, statistics)
    return pd.DataFrame(means, columns=tables[0].columns)


def _weighted(statistic, predictions):
    """Function from weights of the records, (R, N), to R rows of the statistic: at once where it has such a form."""
    if statistic in _AT_ONCE:
        return _AT_ONCE[statistic](predictions)
    return draw_by_draw(lambda rows: statistic(predictions.iloc[rows]))


def draw_by_draw(statistic):
    """The same for a statistic of the rows drawn."""
    return lambda times: pd.DataFrame([statistic(np.repeat(np.arange(len(each)), each)) for each in times])


def drawn_counts(patient_id, resamples, seed):
    """How often each record counts: once, in the first row, and as often as `resampled_counts` draws it, in the others."""
    if not len(patient_id):
        raise ParameterError("there are no predictions to evaluate: check the run, and the split (validation or test).")
    return np.array([np.ones(len(patient_id), dtype=int), *resampled_counts(patient_id, resamples, seed)])


def percentiles(estimate, drawn):
    bounds = drawn.quantile([0.025, 0.975])  # skips NaN
    table = pd.DataFrame({"estimate": estimate, "low": bounds.loc[0.025], "high": bounds.loc[0.975]})
    return table.rename_axis("statistic")


def resampled_counts(patient_id, resamples, seed) -> Iterator[np.ndarray]:
    """How often each record is drawn in each resample: as often as its patient."""
    patients, patient = np.unique(patient_id, return_inverse=True)  # patient: (N,) index of each record's patient
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        times = np.bincount(rng.integers(len(patients), size=len(patients)), minlength=len(patients))
        yield times[patient]


# statistics that take all draws at once; any other is computed draw by draw
_AT_ONCE = {metrics: weighted_metrics, subgroup_metrics: partial(weighted_metrics, names=STATISTICS)}
