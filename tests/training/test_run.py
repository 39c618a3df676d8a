import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import BEYOND, CONFIG, DOUBLE, TINY, run
from torch.optim.swa_utils import AveragedModel

from cardiov.errors import CheckpointError, StorageError
from cardiov.model import CardioV
from cardiov.objectives import OBJECTIVES
from cardiov.store import files
from cardiov.training import run as training
from cardiov.training import trainer
from cardiov.training.batches import TEACHER
from cardiov.training.config import VERSION
from cardiov.training.phase import Phase
from cardiov.training.run import fit
from cardiov.training.trainer import Trainer

TESTS = str(Path(__file__).parents[1])


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
    assert about["run"]["config"]["seed"] == 0 and about["run"]["data"] and about["run"]["version"] == VERSION
    assert {"commit", "packages", "time"} <= set(about)
    assert not (tmp_path / "weights" / "checkpoint.pt").exists()
    model = CardioV.from_pretrained(tmp_path / "weights" / "weights.safetensors")
    rows = data[1].index.get_indexer(predictions["ecg_id"])
    with torch.no_grad():
        again = model(torch.from_numpy(data[0].read(rows)))
    assert np.allclose(again, predictions.filter(like="output_"), atol=1e-4)


def test_a_final_fit_trains_on_the_validation_records_and_keeps_the_last_epoch(data, tmp_path):
    """Training on records that are called validation equals training on them as training records, but for what is kept."""
    cache, metadata = data
    config = replace(CONFIG, final_fit=True, schedule="one-cycle")
    predictions = run(config, data, tmp_path / "final")
    assert set(predictions["split"]) == {"test"}
    history = pd.read_csv(tmp_path / "final/run/history.csv")
    assert history["validation_loss"].isna().all() and len(history) == 3
    about = json.loads((tmp_path / "final/run/provenance.json").read_text())
    assert about["run"]["train_records"] == (metadata["split"] != "test").sum()
    split = metadata["split"].replace("validation", "train")
    split.iloc[-1] = "validation"  # one that was a test record, and with one epoch it chooses nothing
    short = replace(config, pretrain_epochs=0, finetune_epochs=1)
    alike = run(replace(short, final_fit=False), (cache, metadata.assign(split=split)), tmp_path / "alike")
    final = run(short, data, tmp_path / "short").set_index("ecg_id")
    alike = alike.set_index("ecg_id").loc[final.index]
    assert np.allclose(final.filter(like="output_"), alike.filter(like="output_"), atol=1e-6)


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


def test_the_statements_are_kept_beside_the_objective(data, tmp_path):
    kept = {}
    for weight in (0.0, 0.5):
        config = replace(CONFIG, **BEYOND | {"statements_weight": weight}, pretrain_epochs=0, finetune_epochs=4)
        trainer = Trainer(config, *data, tmp_path / f"{weight}/checkpoint.pt", {}, lambda count: None)
        trainer.run()
        kept[weight] = trainer.body
    assert kept[0.5]["statements.weight"].shape == (71, 16) and "statements.weight" not in kept[0.0]
    learned = load_file(next((tmp_path / "statements").glob("*.safetensors")))["statements.weight"]
    assert not torch.equal(kept[0.5]["statements.weight"], learned)  # it went on
    assert not torch.equal(kept[0.5]["stem.conv.weight"], kept[0.0]["stem.conv.weight"])


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_teacher_is_believed_by_its_weight(data, tmp_path, weight):
    cache, metadata = data
    wrong = np.eye(4)[3 - metadata["critical_value"]]  # a teacher who turns the scale round
    wrong[metadata["split"] != "train"] = np.nan
    taught = metadata.assign(**dict(zip(TEACHER, wrong.T, strict=True)))
    settings = {"pretrain_epochs": 0, "finetune_epochs": 15, "schedule": "one-cycle", "learning_rate": 0.01}
    config = replace(CONFIG, **settings, teacher_weight=weight, model=TINY | {"dropout": 0.0})
    phase = Phase(Trainer(config, cache, taught, tmp_path / "checkpoint.pt", {}, None), 0)
    for epoch in range(15):
        phase.epoch(epoch)
    rows = np.arange(64)
    with torch.no_grad():
        above = phase.model.eval()(torch.from_numpy(cache.read(rows))) > 0  # (64, 3)
    believed = metadata["critical_value"].to_numpy()[rows] if weight == 0 else 3 - metadata["critical_value"].to_numpy()[rows]
    assert np.abs(above.sum(1).numpy() - believed).mean() < 0.5


def test_the_label_rule_decides_what_is_learnt(data, tmp_path):
    predictions = run(replace(CONFIG, label_rule="highest-risk"), data, tmp_path)
    labels = data[1].loc[predictions["ecg_id"], "critical_value_highest_risk"]
    assert (predictions["critical_value"] == labels.to_numpy()).all()


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
    update = AveragedModel.update_parameters
    head = lambda model: model.head.weight.detach().clone()  # noqa: E731
    spy = lambda self, model: (steps.append(head(model)), update(self, model))  # noqa: E731
    monkeypatch.setattr(AveragedModel, "update_parameters", spy)
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


@pytest.mark.parametrize("name", ["predictions.csv", "history.csv", "provenance.json"])
def test_a_run_is_finished_when_its_results_are_there_with_or_without_weights(data, tmp_path, monkeypatch, name):
    run(CONFIG, data, tmp_path)
    shutil.rmtree(tmp_path / "weights")
    monkeypatch.setattr(training, "Trainer", None)  # training again would now fail
    assert len(fit(CONFIG, *data, tmp_path / "weights", tmp_path / "run")) == 3
    (tmp_path / "run" / name).unlink()
    with pytest.raises(TypeError):
        fit(CONFIG, *data, tmp_path / "weights", tmp_path / "run")


def test_epochs_are_counted_as_they_end_also_those_that_another_run_has_learned(data, tmp_path):
    config, counts = replace(CONFIG, statements_epochs=2), {}
    for objective in ("ordinal", "coral"):
        counts[objective] = []
        fit(replace(config, objective=objective), *data, tmp_path / objective, tmp_path / objective, counts[objective].append)
    assert counts["ordinal"] == [1, 2, 2, 3, 4, 5] and counts["coral"] == [2, 3, 4, 5]


def test_a_finished_run_is_not_repeated(data, tmp_path, monkeypatch):
    run(CONFIG, data, tmp_path)
    monkeypatch.setattr(training, "Trainer", None)  # training again would now fail
    assert len(fit(CONFIG, *data, tmp_path / "weights", tmp_path / "run")) == 3
    with pytest.raises(TypeError):
        fit(replace(CONFIG, seed=5), *data, tmp_path / "weights", tmp_path / "run")
    monkeypatch.setattr(training, "VERSION", 2)
    with pytest.raises(TypeError):
        fit(CONFIG, *data, tmp_path / "weights", tmp_path / "run")


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tiny_runs import CONFIG, make_data, run
from cardiov.training.trainer import Trainer
save = Trainer._save
def save_then_die(*arguments):
    save(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
Trainer._save = save_then_die
run(CONFIG, make_data(Path({folder!r}) / "data"), Path({folder!r}))
"""


def check_continued(config, data, folder):
    """What was stopped after an epoch goes on as if nothing had happened."""
    assert (folder / "weights" / "checkpoint.pt").exists() and not any((folder / "run").iterdir())
    pd.testing.assert_frame_equal(run(config, data, folder), run(config, data, folder / "whole"), check_exact=True)


def test_a_killed_run_goes_on(data, tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED.format(tests=TESTS, folder=str(tmp_path))], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    check_continued(CONFIG, data, tmp_path)


@pytest.mark.parametrize(("phase", "changes"), [(1, {}), (0, BEYOND), (2, BEYOND), (0, DOUBLE)])
def test_a_run_goes_on_after_the_first_epoch_of_any_phase(data, tmp_path, monkeypatch, phase, changes):
    def save_then_stop(trainer, number, *rest, save=Trainer._save):
        save(trainer, number, *rest)
        if number == phase:
            raise KeyboardInterrupt

    config = replace(CONFIG, **changes)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "_save", save_then_stop)
        run(config, data, tmp_path)
    check_continued(config, data, tmp_path)


@pytest.mark.parametrize("name", ["checkpoint.pt", "weights.safetensors", "history.csv", "predictions.csv", "provenance.json"])
def test_a_run_goes_on_when_a_full_device_has_space_again(data, tmp_path, monkeypatch, name):
    def replace_unless_full(source, target, replace=os.replace):
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", replace_unless_full)
        with pytest.raises(StorageError, match=f"no space left to write .*{name}: free some space and run the command again"):
            run(CONFIG, data, tmp_path)
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert not left & {name, "provenance.json"} and not any(other.endswith(".tmp") for other in left)
    pd.testing.assert_frame_equal(run(CONFIG, data, tmp_path), run(CONFIG, data, tmp_path / "whole"), check_exact=True)


def test_a_folder_that_cannot_be_written_is_told_before_the_training(data, tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(training, "Trainer", None)
    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(files.os, "access", lambda *_: False)
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


def test_mixed_precision_trains_too(data, tmp_path):
    """bfloat16 products run, if slowly, on any processor; the network stays near that of single precision."""
    low = run(replace(CONFIG, precision="bf16-mixed"), data, tmp_path / "low")
    full = run(CONFIG, data, tmp_path / "full")
    difference = np.abs(low.filter(like="output_") - full.filter(like="output_")).to_numpy()
    assert 0 < difference.mean() < 0.2


def test_predictions_are_in_single_precision_after_training_in_mixed(data, tmp_path):
    predictions = run(replace(CONFIG, precision="bf16-mixed"), data, tmp_path)
    model = CardioV.from_pretrained(tmp_path / "weights" / "weights.safetensors")
    with torch.no_grad():
        again = model(torch.from_numpy(data[0].read(data[1].index.get_indexer(predictions["ecg_id"]))))
    assert np.allclose(again, predictions.filter(like="output_"), atol=1e-5)  # bfloat16 has three digits


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_a_run_whose_precision_is_chosen_by_the_device_is_the_same_on_another(data, tmp_path, monkeypatch, precision):
    config = replace(CONFIG, precision="auto")
    monkeypatch.setattr(trainer, "chosen_precision", lambda name: precision)
    chosen = run(config, data, tmp_path)
    stored = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert (stored["precision"], stored["run"]["config"]["precision"]) == (precision, "auto")
    named = run(replace(config, precision=precision), data, tmp_path / "named")
    pd.testing.assert_frame_equal(chosen, named, check_exact=True)
    monkeypatch.setattr(trainer, "chosen_precision", None)  # training again would now fail
    assert len(fit(config, *data, tmp_path / "weights", tmp_path / "run")) == 3
