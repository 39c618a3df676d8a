"""Score many ECG files: on all cores, bad files named and skipped, results written as they come, resumable.

One process writes, whatever scores: here a pool of processes, in `cardiov.cluster` the workers of a Ray cluster.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

import torch
from tqdm.auto import tqdm

from cardiov import outputs
from cardiov.errors import CardioVError, ParameterError, SignalError
from cardiov.scoring import Score, load_model, model_name, score_all
from cardiov.signals import read_ecg

CHUNK = 32  # files that a process takes at once
FEW = 64  # files that are done before further processes would have started
TOGETHER = 20_000_000  # samples, 80 MB
SUFFIXES = {".hea", ".csv", ".tsv", ".npz", ".scp", ".dcm", ".xml", ".edf"}  # looked for in folders
TABLES = {"ptbxl_database.csv", "scp_statements.csv", "ludb.csv"}  # but not these, of the data sets


def find_files(paths, listing=None, list_address=None) -> list[str]:
    """Files as they are given, and for a folder all ECGs below it, by name; each once.

    Parameters
    ----------
    paths : sequence of str or path
        Files, folders, and addresses of an object store such as ``s3://bucket/ecgs``.
    listing : path, optional
        A text file with one further file or address a line; folders are not looked for in it.
    list_address : callable, optional
        Gives the addresses of the ECGs at an address (`cardiov.cluster.list_address`).

    Raises
    ------
    SignalError
        If a folder holds no file of a known kind.
    ParameterError
        If the listing cannot be read, there is no file at all, or an address is given without `list_address`.
    """
    listed = _read_listing(listing) if listing else []
    address = next((path for path in [*paths, *listed] if is_address(path)), None)
    if address and list_address is None:
        raise ParameterError(f"{address} is the address of an object store: give --cluster, such as --cluster local.")
    files = chain.from_iterable(list_address(path) if is_address(path) else _list_folder(Path(path)) for path in paths)
    files = list(dict.fromkeys([*files, *listed]))
    if not files:
        raise ParameterError("there is no file to score: give a file, a folder or a --listing.")
    return files


def is_address(path) -> bool:
    """Whether a path is the address of an object store."""
    return "://" in str(path)


def is_ecg(name) -> bool:
    """Whether a file in a folder is taken for an ECG, by its name."""
    name = PurePosixPath(name)
    return name.suffix.lower() in SUFFIXES and name.name not in TABLES


def no_ecg_in(folder) -> SignalError:
    """The error of a folder without ECGs."""
    return SignalError(f"{folder} holds no file that ends in {', '.join(sorted(SUFFIXES))}: give another folder.")


def _list_folder(path):
    if not path.is_dir():
        return [str(path)]
    files = sorted(str(file) for file in path.rglob("*") if is_ecg(file.name))
    if not files:
        raise no_ecg_in(path)
    return files


def _read_listing(path):
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} cannot be read as a list of files ({error}): give a text file.") from error
    return [line.strip() for line in lines if line.strip()]


def score_files(files, model=None, fs=None, unit=None, processes=None) -> Iterator[tuple[str, Score | CardioVError]]:
    """Score files in their order, on several cores where they are many.

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
    """
    load_model(model)  # before any process starts, which then has it too, and so that its error comes once
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    task = partial(_score_chunk, model=model, fs=fs, unit=unit)
    if (processes or (1 if len(files) <= FEW else os.cpu_count())) == 1:
        yield from (outcome for chunk in chunks for outcome in task(chunk))
        return
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


def _score_chunk(files, model, fs, unit):
    ecgs = ((file, _read(file, fs, unit)) for file in files)
    return list(score_ecgs(ecgs, load_model(model)))


def _read(file, fs, unit):
    try:
        return read_ecg(file, fs=fs, unit=unit)
    except CardioVError as error:
        return error


def score_ecgs(ecgs, model) -> Iterator[tuple[str, Score | CardioVError]]:
    """Score what was read of files together, but no more at a time than memory bears.

    Parameters
    ----------
    ecgs : iterable of (str, ECG or CardioVError)
        In place of an ECG, why it could not be read.
    model : CardioV

    Yields
    ------
    file, outcome
        As `score_files`.
    """
    waiting, samples = {}, 0
    for file, ecg in ecgs:
        waiting[file] = ecg
        samples += 0 if isinstance(ecg, CardioVError) else ecg.signal.size
        if samples > TOGETHER:
            yield from _score_together(waiting, model)
            waiting, samples = {}, 0
    if waiting:
        yield from _score_together(waiting, model)


def _score_together(waiting, model):
    readable = {file: ecg for file, ecg in waiting.items() if not isinstance(ecg, CardioVError)}
    scores = dict(zip(readable, score_all([*readable.values()], model), strict=True))
    return (waiting | scores).items()  # in the order of the files


def write_scores(files, form="table", output=None, model=None, fs=None, unit=None, processes=None, scorer=score_files) -> int:
    """Score files and write each result as soon as it is there.

    Parameters
    ----------
    files : sequence of str
        From `find_files`.
    form : str
        A key of `cardiov.outputs.TEXTS`, or "parquet".
    output : path, optional
        A file that is added to, or the folder of Parquet's files: what is there already, of the same weights, is not
        scored again, so a run that was interrupted goes on. By default the results go to the standard output.
    model, fs, unit, processes
        As in `score_files`.
    scorer : callable
        `score_files`, or a function that is called like it.

    Returns
    -------
    int
        How many files could not be scored; each is named on the standard error with the reason.

    Raises
    ------
    ParameterError
        If `output` holds something else than results of this form and these weights.
    CheckpointError, SignalError, WorkerError
        As `scorer`.
    StorageError
        If there is no space, or no permission, to write `output`.
    """
    output = None if output is None else Path(output)
    done = set() if output is None else outputs.resume(output, form, model_name(load_model(model)))
    remaining = [file for file in files if file not in done]
    outcomes = scorer(remaining, model, fs, unit, processes)
    initial = len(files) - len(remaining)
    failures = []
    outcomes = tqdm(outcomes, "scoring", len(files), initial=initial, unit=" files", disable=None)
    outputs.write(_scores(outcomes, failures), form, output)
    return len(failures)


def _scores(outcomes, failures):
    """Files with their scores; those that gave none are named, and added to `failures`."""
    for file, outcome in outcomes:
        if isinstance(outcome, CardioVError):
            failures.append(file)
            tqdm.write(str(outcome), file=sys.stderr)
        else:
            yield file, outcome
