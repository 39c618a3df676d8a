"""Disturbances, against literal values, Einthoven's law and physical invariants; the stressed predictions of a run."""

import numpy as np
import pandas as pd
import pytest
import torch
from ecg_files import write_data_set

from cardiov.__main__ import main
from cardiov.analysis.metrics import SCORES
from cardiov.data.cache import prepare
from cardiov.ecg.electrodes import ELECTRODES, LEAD_MATRIX, electrode_potentials
from cardiov.ecg.filters import bandpass, prepare_signal
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.errors import CheckpointError, DataSetError, ParameterError
from cardiov.experiments import stress
from cardiov.experiments.stress import CONDITIONS, DISTURBANCES, disturb, stressed_predictions
from cardiov.model import CardioV, CardioVConfig
from cardiov.objectives import decode_outputs
from cardiov.store import results
from cardiov.store.results import chosen_run

FS = 500
ADDED = ("baseline drift", "muscle noise", "mains")
LIMB_LEADS, CHEST_LEADS = slice(0, 6), slice(6, 12)


@pytest.fixture(scope="module")
def signal():
    """Twelve leads (12, n) in mV that obey Einthoven's and Goldberger's relations, as those of nine electrodes do."""
    potentials = np.random.default_rng(0).normal(0, 0.3, (9, 5000)).cumsum(axis=1) / 20
    return (LEAD_MATRIX @ potentials).astype(np.float32)


def lead(signal, name):
    return signal[LEADS.index(name)]


def assert_relations_hold(signal):
    i, ii, iii, avr, avl, avf = signal[LIMB_LEADS]
    for residual in (ii - i - iii, avr + (i + ii) / 2, avl - (i - ii / 2), avf - (ii - i / 2)):
        assert np.abs(residual).max() < 1e-5


def test_leads_follow_from_electrodes_by_their_definitions():
    ra, la, ll, *v = potentials = np.random.default_rng(1).normal(size=9)
    terminal = (ra + la + ll) / 3
    limb = [la - ra, ll - ra, ll - la, ra - (la + ll) / 2, la - (ra + ll) / 2, ll - (ra + la) / 2]
    np.testing.assert_allclose(LEAD_MATRIX @ potentials, [*limb, *(one - terminal for one in v)], atol=1e-12)


def test_electrode_potentials_are_found_from_the_leads(signal):
    potentials = electrode_potentials(signal.astype(float))
    np.testing.assert_allclose(LEAD_MATRIX @ potentials, signal, atol=1e-5)
    np.testing.assert_allclose(potentials[:3].sum(axis=0), 0, atol=1e-12)  # against Wilson's terminal


def test_a_signal_without_a_disturbance_stays_to_the_bit(signal):
    for name in (*ADDED, "electrode loss"):
        assert np.array_equal(disturb(signal, FS, name, 0), signal)


@pytest.mark.parametrize(("name", "strength"), CONDITIONS)
def test_einthovens_law_holds_after_every_disturbance(signal, name, strength):
    disturbed = disturb(signal, FS, name, strength, seed=3)
    assert_relations_hold(disturbed)
    assert disturbed.dtype == np.float32 and disturbed.shape == signal.shape
    assert not np.array_equal(disturbed, signal)


def test_a_recorded_deviation_from_einthovens_law_is_neither_hidden_nor_enlarged(signal):
    recorded = signal.copy()
    recorded[2] += 0.1  # lead III
    disturbed = disturb(recorded, FS, "lead swap", "V1/V2")
    assert np.array_equal(disturbed[LIMB_LEADS], recorded[LIMB_LEADS])


@pytest.mark.parametrize(("name", "strength"), CONDITIONS)
def test_disturbances_are_deterministic_and_differ_by_seed(signal, name, strength):
    assert np.array_equal(disturb(signal, FS, name, strength, [0, 7]), disturb(signal, FS, name, strength, [0, 7]))
    if name in ADDED:
        assert not np.array_equal(*(disturb(signal, FS, name, strength, [0, ecg_id]) for ecg_id in (7, 8)))


@pytest.mark.parametrize("name", ADDED)
def test_a_greater_strength_is_more_of_the_same(signal, name):
    weak, strong = (disturb(signal, FS, name, strength, seed=1) - signal for strength in (0.25, 1))
    np.testing.assert_allclose(4 * weak, strong, atol=1e-4)


def at_electrodes(name, strength, fs=FS):
    """What a disturbance adds at each electrode, seen on silence: potentials (9, n) in mV."""
    silence = np.zeros((9, 10 * fs))
    return DISTURBANCES[name][0](silence, fs, strength, np.random.default_rng(0))


def test_the_stated_amplitudes_are_reached_at_every_electrode():
    np.testing.assert_allclose(np.abs(at_electrodes("baseline drift", 0.5)).max(axis=1), 0.5)
    np.testing.assert_allclose(at_electrodes("muscle noise", 0.2).std(axis=1), 0.2, rtol=0.01)
    np.testing.assert_allclose(np.abs(at_electrodes("mains", 0.3)).max(axis=1), 0.3, rtol=0.05)


def test_disturbances_lie_in_their_bands():
    frequency = np.fft.rfftfreq(5000, 1 / FS)

    def share(name, low, high):
        power = np.square(np.abs(np.fft.rfft(at_electrodes(name, 1)))).sum(axis=0)
        return power[(frequency >= low) & (frequency <= high)].sum() / power.sum()

    assert share("baseline drift", 0, 1.2) > 0.99 and share("baseline drift", 0.5, 1.2) > 0.2
    assert share("muscle noise", 10, 200) > 0.85
    assert share("mains", 49.95, 50.05) > 0.999


def test_the_filter_leaves_a_part_of_every_added_disturbance(signal):
    for name in ADDED:
        added = disturb(np.zeros_like(signal), FS, name, 1)
        assert 0.2 < bandpass(added, FS).std() / added.std() < 0.9


@pytest.mark.parametrize("fs", [100, 250, 1000])
def test_disturbances_know_the_records_own_rate(fs):
    mains = at_electrodes("mains", 1, fs=fs)[0]
    np.testing.assert_allclose(mains[: fs // 50], mains[fs : fs + fs // 50], atol=1e-6)  # 50 whole waves a second
    assert at_electrodes("muscle noise", 0.2, fs=fs).std() == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize(("pair", "limb_leads"), [
    ("LA/RA", "-I III II aVL aVR aVF"), ("LA/LL", "II I -III aVR aVF aVL"), ("RA/LL", "-III -II -I aVF aVL aVR"),
])  # fmt: skip
def test_swapped_limb_electrodes_exchange_limb_leads_alone(signal, pair, limb_leads):
    swapped = disturb(signal, FS, "lead swap", pair)
    expected = [-lead(signal, name[1:]) if name[0] == "-" else lead(signal, name) for name in limb_leads.split()]
    np.testing.assert_allclose(swapped, [*expected, *signal[CHEST_LEADS]], atol=1e-5)


def test_swapped_chest_electrodes_change_their_leads_alone(signal):
    swapped = disturb(signal, FS, "lead swap", "V1/V3")
    np.testing.assert_allclose(swapped[[6, 8]], signal[[8, 6]], atol=1e-6)
    others = [*range(6), 7, 9, 10, 11]
    assert np.array_equal(swapped[others], signal[others])


@pytest.mark.parametrize("pair", DISTURBANCES["lead swap"][2])
def test_swapping_twice_changes_nothing(signal, pair):
    twice = disturb(disturb(signal, FS, "lead swap", pair), FS, "lead swap", pair)
    np.testing.assert_allclose(twice, signal, atol=1e-5)


def lost_only(signal, electrode):
    """The signal without one electrode, by the seed that draws it first."""
    for seed in range(500):
        if np.random.default_rng(seed).permutation(9)[0] == ELECTRODES.index(electrode):
            return disturb(signal, FS, "electrode loss", 1, seed)
    raise AssertionError


def test_a_lost_chest_electrode_flattens_its_lead_alone(signal):
    lost = lost_only(signal, "V4")
    np.testing.assert_allclose(lead(lost, "V4"), 0, atol=1e-6)
    others = [k for k in range(12) if LEADS[k] != "V4"]
    assert np.array_equal(lost[others], signal[others])


def test_a_lost_limb_electrode_reads_the_terminal_and_disturbs_every_lead_but_the_opposite(signal):
    _, la, ll = electrode_potentials(signal)[:3]
    lost = lost_only(signal, "RA")
    np.testing.assert_allclose(lead(lost, "I"), la, atol=1e-5)
    np.testing.assert_allclose(lead(lost, "II"), ll, atol=1e-5)
    np.testing.assert_allclose(lead(lost, "III"), lead(signal, "III"), atol=1e-6)  # LL - LA
    shift = (la + ll) / 3  # of Wilson's terminal
    np.testing.assert_allclose(lost[CHEST_LEADS], signal[CHEST_LEADS] - shift, atol=1e-5)


def test_a_greater_loss_includes_the_smaller_one_and_all_lost_is_silence(signal):
    assert np.abs(disturb(signal, FS, "electrode loss", 9)).max() < 1e-5
    order = np.random.default_rng(5).permutation(9)
    for count in (1, 2, 4):
        lost = disturb(signal, FS, "electrode loss", count, seed=5)
        flat = {name for name in ELECTRODES[3:] if np.ptp(lead(lost, name)) < 1e-5}
        assert flat == {ELECTRODES[k] for k in order[:count] if k >= 3}


def test_an_unknown_disturbance_is_named(signal):
    with pytest.raises(ParameterError, match="no disturbance 'hum': take one of baseline drift, .*lead swap"):
        disturb(signal, FS, "hum", 1)


# Stressed predictions


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A data set of 8 records, two of them in the test split, and an untrained network's weights."""
    folder = tmp_path_factory.mktemp("stress")
    write_data_set(folder / "data", records=8)
    torch.manual_seed(0)
    model = CardioV(CardioVConfig(outputs=3, stem_width=16, widths=[16, 16], depths=[1, 1])).eval()
    model.save_pretrained(folder / "weights.safetensors", run={"config": {"objective": "ordinal"}})
    return folder


@pytest.fixture(scope="module")
def stressed(run):
    return stressed_predictions(CardioV.from_pretrained(run / "weights.safetensors"), run / "data", 250)


def test_every_test_record_meets_every_condition_and_itself_first(stressed):
    assert stressed["ecg_id"].unique().tolist() == [4, 8]
    for _, rows in stressed.groupby("ecg_id"):
        conditions = list(rows[["disturbance", "strength"]].itertuples(index=False, name=None))
        assert conditions == [("none", "0"), *((name, str(strength)) for name, strength in CONDITIONS)]
    scores = stressed[["p0", "p1", "p2", "p3"]]
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (scores.to_numpy().argmax(axis=1) == stressed["predicted"]).all()


def test_undisturbed_records_are_predicted_as_from_the_cache(run, stressed):
    """So that every difference is the disturbance's."""
    cache = prepare(run / "data", run / "cache", rate=250)
    with torch.inference_mode():
        outputs = CardioV.from_pretrained(run / "weights.safetensors")(torch.from_numpy(cache.read([3, 7])))
    scores, _ = decode_outputs(outputs, "ordinal")
    clean = stressed[stressed["disturbance"] == "none"]
    np.testing.assert_allclose(clean[["p0", "p1", "p2", "p3"]], scores.numpy(), atol=2e-6)


def test_the_record_is_prepared_as_the_caches_and_each_disturbance_acts_before_the_filter(run):
    cache = prepare(run / "data", run / "cache", rate=250)
    ecg = read_ecg(run / "data/records500/00000/00004_hr")
    clean, *disturbed = stress._conditions(ecg, 250, [0, 4])
    assert np.array_equal(clean, cache.read([3])[0])
    for (name, strength), prepared in zip(CONDITIONS, disturbed, strict=True):
        raw = disturb(ecg.signal, ecg.fs, name, strength, [0, 4, list(DISTURBANCES).index(name)])
        np.testing.assert_allclose(prepared, prepare_signal(raw, ecg.fs, 250), atol=5.1e-4)  # rounded to whole µV


def test_each_record_has_its_own_disturbance(run, stressed):
    ecg = read_ecg(run / "data/records500/00000/00008_hr")
    of_another, own = (stress._conditions(ecg, 250, [0, ecg_id]) for ecg_id in (4, 8))
    assert np.array_equal(of_another[0], own[0]) and not np.array_equal(of_another[1], own[1])
    with torch.inference_mode():
        outputs = CardioV.from_pretrained(run / "weights.safetensors")(torch.from_numpy(own))
    scores = stressed[stressed["ecg_id"] == 8][["p0", "p1", "p2", "p3"]]
    np.testing.assert_allclose(scores, decode_outputs(outputs, "ordinal")[0].numpy(), atol=2e-6)


@pytest.fixture
def ship(root, run):
    """Ship the run's network, trained at 250 Hz, as that of a data set's ordinal-1; its objective is given."""
    for seed, loss in enumerate((0.4, 0.3)):
        folder = results.run_dir("some", f"ordinal-{seed}")
        results.write_table(pd.DataFrame({"phase": ["ordinal"], "validation_loss": [loss]}), folder / "history.csv")
        (folder / "predictions.csv").touch()
    model = CardioV.from_pretrained(run / "weights.safetensors")
    path, preprocessing = results.shipped_path("some"), {"rate": 250}
    return lambda objective: model.save_pretrained(path, preprocessing=preprocessing, run={"config": {"objective": objective}})


def test_the_command_writes_what_the_notebook_reads(root, run, ship, stressed, capsys):
    ship("ordinal")
    assert main(["stress", str(run / "data"), "some", "no/params"]) == 0
    pd.testing.assert_frame_equal(results.read_stressed("some", "ordinal-1"), stressed, atol=2e-6)
    assert capsys.readouterr().out == f"{root}/results/some/runs/ordinal-1/stress.csv\n"


def test_the_command_takes_the_objective_from_the_weights(run, ship, stressed, capsys):
    """Three outputs may be the paper's thresholds or CORN's conditional ones."""
    command = ["stress", str(run / "data"), "some", "no/params"]
    ship(None)
    assert main(command) == 1 and "the weights name None as their objective" in capsys.readouterr().err
    ship("corn")
    assert main(command) == 0
    p0, p1, *_ = stressed[["p0", "p1", "p2", "p3"]].to_numpy().T
    corn = results.read_stressed("some", "ordinal-1")
    np.testing.assert_allclose(corn["p0"], p0, atol=3e-6)  # the first output says the same in both
    np.testing.assert_allclose(corn["p1"], (1 - p0) * (p0 + p1), atol=3e-6)  # p0 + p1 = 1 - sigmoid(z2)


def test_what_is_missing_is_said(root, run, ship):
    with pytest.raises(DataSetError, match="python -m cardiov stress"):
        results.read_stressed("some", "ordinal-1")
    assert main(["stress", str(run / "data"), "some", "no/params"]) == 1
    ship("ordinal")
    assert main(["stress", str(run / "nothing"), "some", "no/params"]) == 1
    assert not list(root.rglob("stress.csv"))
    with pytest.raises(CheckpointError):
        CardioV.from_pretrained(run / "no.safetensors")


def test_a_data_set_without_test_records_is_refused(run, tmp_path):
    write_data_set(tmp_path, records=3)
    with pytest.raises(DataSetError, match="no record in fold 10"):
        stressed_predictions(CardioV.from_pretrained(run / "weights.safetensors"), tmp_path, 250)


# What is published


def test_undisturbed_predictions_are_the_runs_own():
    """The stressed predictions belong to the predictions beside them."""
    run = chosen_run("ptbxl-sample")
    clean = results.read_stressed("ptbxl-sample", run).query("disturbance == 'none'").set_index("ecg_id")
    own = results.read_predictions("ptbxl-sample", run).query("split == 'test'").set_index("ecg_id")
    assert clean.index.equals(own.index)
    # both in single precision, in batches of another size
    np.testing.assert_allclose(clean[SCORES], own[SCORES], atol=1e-3)
    decided = np.diff(np.sort(own[SCORES], axis=1))[:, -1] >= 1e-3
    assert (clean["predicted"] == own["predicted"])[decided].all()
