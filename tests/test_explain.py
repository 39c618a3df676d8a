"""Grad-CAM against the grad-cam package and known answers; shares of heat against invariants; LUDB's marks."""

import copy
import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import wfdb
from ecg_files import write_data_set
from pytorch_grad_cam import GradCAM
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F

from cardiov import explain
from cardiov.errors import DataSetError, ParameterError
from cardiov.model import CardioV, CardioVConfig

SHARED = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[2] / "shared"))
LUDB = SHARED / "ludb" / "ludb-1.0.1.tar.xz"
SMALL = CardioVConfig(stem_width=16, widths=(16, 16, 16, 16, 16, 32, 32), depths=(1,) * 7)


@pytest.fixture(scope="module")
def model():
    """A small network whose batch norms know the signals, as a trained one's do."""
    torch.manual_seed(1)
    return explain.randomised(CardioV(SMALL).eval(), signals(4), modules=["stem"])


def signals(count, n=1024):
    return np.random.default_rng(count).normal(0, 0.3, (count, 12, n)).astype(np.float32)


# Target


@pytest.mark.parametrize(("critical_value", "score"), [(0, -7), (1, -5), (2, -1), (3, 7)])
def test_the_target_adds_thresholds_below_and_subtracts_those_above(critical_value, score):
    assert explain.OrdinalTarget(critical_value)(torch.tensor([1.0, 2.0, 4.0])).item() == score


def test_the_target_is_the_predicted_critical_value_by_default():
    assert explain.OrdinalTarget()(torch.tensor([5.0, -6.0, -7.0])).item() == 18  # predicts 1


# Maps


class Part(nn.Module):
    """A stage that halves the length and passes every channel on."""

    def __init__(self):
        super().__init__()
        self.conv3 = nn.Conv2d(12, 12, 1, groups=12)
        nn.init.ones_(self.conv3.weight)
        nn.init.zeros_(self.conv3.bias)

    def forward(self, x):
        return self.conv3(F.avg_pool2d(x, (1, 2), ceil_mode=True, count_include_pad=False))


class Watcher(nn.Module):
    """Its logits are means over time of lead I alone, in any of its stages."""

    config = CardioVConfig()

    def __init__(self, sign=1.0):
        super().__init__()
        self.stages = nn.ModuleList(nn.Sequential(Part()) for _ in range(7))
        self.sign = sign

    def forward(self, x):
        x = F.avg_pool2d(x.unsqueeze(2), (1, 2))
        for stage in self.stages:
            x = stage(x)
        return self.sign * x[:, :1].mean((2, 3)).expand(-1, 3)


def two_events(n=5000, watched=4700, other=1500):
    signal = np.zeros((12, n), np.float32)
    signal[0, watched - 2 : watched + 2] = 1
    signal[1, other - 2 : other + 2] = 9
    return signal


def test_heat_lies_where_the_answer_comes_from_and_nowhere_else():
    heat = explain.heat_maps(Watcher(), two_events(), critical_value=3)
    assert heat.shape == (7, 5000)
    for stage, of_stage in enumerate(heat):
        hot = np.flatnonzero(of_stage)
        # within the cell, also where the package's stretching of 20 cells of 256 over 5,000 samples errs by 113
        assert abs(of_stage.argmax() - 4700) <= explain._stride(stage) / 2
        assert np.abs(hot - 4700).max() <= 1.5 * explain._stride(stage) and of_stage.max() == 1


def test_no_evidence_is_no_heat():
    heat = explain.heat_maps(Watcher(sign=-1.0), two_events(), critical_value=3)
    assert not heat.any()  # and no NaN
    assert explain.heat_maps(Watcher(sign=-1.0), two_events(), critical_value=0).any()


def test_all_stages_in_one_pass_agree_with_the_package(model):
    x = signals(3)
    heat = explain.heat_maps(model, x, critical_value=[0, 2, 3])
    signs = torch.tensor([[-1.0, -1, -1], [1, 1, -1], [1, 1, 1]])
    targets = [lambda z, t=t: (t * z).sum() for t in signs]
    for stage in range(7):
        theirs = copy.deepcopy(model)  # whose gradients the package leaves behind
        layer = theirs.stages[stage][-1].conv3
        expected = GradCAM(explain._AsImage(theirs), [layer])(torch.from_numpy(x).unsqueeze(2), targets)[:, 0]
        low, high = heat[:, stage].min(axis=1, keepdims=True), heat[:, stage].max(axis=1, keepdims=True)
        # 1,024 samples are whole cells of every stage, so nothing is stretched
        np.testing.assert_allclose((heat[:, stage] - low) / np.maximum(high - low, 1e-9), expected, atol=2e-3)


def test_one_record_is_explained_as_in_a_batch_and_the_model_is_left_alone(model):
    x = signals(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    heat = explain.heat_maps(model, x)
    np.testing.assert_allclose(explain.heat_maps(model, x[1]), heat[1], atol=1e-3)
    assert heat.shape == (3, 7, 1024) and heat.min() >= 0 and heat.max() == 1
    assert all(value.requires_grad and value.grad is None for value in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_maps_are_of_what_the_model_predicts_by_default(model):
    x = signals(4)
    predicted = explain._predicted(model, x)
    np.testing.assert_array_equal(explain.heat_maps(model, x), explain.heat_maps(model, x, predicted))


def test_other_heads_are_refused():
    with pytest.raises(ParameterError, match="4 outputs where the ordinal head has 3"):
        explain.heat_maps(CardioV(CardioVConfig(outputs=4, widths=(16,) * 7, depths=(1,) * 7)), signals(1))


def test_energy_is_that_of_each_cell():
    energy = explain._energy(two_events()[None])[0]
    assert energy.shape == (7, 5000)
    for stage, of_stage in enumerate(energy):
        assert abs(of_stage.argmax() - 1500) <= explain._stride(stage)  # the stronger event
    assert energy[:5, 4600:4800].max(axis=1) == pytest.approx(1 / 81, abs=2e-3)


# Random weights


def test_random_weights_are_new_and_seeded_and_the_rest_is_kept(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    new, again, head = (explain.randomised(model, signals(4), part) for part in (None, None, ["head"]))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    endings = ("conv1.weight", "conv2.weight", "conv3.weight", "head.weight")
    weights = [name for name in before if name.endswith(endings)]
    assert len(weights) == 22
    assert not any(torch.equal(new.state_dict()[name], before[name]) for name in weights)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in new.state_dict().items())
    changed = [name for name, value in head.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["head.weight", "head.bias"]
    assert not any(module.training for module in new.modules())


def test_batch_norms_of_random_weights_know_the_signals(model):
    x = signals(4)
    new = explain.randomised(model, x)
    with torch.no_grad():
        out = new.stem.conv(torch.from_numpy(x).unsqueeze(2))
    torch.testing.assert_close(new.stem.norm.running_mean, out.mean((0, 2, 3)))
    torch.testing.assert_close(new.stem.norm.running_var, out.var((0, 2, 3)))


def test_rank_correlation_is_spearmans():
    first, second = np.random.default_rng(0).integers(0, 9, (2, 5, 40))
    expected = [spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    assert explain.rank_correlation(first, second) == pytest.approx(expected)
    assert np.isnan(explain.rank_correlation(first[:1], np.ones((1, 40)))).all()


# Windows


WAVES = pd.DataFrame(
    [("p", 0.5, 0.6), ("N", 0.7, 0.8), ("t", 1.0, 1.2), ("V", 1.4, 1.6), ("t", 1.7, 2.0), ("p", 2.4, 2.5),
     ("N", 2.6, 2.7)],
    columns=["symbol", "onset", "end"],
)  # fmt: skip


def test_windows_worked_by_hand():
    windows = {kind: found.tolist() for kind, found in explain.wave_windows(WAVES).items()}
    assert windows == {
        "P": [[0.5, 0.6], [2.4, 2.5]],
        "QRS": [[0.7, 0.8], [1.4, 1.6], [2.6, 2.7]],
        "T": [[1.0, 1.2], [1.7, 2.0]],
        "P to T": [[0.5, 1.2], [1.4, 2.0]],  # the last beat's T wave is not marked
        "ectopic beat": [[1.4, 2.0]],
    }
    assert "ectopic beat" not in explain.wave_windows(WAVES.iloc[:3])


def test_waves_are_read_from_wfdb_also_where_they_overlap(tmp_path):
    sample = [0, 250, 255, 300, 310, 320, 400, 500, 550]
    symbol = ["+", "(", "(", "N", "t", ")", ")", "N", ")"]  # the last QRS complex has no onset
    number = [0, 1, 2, 1, 2, 1, 2, 1, 1]
    wfdb.wrann("r", "atr", np.array(sample), symbol, num=np.array(number), fs=500, write_dir=str(tmp_path))
    waves = explain.read_waves(tmp_path / "r", "atr")
    assert waves.to_numpy().tolist() == [["N", 0.5, 0.64], ["t", 0.51, 0.8]]
    with pytest.raises(DataSetError, match="r.ii cannot be read"):
        explain.read_waves(tmp_path / "r", "ii")


@pytest.fixture(scope="module")
def ludb(tmp_path_factory):
    if not LUDB.is_file():
        pytest.skip("LUDB is not here (CARDIOV_SHARED)")
    folder = tmp_path_factory.mktemp("ludb")
    with tarfile.open(LUDB) as archive:
        members = [m for m in archive if m.name.endswith(("/1.dat", "/1.hea", "/1.ii"))]
        archive.extractall(folder, members, filter="data")
    return folder / "ludb"


def test_ludb_marks_are_read_right(ludb):
    waves = explain.read_waves(ludb / "1", "ii")
    assert waves.iloc[:3].to_numpy().tolist() == [["N", 1.288, 1.364], ["t", 1.552, 1.756], ["p", 2.5, 2.604]]
    notes = wfdb.rdann(str(ludb / "1"), "ii")
    assert waves["symbol"].value_counts().to_dict() == {s: notes.symbol.count(s) for s in "Ntp"}
    windows = explain.wave_windows(waves)
    assert len(windows["P to T"]) == len(windows["T"]) and "ectopic beat" not in windows


def test_beats_are_detected_where_ludb_marks_them(ludb):
    waves = explain.read_waves(ludb / "1", "ii")
    ecg = explain.read_ecg(ludb / "1")
    marks = explain.beat_marks(ludb / "1", ecg.signal, ecg.fs)
    assert set(marks["source"]) == {"detected"} and set(marks["mark"]) == {"QRS"}
    middle = marks[["onset", "end"]].mean(axis=1).to_numpy()
    for beat in waves[waves["symbol"] == "N"].itertuples():
        assert np.any((middle > beat.onset - 0.05) & (middle < beat.end + 0.05))


def test_beats_of_another_shape_are_ectopic():
    peaks, time = np.array([0.05, 0.9, 1.8, 2.4, 3.6, 4.5]), np.arange(2500) / 500
    signal = sum(np.exp(-0.5 * ((time - peak) / 0.01) ** 2) for peak in peaks) * np.linspace(-1, 1, 12)[:, None]
    signal[:, 1100:1300] = np.exp(-0.5 * ((time[1100:1300] - 2.4) / 0.05) ** 2)  # wide, and alike in all leads
    windows = explain._detected_windows(peaks, signal, 500)
    assert windows["ectopic beat"].tolist() == [pytest.approx([2.3, 2.8])]
    assert windows["QRS"].tolist() == [pytest.approx([peak - 0.05, peak + 0.05]) for peak in peaks]
    assert {kind: len(found) for kind, found in explain._detected_windows(peaks[:0], signal, 500).items()} == {
        "QRS": 0, "ectopic beat": 0}  # fmt: skip


# Shares


def masks(n=1000):
    inside = np.zeros(n, bool)
    inside[100:150] = inside[600:650] = True
    span = np.zeros(n, bool)
    span[50:850] = True
    return inside, span


def test_flat_heat_has_the_share_of_time_and_heat_inside_has_all():
    inside, span = masks()
    share, coverage = explain.heat_share(np.stack([np.ones(1000), 7 * inside, np.zeros(1000)]), inside, span)
    assert coverage == 100 / 800
    np.testing.assert_array_equal(share, [coverage, 1, np.nan])


def test_no_map_of_a_stage_exceeds_what_its_cells_allow():
    inside, span = masks()
    generator = np.random.default_rng(0)
    for stage in range(7):
        cells = -(-1000 // explain._stride(stage))
        maps = generator.exponential(size=(50, cells)) ** 4
        shares, coverage = explain.heat_share(explain._over_time(maps, 1000, stage), inside, span)
        assert coverage <= shares.max() <= explain._best_share(inside, span, stage) <= 1
    assert explain._best_share(inside, span, 0) == pytest.approx(1)
    assert explain._best_share(inside, span, 6) < 0.25


def test_share_rows_look_between_the_first_and_the_last_wave():
    heat = np.zeros((7, 300))
    heat[:, :40] = 1  # before the first wave, which starts at 0.5 s
    heat[:, 150:152] = 1  # in the ectopic QRS complex
    rows = pd.DataFrame(explain.share_rows({"trained": heat}, WAVES, 100)).set_index(["stage", "window"])
    assert rows.loc["s1", "trained"].to_dict() == {"P": 0, "QRS": 1, "T": 0, "P to T": 1, "ectopic beat": 1}
    assert rows.loc[("s3", "ectopic beat"), "coverage"] == pytest.approx(60 / 220)
    assert len(rows) == 35


def shares(factor):
    index = pd.MultiIndex.from_product([range(6), ["s1", "s2"], ["QRS"]], names=["ecg_id", "stage", "window"])
    table = index.to_frame(index=False).assign(patient_id=lambda t: t["ecg_id"] // 2, coverage=0.1, best=0.8)
    return table.assign(trained=factor * 0.1, contrast=0.1, random=0.1, energy=0.4)


def test_enrichment_is_share_over_chance_and_leaves_empty_maps_out():
    table = shares(2.0)
    table.loc[(table["ecg_id"] == 5) & (table["stage"] == "s2"), ["trained", "coverage"]] = np.nan, 0.9
    found = explain.enrichment(table, resamples=50)
    assert found.loc[("trained", "QRS", "s1"), ["estimate", "low", "high"]].tolist() == pytest.approx([2, 2, 2])
    assert found.loc[("trained", "QRS", "s2"), ["estimate", "records"]].tolist() == pytest.approx([2, 5])
    assert found.loc[("best", "QRS", "s1"), "estimate"] == pytest.approx(8)
    assert found.loc[("energy", "QRS", "s1"), ["estimate", "records"]].tolist() == pytest.approx([4, 6])


def test_correlations_are_means_by_stage():
    table = pd.DataFrame({"ecg_id": [1, 1, 2, 2], "patient_id": [1, 1, 2, 2], "stage": ["s1", "s2"] * 2})
    table = table.assign(random=[0.2, np.nan, 0.4, 0.1], another_record=0.5, energy=-0.5)
    found = explain.correlations(table, resamples=50)
    assert found.loc[("random", "s1"), ["estimate", "low", "high"]].tolist() == pytest.approx([0.3, 0.2, 0.4])
    assert found.loc[("random", "s2"), ["estimate", "records"]].tolist() == pytest.approx([0.1, 1])


# Examples and the stored run


def test_examples_are_chosen_by_rule():
    codes = {1: {"AFIB": 0.0}, 2: {"AFIB": 0.0}, 3: {"LVH": 100.0, "AFIB": 0.0}, 4: {"AFIB": 100.0, "AFLT": 0.0},
             5: {"AFIB": 100.0}, 6: {"PVC": 100.0, "IMI": 50.0}, 7: {"PVC": 100.0}, 8: {"AFIB": 0.0}}  # fmt: skip
    metadata = pd.DataFrame({"scp_codes": codes}).rename_axis("ecg_id").assign(**dict.fromkeys(explain.NOISE))
    metadata.loc[7, "static_noise"] = ", I-V1,"
    predictions = pd.DataFrame({"ecg_id": list(codes), "split": ["test"] * 7 + ["validation"]})
    predictions["predicted"] = [2, 2, 2, 2, 3, 3, 2, 2]
    predictions["p2"] = [0.6, 0.7, 0.99, 0.99, 0.4, 0.3, 0.8, 0.99]
    # 3 has the label of another statement, 4 is AFLT as well, 5 is not predicted to have AFIB's critical value of 2, 8 is
    # no test record; 6 is quiet, but not predicted to have PVC's critical value
    assert explain.choose_examples(metadata, predictions) == {"AF": 2, "PVC": 7}
    assert explain.choose_examples(metadata, predictions.drop(index=[0, 1]))["AF"] == 3
    assert explain.choose_examples(metadata, predictions.iloc[:5]) == {"AF": 2}


@pytest.fixture
def run(tmp_path, model):
    """A data set of four records, two of them tested, the weights and predictions of a network for it."""
    table = write_data_set(tmp_path / "data")
    model.save_pretrained(tmp_path / "weights.safetensors")
    predictions = pd.DataFrame({"ecg_id": [1, 4], "split": "test", "critical_value": [0, 2], "predicted": [0, 2]})
    (tmp_path / "run").mkdir()
    predictions.assign(p0=0.4, p1=0.3, p2=0.2, p3=0.1).to_csv(tmp_path / "run/predictions.csv", index=False)
    return tmp_path, table


def annotate(record):
    waves = [(s, s + 20, s + 40) for s in range(300, 4800, 400)]
    sample = np.ravel(waves)
    wfdb.wrann(record.name, "atr", sample, ["(", "V", ")"] * len(waves), num=np.ones(len(sample), int), fs=500,
               write_dir=str(record.parent))  # fmt: skip


def explained(folder, **options):
    explain.write_heat(folder / "data", folder / "weights.safetensors", folder / "run", 100, **options)
    return {name: pd.read_csv(path) for name in explain.TABLES if (path := folder / "run" / f"{name}.csv").exists()}


def test_a_run_of_simulated_records_leaves_shares_and_no_signal(run):
    folder, table = run
    for name in table["filename_hr"]:
        annotate(folder / "data" / name)
    found = explained(folder)
    assert list(found) == ["heat_maps", "heat_marks", "heat_sanity", "heat_cascade", "heat_shares"]
    assert found["heat_maps"].columns.tolist() == ["example", "ecg_id", "time", *[f"s{i}" for i in range(1, 8)], "mark"]
    assert len(found["heat_maps"]) == 500 and set(found["heat_maps"]["ecg_id"]) == {4}  # 10 s at 50 Hz
    assert found["heat_marks"][["mark", "onset", "end", "source"]].iloc[0].tolist() == ["QRS", 0.6, 0.68, "annotated"]
    at = found["heat_maps"].set_index("time")["mark"]
    assert at[0.63] == "QRS" and pd.isna(at[0.55])
    assert found["heat_shares"]["patient_id"].tolist() == [100] * 7 + [101] * 7
    assert found["heat_shares"]["coverage"].between(0.05, 0.15).all()
    assert found["heat_cascade"]["randomised"].tolist() == ["head", "s7", "s6", "s5", "s4", "s3", "s2", "s1", "stem"]
    assert found["heat_sanity"]["cell"].tolist()[:7] == [0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56]
    assert explained(folder)["heat_shares"].equals(found["heat_shares"])  # the same each time


def test_a_run_of_records_without_marks_is_measured_on_ludb_alone(run, ludb):
    folder, _ = run
    (folder / "run/heat_shares.csv").write_text("of an earlier run\n")
    found = explained(folder, ludb=ludb)
    assert "heat_shares" not in found and set(found["heat_shares_ludb"]["window"]) == {"P", "QRS", "T", "P to T"}
    assert len(found["heat_shares_ludb"]) == 28


def test_what_is_missing_is_named(run, tmp_path):
    folder, _ = run
    with pytest.raises(DataSetError, match="no WFDB records: give the folder of LUDB"):
        explained(folder, ludb=tmp_path / "run")
    (folder / "run/predictions.csv").unlink()
    with pytest.raises(DataSetError, match="train the run first"):
        explained(folder)


def test_reading_heat_says_what_has_not_run(root):
    with pytest.raises(DataSetError, match="run `python -m cardiov explain` first"):
        explain.read_heat("demo", "ordinal-0")
