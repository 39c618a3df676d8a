"""Score files on a Ray cluster, for archives that are too large for one machine.

Ray Data gives chunks of file names to workers, each of which holds the network, and brings back their scores. Only the
process that was started by the user writes (`cardiov.archive.write_scores`), and a chunk's scores come all together or
not at all. So when a worker is killed, its chunk is scored again by another, and nothing is lost or written twice.

Files must be visible to all workers under the same path: on a shared disk, or in an object store. The package must be
installed on every machine. Of a million files, only the names are held in memory here, and signals only where they are
scored. Where a cluster has GPUs, only machines with GPUs score.
"""

import logging
import os
import pickle
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlsplit

import torch

from cardiov.archive import CHUNK, is_address, is_ecg, no_ecg_in, score_ecgs
from cardiov.errors import CardioVError, ParameterError, SignalError, WorkerError
from cardiov.formats import MAX_BYTES
from cardiov.scoring import Score, load_model
from cardiov.signals import read_ecg

CHUNK_GPU = 256  # files of a chunk, where the cluster has GPUs
CHUNKS = 10_000  # at most, since Ray keeps account of each; of a million files each has 100
SHARES = 8  # chunks of a worker at least, so that all end at about the same time
TRIES = 4  # of a chunk whose worker was killed: Ray would try for ever a file that kills every worker
WORKERS_PER_GPU = 4  # reading and filtering take a core longer than the network takes a GPU
READERS = 8  # files that a worker fetches at once from an object store, which answers slowly
AGAIN = "run the command again, with --output it goes on where it stopped"


def score_files(
    files, model=None, fs=None, unit=None, processes=None, address="local"
) -> Iterator[tuple[str, Score | CardioVError]]:
    """Score files on a cluster; they come in the order in which they are done.

    Parameters
    ----------
    files, model, fs, unit
        As in `cardiov.archive.score_files`; files may be addresses such as ``s3://bucket/ecg.hea``.
    processes : int, optional
        Number of workers; by default one for each core, or four for each GPU where the cluster has GPUs.
    address : str
        Of a running cluster's head, such as "10.0.0.1:6379"; "local" starts a cluster on this machine.

    Yields
    ------
    file : str
    outcome : Score or CardioVError

    Raises
    ------
    ParameterError
        If Ray is not installed, or no cluster answers at the address.
    CheckpointError
        If the weights cannot be read.
    WorkerError
        If the cluster was lost.
    """
    network = load_model(model)
    if not files:
        return
    waiting = set(files)
    with _connected(address, processes) as ray:
        for file, outcome in _outcomes(ray, files, processes, network, fs, unit):
            if file in waiting:  # whatever Ray repeats
                waiting.remove(file)
                yield file, outcome
    if waiting:
        raise WorkerError(f"{len(waiting):,} files came back from the cluster without a score: {AGAIN}.")


@contextmanager
def _connected(address, processes):
    """Ray, in connection with a cluster."""
    ray = _ray()
    local = {"num_cpus": processes, "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ParameterError(
            f"no Ray cluster answers at {address} ({reason}): start one there by 'ray start --head', or give --cluster local."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _ray():
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a cluster reports on itself to Ray's makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters comes as an error of Python
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ParameterError('--cluster needs Ray, which is not installed: pip install "cardiov[cluster]".') from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors are raised, too
    return ray


def _outcomes(ray, files, processes, network, fs, unit):
    """Files and outcomes, chunk by chunk as they are done."""
    import pyarrow

    ray.data.DataContext.get_current().enable_progress_bars = False  # `write_scores` has its own
    count, resources = _workers(ray.cluster_resources(), processes)
    size = _chunk_size(len(files), count, CHUNK_GPU if resources["num_gpus"] else CHUNK)
    parts = (files[start : start + size] for start in range(0, len(files), size))
    chunks = ray.data.from_arrow([pyarrow.table({"file": part, "place": [*map(_absolute, part)]}) for part in parts])
    tries = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Tries).remote()
    scored = chunks.map_batches(
        _Worker, fn_constructor_args=(network, fs, unit, tries), batch_size=None, batch_format="pyarrow", zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(size=count), **resources,
    )  # fmt: skip
    try:
        for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
            for outcomes in batch["outcomes"]:
                yield from pickle.loads(outcomes.as_buffer())
    except ray.exceptions.RayError as error:
        raise _cause(error) from error


def _workers(resources, processes):
    """Number of workers, and what each takes of a cluster's resources."""
    cores, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    most = min(cores, WORKERS_PER_GPU * gpus) if gpus else cores
    return max(1, min(processes or most, most)), {"num_cpus": 1, "num_gpus": 1 / WORKERS_PER_GPU if gpus else 0}


def _chunk_size(files, workers, most):
    """Files of a chunk: few enough to share them out evenly, enough for Ray to keep account of the chunks."""
    even = -(-files // (SHARES * workers))
    return max(min(most, even), -(-files // CHUNKS))


def _absolute(file):
    """A path that holds in the workers' folders, too."""
    return file if is_address(file) else os.path.abspath(file)


def _cause(error):
    """The package's own error, where a worker has raised it; else the loss of a worker or of the cluster."""
    cause = error
    while cause is not None and not isinstance(cause, CardioVError):
        cause = getattr(cause, "cause", None) or cause.__cause__
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return cause or WorkerError(f"the cluster was lost, or a worker failed ({reason}): {AGAIN}.")


class _Worker:
    """Scores chunks of files; Ray makes one for each process, on its own share of a GPU where there are GPUs."""

    def __init__(self, network, fs, unit, tries):
        torch.set_num_threads(1)
        self.network, self.settings, self.tries = network, {"fs": fs, "unit": unit}, tries
        if torch.cuda.is_available():
            torch.backends.cudnn.allow_tf32 = False  # single precision, as on a CPU
            self.network.to("cuda")

    def __call__(self, chunk):
        """From a table of ``file`` and ``place`` to one of a single row: the chunk's outcomes, pickled."""
        import ray

        files, places = (chunk[name].to_pylist() for name in ("file", "place"))
        if ray.get(self.tries.begin.remote(files[0])) > TRIES:
            outcomes = [(file, _given_up(file)) for file in files]
        else:
            with ThreadPoolExecutor(READERS) as pool:
                outcomes = list(score_ecgs(_read_ahead(pool, files, places, self.settings), self.network))
        return {"outcomes": [pickle.dumps(outcomes)]}


class _Tries:
    """How often each chunk was begun, in a process of its own, which outlives the workers."""

    def __init__(self):
        self.counts = Counter()

    def begin(self, chunk):
        """Count once more; the number of tries with this one."""
        self.counts[chunk] += 1
        return self.counts[chunk]


def _given_up(file):
    return WorkerError(
        f"{file} was not scored, because {TRIES} workers were killed while they had it and its neighbours: run the command "
        "again, which takes fewer files at a time."
    )


def _read_ahead(pool, files, places, settings):
    """Files with their ECGs, or the reason why they cannot be read; `READERS` of them are read at once from a store."""
    for start in range(0, len(files), READERS):
        part = slice(start, start + READERS)
        yield from zip(files[part], pool.map(lambda place: _read(place, settings), places[part]), strict=True)


def _read(place, settings):
    try:
        return read_address(place, **settings) if is_address(place) else read_ecg(place, **settings)
    except CardioVError as error:
        return error


# Object stores


def list_address(address) -> list[str]:
    """The address of a file itself, or the addresses of all ECGs below a folder, by name.

    Raises
    ------
    SignalError
        If there is no such file or folder, or no ECG in the folder.
    ParameterError
        If Ray's packages are not installed, or the kind of address is unknown.
    """
    filesystem, path = _resolve(address)
    from pyarrow.fs import FileSelector, FileType

    with _fetching(address):
        if filesystem.get_file_info(path).type != FileType.Directory:
            return [address]
        below = filesystem.get_file_info(FileSelector(path, recursive=True))
    files = sorted(info.path for info in below if info.type == FileType.File and is_ecg(info.base_name))
    if not files:
        raise no_ecg_in(address)
    base = urlsplit(address)
    names = (quote(file[len(path.rstrip("/")) :]) for file in files)
    return [base._replace(path=base.path.rstrip("/") + name).geturl() for name in names]


def read_address(address, fs=None, unit=None):
    """Read an ECG from an object store, as `cardiov.read_ecg` does from a disk.

    Raises
    ------
    SignalError
        If it cannot be fetched or read.
    """
    filesystem, path = _resolve(address)
    with TemporaryDirectory() as folder:
        try:
            return read_ecg(_fetch(filesystem, PurePosixPath(path), Path(folder), address), fs=fs, unit=unit)
        except SignalError as error:  # names the store, not the temporary folder
            raise SignalError(str(error).replace(f"{folder}/", address[: address.rindex("/") + 1])) from error


def _fetch(filesystem, path, folder, address):
    """Copy an ECG's file into a folder, with a WFDB header the signal files that it names; the local file."""
    if path.suffix in ("", ".dat", ".mat"):  # WFDB records may be named so
        path = path.with_suffix(".hea")
    local = folder / path.name
    with _fetching(address):
        local.write_bytes(_content(filesystem, path, address))
        for name in _signal_files(local) if path.suffix == ".hea" else ():
            (folder / name).write_bytes(_content(filesystem, path.with_name(name), address))
    return local


def _signal_files(header):
    """Names of the signal files of a WFDB header, each of which must lie beside it."""
    lines = header.read_text(encoding="latin-1").splitlines()
    words = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return {line[0] for line in words[1:] if line[0] == PurePosixPath(line[0]).name and line[0] not in ("~", "..", header.name)}


def _content(filesystem, path, address):
    with filesystem.open_input_file(str(path)) as stream:
        if stream.size() > MAX_BYTES:
            raise SignalError(f"{address} is larger than the {MAX_BYTES // 2**20} MB allowed: cut out a part.")
        return stream.read()


@contextmanager
def _fetching(address):
    """Say in one sentence why something cannot be fetched."""
    try:
        yield
    except OSError as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise SignalError(f"{address} cannot be fetched ({reason}): check the address and your access to it.") from error


def _resolve(address):
    """The file system and the path in it that an address stands for."""
    try:
        from pyarrow import ArrowInvalid, fs
    except ImportError as error:
        raise ParameterError(f'{address} needs pyarrow, which is not installed: pip install "cardiov[cluster]".') from error
    try:
        return fs.FileSystem.from_uri(address)
    except (ArrowInvalid, OSError) as error:
        raise ParameterError(
            f"{address} is no address of a known kind ({error}): give one such as s3://, gs://, abfs://, hdfs:// or file://."
        ) from error
