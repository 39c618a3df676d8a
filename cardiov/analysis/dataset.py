"""Tables 1 and 2: what a data set holds, and how far details of the label rule decide.

``records`` are of `cardiov.data.ptbxl.read_metadata`, or of `cardiov.store.results.read_records`.
"""

import pandas as pd

from cardiov import mapping
from cardiov.mapping import CLASSES

SUPERCLASSES = ["NORM", "MI", "STTC", "CD", "HYP"]
SPLITS = ["train", "validation", "test"]
LABELS = {"most-likely": "critical_value", "highest-risk": "critical_value_highest_risk"}  # by rule


def _sexes(records):
    """Once per patient."""
    return records.groupby("patient_id")["sex"].first()


def superclass_counts(records: pd.DataFrame) -> pd.Series:
    """Records of each diagnostic superclass; a record may belong to several."""
    return records["superclasses"].str.get_dummies(";").sum().reindex(SUPERCLASSES, fill_value=0)


def split_counts(records: pd.DataFrame) -> pd.Series:
    """Records of each split."""
    return records["split"].value_counts().reindex(SPLITS, fill_value=0)


def characteristics(records: pd.DataFrame) -> pd.Series:
    """Table 1: counts of records and patients, and ages in whole years, by ``quantity``."""
    people, sex, age = _sexes(records), records["sex"], records["age"]
    counts = pd.Series({
        "records": len(records), "patients": len(people),
        "male patients": (people == "male").sum(), "female patients": (people == "female").sum(),
        "records of men": (sex == "male").sum(), "records of women": (sex == "female").sum(),
        "lowest age": age.min(), "median age": age.median().round(), "highest age": age.max(),
        "records at age 90 or over": records["age_90_or_over"].sum(), "records without age": age.isna().sum(),
    })  # fmt: skip
    groups = (superclass_counts(records), split_counts(records))
    return pd.concat([counts, *(group.add_prefix("records ") for group in groups)]).rename_axis("quantity").astype(int)


def summary(records: pd.DataFrame) -> dict:
    """What is compared with published numbers; ``male_share`` is of the patients, the other shares are of the records."""
    labels = records["critical_value"].value_counts().reindex(CLASSES, fill_value=0)
    return {
        "records": len(records), "patients": records["patient_id"].nunique(),
        "male_share": (_sexes(records) == "male").mean(), "male_record_share": (records["sex"] == "male").mean(),
        "age_min": int(records["age"].min()), "age_max": int(records["age"].max()), "tie_share": records["tie"].mean(),
        **superclass_counts(records), **split_counts(records), **labels.add_prefix("value_"),
    }  # fmt: skip


def _deciding(records):
    """The statement that gives each record its label by the rule "most-likely"."""
    return records["scp_codes"].map(mapping.deciding_statement)


def statement_counts(records: pd.DataFrame) -> pd.DataFrame:
    """By each of the 71 statements, the ``records`` that state it, and those whose label by "most-likely" it ``decides``."""
    counts = {"records": records["scp_codes"].map(list).explode(), "decides": _deciding(records)}
    statements = mapping.statements().index
    return pd.DataFrame({name: column.value_counts().reindex(statements, fill_value=0) for name, column in counts.items()})


def label_counts(records: pd.DataFrame) -> pd.DataFrame:
    """Records of each critical value (columns 0 to 3), by label ``rule`` and ``split``; the split "all" is their sum."""
    tables = {}
    for rule, label in LABELS.items():
        table = pd.crosstab(records["split"], records[label]).reindex(index=SPLITS, columns=CLASSES, fill_value=0)
        tables[rule] = pd.concat([table.sum().to_frame("all").T, table]).rename_axis("split")
    return pd.concat(tables, names=["rule"]).rename_axis(columns="critical_value")


def label_decisions(records: pd.DataFrame) -> pd.DataFrame:
    """How far details of the label rule decide: ``records`` by ``question``, and their ``share``."""
    step = records["critical_value_highest_risk"] - records["critical_value"]
    deciding = _deciding(records)
    afib = records["scp_codes"].map(lambda codes: "AFIB" in codes)
    answers = pd.DataFrame({
        "a tie decides": records["tie"], "the two rules differ": step > 0, "the two rules differ by 2 or more": step > 1,
        "a rhythm statement decides": deciding.map(mapping.statements()["kind"]) == "rhythm",
        "AFIB is stated": afib, "AFIB is stated and decides": deciding == "AFIB",
    })  # fmt: skip
    return pd.DataFrame({"records": answers.sum(), "share": answers.mean()}).rename_axis("question")
