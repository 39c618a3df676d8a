"""Verdicts on the published figures and claims.

``results/published.csv`` holds every published figure that is known, ``results/tolerances.csv`` what counts as equal or alike.
Each figure or claim leaves a range of values that agree with it: the published value give or take its tolerance, all above or
below a bound for an order, or 0 give or take a margin if two groups are said to be alike. It is judged by the 95 % interval of
the reproduced figure, which is a paired difference for an order. A claim that any ECGs can decide is judged on all folds where
cross-validated runs are stored, for more records say more; a figure is judged on the test fold, as in the paper.
"""

import math

import numpy as np
import pandas as pd

from cardiov.data.ptbxl import VERSIONS
from cardiov.errors import DataSetError
from cardiov.store.files import ROOT
from cardiov.store.results import read_scalars, simulated

RECORDS = VERSIONS["1.0.1"].records  # the version of the paper
WHOLE = 0.99  # share of these records above which a data set counts as PTB-XL, whatever its version
METADATA = "Of all records of PTB-XL 1.0.1, by their metadata."
ALL_FOLDS, CROSS_VALIDATED = "_all_folds", "Cross-validated on all folds."
NOT_COMPARABLE, NOT_AVAILABLE = "not comparable on this data", "not available"
VERDICTS = ("contradicts", "cannot tell", "agrees", "recomputed", NOT_COMPARABLE, NOT_AVAILABLE)  # as they are sorted
JUDGED = VERDICTS[:3]
ROUNDING = 1e-9  # of a value at the edge of its tolerance


def _strings(file):
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def compare_with_published(dataset: str) -> pd.DataFrame:
    """Every published figure beside the reproduced one, with tolerance, verdict and its reason, sorted as `VERDICTS`.

    "agrees": the whole interval lies in the range that the figure leaves; "contradicts": it lies outside; "cannot tell": it
    does both. "recomputed": arithmetic on published figures alone, which agrees with them.

    Raises
    ------
    DataSetError
        If notebook 01, which counts the records, has not run on the data set.
    """
    scalars = read_scalars(dataset)
    if "01_dataset.records" not in scalars:
        raise DataSetError(f"there are no counts of the records of {dataset}: run `make paper` for this data set first.")
    limits = _limits(dataset, scalars)
    rows = [_judged(figure, rule, scalars, limits) for figure, rule in _figures(scalars)]
    return pd.DataFrame(sorted(rows, key=lambda row: VERDICTS.index(row["verdict"])))


def summary(table: pd.DataFrame) -> list[tuple[str, str]]:
    """What a table of `compare_with_published` comes to, as text: how many are judged, then five lines, each with its strong start."""
    table = table.replace({"where": {"Text": "the text"}})
    counts = table["verdict"].value_counts().reindex(VERDICTS, fill_value=0)
    rows = {verdict: table[table["verdict"] == verdict] for verdict in VERDICTS}
    named = {verdict: "; ".join(of["quantity"] + " (" + of["where"] + ")") or "none" for verdict, of in rows.items()}
    places = rows["agrees"]["where"].value_counts(sort=False)
    errors = rows[NOT_COMPARABLE].query("quantity == 'mean absolute error'")
    such = [f", such as the {row.quantity} of {row.where}: published {row.published}, here {row.reproduced}" for row in errors.itertuples()]
    return [
        (f"Of {counts[[*JUDGED]].sum()} published figures and claims that the ECGs here can judge", "by 95 % intervals"),
        (f"{counts['agrees']} agree", f": {', '.join(f'{n} of {place}' for place, n in places.items())}."),
        (f"{counts['contradicts']} contradict", f": {named['contradicts']}."),
        (f"{counts['cannot tell']} cannot be told", f": {named['cannot tell']}."),
        (f"{counts[NOT_COMPARABLE]} more", f" need all of PTB-XL or cardiologists{''.join(such)}."),
        (f"{counts[NOT_AVAILABLE]} cells", f" of Table 6 are not available, and {counts['recomputed']} figures follow from other published ones."),
    ]  # fmt: skip


def published_points(dataset: str) -> pd.DataFrame:
    """What a plot of published against reproduced shows, sorted as `compare_with_published`, whose errors it raises.

    Every figure that is judged, and those of Fig. 2 that are not. A figure is divided by the published one (``scale`` is
    "ratio"), and of a claim its bound is subtracted ("difference"): ``estimate``, ``low`` and ``high`` of what was reproduced,
    ``least`` and ``most`` of what agrees. A published 0 has no ratio; its row has infinity.
    """
    scalars = read_scalars(dataset)
    numbers = pd.DataFrame([_point(figure, rule, scalars) for figure, rule in _figures(scalars)])
    points = compare_with_published(dataset)[["where", "quantity", "verdict"]].merge(numbers)
    shown = points["verdict"].isin(JUDGED) | (points["where"] == "Fig. 2")
    return points[shown & points["estimate"].notna()].reset_index(drop=True)


def _figures(scalars):
    """Every published figure, with the scalar by which it is judged, and its tolerance, if it has one."""
    rules = _strings(ROOT / "results" / "tolerances.csv").to_dict("records")
    tolerances = {(rule["table"], rule["quantity"]): rule for rule in rules}
    for figure in _strings(ROOT / "results" / "published.csv").to_dict("records"):
        yield figure | {"scalar": _judging(figure, scalars)}, tolerances.get((figure["where"], figure["quantity"]))


def _point(figure, rule, scalars):
    point = {key: figure[key] for key in ("where", "quantity")}
    if figure["published"] == NOT_AVAILABLE:
        return point
    ratio = figure["relation"] == "="
    numbers = np.array([*(scalars.get(figure["scalar"] + end) for end in ("", "_low", "_high")), *_range(figure, rule)], float)
    with np.errstate(divide="ignore"):
        numbers = numbers / float(figure["published"]) if ratio else numbers - float(figure["than"] or 0)
    point |= {"scale": "ratio" if ratio else "difference", "bound": figure["than"]}
    return point | dict(zip(("estimate", "low", "high", "least", "most"), numbers, strict=True))


def _judged(figure, rule, scalars, limits):
    verdict, reason = _verdict(figure, scalars, rule, limits)
    return {
        "where": figure["where"],
        "quantity": figure["quantity"],
        "published": f"{figure['published']} {figure['unit']}".strip(),
        "reproduced": with_interval(figure["scalar"], scalars),
        "tolerance": _shown_tolerance(rule) if rule else "",
        "verdict": verdict,
        "reason": f"{reason} {figure['note']}".strip(),
    }


def _limits(dataset, scalars):
    """Why this data set cannot stand for what a figure needs, by that need; nothing where it can.

    A figure needs the whole of PTB-XL or its metadata, any real ECGs, a cardiologist's readings, or arithmetic alone. The
    metadata are those of version 1.0.1, which come with the repository, so no data set limits what needs them.
    """
    if simulated(dataset):
        return dict.fromkeys(("PTB-XL", "ECGs", "readings"), "The data are simulated.")
    limits = {} if "07_agreement.reader_label" in scalars else {"readings": "No cardiologist's readings have been imported."}
    share = scalars["01_dataset.records"] / RECORDS
    sample = dict.fromkeys(("PTB-XL", "readings"), f"The data set has {share:.0%} of the paper's records.")
    return limits if share > WHOLE else sample | limits


def _verdict(figure, scalars, rule, limits):
    if figure["published"] == NOT_AVAILABLE:
        return NOT_AVAILABLE, ""
    if figure["needs"] in limits:
        return NOT_COMPARABLE, limits[figure["needs"]]
    interval = _interval(figure, scalars)
    if None in interval:
        return NOT_COMPARABLE, "The data do not give this figure."
    verdict = _against(interval, _range(figure, rule))
    if verdict == "agrees" and figure["needs"] == "arithmetic":
        verdict = "recomputed"
    return verdict, METADATA if figure["needs"] == "metadata" else CROSS_VALIDATED if figure["scalar"].endswith(ALL_FOLDS) else ""


def _judging(figure, scalars):
    """The scalar by which a figure or claim is judged."""
    of_all_folds = figure["scalar"] + ALL_FOLDS
    return of_all_folds if figure["needs"] == "ECGs" and of_all_folds in scalars else figure["scalar"]


def _interval(figure, scalars):
    """Low and high end of what was reproduced; a number without an interval is its own, which says nothing of an order."""
    value, low, high = (scalars.get(figure["scalar"] + end) for end in ("", "_low", "_high"))
    exact = figure["needs"] == "arithmetic" or low is None or high is None
    return (value, value) if figure["relation"] == "=" and exact else (low, high)


def _range(figure, rule):
    """Ends, not included, of the values that agree with a figure or claim."""
    if figure["relation"] in "<>":
        bound = float(figure["than"])
        return (bound, math.inf) if figure["relation"] == ">" else (-math.inf, bound)
    middle, tolerance = 0 if figure["relation"] == "alike" else float(figure["published"]), float(rule["absolute"]) + ROUNDING
    return middle - tolerance, middle + tolerance


def _against(interval, accepted):
    (low, high), (least, most) = interval, accepted
    if least < low and high < most:
        return "agrees"
    return "contradicts" if high < least or low > most else "cannot tell"


def with_interval(key: str, scalars: dict) -> str:
    """A scalar of `cardiov.store.results.read_scalars` as text, with its interval if it has one; "" for an unknown scalar."""
    value, low, high = (scalars.get(key + end) for end in ("", "_low", "_high"))
    if value is None:
        return ""
    return _number(value) if low is None or high is None else f"{_number(value)} ({_number(low)} to {_number(high)})"


def _number(value):
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}"


def _shown_tolerance(rule):
    return "exact" if rule["absolute"] == "0" else f"± {rule['absolute']}"
