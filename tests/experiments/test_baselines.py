"""Baselines: they learn a rule that is there, look at no test record, and leave what a network leaves."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from tiny_runs import CONFIG, make_data, run

from cardiov.data.ptbxl import read_metadata
from cardiov.experiments import baselines
from cardiov.experiments.baselines import Baseline, encode, fit_predict, predictions, taught
from cardiov.experiments.runs import Run, read_teacher
from cardiov.store.files import ROOT

FOLD = np.arange(800) % 10 + 1
LEARNING = ("age-sex", "logistic", "boosting")


@pytest.fixture
def ruled():
    """Inputs of 800 records, the first of which decides the label, and their metadata."""
    inputs = np.random.default_rng(0).normal(size=(800, 6))
    values = np.digitize(inputs[:, 0], [-0.7, 0, 0.7])
    columns = {"patient_id": np.arange(800), "fold": FOLD, "critical_value": values}
    return inputs, pd.DataFrame(columns, index=pd.RangeIndex(1, 801, name="ecg_id"))


@pytest.mark.parametrize("name", LEARNING)
def test_a_rule_is_learnt(ruled, name):
    table = predictions(Baseline(name), *ruled).query("split == 'test'")
    assert (table["predicted"] - table["critical_value"]).abs().mean() < 0.15 and len(table) == 80
    assert table[["p0", "p1", "p2", "p3"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)


def test_a_constant_is_the_shares_of_the_training_folds(ruled):
    inputs, metadata = ruled
    metadata["critical_value"] = np.where(FOLD > 8, 3, np.arange(800) // 10 % 5 % 3)
    table = predictions(Baseline("constant"), inputs, metadata)
    assert (table[["p0", "p1", "p2", "p3"]] == [0.4, 0.4, 0.2, 0]).all().all() and set(table["predicted"]) == {0}


@pytest.mark.parametrize("name", ["constant", *LEARNING])
@pytest.mark.parametrize("fold", [1, 10])
def test_test_records_have_no_part_in_training_or_choosing(ruled, name, fold):
    inputs, metadata = ruled
    before = predictions(Baseline(name, fold), inputs, metadata)
    tested = FOLD == fold
    metadata["critical_value"] = np.where(tested, 3 - metadata["critical_value"], metadata["critical_value"])
    relabelled = predictions(Baseline(name, fold), inputs, metadata)
    pd.testing.assert_frame_equal(relabelled.drop(columns="critical_value"), before.drop(columns="critical_value"))
    noise = np.random.default_rng(1).normal(size=inputs.shape)
    other = predictions(Baseline(name, fold), np.where(tested[:, None], noise, inputs), metadata)
    chose = before["split"] == "validation"
    pd.testing.assert_frame_equal(other[chose], before[chose])
    assert chose.sum() == 80 and other.loc[~chose, "p0"].equals(before.loc[~chose, "p0"]) == (name == "constant")


def test_the_choice_is_made_on_its_rows():
    inputs, labels = np.zeros((40, 1)), np.r_[np.zeros(20, int), np.full(20, 3)]
    candidates = [baselines.DummyClassifier(strategy="constant", constant=value) for value in (0, 3)]
    for choice, chosen in ((np.arange(5), 0), (np.arange(30, 35), 3)):
        assert fit_predict(candidates, inputs, labels, np.arange(40), choice, [7]).argmax() == chosen


def test_a_teacher_has_not_learned_the_fold_that_it_predicts(ruled, monkeypatch):
    monkeypatch.setitem(baselines.BOOSTING, "max_iter", 60)
    inputs, metadata = ruled
    training, metadata = metadata["fold"] < 9, metadata.assign(split="train")
    before = taught(inputs[training], metadata[training])
    assert (before["predicted"] == before["critical_value"]).mean() > 0.8 and len(before) == 640
    for asked in (1, 5):
        other = metadata.assign(critical_value=np.where(FOLD == asked, 3 - metadata["critical_value"], metadata["critical_value"]))
        after, rows = taught(inputs[training], other[training]), FOLD[training] == asked
        assert after.loc[rows, ["p0", "p3"]].equals(before.loc[rows, ["p0", "p3"]])
        assert not after.loc[~rows, ["p0", "p3"]].equals(before.loc[~rows, ["p0", "p3"]])


def test_an_untrained_network_has_statistics_of_training_records_alone(tmp_path):
    cache, metadata = make_data(tmp_path)
    train = np.flatnonzero(metadata["split"] == "train")
    first = encode(CONFIG.model, cache, train, 0)
    assert first.shape == (96, 16) and (encode(CONFIG.model, cache, train, 0) == first).all()
    assert not np.allclose(encode(CONFIG.model, cache, train, 1), first)
    signals = np.load(tmp_path / "signals.npy")
    signals[~np.isin(np.arange(96), train)] *= 3
    np.save(tmp_path / "signals.npy", signals)
    changed = encode(CONFIG.model, cache, train, 0)
    assert (changed[train] == first[train]).all() and not np.allclose(changed, first)
    assert not np.allclose(encode(CONFIG.model, cache, train[:10], 0)[train], first[train])


@pytest.fixture
def tiny(root, monkeypatch):
    """Write baselines of tiny data in an empty repository."""
    cache, metadata = make_data(root / "cache", samples=400)
    metadata = metadata.assign(fold=np.arange(96) // 2 % 10 + 1, age=[np.nan, *range(95)], sex="male")
    monkeypatch.setattr(baselines, "cache_at", lambda data, build, rate: cache)
    monkeypatch.setattr(baselines, "read_metadata", lambda data: metadata)
    few = ("baseline-age-sex-0", "baseline-boosting-0", "baseline-logistic-fold3-0", "baseline-random-encoder-2")
    monkeypatch.setattr(baselines, "BASELINES", {name: baselines.BASELINES[name] for name in few})
    return cache, metadata, partial(baselines.write_baselines, "folder", "demo", Run(100, CONFIG))


def test_baselines_leave_what_a_network_leaves_and_are_not_repeated(tiny, root, monkeypatch):
    cache, metadata, write = tiny
    paths = write()
    assert len(paths) == 8 and all(path.is_relative_to(root / "results/demo/runs") and path.is_file() for path in paths)
    network = run(CONFIG, (cache, metadata), root / "network")
    tables = {path.parent.name: pd.read_csv(path) for path in paths[::2]}
    for name, table in tables.items():
        assert list(table) == [column for column in network if not column.startswith("output_")]
        fold = metadata.loc[table["ecg_id"], "fold"]
        assert set(zip(table["split"], fold, strict=True)) == ({("test", 3), ("validation", 2)} if "fold3" in name else
                                                               {("test", 10), ("validation", 9)})  # fmt: skip
    assert json.loads(paths[-1].read_text())["run"]["config"]["model"] == json.loads(json.dumps(CONFIG.model))
    monkeypatch.setattr(baselines, "fit_predict", lambda *_: pytest.fail("repeated"))
    assert write() == paths
    metadata.loc[1, "critical_value"] = 3
    with pytest.raises(pytest.fail.Exception, match="repeated"):
        write()


@pytest.mark.parametrize(("tested", "name", "untaught"), [(10, "teacher", (9, 10)), (1, "teacher-fold1", (10, 1))])
def test_a_teacher_teaches_the_training_records_alone_and_is_not_asked_again(tiny, monkeypatch, tested, name, untaught):
    _, metadata, _ = tiny
    asked = []
    monkeypatch.setattr(baselines, "fit_predict", recording(baselines.fit_predict, asked))
    paths = baselines.write_teachers("folder", "demo", [tested])
    assert [path.parent.name for path in paths] == [name, name]
    teacher = read_teacher("demo", tested)
    assert list(teacher) == ["teacher_0", "teacher_1", "teacher_2", "teacher_3"]
    assert set(teacher.index) == set(metadata.index[~metadata["fold"].isin(untaught)])
    assert len(asked) == 8 and all(len(labels) == len(teacher) for labels in asked)  # nothing is known of the others
    assert teacher.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    monkeypatch.setattr(baselines, "taught", lambda *_: pytest.fail("repeated"))
    assert baselines.write_teachers("folder", "demo", [tested]) == paths


def test_teachers_measure_the_records_once(tiny, monkeypatch):
    measured = []
    monkeypatch.setattr(baselines, "record_features", lambda cache, of=baselines.record_features: measured.append(1) or of(cache))
    assert len(baselines.write_teachers("folder", "demo", [2, 3])) == 4 and measured == [1]
    baselines.write_teachers("folder", "demo", [3])
    assert measured == [1]


def recording(function, seen):
    """The same function, which notes the labels that it is given."""

    def noted(candidates, inputs, labels, *rows):
        seen.append(labels)
        return function(candidates, inputs, labels, *rows)

    return noted


def test_features_hold_the_critical_value_of_the_tiny_data(tiny):
    """The data set's rule is its amplitude, which the features hold and age does not."""
    tables = {path.parent.name: pd.read_csv(path) for path in tiny[2]()[::2]}
    wrong = {name: (table["predicted"] != table["critical_value"]).mean() for name, table in tables.items()}
    assert wrong["baseline-boosting-0"] < 0.2 and wrong["baseline-logistic-fold3-0"] < 0.5 < wrong["baseline-age-sex-0"]
