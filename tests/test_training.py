import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from cardiov import training
from cardiov.errors import CheckpointError, ParameterError
from cardiov.model import CardioV
from cardiov.ptbxl import Cache
from cardiov.training import TrainingConfig, decode_outputs, fit, regression_loss

TINY = {"stem_width": 16, "widths": [16, 16], "depths": [1, 1], "dropout": 0.2}
CONFIG = TrainingConfig(pretrain_epochs=1, finetune_epochs=2, batch_size=16, micro_batch=16, model=TINY)


def make_data(folder, n=96, samples=64):
    """Records whose amplitude tells their critical value, in a cache, with the metadata that training reads."""
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    values = np.arange(n) % 4
    waves = np.sin(np.arange(samples) / 3 + rng.uniform(0, 6, (n, 12, 1))) * (1 + values)[:, None, None]
    np.save(folder / "signals.npy", (waves * 300 + rng.normal(0, 50, waves.shape)).astype("<i2"))
    cache = Cache(folder, 100, np.arange(n) + 1, waves.shape, "made-up", {})
    split = np.where(np.arange(n) < n - 32, "train", np.where(np.arange(n) < n - 16, "validation", "test"))
    columns = {"patient_id": np.arange(n) // 2, "split": split, "critical_value": values}
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


def test_unknown_objective_and_schedule_are_named():
    with pytest.raises(ParameterError, match="objective 'ranking' with schedule 'cosine'"):
        TrainingConfig(objective="ranking", schedule="cosine")


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


@pytest.mark.parametrize("objective", ["ordinal", "classification", "regression"])
def test_training_learns(data, tmp_path, objective):
    schedule = {"pretrain_epochs": 5, "finetune_epochs": 10, "schedule": "one-cycle", "learning_rate": 0.01}
    config = replace(CONFIG, objective=objective, **schedule, model=TINY | {"dropout": 0.0})
    predictions = run(config, data, tmp_path)
    assert (predictions["predicted"] - predictions["critical_value"]).abs().mean() < 0.5  # always saying 1 gives 1.0


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
from test_training import CONFIG, make_data
from cardiov import training
save = training._Trainer._save
def save_then_die(self, phase, epoch, *rest):
    save(self, phase, epoch, *rest)
    if (phase, epoch) == ({phase}, {epoch}):
        os.kill(os.getpid(), signal.SIGKILL)
training._Trainer._save = save_then_die
folder = Path({folder!r})
training.fit(CONFIG, *make_data(folder / "data"), folder / "weights", folder / "run")
"""


@pytest.mark.parametrize(("phase", "epoch"), [(0, 0), (1, 0)])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(data, tmp_path, phase, epoch):
    script = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path), phase=phase, epoch=epoch)
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "weights" / "checkpoint.pt").exists() and not (tmp_path / "run").exists()
    pd.testing.assert_frame_equal(run(CONFIG, data, tmp_path), run(CONFIG, data, tmp_path / "whole"), check_exact=True)


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


TWO = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
sys.path.insert(0, {tests!r})
from test_training import CONFIG, TINY, make_data
from cardiov.training import fit
torch.set_num_threads(1)
folder = Path({folder!r})
# double precision: in single, Adam blows rounding up to whole steps in biases whose true gradient is zero
config = replace(CONFIG, precision="64-true", micro_batch={micro}, model=TINY | {{"dropout": 0.0}})
fit(config, *make_data(Path({data!r})), folder / "weights", folder / "run")
"""


def test_two_processes_train_the_same_network_as_one(tmp_path):
    make_data(tmp_path / "data")
    tables = []
    for processes, micro in ((1, 16), (2, 8)):
        folder = tmp_path / str(processes)
        script = tmp_path / f"{processes}.py"
        text = TWO.format(tests=str(Path(__file__).parent), folder=str(folder), micro=micro, data=str(tmp_path / "data"))
        script.write_text(text)
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        done = subprocess.run([sys.executable, *launch, script], capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stderr[-2000:]
        tables.append(pd.read_csv(folder / "run" / "predictions.csv"))
    one, two = (table.filter(like="output_") for table in tables)
    assert np.abs(one - two).to_numpy().max() < 1e-5
    assert one.std().min() > 1e-3  # and not because all predictions are alike


def test_decoding_of_each_objective():
    scores, predicted = decode_outputs(torch.tensor([[2.0, 1.0, -1.0]]), "ordinal")
    sigmoids = torch.sigmoid(torch.tensor([2.0, 1.0, -1.0]))
    assert torch.allclose(scores[0], torch.tensor([1 - sigmoids[0], sigmoids[0] - sigmoids[1], *(-sigmoids[1:].diff()), sigmoids[2]]))
    assert predicted.tolist() == [2]
    scores, predicted = decode_outputs(torch.tensor([[0.0, 0.0, 9.0, 0.0]]), "classification")
    assert scores.sum().item() == pytest.approx(1) and predicted.tolist() == [2]
    scores, predicted = decode_outputs(torch.tensor([[1.6], [-0.7], [8.0]]), "regression")
    assert predicted.tolist() == [2, 0, 3]
    assert np.allclose(scores[0], [-1.6, -0.6, -0.4, -1.4], atol=1e-6)


def test_regression_loss_is_the_squared_error():
    assert regression_loss(torch.tensor([[1.5], [3.0]]), torch.tensor([1, 1])).item() == pytest.approx((0.25 + 4) / 2)


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


def test_synchronised_batch_norm_on_one_process_is_torchs_own(monkeypatch):
    monkeypatch.setattr(training, "all_reduce", lambda moments: moments)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    torch.manual_seed(0)
    ours, theirs = training.SynchronisedBatchNorm(5), torch.nn.BatchNorm2d(5)
    x = torch.randn(4, 5, 1, 7) + 2
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    assert torch.allclose(ours.running_var, theirs.running_var, atol=1e-5)
    assert torch.allclose(ours.running_mean, theirs.running_mean, atol=1e-6)
    assert torch.allclose(ours.eval()(x), F.batch_norm(x, ours.running_mean, ours.running_var), atol=1e-5)


def test_mixed_precision_trains_too(data, tmp_path):
    """bfloat16 products run, if slowly, on any processor; predictions stay near those of single precision."""
    low = run(replace(CONFIG, precision="bf16-mixed"), data, tmp_path / "low")
    full = run(CONFIG, data, tmp_path / "full")
    difference = np.abs(low.filter(like="output_") - full.filter(like="output_")).to_numpy()
    assert 0 < difference.mean() < 0.2
