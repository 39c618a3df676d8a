"""Processes that torchrun starts train the network that one would, and end together with one sentence.

Tolerances were fixed before the runs: the same gradients are added in another order, which rounds otherwise.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import BEYOND, CONFIG, DOUBLE, TINY, make_data, run
from torch import nn
from torch.distributed import TCPStore

from cardiov.errors import ParameterError, WorkerError
from cardiov.training import processes
from cardiov.training.devices import make_fabric
from cardiov.training.phase import Phase
from cardiov.training.trainer import Trainer

PATIENCE = 600  # s; only so that a hang ends
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
SCRIPT = """
import argparse, json, os, signal, sys, time
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from cardiov import __main__ as command_line
from cardiov.store import files
from cardiov.training import devices
from cardiov.training.config import TrainingConfig
from cardiov.training.phase import Phase
from cardiov.training.run import fit
from tiny_runs import open_data
rank, folder = int(os.environ["RANK"]), Path({folder!r})
{before}
def train(*_, **__):
    torch.set_num_threads(1)
    for name, fields in json.loads({configs!r}).items():
        fit(TrainingConfig(**fields), *open_data({data!r}), folder / name / "weights", folder / name / "run")
parser = argparse.ArgumentParser()
parser.set_defaults(run=train)
command_line.command_line = lambda: parser
sys.exit(command_line.main([]))
"""
EQUAL = replace(CONFIG, micro_batch=4, settle=64, model=TINY | {"dropout": 0.0})  # nothing random, and equal pieces
IN_DOUBLE = replace(EQUAL, **DOUBLE)
# without crops and augmentation, whose random numbers every process draws for itself
STEADY = {name: value for name, value in BEYOND.items() if name not in ("crop", "augment", "windows")}
CONFIGS = {"double": IN_DOUBLE, "beyond": replace(IN_DOUBLE, **STEADY), "single": EQUAL}
TOLERANCES = {"double": 2e-6, "beyond": 2e-6, "single": 1e-4}  # of logits, which are stored to six digits, and of losses
LOST = "another process was lost, or the job was ended: run the same command again"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Folder of the data, for processes of their own."""
    folder = tmp_path_factory.mktemp("records")
    make_data(folder)
    return folder


def command(folder, records, configs, before="", options=("--standalone", "--nproc-per-node=2")):
    folder.mkdir(exist_ok=True)
    configs = json.dumps({name: asdict(config) for name, config in configs.items()})
    places = {"tests": str(Path(__file__).parents[1]), "folder": str(folder), "data": str(records)}
    script = folder / "train.py"
    script.write_text(SCRIPT.format(**places, configs=configs, before=before))
    return [*TORCHRUN, *options, str(script)]


def torchrun(*arguments, **settings):
    return subprocess.run(command(*arguments, **settings), capture_output=True, text=True, timeout=PATIENCE)


def outputs(folder):
    return pd.read_csv(folder / "run/predictions.csv").filter(like="output_")


def weights(folder):
    return load_file(folder / "weights/weights.safetensors")


def assert_same_training(one, other, tolerance):
    assert np.abs(outputs(one) - outputs(other)).to_numpy().max() < tolerance
    assert outputs(one).std().min() > 1e-3  # and not because all predictions are alike
    losses = [pd.read_csv(folder / "run/history.csv").filter(like="loss") for folder in (one, other)]
    assert np.abs(losses[0] - losses[1]).to_numpy().max() < tolerance
    for name, value in weights(one).items():
        assert name.endswith("num_batches_tracked") or (value - weights(other)[name]).abs().max() < tolerance, name


NOTE = """
epoch = Phase.epoch
def epoch_and_note(self, number):
    loss = epoch(self, number)
    torch.save((torch.get_rng_state(), loss, self.model.state_dict()), folder / f"{rank}.pt")
    return loss
Phase.epoch = epoch_and_note
"""
DIE = """
epoch = Phase.epoch
def epoch_or_die(self, number):
    if (rank, self.number, number) == (1, 1, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return epoch(self, number)
Phase.epoch = epoch_or_die
"""


@pytest.fixture(scope="module")
def two(records, tmp_path_factory):
    """Folder of the trainings of two processes, and what came of the command."""
    folder = tmp_path_factory.mktemp("two")
    done = torchrun(folder, records, CONFIGS | {"dropout": replace(CONFIG, micro_batch=4)}, NOTE)
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_train_the_network_of_one(data, two, tmp_path, name):
    run(CONFIGS[name], data, tmp_path)
    assert_same_training(tmp_path, two[0] / name, TOLERANCES[name])


def test_one_process_writes_and_speaks(two):
    folder, done = two
    assert done.stderr.count("classification epoch 1/1") == len(CONFIGS) + 1 and done.stdout == ""
    files = {path.name for path in (folder / "double").rglob("*") if path.is_file()}
    assert files == {"weights.safetensors", "predictions.csv", "history.csv", "provenance.json"}


def test_processes_draw_their_own_random_numbers_and_keep_the_mean_of_their_statistics(two):
    (state, loss, first), (other_state, other_loss, second) = (torch.load(two[0] / f"{rank}.pt") for rank in (0, 1))
    assert not torch.equal(state, other_state) and loss == other_loss
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("processes", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_killed_process_ends_the_training_which_any_number_continues(data, records, tmp_path, processes, capsys):
    killed = torchrun(tmp_path / "killed", records, {"a": IN_DOUBLE}, DIE)
    assert killed.returncode == 1 and killed.stderr.count(LOST) == 1
    assert "WorkerError" not in killed.stderr and "RuntimeError" not in killed.stderr
    assert [path.name for path in (tmp_path / "killed/a").rglob("*") if path.is_file()] == ["checkpoint.pt"]
    if processes == 1:
        run(IN_DOUBLE, data, tmp_path / "killed/a")
        progress = capsys.readouterr().err
    else:
        several = ("--standalone", f"--nproc-per-node={processes}")
        progress = torchrun(tmp_path / "killed", records, {"a": IN_DOUBLE}, options=several).stderr
    assert "ordinal epoch 2/2" in progress and "ordinal epoch 1/2" not in progress
    run(IN_DOUBLE, data, tmp_path / "whole")
    assert_same_training(tmp_path / "whole", tmp_path / "killed/a", TOLERANCES["double"])


FULL = """
import errno
move = os.replace
def move_unless_full(source, target):
    if Path(target).name == "checkpoint.pt":
        raise OSError(errno.ENOSPC, "No space left on device")
    move(source, target)
files.os.replace = move_unless_full
"""
STUCK = """
devices.PATIENCE = timedelta(seconds=30)
if rank:
    Phase.validate = lambda *_: time.sleep(1e6)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "before", "sentence"), [
    ({"batch_size": 1}, "", "2 processes cannot share a batch of 1 records: start fewer processes."),
    ({}, FULL, "no space left to write"),  # in the first process only
    ({}, STUCK, LOST),
    ({"sync_batch_norm": True}, "", "sync_batch_norm needs a GPU for each process"),
])  # fmt: skip
def test_what_goes_wrong_is_said_once_and_leaves_no_half_file(records, tmp_path, changes, before, sentence):
    done = torchrun(tmp_path, records, {"a": replace(CONFIG, **changes)}, before)
    assert done.returncode == 1 and done.stderr.count(sentence) == 1
    assert done.stderr.count(LOST) == (sentence == LOST) and done.stderr.count("Traceback") == 1  # torchrun's own
    assert not [path for path in (tmp_path / "a").rglob("*") if path.is_file() and path.name != "checkpoint.pt"]


LONG = replace(CONFIG, pretrain_epochs=10_000)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_the_processes_end_with_torchrun(records, tmp_path, sent):
    before = '(folder / f"{os.getpid()}.pid").touch()'
    job = subprocess.Popen(command(tmp_path, records, {"a": LONG}, before), stderr=subprocess.PIPE, text=True)
    until = time.time() + PATIENCE
    while not (tmp_path / "a/weights/checkpoint.pt").exists():
        assert job.poll() is None and time.time() < until
        time.sleep(0.1)
    job.send_signal(sent)
    stderr = job.communicate(timeout=PATIENCE)[1]
    assert job.returncode != 0 and stderr.count(LOST) == (sent == signal.SIGTERM)
    pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
    while alive := [pid for pid in pids if is_running(pid)]:
        assert time.time() < until, alive
        time.sleep(0.1)
    assert len(pids) == 2


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_two_machines_train_as_one_process(data, records, tmp_path):
    """Each machine is a torchrun of its own here, and both share this one's network and files."""
    with socket.create_server(("localhost", 0)) as free:
        place = f"localhost:{free.getsockname()[1]}"
    options = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=two", f"--rdzv-endpoint={place}"]
    machine = command(tmp_path / "two", records, {"a": IN_DOUBLE}, options=options)
    machines = [subprocess.Popen(machine, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for job in machines:
        assert job.communicate(timeout=PATIENCE) and job.returncode == 0
    run(IN_DOUBLE, data, tmp_path / "one")
    assert_same_training(tmp_path / "one", tmp_path / "two/a", TOLERANCES["double"])


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ParameterError, match="2 processes need as many GPUs, and here are 1: start fewer"):
        make_fabric()


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"batch_size": 1}, "2 processes cannot share a batch of 1 records: start fewer processes"),
    ({"sync_batch_norm": True}, "sync_batch_norm needs a GPU for each process: set it to false, or start one process"),
])  # fmt: skip
def test_what_several_processes_cannot_train_is_refused(changes, sentence):
    two = {"fabric": SimpleNamespace(world_size=2, device=torch.device("cpu")), "rows": {"train": range(64)}}
    Trainer._check_processes(SimpleNamespace(**two, config=CONFIG))
    with pytest.raises(ParameterError, match=sentence):
        Trainer._check_processes(SimpleNamespace(**two, config=replace(CONFIG, **changes)))


def test_the_first_of_several_processes_reports_an_error(monkeypatch, capsys):
    """torchrun's store, which outlives the processes, knows whether one has spoken."""
    store = TCPStore("localhost", 0, is_master=True)
    for name, value in {"TORCHELASTIC_RUN_ID": "a", "MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port)}.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        processes.report(WorkerError("a sentence."))
    assert capsys.readouterr().err == "\na sentence.\n"


@pytest.mark.parametrize(("asked", "world", "synchronised"), [(True, 2, True), (True, 1, False), (False, 2, False)])
def test_batch_norm_is_synchronised_where_asked_for(asked, world, synchronised):
    fabric = SimpleNamespace(world_size=world, device=torch.device("cpu"))
    config = replace(CONFIG, sync_batch_norm=asked)
    model = Phase._build(SimpleNamespace(config=config, fabric=fabric, objective="ordinal", number=0), None)
    plain = Phase._build(SimpleNamespace(config=CONFIG, fabric=fabric, objective="ordinal", number=0), None)
    norms = [module for module in model.modules() if isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm))]
    assert len(norms) == 6 and all(isinstance(norm, nn.SyncBatchNorm) == synchronised for norm in norms)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in plain.state_dict().items())


def test_only_a_broken_exchange_is_another_processs_fault():
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"), processes.exchanging():
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="size mismatch"), processes.exchanging():
        raise RuntimeError("size mismatch")
    for error in (torch.distributed.DistBackendError("NCCL error"), RuntimeError("[gloo/transport/pair.cc:1] Connection closed")):
        with pytest.raises(WorkerError, match=LOST), processes.exchanging():
            raise error
