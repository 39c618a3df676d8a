"""Table 2 and the two label rules, against labels worked by hand and the real sample."""

import os
from ast import literal_eval
from pathlib import Path

import pandas as pd
import pytest

from cardiov.errors import ParameterError, StatementError
from cardiov.mapping import critical_value, in_words, statements, tie_decides

SHARED = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[2] / "shared"))
SAMPLE = SHARED / "ptbxl-sample"
needs_sample = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample of PTB-XL is not here (CARDIOV_SHARED)")

# worked by hand: scp_codes, most likely, highest risk, whether a tie decides
WORKED = [
    ({"NORM": 100.0}, 0, 0, False),
    ({"NORM": 80.0, "SBRAD": 0.0}, 0, 1, False),  # the rhythm statement's likelihood is unknown, written 0
    ({"NORM": 100.0, "AFIB": 0.0}, 0, 2, False),
    ({"AFIB": 0.0}, 2, 2, False),  # alone, a statement of likelihood 0 decides
    ({"IMI": 100.0, "LAFB": 100.0}, 3, 3, True),
    ({"LAFB": 100.0, "IMI": 100.0}, 1, 3, True),  # the order decides
    ({"ISC_": 50.0, "LVH": 100.0, "IMI": 15.0}, 2, 3, False),
    ({"SR": 0.0, "WPW": 0.0}, 0, 3, True),
    ({"1AVB": 100.0, "LAFB": 100.0, "IMI": 35.0}, 1, 3, False),  # tied, but both are 1
]


@pytest.mark.parametrize(("scp_codes", "likely", "highest", "tie"), WORKED)
def test_worked_labels(scp_codes, likely, highest, tie):
    assert critical_value(scp_codes) == critical_value(scp_codes, rule="most-likely") == likely
    assert critical_value(scp_codes, rule="highest-risk") == highest
    assert tie_decides(scp_codes) is tie


def test_table_2_holds_71_statements():
    table = statements()
    assert len(table) == 71 and table.index.is_unique
    assert table["critical_value"].value_counts().sort_index().tolist() == [3, 28, 26, 14]
    assert set(table.index[table["critical_value"] == 0]) == {"NORM", "SR", "NT_"}
    assert (table[["description", "scp_category"]] != "").all(axis=None)
    assert table["description"].is_unique
    # PTB-XL: 44 diagnostic, 19 form and 12 rhythm statements, 4 of them diagnostic and form
    assert table["kind"].value_counts().to_dict() == {"diagnostic": 40, "form": 15, "rhythm": 12, "diagnostic+form": 4}
    diagnostic = table["kind"].str.contains("diagnostic")
    assert set(table["superclass"][diagnostic]) == {"NORM", "MI", "STTC", "CD", "HYP"}
    assert (table["superclass"][~diagnostic] == "").all()


@needs_sample
def test_table_2_agrees_with_the_paper_and_with_ptbxl():
    table = statements()
    paper = pd.read_csv(SHARED / "paper" / "critical_values.csv", index_col="statement")["critical_value"]
    assert table["critical_value"].sort_index().to_dict() == paper.to_dict()
    scp = pd.read_csv(SAMPLE / "scp_statements.csv", index_col=0).loc[table.index]
    assert (table["scp_category"] == scp["Statement Category"]).all()
    assert (table["superclass"] == scp["diagnostic_class"].fillna("")).all()
    for kind in ("diagnostic", "form", "rhythm"):
        assert (table["kind"].str.contains(kind) == (scp[kind] == 1)).all()


@needs_sample
def test_labels_of_the_real_sample():
    scp_codes = pd.read_csv(SAMPLE / "ptbxl_database.csv", index_col="ecg_id")["scp_codes"].map(literal_eval)
    likely = scp_codes.map(critical_value)
    highest = scp_codes.map(lambda codes: critical_value(codes, rule="highest-risk"))
    first = scp_codes.map(lambda codes: sorted(codes.items(), key=lambda item: -item[1])[0][0])  # by a stable sort
    assert (likely == first.map(statements()["critical_value"])).all()
    assert (highest >= likely).all() and (highest > likely).any()
    tie = scp_codes.map(tie_decides)
    assert (tie.sum(), len(tie)) == (625, 4254)
    # the order in the dictionary matters only with a tie
    backwards = scp_codes.map(lambda codes: critical_value(dict(reversed(codes.items()))))
    assert (backwards == likely)[~tie].all() and not (backwards == likely)[tie].all()


def test_a_statement_of_unknown_likelihood_is_named_without_one():
    assert in_words("LVH:35;SR:0") == "left ventricular hypertrophy (35 %), sinus rhythm"


@pytest.mark.parametrize("rule", ["most-likely", "highest-risk"])
@pytest.mark.parametrize(("scp_codes", "message"), [
    ({}, "scp_codes is empty"), ({"NORM": 100.0, "AFIBB": 0.0}, "'AFIBB'"), ({"NORM": 101.0}, "from 0 to 100"),
    ({"NORM": float("nan"), "IMI": 100.0}, "'NORM' has the likelihood nan"),
])  # fmt: skip
def test_wrong_statements_are_named(scp_codes, message, rule):
    for label in (lambda: critical_value(scp_codes, rule), lambda: tie_decides(scp_codes)):
        with pytest.raises(StatementError, match=message):
            label()


def test_an_unknown_rule_is_an_error_even_for_a_single_statement():
    with pytest.raises(ParameterError, match="'highest_risk'.*most-likely, highest-risk"):
        critical_value({"NORM": 100.0}, rule="highest_risk")
