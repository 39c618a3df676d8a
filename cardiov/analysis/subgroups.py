"""Table 5: metrics by sex and age, and tests of the differences between these groups."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import norm

from cardiov.analysis.metrics import STATISTICS, holm, subgroup_metrics, weighted_metrics
from cardiov.analysis.resampling import percentiles, resampled_counts
from cardiov.errors import DataSetError
from cardiov.mapping import CLASSES

OLDER = 65  # years: the paper parts its subgroups here
COMPARISONS = {"male - female": ("male", "female"), "age < 65 - age >= 65": ("age < 65", "age >= 65")}
POWER = 0.8  # at which a difference counts as detectable


def with_people(predictions: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Predictions with ``sex``, ``age`` and ``age_90_or_over`` of each record.

    Parameters
    ----------
    predictions : DataFrame
    records : DataFrame
        From `cardiov.store.results.read_records`, indexed by ``ecg_id``.

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
    evaluate = weighted_metrics(group, STATISTICS)
    table = percentiles(subgroup_metrics(group), evaluate(list(resampled_counts(group["patient_id"], resamples, seed))))
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
    evaluate, patient_id = weighted_metrics(people, STATISTICS), people["patient_id"]

    def differences(times, sides):
        return evaluate(times * (sides == 1)) - evaluate(times * (sides == -1))

    observed = differences(np.ones((1, len(people))), side).iloc[0]
    resampled = differences(np.array(list(resampled_counts(patient_id, resamples, seed))), side)
    permuted = differences(1, np.array(list(_permuted_sides(side, patient_id, permutations, seed))))
    return percentiles(observed, resampled).assign(p=_p_value(observed, permuted))


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
