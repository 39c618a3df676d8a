"""Writing results: whole or not at all, the same file for the same result."""

import errno
import json

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cardiov import mapping
from cardiov.errors import DataSetError, StorageError
from cardiov.paper.differences import differences
from cardiov.store import files, results
from cardiov.store.files import storing

matplotlib.use("Agg")


def test_a_table_is_made_with_eight_digits_and_without_row_numbers(root):
    path = results.save_table(pd.DataFrame({"name": ["a", "b"], "value": [0.1 + 0.2, 2 / 3]}), "some", "table")
    assert path == root / "build/some/results/table.csv"
    assert path.read_bytes() == b"name,value\na,0.3\nb,0.66666667\n"


def test_a_named_index_is_kept(root):
    frame = pd.DataFrame({"records": [3]}, index=pd.Index(["NORM"], name="statement"))
    assert results.save_table(frame, "some", "table").read_text() == "statement,records\nNORM,3\n"
    numbered = pd.DataFrame({"label": [0]}, index=pd.RangeIndex(1, 2, name="ecg_id"))
    assert results.save_table(numbered, "some", "table").read_text() == "ecg_id,label\n1,0\n"


def test_a_figure_is_the_same_file_each_time_and_has_its_data_beside_it(root):
    contents = []
    for _ in range(2):
        figure = Figure()
        figure.subplots().plot([1, 2])
        path = results.save_figure(figure, pd.DataFrame({"y": [1, 2]}), "some", "line", caption="Kappa of 95 % − a line.")
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] and b"matplotlib" not in contents[0].lower()
    with Image.open(path) as image:
        assert image.info["Description"] == "Kappa of 95 % − a line."
    assert path == root / "build/some/figures/line.png"
    assert path.with_suffix(".csv").read_text() == "y\n1\n2\n"


def test_scalars_are_plain_json(root):
    scalars = {"n": np.int64(3), "mae": np.float64(1 / 3), "auc": np.float32(0.5), "none": float("nan"), "ok": np.True_}
    path = results.save_scalars("some", "04_roc", scalars)
    assert path == root / "build/some/results/scalars/04_roc.json"
    assert json.loads(path.read_text()) == {"n": 3, "mae": 0.33333333, "auc": 0.5, "none": None, "ok": True}
    assert results.read_scalars("some")["04_roc.mae"] == 0.33333333


def test_what_the_labs_notebooks_make_is_neither_compared_nor_published(root, monkeypatch):
    frame = pd.DataFrame({"n": [1]})
    for path in (results.save_table(frame, "some", "table"), results.results_dir("some") / "table.csv"):
        results.write_table(frame, path)
    monkeypatch.setenv("CARDIOV_MADE", "build/lab")
    assert results.read_table("some", "table")["n"].tolist() == [1]
    assert results.save_table(frame + 1, "some", "table") == root / "build/lab/some/results/table.csv"
    assert results.read_table("some", "table")["n"].tolist() == [2]
    results.save_scalars("some", "04_roc", {"n": 3}), results.save_figure(Figure(), frame, "some", "played")
    monkeypatch.delenv("CARDIOV_MADE")
    assert differences("some").empty and results.read_table("some", "table")["n"].tolist() == [1]


def test_what_is_made_here_goes_before_what_is_published(root):
    published = root / "results/some/scalars"
    published.mkdir(parents=True)
    for name, n in (("04_roc", 1), ("05_subgroups", 2)):
        (published / f"{name}.json").write_text(f'{{"n": {n}}}')
    (root / "results/some/records.csv").write_text("ecg_id,statements\n1,NORM:100\n")
    assert results.read_records("some")["scp_codes"].to_dict() == {1: {"NORM": 100.0}}
    results.save_scalars("some", "04_roc", {"n": 3})
    results.save_table(pd.DataFrame({"ecg_id": [2], "statements": ["SR:0;MI:50"]}), "some", "records")
    assert results.read_scalars("some") == {"04_roc.n": 3, "05_subgroups.n": 2}
    assert results.read_records("some")["scp_codes"].to_dict() == {2: {"SR": 0.0, "MI": 50.0}}


def test_a_read_only_folder_is_one_sentence(root, monkeypatch):
    monkeypatch.setattr(files.os, "access", lambda folder, mode: False)  # root may write anywhere else
    for error in (OSError(errno.EROFS, "Read-only file system"), RuntimeError("cannot be opened")):  # the latter is torch's
        with pytest.raises(StorageError, match="results/new/x.csv cannot be written, for results is read-only: give permission"):
            with storing(root / "results/new/x.csv"):
                raise error


def test_missing_predictions_say_what_to_do(root):
    with pytest.raises(DataSetError, match=r"results/some/runs/ordinal-0/predictions.csv is missing: train"):
        results.read_predictions("some", "ordinal-0")


@pytest.fixture
def some_runs(root):
    """Stored runs of two names, of which one begins like the other; one run was not finished."""
    for name in ("share-0.5-10", "share-0.5-2", "share-0.5-plain-1", "share-0.55-7", "share-0.5-fold3-0", "share-0.5-3"):
        folder = root / "results/some/runs" / name
        folder.mkdir(parents=True)
        if name != "share-0.5-3":
            (folder / "predictions.csv").write_text(f"ecg_id,split\n{len(name)},test\n9,validation\n")
    return root


def test_seeds_are_those_of_the_finished_runs_of_just_that_name(some_runs):
    assert results.run_seeds("some", "share-0.5") == [2, 10]
    assert results.run_seeds("some", "share-0.5-plain") == [1]
    with pytest.raises(DataSetError, match=r"results/some/runs has no run best-<seed>: train best-0 first"):
        results.run_seeds("some", "best")
    with pytest.raises(DataSetError, match="has no run best"):
        results.read_seeds("nothing", "best")


def test_predictions_of_all_seeds_are_read_by_split(some_runs):
    runs = results.read_seeds("some", "share-0.5")
    assert list(runs) == [2, 10] and [len(run) for run in runs.values()] == [2, 2]
    assert runs[10]["ecg_id"].tolist() == [12, 9]
    assert results.read_seeds("some", "share-0.5", "test")[2]["ecg_id"].tolist() == [11]


def test_provenance_of_a_run_is_read_or_missed(some_runs):
    path = some_runs / "results/some/runs/share-0.5-2/provenance.json"
    path.write_text('{"run": {"train_records": 7}}')
    assert results.read_provenance("some", "share-0.5-2")["run"]["train_records"] == 7
    with pytest.raises(DataSetError, match="share-0.5-10/provenance.json is missing: train the run share-0.5-10"):
        results.read_provenance("some", "share-0.5-10")


def test_stored_records_give_every_label_again():
    records = results.read_records("ptbxl-sample")
    rebuilt = [";".join(f"{name}:{likelihood:g}" for name, likelihood in codes.items()) for codes in records["scp_codes"]]
    assert rebuilt == records["statements"].to_list()
    for codes, row in zip(records["scp_codes"], records.itertuples(), strict=True):
        assert mapping.critical_value(codes) == row.critical_value
        assert mapping.critical_value(codes, rule="highest-risk") == row.critical_value_highest_risk
        assert mapping.tie_decides(codes) == row.tie


@pytest.mark.parametrize(("name", "expected"), [("demo", True), ("my-Demo-2", True), ("ptbxl-sample", False)])
def test_simulated_data_sets_are_known_by_name(name, expected):
    assert results.simulated(name) is expected


def test_names_of_runs_are_without_their_seeds(some_runs):
    assert results.run_names("some", "share-") == ["share-0.5", "share-0.5-plain", "share-0.55"]
    with pytest.raises(DataSetError, match=r"has no run idea-\*: train it first, as `make publish` does"):
        results.run_names("some", "idea-")


def store_fold(root, name, fold):
    folder = root / f"results/some/runs/{name}-fold{fold}-0"
    folder.mkdir(parents=True)
    (folder / "predictions.csv").write_text(f"ecg_id,split,by\n{fold - 1},validation,{name}\n{fold},test,{name}\n")


def test_the_shipped_recipe_is_read_in_cross_validation_once_all_its_folds_are_stored(root):
    assert results.read_cross_validated("some") is None
    for name, before in (("ordinal", None), ("distilled", "ordinal")):
        for fold in range(1, 11):
            assert (found := results.read_cross_validated("some")) is before or set(found["by"]) == {before}
            store_fold(root, name, fold)
    assert set(results.read_cross_validated("some")["by"]) == {"distilled"}
    assert set(results.read_cross_validated("some", "validation")["split"]) == {"validation"}


def test_out_of_fold_predictions_are_the_ten_test_splits_or_none(root):
    for fold in range(1, 11):
        assert results.read_out_of_fold("some", "ordinal") is None  # also while folds are still missing
        store_fold(root, "ordinal", fold)
    pooled = results.read_out_of_fold("some", "ordinal")
    assert pooled["ecg_id"].tolist() == pooled["fold"].tolist() == list(range(1, 11)) and set(pooled["split"]) == {"test"}
    chosen_on = results.read_out_of_fold("some", "ordinal", split="validation")
    assert (chosen_on["fold"] - chosen_on["ecg_id"]).tolist() == [1] * 10
    assert results.read_out_of_fold("some", "ordinal", seed=1) is None and results.run_seeds("some", "ordinal-fold10") == [0]
