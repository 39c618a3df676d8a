"""Tables 1 and 2, on four records that one can count by hand, and on the whole of PTB-XL."""

import pandas as pd
import pytest

from cardiov.analysis.dataset import characteristics, label_counts, label_decisions, statement_counts, summary
from cardiov.data.ptbxl import read_published


@pytest.fixture
def records():
    """Two records of one man, one of a woman of unknown age, one of a girl."""
    rows = [
        (7, "male", 64.0, False, "train", "NORM", 0, 0, False, {"NORM": 100.0, "SR": 0.0}),
        (7, "male", 67.0, False, "train", "MI;STTC", 3, 3, True, {"IMI": 50.0, "NDT": 50.0}),
        (8, "female", None, False, "validation", "", 2, 2, False, {"AFIB": 0.0}),
        (9, "female", 9.0, False, "test", "NORM", 0, 2, False, {"NORM": 80.0, "AFIB": 0.0}),
    ]
    columns = ["patient_id", "sex", "age", "age_90_or_over", "split", "superclasses", "critical_value",
               "critical_value_highest_risk", "tie", "scp_codes"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns, index=pd.Index([1, 2, 3, 4], name="ecg_id"))


def test_characteristics_count_people_once_and_ages_by_record(records):
    expected = {
        "records": 4, "patients": 3, "male patients": 1, "female patients": 2, "records of men": 2, "records of women": 2,
        "lowest age": 9, "median age": 64, "highest age": 67, "records at age 90 or over": 0, "records without age": 1,
        "records NORM": 2, "records MI": 1, "records STTC": 1, "records CD": 0, "records HYP": 0,
        "records train": 2, "records validation": 1, "records test": 1,
    }  # fmt: skip
    table = characteristics(records)
    assert table.to_dict() == expected and table.index.name == "quantity"
    assert table.dtype == int


def test_summary_has_shares_of_patients_and_of_records(records):
    numbers = summary(records)
    assert (numbers["male_share"], numbers["male_record_share"], numbers["tie_share"]) == (1 / 3, 0.5, 0.25)
    assert [numbers[f"value_{k}"] for k in range(4)] == [2, 0, 1, 1]
    assert (numbers["age_min"], numbers["age_max"], numbers["NORM"], numbers["test"]) == (9, 67, 2, 1)


def test_a_statement_is_counted_where_it_is_stated_and_where_it_decides(records):
    counts = statement_counts(records)
    assert len(counts) == 71 and counts["decides"].sum() == 4
    assert counts.loc[["NORM", "AFIB", "IMI", "NDT", "SR"]].to_numpy().tolist() == [[2, 2], [2, 1], [1, 1], [1, 0], [1, 0]]
    assert counts.loc["WPW"].tolist() == [0, 0]


def test_label_counts_have_every_split_and_critical_value(records):
    counts = label_counts(records)
    assert counts.loc["most-likely"].to_numpy().tolist() == [[2, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]]
    assert counts.loc["highest-risk"].to_numpy().tolist() == [[1, 0, 2, 1], [1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 1, 0]]
    assert counts.loc["most-likely"].index.tolist() == ["all", "train", "validation", "test"]
    assert counts.index.names == ["rule", "split"]


def test_label_decisions_answer_each_question(records):
    table = label_decisions(records)
    expected = {"a tie decides": 1, "the two rules differ": 1, "the two rules differ by 2 or more": 1,
                "a rhythm statement decides": 1, "AFIB is stated": 2, "AFIB is stated and decides": 1}  # fmt: skip
    assert table["records"].to_dict() == expected
    assert table["share"].tolist() == [count / 4 for count in expected.values()]


def test_the_whole_of_ptbxl():
    """The counts that are published, and the share of ties, which was counted by other code."""
    whole = read_published("1.0.1")
    numbers = summary(whole)
    published = {"records": 21837, "patients": 18885, "NORM": 9528, "MI": 5486, "STTC": 5250, "CD": 4907, "HYP": 2655,
                 "train": 17441, "validation": 2193, "test": 2203, "age_min": 2, "age_max": 95,
                 "value_0": 9148, "value_1": 5322, "value_2": 3241, "value_3": 4126}  # fmt: skip
    assert published.items() <= numbers.items()
    assert (round(numbers["tie_share"], 3), round(numbers["male_record_share"], 3)) == (0.157, 0.521)
    labels = label_counts(whole).loc["most-likely"]
    assert labels.loc["all"].tolist() == [9148, 5322, 3241, 4126]
    assert statement_counts(whole)["decides"].sum() == 21837 == label_counts(whole).xs("all", level="split").sum(axis=1).mean()
