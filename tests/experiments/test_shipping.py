import json
import re
import shutil

import pandas as pd
import pytest
import torch

from cardiov.analysis.metrics import metrics
from cardiov.analysis.probabilities import calibrated
from cardiov.errors import CheckpointError, DataSetError, ParameterError
from cardiov.experiments import shipping
from cardiov.experiments.runs import weights_path
from cardiov.model import PRETRAINED, CardioV, CardioVConfig
from cardiov.store import results

SHIPPED = sorted(PRETRAINED.glob("*.safetensors"))


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
    for seed, losses in enumerate([(0.2, 0.5, 0.4), (0.9, 0.6, 0.3)]):
        folder = tmp_path / "results" / "part" / "runs" / f"ordinal-{seed}"
        folder.mkdir(parents=True)
        table.to_csv(folder / "predictions.csv", index=False)
        phases = ["statements", "ordinal", "ordinal"]
        pd.DataFrame({"phase": phases, "validation_loss": losses}).to_csv(folder / "history.csv", index=False)
        config = {"objective": "ordinal", "label_rule": "most-likely", "crop": 5.0, "windows": 1}
        run = {"config": config, "rate": 100, "train_records": 1234}
        (folder / "provenance.json").write_text(json.dumps({"run": run}))
        model.save_pretrained(weights_path("part", f"ordinal-{seed}"), run=run)
    return tmp_path


def test_the_last_phases_loss_on_fold_9_chooses(root):
    assert results.chosen_run("part") == "ordinal-1"
    with pytest.raises(DataSetError, match="no run other-"):
        results.chosen_run("part", "other")


def test_the_file_says_what_scoring_takes_and_the_card_beside_it_how_well(root):
    path = root / "shipped.safetensors"
    assert shipping.ship("part", path) == [path, path.with_suffix(".md")]
    model = CardioV.from_pretrained(path)
    assert model.metadata["preprocessing"]["rate"] == 100 and model.metadata["preprocessing"]["leads"][3] == "aVR"
    assert model.metadata["label_rule"] == "most-likely" and model.metadata["temperature"] > 0
    assert list(model.metadata["levels"]) == ["0.8", "0.9", "0.95"]
    card = path.with_suffix(".md").read_text()
    test = results.read_predictions("part", "ordinal-1").query("split == 'test'")
    values = metrics(calibrated(test, model.metadata["temperature"]))
    assert f"| mean AUC | {values['auc_mean']:.3f} |" in card and f"| mean absolute error | {values['mae']:.3f} |" in card
    assert "1,234 records (folds 1 to 8)" in card and "40 records of 40 patients" in card
    assert "not a medical device" in card and "Wagner P" in card and "CC BY 4.0" in card


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
    monkeypatch.setattr(shipping, "PRETRAINED", root / "package")
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
    assert metadata["chosen_run"] == results.chosen_run(path.stem)
    # all that the file says beside its weights comes from the committed predictions and histories
    assert json.loads(json.dumps(shipping.describe(path.stem))) == {key: metadata[key] for key in shipping.describe(path.stem)}
    assert path.with_suffix(".md").read_text(encoding="utf-8") == shipping.model_card(model)
    assert re.search(r"\d\.\d{3} to \d\.\d{3}", path.with_suffix(".md").read_text(encoding="utf-8"))


def test_a_model_comes_with_the_package_by_default():
    assert "ptbxl-sample" in [path.stem for path in SHIPPED]
    model = CardioV.from_pretrained()
    with torch.no_grad():
        assert model(torch.zeros(1, 12, 1000)).shape == (1, 3)
