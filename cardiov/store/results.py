"""Where results lie, and how tables, figures and single numbers are saved and read.

``results/<data set>`` and ``figures/<data set>`` hold what is published: what trainings and experiments have left, which the
notebooks read, and their tables and figures. What a notebook makes goes to ``build/<data set>``, and is compared with what is
published, or published itself. A function that reads a missing result raises a DataSetError, which says what makes the result.
"""

import json
import math
import os
import re
from pathlib import Path

import pandas as pd

from cardiov.errors import DataSetError
from cardiov.store.files import ROOT, replacing, shown, write_note

FIGURE_DPI = 200
FLOAT_FORMAT = "%.8g"  # two digits more than what results are compared to
KINDS = ("results", "figures")


def results_dir(dataset: str) -> Path:
    """Folder of a data set's published tables, predictions and report."""
    return ROOT / "results" / dataset


def figures_dir(dataset: str) -> Path:
    """Folder of a data set's published figures, each with the CSV of what it plots."""
    return ROOT / "figures" / dataset


def build_dir(dataset: str) -> Path:
    """Folder of what is never committed: make's marks, signal caches, weights, executed notebooks, what these make."""
    return ROOT / "build" / dataset


def made_dir(dataset: str, kind: str = "results") -> Path:
    """Folder of the tables ("results") or figures ("figures") that notebooks have made on this machine.

    The notebooks of `make lab` have a place of their own, so that playing changes nothing that is compared or published.
    """
    return ROOT / os.environ.get("CARDIOV_MADE", "build") / dataset / kind


def run_dir(dataset: str, run: str) -> Path:
    """Folder of what a run such as "ordinal-0" leaves for the analysis."""
    return results_dir(dataset) / "runs" / run


def shipped_path(dataset: str) -> Path:
    """The network that is chosen to be shipped."""
    return build_dir(dataset) / "shipped.safetensors"


def simulated(dataset: str) -> bool:
    """Whether a data set's name says that it is simulated; make lets no other data set have such a name."""
    return "demo" in dataset.lower()


def write_table(frame: pd.DataFrame, path: Path, float_format: str | None = None) -> Path:
    """Write a table as CSV, whole or not at all; the index is written unless it only counts the rows."""
    with replacing(path) as temporary:
        # a bare row count as index says nothing, a named index does, even one that runs from 1 to n
        indexed = frame.index.name is not None or not isinstance(frame.index, pd.RangeIndex)
        frame.to_csv(temporary, index=indexed, float_format=float_format, lineterminator="\n")
    return Path(path)


def save_table(frame: pd.DataFrame, dataset: str, name: str, *, caption: str | None = None) -> Path:
    """Write a notebook's table to ``build/<dataset>/results/<name>.csv``, floats with eight significant digits.

    The report shows the table where a notebook's call gives a caption (`cardiov.paper.captions`).
    """
    return write_table(frame, made_dir(dataset) / f"{name}.csv", FLOAT_FORMAT)


def save_figure(figure, data: pd.DataFrame, dataset: str, name: str, *, caption: str | None = None) -> Path:
    """Write a figure to ``build/<dataset>/figures/<name>.png`` and what it plots to the CSV of the same name.

    The figure's title and the caption are the PNG's, and the report shows the caption as it does `save_table`'s. The PNG carries no
    date and no software version, so the same figure is the same file.
    """
    path = made_dir(dataset, "figures") / f"{name}.png"
    described = {"Title": " ".join(figure.get_suptitle().split()), "Description": caption}
    metadata = {"Software": None, **{name: text for name, text in described.items() if text}}
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=FIGURE_DPI, bbox_inches="tight", metadata=metadata)
    write_table(data, path.with_suffix(".csv"), FLOAT_FORMAT)
    return path


def save_scalars(dataset: str, name: str, scalars: dict) -> Path:
    """Write single numbers to ``build/<dataset>/results/scalars/<name>.json``, floats with eight significant digits."""
    path = made_dir(dataset) / "scalars" / f"{name}.json"
    write_note(path, {key: _plain(value) for key, value in scalars.items()})
    return path


def _plain(value):
    """A scalar as JSON knows it: no NumPy types, floats rounded, None for NaN."""
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, float):
        return value
    return float(FLOAT_FORMAT % value) if math.isfinite(value) else None


def read_scalars(dataset: str) -> dict:
    """All single numbers of a data set, keyed ``<name>.<key>`` after the file that holds them: as made here, else as published."""
    files = {path.stem: path for folder in (results_dir(dataset), made_dir(dataset)) for path in (folder / "scalars").glob("*.json")}
    contents = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in sorted(files.items())}
    return {f"{name}.{key}": value for name, content in contents.items() for key, value in content.items()}


def read_records(dataset: str) -> pd.DataFrame:
    """What `python -m cardiov prepare` keeps of every record, by ``ecg_id``: person, fold, labels, statements, noise.

    ``statements`` is text, and ``scp_codes`` a dict from statement to likelihood, in the data set's order.
    """
    records = _read_table(dataset, "records", "run `python -m cardiov prepare` first").set_index("ecg_id")
    stated = ([item.split(":") for item in text.split(";")] for text in records["statements"])
    return records.assign(scp_codes=[{name: float(likelihood) for name, likelihood in items} for items in stated])


def read_table(dataset: str, name: str) -> pd.DataFrame:
    """A table that a notebook has saved by `save_table`: as made here, else as published."""
    return _read_table(dataset, name, "run its notebook first")


def _read_table(dataset, name, remedy):
    made, published = (folder / f"{name}.csv" for folder in (made_dir(dataset), results_dir(dataset)))
    return pd.read_csv(made if made.exists() else existing(published, remedy))


def read_history(dataset: str, run: str) -> pd.DataFrame:
    """History of a run such as ``"ordinal-0"``, one row per epoch."""
    return _read_of_run(dataset, run, "history")


def read_predictions(dataset: str, run: str) -> pd.DataFrame:
    """Per-record predictions of a run such as ``"ordinal-0"``, one row per record of the validation and test splits."""
    return _read_of_run(dataset, run, "predictions")


def read_provenance(dataset: str, run: str) -> dict:
    """What made a run such as ``"ordinal-0"``: see `provenance`, and ``run`` with the settings of the training."""
    path = run_dir(dataset, run) / "provenance.json"
    return json.loads(existing(path, f"train the run {run} first").read_text(encoding="utf-8"))


def run_names(dataset: str, prefix: str) -> list[str]:
    """Names of the stored runs that begin with a prefix, without their seeds, sorted; those of cross-validation are left out."""
    folder = results_dir(dataset) / "runs"
    names = {path.parent.name.rpartition("-")[0] for path in folder.glob(f"{prefix}*/predictions.csv")}
    names = sorted(name for name in names if not re.search(r"-fold\d+$", name))
    if not names:
        raise DataSetError(f"{shown(folder)} has no run {prefix}*: train it first, as `make publish` does.")
    return names


def run_seeds(dataset: str, name: str) -> list[int]:
    """Training seeds of the stored runs of a name, sorted: such as 0 and 1 of ``ordinal-0`` and ``ordinal-1``."""
    folder = results_dir(dataset) / "runs"
    matches = (re.fullmatch(rf"{re.escape(name)}-(\d+)", path.parent.name) for path in folder.glob("*/predictions.csv"))
    seeds = sorted(int(match[1]) for match in matches if match)
    if not seeds:
        raise DataSetError(f"{shown(folder)} has no run {name}-<seed>: train {name}-0 first, or correct the run's name.")
    return seeds


def shipped_recipe(dataset: str) -> str:
    """The name of the runs of which one is shipped: those with a teacher, "distilled", if there are any, else "ordinal"."""
    return "distilled" if [*(results_dir(dataset) / "runs").glob("distilled-*/predictions.csv")] else "ordinal"


def chosen_run(dataset: str, name: str = "") -> str:
    """The run, such as "ordinal-1", whose network has the lowest loss on fold 9 in its last phase: the one that is shipped.

    Among the runs of a name, by default those of `shipped_recipe`.
    """
    name = name or shipped_recipe(dataset)
    losses = {}
    for seed in run_seeds(dataset, name):
        history = read_history(dataset, f"{name}-{seed}")
        losses[f"{name}-{seed}"] = history.query("phase == phase.iloc[-1]")["validation_loss"].min()
    return min(losses, key=losses.get)


def read_seeds(dataset: str, name: str, split: str | None = None) -> dict[int, pd.DataFrame]:
    """Predictions of all stored runs of a name, by training seed, of one split or of both."""
    runs = {seed: read_predictions(dataset, f"{name}-{seed}") for seed in run_seeds(dataset, name)}
    return {seed: run[run["split"] == split] for seed, run in runs.items()} if split else runs


FOLDS = range(1, 11)  # of PTB-XL: in cross-validation each is the test split once


def read_out_of_fold(dataset: str, name: str, split: str = "test", seed: int = 0, folds=FOLDS) -> pd.DataFrame | None:
    """Predictions of every record by the cross-validated run that had its fold as test split; None unless all are stored.

    The runs are ``<name>-fold<k>-<seed>`` for each fold k. The column ``fold`` holds k. The validation split of each run, with
    the same k, is what thresholds for its test split are chosen on.
    """
    runs = {fold: f"{name}-fold{fold}-{seed}" for fold in folds}
    if not all((run_dir(dataset, run) / "predictions.csv").exists() for run in runs.values()):
        return None
    tables = [read_predictions(dataset, run).assign(fold=fold) for fold, run in runs.items()]
    return pd.concat(tables, ignore_index=True).query("split == @split").reset_index(drop=True)


def read_cross_validated(dataset: str, split: str = "test") -> pd.DataFrame | None:
    """Predictions of every record by the shipped recipe, or by the ordinal one, whichever is stored: `read_out_of_fold`."""
    tables = (read_out_of_fold(dataset, name, split) for name in dict.fromkeys([shipped_recipe(dataset), "ordinal"]))
    return next((table for table in tables if table is not None), None)


def _read_of_run(dataset, run, name):
    path = run_dir(dataset, run) / f"{name}.csv"
    return pd.read_csv(existing(path, f"train the run {run} first"))


def existing(path: Path, remedy: str) -> Path:
    """The path of a stored result; `remedy` says what makes it."""
    if not path.exists():
        raise DataSetError(f"{shown(path)} is missing: {remedy}, as `make publish` does.")
    return path


def external_path(dataset: str, rule: str | None = None) -> Path:
    """The predictions of LUDB's records by the shipped network, or by one without a teacher that learned the labels of a rule."""
    return results_dir(dataset) / f"external_ludb{f'_{rule}' if rule else ''}.csv".replace("-", "_")


def read_external(dataset: str, rule: str | None = None) -> pd.DataFrame:
    """The predictions of LUDB's records; see `external_path`."""
    return pd.read_csv(existing(external_path(dataset, rule), "predict LUDB's records first"))


HEAT_TABLES = ("heat_maps", "heat_marks", "heat_sanity", "heat_cascade", "heat_shares", "heat_shares_ludb")


def read_heat(dataset, run) -> dict:
    """The tables that `write_heat` left, by name; those that this data set cannot give are missing."""
    folder = existing(run_dir(dataset, run) / "heat_sanity.csv", "run `python -m cardiov heat` first").parent
    return {name: pd.read_csv(path) for name in HEAT_TABLES if (path := folder / f"{name}.csv").exists()}


NO_SEARCH = "run `python -m cardiov search` first"  # the remedy if no search is stored


def read_models(dataset: str) -> pd.DataFrame:
    """The networks of a stored search, see `train_models`."""
    return pd.read_csv(existing(results_dir(dataset) / "search.csv", NO_SEARCH))


def search_provenance_path(dataset):
    return run_dir(dataset, "search") / "provenance.json"


def read_reviews(dataset: str) -> pd.DataFrame:
    """All imported readings, or none: ``reader``, ``ecg_id`` and ``reading`` (0 to 3)."""
    files = sorted((results_dir(dataset) / "reviews").glob("*.csv"))
    tables = [pd.read_csv(path).assign(reader=path.stem) for path in files]
    columns = ["reader", "ecg_id", "critical_value"]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    return table[columns].rename(columns={"critical_value": "reading"})


def read_stressed(dataset: str, run: str) -> pd.DataFrame:
    """The stressed predictions of a run such as ``"ordinal-0"``, strengths as text."""
    path = run_dir(dataset, run) / "stress.csv"
    return pd.read_csv(existing(path, "run `python -m cardiov stress` first"), dtype={"strength": str}, keep_default_na=False)
