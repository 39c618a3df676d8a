"""What this machine has made against what is published."""

import json
import math
from pathlib import Path

import pandas as pd

from cardiov.store import results

TOLERANCE = 1e-6  # absolute, and relative for numbers above 1
COLUMNS = ["table", "row", "statistic", "published", "made"]
# what notebooks read: it is stored, and not made by them
INPUTS = ("search.csv", "external_ludb.csv", "external_ludb_most_likely.csv", "external_ludb_highest_risk.csv")
INPUT_FOLDERS = ("runs", "reviews")
ENDINGS = {"results": (".csv", ".json"), "figures": (".csv",)}  # pictures are compared by what they plot


def compared_files(dataset: str, kind: str) -> dict[str, tuple[Path, Path]]:
    """(published, made) paths of a kind's files, "results" or "figures", by name; either may be missing."""
    published = {"results": results.results_dir, "figures": results.figures_dir}[kind](dataset)
    made = results.made_dir(dataset, kind)
    names = {path.relative_to(folder).as_posix() for folder in (published, made) for path in folder.rglob("*.*")}
    outputs = [name for name in sorted(names) if name not in INPUTS and name.split("/")[0] not in INPUT_FOLDERS]
    return {name: (published / name, made / name) for name in outputs if name.endswith(ENDINGS[kind])}


def differences(dataset: str) -> pd.DataFrame:
    """Cells that differ by more than `TOLERANCE`: table, row (its words), statistic (the column), published and made."""
    cells = []
    for kind in results.KINDS:
        for name, paths in compared_files(dataset, kind).items():
            cells += [(f"{kind}/{name}", *cell) for cell in _differing_cells(*paths)]
    return pd.DataFrame(cells, columns=COLUMNS)


def _differing_cells(published, made):
    present = [path.exists() for path in (published, made)]
    if not all(present):
        return [("", "the table", *("present" if there else "missing" for there in present))]
    old, new = _read(published), _read(made)
    if list(old) != list(new):
        only = [", ".join(column for column in one if column not in other) for one, other in ((old, new), (new, old))]
        return [("", "columns", *(only if any(only) else (", ".join(old), ", ".join(new))))]
    if len(old) != len(new):
        return [("", "number of rows", len(old), len(new))]
    places = zip(*(old.to_numpy() != new.to_numpy()).nonzero(), strict=True)
    words = _words if len(old) > 1 else lambda row: ""
    cells = [(words(old.iloc[i]), old.columns[j], old.iat[i, j], new.iat[i, j]) for i, j in places]
    return [cell for cell in cells if not _equal(*cell[2:])]


def _read(path):
    """A table of strings; single numbers are a table of one row."""
    if path.suffix == ".json":
        return pd.DataFrame([{key: str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}])
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _words(row):
    """What names a row: its first cell, and those after it that are no numbers."""
    first, *others = row
    return " ".join([first, *(cell for cell in others if cell and _number(cell) is None)])[:60]


def _number(text):
    try:
        return float(text)
    except ValueError:
        return None


def _equal(first, second):
    one, other = _number(first), _number(second)
    return None not in (one, other) and math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
