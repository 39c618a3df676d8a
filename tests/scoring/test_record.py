"""One ECG scored: against the network asked by hand, another isotonic fit, and the stored predictions of real records."""

import hashlib
import json
import math
import tomllib
from datetime import datetime, timezone

import numpy as np
import pytest
import torch
from ecg_files import simulated_signal, write_record
from sklearn.isotonic import IsotonicRegression

from cardiov.analysis.probabilities import calibrated
from cardiov.data.records import open_records
from cardiov.ecg.filters import prepare_signal
from cardiov.ecg.leads import ECG, read_ecg
from cardiov.errors import CheckpointError, ParameterError, SignalError
from cardiov.model import CardioV, CardioVConfig
from cardiov.scoring import record
from cardiov.scoring.calibration import prediction_sets
from cardiov.scoring.gradcam import heat_maps
from cardiov.scoring.record import score, score_all
from cardiov.store import results
from cardiov.store.files import ROOT
from cardiov.store.pretrained import PRETRAINED

SMALL = CardioVConfig(stem_width=16, widths=(16, 16), depths=(1, 1))


def simulated(seconds=10, fs=500, seed=0):
    return ECG((simulated_signal(seconds, fs, seed) / 1000).astype(np.float32), float(fs), {"record": "simulated"})


def weights(folder, config=SMALL, **metadata):
    """A file of untrained weights with what they say of themselves."""
    torch.manual_seed(0)
    run = {"rate": 100.0, "config": {"objective": "ordinal"}}
    CardioV(config).save_pretrained(folder / "weights.safetensors", **{"run": run, "name": "untrained"} | metadata)
    return folder / "weights.safetensors"


def asked_by_hand(ecg, model):
    """Probabilities by the network, a sigmoid, and scikit-learn's isotonic regression."""
    signal = np.rint(prepare_signal(ecg.signal, ecg.fs, 100) * 1000) / 1000
    with torch.inference_mode():
        logits = model(torch.from_numpy(signal[None].astype(np.float32)))[0].double().numpy()
    above = 1 / (1 + np.exp(-logits / model.metadata["temperature"]))
    above = IsotonicRegression(increasing=False).fit_transform([1, 2, 3], above)
    return -np.diff([1, *above, 0])


@pytest.mark.parametrize("seed", range(4))
def test_the_probabilities_are_those_of_the_shipped_network(seed):
    ecg, model = simulated(seed=seed), CardioV.from_pretrained()
    scored = score(ecg)
    np.testing.assert_allclose(scored.probabilities, asked_by_hand(ecg, model), atol=1e-5)
    assert scored.critical_value == scored.probabilities.argmax()
    finding = ("without a finding of", "with a finding of low", "with a finding of medium", "with a finding of high")[scored.critical_value]
    assert scored.meaning.startswith(f"it resembles ECGs {finding} risk (critical value {scored.critical_value}), such as ")
    assert scored.probabilities.min() >= 0 and scored.probabilities.sum() == pytest.approx(1)
    low, high = prediction_sets([scored.probabilities], model.metadata["levels"]["0.9"])
    assert scored.prediction_set == (low[0], high[0])
    assert (scored.seconds, scored.fs, scored.rate, scored.model) == (10, 500, 100, "cardiov-1")


def test_several_are_scored_as_each_alone():
    ecgs = [simulated(seconds, fs, seed) for seed, (seconds, fs) in enumerate([(10, 500), (7, 250), (31, 100), (10, 1000)])]
    for one, ecg in zip(score_all(ecgs), ecgs, strict=True):
        alone = score(ecg)
        assert len(one.windows) == len(alone.windows)
        for window, other in zip(one.windows, alone.windows, strict=True):
            assert window.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def test_a_file_and_what_is_read_of_it_score_alike(tmp_path):
    base = write_record(tmp_path)
    scored = score(f"{base}.hea")
    np.testing.assert_array_equal(scored.probabilities, score(read_ecg(base)).probabilities)
    assert scored.record == "r"


def test_a_long_record_is_scored_in_windows_of_which_the_gravest_is_reported():
    ecg = simulated(25, 250)
    scored = score(ecg)
    assert [(window.start, window.seconds) for window in scored.windows] == [(0, 10), (7.5, 10), (15, 10)]
    for window in scored.windows:
        first = round(window.start * 250)
        alone = score(ECG(ecg.signal[:, first : first + 2500], 250.0))
        assert window.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
        assert window.critical_value == alone.critical_value and len(alone.windows) == 1
    ranks = [(window.critical_value, np.dot(window.probabilities, [0, 1, 2, 3])) for window in scored.windows]
    assert scored.window == ranks.index(max(ranks)) and scored.critical_value == max(ranks)[0]
    assert scored.prediction_set is None


@pytest.mark.parametrize(("seconds", "starts"), [(5, [0]), (10, [0]), (10.1, [0, 0.1]), (20, [0, 10]), (24, [0, 7, 14])])
def test_windows_cover_a_record_from_end_to_end(seconds, starts):
    assert [window.start for window in score(simulated(seconds, 100)).windows] == pytest.approx(starts)


def test_records_of_one_window_have_a_set_also_beside_longer_ones():
    ecgs = [simulated(25), simulated(10, seed=1), simulated(20), simulated(10, seed=2)]
    sets = [scored.prediction_set for scored in score_all(ecgs)]
    assert sets == [None, score(ecgs[1]).prediction_set, None, score(ecgs[3]).prediction_set] and None not in sets[1::2]


def test_the_gravest_window_is_the_one_of_the_highest_expected_value_among_equals(monkeypatch):
    given = iter([(0.1, 0.8, 0.1, 0.0), (0.0, 0.4, 0.3, 0.3), (0.5, 0.3, 0.1, 0.1)])
    monkeypatch.setattr(record, "_decoded", lambda model, outputs: np.array([next(given) for _ in outputs]))
    scored = score(simulated(30, 100))
    assert (scored.window, scored.critical_value) == (1, 1) and scored.probabilities.tolist() == [0.0, 0.4, 0.3, 0.3]


@pytest.mark.parametrize("fs", [100, 250, 257, 1000])
def test_the_sampling_rate_hardly_matters(fs):
    t = {rate: np.arange(10 * rate) / rate for rate in (fs, 500)}
    lead = {rate: np.sin(2 * np.pi * 1.2 * t[rate]) + 0.4 * np.sin(2 * np.pi * 7 * t[rate] + 1) for rate in t}
    scale = np.linspace(-1, 1.5, 12)[:, None]
    one, other = (score(ECG((scale * lead[rate]).astype(np.float32), float(rate))) for rate in (fs, 500))
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=0.02)


def test_heat_is_that_of_the_reported_window():
    ecg = simulated(20, 100, seed=3)
    scored = score(ecg, heat=True)
    part = prepare_signal(ecg.signal[:, scored.window * 1000 :][:, :1000], 100, 100)
    expected = heat_maps(CardioV.from_pretrained(), part, scored.critical_value)
    assert scored.heat.shape == (7, 1000) and score(ecg).heat is None
    np.testing.assert_allclose(scored.heat, expected, atol=0.01)  # µV are rounded


def test_a_score_is_told_as_json():
    scored = score(simulated(25, 100), heat=True)
    again = json.loads(json.dumps(scored.as_dict()))
    assert again["probabilities"] == pytest.approx(scored.probabilities, abs=1e-6) and "heat" not in again
    assert [window["start"] for window in again["windows"]] == [0, 7.5, 15]
    assert again["notice"].startswith("Research software, not a medical device")


def test_a_score_says_by_what_and_when_it_was_made():
    before, scored, after = datetime.now(timezone.utc), score(simulated()), datetime.now(timezone.utc)
    assert scored.weights == hashlib.sha256((PRETRAINED / "cardiov-1.safetensors").read_bytes()).hexdigest()
    assert scored.software == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert before.replace(microsecond=0) <= datetime.fromisoformat(scored.scored) <= after and len(scored.scored) == 25
    assert {name: scored.as_dict()[name] for name in ("weights", "software", "scored")}.items() <= vars(scored).items()


def test_weights_of_simulated_ecgs_are_labelled(tmp_path):
    assert score(simulated(), weights(tmp_path, data="simulated")).model == "untrained (trained on simulated ECGs)"
    scored = score(simulated(), weights(tmp_path, name="mine"))  # the same path again
    assert scored.model == "mine" and scored.prediction_set is None


def test_the_one_level_of_older_weights_is_refused(tmp_path):
    new = score(simulated(), weights(tmp_path, levels={"0.9": [0.5, 0.6, 0.7, math.inf]}))
    assert new.prediction_set[1] == 3  # an infinite level lets its value in
    with pytest.raises(CheckpointError, match="one level of the prediction sets .* write them again by `python -m cardiov ship`"):
        score(simulated(), weights(tmp_path, levels={"0.9": 0.79}))


@pytest.mark.parametrize(("objective", "outputs"), [("classification", 4), ("corn", 3), ("coral", 3), ("sord", 4)])
def test_other_objectives_have_probabilities_too(tmp_path, objective, outputs):
    run = {"rate": 100.0, "config": {"objective": objective}}
    config = CardioVConfig(outputs=outputs, stem_width=16, widths=(16, 16), depths=(1, 1))
    scored = score(simulated(), CardioV.from_pretrained(weights(tmp_path, config, run=run)))
    assert scored.probabilities.sum() == pytest.approx(1) and scored.probabilities.min() >= 0


def test_what_cannot_be_asked_is_refused(tmp_path):
    silent = CardioV.from_pretrained(weights(tmp_path, run={"config": {"objective": "ordinal"}}))
    with pytest.raises(CheckpointError, match="at which sampling rate"):
        score(simulated(), silent)
    run = {"rate": 100.0, "config": {"objective": "regression"}}
    config = CardioVConfig(outputs=1, stem_width=16, widths=(16, 16), depths=(1, 1))
    with pytest.raises(CheckpointError, match="no probabilities"):
        score(simulated(), CardioV.from_pretrained(weights(tmp_path, config, run=run)))
    with pytest.raises(CheckpointError, match="no readable safetensors"):
        score(simulated(), tmp_path / "absent.safetensors")
    run = {"rate": 100.0, "config": {"objective": "classification"}}
    config = CardioVConfig(outputs=4, stem_width=16, widths=(16, 16), depths=(1, 1))
    with pytest.raises(ParameterError, match="ordinal head"):
        score(simulated(), CardioV.from_pretrained(weights(tmp_path, config, run=run)), heat=True)


@pytest.mark.parametrize(
    ("signal", "fs", "message"),
    [
        (np.zeros((11, 5000)), 500, r"shape \(11, 5000\)"),
        (np.zeros(5000), 500, "shape"),
        (np.full((12, 5000), np.nan), 500, "no numbers"),
        (np.zeros((12, 5000)), 500, "which no ECG has"),
        (simulated_signal(), 500, "check the units"),
        (simulated_signal(4) / 1000, 500, "at least 5 s"),
        (simulated_signal() / 1000, 50, "of 100 to 100,000 Hz"),
    ],
)
def test_an_ecg_made_by_hand_is_checked(signal, fs, message):
    with pytest.raises(SignalError, match=message):
        score(ECG(signal, fs))


def test_real_records_get_the_scores_that_are_stored_of_the_chosen_run():
    """The instrument and the study prepare and predict alike."""
    model, records = CardioV.from_pretrained(), open_records(ROOT / "data/ptbxl-sample")
    stored = results.read_predictions("ptbxl-sample", model.metadata["chosen_run"]).iloc[::10]
    stored = calibrated(stored, model.metadata["temperature"])
    scores = score_all([records.read(ecg_id) for ecg_id in stored["ecg_id"]])
    found = np.stack([scored.probabilities for scored in scores])
    np.testing.assert_allclose(found, stored[["p0", "p1", "p2", "p3"]], atol=1e-3)
    decided = np.diff(np.sort(found, axis=1)[:, 2:]).ravel() >= 1e-3
    assert [scored.critical_value for scored in np.array(scores)[decided]] == stored.loc[decided, "predicted"].tolist()
