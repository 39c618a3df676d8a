"""Score many ECG files: on all cores, bad files named and skipped. `cardiov.scoring.outputs` writes what comes.

One process writes, whatever scores: a pool of processes here, the workers of a cluster in `cardiov.scoring.cluster`.
"""

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from cardiov.ecg.formats import format_of
from cardiov.ecg.holter import read_unless_long
from cardiov.ecg.leads import ECG, MAX_RATE, MIN_RATE
from cardiov.ecg.recording import MILLIVOLTS
from cardiov.errors import CardioVError, ParameterError, SignalError
from cardiov.scoring.holter import score_long
from cardiov.scoring.network import load_model, one_thread
from cardiov.scoring.record import Score, score_all
from cardiov.scoring.remote import is_address, list_address, read_address

CHUNK = 32  # files that a process takes at once
SMALL_ARCHIVE = 64  # files that one process scores before others would have started
MAX_SAMPLES = 20_000_000  # scored at once, 80 MB
# looked for in folders
SUFFIXES = {".hea", ".csv", ".tsv", ".npz", ".scp", ".dcm", ".xml", ".edf", ".bdf", ".ecg", ".mwf", ".mfer", ".mfr"}
TABLES = {"ptbxl_database.csv", "scp_statements.csv", "ludb.csv", "ptbxl_examples.csv"}  # but not these, of the data sets
RESULTS = b"file,critical_value,", b"file,format,outcome,", b'{"file": '  # nor what begins so: it was written by `outputs`


class Outcome(NamedTuple):
    """What became of a file."""

    file: str
    result: Score | CardioVError  # the score, or the reason for none
    format: str = ""  # in which it was written, such as "WFDB"; empty if unknown
    seconds: float = 0.0  # that reading and scoring took


def find_files(paths, listing=None, leave_out=()) -> list[str]:
    """Files, all ECGs below folders, by name, and the files that a listing names line by line; each once.

    Files and folders may be addresses in an object store, such as ``s3://bucket/ecgs``. In folders, earlier results and the files
    to leave out, such as an output, are no ECGs. A folder that cannot be listed is among the files, so that it is named.

    Raises
    ------
    SignalError
        If a folder holds no file of a known kind.
    ParameterError
        If the listing cannot be read, or there is no file.
    """
    leave_out = {os.path.realpath(path) for path in (*leave_out, listing) if path}
    files = [file for path in paths for file in _files_at(path, leave_out)] + ([] if listing is None else _listed(listing))
    if not files:
        raise ParameterError("there is no file to score: give a file, a folder or a --listing.")
    return list(dict.fromkeys(files))


def _files_at(path, leave_out):
    if not str(path):
        raise ParameterError("the name of a file is empty: give a file or a folder.")
    if is_address(path):
        below = list_address(path)
    elif os.path.isdir(path):
        return _files_below(path, leave_out)
    else:
        return [str(Path(path))]
    return below if below == [path] else _ecgs(below, path)  # the address of a file, or of a folder


def _files_below(folder, leave_out):
    unlisted = []
    walked = os.walk(folder, onerror=lambda error: unlisted.append(error.filename))
    below = [str(file) for file in sorted(Path(place, name) for place, _, names in walked for name in names)]
    hidden = {*map(os.path.basename, leave_out)}  # to resolve every name would take long
    files = [file for file in _ecgs(below, folder, unlisted) if not _is_result(file)]
    return [file for file in files if Path(file).name not in hidden or os.path.realpath(file) not in leave_out] + unlisted


def _ecgs(below, folder, unlisted=()):
    suffixes = {file: Path(file.lower().removesuffix(".gz")).suffix for file in below}
    files = [file for file in below if suffixes[file] in SUFFIXES and Path(file).name not in TABLES]
    if not files and not unlisted:
        raise SignalError(f"{folder} holds no file that ends in {', '.join(sorted(SUFFIXES))}: give another folder.")
    return files


def _is_result(file):
    """Whether a file holds results of this or an earlier run."""
    if not file.lower().endswith((".csv", ".json")):
        return False
    try:
        with open(file, "rb") as stream:
            return stream.read(max(map(len, RESULTS))).startswith(RESULTS)
    except OSError:  # whoever scores it says so
        return False


def _listed(listing):
    try:
        content = Path(listing).read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise ParameterError(f"{listing} cannot be read as a list of files ({error.strerror}): give a text file.") from error
    if b"\0" in content:
        raise ParameterError(f"{listing} cannot be read as a list of files (it is binary or UTF-16): give a text file in UTF-8.")
    files = [os.fsdecode(line.strip()) for line in content.splitlines() if line.strip()]  # names need not be UTF-8
    if not files:
        raise ParameterError(f"{listing} names no file: write one a line.")
    return files


def check_settings(model=None, fs=None, unit=None, processes=None, bridge_gaps=None, ignore_checksum=False) -> None:
    """Refuse settings of `score_files` that suit no file; raises `ParameterError`."""
    if model == "":
        raise ParameterError("the name of the weights is empty: give a name or a file, or leave --model out.")
    if fs is not None and not MIN_RATE <= fs <= MAX_RATE:
        raise ParameterError(f"no ECG is sampled at {fs:g} Hz: give a rate of {MIN_RATE:g} to {MAX_RATE:,.0f} Hz.")
    if unit is not None and unit.lower() not in MILLIVOLTS:
        raise ParameterError(f"the unit {unit!r} is unknown: give uV, mV or V.")
    if processes is not None and processes < 1:
        raise ParameterError(f"{processes} processes cannot score: give 1 or more.")
    if bridge_gaps is not None and not 0 < bridge_gaps < math.inf:
        raise ParameterError(f"gaps of {bridge_gaps:g} ms cannot be bridged: give a number of milliseconds above 0.")


def score_files(files, model=None, processes=None, **reading) -> Iterator[Outcome]:
    """Score files in their order, many files on several cores.

    ``model`` is a name or file of weights; ``reading`` holds keywords of `cardiov.read_ecg`, such as ``fs``; by default there is one
    process per core, or one for few files.

    Raises
    ------
    CheckpointError, SignalError
        If the weights cannot be read, or a process was killed.
    """
    load_model(model)  # so that its error comes once, and forked processes have it
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    task = partial(score_chunk, model=model, **reading)
    if (processes or (1 if len(files) <= SMALL_ARCHIVE else os.cpu_count())) == 1:
        yield from chain.from_iterable(map(task, chunks))
    else:
        yield from _score_on_cores(chunks, task, min(processes or os.cpu_count(), len(chunks)))


def _score_on_cores(chunks, task, processes):
    # forked processes need not load the network again, but pyarrow's object stores do not survive a fork
    forked = sys.platform == "linux" and not any(map(is_address, chain.from_iterable(chunks)))
    context, others = multiprocessing.get_context("fork" if forked else "spawn"), multiprocessing.active_children()
    with ProcessPoolExecutor(processes, context, _begin_worker) as pool:
        try:
            with _interrupts_waiting():
                outcomes = pool.map(task, chunks)
            yield from chain.from_iterable(outcomes)
        except BrokenProcessPool as error:
            raise SignalError(
                "a process that scored files was killed, perhaps for want of memory: run the command again, with "
                "--output it goes on where it stopped, or with --processes 1."
            ) from error
        except (GeneratorExit, KeyboardInterrupt):  # nobody wants the rest of the chunks that have begun
            for process in {*multiprocessing.active_children()} - {*others}:
                process.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_waiting():
    """Let Ctrl-C wait for the end of the block; processes that start in it never receive it, and leave it to their parent."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker():
    one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def score_chunk(files, model, **reading) -> list[Outcome]:
    """Outcomes of files; what was read is scored together, but no more than `MAX_SAMPLES`."""
    results, ecgs, seconds = {}, {}, dict.fromkeys(files, 0.0)
    for file in files:
        start = time.perf_counter()
        results[file] = ecg = _read(file, model, reading)
        seconds[file] += time.perf_counter() - start
        if isinstance(ecg, ECG):
            ecgs[file] = ecg
        if ecgs and (file == files[-1] or sum(ecg.signal.size for ecg in ecgs.values()) > MAX_SAMPLES):
            start = time.perf_counter()
            results |= zip(ecgs, score_all([*ecgs.values()], model), strict=True)
            share = (time.perf_counter() - start) / len(ecgs)
            seconds |= {scored: seconds[scored] + share for scored in ecgs}
            ecgs.clear()
    return [Outcome(file, result, format_of(file), seconds[file]) for file, result in results.items()]


def _read(file, model, reading):
    """A file's ECG, or the score of one that is too long to be read as a whole."""
    try:
        ecg = read_address(file, **reading) if is_address(file) else read_unless_long(file, **reading)
        return score_long(file, model, **reading) if ecg is None else ecg
    except CardioVError as error:
        return error
    except Exception as error:  # one file must not end the run, nor every run that goes on with it
        return SignalError(f"{file} cannot be read ({type(error).__name__}: {error}): check it, or leave it out.")
