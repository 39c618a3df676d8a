"""Score many ECG files: on all cores, bad files named and skipped, results written as they come, resumable.

One process writes, whatever scores: a pool of processes here, the workers of a cluster in `cardiov.scoring.cluster`.
"""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm.auto import tqdm

from cardiov.ecg.leads import read_ecg
from cardiov.errors import CardioVError, ParameterError, SignalError
from cardiov.mapping import LEVELS
from cardiov.scoring.record import NOT_A_DEVICE, Score, load_model, model_name, score_all
from cardiov.scoring.remote import import_pyarrow, is_address, list_address, read_address
from cardiov.store.files import replacing, storing

CHUNK = 32  # files that a process takes at once
SMALL_ARCHIVE = 64  # files that one process scores before others would have started
MAX_SAMPLES = 20_000_000  # scored at once, 80 MB
SUFFIXES = {".hea", ".csv", ".tsv", ".npz", ".scp", ".dcm", ".xml", ".edf"}  # looked for in folders
TABLES = {"ptbxl_database.csv", "scp_statements.csv", "ludb.csv", "ptbxl_examples.csv"}  # but not these, of the data sets
COLUMNS = {"file": "string", "critical_value": "int64", **dict.fromkeys(("p0", "p1", "p2", "p3"), "double"), "set_low": "int64",
           "set_high": "int64", "seconds": "double", "fs": "double", "windows": "string", "warnings": "string",
           "model": "string"}  # fmt: skip


def find_files(paths, listing=None) -> list[str]:
    """Files, all ECGs below folders, by name, and the files that a listing names line by line; each once.

    Files and folders may be addresses in an object store, such as ``s3://bucket/ecgs``.

    Raises
    ------
    SignalError
        If a folder holds no file of a known kind.
    ParameterError
        If the listing cannot be read, or there is no file.
    """
    files = [file for path in paths for file in _files_at(path)] + (_listed(listing) if listing else [])
    if not files:
        raise ParameterError("there is no file to score: give a file, a folder or a --listing.")
    return list(dict.fromkeys(files))


def _files_at(path):
    if is_address(path):
        below = list_address(path)
    elif Path(path).is_dir():
        below = [str(file) for file in sorted(Path(path).rglob("*"))]
    else:
        return [str(Path(path))]
    if below == [path]:  # the address of a file
        return below
    files = [file for file in below if Path(file).suffix.lower() in SUFFIXES and Path(file).name not in TABLES]
    if not files:
        raise SignalError(f"{path} holds no file that ends in {', '.join(sorted(SUFFIXES))}: give another folder.")
    return files


def _listed(listing):
    try:
        return [line.strip() for line in Path(listing).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{listing} cannot be read as a list of files ({error}): give a text file.") from error


def score_files(files, model=None, fs=None, unit=None, processes=None) -> Iterator[tuple[str, Score | CardioVError]]:
    """Score files in their order, many files on several cores: each file with its score, or the reason for none.

    ``model`` is a name or file of weights; ``fs`` and ``unit`` are those of `cardiov.read_ecg`; by default there is one process per
    core, or one for few files.

    Raises
    ------
    CheckpointError, SignalError
        If the weights cannot be read, or a process was killed.
    """
    load_model(model)  # so that its error comes once, and forked processes have it
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    task = partial(score_chunk, model=model, fs=fs, unit=unit)
    if (processes or (1 if len(files) <= SMALL_ARCHIVE else os.cpu_count())) == 1:
        yield from chain.from_iterable(map(task, chunks))
    else:
        yield from _score_on_cores(chunks, task, processes)


def _score_on_cores(chunks, task, processes):
    # forked processes need not load torch again, but pyarrow's object stores do not survive a fork
    forked = sys.platform == "linux" and not any(map(is_address, chain.from_iterable(chunks)))
    context = get_context("fork" if forked else "spawn")
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
        try:
            yield from chain.from_iterable(pool.map(task, chunks))
        except BrokenProcessPool as error:
            raise SignalError(
                "a process that scored files was killed, perhaps for want of memory: run the command again, with "
                "--output it goes on where it stopped, or with --processes 1."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def score_chunk(files, model, fs=None, unit=None) -> list[tuple[str, Score | CardioVError]]:
    """Files and their outcomes; what was read is scored together, but no more than `MAX_SAMPLES`."""
    outcomes, ecgs = {}, {}
    for file in files:
        outcomes[file] = ecg = _read(file, fs, unit)
        if not isinstance(ecg, CardioVError):
            ecgs[file] = ecg
        if file == files[-1] or sum(ecg.signal.size for ecg in ecgs.values()) > MAX_SAMPLES:
            outcomes |= zip(ecgs, score_all([*ecgs.values()], model), strict=True)
            ecgs.clear()
    return [*outcomes.items()]


def _read(file, fs, unit):
    try:
        return (read_address if is_address(file) else read_ecg)(file, fs=fs, unit=unit)
    except CardioVError as error:
        return error


def _values(file, score):
    low, high = score.prediction_set or ("", "")
    windows = ";".join(f"{window.start:g}={window.critical_value}" for window in score.windows)
    probabilities = [f"{p:.6f}" for p in score.probabilities]
    return [file, score.critical_value, *probabilities, low, high, f"{score.seconds:g}", f"{score.fs:g}", windows,
            "; ".join(score.warnings), score.model]  # fmt: skip


def csv_line(*values) -> str:
    """Values as a line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def table_lines(file, score) -> str:
    """A score for people: a line, and below it what goes with it."""
    shares = "  ".join(f"{100 * p:3.0f} %" for p in score.probabilities)
    lines = [f"{score.critical_value}  {LEVELS[score.critical_value]:11}  {shares}   {file}"]
    if score.prediction_set and score.prediction_set[0] < score.prediction_set[1]:
        lines += ["     {} to {} holds the label of 9 in 10 records of each critical value".format(*score.prediction_set)]
    if len(score.windows) > 1:
        listed = ", ".join(f"{window.start:g} s: {window.critical_value}" for window in score.windows)
        lines += [f"     the gravest of {len(score.windows)} windows, from {score.windows[score.window].start:g} s; {listed}"]
    return "\n".join([*lines, *(f"     ! {warning}" for warning in score.warnings)]) + "\n"


FORMS = {  # form -> head of the output, and the text of one file
    "table": (f"{NOT_A_DEVICE}\ncritical value    0 no   1 low  2 med. 3 high   file\n", table_lines),
    "json": ("", lambda file, score: json.dumps({"file": file, **score.as_dict()}) + "\n"),
    "csv": (csv_line(*COLUMNS), lambda file, score: csv_line(*_values(file, score))),
}


def write_scores(files, form="table", output=None, model=None, scorer=score_files, **settings) -> int:
    """Score files, write each result at once, name the failed files on the standard error; returns their number.

    ``form`` is a key of `FORMS`, or "parquet": a CSV file, and at the end a Parquet file beside it. Files that the ``output`` (by
    default the standard output) holds already are not scored again. ``scorer`` is `score_files` or the like.

    Raises
    ------
    ParameterError
        If the output holds anything but results of this form and these weights, or Parquet is not installed.
    """
    if form == "parquet":
        pyarrow, table = import_pyarrow("Parquet"), Path(output).with_suffix(".csv")
        failed = write_scores(files, "csv", table, model, scorer, **settings)
        _write_parquet(pyarrow, table)
        return failed
    head, text = FORMS[form]
    done = set() if output is None else _resume(Path(output), form, model_name(load_model(model)))
    remaining = [file for file in files if file not in done]
    outcomes = scorer(remaining, model, **settings)
    outcomes = tqdm(outcomes, "scoring", len(files), initial=len(files) - len(remaining), unit=" files", disable=None)
    if output is None:
        return _write(outcomes, sys.stdout, head, text)
    with storing(Path(output)), open(output, "a", encoding="utf-8") as stream:
        return _write(outcomes, stream, "" if stream.tell() else head, text)


def _write(outcomes, stream, head, text):
    """Write results; the number of files that failed."""
    failed = 0
    stream.write(head)
    for file, outcome in outcomes:
        if isinstance(outcome, CardioVError):
            failed += 1
            tqdm.write(str(outcome), file=sys.stderr)
        else:
            stream.write(text(file, outcome))
            stream.flush()
    return failed


def _write_parquet(pyarrow, table):
    options = pyarrow.csv.ConvertOptions(column_types={name: pyarrow.type_for_alias(kind) for name, kind in COLUMNS.items()})
    with replacing(table.with_suffix(".parquet")) as temporary:
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(table, convert_options=options), temporary)


def _resume(output, form, model):
    """Files whose results are in an output; half a line at its end is cut off."""
    if not output.exists():
        return set()
    done, models = set(), {model}
    try:
        with output.open("rb") as stream:
            for row in _rows(stream, form):
                done.add(row["file"])
                models.add(row["model"])
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{output} holds something else than results as {form}: give --output another file.") from error
    if others := models - {model}:
        raise ParameterError(f"{output} holds results of {', '.join(sorted(others))}: give --output another file.")
    with output.open("rb") as stream:
        whole = sum(len(line) for line in stream if line.endswith(b"\n"))
    os.truncate(output, whole)
    return done


def _rows(stream, form):
    """Results in the whole lines of a file."""
    start = (FORMS[form][0] or '{"file": ').encode()
    if not start.startswith(stream.readline()[: len(start)]):
        raise ValueError("another kind of file")
    stream.seek(0)
    lines = (line.decode() for line in stream if line.endswith(b"\n"))
    yield from map(json.loads, lines) if form == "json" else csv.DictReader(lines)
