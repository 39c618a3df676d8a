"""From SCP-ECG statements to critical values: Table 2 of the paper and the two rules that label a record.

``critical_values.csv`` beside this file holds PTB-XL's 71 statements, with critical values from Wei et al. 2022 (Table 2, CC BY
4.0); all else follows ``scp_statements.csv`` of PTB-XL (Wagner et al. 2020, CC BY 4.0).
"""

import csv
from pathlib import Path

from cardiov.errors import ParameterError, StatementError

LEVELS = ("no risk", "low risk", "medium risk", "high risk")  # the paper's names of the labels
# what a score says of an ECG: it resembles those so labelled, for "no risk" would promise too much
FINDINGS = ("without a finding of risk", "with a finding of low risk", "with a finding of medium risk", "with a finding of high risk")
CLASSES = range(len(LEVELS))
RULES = ("most-likely", "highest-risk")
TABLE = Path(__file__).with_name("critical_values.csv")
_ROWS = {row["statement"]: row for row in csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines())}
_CRITICAL_VALUES = {statement: int(row["critical_value"]) for statement, row in _ROWS.items()}


def statements():
    """Table 2 as a pandas.DataFrame, indexed by ``statement``.

    The columns are ``description``, ``kind`` ("diagnostic", "form", "rhythm" or several, joined by "+"), ``superclass``
    (NORM, MI, STTC, CD, HYP, or "" if not diagnostic), ``scp_category`` and ``critical_value`` (0 to 3).
    """
    import pandas as pd  # takes half a second, which scoring an ECG can save

    return pd.read_csv(TABLE, index_col="statement", keep_default_na=False)


def description(statement: str) -> str:
    """An SCP-ECG statement in words."""
    return _ROWS[statement]["description"]


def in_words(statements: str) -> str:
    """Statements such as "PVC:100;SR:0" in words, with their likelihoods in percent; PTB-XL writes 0 for an unknown one."""
    pairs = (statement.split(":") for statement in statements.split(";"))
    return ", ".join(description(name) + (f" ({likelihood} %)" if likelihood != "0" else "") for name, likelihood in pairs)


def critical_value(scp_codes: dict[str, float], rule: str = "most-likely") -> int:
    """The critical value of one record: 0 no risk, 1 low risk, 2 medium risk, 3 high risk.

    Parameters
    ----------
    scp_codes : dict
        Statements and their likelihoods in percent, in the order of ``ptbxl_database.csv``. PTB-XL writes 0 for an
        unknown likelihood, as for nearly all rhythm and form statements.
    rule : {"most-likely", "highest-risk"}
        "most-likely" takes the first statement of highest likelihood, as the authors' code does (the paper states no
        rule); "highest-risk" takes the maximum over all statements.

    Raises
    ------
    StatementError, ParameterError
        If ``scp_codes`` is empty, names an unknown statement or has a likelihood outside 0 to 100; if the rule is unknown.

    Examples
    --------
    >>> critical_value({"NORM": 80.0, "SBRAD": 0.0})
    0
    >>> critical_value({"NORM": 80.0, "SBRAD": 0.0}, rule="highest-risk")
    1
    """
    if rule == "most-likely":
        return _CRITICAL_VALUES[deciding_statement(scp_codes)]
    if rule == "highest-risk":
        return max(_CRITICAL_VALUES[statement] for statement in _checked(scp_codes))
    raise ParameterError(f"unknown label rule {rule!r}: choose one of {', '.join(RULES)}.")


def deciding_statement(scp_codes: dict[str, float]) -> str:
    """The statement that gives the "most-likely" label: the first of highest likelihood; raises as `critical_value`."""
    return max(_checked(scp_codes), key=scp_codes.get)  # the first of equal maxima wins


def tie_decides(scp_codes: dict[str, float]) -> bool:
    """Whether only the order of equally likely statements decides the "most-likely" label; raises as `critical_value`."""
    highest = max(_checked(scp_codes).values())
    return len({_CRITICAL_VALUES[name] for name, likelihood in scp_codes.items() if likelihood == highest}) > 1


def _checked(scp_codes):
    if not scp_codes:
        raise StatementError("scp_codes is empty: give at least one SCP-ECG statement, or leave the record out.")
    if unknown := [name for name in scp_codes if name not in _ROWS]:
        remedy = f"correct the spelling (PTB-XL's 71 statements are listed in cardiov/{TABLE.name}) or remove it from scp_codes"
        raise StatementError(f"unknown SCP-ECG statement {', '.join(map(repr, unknown))}: {remedy}.")
    for name, likelihood in scp_codes.items():
        if not 0 <= likelihood <= 100:  # also catches NaN, which no maximum orders
            raise StatementError(f"statement {name!r} has the likelihood {likelihood}: give a number from 0 to 100.")
    return scp_codes
