"""Table 5: metrics by sex and age of ``people`` (see `with_people`), tests of the differences between these groups, and what
is left of the differences with equal shares of the critical values.
"""

import numpy as np
import pandas as pd
from scipy.stats import norm

from cardiov.analysis.metrics import STATISTICS, holm, subgroup_metrics, weighted_metrics
from cardiov.analysis.resampling import bootstrap, drawn_counts, intervals
from cardiov.errors import DataSetError
from cardiov.mapping import CLASSES

OLDER = 65  # years, from which the paper counts a patient as older
COMPARISONS = {"male - female": ("male", "female"), "age < 65 - age >= 65": ("age < 65", "age >= 65")}
BLOCK = 1000  # permutations at once: all of them would need gigabytes for thousands of records
POWER = 0.8  # at which a difference counts as detectable


def with_people(predictions: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Predictions with ``sex``, ``age`` and ``age_90_or_over`` from the records (`cardiov.store.results.read_records`).

    A predicted record that is not among the records is a DataSetError.
    """
    unknown = predictions.loc[~predictions["ecg_id"].isin(records.index), "ecg_id"]
    if len(unknown):
        cause = f"{len(unknown)} predicted records are not in records.csv, the first being {unknown.iloc[0]}"
        raise DataSetError(f"{cause}: run notebook 01 and the training on the same data set.")
    return predictions.join(records[["sex", "age", "age_90_or_over"]], on="ecg_id")


def subgroups(people: pd.DataFrame) -> pd.DataFrame:
    """Whether a record (row) is in a subgroup of Table 5 (column), by the age at the time of the record.

    A patient who turned 65 between two records is in both age groups.
    """
    sex, age = people["sex"], people["age"]
    return pd.DataFrame({
        "all": sex.notna(), "male": sex == "male", "female": sex == "female",
        f"age < {OLDER}": age < OLDER, f"age >= {OLDER}": age >= OLDER, "age unknown": age.isna(),
    })  # fmt: skip


def subgroup_counts(people: pd.DataFrame) -> pd.DataFrame:
    """``records`` and ``patients`` of each ``subgroup``, and records of ``class_0`` to ``class_3`` and ``age_90_or_over``.

    The last are those that version 1.0.3 of PTB-XL stores with the age 300; they are in the older group.
    """
    sums = pd.DataFrame({f"class_{k}": people["critical_value"] == k for k in CLASSES} | {"age_90_or_over": people["age_90_or_over"]})
    counts = {
        name: pd.Series({"records": inside.sum(), "patients": people["patient_id"][inside].nunique(), **sums[inside].sum()})
        for name, inside in subgroups(people).items()
    }
    return pd.DataFrame(counts).T.rename_axis("subgroup")


def subgroup_table(people: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Table 5: `bootstrap` of each ``subgroup`` that has records; ``note`` names the classes whose absence makes a NaN."""
    groups = {name: people[inside] for name, inside in subgroups(people).items() if name != "age unknown"}
    tables = {name: _with_note(group, resamples, seed) for name, group in groups.items() if len(group)}
    return pd.concat(tables, names=["subgroup"])


def _with_note(group, resamples, seed):
    table = bootstrap(group, subgroup_metrics, resamples, seed)
    absent = [str(k) for k in CLASSES if not (group["critical_value"] == k).any()]
    reason = f"no record of class {' and '.join(absent)}" if absent else "no record of another class"
    return table.assign(note=np.where(table["estimate"].isna(), f"undefined: {reason}", ""))


def subgroup_differences(people: pd.DataFrame, resamples: int = 1000, permutations: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Differences male - female and younger - older, with intervals, tests and what the data could have shown.

    The test permutes the group over patients (Good 2005, Permutation, Parametric and Bootstrap Tests, chapter 3). Patients
    with records in both groups, or of unknown age, keep theirs: their records are not exchangeable with others'.

    Indexed by ``difference`` (the keys of `COMPARISONS`) and ``statistic``: ``estimate``, ``low``, ``high``; ``p``, two-sided;
    ``p_holm``, adjusted for all tests of this table; ``excluded_beyond``, the absolute difference beyond which the interval
    excludes any; ``detectable``, what a 5 % test on as many patients finds with a probability of 80 % (by the normal
    approximation, from the interval's width).
    """
    groups = subgroups(people).astype(int)
    sides = {name: (groups[first] - groups[second]).to_numpy() for name, (first, second) in COMPARISONS.items()}  # (N,), 0 in neither
    table = pd.concat({name: _tested(people, side, resamples, permutations, seed) for name, side in sides.items()}, names=["difference"])
    table["p_holm"] = holm(table["p"])
    table["excluded_beyond"] = table[["low", "high"]].abs().max(axis=1, skipna=False)
    in_widths = (norm.ppf(0.975) + norm.ppf(POWER)) / (2 * norm.ppf(0.975))
    table["detectable"] = in_widths * (table["high"] - table["low"])
    return table


SEX_BY_AGE = [f"{sex}, {age}" for age in COMPARISONS["age < 65 - age >= 65"] for sex in COMPARISONS["male - female"]]
ADJUSTED = COMPARISONS | {
    "male - female, age < 65": tuple(SEX_BY_AGE[:2]), "male - female, age >= 65": tuple(SEX_BY_AGE[2:]),
    "male - female: age < 65 - age >= 65": ("male - female, age < 65", "male - female, age >= 65"),
}  # fmt: skip


def adjusted_table(people: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Metrics by sex, by age and by sex within age, and their differences, with 95 % intervals over patients.

    ``mae_standardised`` is the MAE that a group would have with the shares of the critical values that all records have (direct
    standardisation); ``auc_mean`` depends on them only by the mix of the rest. Indexed by ``group`` (groups, then the keys of
    `ADJUSTED`, the last of which is the difference between the two before it) and ``statistic``: ``estimate``, ``low``,
    ``high``. NaN if a group lacks a critical value; draws in which it does are left out.
    """
    groups = subgroups(people).drop(columns="age unknown")
    groups = groups.assign(**{name: groups[name.split(", ")].all(axis=1) for name in SEX_BY_AGE})
    counts = drawn_counts(people["patient_id"], resamples, seed)
    draws = {name: _adjusted(people, counts * inside.to_numpy()) for name, inside in groups.items()}
    for name, (first, second) in ADJUSTED.items():
        draws[name] = draws[first] - draws[second]
    return pd.concat({name: intervals(table) for name, table in draws.items()}, names=["group"])


@np.errstate(invalid="ignore")  # 0 / 0 is NaN: a draw without a record of a critical value
def _adjusted(people, counts):
    label = people["critical_value"].to_numpy()
    error = np.abs(people["predicted"].to_numpy() - label)
    of_class = [counts * (label == k) for k in CLASSES]
    maes = [inside @ error / inside.sum(axis=1) for inside in of_class]
    standardised = sum((label == k).mean() * mae for k, mae in zip(CLASSES, maes, strict=True))
    return weighted_metrics(people, counts, ["mae", "auc_mean"]).assign(mae_standardised=standardised)


def _tested(people, side, resamples, permutations, seed):
    def differences(counts, sides):
        first, second = (weighted_metrics(people, counts * (sides == sign), STATISTICS) for sign in (1, -1))
        return first - second

    draws = differences(drawn_counts(people["patient_id"], resamples, seed), side)
    blocks = _permuted_sides(side, people["patient_id"], permutations, seed)
    permuted = pd.concat([differences(1, block) for block in blocks])
    observed = draws.iloc[0]
    as_far = (permuted.abs() >= observed.abs() - 1e-12).sum()
    # two-sided; the observed division is one of the possible ones (Phipson & Smyth 2010), and a draw in which a class is
    # absent from one side has no value to compare
    p = (1 + as_far) / (1 + permuted.notna().sum())
    return intervals(draws).assign(p=p.where(observed.notna()))


def _permuted_sides(side, patient_id, permutations, seed):
    """The side of each record when patients wholly on one side swap sides at random, in blocks of permutations, (`BLOCK`, N)."""
    patient = np.unique(patient_id, return_inverse=True)[1]
    ends = pd.Series(side).groupby(patient).agg(["min", "max"]).to_numpy()
    movable = (ends[:, 0] == ends[:, 1]) & (ends[:, 0] != 0)  # (patients,)
    rng = np.random.default_rng(seed)
    for start in range(0, permutations, BLOCK):
        permuted = np.tile(ends[:, 0], (min(BLOCK, permutations - start), 1))
        permuted[:, movable] = rng.permuted(permuted[:, movable], axis=1)
        yield np.where(movable[patient], permuted[:, patient], side)
