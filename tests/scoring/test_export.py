"""A network as ONNX: equal to torch on any length and on real records, and what is refused."""

import hashlib

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from cardiov.__main__ import main
from cardiov.data.ptbxl import read_metadata
from cardiov.data.records import open_records
from cardiov.ecg.examples import examples
from cardiov.ecg.filters import prepare_signal
from cardiov.ecg.leads import read_ecg
from cardiov.errors import CheckpointError, ParameterError
from cardiov.model import CardioV, CardioVConfig
from cardiov.scoring.export import export
from cardiov.scoring.gradcam import heat_maps
from cardiov.scoring.network import as_network, load_model
from cardiov.scoring.record import score_all
from cardiov.store.files import ROOT
from cardiov.store.pretrained import NETWORKS, PRETRAINED

RUN = {"rate": 100.0, "config": {"objective": "ordinal"}}


def drawn(path, **settings):
    """A network with drawn weights and statistics, from its file."""
    torch.manual_seed(0)
    model = CardioV(CardioVConfig(**{"stem_width": 16, "widths": (16, 32), "depths": (1, 2)} | settings))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    model.save_pretrained(path, run=RUN, name="drawn")
    return CardioV.from_pretrained(path)


def real_ecgs(count):
    """Records of the real sample, spread over all of it."""
    records, ids = open_records(ROOT / "data/ptbxl-sample"), read_metadata(ROOT / "data/ptbxl-sample").index
    return [records.read(ecg_id) for ecg_id in ids[:: len(ids) // count][:count]]


@pytest.fixture
def model(tmp_path):
    return drawn(tmp_path / "drawn.safetensors")


@pytest.mark.parametrize("settings", [
    {}, {"normalise": True}, {"squeeze_excitation": False}, {"shared_slope": True}, {"outputs": 4}, {"kernel": 2}, {"kernel": 8},
])  # fmt: skip
def test_every_kind_of_network_and_length_is_as_in_torch(tmp_path, settings):
    model = drawn(tmp_path / "drawn.safetensors", **settings)
    export(model, tmp_path / "drawn.onnx")
    exported, own = load_model(tmp_path / "drawn.onnx"), as_network(model)
    rng = np.random.default_rng(0)
    for count, n in [(1, 500), (3, 501), (2, 502), (1, 503), (4, 1000), (1, 5000)]:
        x = rng.standard_normal((count, 12, n), np.float32)
        np.testing.assert_allclose(exported.outputs(x), own.outputs(x), atol=1e-5)


@pytest.mark.parametrize("settings", [
    {}, {"depths": (2, 3)}, {"normalise": True}, {"squeeze_excitation": False}, {"shared_slope": True}, {"kernel": 2},
    {"widths": (32, 32)},
])  # fmt: skip
def test_heat_of_every_kind_of_network_and_length_is_that_of_autograd(tmp_path, settings):
    model = drawn(tmp_path / "drawn.safetensors", **settings)
    export(model, tmp_path / "drawn.onnx")
    exported, rng = load_model(tmp_path / "drawn.onnx"), np.random.default_rng(0)
    for value, n in enumerate((500, 501, 502, 503)):
        x = rng.standard_normal((12, n), np.float32)
        np.testing.assert_allclose(exported.heat(x, value), heat_maps(model, x, value), atol=1e-4)


def test_heat_of_real_records_is_that_of_the_package():
    model, exported = CardioV.from_pretrained(), load_model()
    for example in examples().values():
        ecg = read_ecg(example.path)
        x = prepare_signal(ecg.signal, ecg.fs, 100)
        heat = exported.heat(x, example.critical_value)
        # of 1; a map is divided by its maximum, and rounds the more the smaller that is
        np.testing.assert_allclose(heat, heat_maps(model, x, example.critical_value), atol=1e-4)
        assert heat.shape == (7, 1000) and heat.dtype == np.float32


def test_a_network_without_the_ordinal_head_has_no_heat(tmp_path):
    (path,) = export(drawn(tmp_path / "drawn.safetensors", outputs=4), tmp_path / "drawn.onnx")
    with pytest.raises(ParameterError, match="drawn-heat.onnx is missing, which only networks with the ordinal head have"):
        load_model(path).heat(np.zeros((12, 1000), np.float32), 1)


@pytest.mark.parametrize("name", NETWORKS.values())
def test_the_onnx_in_the_package_is_the_export_of_the_safetensors(tmp_path, name):
    for path in export(CardioV.from_pretrained(name), tmp_path / f"{name}.onnx"):
        assert (PRETRAINED / path.name).read_bytes() == path.read_bytes(), f"run `cardiov export cardiov/pretrained/{name}.onnx`"
    assert sum(path.stat().st_size for path in PRETRAINED.iterdir()) < 16e6


def test_real_records_are_scored_as_by_torch():
    model, ecgs = CardioV.from_pretrained(), real_ecgs(300)
    x = np.stack([prepare_signal(ecg.signal, ecg.fs, 100) for ecg in ecgs])
    assert len(x) == 300
    np.testing.assert_allclose(load_model().outputs(x), as_network(model).outputs(x), atol=1e-5)
    for one, other in zip(score_all(ecgs[:50]), score_all(ecgs[:50], model), strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
        assert (one.critical_value, one.prediction_set, one.weights) == (other.critical_value, other.prediction_set, other.weights)


def test_the_file_says_what_the_safetensors_say_and_their_digest(tmp_path, model):
    export(model, tmp_path / "drawn.onnx")
    exported = load_model(tmp_path / "drawn.onnx")
    assert exported.metadata == model.metadata
    assert exported.sha256 == hashlib.sha256((tmp_path / "drawn.safetensors").read_bytes()).hexdigest()


def test_the_command_writes_it(tmp_path, capsys, model):
    assert main(["export", str(tmp_path / "new.onnx"), "--model", str(tmp_path / "drawn.safetensors")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'new.onnx'}\n{tmp_path / 'new-heat.onnx'}\n"
    assert load_model(tmp_path / "new.onnx").metadata["name"] == "drawn"


def test_an_odd_kernel_is_refused(tmp_path):
    model = drawn(tmp_path / "drawn.safetensors", kernel=15)
    with pytest.raises(ParameterError, match="a kernel of 15 taps cannot be exported"):
        export(model, tmp_path / "drawn.onnx")
    assert not (tmp_path / "drawn.onnx").exists()


@pytest.mark.parametrize("name", ["stem.conv.weight", "s1.0.norm2.running_var", "s2.1.excite.bias", "head.bias"])
def test_weights_that_are_no_numbers_are_refused(tmp_path, model, name):
    model.state_dict()[name].view(-1)[0] = np.nan
    model.save_pretrained(tmp_path / "nan.safetensors", run=RUN)
    with pytest.raises(CheckpointError, match=f"the weights {name} are no finite numbers"):
        load_model(tmp_path / "nan.safetensors")
    export(model, tmp_path / "nan.onnx")
    for network in (model, tmp_path / "nan.onnx"):
        with pytest.raises(CheckpointError, match="outputs that are no numbers"):
            score_all(real_ecgs(1), network)


@pytest.mark.parametrize("content", [b"", b"not a network", None])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "other.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="other.onnx: no readable ONNX network there"):
        load_model(path)


def test_a_graph_of_somebody_else_or_of_heat_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is no network that `cardiov export` has written"):
        load_model(PRETRAINED / "cardiov-1-heat.onnx")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "other", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "other.onnx")
    with pytest.raises(CheckpointError, match="is no network that `cardiov export` has written"):
        load_model(tmp_path / "other.onnx")
