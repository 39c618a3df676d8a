"""Files scored on a Ray cluster: equal to one machine's scores, whatever is killed meanwhile.

A named pipe among the files holds a worker in the middle of a chunk until the test has done what it wants to do then.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from ecg_files import simulated_signal, write_csv, write_record

from cardiov.__main__ import main
from cardiov.errors import CheckpointError, ParameterError, SignalError, WorkerError
from cardiov.model import CardioV, CardioVConfig
from cardiov.scoring import cluster
from cardiov.scoring.archive import Outcome, find_files, score_files
from cardiov.store.files import ROOT

WHY = 'pip install "cardiov[cluster]"'
FILES = 60
BAD = "r20.hea"
PIPE = "r30.csv"
PATIENCE = 600  # s; only so that a hang ends


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records of 5 s, one of which is damaged and one a CSV file."""
    folder = tmp_path_factory.mktemp("ecgs")
    for k in range(FILES):
        signal = simulated_signal(5, seed=k)
        write_csv(folder / PIPE, signal) if k == 30 else write_record(folder, f"r{k:02}", signal)
    (folder / BAD).with_suffix(".dat").write_bytes(b"short")
    return folder


# Without Ray


def test_a_missing_ray_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    write_record(tmp_path)
    assert main(["score", "--cluster", "local", str(tmp_path)]) == 1
    expected = '--cluster needs Ray, which is not installed: pip install "cardiov[cluster]".'
    assert capsys.readouterr().err.splitlines()[-1] == expected


@pytest.mark.parametrize("resources, processes, workers", [
    ({"CPU": 16.0}, None, (16, 0)), ({"CPU": 16.0}, 4, (4, 0)), ({"CPU": 2.0}, 4, (2, 0)), ({}, None, (1, 0)),
    ({"CPU": 64.0, "GPU": 8.0}, None, (32, 0.25)), ({"CPU": 2.0, "GPU": 1.0}, None, (2, 0.25)),
])  # fmt: skip
def test_every_core_has_a_worker_or_every_gpu_four(resources, processes, workers):
    count, share = cluster._workers(resources, processes)
    assert (count, share["num_gpus"]) == workers


@pytest.mark.parametrize("files, count", [(1, 1), (60, 16), (10_000, 313), (1_000_000, 10_000)])
def test_chunks_are_neither_too_large_nor_too_many(files, count):
    assert cluster._chunk_count(files) == count


# On a cluster


@pytest.fixture(scope="module")
def nodes():
    """A cluster whose head only keeps the books, with two nodes of one worker each."""
    pytest.importorskip("ray.data", reason=WHY)
    if not Path("/proc").exists():
        pytest.skip("finds the workers in /proc")
    from ray.cluster_utils import Cluster

    nodes = started(lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}))
    for _ in range(2):
        started(lambda: nodes.add_node(num_cpus=1))
    yield nodes
    nodes.shutdown()


def started(start):
    """A node, whose start Ray gives up after 30 s, which a busy machine may need."""
    for _ in range(4):
        with suppress(Exception):
            return start()
    return start()


@pytest.fixture(scope="module")
def alone(folder):
    """What one process says, by file."""
    return {file: outcome for file, outcome, *_ in score_files(find_files([folder]), processes=1)}


@pytest.fixture
def pipe(folder, tmp_path):
    """The CSV file, until the test calls `release` a pipe that holds who reads it."""
    path, kept = folder / PIPE, tmp_path / PIPE
    path.rename(kept)
    os.mkfifo(path)
    yield Pipe(path, kept)
    if kept.exists():
        kept.replace(path)


class Pipe:
    """A named pipe in the place of a file."""

    def __init__(self, path, kept):
        self.path, self.kept = path, kept

    def reader(self, job):
        """Process id of the worker that reads it, from now on held by `self.stream`."""
        self.stream = wait(self._open, job)
        return wait(self._reader, job)

    def _open(self):
        try:
            return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:  # nobody reads it yet
            assert error.errno == errno.ENXIO
            return None

    def _reader(self):
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                if os.readlink(link) == str(self.path) and int(link.parts[2]) != os.getpid():
                    return int(link.parts[2])
            except OSError:  # has ended
                continue
        return None

    def release(self):
        """Put the file in the pipe's place, for whoever reads it next."""
        self.kept.replace(self.path)

    def kill(self, worker, job):
        """Kill a worker that reads it, and be sure that it is dead."""
        with suppress(ProcessLookupError):  # it may have ended with its machine
            os.kill(worker, signal.SIGKILL)
        wait(lambda: self._reader() != worker, job)
        os.close(self.stream)


def wait(ready, job):
    """What `ready` returns as soon as it is something; the bound only keeps a failing test from waiting for ever."""
    until = time.time() + PATIENCE
    while not (value := ready()):
        assert job.poll() is None and time.time() < until, job.communicate()
        time.sleep(0.05)
    return value


def start(nodes, output, *arguments):
    command = [sys.executable, "-m", "cardiov", "score", "--cluster", nodes.address, f"--{output.suffix[1:]}", "--output", output,
               *arguments]  # fmt: skip
    return subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check(job, output, alone):
    """A job has scored all files that can be, each once, as one process does."""
    said, error = job.communicate(timeout=PATIENCE)
    assert job.returncode == 1 and said == "" and "1 of 60 files could not be scored" in error, error
    assert error.count("r20") == 1 and "Traceback" not in error
    table = pd.read_csv(output) if output.suffix == ".csv" else pd.read_parquet(output)
    expected = {file: outcome for file, outcome in alone.items() if not isinstance(outcome, SignalError)}
    names = [name.removeprefix("file://") for name in table["file"]]
    assert len(names) == FILES - 1 and set(names) == set(expected)
    for name, row in zip(names, table.to_dict("records"), strict=True):
        score = expected[name]
        assert row["critical_value"] == score.critical_value and row["model"] == score.model
        assert [row[f"p{k}"] for k in range(4)] == pytest.approx(score.probabilities, abs=2e-6)
        assert (row["set_low"], row["set_high"]) == score.prediction_set and row["warnings"] == "; ".join(score.warnings)


@pytest.mark.slow
def test_a_cluster_scores_addresses_and_listed_files_as_one_process_does(nodes, folder, alone, tmp_path):
    names = sorted(os.listdir(folder))
    listed = [folder / name for name in names if name.endswith((".hea", ".csv")) and name < "r40"]
    lines = [*(f"file://{file}" for file in listed[:10]), *map(str, listed[10:])]
    (tmp_path / "listing.txt").write_text("\n".join(lines))
    others = [f"file://{folder / name}" for name in names if name.endswith(".hea") and name > "r40"]
    job = start(nodes, tmp_path / "scores.parquet", "--listing", tmp_path / "listing.txt", *others)
    check(job, tmp_path / "scores.parquet", alone)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["scores.csv", "scores.parquet"])
def test_a_killed_worker_loses_nothing_and_doubles_nothing(nodes, folder, alone, pipe, tmp_path, output):
    job = start(nodes, tmp_path / output, folder)
    worker = pipe.reader(job)
    pipe.release()
    pipe.kill(worker, job)
    check(job, tmp_path / output, alone)


@pytest.mark.slow
def test_a_lost_machine_loses_nothing_and_doubles_nothing(nodes, folder, alone, pipe, tmp_path):
    job = start(nodes, tmp_path / "scores.csv", folder)
    worker = pipe.reader(job)
    machine = next(node for node in nodes.worker_nodes if raylet(node) == parent(worker))
    pipe.release()
    nodes.remove_node(machine, allow_graceful=False)
    pipe.kill(worker, job)
    try:
        check(job, tmp_path / "scores.csv", alone)
    finally:
        started(lambda: nodes.add_node(num_cpus=1))


def raylet(node):
    return node.all_processes["raylet"][0].process.pid


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_stopped(nodes, folder, alone, pipe, tmp_path):
    output = tmp_path / "scores.csv"
    job = start(nodes, output, folder)
    pipe.reader(job)
    wait(lambda: output.exists() and output.read_text().count("\n") > 1, job)
    os.kill(job.pid, signal.SIGKILL)
    job.communicate()
    before = output.read_text()
    assert 2 < before.count("\n") < FILES
    pipe.release()
    os.close(pipe.stream)
    check(start(nodes, output, folder), output, alone)
    assert output.read_text().startswith(before[: before.rindex("\n") + 1])


@pytest.mark.slow
def test_a_file_that_kills_every_worker_is_given_up_with_its_chunk_only(nodes, folder, alone, pipe, tmp_path):
    output = tmp_path / "scores.csv"
    job = start(nodes, output, folder)
    for _ in range(cluster.TRIES):
        pipe.kill(pipe.reader(job), job)
    _, error = job.communicate(timeout=PATIENCE)
    size = -(-FILES // cluster._chunk_count(FILES))
    assert job.returncode == 1 and f"{size + 1} of 60 files could not be scored" in error and "Traceback" not in error
    assert error.count("4 workers that had it") == size and f"{folder / PIPE} was not scored" in error
    assert len(pd.read_csv(output)) == FILES - 1 - size
    pipe.release()
    check(start(nodes, output, folder), output, alone)


@pytest.mark.slow
@pytest.mark.parametrize("address", ["localhost:1", "no.host.invalid:6379", "nonsense"])
def test_a_cluster_that_is_not_there_is_one_sentence(folder, address):
    pytest.importorskip("ray.data", reason=WHY)
    with pytest.raises(ParameterError, match=f"no Ray cluster answers at {address} "):
        next(cluster.score_files(find_files([folder]), address=address))


@pytest.mark.slow
def test_errors_of_the_package_pass_through_ray(nodes, folder, tmp_path):
    weights = CardioV(CardioVConfig(stem_width=16, widths=(16, 16), depths=(1, 1))).save_pretrained
    weights(tmp_path / "weights.safetensors", name="without a rate")
    with pytest.raises(CheckpointError, match="do not say at which sampling rate"):
        list(cluster.score_files(find_files([folder]), tmp_path / "weights.safetensors", address=nodes.address))


@pytest.mark.slow
def test_a_file_that_ray_loses_or_repeats_is_noticed(nodes, monkeypatch):
    monkeypatch.setattr(cluster, "_outcomes", lambda *_: iter([Outcome("a", 1), Outcome("a", 2), Outcome("b", 3)]))
    *scored, last = cluster.score_files(["a", "b", "c"], address=nodes.address)
    assert scored == [Outcome("a", 1), Outcome("b", 3)] and last.file == "c" and isinstance(last.result, WorkerError)
