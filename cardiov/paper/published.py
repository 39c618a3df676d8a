"""Reproduced against published, by tolerances that were fixed before the runs.

``results/published.csv`` holds every published figure that is known, ``results/tolerances.csv`` what counts as equal.
"""

import pandas as pd

from cardiov.data.ptbxl import VERSIONS
from cardiov.errors import DataSetError
from cardiov.store.files import ROOT
from cardiov.store.results import read_scalars, simulated

RECORDS = VERSIONS["1.0.1"].records  # the version of the paper
WHOLE = 0.99  # share of these records above which a data set counts as PTB-XL, whatever its version
# the whole data set, with signals or its metadata alone; readings of a cardiologist; arithmetic on other published figures
NEEDS = ("PTB-XL", "metadata", "ECGs", "readings", "arithmetic")
METADATA = "Of all records of PTB-XL 1.0.1, by their metadata."
RELATIONS = {">": float.__gt__, "<": float.__lt__}


def _strings(file):
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def _within(value, reference, rule):
    """Whether a number is as near to its reference as the rule asks."""
    absolute, relative = float(rule["absolute"] or 0), float(rule["relative"] or 0)
    return abs(value - reference) <= absolute + relative * abs(reference) + 1e-12


def compare_with_published(dataset: str) -> pd.DataFrame:
    """Every published figure beside the reproduced one, with tolerance, verdict and its reason.

    Verdicts are "pass", "fail", "not comparable on this data" and "not available".

    Raises
    ------
    DataSetError
        If notebook 01, which counts the records, has not run on the data set.
    """
    scalars = read_scalars(dataset)
    if "01_dataset.records" not in scalars:
        raise DataSetError(f"there are no counts of the records of {dataset}: run `make paper` for this data set first.")
    rules = _strings(ROOT / "results" / "tolerances.csv").to_dict("records")
    tolerances = {(rule["table"], rule["quantity"]): rule for rule in rules}
    limits = _limits(dataset, scalars)
    figures = _strings(ROOT / "results" / "published.csv").to_dict("records")
    return pd.DataFrame([_judged(figure, scalars, tolerances, limits) for figure in figures])


def _judged(figure, scalars, tolerances, limits):
    rule = tolerances.get((figure["where"], figure["quantity"]))
    verdict, reason = _verdict(figure, scalars, rule, limits)
    value, other = (with_interval(figure[name], scalars) for name in ("scalar", "than"))
    return {
        "where": figure["where"],
        "quantity": figure["quantity"],
        "published": f"{figure['published']} {figure['unit']}".strip(),
        "reproduced": f"{value} against {other}" if value and other else value,
        "tolerance": _shown_tolerance(rule) if figure["relation"] == "=" and rule else "",
        "verdict": verdict,
        "reason": f"{reason} {figure['note']}".strip(),
    }


def _limits(dataset, scalars):
    """Why this data set cannot stand for what a figure needs, by that need; nothing where it can.

    The metadata are those of version 1.0.1, which come with the repository, so no data set limits what needs them.
    """
    if simulated(dataset):
        return dict.fromkeys(("PTB-XL", "ECGs", "readings"), "The data are simulated.")
    limits = {} if "07_agreement.reader_label" in scalars else {"readings": "No cardiologist's readings have been imported."}
    share = scalars["01_dataset.records"] / RECORDS
    sample = dict.fromkeys(("PTB-XL", "readings"), f"The data set has {share:.0%} of the paper's records.")
    return limits if share > WHOLE else sample | limits


def _verdict(figure, scalars, rule, limits):
    if figure["needs"] not in NEEDS:
        return figure["needs"], ""
    if figure["published"] == "not available":
        return "not available", ""
    if figure["needs"] in limits:
        return "not comparable on this data", limits[figure["needs"]]
    # a claim about an order is against another scalar or a plain number
    value, other = (scalars.get(figure[name], figure[name]) for name in ("scalar", "than"))
    try:
        if figure["relation"] == "=":
            passed = _within(float(value), float(figure["published"]), rule)
        else:
            passed = RELATIONS[figure["relation"]](float(value), float(other))
    except (TypeError, ValueError):
        return "not comparable on this data", "The data do not give this figure."
    return ("pass" if passed else "fail"), METADATA if figure["needs"] == "metadata" else ""


def with_interval(key: str, scalars: dict) -> str:
    """A scalar of `cardiov.store.results.read_scalars` as text, with its interval if it has one; "" for an unknown scalar."""
    value, low, high = (scalars.get(key + end) for end in ("", "_low", "_high"))
    if value is None:
        return ""
    return _number(value) if low is None or high is None else f"{_number(value)} ({_number(low)} to {_number(high)})"


def _number(value):
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}"


def _shown_tolerance(rule):
    parts = [rule["absolute"], f"{float(rule['relative']):.1%}" if rule["relative"] else ""]
    given = " + ".join(part for part in parts if part not in ("", "0"))
    return f"± {given}" if given else "exact"
