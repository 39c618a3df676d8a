"""What the notebooks have made on this machine against what is published; and publishing it."""

import json
import math
import shutil
from pathlib import Path

import pandas as pd

from cardiov.model import PRETRAINED
from cardiov.store import results
from cardiov.store.files import replacing

TOLERANCE = 1e-6  # absolute, and relative for numbers above 1
COLUMNS = ["table", "row", "statistic", "published", "made"]
# what notebooks read: it is stored, and not made by them
INPUTS = ("search.csv", "external_ludb.csv", "report.html")
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
        return [("", "columns", ", ".join(old), ", ".join(new))]
    if len(old) != len(new):
        return [("", "number of rows", len(old), len(new))]
    places = zip(*(old.to_numpy() != new.to_numpy()).nonzero(), strict=True)
    cells = [(_words(old.iloc[i]), old.columns[j], old.iat[i, j], new.iat[i, j]) for i, j in places]
    return [cell for cell in cells if not _equal(cell[2], cell[3])]


def _read(path):
    """A table of strings; single numbers are a table of one row."""
    if path.suffix == ".json":
        return pd.DataFrame([{key: str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}])
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _words(row):
    """What names a row: its cells that are no numbers, or else its first cell."""
    words = [cell for cell in row if cell and _number(cell) is None]
    return " ".join(words)[:60] or row.iloc[0]


def _number(text):
    try:
        return float(text)
    except ValueError:
        return None


def _equal(first, second):
    one, other = _number(first), _number(second)
    return None not in (one, other) and math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def publish(dataset: str) -> list[Path]:
    """Take what the notebooks and the report have made here into ``results`` and ``figures``; what was published and is no longer made goes."""
    folders = {"results": results.results_dir(dataset), "figures": results.figures_dir(dataset)}
    for kind, folder in folders.items():
        for published, made in compared_files(dataset, kind).values():
            if not made.exists():
                published.unlink()
        for path in sorted(results.made_dir(dataset, kind).rglob("*.*")):
            _copy(path, folder / path.relative_to(results.made_dir(dataset, kind)))
        for picture in folder.glob("*.png"):
            if not picture.with_suffix(".csv").exists():
                picture.unlink()
    network, packaged = results.shipped_path(dataset), PRETRAINED / f"{dataset}.safetensors"
    if packaged.exists() and network.exists():
        for ending in (".safetensors", ".md"):
            _copy(network.with_suffix(ending), packaged.with_suffix(ending))
    return [_copy(results.build_dir(dataset) / "report.html", folders["results"] / "report.html")]


def _copy(source, target):
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
    return target
