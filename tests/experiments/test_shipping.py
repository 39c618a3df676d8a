import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from cardiov.analysis.metrics import SCORES, metrics
from cardiov.analysis.probabilities import calibrated
from cardiov.errors import CheckpointError, DataSetError, ParameterError
from cardiov.experiments import shipping
from cardiov.experiments.runs import weights_path
from cardiov.mapping import LEVELS
from cardiov.model import CardioV, CardioVConfig
from cardiov.scoring.calibration import prediction_sets
from cardiov.scoring.network import load_model
from cardiov.store import results
from cardiov.store.pretrained import DEFAULT, NETWORKS, PRETRAINED

SHIPPED = sorted(PRETRAINED.glob("*.safetensors"))
DATASETS = {name: dataset for dataset, name in NETWORKS.items()}


def folder_of(root, name):
    (root / name).mkdir(parents=True)
    return root / name


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Stored runs of two seeds, the second of which has the lower loss in its last phase, and weights of both."""
    monkeypatch.setattr(results, "ROOT", tmp_path)
    torch.manual_seed(0)
    model = CardioV(CardioVConfig(stem_width=16, widths=(16,), depths=(1,)))
    logits = torch.randn(80, 3).sort(dim=1, descending=True).values * 3
    label = (logits + torch.randn(80, 1) > 0).sum(1)
    outputs = {f"output_{k + 1}": logits[:, k].double().numpy() for k in range(3)}
    table = pd.DataFrame({"ecg_id": range(80), "patient_id": range(80), "critical_value": label.numpy(), **outputs})
    table["split"] = ["validation", "test"] * 40
    table = calibrated(table, 1.0)
    people = {"sex": ["male", "male", "female", "female"] * 20, "age": [50, 50, 70, 70, 70, 70, 50, 50] * 10, "age_90_or_over": False}
    people |= {"statements": ["AMI:50", "NORM:100"] * 40}
    pd.DataFrame({"ecg_id": range(80), **people}).to_csv(folder_of(tmp_path, "results/part") / "records.csv", index=False)
    for seed, losses in enumerate([(0.2, 0.5, 0.4), (0.9, 0.6, 0.3)]):
        folder = tmp_path / "results" / "part" / "runs" / f"ordinal-{seed}"
        folder.mkdir(parents=True)
        table.to_csv(folder / "predictions.csv", index=False)
        phases = ["statements", "ordinal", "ordinal"]
        pd.DataFrame({"phase": phases, "validation_loss": losses}).to_csv(folder / "history.csv", index=False)
        config = {"objective": "ordinal", "label_rule": "most-likely", "crop": 5.0, "windows": 1}
        run = {"config": config, "rate": 100, "train_records": 1234}
        (folder / "provenance.json").write_text(json.dumps({"run": run, "seconds": 150, "processor": "a processor"}))
        model.save_pretrained(weights_path("part", f"ordinal-{seed}"), run=run)
    return tmp_path


def test_the_last_phases_loss_on_fold_9_chooses(root):
    assert results.chosen_run("part") == "ordinal-1"
    with pytest.raises(DataSetError, match="no run other-"):
        results.chosen_run("part", "other")


def test_the_file_says_what_scoring_takes_and_the_card_beside_it_how_well(root):
    path = root / "shipped.safetensors"
    assert shipping.ship("part", path) == [path, path.with_suffix(".onnx"), root / "shipped-heat.onnx", path.with_suffix(".md")]
    model = CardioV.from_pretrained(path)
    assert model.metadata["preprocessing"]["rate"] == 100 and model.metadata["preprocessing"]["leads"][3] == "aVR"
    assert load_model(path.with_suffix(".onnx")).sha256 == model.sha256
    assert model.metadata["label_rule"] == "most-likely" and model.metadata["temperature"] > 0
    assert {share: len(levels) for share, levels in model.metadata["levels"].items()} == {"0.8": 4, "0.9": 4, "0.95": 4}
    card = path.with_suffix(".md").read_text()
    test = results.read_predictions("part", "ordinal-1").query("split == 'test'")
    values = metrics(calibrated(test, model.metadata["temperature"]))
    assert f"| mean AUC | {values['auc_mean']:.3f} |" in card and f"| mean absolute error | {values['mae']:.3f} |" in card
    assert "1,234 records (folds 1 to 8)" in card and "40 records of 40 patients" in card
    assert "not a medical device" in card and "Wagner P" in card and "CC BY 4.0" in card
    assert "crop 5.0" in card and "took 2 minutes (a processor)" in card and f"`{shipping.weights_digest(model)}`" in card


def test_the_card_says_what_is_dangerous(root):
    shipping.ship("part", root / "shipped.safetensors")
    card, stored = (root / "shipped.md").read_text(), results.read_predictions("part", "ordinal-1")
    model = CardioV.from_pretrained(root / "shipped.safetensors")
    test = calibrated(stored, model.metadata["temperature"]).query("split == 'test'")
    high = test[test["critical_value"] == 3]
    assert f"{(high['predicted'] == 0).sum()} of {len(high)} high-risk ECGs are called 0" in card
    low, ends = prediction_sets(high[SCORES], model.metadata["levels"]["0.9"])
    assert f"| critical value 3 ({len(high)}) | {100 * ((low <= 3) & (ends == 3)).mean():.0f} % (" in card
    assert card.count("| high risk |") == 3 and "LUDB" not in card
    for label, counts in enumerate(model.metadata["tested"]["confusion"]):
        assert f"| {label} {LEVELS[label]} | {' | '.join(map(str, counts))} |" in card
    assert f"| all | any | {len(high)} | {(high['predicted'] == 0).sum()} |" in card
    alarmed = test["critical_value"][test["p3"] >= 0.5] == 3
    assert f"| 50 % | {(2 * alarmed.sum() - len(alarmed)) / len(test):.3f} (" in card  # what is found is worth a false alarm
    older = metrics(test[test["ecg_id"].map(results.read_records("part")["age"]) >= 65])
    assert f"| age >= 65 | {older['mae']:.3f} (" in card and "| male - female, age < 65 |" in card
    figures = [metrics(run.query("split == 'test'"))["mae"] for run in results.read_seeds("part", "ordinal").values()]
    assert f"| training seeds | {len(figures)} | mean absolute error | {np.mean(figures):.3f} | {np.std(figures, ddof=1):.3f} |" in card


def test_the_card_sets_the_network_beside_a_constant_on_another_hospitals_ecgs(root):
    table = results.read_predictions("part", "ordinal-1").assign(critical_value=[0, 1, 2, 3] * 20)
    table.to_csv(results.external_path("part"), index=False)
    shipping.ship("part", root / "shipped.safetensors")
    card, values = (root / "shipped.md").read_text(), metrics(table)
    assert "On 80 ECGs of another hospital" in card and "calls every ECG a 2 has 1.000 there" in card
    assert f"mean AUC\nis {values['auc_mean']:.3f} (" in card and f"and {values['auc_1']:.3f} (" in card


def test_the_digest_is_of_the_weights_alone(root):
    model = CardioV.from_pretrained(weights_path("part", "ordinal-0"))
    before = shipping.weights_digest(model)
    model.save_pretrained(root / "again.safetensors", run=model.metadata["run"], name="another")
    assert shipping.weights_digest(CardioV.from_pretrained(root / "again.safetensors")) == before
    with torch.no_grad():
        model.head.bias[0] += 1
    assert shipping.weights_digest(model) != before and len(before) == 64


def test_without_weights_or_with_too_many_nothing_is_shipped(root, monkeypatch):
    monkeypatch.setattr(shipping, "LARGEST", 100)
    with pytest.raises(ParameterError, match="more than 100 bytes: ship a narrower network"):
        shipping.ship("part", root / "shipped.safetensors")
    weights_path("part", "ordinal-1").unlink()
    with pytest.raises(CheckpointError, match=r"ordinal-1/weights.safetensors is missing: delete .*/runs/ordinal-1, so that the run is"):
        shipping.ship("part", root / "shipped.safetensors")
    assert not list(root.glob("shipped*"))


def test_weights_of_the_package_are_taken_where_their_run_was_trained_elsewhere(root, monkeypatch):
    first, second = (root / f"{name}/shipped.safetensors" for name in ("first", "second"))
    shipping.ship("part", first)
    weights_path("part", "ordinal-1").unlink()
    monkeypatch.setattr("cardiov.store.pretrained.PRETRAINED", root / "package")
    (root / "package").mkdir()
    shutil.copy(first, root / "package/part.safetensors")
    shipping.ship("part", second)
    models = [CardioV.from_pretrained(path) for path in (first, second)]
    assert models[0].metadata == models[1].metadata
    assert all(torch.equal(*pair) for pair in zip(*(model.state_dict().values() for model in models), strict=True))
    provenance = results.run_dir("part", "ordinal-1") / "provenance.json"
    provenance.write_text(provenance.read_text().replace('"crop": 5.0', '"crop": 4.0'))
    with pytest.raises(CheckpointError, match="is missing: delete"):  # the package's are of another run
        shipping.ship("part", second)


@pytest.mark.parametrize(("rate", "high"), [(500, 50.0), (100, 40.0)])
def test_the_file_names_the_band_that_its_rate_leaves(root, rate, high):
    provenance = results.run_dir("part", "ordinal-1") / "provenance.json"
    provenance.write_text(provenance.read_text().replace('"rate": 100', f'"rate": {rate}'))
    assert shipping.describe("part")["preprocessing"]["band"] == (0.5, high)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_comes_with_the_package_is_small_and_described(path):
    assert path.stat().st_size <= 16e6
    model = CardioV.from_pretrained(path.stem)
    metadata = model.metadata
    description = json.loads(json.dumps(shipping.describe(DATASETS[path.stem])))
    # all that the file says beside its weights comes from the committed predictions and histories
    assert description == {key: metadata[key] for key in description} and description["name"] == path.stem
    assert metadata["sha256"] == shipping.weights_digest(model)
    assert path.with_suffix(".md").read_text(encoding="utf-8") == shipping.model_card(model)
    assert re.search(r"\d\.\d{3} to \d\.\d{3}", path.with_suffix(".md").read_text(encoding="utf-8"))


def test_a_model_comes_with_the_package_by_default():
    assert DEFAULT in NETWORKS.values() and DEFAULT in [path.stem for path in SHIPPED]
    model = CardioV.from_pretrained()
    with torch.no_grad():
        assert model(torch.zeros(1, 12, 1000)).shape == (1, 3)


def test_the_file_says_what_fold_10_shows_of_each_called_value(root):
    tested = shipping.describe("part")["tested"]
    stored = results.read_predictions("part", "ordinal-1")
    test = calibrated(stored, shipping.describe("part")["temperature"]).query("split == 'test'")
    pairs = list(zip(test["critical_value"], test["predicted"], strict=True))
    assert tested["confusion"] == [[pairs.count((label, called)) for called in range(4)] for label in range(4)]
    low, high = prediction_sets(test[SCORES], shipping.describe("part")["levels"]["0.9"])
    held = [(label, low <= label <= high) for label, low, high in zip(test["critical_value"], low, high, strict=True)]
    assert tested["held"] == [held.count((label, True)) for label in range(4)]
