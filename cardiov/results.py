"""Where results live, how they are written, and what made them.

Every file is written to a temporary neighbour first and moved into place when it is whole, so an interrupted run never
leaves a half-written table that is taken for a good one.
"""

import errno
import fcntl
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import pandas as pd

from cardiov.errors import CardioVError, DataSetError, StorageError

# another root, such as a copy of the committed results, keeps what is there untouched (`make test` does so)
ROOT = Path(os.environ.get("CARDIOV_ROOT") or Path(__file__).resolve().parents[1]).resolve()
FIGURE_DPI = 200
# six digits are more than any result here carries, and hide the last-digit noise of summation order
FLOAT_FORMAT = "%.6g"


def results_dir(dataset: str) -> Path:
    """Folder of a data set's tables, predictions and report."""
    return ROOT / "results" / dataset


def figures_dir(dataset: str) -> Path:
    """Folder of a data set's figures, each with the CSV of what it plots."""
    return ROOT / "figures" / dataset


def build_dir(dataset: str) -> Path:
    """Folder of what is never committed: stamps, signal cache, weights, executed notebooks."""
    return ROOT / "build" / dataset


def simulated(dataset: str) -> bool:
    """Whether a data set's name says that it is simulated; make lets no other data set have such a name."""
    return "demo" in dataset.lower()


# Writing


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all.

    Parameters
    ----------
    path : Path
        The file to write; its folder is made where it is missing.

    Yields
    ------
    Path
        A temporary name in the same folder, moved to ``path`` when the block ends without an error.

    Raises
    ------
    StorageError
        As `storing`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            if temporary.exists():  # where nothing can be written, nothing can be unlinked either
                temporary.unlink()


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Say in one sentence what a full device, or a folder that cannot be written, means for a file.

    Raises
    ------
    StorageError
        If what goes wrong in the block comes of either.
    """
    try:
        yield
    except CardioVError:
        raise
    except Exception as error:
        for parent in Path(path).absolute().parents:
            if parent.exists() and not parent.is_dir():
                message = f"{shown(path)} cannot be written, for {shown(parent)} is a file: give another folder."
                raise StorageError(message) from error
        folder = next(folder for folder in Path(path).absolute().parents if folder.is_dir())
        if is_full(error, folder):
            raise StorageError(f"no space left to write {shown(path)}: free some space and run the command again.") from error
        if not os.access(folder, os.W_OK):
            raise StorageError(
                f"{shown(path)} cannot be written, for {shown(folder)} is read-only: give permission to write there and run "
                "the command again."
            ) from error
        raise


def check_writable(*folders: Path) -> None:
    """Make folders, and find out that nothing can be written there before hours are spent on it.

    Raises
    ------
    StorageError
        As `storing`.
    """
    for folder in folders:
        with storing(folder / "*"):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()


def check_room(path: Path, needed: float, purpose: str) -> None:
    """Show how many bytes are needed beside `path`, and that there are fewer before hours are spent on it.

    Raises
    ------
    StorageError
        If there are fewer.
    """
    folder = Path(path).absolute().parent
    free = shutil.disk_usage(folder).free
    message = f"{purpose}: about {needed / 1e9:,.2f} GB are needed in {shown(folder)}, where {free / 1e9:,.2f} GB are free"
    if needed > free:
        raise StorageError(f"{message}: free some space, or give another folder.")
    print(f"{message}.", file=sys.stderr)


def write_note(path: Path, content: dict) -> None:
    """Write a JSON object, whole or not at all, for another run."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_note(path: Path) -> dict:
    """What `write_note` has written; empty if that is missing or damaged."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time make what `path` names; another waits and then finds it made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_full(error, folder):
    """Whether an error comes from a full device; torch and safetensors hide that in errors of their own."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if "No space left on device" in str(error):
        return True
    return folder.is_dir() and shutil.disk_usage(folder).free < 2**20


def shown(path: Path) -> str:
    """A path as messages and notebooks show it: relative to the repository where it lies inside."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _write_csv(frame: pd.DataFrame, path: Path) -> Path:
    with replacing(path) as temporary:
        # a bare row count as index says nothing, a named index does, even one that runs from 1 to n
        indexed = frame.index.name is not None or not isinstance(frame.index, pd.RangeIndex)
        frame.to_csv(temporary, index=indexed, float_format=FLOAT_FORMAT, lineterminator="\n")
    return path


def save_table(frame: pd.DataFrame, dataset: str, name: str) -> Path:
    """Write a table to ``results/<dataset>/<name>.csv``, floats with six significant digits.

    The index is written unless it only counts the rows.
    """
    return _write_csv(frame, results_dir(dataset) / f"{name}.csv")


def save_figure(figure, data: pd.DataFrame, dataset: str, name: str) -> Path:
    """Write a figure to ``figures/<dataset>/<name>.png`` and what it plots to the CSV of the same name.

    The PNG carries no date and no software version, so the same figure is the same file.
    """
    path = figures_dir(dataset) / f"{name}.png"
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=FIGURE_DPI, bbox_inches="tight", metadata={"Software": None})
    _write_csv(data, path.with_suffix(".csv"))
    return path


def save_scalars(dataset: str, name: str, scalars: dict) -> Path:
    """Write single numbers to ``results/<dataset>/scalars/<name>.json``, floats with six significant digits."""
    path = results_dir(dataset) / "scalars" / f"{name}.json"
    with replacing(path) as temporary:
        plain = {key: _plain(value) for key, value in scalars.items()}
        temporary.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    return path


def _plain(value):
    """A scalar as JSON knows it: no NumPy types, floats rounded, None for NaN."""
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, float):
        return value
    return float(FLOAT_FORMAT % value) if math.isfinite(value) else None


def read_scalars(dataset: str) -> dict:
    """All single numbers of a data set, keyed ``<name>.<key>`` after the file that holds them."""
    files = sorted((results_dir(dataset) / "scalars").glob("*.json"))
    contents = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
    return {f"{name}.{key}": value for name, content in contents.items() for key, value in content.items()}


def read_records(dataset: str) -> pd.DataFrame:
    """What notebook 01 keeps of every record, by ``ecg_id``: person, fold, labels, statements, annotations of noise.

    The statements are there twice: as text, and in ``scp_codes`` as a dict from statement to likelihood, in the data
    set's order.

    Raises
    ------
    DataSetError
        If notebook 01 has not run.
    """
    path = results_dir(dataset) / "records.csv"
    records = pd.read_csv(existing(path, "run notebook 01 for this data set first"), index_col="ecg_id")
    stated = ([item.split(":") for item in text.split(";")] for text in records["statements"])
    return records.assign(scp_codes=[{name: float(likelihood) for name, likelihood in items} for items in stated])


def read_history(dataset: str, run: str) -> pd.DataFrame:
    """History of a run such as ``"ordinal-0"``, one row an epoch.

    Raises
    ------
    DataSetError
        If the run has left none.
    """
    return _read_of_run(dataset, run, "history")


def read_predictions(dataset: str, run: str) -> pd.DataFrame:
    """Per-record predictions of a run such as ``"ordinal-0"``, one row a record of the validation and test splits.

    Raises
    ------
    DataSetError
        If the run has left no predictions.
    """
    return _read_of_run(dataset, run, "predictions")


def read_provenance(dataset: str, run: str) -> dict:
    """What made a run such as ``"best-0"``: see `provenance`, and ``run`` with the settings of the training.

    Raises
    ------
    DataSetError
        If the run has left none.
    """
    path = results_dir(dataset) / "runs" / run / "provenance.json"
    return json.loads(existing(path, f"train the run {run} first").read_text(encoding="utf-8"))


def run_names(dataset: str, prefix: str) -> list[str]:
    """Names of the stored runs that begin with a prefix, without their seeds, sorted.

    Raises
    ------
    DataSetError
        If there is no such run.
    """
    folder = results_dir(dataset) / "runs"
    names = sorted({path.parent.name.rpartition("-")[0] for path in folder.glob(f"{prefix}*/predictions.csv")})
    if not names:
        raise DataSetError(f"{shown(folder)} has no run {prefix}*: run `python -m cardiov study` first, as `make paper` does.")
    return names


def run_seeds(dataset: str, name: str) -> list[int]:
    """Training seeds of the stored runs of a name, sorted: 0 and 1 where there are ``best-0`` and ``best-1``.

    Raises
    ------
    DataSetError
        If there is no such run.
    """
    folder = results_dir(dataset) / "runs"
    found = (re.fullmatch(rf"{re.escape(name)}-(\d+)", path.parent.name) for path in folder.glob("*/predictions.csv"))
    seeds = sorted(int(match[1]) for match in found if match)
    if not seeds:
        raise DataSetError(f"{shown(folder)} has no run {name}-<seed>: train {name}-0 first, or correct the run's name.")
    return seeds


def read_seeds(dataset: str, name: str, split: str | None = None) -> dict[int, pd.DataFrame]:
    """Predictions of all stored runs of a name, by training seed, of one split or of both.

    Raises
    ------
    DataSetError
        If there is no such run.
    """
    runs = {seed: read_predictions(dataset, f"{name}-{seed}") for seed in run_seeds(dataset, name)}
    return {seed: run[run["split"] == split] for seed, run in runs.items()} if split else runs


def _read_of_run(dataset, run, name):
    path = results_dir(dataset) / "runs" / run / f"{name}.csv"
    return pd.read_csv(existing(path, f"train the run {run} first"))


def existing(path: Path, remedy: str) -> Path:
    """The path of a stored result.

    Raises
    ------
    DataSetError
        If it is not there; `remedy` says what makes it.
    """
    if not path.exists():
        raise DataSetError(f"{shown(path)} is missing: {remedy}, as `make paper` does.")
    return path


# Provenance


def git(*arguments: str) -> str | None:
    """What git prints, or None outside a git repository and before the first commit."""
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def copy_committed(folder: Path) -> None:
    """Copy results and figures as git has them staged (outside git: as they are), beside a link to the data.

    A folder made so can stand in for the repository (``CARDIOV_ROOT``): its results belong to the notebooks' stored
    outputs, whatever a run on this machine has made since, and what is written there is lost with it.
    """
    names = git("ls-files", "--", "results", "figures")
    if names:
        git("checkout-index", f"--prefix={folder}/", "--", *names.splitlines())
    else:
        for name in ("results", "figures"):
            shutil.copytree(ROOT / name, folder / name)
    folder.mkdir(parents=True, exist_ok=True)  # git makes none where nothing is staged
    (folder / "data").symlink_to(ROOT / "data")


def processor() -> str:
    """Name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _package_versions() -> dict[str, str]:
    required = metadata.requires("cardiov") or []
    names = sorted({re.match(r"[\w.-]+", line)[0] for line in required if "extra ==" not in line})
    return {name: metadata.version(name) for name in names}


def provenance() -> dict:
    """What made a result: code version, packages, interpreter, processor and time.

    Returns
    -------
    dict
        ``commit`` (None outside a git repository), ``code_changed`` (whether anything but results and figures differs
        from the commit), ``packages``, ``python``, ``platform``, ``processor`` and ``time`` (UTC, ISO 8601).
    """
    commit = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain", "--", ".", ":!results", ":!figures")
    return {
        "commit": commit and commit.strip(),
        "code_changed": bool(changes),
        "packages": _package_versions(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
