import json
import os
import subprocess
import sys
from functools import partial

import pandas as pd
import pytest
from ecg_files import write_data_set

from cardiov import study
from cardiov.errors import ParameterError
from cardiov.training import TrainingConfig

TINY = {"stem_width": 16, "widths": [16, 16], "depths": [1, 1], "dropout": 0.0}
PARAMETERS = {
    "rate": 100,
    "recipe": {"statements_epochs": 1, "pretrain_epochs": 0, "finetune_epochs": 1, "batch_size": 2, "model": TINY},
    "runs": {"best": {"seeds": [0, 1]}, "method-coral": {"seeds": [0], "objective": "coral"}},
}


def test_runs_are_the_recipe_with_what_differs():
    runs = study.read_runs(PARAMETERS)
    assert list(runs) == ["best-0", "best-1", "method-coral-0"]
    assert runs["best-1"] == TrainingConfig(**PARAMETERS["recipe"], seed=1)
    assert runs["method-coral-0"] == TrainingConfig(**PARAMETERS["recipe"], objective="coral")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rats": 1}, "rate, recipe, runs"),
        ({"runs": {"best": {}}}, "seeds for each run"),
        ({"runs": {"best": {"seeds": [0], "epochs": 3, "seed": 1, "lr": 1}}}, "the run best sets epochs, lr: "),
        ({"runs": {"best": {"seeds": [0], "objective": "ranking"}}}, "no objective 'ranking'"),
    ],
)
def test_what_is_missing_or_unknown_is_named(change, message):
    with pytest.raises(ParameterError, match=message):
        study.read_runs(PARAMETERS | change)


def test_every_run_is_trained_once(tmp_path):
    write_data_set(tmp_path / "data")
    (tmp_path / "experiments.yaml").write_text(json.dumps(PARAMETERS))  # which is YAML as well
    command = [sys.executable, "-m", "cardiov", "study", tmp_path / "data", "part", "-f", tmp_path / "experiments.yaml"]
    train = partial(subprocess.run, command, check=True, env=os.environ | {"CARDIOV_ROOT": str(tmp_path)})
    train()
    folder = tmp_path / "results" / "part" / "runs"
    assert sorted(path.name for path in folder.iterdir()) == ["best-0", "best-1", "method-coral-0"]
    for run in folder.iterdir():
        assert set(pd.read_csv(run / "predictions.csv")["split"]) == {"validation", "test"}
        assert json.loads((run / "provenance.json").read_text())["run"]["train_records"] == 2
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    train()
    assert written == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
