"""Score many ECG files: on all cores, bad files reported and skipped, results written as they come, resumable.

In processes that `cardiov.processes.launch` has started, the first gives out chunks of files and writes; each of the others
is in `help_score`.
"""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import distributed
from tqdm.auto import tqdm

from cardiov.ecg.leads import read_ecg
from cardiov.errors import CardioVError, ParameterError, SignalError
from cardiov.mapping import LEVELS
from cardiov.processes import launched, rank, together
from cardiov.scoring.record import NOT_A_DEVICE, Score, load_model, model_name, score_all
from cardiov.store.files import storing

CHUNK = 32  # files that a process takes at once
CHUNK_GPU = 256  # and with a GPU
PATIENCE = timedelta(hours=1)  # as `cardiov.processes.PATIENCE`, but a chunk of records of a day takes long
FEW = 64  # files that are done before further processes would have started
TOGETHER = 20_000_000  # samples, 80 MB
SUFFIXES = {".hea", ".csv", ".tsv", ".npz", ".scp", ".dcm", ".xml", ".edf"}  # looked for in folders
TABLES = {"ptbxl_database.csv", "scp_statements.csv", "ludb.csv"}  # but not these, of the data sets
FIELDS = ["file", "critical_value", "p0", "p1", "p2", "p3", "set_low", "set_high", "seconds", "fs", "windows", "warnings",
          "model"]  # fmt: skip


def find_files(paths) -> list[str]:
    """Files as they are given, and for a folder all ECGs below it, by name; each once.

    Raises
    ------
    SignalError
        If a folder holds no file of a known kind.
    """
    found = []
    for path in map(Path, paths):
        below = [path]
        if path.is_dir():
            below = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.name not in TABLES)
        if not below:
            raise SignalError(f"{path} holds no file that ends in {', '.join(sorted(SUFFIXES))}: give another folder.")
        found += map(str, below)
    return list(dict.fromkeys(found))


def score_files(files, model=None, fs=None, unit=None, processes=None) -> Iterator[tuple[str, Score | CardioVError]]:
    """Score files in their order, on several cores where they are many, or in all processes that were launched.

    Parameters
    ----------
    files : sequence of str
    model : str or path, optional
        Name or file of the weights.
    fs, unit : float and str, optional
        Sampling rate in Hz and unit of files that do not say them (see `cardiov.read_ecg`).
    processes : int, optional
        By default one for each core, and a single one for few files.

    Yields
    ------
    file : str
    outcome : Score or CardioVError
        Why the file could not be scored.

    Raises
    ------
    CheckpointError
        If the weights cannot be read.
    SignalError
        If a process was killed, as where memory is short.
    WorkerError
        If one of the launched processes was.
    """
    if launched():
        yield from _score_together(files, model, fs, unit)
        return
    load_model(model)  # before any process starts, which then has it too, and so that its error comes once
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    task = partial(_score_chunk, model=model, fs=fs, unit=unit)
    if (processes or (1 if len(files) <= FEW else os.cpu_count())) == 1:
        yield from (outcome for chunk in chunks for outcome in task(chunk))
        return
    yield from _score_on_cores(chunks, task, processes)


def _score_on_cores(chunks, task, processes):
    context = get_context("fork" if sys.platform == "linux" else "spawn")  # forked, they need not load torch again
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
        try:
            for outcomes in pool.map(task, chunks):
                yield from outcomes
        except BrokenProcessPool as error:
            raise SignalError(
                "a process that scored files was killed, perhaps for want of memory: run the command again, with "
                "--output it goes on where it stopped, or with --processes 1."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def help_score(model=None, fs=None, unit=None) -> None:
    """Score what the first of the launched processes gives out; it calls `write_scores` meanwhile.

    Parameters
    ----------
    model, fs, unit
        As in `score_files`.

    Raises
    ------
    CheckpointError, WorkerError
        As `score_files`.
    """
    for _ in _score_together(None, model, fs, unit):
        pass


def _score_together(files, model, fs, unit):
    """Outcomes of the files, in the first process; the others yield nothing, and need not know the files."""
    number, size = rank(), CHUNK
    network = load_model(model)
    if torch.cuda.is_available():
        size, torch.backends.cudnn.allow_tf32 = CHUNK_GPU, False  # single precision, as on a CPU
        network.to(f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}")
    with together():
        distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        given = [None if number else [files[start : start + size] for start in range(0, len(files), size)]]
        with together():
            distributed.broadcast_object_list(given)
        chunks, processes = given[0], distributed.get_world_size()
        for start in range(0, len(chunks), processes):
            mine = chunks[start + number : start + number + 1]  # none, where the files end
            outcomes = [outcome for chunk in mine for outcome in _score_chunk(chunk, model, fs, unit)]
            told = None if number else [None] * processes
            with together():
                distributed.gather_object(outcomes, told)
            yield from (outcome for part in told or () for outcome in part)
    finally:
        distributed.destroy_process_group()


def _score_chunk(files, model, fs, unit):
    """What became of each file; what was read is scored together, but not more than memory bears."""
    outcomes, read = {}, {}
    for file in files:
        outcomes[file] = None  # keeps its place
        try:
            read[file] = read_ecg(file, fs=fs, unit=unit)
        except CardioVError as error:
            outcomes[file] = error
        if file == files[-1] or sum(ecg.signal.size for ecg in read.values()) > TOGETHER:
            outcomes |= zip(read, score_all([*read.values()], load_model(model)), strict=True)
            read.clear()
    return list(outcomes.items())


# What is written of a score


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


def json_line(file, score) -> str:
    """A score as a line of JSON."""
    return json.dumps({"file": file, **score.as_dict()}) + "\n"


def table_lines(file, score) -> str:
    """A score for people: a line, and below it what goes with it."""
    shares = "  ".join(f"{100 * p:3.0f} %" for p in score.probabilities)
    lines = [f"{score.critical_value}  {LEVELS[score.critical_value]:11}  {shares}   {file}"]
    if score.prediction_set and score.prediction_set[0] < score.prediction_set[1]:
        lines += ["     {} to {} holds the label of 9 in 10 records".format(*score.prediction_set)]
    if len(score.windows) > 1:
        listed = ", ".join(f"{window.start:g} s: {window.critical_value}" for window in score.windows)
        lines += [f"     the gravest of {len(score.windows)} windows, from {score.windows[score.window].start:g} s; {listed}"]
    return "\n".join([*lines, *(f"     ! {warning}" for warning in score.warnings)]) + "\n"


FORMS = {  # form -> head of the output, and the text of one file
    "table": (f"{NOT_A_DEVICE}\ncritical value    0 no   1 low  2 med. 3 high   file\n", table_lines),
    "json": ("", json_line),
    "csv": (csv_line(*FIELDS), lambda file, score: csv_line(*_values(file, score))),
}


def write_scores(files, form="table", output=None, model=None, fs=None, unit=None, processes=None) -> int:
    """Score files and write each result as soon as it is there.

    Parameters
    ----------
    files : sequence of str
        From `find_files`.
    form : str
        A key of `FORMS`.
    output : path, optional
        A file that is added to: what is there already, of the same weights, is not scored again, so a run that was
        interrupted goes on. By default the results go to the standard output.
    model, fs, unit, processes
        As in `score_files`.

    Returns
    -------
    int
        How many files could not be scored; each is named on the standard error with the reason.

    Raises
    ------
    ParameterError
        If `output` holds something else than results of this form and these weights.
    CheckpointError, SignalError, WorkerError
        As `score_files`.
    StorageError
        If there is no space, or no permission, to write `output`.
    """
    head, text = FORMS[form]
    done = set() if output is None else _resume(Path(output), form, model_name(load_model(model)))
    left = [file for file in files if file not in done]
    outcomes = score_files(left, model, fs, unit, processes)
    outcomes = tqdm(outcomes, "scoring", len(files), initial=len(files) - len(left), unit=" files", disable=None)
    if output is None:
        return _write(outcomes, sys.stdout, head, text)
    with storing(Path(output)), open(output, "a", encoding="utf-8") as stream:
        return _write(outcomes, stream, "" if stream.tell() else head, text)


def _write(outcomes, stream, head, text):
    """Write each result, and name the files that gave none; their number."""
    bad = 0
    stream.write(head)
    for file, outcome in outcomes:
        if isinstance(outcome, CardioVError):
            bad += 1
            tqdm.write(str(outcome), file=sys.stderr)
        else:
            stream.write(text(file, outcome))
            stream.flush()
    return bad


def _resume(output, form, model):
    """Files whose results are in a file, from which half a line at the end is cut off."""
    content = output.read_bytes() if output.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    half, head = content[len(whole) :], FORMS[form][0].encode()
    try:
        rows = _rows(whole.decode(), form)
        done, models = {row["file"] for row in rows}, {row["model"] for row in rows}
        ours = whole.startswith(head) if whole else (head or b'{"file": ').startswith(half[:9])
    except (ValueError, KeyError, TypeError):
        ours, models = False, set()
    if not ours or models - {model}:
        what = f"results of {', '.join(sorted(models))}" if ours else f"something else than results as {form}"
        raise ParameterError(f"{output} holds {what}: give --output another file.")
    if half:
        os.truncate(output, len(whole))
    return done


def _rows(text, form):
    if form == "json":
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(io.StringIO(text)))
