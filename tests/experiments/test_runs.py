import json
import os
import queue
import re
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from ecg_files import write_data_set

from cardiov.analysis.metrics import SCORES
from cardiov.data.ptbxl import read_metadata
from cardiov.errors import ParameterError
from cardiov.experiments import runs
from cardiov.experiments.runs import WRITTEN, Run, ensemble, read_runs, read_teacher, retrain, settings
from cardiov.store import results
from cardiov.store.files import ROOT
from cardiov.training.config import TrainingConfig, completed
from cardiov.training.run import fit

TINY = {"stem_width": 16, "widths": [16, 16], "depths": [1, 1], "dropout": 0.0}
RECIPE = {"statements_epochs": 1, "pretrain_epochs": 0, "finetune_epochs": 1, "batch_size": 2, "precision": "auto", "model": TINY}
DECLARED = {
    "recipes": {"small": {"rate": 100, **RECIPE}},
    "runs": {"best": {"recipe": "small", "seeds": [0, 1]}, "coral": {"recipe": "small", "seeds": [0], "objective": "coral", "rate": 125}},
}


def written(folder, **changes):
    """A file of runs, as `DECLARED` with what differs."""
    path = folder / "runs.yaml"
    path.write_text(json.dumps(DECLARED | changes))  # which is YAML as well
    return path


def test_runs_are_their_recipe_with_what_differs(tmp_path):
    declared = read_runs(written(tmp_path))
    assert list(declared) == ["best-0", "best-1", "coral-0"]
    assert declared["best-1"] == Run(100, TrainingConfig(**RECIPE, seed=1))
    assert declared["coral-0"] == Run(125, TrainingConfig(**RECIPE, objective="coral"))


def test_folds_are_tested_by_runs_of_their_own(tmp_path):
    small = {"recipe": "small", "seeds": [0, 2]}
    declared = read_runs(written(tmp_path, runs={"best": small, "best-fold": small | {"folds": [1, 10]}}))
    tested = {name: run.tested for name, run in declared.items()}
    assert tested == {"best-0": 10, "best-2": 10, "best-fold1-0": 1, "best-fold1-2": 1, "best-fold10-0": 10, "best-fold10-2": 10}
    assert declared["best-fold10-2"] == declared["best-2"]


def taught_by_members(folds=(1, 2, 3, 4, 5, 6, 7, 8), without=(9, 10)):
    """Runs of which one is taught by networks that test these folds."""
    small = {"recipe": "small", "seeds": [0]}
    member = small | {"folds": list(folds), "without": list(without)}
    return {"pupil": small | {"teacher_weight": 0.5, "teachers": ["member"]}, "member-fold": member}


def test_networks_that_teach_are_trained_first_without_the_folds_that_choose_and_test(tmp_path, monkeypatch):
    declared, trained = read_runs(written(tmp_path, runs=taught_by_members())), []
    assert (declared["member-fold3-0"].tested, declared["member-fold3-0"].without) == (3, (9, 10))
    monkeypatch.setattr(runs, "_train", lambda part, *_: trained.append(list(part)))
    runs.train_runs(declared, "data", "part")
    assert trained == [[f"member-fold{fold}-0" for fold in range(1, 9)], ["pupil-0"]]


@pytest.mark.parametrize("changed", [{"folds": range(1, 8)}, {"without": [10]}, {"without": []}])
def test_a_network_that_has_seen_too_much_or_too_little_does_not_teach(tmp_path, changed):
    needed = "it needs a run of seed 0 for each training fold, without folds 9 and 10"
    with pytest.raises(ParameterError, match=f"pupil-0 of .*runs.yaml cannot be taught by member: {needed}"):
        read_runs(written(tmp_path, runs=taught_by_members(**changed)))


def test_several_teachers_teach_the_mean_of_their_probabilities(root):
    boosting = pd.DataFrame({"ecg_id": [*range(8, 0, -1)], "split": "train"} | dict.fromkeys(SCORES, 0.25))
    results.write_table(boosting, results.run_dir("part", "teacher") / "predictions.csv")
    for fold in range(1, 9):  # one record of each fold
        table = pd.DataFrame({"ecg_id": [fold, 90 + fold], "split": ["test", "validation"]} | dict.fromkeys(SCORES, 0.0))
        results.write_table(table.assign(p2=fold / 8, p0=1 - fold / 8), results.run_dir("part", f"member-fold{fold}-0") / "predictions.csv")
    teacher = read_teacher("part", networks=["member"])
    assert teacher.index.tolist() == boosting["ecg_id"].tolist()
    assert teacher.loc[2].tolist() == [0.5, 0.125, 0.25, 0.125]  # of 0.25 each, and of 0.75, 0, 0.25, 0
    assert read_teacher("part").loc[2].tolist() == [0.25] * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": {}}, r"runs.yaml sets recipe: correct it to one of recipes, runs\."),
        ({"runs": {"best": {"recipe": "small"}}}, "the run best of .*runs.yaml lacks seeds, or a recipe"),
        ({"runs": {"best": {"recipe": "large", "seeds": [0]}}}, "lacks seeds, or a recipe of the same file"),
        ({"runs": {"best": {"recipe": "small", "seeds": [0], "epochs": 3, "seed": 1, "lr": 1}}}, "sets epochs, lr, seed: correct"),
        ({"runs": {"best": {"recipe": "small", "seeds": [0], "objective": "ranking"}}}, "no objective 'ranking'"),
        ({"runs": {"best": {"recipe": "small", "seeds": [0], "folds": [0, 1]}}}, "tests folds that there are not, or that have no part"),
        ({"runs": {"best": {"recipe": "small", "seeds": [0], "folds": [1], "without": [1]}}}, "or that have no part: give others"),
        ({"recipes": {"small": RECIPE}}, "the run best of .*runs.yaml lacks a rate"),
    ],
)
def test_what_is_missing_or_unknown_is_named(tmp_path, change, message):
    with pytest.raises(ParameterError, match=message):
        read_runs(written(tmp_path, **change))


# those that notebooks are executed with; others only train
ANALYSED = sorted(path.parent for path in ROOT.glob("notebooks/params/*/analysis.yaml"))


@pytest.mark.parametrize("folder", ANALYSED, ids=lambda path: path.name)
def test_every_data_set_declares_the_three_objectives_of_table_6_alike(folder):
    declared = read_runs(folder / "runs.yaml")
    ordinal = declared["ordinal-0"]
    for objective in ("classification", "regression"):
        assert declared[f"{objective}-0"] == ordinal._replace(config=replace(ordinal.config, objective=objective))


def test_every_run_is_trained_once_and_its_files_are_named(root, monkeypatch):
    write_data_set(root / "data")
    command = [sys.executable, "-m", "cardiov", "train", root / "data", "part", written(root).parent]
    environment = os.environ | {"CARDIOV_ROOT": str(root)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    listed = [root / line for line in done.stdout.splitlines()]
    assert done.stderr.count('precision "auto" is') == 1  # of three runs in several processes
    folder = root / "results" / "part" / "runs"
    assert sorted(path.name for path in folder.iterdir()) == ["best-0", "best-1", "coral-0"]
    for run in folder.iterdir():
        assert set(pd.read_csv(run / "predictions.csv")["split"]) == {"validation", "test"}
        stored = json.loads((run / "provenance.json").read_text())
        assert stored["run"]["train_records"] == 2 and f'"auto" is {stored["precision"]} here' in done.stderr
    written_at = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    weights = {root / f"build/part/runs/{run}/weights.safetensors" for run in ("best-0", "best-1", "coral-0")}
    assert set(listed) == set(written_at) | weights
    monkeypatch.setattr(runs, "_train_in_pool", lambda jobs, runs, workers: [fit(*job) for job in jobs])
    assert runs.train_runs(read_runs(written(root)), root / "data", "part") == listed
    assert written_at == {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}


def test_a_run_of_another_fold_predicts_that_fold_and_chooses_on_the_one_before(root, monkeypatch):
    write_data_set(root / "data")
    monkeypatch.setattr(runs, "_train_in_pool", lambda jobs, runs, workers: [fit(*job) for job in jobs])
    one = {"recipe": "small", "seeds": [0]}
    declared = read_runs(written(root, runs={"best": one, "best-fold": one | {"folds": [9, 10]}}))
    runs.train_runs(declared, root / "data", "part")
    folds = read_metadata(root / "data")["fold"]
    for fold, before in ((9, 8), (10, 9)):
        predicted = results.read_predictions("part", f"best-fold{fold}-0").set_index("ecg_id")["split"]
        expected = folds[folds.isin([fold, before])].map({fold: "test", before: "validation"})
        assert predicted.to_dict() == expected.to_dict()
    same = [results.read_predictions("part", run).to_dict() for run in ("best-0", "best-fold10-0")]
    assert same[0] == same[1]


def test_retraining_takes_a_new_seed_and_writes_beside_what_is_published(root, capfd, monkeypatch):
    write_data_set(root / "data")
    again = partial(retrain, read_runs(written(root)), ["best", "coral"], root / "data", "part")
    folders = again()
    assert folders == {name: root / f"build/part/retrained/{name}-2" for name in ("best", "coral")}
    new = [json.loads((folder / "provenance.json").read_text())["run"] for folder in folders.values()]
    described = [(run["config"]["seed"], run["config"]["objective"], run["rate"]) for run in new]
    assert described == [(2, "ordinal", 100), (2, "coral", 125)]
    for folder in folders.values():
        assert {path.name for path in folder.iterdir()} == {*WRITTEN, "weights.safetensors"}
        assert set(pd.read_csv(folder / "predictions.csv")["split"]) == {"validation", "test"}
    assert not list((root / "results").glob("part*"))
    counts = re.findall(r"training 2 networks: .* (\d+)/(\d+) ", capfd.readouterr().err)
    assert counts[-1] == ("4", "4")  # two epochs of each
    before = {path: path.stat().st_mtime_ns for folder in folders.values() for path in folder.iterdir()}
    monkeypatch.setattr(runs, "_train_in_pool", lambda jobs, runs, workers: [fit(*job) for job in jobs])
    assert again() == folders
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_progress_counts_the_epochs_of_all_runs_to_the_last_and_a_shared_phase_once(monkeypatch):
    counts = []

    class Bar:
        n = 0

        def __init__(self, total, **_):
            counts.append(total)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, more):
            self.n += more
            counts.append(self.n)

    reports = queue.SimpleQueue()
    # the third learns the statements for the fifth, which has another objective; the fourth was finished already
    told = [(0, 1), (2, 1), (2, 2), (4, 2), (1, 1), (0, 3), (0, None), (3, None), (1, None), (2, 3), (2, None), (4, None), None]
    for report in told:
        reports.put(report)
    monkeypatch.setattr(runs, "tqdm", Bar)
    epochs = ((1, 2), (0, 1), (2, 1), (3, 2))
    configs = [TrainingConfig(statements_epochs=s, pretrain_epochs=0, finetune_epochs=f) for s, f in epochs]
    configs += [replace(configs[2], objective="coral", finetune_epochs=3)]
    runs._show_progress(reports, [Run(100, config) for config in configs])
    assert counts == [15, 1, 2, 3, 3, 4, 6, 6, 11, 11, 12, 12, 15]


STORED = [path.parent for path in ROOT.glob("notebooks/params/*/runs.yaml") if (ROOT / "results" / path.parent.name / "runs").is_dir()]


@pytest.mark.parametrize("folder", STORED, ids=lambda path: path.name)
def test_every_declared_run_of_published_results_is_stored_as_declared(folder):
    for name, run in read_runs(folder / "runs.yaml").items():
        stored = json.loads((ROOT / "results" / folder.name / "runs" / name / "provenance.json").read_text())["run"]
        assert completed(stored)["config"] == json.loads(json.dumps(asdict(run.config))) and stored["rate"] == run.rate, name


def test_settings_are_the_configuration_without_the_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    path = tmp_path / "results/part/runs/best-1/provenance.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"run": {"config": {"seed": 1, "crop": 5.0, "model": {"dropout": 0.2}}}}))
    found = settings("part", "best-1")
    assert (found["crop"], found["dropout"]) == (5.0, 0.2) and not {"seed", "model"} & {*found}
    assert found["final_fit"] is False  # newer than the run


def test_an_ensemble_decodes_the_mean_of_the_outputs():
    table = pd.DataFrame({"ecg_id": [1, 2], "critical_value": [0, 3], "predicted": 0} | dict.fromkeys(SCORES, 0.0))
    logits = np.array([[[2.0, -2, -4], [6, 4, -1]], [[-4, -4, -4], [2, 2, 3]]])  # (seeds, N, 3)
    of_seeds = {seed: table.assign(**{f"output_{k + 1}": one[:, k] for k in range(3)}) for seed, one in enumerate(logits)}
    together = ensemble(of_seeds)
    p = 1 / (1 + np.exp([1, 3, 4])), 1 / (1 + np.exp([-4, -3, -1]))  # of the means -1, -3, -4 and 4, 3, 1
    expected = [[1 - q[0], q[0] - q[1], q[1] - q[2], q[2]] for q in p]
    assert together[SCORES].to_numpy() == pytest.approx(np.array(expected))
    assert together["predicted"].tolist() == [0, 3] and together["output_1"].tolist() == [-1, 4]
    assert of_seeds[0]["predicted"].tolist() == [0, 0]  # what goes in stays as it is
