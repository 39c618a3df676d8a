"""The measured maps of a run: examples, random weights, stored tables."""

import numpy as np
import pandas as pd
import pytest
import torch
import wfdb
from ecg_files import write_data_set
from heat_maps import signals, small_network
from ludb_files import unpack_ludb
from scipy.stats import spearmanr

from cardiov.analysis.cases import NOISE
from cardiov.errors import DataSetError
from cardiov.experiments.heat import choose_examples, randomised, rank_correlation, write_heat
from cardiov.store.results import HEAT_TABLES


@pytest.fixture(scope="module")
def model():
    return small_network()


@pytest.fixture(scope="module")
def ludb(tmp_path_factory):
    return unpack_ludb(tmp_path_factory.mktemp("ludb"), ("/1.dat", "/1.hea", "/1.ii"))


def test_random_weights_are_new_and_seeded_and_the_rest_is_kept(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    new, again, head = (randomised(model, signals(4), part) for part in (None, None, ["head"]))
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


def test_random_weights_do_not_depend_on_the_number_of_threads(model):
    states = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        states.append(list(randomised(model, signals(16)).state_dict().values()))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    assert all(torch.equal(*pair) for state in states[1:] for pair in zip(states[0], state, strict=True))


def test_batch_norms_of_random_weights_know_the_signals(model):
    x = signals(4)
    new = randomised(model, x)
    with torch.no_grad():
        out = new.stem.conv(torch.from_numpy(x).unsqueeze(2))
    torch.testing.assert_close(new.stem.norm.running_mean, out.mean((0, 2, 3)))
    torch.testing.assert_close(new.stem.norm.running_var, out.var((0, 2, 3)))


def test_rank_correlation_is_spearmans():
    first, second = np.random.default_rng(0).integers(0, 9, (2, 5, 40))
    expected = [spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    assert rank_correlation(first, second) == pytest.approx(expected)
    assert np.isnan(rank_correlation(first[:1], np.ones((1, 40)))).all()


def test_examples_are_chosen_by_rule():
    codes = {1: {"AFIB": 0.0}, 2: {"AFIB": 0.0}, 3: {"LVH": 100.0, "AFIB": 0.0}, 4: {"AFIB": 100.0, "AFLT": 0.0},
             5: {"AFIB": 100.0}, 6: {"PVC": 100.0, "IMI": 50.0}, 7: {"PVC": 100.0}, 8: {"AFIB": 0.0}}  # fmt: skip
    metadata = pd.DataFrame({"scp_codes": codes}).rename_axis("ecg_id").assign(**dict.fromkeys(NOISE))
    metadata.loc[7, "static_noise"] = ", I-V1,"
    predictions = pd.DataFrame({"ecg_id": list(codes), "split": ["test"] * 7 + ["validation"]})
    predictions["predicted"] = [2, 2, 2, 2, 3, 3, 2, 2]
    predictions["p2"] = [0.6, 0.7, 0.99, 0.99, 0.4, 0.3, 0.8, 0.99]
    # 3 has the label of another statement, 4 is AFLT as well, 5 is not predicted to have AFIB's critical value of 2, 8 is
    # no test record; 6 is quiet, but not predicted to have PVC's critical value
    assert choose_examples(metadata, predictions) == {"AF": 2, "PVC": 7}
    assert choose_examples(metadata, predictions.drop(index=[0, 1]))["AF"] == 3
    assert choose_examples(metadata, predictions.iloc[:5]) == {"AF": 2}


@pytest.fixture
def run(tmp_path, model):
    """A data set of four records, two of them tested, the weights and predictions of a network for it."""
    table = write_data_set(tmp_path / "data")
    model.save_pretrained(tmp_path / "weights.safetensors", preprocessing={"rate": 100})
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
    paths = write_heat(folder / "data", folder / "weights.safetensors", folder / "run", **options)
    assert paths == [path for name in HEAT_TABLES if (path := folder / "run" / f"{name}.csv").exists()]
    return {path.stem: pd.read_csv(path) for path in paths}


def test_a_run_of_simulated_records_leaves_shares_and_no_signal(run):
    folder, table = run
    for name in table["filename_hr"]:
        annotate(folder / "data" / name)
    tables = explained(folder)
    assert list(tables) == ["heat_maps", "heat_marks", "heat_sanity", "heat_cascade", "heat_shares"]
    assert tables["heat_maps"].columns.tolist() == ["example", "ecg_id", "time", *[f"s{i}" for i in range(1, 8)], "mark"]
    assert len(tables["heat_maps"]) == 500 and set(tables["heat_maps"]["ecg_id"]) == {4}  # 10 s at 50 Hz
    assert tables["heat_marks"][["mark", "onset", "end", "source"]].iloc[0].tolist() == ["QRS", 0.6, 0.68, "annotated"]
    at = tables["heat_maps"].set_index("time")["mark"]
    assert at[0.63] == "QRS" and pd.isna(at[0.55])
    assert tables["heat_shares"]["patient_id"].tolist() == [100] * 7 + [101] * 7
    assert tables["heat_shares"]["coverage"].between(0.05, 0.15).all()
    assert tables["heat_cascade"]["randomised"].tolist() == ["head", "s7", "s6", "s5", "s4", "s3", "s2", "s1", "stem"]
    assert tables["heat_sanity"]["cell"].tolist()[:7] == [0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56]
    random = tables["heat_sanity"].filter(like="random_")
    assert random.shape[1] == 5 and len(random.T.drop_duplicates()) == 5  # networks of their own
    assert explained(folder)["heat_shares"].equals(tables["heat_shares"])  # the same each time


def test_a_run_of_records_without_marks_is_measured_on_ludb_alone(run, ludb):
    folder, _ = run
    (folder / "run/heat_shares.csv").write_text("of an earlier run\n")
    tables = explained(folder, ludb=ludb)
    assert "heat_shares" not in tables and set(tables["heat_shares_ludb"]["window"]) == {"P", "QRS", "T", "P to T"}
    assert len(tables["heat_shares_ludb"]) == 28


def test_what_is_missing_is_named(run, tmp_path):
    folder, _ = run
    with pytest.raises(DataSetError, match="no WFDB records: give the folder of LUDB"):
        explained(folder, ludb=tmp_path / "run")
    (folder / "run/predictions.csv").unlink()
    with pytest.raises(DataSetError, match="train the run first"):
        explained(folder)
