"""The search: what is sampled, that all of it is trained alike without the test split, and how spaces are compared."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import make_data

from cardiov.data.cache import Cache
from cardiov.errors import DataSetError, ParameterError
from cardiov.experiments import search
from cardiov.experiments.runs import read_runs
from cardiov.model import CardioV, CardioVConfig
from cardiov.store.files import ROOT
from cardiov.store.results import read_models
from cardiov.training import run as training
from cardiov.training.config import VERSION

TINY = {"stem_width": 8, "widths": [8] * 7, "depths": [1] * 7, "group_width": 8, "kernel": 4, "dropout": 0.1}
SETTINGS = search.Settings(
    rate=100, models=2, epochs=1, reference=TINY, reference_seeds=1, max_parameters=50_000, max_multiply_adds=56_000,
    max_width=16, max_depth=2, kernels=[4, 5], group_widths=[8], batch_size=32, micro_batch=32, learning_rate=0.01,
    weight_decay=0.0,
)  # fmt: skip
PARAMS = sorted(path.parent for path in ROOT.glob("notebooks/params/*/search.yaml"))


def settings_of(folder):
    return search.read_search(ROOT / "notebooks/params" / folder / "search.yaml")


@pytest.mark.parametrize("space", search.SPACES)
def test_samples_obey_space_and_budget(space):
    settings = replace(SETTINGS, models=6)
    sampled = search.sample(space, settings, 64)
    assert len(sampled) == 6 and len({json.dumps(model) for model in sampled}) == 6
    assert [model["squeeze_excitation"] for model in sampled] == [True, False] * 3
    for model in sampled:
        counts = search.count(model, 64)
        assert counts["parameters"] <= 50_000 and 42_000 <= counts["multiply_adds"] <= 56_000
        assert len(model["widths"]) == len(model["depths"]) == 7
        assert set(model["widths"]) <= {8, 16} and set(model["depths"]) <= {1, 2} and model["kernel"] in (4, 5)
        assert (model["stem_width"], model["dropout"]) == (8, 0.1)  # not searched: the reference's
        if space == "growing":
            assert model["widths"] == sorted(model["widths"]) and model["depths"] == sorted(model["depths"])
    assert all(map(search.grows, sampled)) == (space == "growing")  # six of "any" would hardly all grow


def test_sampling_depends_on_the_seed_alone():
    first, again = (search.sample("any", SETTINGS, 64) for _ in range(2))
    other = search.sample("any", replace(SETTINGS, seed=1), 64)
    assert first == again and first != other


def test_the_papers_network_grows_and_obeys_the_real_data_budgets():
    assert search.grows({})
    assert not search.grows({"widths": (64, 160, 160, 400, 400, 1024, 512)})
    assert not search.grows({"depths": (2, 2, 2, 3, 3, 4, 3)})
    assert search.count({}, 1000) == {"parameters": 30_668_211, "multiply_adds": 242_420_736}
    for folder, samples in (("ptbxl-sample", 1000), ("paper", 5000)):
        settings = settings_of(folder)
        assert settings.reference == {} and search.within(search.count({}, samples), settings)
        assert max(CardioVConfig().widths) <= settings.max_width and max(CardioVConfig().depths) <= settings.max_depth


def test_counts_are_those_of_the_built_network():
    model = CardioV(CardioVConfig(**TINY))
    counts = search.count(TINY, 64)
    assert counts["parameters"] == sum(p.numel() for p in model.parameters())
    assert counts["multiply_adds"] == sum(row["multiply_adds"] for row in model.stage_table(64))


def test_a_network_with_falling_widths_computes():
    model = CardioV(CardioVConfig(**TINY | {"widths": [16, 8, 16, 8, 8, 16, 8], "kernel": 5}))
    logits = model(torch.randn(2, 12, 77))
    logits.sum().backward()
    assert logits.shape == (2, 3) and all(p.grad is not None for p in model.parameters())


def test_an_impossible_budget_is_named(monkeypatch):
    monkeypatch.setattr(search, "TRIES", 3)
    with pytest.raises(ParameterError, match="at most 10 parameters and 42,000 to 56,000 multiply-adds at 64 samples"):
        search.sample("any", replace(SETTINGS, max_parameters=10), 64)
    with pytest.raises(ParameterError, match="models = 1, epochs = 1"):
        replace(SETTINGS, models=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def searched(data, tmp_path_factory):
    """A tiny search, with the folder of its runs and the rows whose signals it read."""
    folder, rows, read = tmp_path_factory.mktemp("search"), set(), Cache.stored
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cache, "stored", lambda cache, these: rows.update(these) or read(cache, these))
        return search.train_models(SETTINGS, *data, folder), folder, rows


def test_a_search_trains_the_reference_and_the_samples(searched):
    models, folder, _ = searched
    assert models["role"].tolist() == ["reference"] + ["sampled"] * 4
    assert models["space"].tolist() == ["growing", "any", "any", "growing", "growing"]
    assert models["widths"][0] == "8 8 8 8 8 8 8" and models["depths"][0] == "1 1 1 1 1 1 1"
    assert models["error"].between(0, 1).all() and models["mae"].between(0, 3).all()
    assert models["multiply_adds"][1:].between(42_000, 56_000).all()
    assert len(list(folder.glob("*/predictions.csv"))) == 5 and not list(folder.rglob("*.safetensors"))


def test_the_test_split_takes_no_part(data, searched):
    _, folder, rows = searched
    split = data[1]["split"].to_numpy()
    assert rows == set(np.flatnonzero(split != "test"))
    for path in folder.glob("*/predictions.csv"):
        assert set(pd.read_csv(path)["split"]) == {"validation"}


def test_errors_are_those_of_the_predictions(searched):
    from sklearn.metrics import mean_absolute_error, roc_auc_score

    models, folder, _ = searched
    runs = [pd.read_csv(path) for path in folder.glob("*/predictions.csv")]
    aucs = [[roc_auc_score(run["critical_value"] == k, run[f"p{k}"]) for k in range(4)] for run in runs]
    assert sorted(models["error"]) == pytest.approx(sorted(1 - np.mean(aucs, axis=1)))
    maes = [mean_absolute_error(run["critical_value"], run["predicted"]) for run in runs]
    assert sorted(models["mae"]) == pytest.approx(sorted(maes))


def test_a_finished_search_is_not_repeated(data, searched, monkeypatch):
    monkeypatch.setattr(training, "Trainer", None)  # training again would now fail
    pd.testing.assert_frame_equal(search.train_models(SETTINGS, *data, searched[1]), searched[0])


def test_a_killed_search_goes_on(data, searched, tmp_path, monkeypatch):
    trained, fit = [], search.fit

    def fit_until_killed(config, *others):
        trained.append(config.model)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return fit(config, *others)

    monkeypatch.setattr(search, "fit", fit_until_killed)
    with pytest.raises(KeyboardInterrupt):
        search.train_models(SETTINGS, *data, tmp_path)
    trained.clear()
    trainer = training.Trainer
    monkeypatch.setattr(search, "fit", fit)
    monkeypatch.setattr(training, "Trainer", lambda config, *others: trained.append(1) or trainer(config, *others))
    models = search.train_models(SETTINGS, *data, tmp_path)
    assert len(trained) == 3  # of five
    pd.testing.assert_frame_equal(models.drop(columns="seconds"), searched[0].drop(columns="seconds"))


def test_a_validation_split_without_a_critical_value_is_named(data, tmp_path):
    cache, metadata = data
    metadata = metadata.assign(critical_value=metadata["critical_value"].clip(upper=2))
    with pytest.raises(DataSetError, match="no record of critical value 3"):
        search.train_models(SETTINGS, cache, metadata, tmp_path)


def test_a_search_leaves_its_table_and_its_settings(data, searched, root, monkeypatch):
    monkeypatch.setattr(search, "cache_at", lambda *_: data[0])
    monkeypatch.setattr(search, "read_metadata", lambda _: data[1])
    monkeypatch.setattr(search, "train_models", lambda *_: searched[0].copy())
    for read in (read_models, search.read_settings):
        with pytest.raises(DataSetError, match="is missing: run "):
            read("demo")
    search.search_networks(SETTINGS, "folder", "demo")
    assert search.read_settings("demo") == SETTINGS
    read = read_models("demo")
    assert list(read) == ["role", "space", "seed", *search.SEARCHED, "parameters", "multiply_adds", "error", "mae"]
    assert read["error"].to_numpy() == pytest.approx(searched[0]["error"].to_numpy(), rel=1e-5)
    about = json.loads((root / "results/demo/runs/search/provenance.json").read_text())
    assert about["run"]["version"] == VERSION and about["seconds"] >= 0 and about["packages"]


def test_a_stored_search_is_not_repeated_where_its_networks_were_not_trained(data, searched, root, monkeypatch):
    trained = []
    monkeypatch.setattr(search, "cache_at", lambda *_: data[0])
    monkeypatch.setattr(search, "read_metadata", lambda _: data[1])
    monkeypatch.setattr(search, "train_models", lambda settings, *_: trained.append(settings) or searched[0].copy())
    paths = [root / "results/demo/search.csv", root / "results/demo/runs/search/provenance.json"]
    for _ in range(2):
        assert search.search_networks(SETTINGS, "folder", "demo") == paths and len(trained) == 1
    other = replace(SETTINGS, seed=1)
    search.search_networks(other, "folder", "demo")
    assert trained == [SETTINGS, other]
    paths[0].unlink()
    search.search_networks(other, "folder", "demo")
    assert len(trained) == 3 and paths[0].exists()


@pytest.mark.parametrize("folder", PARAMS, ids=lambda folder: folder.name)
def test_every_reference_obeys_its_budget(folder):
    settings = settings_of(folder.name)
    assert search.within(search.count(settings.reference, int(10 * settings.rate)), settings)


def test_the_demo_searches_around_the_papers_network_as_it_trains_it():
    run = read_runs(ROOT / "notebooks/params/demo/runs.yaml")["paper-0"]
    assert settings_of("demo").reference == run.config.model and settings_of("demo").rate == run.rate
