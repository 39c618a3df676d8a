"""Score files on a Ray cluster, for archives that are too large for one machine.

Ray Data hands chunks of file names to workers and returns their scores. The scores of a chunk arrive together or not at all,
and one process writes them (`cardiov.scoring.outputs.write_scores`). So when a worker is killed, another scores its chunk,
and nothing is lost or written twice.

Every machine needs the package, and sees files and weights under the same path: on a shared disk, or files in an object
store. If the cluster has GPUs, only machines with GPUs score.
"""

import logging
import os
import pickle
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from socket import create_connection

from cardiov.errors import CardioVError, ParameterError, WorkerError
from cardiov.scoring.archive import CHUNK, Outcome, score_chunk
from cardiov.scoring.network import load_model, load_on_gpu, one_thread
from cardiov.scoring.remote import first_line

MIN_CHUNKS, MAX_CHUNKS = 16, 10_000  # few files are shared out too; Ray keeps account of each chunk
WORKERS_PER_GPU = 4  # a core takes longer to read and filter a record than a GPU to score it
PATIENCE = 30  # s, until the cluster's head answers
TRIES = 4  # of a chunk whose worker is killed; Ray would try for ever


def score_files(files, model=None, processes=None, address="local", **reading) -> Iterator[Outcome]:
    """`cardiov.scoring.archive.score_files` on a cluster; files come in the order in which they are done.

    The address is that of the cluster's head, such as "10.0.0.1:6379"; "local" starts a cluster on this machine. By default there
    is one process per core, or there are four per GPU if the cluster has GPUs.

    Raises
    ------
    ParameterError, CheckpointError, WorkerError
        If Ray is not installed or no cluster answers, if the weights cannot be used, or if the cluster is lost.
    """
    load_model(model)  # before a cluster starts
    waiting = dict.fromkeys(files)
    if not waiting:
        return
    with _connected(address, processes) as ray:
        for outcome in _outcomes(ray, [*waiting], processes, (os.getcwd(), model, reading)):
            if outcome.file in waiting:  # Ray may repeat a chunk
                del waiting[outcome.file]
                yield outcome
    for file in waiting:
        yield Outcome(file, WorkerError(f"{file} was not scored, because {TRIES} workers that had it and its neighbours were "
                                        "killed: run the command again, which takes fewer files at a time."))  # fmt: skip


@contextmanager
def _connected(address, processes):
    """Ray, connected to a cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray sends statistics to its makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is raised, too
    try:
        import ray.data
    except ImportError as error:
        raise ParameterError('--cluster needs Ray, which is not installed: pip install "cardiov[cluster]".') from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    local = {"num_cpus": processes, "include_dashboard": False} if address == "local" else {}
    try:
        if not local:
            host, _, port = address.rpartition(":")
            create_connection((host, int(port)), PATIENCE).close()  # Ray itself tries for minutes
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except Exception as error:  # Ray raises it bare if a node starts too slowly
        raise ParameterError(
            f"no Ray cluster answers at {address} ({first_line(error)}): give host:port of one that 'ray start --head' has "
            "started, or 'local'; under heavy load, try again."
        ) from error
    with redirect_stdout(sys.stderr):  # Ray prints that a worker was lost, some of it at its end
        try:
            yield ray
        finally:
            ray.shutdown()


def _outcomes(ray, files, processes, settings):
    """Outcomes of files, chunk by chunk."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    workers, resources = _workers(ray.cluster_resources(), processes)
    tries = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Tries).remote()
    scored = ray.data.from_items(files, override_num_blocks=_chunk_count(len(files))).map_batches(
        _Worker, fn_constructor_args=(tries, *settings), batch_size=None, batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=workers), **resources,
    )  # fmt: skip
    try:
        for row in scored.iter_rows():
            outcomes = pickle.loads(row["outcomes"])
            if isinstance(outcomes, CardioVError):
                raise outcomes
            yield from outcomes
    except ray.exceptions.RayError as error:
        raise WorkerError(
            f"the cluster was lost, or a worker failed ({first_line(error)}): run the command again, with --output it goes on "
            "where it stopped."
        ) from error


def _workers(resources, processes):
    """Number of workers, and what each takes of the cluster's resources."""
    cores, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    limit = min(cores, WORKERS_PER_GPU * gpus) if gpus else cores
    return max(1, min(processes or limit, limit)), {"num_cpus": 1, "num_gpus": 1 / WORKERS_PER_GPU if gpus else 0}


def _chunk_count(files):
    return min(max(MIN_CHUNKS, -(-files // CHUNK)), MAX_CHUNKS, files)


class _Worker:
    """Scores chunks of files in a process of its own, on its share of a GPU if the cluster has GPUs."""

    def __init__(self, tries, folder, model, reading):
        import ray

        one_thread()
        with suppress(OSError):  # a machine that sees an object store only
            os.chdir(folder)
        network = load_on_gpu(model) if ray.get_gpu_ids() else load_model(model)
        self.tries, self.network, self.reading = tries, network, reading

    def __call__(self, chunk):
        """One row: outcomes of a chunk's files, none after too many tries, or why the network cannot score at all."""
        import ray

        files = chunk["item"].tolist()
        try:
            outcomes = score_chunk(files, self.network, **self.reading) if ray.get(self.tries.begin.remote(files[0])) <= TRIES else []
        except CardioVError as error:
            outcomes = error
        return {"outcomes": [pickle.dumps(outcomes)]}


class _Tries:
    """Counts how often each chunk was begun, in a process that outlives the workers."""

    def __init__(self):
        self.counts = Counter()

    def begin(self, chunk):
        self.counts[chunk] += 1
        return self.counts[chunk]
