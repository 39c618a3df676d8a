"""The three outcomes of make paper: what passes, what fails, and what is only said."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from ecg_files import write_data_set
from predictions import simulated

from cardiov import model as module_of_models
from cardiov.analysis.metrics import SCORES, metrics
from cardiov.data.cache import prepare
from cardiov.errors import ComparisonError, DataSetError
from cardiov.model import CardioV, CardioVConfig
from cardiov.objectives import decode_outputs
from cardiov.paper import reproduction
from cardiov.paper.reproduction import OBJECTIVES, compare_predictions, ending, exact, place_in_seeds, replayed, retrained
from cardiov.store import results
from cardiov.store.files import write_note
from cardiov.training.config import TrainingConfig


def outcome(step):
    return json.loads((results.build_dir("some") / "outcomes" / f"{step}.json").read_text())


# Exact


@pytest.fixture
def made(root):
    """A table of two rows, published and made here."""
    table = pd.DataFrame({"statistic": ["mae", "auc_mean"], "estimate": [0.5, 0.875]})
    results.write_table(table, results.results_dir("some") / "roc_metrics.csv")
    results.save_table(table, "some", "roc_metrics")
    for folder in (results.made_dir("some", "figures"), results.figures_dir("some")):
        results.write_table(pd.DataFrame({"y": [1]}), folder / "fig2_roc.csv")
    return table


def test_exact_says_how_many_files_are_equal(root, made):
    assert exact("some") == [root / "build/some/outcomes/exact.json", root / "build/some/differences.csv"]
    line = "1 files of tables and numbers, 1 of figures: equal to the published ones within 1e-06"
    assert outcome("exact") == {"passed": True, "line": line}
    assert pd.read_csv(root / "build/some/differences.csv").empty


def test_exact_names_the_first_cell_that_differs_and_the_file_of_all(root, made):
    results.save_table(made.assign(estimate=[0.5001, 0.8751]), "some", "roc_metrics")
    exact("some")
    assert outcome("exact") == {"passed": False, "line": (
        "1 files of tables and numbers, 1 of figures: differing cells: 2 (in build/some/differences.csv), the first in "
        "results/roc_metrics.csv, row mae, estimate: 0.5 published, 0.5001 here"
    )}  # fmt: skip
    listed = pd.read_csv(root / "build/some/differences.csv").to_numpy().tolist()
    assert listed[1] == ["results/roc_metrics.csv", "auc_mean", "estimate", 0.875, 0.8751]


def test_exact_fails_for_a_table_that_is_no_longer_made(root, made):
    results.write_table(made, results.results_dir("some") / "table6.csv")
    exact("some")
    assert not outcome("exact")["passed"]
    assert outcome("exact")["line"].endswith("results/table6.csv, row -, the table: present published, missing here")


def test_exact_needs_what_the_notebooks_make(root):
    with pytest.raises(DataSetError, match="build/some/results is missing: run the notebooks first"):
        exact("some")


# Replayed

STORED = pd.DataFrame({
    "ecg_id": [1, 2, 3], "p0": [0.7, 0.4004, 0.1], "p1": [0.1, 0.4, 0.2], "p2": [0.1, 0.1, 0.3], "p3": [0.1, 0.0996, 0.4],
    "predicted": [0, 0, 3],
})  # fmt: skip


@pytest.mark.parametrize(("changes", "passes", "largest", "changed"), [
    ({}, True, "0.0e+00", 0),
    ({"p0": [0.7009, 0.4004, 0.1]}, True, "9.0e-04", 0),
    ({"p0": [0.7011, 0.4004, 0.1]}, False, "1.1e-03", 0),
    ({"p3": [0.1, 0.0996, 0.3]}, False, "1.0e-01", 0),
    ({"predicted": [0, 1, 3]}, True, "0.0e+00", 0),  # 0.4004 and 0.4 are a tie
    ({"predicted": [1, 0, 3]}, False, "0.0e+00", 1),
    ({"p0": [0.7, 0.4, 0.1], "p1": [0.1, 0.4003, 0.2], "predicted": [0, 1, 2]}, False, "4.0e-04", 1),  # 0.4 and 0.3 are none
])  # fmt: skip
def test_probabilities_within_a_thousandth_pass_and_critical_values_may_change_in_ties_alone(changes, passes, largest, changed):
    passed, line = compare_predictions(STORED.assign(**changes), STORED)
    assert (passed, line) == (
        passes, f"3 ECGs, largest difference of a probability {largest} (at most 0.001), critical values changed: {changed}"
    )  # fmt: skip


def test_undefined_probabilities_do_not_pass():
    assert not compare_predictions(STORED.assign(p0=np.nan), STORED)[0]


def test_predictions_of_other_records_are_not_compared():
    passed, line = compare_predictions(STORED[:2], STORED)
    assert not passed and line.startswith("the records are not those of the stored predictions: restore")


@pytest.fixture
def stored(root, monkeypatch):
    """A data set, a network in the package, and its predictions as those of the run that was chosen to be shipped."""
    write_data_set(root / "data", records=8)
    monkeypatch.setattr("cardiov.store.pretrained.PRETRAINED", root / "package")
    torch.manual_seed(0)
    network = CardioV(CardioVConfig(stem_width=16, widths=(16,), depths=(1,))).eval()
    network.save_pretrained(root / "package/some.safetensors", run={"rate": 100, "config": {"objective": "ordinal"}})
    with torch.inference_mode():
        outputs = network(torch.from_numpy(prepare(root / "data", root / "cache", rate=100).read([2, 3, 6, 7])))
    scores, predicted = decode_outputs(outputs, "ordinal")
    table = pd.DataFrame({"ecg_id": [3, 4, 7, 8], **dict(zip(SCORES, scores.double().T.numpy(), strict=True)), "predicted": predicted})
    for seed, loss in enumerate((0.3, 0.2)):
        folder = results.run_dir("some", f"ordinal-{seed}")
        results.write_table(pd.DataFrame({"phase": ["ordinal"], "validation_loss": [loss]}), folder / "history.csv")
        results.write_table(table.assign(p0=table["p0"] + 0.1 * (1 - seed)), folder / "predictions.csv")
    return table


def test_the_shipped_network_is_replayed_on_folds_9_and_10(root, stored):
    assert replayed("some", root / "data") == [root / "build/some/outcomes/replayed.json"]
    assert outcome("replayed")["passed"] and outcome("replayed")["line"].startswith("4 ECGs, largest difference of a probability")


def test_a_network_that_gives_other_predictions_fails(root, stored):
    table = stored.assign(p0=stored["p0"] - 0.01, p1=stored["p1"] + 0.01)
    results.write_table(table, results.run_dir("some", "ordinal-1") / "predictions.csv")
    replayed("some", root / "data")
    assert not outcome("replayed")["passed"] and "largest difference of a probability 1.0e-02" in outcome("replayed")["line"]


# Retrained


def test_figures_are_placed_in_the_prediction_interval_of_the_seeds():
    seeds = {seed: simulated(seed + 1) for seed in range(5)}
    table = place_in_seeds({"ordinal": simulated(9), "coral": simulated(9, noise=3.0)}, {"ordinal": seeds, "coral": seeds})
    assert table["objective"].tolist() == ["ordinal", "ordinal", "coral", "coral"] and set(table["seeds"]) == {5}
    assert table["figure"].tolist() == ["mean absolute error", "mean AUC"] * 2
    maes = np.array([(run["predicted"] - run["critical_value"]).abs().mean() for run in seeds.values()])
    mean, half = maes.mean(), 4.604 * maes.std(ddof=1) * 1.2**0.5  # Student's t with 4 degrees of freedom, 0.995
    assert table.loc[0, ["published", "low", "high"]].tolist() == pytest.approx([mean, mean - half, mean + half], rel=1e-4)
    assert table.loc[1, "here"] == metrics(simulated(9))["auc_mean"]
    assert table["usual"].tolist() == [True, True, False, False]  # three times the noise is another network


@pytest.fixture
def seeds(root, monkeypatch):
    """Five stored seeds of each objective, and what the next training leaves: given predictions, without a training."""
    for name in OBJECTIVES:
        for seed in range(5):
            table = pd.concat([simulated(seed + 1).assign(split="test"), simulated(0, noise=9.0).assign(split="validation")])
            results.write_table(table.reset_index(drop=True), results.run_dir("some", f"{name}-{seed}") / "predictions.csv")
    trained = []

    def leave(noise):
        def retrain(runs, names, data, dataset):
            trained.append((list(runs), tuple(names), data, dataset))
            folders = {name: root / "build" / name for name in names}
            for name, folder in folders.items():
                new = simulated(9, noise=noise if name == "regression" else 1.0).assign(split="test")
                results.write_table(new, folder / "predictions.csv")
            return folders

        monkeypatch.setattr(reproduction, "retrain", retrain)
        monkeypatch.setattr(reproduction, "read_runs", lambda path: {str(path): TrainingConfig()})
        return trained

    return leave


def test_retrained_figures_that_are_usual_are_said_to_be_as_expected(root, seeds):
    trained = seeds(noise=1.0)
    assert retrained("some", "data", "params") == [root / "build/some/outcomes/retrained.json", root / "build/some/retrained.csv"]
    assert trained == [(["params/runs.yaml"], OBJECTIVES, "data", "some")]
    line = "6 figures of 3 new networks, in 99% prediction intervals of 5 seeds: all as expected"
    assert outcome("retrained") == {"passed": True, "line": line}
    table = pd.read_csv(root / "build/some/retrained.csv")
    assert len(table) == 6 and table["here"].nunique() == 2 and table["usual"].all()


def test_an_unusual_figure_is_reported_with_its_interval_and_fails_nothing(root, seeds):
    seeds(noise=3.0)
    retrained("some", "data", "params")
    table = pd.read_csv(root / "build/some/retrained.csv").query("objective == 'regression'").set_index("figure")
    expected = ", ".join(f"regression {name} {row['here']:.4f} ({row['low']:.4f} to {row['high']:.4f})" for name, row in table.iterrows())
    assert outcome("retrained") == {"passed": True, "line": (
        f"6 figures of 3 new networks, in 99% prediction intervals of 5 seeds: unusual {expected}; 1 in 100 figures of a sound "
        "reproduction is"
    )}  # fmt: skip


# The ending


@pytest.fixture
def ended(root):
    """Say how steps have ended."""

    def write(**passed):
        for step, value in passed.items():
            write_note(results.build_dir("some") / f"outcomes/{step}.json", {"passed": value, "line": f"how {step} ended"})

    return write


def test_the_ending_is_a_line_for_each_step_and_the_report(ended):
    ended(exact=True, replayed=True, retrained=True)
    assert ending("some", ["exact", "replayed", "retrained"]).splitlines() == [
        "exact      ok      how exact ended", "replayed   ok      how replayed ended", "retrained  ok      how retrained ended",
        "report     build/some/report.html",
    ]  # fmt: skip


def test_a_step_that_failed_is_an_error_with_all_lines(ended):
    ended(exact=True, replayed=False, retrained=True)
    with pytest.raises(ComparisonError) as error:
        ending("some", ["exact", "replayed"])
    assert str(error.value).splitlines() == [
        "not all is as published:", "exact      ok      how exact ended", "replayed   FAILED  how replayed ended",
        "report     build/some/report.html",
    ]  # fmt: skip
    assert ending("some", ["exact"])


def test_a_step_that_has_not_run_or_whose_outcome_is_damaged_did_not_pass(ended):
    ended(exact=True)
    with pytest.raises(DataSetError, match="build/some/outcomes/replayed.json is missing: run `python -m cardiov replayed` first"):
        ending("some", ["exact", "replayed"])
    (results.build_dir("some") / "outcomes/exact.json").write_text("{")
    with pytest.raises(ComparisonError, match="exact      FAILED"):
        ending("some", ["exact"])
