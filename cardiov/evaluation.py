"""Metrics of a run's predictions and their confidence intervals.

Every function takes the predictions table that a run leaves in ``predictions.csv``: one row a record, with
``patient_id``, the label ``critical_value``, the network's outputs ``output_1`` ..., a score for each critical value
``p0`` to ``p3`` and the decoded ``predicted``. Scores need not be probabilities: an ordinal run's may be negative
(Eq. 6), and a regression's is minus the distance between its output and the critical value. An ROC curve only uses
their order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import binomtest, fisher_exact, norm, rankdata
from scipy.stats.contingency import odds_ratio
from sklearn.metrics import confusion_matrix, roc_curve

from cardiov.errors import DataSetError, ParameterError
from cardiov.mapping import LEVELS

CLASSES = range(len(LEVELS))
SCORES = [f"p{k}" for k in CLASSES]
THRESHOLDS = len(LEVELS) - 1
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
    return _unweighted(_weighted_metrics(predictions), len(predictions))


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
    return ((below - (label[:, None] <= np.arange(THRESHOLDS))) ** 2).sum(axis=1)


def _confidence_excess(probabilities, label, bins=BINS):
    """By how much the highest probability exceeds being right (1) or wrong (0), each record in its bin: (N, bins)."""
    highest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == label
    return np.eye(bins)[bin_of(highest, bins)] * (highest - right)[:, None]


def _unweighted(evaluate, n):
    return evaluate(np.ones((1, n))).iloc[0].rename(None)


def _weighted_metrics(predictions, names=METRICS):
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
    above = [scores[:, k + 1 :].sum(axis=1).round(9) for k in range(THRESHOLDS)]  # equal sums stay ties
    return pd.Series({f"auc_above_{k}": auc(label > k, score) for k, score in enumerate(above)})


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
    return intervals(_weighted(statistic, predictions)(_drawn(predictions["patient_id"], resamples, seed)))


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
    times = _drawn(first["patient_id"], resamples, seed)
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
        Predictions of the same records by training seed, from `cardiov.results.read_seeds`.
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
    times = _drawn(runs[0]["patient_id"], resamples, seed)
    rng, rest = np.random.default_rng([seed, 1]), iter(runs)
    shares = [_drawn_runs(len(recipe), resamples, rng) for recipe in recipes]
    return [_seed_means([next(rest) for _ in share.T], statistic, times, share) for share in shares]


def intervals(draws: pd.DataFrame) -> pd.DataFrame:
    """Estimates, from the first row, and 95 % percentile intervals, from the other rows; a table as of `bootstrap`."""
    return _percentiles(draws.iloc[0], draws.iloc[1:])


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

    Raises
    ------
    ParameterError
        If the runs hold different records or labels, or none.
    """
    runs = _aligned([*runs.values()])
    times = _drawn(runs[0]["patient_id"], resamples, seed)
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
    return _draw_by_draw(lambda rows: statistic(predictions.iloc[rows]))


def _draw_by_draw(statistic):
    """The same for a statistic of the rows drawn."""
    return lambda times: pd.DataFrame([statistic(np.repeat(np.arange(len(each)), each)) for each in times])


def _drawn(patient_id, resamples, seed):
    """How often each record counts: once, in the first row, and as often as `_resampled` draws it, in the others."""
    if not len(patient_id):
        raise ParameterError("there are no predictions to evaluate: check the run, and the split (validation or test).")
    return np.array([np.ones(len(patient_id), dtype=int), *_resampled(patient_id, resamples, seed)])


def _percentiles(estimate, drawn):
    bounds = drawn.quantile([0.025, 0.975])  # skips NaN
    table = pd.DataFrame({"estimate": estimate, "low": bounds.loc[0.025], "high": bounds.loc[0.975]})
    return table.rename_axis("statistic")


def _resampled(patient_id, resamples, seed) -> Iterator[np.ndarray]:
    """How often each record is drawn in each resample: as often as its patient."""
    patients, patient = np.unique(patient_id, return_inverse=True)  # patient: (N,) index of each record's patient
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        times = np.bincount(rng.integers(len(patients), size=len(patients)), minlength=len(patients))
        yield times[patient]


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


# Subgroups (Table 5)

OLDER = 65  # years: the paper parts its subgroups here
COMPARISONS = {"male - female": ("male", "female"), "age < 65 - age >= 65": ("age < 65", "age >= 65")}
POWER = 0.8  # at which a difference counts as detectable
STATISTICS = pd.Index(["mae", "accuracy", *F1S, *AUCS])


def with_people(predictions: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Predictions with ``sex``, ``age`` and ``age_90_or_over`` of each record.

    Parameters
    ----------
    predictions : DataFrame
    records : DataFrame
        From `cardiov.results.read_records`, indexed by ``ecg_id``.

    Raises
    ------
    DataSetError
        If a predicted record is not among the records.
    """
    unknown = predictions.loc[~predictions["ecg_id"].isin(records.index), "ecg_id"]
    if len(unknown):
        raise DataSetError(
            f"{len(unknown)} predicted records are not in records.csv, the first being {unknown.iloc[0]}: run notebook "
            "01 and the training on the same data set."
        )
    return predictions.join(records[["sex", "age", "age_90_or_over"]], on="ecg_id")


def subgroups(people: pd.DataFrame) -> pd.DataFrame:
    """Which record is in which subgroup of Table 5, by the age at the time of the record.

    Returns
    -------
    DataFrame of bool
        One row a record; ``all``, ``male``, ``female``, ``age < 65``, ``age >= 65`` and ``age unknown``. A patient who
        turned 65 between two records is in both age groups.
    """
    sex, age = people["sex"], people["age"]
    return pd.DataFrame({
        "all": sex.notna(), "male": sex == "male", "female": sex == "female",
        f"age < {OLDER}": age < OLDER, f"age >= {OLDER}": age >= OLDER, "age unknown": age.isna(),
    })  # fmt: skip


def subgroup_counts(people: pd.DataFrame) -> pd.DataFrame:
    """Records, patients, records of each critical value and of a hidden age, by subgroup.

    Returns
    -------
    DataFrame
        Indexed by ``subgroup``: ``records``, ``patients``, ``class_0`` to ``class_3`` and ``age_90_or_over``, the
        records that version 1.0.3 of PTB-XL stores with the age 300; they are in the older group.
    """
    counts = {name: _counted(people[inside]) for name, inside in subgroups(people).items()}
    return pd.DataFrame(counts).T.rename_axis("subgroup")


def _counted(group):
    classes = {f"class_{k}": (group["critical_value"] == k).sum() for k in CLASSES}
    people = {"records": len(group), "patients": group["patient_id"].nunique()}
    return pd.Series(people | classes | {"age_90_or_over": group["age_90_or_over"].sum()})


def subgroup_metrics(predictions: pd.DataFrame) -> pd.Series:
    """The metrics of Table 5.

    Returns
    -------
    Series
        ``mae``, ``accuracy``, ``f1_0`` to ``f1_3`` of each critical value and their mean ``f1_macro``, ``auc_0`` to
        ``auc_3`` and ``auc_mean``. F1 and AUC of a class without records are NaN, and so are the means over the
        classes, which would otherwise be other quantities in one subgroup than in the next.
    """
    return _unweighted(_weighted_metrics(predictions, STATISTICS), len(predictions))


# statistics that take all draws at once; any other is computed draw by draw
_AT_ONCE = {metrics: _weighted_metrics, subgroup_metrics: partial(_weighted_metrics, names=STATISTICS)}


def subgroup_table(people: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Table 5: the metrics of each subgroup with intervals over its patients.

    Records of unknown age are in no age group; `subgroup_counts` counts them.

    Returns
    -------
    DataFrame
        Indexed by ``subgroup`` (those that have records) and ``statistic``, with ``estimate``, ``low``, ``high`` and
        ``note``, which says for a statistic that is undefined which classes are absent.
    """
    groups = {name: people[inside] for name, inside in subgroups(people).items() if name != "age unknown"}
    tables = {name: _noted(group, resamples, seed) for name, group in groups.items() if len(group)}
    return pd.concat(tables, names=["subgroup"])


def _noted(group, resamples, seed):
    evaluate = _weighted_metrics(group, STATISTICS)
    table = _percentiles(subgroup_metrics(group), evaluate(list(_resampled(group["patient_id"], resamples, seed))))
    absent = [str(k) for k in CLASSES if not (group["critical_value"] == k).any()]
    reason = f"no record of class {' and '.join(absent)}" if absent else "no record of another class"
    return table.assign(note=np.where(table["estimate"].isna(), f"undefined: {reason}", ""))


def subgroup_differences(
    people: pd.DataFrame, resamples: int = 1000, permutations: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Differences male - female and younger - older, with intervals, tests and what the data could have shown.

    Intervals resample all patients at once, so that one with records in both age groups counts in both. The test
    permutes the group over patients (Good 2005, Permutation, Parametric and Bootstrap Tests, chapter 3): its null
    hypothesis is that a patient's labels and scores do not depend on the group. Patients with records in both groups,
    or of unknown age, stay as they are, for their records are not exchangeable with those of others.

    Returns
    -------
    DataFrame
        Indexed by ``difference`` (the keys of `COMPARISONS`) and ``statistic``, with ``estimate``, ``low``, ``high``;
        ``p``, two-sided; ``p_holm``, adjusted for all tests of this table; ``excluded_beyond``, the larger end of the
        interval without its sign: the interval excludes differences beyond it in either direction; ``detectable``,
        the difference that a 5 % test on as many patients finds with a probability of 80 % (by the normal
        approximation, from the interval's width).
    """
    groups = subgroups(people)
    tables = {}
    for name, (first, second) in COMPARISONS.items():
        side = groups[first].to_numpy() * 1 - groups[second].to_numpy() * 1  # (N,), 0 in neither
        tables[name] = _tested(people, side, resamples, permutations, seed)
    table = pd.concat(tables, names=["difference"])
    table["p_holm"] = holm(table["p"])
    table["excluded_beyond"] = table[["low", "high"]].abs().max(axis=1, skipna=False)
    in_widths = (norm.ppf(0.975) + norm.ppf(POWER)) / (2 * norm.ppf(0.975))
    table["detectable"] = in_widths * (table["high"] - table["low"])
    return table


def _tested(people, side, resamples, permutations, seed):
    evaluate, patient_id = _weighted_metrics(people, STATISTICS), people["patient_id"]

    def differences(times, sides):
        return evaluate(times * (sides == 1)) - evaluate(times * (sides == -1))

    observed = differences(np.ones((1, len(people))), side).iloc[0]
    resampled = differences(np.array(list(_resampled(patient_id, resamples, seed))), side)
    permuted = differences(1, np.array(list(_permuted_sides(side, patient_id, permutations, seed))))
    return _percentiles(observed, resampled).assign(p=_p_value(observed, permuted))


def _p_value(observed, drawn):
    """Two-sided; the observed division is one of the possible ones (Phipson & Smyth 2010)."""
    as_far = (drawn.abs() >= observed.abs() - 1e-12).sum()
    # a draw in which a class is absent from one side has no value to compare
    return ((1 + as_far) / (1 + drawn.notna().sum())).where(observed.notna())


def _permuted_sides(side, patient_id, permutations, seed) -> Iterator[np.ndarray]:
    """The side of each record (N,) when patients wholly on one side swap sides at random."""
    patient = np.unique(patient_id, return_inverse=True)[1]
    ends = pd.Series(side).groupby(patient).agg(["min", "max"]).to_numpy()
    movable = (ends[:, 0] == ends[:, 1]) & (ends[:, 0] != 0)  # (patients,)
    rng = np.random.default_rng(seed)
    for _ in range(permutations):
        permuted = ends[:, 0].copy()
        permuted[movable] = rng.permutation(permuted[movable])
        yield np.where(movable[patient], permuted[patient], side)


def holm(p: pd.Series) -> pd.Series:
    """Adjust p-values for their number, so that one false finding in all is as rare as p says (Holm 1979).

    A NaN is no test and stays NaN.
    """
    ordered = p.dropna().sort_values()
    adjusted = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1)
    return adjusted.reindex(p.index)


# Agreement of a further reader with label and model


def sides(wrong: pd.DataFrame) -> pd.Series:
    """With whom a further reader sides, on records that the model predicts wrongly.

    Parameters
    ----------
    wrong : DataFrame
        Predictions whose ``predicted`` differs from the label ``critical_value``, with the reader's ``reading``.

    Returns
    -------
    Series of int
        Records by side: ``label``, ``model``, ``neither``.

    Raises
    ------
    ParameterError
        If a record is predicted rightly: there the reader would side with both.
    """
    label, model, reading = wrong["critical_value"], wrong["predicted"], wrong["reading"]
    if (label == model).any():
        raise ParameterError("some of the records are predicted rightly: keep those whose prediction is not the label.")
    counts = {"label": (reading == label).sum(), "model": (reading == model).sum()}
    return pd.Series(counts | {"neither": len(wrong) - sum(counts.values())}).rename_axis("side")


def side_shares(counts: pd.Series) -> pd.DataFrame:
    """Share of each side with its exact 95 % interval (Clopper & Pearson 1934).

    Returns
    -------
    DataFrame
        Indexed as ``counts``, with ``records``, ``share``, ``low`` and ``high``. Records count as independent, as if
        each were another patient's.
    """
    rows = [exact_share(count, counts.sum()) for count in counts]
    return pd.DataFrame(rows, counts.index, columns=["share", "low", "high"]).assign(records=counts)[
        ["records", "share", "low", "high"]
    ]


def exact_share(count: int, total: int) -> list[float]:
    """A share and its exact 95 % interval (Clopper & Pearson 1934): share, low, high; NaN where there is no record."""
    if not total:
        return [np.nan] * 3
    interval = binomtest(int(count), int(total)).proportion_ci(0.95, method="exact")
    return [count / total, interval.low, interval.high]


def preference(counts: pd.Series) -> pd.Series:
    """Does a reader side with the model more often than with the label? The exact McNemar test.

    On wrongly predicted records a reader agrees with the label, or with the model, or with neither; those who agree
    with one of them are the discordant pairs of the paired table, which are compared with a fair coin.

    Returns
    -------
    Series
        ``estimate``, the model's share of the records on which the reader sides with either, its exact ``low`` and
        ``high``, and the two-sided ``p``; NaN where the reader sides with neither everywhere.
    """
    decided = int(counts["label"] + counts["model"])
    p = binomtest(int(counts["model"]), decided, 0.5).pvalue if decided else np.nan
    values = [*exact_share(counts["model"], decided), p]
    return pd.Series(values, ["estimate", "low", "high", "p"])


def reader_kappas(wrong: pd.DataFrame) -> pd.Series:
    """Quadratically weighted kappa of a reader with the label and with the model, and model - label; for `bootstrap`.

    On wrongly predicted records alone, kappa is lower than on all: those on which label and model agree are left out.
    """
    reading = wrong["reading"].to_numpy()
    label, model = (quadratic_kappa(wrong[name].to_numpy(), reading) for name in ("critical_value", "predicted"))
    return pd.Series({"kappa_label": label, "kappa_model": model, "kappa_model_minus_label": model - label})


# Cases: the graver errors, what was annotated of their signals, and what disturbed signals do

NOISE = ["baseline_drift", "static_noise", "burst_noise", "electrodes_problems"]
HIGH_FREQUENCY = ["static_noise", "burst_noise"]
FIGURE_4 = {"fig4_left": "IMI", "fig4_right": "PAC"}  # old inferior infarction, atrial premature complexes
STRESS_METRICS = ["mae", "auc_mean"]


def case_table(predictions: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Predictions with the records' statements and annotations of noise, the gravest error first.

    Returns
    -------
    DataFrame
        ``ecg_id``, ``patient_id``, ``critical_value``, ``predicted``, ``error`` (absolute), ``statements`` with their
        likelihoods, the columns of `NOISE` (where the noise is, as annotated), and ``p0`` to ``p3``. Of equal errors,
        the one that gives the label the lower score comes first, then the lower ``ecg_id``.
    """
    noted = records[NOISE].astype(object).apply(lambda column: column.str.strip(" ,"))  # " , V1,  " in PTB-XL
    table = predictions.join(records[["statements"]].join(noted), on="ecg_id")
    table["error"] = (table["predicted"] - table["critical_value"]).abs()
    score = table[SCORES].to_numpy()[np.arange(len(table)), table["critical_value"]]
    table = table.assign(score=score).sort_values(["error", "score", "ecg_id"], ascending=[False, True, True])
    columns = ["ecg_id", "patient_id", "critical_value", "predicted", "error", "statements", *NOISE, *SCORES]
    return table[columns].reset_index(drop=True)


def choose_cases(cases: pd.DataFrame) -> pd.DataFrame:
    """The wrongly predicted records that stand for those of Figs. 3 and 4, by rule.

    Always the gravest error of its kind: annotated baseline drift (``fig3_drift``); annotated static or burst noise,
    but no drift (``fig3_noise``); no annotation, an error of 2 or more and, among the statements, IMI (``fig4_left``)
    or PAC (``fig4_right``). Where there is none with that statement, the gravest of those left without an annotation
    takes its place.

    Parameters
    ----------
    cases : DataFrame
        From `case_table`.

    Returns
    -------
    DataFrame
        Its rows, indexed by ``figure``, and ``why`` each was chosen; a figure for which there is no error at all is
        left out.
    """
    wrong = cases[cases["error"] > 0]
    drift, noise = wrong["baseline_drift"].notna(), wrong[HIGH_FREQUENCY].notna().any(axis=1)
    chosen = {"fig3_drift": wrong[drift][:1], "fig3_noise": wrong[noise & ~drift][:1]}
    left = wrong[wrong[NOISE].isna().all(axis=1)]
    for figure, statement in FIGURE_4.items():
        stated = left["statements"].str.contains(f"(?:^|;){statement}:")
        chosen[figure] = left[stated & (left["error"] >= 2)][:1]
        left = left.drop(chosen[figure].index)
    why = {"fig3_drift": "drift", "fig3_noise": "high-frequency noise, no drift"} | FIGURE_4
    for figure, statement in FIGURE_4.items():
        if chosen[figure].empty:
            chosen[figure], why[figure] = left[:1], f"no such error with {statement}: the gravest left"
            left = left.drop(chosen[figure].index)
    table = pd.concat(chosen, names=["figure", None]).droplevel(1)
    return table.assign(why=table.index.map(why))


def error_odds(cases: pd.DataFrame) -> pd.DataFrame:
    """Are records with annotated noise predicted worse? Odds ratios of 2 x 2 counts.

    Exact conditional intervals and Fisher's test (Fisher 1935), so that a count of zero gives an odds ratio of 0 or
    infinity with an honest interval, not a correction. Records count as independent; those of one patient are not,
    so with several records a patient the intervals are somewhat too narrow.

    Parameters
    ----------
    cases : DataFrame
        From `case_table`, all records: also the rightly predicted ones.

    Returns
    -------
    DataFrame
        Indexed by ``outcome`` ("wrong", "error of 2 or more") and ``annotation`` (`NOISE`, or "any of them"):
        ``annotated_with`` and ``annotated_without`` the outcome, ``others_with`` and ``others_without``, the
        ``odds_ratio`` with its 95 % interval ``low`` to ``high``, and ``p``. Where nothing is annotated the odds ratio
        is NaN and the interval runs from 0 to infinity.
    """
    marks = cases[NOISE].notna().rename(columns=lambda name: name.replace("_", " "))
    marks["any of them"] = marks.any(axis=1)
    outcomes = {"wrong": cases["error"] > 0, "error of 2 or more": cases["error"] >= 2}
    rows = {(outcome, name): _odds(marks[name], bad) for outcome, bad in outcomes.items() for name in marks}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["outcome", "annotation"])


def _odds(annotated, bad):
    counts = [[int((side & bad).sum()), int((side & ~bad).sum())] for side in (annotated, ~annotated)]
    ratio = odds_ratio(counts, kind="conditional")
    names = ("annotated_with", "annotated_without", "others_with", "others_without")
    found = dict(zip(names, sum(counts, []), strict=True)) | {"odds_ratio": ratio.statistic}
    return found | ratio.confidence_interval(0.95)._asdict() | {"p": fisher_exact(counts).pvalue}


def stress_metrics(stressed: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """MAE and mean AUC under each disturbance, and how much worse they are than undisturbed.

    All conditions are evaluated on the same resampled patients, so the differences are paired.

    Parameters
    ----------
    stressed : DataFrame
        From `cardiov.stress.read_stressed`, with ``patient_id`` and ``critical_value`` of each record; every record
        under every condition, the undisturbed one first.
    resamples, seed : int
        As in `bootstrap`.

    Returns
    -------
    DataFrame
        Indexed by ``disturbance``, ``strength`` and ``statistic`` ("mae", "auc_mean", "mae_difference" and
        "auc_mean_difference", disturbed - undisturbed), with ``estimate``, ``low`` and ``high``.

    Raises
    ------
    ParameterError
        If there are no records, or not all of them under every condition.
    """
    groups = dict(iter(stressed.sort_values("ecg_id").groupby(["disturbance", "strength"], sort=False)))
    order = list(stressed[["disturbance", "strength"]].drop_duplicates().itertuples(index=False, name=None))
    first = groups[order[0]] if order else stressed
    if any(not np.array_equal(group["ecg_id"], first["ecg_id"]) for group in groups.values()):
        raise ParameterError("some records lack some disturbances: run `python -m cardiov stress` again.")
    label = first["critical_value"].to_numpy()
    predicted = np.array([groups[key]["predicted"] for key in order])  # (conditions, N)
    scores = np.array([groups[key][SCORES].T for key in order])  # (conditions, 4, N)

    def statistic(rows):
        return pd.Series(_under_conditions(label[rows], predicted[:, rows], scores[..., rows]).ravel())

    table = intervals(_draw_by_draw(statistic)(_drawn(first["patient_id"], resamples, seed)))
    names = [*STRESS_METRICS, *(f"{name}_difference" for name in STRESS_METRICS)]
    index = pd.MultiIndex.from_tuples([(*key, name) for key in order for name in names])
    return table.set_axis(index.rename(["disturbance", "strength", "statistic"]))


def _under_conditions(label, predicted, scores):
    """MAE and mean AUC of each condition, and their differences to the first: (conditions, 4)."""
    mae = np.abs(predicted - label).mean(axis=1)
    aucs = np.broadcast_arrays(*(auc(label == k, scores[:, k]) for k in CLASSES))
    found = np.stack([mae, np.mean(aucs, axis=0)], axis=1)
    return np.hstack([found, found - found[0]])
