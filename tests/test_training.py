import errno
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cardiov import devices, results, training
from cardiov.errors import CheckpointError, ParameterError, StorageError
from cardiov.model import CardioV
from cardiov.ptbxl import Cache
from cardiov.ordinal import OBJECTIVES
from cardiov.training import TrainingConfig, fit

TINY = {"stem_width": 16, "widths": [16, 16], "depths": [1, 1], "dropout": 0.2}
BEYOND = {  # the paper: everything that is off by default
    "statements_epochs": 2, "crop": 0.4, "augment": {"amplitude": 0.1, "noise": 0.01}, "average": 0.9, "settle": 32,
    "windows": 3, "schedule": "one-cycle", "finetune_rate": 0.0005,
}  # fmt: skip
DOUBLE = {"precision": "64-true"}
CONFIG = TrainingConfig(pretrain_epochs=1, finetune_epochs=2, batch_size=16, micro_batch=16, model=TINY)


def make_data(folder, n=96, samples=64):
    """Records whose amplitude tells their critical value, in a cache, with the metadata that training reads."""
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    values = np.arange(n) % 4
    waves = np.sin(np.arange(samples) / 3 + rng.uniform(0, 6, (n, 12, 1))) * (1 + values)[:, None, None]
    np.save(folder / "signals.npy", (waves * 300 + rng.normal(0, 50, waves.shape)).astype("<i2"))
    return open_data(folder, n, samples)


def open_data(folder, n=96, samples=64):
    values = np.arange(n) % 4
    cache = Cache(Path(folder), 100, np.arange(n) + 1, (n, 12, samples), "made-up", {})
    split = np.where(np.arange(n) < n - 32, "train", np.where(np.arange(n) < n - 16, "validation", "test"))
    columns = {"patient_id": np.arange(n) // 2, "split": split, "critical_value": values}
    columns["critical_value_highest_risk"] = np.minimum(values + 1, 3)
    columns["scp_codes"] = [{("NORM", "SBRAD", "LVH", "AMI")[value]: 100.0} for value in values]
    return cache, pd.DataFrame(columns, index=pd.Index(cache.ecg_ids, name="ecg_id"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


def run(config, data, folder):
    fit(config, *data, folder / "weights", folder / "run")
    return pd.read_csv(folder / "run" / "predictions.csv")


def test_defaults_are_the_papers_settings():
    config = TrainingConfig()
    assert (config.batch_size, config.learning_rate, config.plateau_factor) == (256, 0.001, 0.3)
    assert config.phases == [("classification", 10), ("ordinal", 12)]
    assert replace(config, objective="regression").phases == [("regression", 22)]  # the same budget
    assert config.model == {}


@pytest.mark.parametrize("name", ["objective", "schedule", "label_rule"])
def test_unknown_choices_are_named(name):
    with pytest.raises(ParameterError, match=f"no {name} 'cosine': choose among .*(ordinal|one-cycle|highest-risk)"):
        TrainingConfig(**{name: "cosine"})


def test_a_run_leaves_everything(data, tmp_path):
    predictions = run(CONFIG, data, tmp_path)
    assert list(predictions) == [
        *("ecg_id", "patient_id", "split", "critical_value", "output_1", "output_2", "output_3"),
        *("p0", "p1", "p2", "p3", "predicted"),
    ]
    assert predictions["split"].value_counts().to_dict() == {"validation": 16, "test": 16}
    assert (predictions["critical_value"] == data[1].loc[predictions["ecg_id"], "critical_value"].to_numpy()).all()
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["phase"].tolist() == ["classification", "ordinal", "ordinal"]
    about = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert about["run"]["config"]["seed"] == 0 and about["run"]["data"] and about["run"]["code"]
    assert {"commit", "packages", "time"} <= set(about)
    assert not (tmp_path / "weights" / "checkpoint.pt").exists()
    model = CardioV.from_pretrained(tmp_path / "weights" / "weights.safetensors")
    rows = data[1].index.get_indexer(predictions["ecg_id"])
    with torch.no_grad():
        again = model(torch.from_numpy(data[0].read(rows)))
    assert np.allclose(again, predictions.filter(like="output_"), atol=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_learns(data, tmp_path, objective):
    schedule = {"pretrain_epochs": 5, "finetune_epochs": 10, "schedule": "one-cycle", "learning_rate": 0.01}
    config = replace(CONFIG, objective=objective, **schedule, model=TINY | {"dropout": 0.0})
    predictions = run(config, data, tmp_path)
    assert (predictions["predicted"] - predictions["critical_value"]).abs().mean() < 0.7  # always saying 1 gives 1.0


def test_training_learns_with_everything_beyond_the_paper(data, tmp_path):
    config = replace(CONFIG, **BEYOND, pretrain_epochs=0, finetune_epochs=15, learning_rate=0.01)
    predictions = run(replace(config, finetune_rate=0.01, model=TINY | {"dropout": 0.0}), data, tmp_path)
    assert (predictions["predicted"] - predictions["critical_value"]).abs().mean() < 0.5


def test_the_statements_are_learnt_once_for_runs_that_learn_them_alike(data, tmp_path):
    config = replace(CONFIG, **BEYOND)
    changes = ({}, {"objective": "coral"}, {"label_rule": "highest-risk"}, {"seed": 1}, {"crop": 0.3})
    for i, change in enumerate(changes):
        fit(replace(config, **change), *data, tmp_path / str(i), tmp_path / str(i))
        histories = [pd.read_csv(tmp_path / str(j) / "history.csv") for j in (0, i)]
        first, other = (history.query("phase == 'statements'") for history in histories)
        assert len(other) == 2 and first.equals(other) == (i < 3)
    assert len(list((tmp_path / "statements").glob("*.safetensors"))) == 3


def test_the_label_rule_decides_what_is_learnt(data, tmp_path):
    predictions = run(replace(CONFIG, label_rule="highest-risk"), data, tmp_path)
    labels = data[1].loc[predictions["ecg_id"], "critical_value_highest_risk"]
    assert (predictions["critical_value"] == labels.to_numpy()).all()


def test_a_smaller_share_of_the_training_patients_is_part_of_a_larger_one(data):
    metadata = data[1]
    rows = {share: training._training_rows(metadata, replace(CONFIG, train_share=share)) for share in (0.25, 0.5, 1.0)}
    assert [len(found) for found in rows.values()] == [16, 32, 64]  # two records a patient
    assert set(rows[0.25]) < set(rows[0.5]) < set(rows[1.0]) == set(np.flatnonzero(metadata["split"] == "train"))
    assert not metadata["patient_id"].iloc[rows[0.25]].isin(metadata["patient_id"].drop(metadata.index[rows[0.25]])).any()
    other = training._training_rows(metadata, replace(CONFIG, train_share=0.25, seed=1))
    assert set(other) != set(rows[0.25])


def test_predictions_are_averaged_over_windows_of_the_crops_length(data, tmp_path):
    config = replace(CONFIG, crop=0.4, windows=2)
    predictions = run(config, data, tmp_path)
    model = CardioV.from_pretrained(tmp_path / "weights" / "weights.safetensors")
    x = torch.from_numpy(data[0].read(data[1].index.get_indexer(predictions["ecg_id"])))  # (32, 12, 64) at 100 Hz
    with torch.no_grad():
        again = (model(x[..., :40]) + model(x[..., 24:])) / 2
    assert np.allclose(again, predictions.filter(like="output_"), atol=1e-4)


def test_settled_statistics_are_those_without_dropout(data, tmp_path):
    config = replace(CONFIG, settle=64, micro_batch=64, model=TINY | {"dropout": 0.5}, pretrain_epochs=0, finetune_epochs=1)
    run(config, data, tmp_path)
    model = CardioV.from_pretrained(tmp_path / "weights" / "weights.safetensors")
    seen = []
    model.s2[0].norm3.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(torch.from_numpy(data[0].read(np.arange(64))))  # the training records
    assert torch.allclose(model.s2[0].norm3.running_mean, seen[0].mean((0, 2, 3)), atol=1e-3)
    assert torch.allclose(model.s2[0].norm3.running_var, seen[0].var((0, 2, 3)), rtol=0.1)


def test_averaged_weights_are_the_moving_average_of_the_steps(data, tmp_path, monkeypatch):
    steps = []
    update = training.AveragedModel.update_parameters
    head = lambda model: model.head.weight.detach().clone()  # noqa: E731
    spy = lambda self, model: (steps.append(head(model)), update(self, model))  # noqa: E731
    monkeypatch.setattr(training.AveragedModel, "update_parameters", spy)
    run(replace(CONFIG, pretrain_epochs=0, finetune_epochs=1, average=0.75), data, tmp_path)
    expected = steps[0]
    for step in steps[1:]:
        expected = 0.75 * expected + 0.25 * step
    kept = CardioV.from_pretrained(tmp_path / "weights" / "weights.safetensors").head.weight
    assert len(steps) == 4 and torch.allclose(kept, expected, atol=1e-6)


def test_the_seed_decides(data, tmp_path):
    first, second = (run(CONFIG, data, tmp_path / name) for name in "ab")
    other = run(replace(CONFIG, seed=1), data, tmp_path / "c")
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert not np.allclose(first["output_1"], other["output_1"])


def test_a_finished_run_is_not_repeated(data, tmp_path, monkeypatch):
    run(CONFIG, data, tmp_path)
    monkeypatch.setattr(training, "_Trainer", None)  # training again would now fail
    assert len(fit(CONFIG, *data, tmp_path / "weights", tmp_path / "run")) == 3
    with pytest.raises(TypeError):
        fit(replace(CONFIG, seed=5), *data, tmp_path / "weights", tmp_path / "run")
    monkeypatch.setattr(training, "source_digest", lambda: "other code")
    with pytest.raises(TypeError):
        fit(CONFIG, *data, tmp_path / "weights", tmp_path / "run")


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from dataclasses import replace
from test_training import CONFIG, make_data
from cardiov import training
save = training._Trainer._save
def save_then_die(self, phase, epoch, *rest):
    save(self, phase, epoch, *rest)
    if (phase, epoch) == ({phase}, {epoch}):
        os.kill(os.getpid(), signal.SIGKILL)
training._Trainer._save = save_then_die
folder = Path({folder!r})
config = replace(CONFIG, **{changes!r})
training.fit(config, *make_data(folder / "data"), folder / "weights", folder / "run")
"""


@pytest.mark.parametrize(("phase", "epoch", "changes"), [(0, 0, {}), (1, 0, {}), (0, 0, BEYOND), (2, 0, BEYOND), (0, 0, DOUBLE)])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(data, tmp_path, phase, epoch, changes):
    places = {"tests": str(Path(__file__).parent), "folder": str(tmp_path)}
    script = KILLED.format(**places, phase=phase, epoch=epoch, changes=changes)
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "weights" / "checkpoint.pt").exists() and not any((tmp_path / "run").iterdir())
    config = replace(CONFIG, **changes)
    pd.testing.assert_frame_equal(run(config, data, tmp_path), run(config, data, tmp_path / "whole"), check_exact=True)


@pytest.mark.parametrize("name", ["checkpoint.pt", "weights.safetensors", "history.csv", "predictions.csv", "provenance.json"])
def test_a_run_goes_on_when_a_full_device_has_space_again(data, tmp_path, monkeypatch, name):
    def replace_unless_full(source, target, replace=os.replace):
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(results.os, "replace", replace_unless_full)
        with pytest.raises(StorageError, match=f"no space left to write .*{name}: free some space and run the command again"):
            run(CONFIG, data, tmp_path)
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert not left & {name, "provenance.json"} and not any(other.endswith(".tmp") for other in left)
    pd.testing.assert_frame_equal(run(CONFIG, data, tmp_path), run(CONFIG, data, tmp_path / "whole"), check_exact=True)


def test_a_folder_that_cannot_be_written_is_told_before_the_training(data, tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(training, "_Trainer", None)
    monkeypatch.setattr(results.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(results.os, "access", lambda *_: False)
    with pytest.raises(StorageError, match=r"weights/\* cannot be written, for .*weights is read-only: give permission"):
        run(CONFIG, data, tmp_path)


def test_a_checkpoint_of_another_configuration_is_refused(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training, "predict", None)  # stops the run when its checkpoints are written
        with pytest.raises(TypeError):
            run(CONFIG, data, tmp_path)
    with pytest.raises(CheckpointError, match="checkpoint.pt: .* with batch_size 16 instead of 32; .* delete"):
        run(replace(CONFIG, batch_size=32), data, tmp_path)
    (tmp_path / "weights" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read"):
        run(CONFIG, data, tmp_path)


# Tolerances of logits between numbers of processes, fixed before the runs. The same gradients are added in the same order;
# what differs is the rounding of batch norm's averages.
IN_DOUBLE, IN_SINGLE = 1e-5, 1e-4
SPLIT = replace(CONFIG, micro_batch=6)  # pieces of 6, 5 and 5 records
TOGETHER = {  # name: configuration, tolerance
    "plain": (replace(SPLIT, **DOUBLE, model=TINY | {"dropout": 0.0}), IN_DOUBLE),
    "dropout": (replace(SPLIT, **DOUBLE), IN_DOUBLE),
    "beyond": (replace(SPLIT, **DOUBLE, **BEYOND), IN_DOUBLE),
    "single": (SPLIT, IN_SINGLE),
}
LAUNCHED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import TOGETHER, fit, open_data, torch
torch.set_num_threads(1)
folder = Path({folder!r})
for name, (config, _) in TOGETHER.items():
    fit(config, *open_data({data!r}), folder / name / "weights", folder / name / "run")
"""


def launch(processes, script, text, **places):
    script.write_text(text.format(tests=str(Path(__file__).parent), **places))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def trained_together(tmp_path_factory):
    """Tables of predictions by (number of processes, configuration); 4 are one more than a batch has pieces."""
    root = tmp_path_factory.mktemp("together")
    make_data(root / "data")
    tables = {}
    for processes in (1, 2, 4):
        folder = root / str(processes)
        done = launch(processes, root / f"{processes}.py", LAUNCHED, folder=str(folder), data=str(root / "data"))
        assert done.returncode == 0, done.stderr[-2000:]
        assert ("a batch has 3 pieces" in done.stdout) == (processes == 4)
        tables |= {(processes, name): pd.read_csv(folder / name / "run" / "predictions.csv") for name in TOGETHER}
        for name in TOGETHER:
            tables[processes, f"{name} history"] = pd.read_csv(folder / name / "run" / "history.csv")
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
from test_training import CONFIG, fit, open_data, training
from cardiov import devices
training.PATIENCE = timedelta(seconds=3)
if devices.rank():
    training._Trainer._add_gradients = lambda *_: time.sleep(100)
fit(CONFIG, *open_data({data!r}), {folder!r}, {folder!r})
"""


def test_a_process_that_does_not_answer_is_not_waited_for(tmp_path):
    make_data(tmp_path / "data")
    places = {"tests": str(Path(__file__).parent), "folder": str(tmp_path), "data": str(tmp_path / "data")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    where |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", devices.LAUNCHED: "here"}
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
        training.make_fabric()


def test_comments_and_docstrings_do_not_count_as_code(tmp_path, monkeypatch):
    texts = {
        "a": '"""One."""\n\ndef f():\n    """Says."""\n    return 1  # why\n',
        "b": '"""Two."""\ndef f():\n    """Tells."""\n    return 1\n',
        "c": '"""Two."""\ndef f():\n    """Tells."""\n    return 2\n',
    }
    digests = {}
    monkeypatch.setattr(training, "SOURCES", ("module.py",))
    monkeypatch.setattr(training, "__file__", str(tmp_path / "training.py"))
    for name, text in texts.items():
        (tmp_path / "module.py").write_text(text)
        digests[name] = training.source_digest()
    assert digests["a"] == digests["b"] != digests["c"]


def test_mixed_precision_trains_too(data, tmp_path):
    """bfloat16 products run, if slowly, on any processor; predictions stay near those of single precision."""
    low = run(replace(CONFIG, precision="bf16-mixed"), data, tmp_path / "low")
    full = run(CONFIG, data, tmp_path / "full")
    difference = np.abs(low.filter(like="output_") - full.filter(like="output_")).to_numpy()
    assert 0 < difference.mean() < 0.2
