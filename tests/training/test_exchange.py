"""Several processes train the network that one would."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import IN_DOUBLE, TOGETHER, make_data, run

from cardiov import processes
from cardiov.errors import ParameterError
from cardiov.training.exchange import make_fabric

TESTS = str(Path(__file__).parents[1])
LAUNCHED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from tiny_runs import TOGETHER, open_data, run
from cardiov.training.run import fit
torch.set_num_threads(1)
folder = Path({folder!r})
for name, (config, _) in TOGETHER.items():
    fit(config, *open_data({data!r}), folder / name / "weights", folder / name / "run")
"""


def launch(processes, script, text, **places):
    script.write_text(text.format(tests=TESTS, **places))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def trained_together(tmp_path_factory):
    """Tables of predictions by (number of processes, configuration); 4 are one more than a batch has pieces."""
    root = tmp_path_factory.mktemp("together")
    make_data(root / "data")
    tables = {}
    for count in (1, 2, 4):
        folder = root / str(count)
        done = launch(count, root / f"{count}.py", LAUNCHED, folder=str(folder), data=str(root / "data"))
        assert done.returncode == 0, done.stderr[-2000:]
        assert ("a batch has 3 pieces" in done.stdout) == (count == 4)
        tables |= {(count, name): pd.read_csv(folder / name / "run" / "predictions.csv") for name in TOGETHER}
        for name in TOGETHER:
            tables[count, f"{name} history"] = pd.read_csv(folder / name / "run" / "history.csv")
    return tables


@pytest.mark.slow
@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.parametrize("processes", [2, 4])
def test_any_number_of_processes_trains_the_same_network(trained_together, name, processes):
    tolerance = TOGETHER[name][1]
    one, many = (trained_together[n, name].filter(like="output_") for n in (1, processes))
    assert np.abs(one - many).to_numpy().max() < tolerance
    assert one.std().min() > 1e-3  # and not because all predictions are alike
    one, many = (trained_together[n, f"{name} history"].filter(like="loss") for n in (1, processes))
    assert np.abs(one - many).to_numpy().max() < tolerance


@pytest.mark.slow
def test_a_launched_training_without_random_numbers_is_the_plain_one(trained_together, data, tmp_path):
    config, tolerance = TOGETHER["plain"]
    difference = run(config, data, tmp_path) - trained_together[2, "plain"].drop(columns="split")
    assert np.abs(difference.filter(like="output_")).to_numpy().max() < tolerance


def test_two_processes_train_the_same_network_as_one(data, tmp_path):
    make_data(tmp_path / "data")
    text = LAUNCHED.replace("in TOGETHER.items()", "in [('plain', TOGETHER['plain'])]")
    done = launch(2, tmp_path / "two.py", text, folder=str(tmp_path), data=str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr[-2000:]
    two = pd.read_csv(tmp_path / "plain" / "run" / "predictions.csv").filter(like="output_")
    one = run(TOGETHER["plain"][0], data, tmp_path / "one").filter(like="output_")
    assert np.abs(one - two).to_numpy().max() < IN_DOUBLE and one.std().min() > 1e-3


STUCK = """
import sys, time
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, {tests!r})
from tiny_runs import CONFIG, open_data, run
from cardiov.processes import rank
from cardiov.training import exchange, phase
from cardiov.training.run import fit
exchange.PATIENCE = timedelta(seconds=3)
if rank():
    phase.add_gradients = lambda *_: time.sleep(100)
fit(CONFIG, *open_data({data!r}), {folder!r}, {folder!r})
"""


def test_a_process_that_does_not_answer_is_not_waited_for(tmp_path):
    make_data(tmp_path / "data")
    places = {"tests": TESTS, "folder": str(tmp_path), "data": str(tmp_path / "data")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    where |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", processes.LAUNCHED: "here"}
    command = [sys.executable, "-c", STUCK.format(**places)]
    jobs = []
    for rank in ("0", "1"):
        environment = {**os.environ, **where, "RANK": rank, "LOCAL_RANK": rank}
        jobs.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        told = jobs[0].communicate(timeout=90)[1]
        assert jobs[0].returncode == 1 and jobs[1].poll() is None
    finally:
        jobs[1].kill()
        jobs[1].communicate()
    assert "WorkerError: another process was lost, or did not answer" in told and "run the same command again" in told


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ParameterError, match="2 processes cannot share the GPUs of this machine, 1,"):
        make_fabric()
