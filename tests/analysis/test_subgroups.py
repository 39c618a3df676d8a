"""Table 5: groups by hand, intervals, and permutation tests against scipy."""

import numpy as np
import pandas as pd
import pytest
from predictions import SIX, people
from scipy import stats

from cardiov.analysis.metrics import subgroup_metrics
from cardiov.analysis.resampling import bootstrap
from cardiov.analysis.subgroups import (
    SEX_BY_AGE,
    _permuted_sides,
    adjusted_table,
    subgroup_counts,
    subgroup_differences,
    subgroup_table,
    subgroups,
    with_people,
)
from cardiov.errors import DataSetError


def test_people_are_joined_by_record():
    columns = {"sex": ["male", "female", "male"], "age": [50, np.nan, 90], "age_90_or_over": [False, False, True]}
    records = pd.DataFrame(columns, index=pd.Index([6, 5, 4], name="ecg_id")).assign(split="train")
    joined = with_people(SIX.iloc[3:], records)
    assert joined["sex"].tolist() == ["male", "female", "male"]
    assert joined["age"].fillna(-1).tolist() == [90, -1, 50] and joined["split"].tolist() == ["test"] * 3
    with pytest.raises(DataSetError, match="3 predicted records are not in records.csv, the first being 1"):
        with_people(SIX, records)


def test_subgroups_by_hand_with_hidden_and_missing_ages():
    table = SIX.assign(sex=["male", "male", "female", "male", "female", "female"], age=[64, 65, np.nan, 90, 64.9, 30],
                       age_90_or_over=[False, False, False, True, False, False])  # fmt: skip
    inside = subgroups(table)
    members = {name: table.loc[rows, "ecg_id"].tolist() for name, rows in inside.items()}
    assert members == {"all": [1, 2, 3, 4, 5, 6], "male": [1, 2, 4], "female": [3, 5, 6], "age < 65": [1, 5, 6],
                     "age >= 65": [2, 4], "age unknown": [3]}  # fmt: skip
    counts = subgroup_counts(table)
    assert counts.loc["all"].tolist() == [6, 4, 2, 1, 1, 2, 1]
    assert counts.loc["age < 65"].tolist() == [3, 2, 1, 0, 0, 2, 0]  # patient 1 is in both age groups
    assert counts.loc["age >= 65"].tolist() == [2, 2, 1, 0, 1, 0, 1]
    assert counts.loc["age unknown"].tolist() == [1, 1, 0, 1, 0, 0, 0]


def test_absent_classes_are_undefined_and_named():
    table = people()
    table = table[(table["sex"] == "male") | table["critical_value"].isin([0, 1])]
    table5 = subgroup_table(table, resamples=20)
    women = table5.loc["female"]
    undefined = ["f1_2", "f1_3", "f1_macro", "auc_2", "auc_3", "auc_mean"]
    assert women.index[women["estimate"].isna()].tolist() == undefined
    assert set(women.loc[undefined, "note"]) == {"undefined: no record of class 2 and 3"}
    assert women.loc[undefined, ["low", "high"]].isna().all(axis=None)
    assert (table5.loc["male", "note"] == "").all() and table5.loc["male", "estimate"].notna().all()
    alone = subgroup_table(table[table["critical_value"] == 0], resamples=20).loc["female"]
    assert alone.loc[["auc_0", "mae"], "note"].tolist() == ["undefined: no record of class 1 and 2 and 3", ""]


def test_a_subgroup_without_records_is_left_out():
    table5 = subgroup_table(people(sex="male"), resamples=5)
    assert table5.index.unique("subgroup").tolist() == ["all", "male", "age < 65", "age >= 65"]
    differences = subgroup_differences(people(sex="male"), resamples=5, permutations=5)
    assert differences.loc["male - female"].isna().all(axis=None)
    assert differences.loc["age < 65 - age >= 65", "p"].notna().all()


def test_subgroup_intervals_are_those_of_the_general_bootstrap():
    """All draws at once against one table per draw."""
    table = people()
    women = table[table["sex"] == "female"]
    expected = bootstrap(women, lambda drawn: subgroup_metrics(drawn), resamples=50, seed=2)
    table5 = subgroup_table(table, resamples=50, seed=2).loc["female"].drop(columns="note")
    pd.testing.assert_frame_equal(table5, expected, check_names=False)


def test_difference_intervals_draw_all_patients_once():
    def difference(drawn):
        younger = drawn["age"] < 65
        return subgroup_metrics(drawn[younger]) - subgroup_metrics(drawn[~younger])

    expected = bootstrap(people(), difference, resamples=50, seed=2)
    differences = subgroup_differences(people(), resamples=50, permutations=2, seed=2).loc["age < 65 - age >= 65"]
    pd.testing.assert_frame_equal(differences[["estimate", "low", "high"]], expected, check_names=False)
    beyond = differences.loc["mae", "excluded_beyond"]
    assert beyond == max(abs(differences.loc["mae", "low"]), abs(differences.loc["mae", "high"]))


def test_permutation_p_agrees_with_scipy():
    table = people(patient_id=np.arange(400))  # one record per patient, as SciPy's test permutes them
    wrong = (table["predicted"] != table["critical_value"]).astype(float)
    table = table.assign(sex=np.where((wrong == 1) & (np.arange(400) % 4 == 0), "male", table["sex"]))
    men = table["sex"] == "male"
    right = 1 - wrong
    test = stats.permutation_test((right[men], right[~men]), lambda a, b: a.mean() - b.mean(), n_resamples=2000, rng=1)
    row = subgroup_differences(table, resamples=5, permutations=2000).loc[("male - female", "accuracy")]
    assert 0.001 < test.pvalue < 0.3
    assert row["p"] == pytest.approx(test.pvalue, abs=0.03)
    assert row["estimate"] == pytest.approx(test.statistic)


def test_permutation_finds_a_real_difference_and_seldom_another():
    table = people()
    worse = table.assign(predicted=table["predicted"].where(table["sex"] == "female", 3 - table["critical_value"]))
    p = subgroup_differences(worse, resamples=5, permutations=99)["p"].unstack("difference")
    assert p.loc["mae", "male - female"] == 0.01  # the least that 99 permutations can give
    rng, below = np.random.default_rng(0), 0
    for trial in range(40):  # the sex of whole patients at random: about 5 of 100 p-values below 0.05
        sexes = rng.choice(["male", "female"], 300)[table["patient_id"]]
        differences = subgroup_differences(table.assign(sex=sexes), resamples=2, permutations=39, seed=trial)
        below += differences.loc[("male - female", "mae"), "p"] < 0.05
    assert below <= 6


def test_copied_records_do_not_make_a_difference_significant():
    """Ten copies of each record say no more than one: permuted by records, every p-value would be small."""
    table = people(patient_id=np.arange(400))
    copied = pd.concat([table] * 10, ignore_index=True)
    once, many = (subgroup_differences(some, 5, permutations=200)["p"] for some in (table, copied))
    assert many.tolist() == pytest.approx(once.tolist(), abs=0.02)


def test_patients_in_both_age_groups_stay_where_they_are():
    patient = np.array([1, 1, 2, 3, 4, 4, 5, 6])
    side = np.array([1, -1, 1, -1, 1, 1, -1, 0])  # patient 1 turns 65; the age of 6 is unknown
    draws = np.vstack(list(_permuted_sides(side, patient, 1200, seed=0)))
    assert draws.shape == (1200, 8)
    assert (draws[:, [0, 1, 7]] == [1, -1, 0]).all()
    assert (draws[:, 4] == draws[:, 5]).all()
    assert set(map(tuple, draws[:, [2, 3, 4, 6]])) == {(1, -1, 1, -1), (1, 1, -1, -1), (-1, 1, 1, -1),
                                                       (1, -1, -1, 1), (-1, -1, 1, 1), (-1, 1, -1, 1)}  # fmt: skip


def test_standardised_mae_by_hand():
    """Men err by 0 on value 0 and by 2 on value 3, women by 1 on each; half of all records are of value 0, a sixth of each other."""
    label = np.array([0] * 4 + [1, 2, 3, 0, 0, 1, 2, 3])
    predicted = np.array([0] * 4 + [1, 2, 1, 1, 1, 2, 3, 2])
    ids = {"ecg_id": range(12), "patient_id": range(12)}
    table = pd.DataFrame({**ids, "critical_value": label, "predicted": predicted, "sex": ["male"] * 7 + ["female"] * 5, "age": 50.0})
    table[["p0", "p1", "p2", "p3"]] = np.eye(4)[predicted]
    found = adjusted_table(table, resamples=50)["estimate"]
    assert found["male", "mae"] == pytest.approx(2 / 7) and found["female", "mae"] == 1
    assert found["male", "mae_standardised"] == pytest.approx(2 / 6) and found["female", "mae_standardised"] == pytest.approx(1)
    assert found["male - female", "mae_standardised"] == pytest.approx(-4 / 6) == found["male - female, age < 65", "mae_standardised"]
    assert found["all", "mae"] == pytest.approx(found["all", "mae_standardised"])
    assert np.isnan(found["age >= 65", "mae_standardised"])


def test_a_difference_of_the_mix_alone_is_adjusted_away():
    table = people(3, n=2000)
    rng = np.random.default_rng(1)
    often_ill = (table["critical_value"] == 3) & (rng.random(2000) < 0.8)
    table.loc[often_ill, "sex"], table["patient_id"] = "male", range(2000)
    table["predicted"] = table["critical_value"].where(table["critical_value"] < 3, 1)  # the same error in both sexes
    found = adjusted_table(table, resamples=50)
    assert found.loc[("male - female", "mae"), "low"] > 0.1
    assert found.loc[("male - female", "mae_standardised"), "estimate"] == pytest.approx(0, abs=1e-12)


def test_sex_is_divided_by_age_and_the_difference_of_differences_is_paired():
    table = people()
    found = adjusted_table(table, resamples=100)
    for name in SEX_BY_AGE:
        sex, age = name.split(", ")
        group = table[(table["sex"] == sex) & ((table["age"] < 65) == (age == "age < 65"))]
        expected = bootstrap(group, subgroup_metrics, resamples=2)["estimate"]
        assert found.loc[(name, "auc_mean"), "estimate"] == pytest.approx(expected["auc_mean"])
        assert found.loc[(name, "mae"), "estimate"] == pytest.approx(expected["mae"])
    first, second = (found.loc[(f"male - female, age {side} 65", "mae"), "estimate"] for side in ("<", ">="))
    last = found.loc[("male - female: age < 65 - age >= 65", "mae")]
    assert last["estimate"] == pytest.approx(first - second) and last["low"] < last["estimate"] < last["high"]
