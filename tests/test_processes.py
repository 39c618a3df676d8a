"""Processes that work together: started by one command, and what happens when one of them is lost."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from cardiov.__main__ import main
from cardiov.data.cache import prepare
from cardiov.data.demo.dataset import make_demo
from cardiov.errors import WorkerError
from cardiov.processes import together
from cardiov.store.files import ROOT

TOLERANCE = 1e-4  # of logits, in single precision, fixed before the runs; gradients added in another order give 0.4
SETTINGS = {
    "rate": 100, "batch_size": 16, "micro_batch": 4, "pretrain_epochs": 4, "finetune_epochs": 6, "learning_rate": 0.003,
    "model": {"stem_width": 16, "widths": [16, 16, 16, 32, 32, 64, 64], "depths": [1] * 7, "dropout": 0.1},
}  # fmt: skip
BOUND = 90  # s: half a minute until what does not end is ended, and the rest for a slow machine


def start(*arguments):
    command = [sys.executable, "-m", "cardiov", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers(job):
    """Process ids by rank."""
    found = {}
    for pid in subprocess.run(["ps", "-o", "pid=", "--ppid", str(job.pid)], capture_output=True, text=True).stdout.split():
        with open(f"/proc/{pid}/environ") as environment:
            variables = dict(entry.split("=", 1) for entry in environment.read().split("\0") if "=" in entry)
        if "RANK" in variables:
            found[int(variables["RANK"])] = int(pid)
    return found


def kill_when(job, rank, ready):
    """Kill a worker, or the launcher if no rank is given, as soon as something is there; return what the job said."""
    until = time.time() + 120
    while not ready():
        assert job.poll() is None and time.time() < until, job.communicate()
        time.sleep(0.02)
    os.kill(job.pid if rank is None else workers(job)[rank], signal.SIGKILL)
    return job.communicate(timeout=BOUND)[1]


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """Arguments of train but for the run's folder."""
    root = tmp_path_factory.mktemp("training")
    make_demo(root / "demo", patients=120)
    prepare(root / "demo", root / "cache", 100)
    (root / "settings.yaml").write_text(yaml.safe_dump(SETTINGS))
    return ["train", "-f", root / "settings.yaml", "--data", root / "demo", "--cache", root / "cache", "--run-dir"]


def finish(processes, training, folder):
    """Logits of a run that is trained, or goes on, and the phases and epochs that it did."""
    told, error = (job := start("launch", processes, *training, folder)).communicate(timeout=240)
    assert job.returncode == 0, error
    return pd.read_csv(folder / "predictions.csv").filter(like="output_"), told


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc"), reason="finds the workers in /proc")
def test_a_lost_process_ends_the_training_and_any_number_goes_on(training, tmp_path):
    undisturbed, told = finish(2, training, tmp_path / "undisturbed")
    assert "classification epoch 1/4" in told
    for lost in (0, 1):
        folder = tmp_path / f"lost-{lost}"
        job = start("launch", 2, *training, folder)
        error = kill_when(job, lost, (folder / "checkpoint.pt").exists)
        assert job.returncode == 1 and f"one of 2 processes (number {lost}) was killed (SIGKILL)" in error
        assert "run the same command again, with any number of processes" in error and "Traceback" not in error
        assert not (folder / "predictions.csv").exists()
    for lost, processes in ((1, 1), (1, 3), (0, 2)):
        folder = tmp_path / f"{lost}-{processes}"
        shutil.copytree(tmp_path / f"lost-{lost}", folder)
        outputs, told = finish(processes, training, folder)
        assert "classification epoch 1/4" not in told and "ordinal epoch 6/6" in told  # it has gone on
        assert np.abs(outputs - undisturbed).to_numpy().max() < TOLERANCE
    assert undisturbed.std().min() > 1e-3


@pytest.mark.slow
def test_two_machines_train_as_two_processes_of_one(training, tmp_path):
    """Each machine is a torchrun of its own here, and both share this one's network and files."""
    with socket.create_server(("localhost", 0)) as free:
        place = f"localhost:{free.getsockname()[1]}"
    machine = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d",
               "--rdzv-id=two", f"--rdzv-endpoint={place}", "-m", "cardiov", *map(str, training), str(tmp_path / "two")]  # fmt: skip
    machines = [subprocess.Popen(machine, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for job in machines:
        assert job.communicate(timeout=240) and job.returncode == 0
    two = pd.read_csv(tmp_path / "two/predictions.csv").filter(like="output_")
    one, _ = finish(2, training, tmp_path / "one")
    assert np.abs(one - two).to_numpy().max() < TOLERANCE and two.std().min() > 1e-3


def test_what_cannot_be_launched_is_said_once(tmp_path, capfd):
    known = ["--data", str(tmp_path), "--cache", str(tmp_path / "absent"), "--run-dir", str(tmp_path / "run")]
    assert main(["launch", "0", "train", *known]) == 1
    assert "0 processes cannot do anything" in capfd.readouterr().err
    for wrong in (["train", "--dta", "x", *known], ["score", "x.hea"]):
        with pytest.raises(SystemExit):
            main(["launch", "2", *wrong])
        assert capfd.readouterr().err.count("error: ") == 1
    job = start("launch", 2, "train", *known)
    error = job.communicate(timeout=120)[1]
    assert job.returncode == 1 and len({*error.splitlines()}) == 1 and "absent" in error  # on a busy machine by both processes


def test_what_this_process_lacks_is_not_laid_on_the_others():
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        with together():
            raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(WorkerError, match="another process was lost"):
        with together():
            raise RuntimeError("Connection closed by peer")
