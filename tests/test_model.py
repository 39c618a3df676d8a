import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from textbook import Textbook
from torch import nn

from cardiov.errors import CheckpointError
from cardiov.kernels import Conv, Dropout
from cardiov.model import CardioV, CardioVConfig, SharedSlope

torch.set_num_threads(1)
NARROW = CardioVConfig(stem_width=16, widths=(16, 16, 16, 32, 32, 48, 48))


@pytest.fixture(scope="module")
def paper():
    torch.manual_seed(0)
    return CardioV().eval()


@pytest.fixture(scope="module")
def pair():
    """The textbook network and ours with the same weights and random statistics of batch norm, without dropout."""
    torch.manual_seed(1)
    textbook, ours = Textbook(dropout=0.0), CardioV(CardioVConfig(dropout=0.0))
    for name, buffer in textbook.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.uniform_(0.5, 1.5)
    state = textbook.state_dict().values()
    ours.load_state_dict(dict(zip(ours.state_dict(), state, strict=True)))
    return textbook, ours


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_size_of_the_papers_network(paper):
    assert parameters(paper) == 30_668_211
    assert sum(isinstance(module, Conv) for module in paper.modules()) == 61


def test_narrow_network_has_the_same_layers():
    assert sum(isinstance(module, Conv) for module in CardioV(NARROW).modules()) == 61


def test_without_squeeze_excitation_a_block_is_its_convolutions_and_the_shortcut():
    torch.manual_seed(0)
    gated, plain = (CardioV(replace(NARROW, squeeze_excitation=on, dropout=0.0)).eval() for on in (True, False))
    assert parameters(gated) - parameters(plain) == sum(
        depth * (w * (w // 2) * 2 + w // 2 + w) for w, depth in zip(NARROW.widths, NARROW.depths, strict=True)
    )
    shared = {name: value for name, value in gated.state_dict().items() if name in plain.state_dict()}
    plain.load_state_dict(shared)
    for name, value in gated.named_parameters():
        if "excite" in name:  # a gate of sigmoid(40), which is 1
            value.data.fill_(40.0 if name.endswith("bias") else 0.0)
    x = torch.randn(2, 12, 300)
    assert torch.equal(gated(x), plain(x))


@pytest.mark.parametrize("n", [5000, 4999, 1000, 777, 1])
def test_outputs_equal_the_textbooks(pair, n):
    textbook, ours = (model.eval() for model in pair)
    x = torch.randn(2, 12, n, generator=torch.Generator().manual_seed(n))
    with torch.inference_mode():
        assert torch.allclose(textbook(x), ours(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("n", [1000, 333])
def test_gradients_equal_the_textbooks(pair, n):
    textbook, ours = (model.double().train() for model in pair)
    x = torch.randn(3, 12, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    for model in (textbook, ours):
        model.zero_grad()
        model(x).square().sum().backward()
    for name, theirs, mine in zip(dict(ours.named_parameters()), textbook.parameters(), ours.parameters()):
        assert torch.allclose(theirs.grad, mine.grad, rtol=1e-9, atol=1e-9), name
    for model in pair:
        model.float()


def test_autocast_takes_torchs_own_convolution(pair):
    """Under bfloat16 the logits stay near float32's."""
    ours = pair[1].eval()
    x = torch.randn(2, 12, 1000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = ours(x).float()
    assert torch.allclose(low, ours(x), atol=0.05)


def test_stage_table_follows_the_signal(paper):
    table = paper.stage_table(5000)
    assert [row["stage"] for row in table] == ["stem", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "head"]
    assert [row["length"] for row in table] == [2500, 1250, 625, 313, 157, 79, 40, 20, 1]
    assert [row["channels"] for row in table] == [64, 64, 160, 160, 400, 400, 1024, 1024, 3]
    assert [row["blocks"] for row in table] == [0, 2, 2, 2, 3, 3, 4, 4, 0]
    assert sum(row["parameters"] for row in table) == parameters(paper)
    assert table[0]["multiply_adds"] == 2500 * 12 * 64 * 16
    lengths = []
    for stage in paper.stages:
        stage.register_forward_hook(lambda module, inputs, out: lengths.append(out.shape[-1]))
    with torch.inference_mode():
        paper(torch.zeros(1, 12, 1111))
    assert lengths == [row["length"] for row in paper.stage_table(1111)][1:-1]


def test_shortcut_pools_with_a_zero_on_the_right_and_adds_zero_channels():
    block = CardioV(CardioVConfig(stem_width=16, widths=(16, 48), depths=(1, 1))).s2[0]
    x = -torch.ones(1, 16, 1, 3)
    out = block.shortcut(x)
    assert out.shape == (1, 48, 1, 2)
    assert out[0, 16:32, 0].eq(torch.tensor([-1.0, 0.0])).all()  # max(-1, padded 0) = 0
    assert out[0, :16].eq(0).all() and out[0, 32:].eq(0).all()


@pytest.mark.parametrize("p", [0.5, 0.1])
def test_dropout_keeps_the_mean_and_masks_the_gradient(p):
    torch.manual_seed(0)
    x = torch.ones(64, 32, 1, 100).contiguous(memory_format=torch.channels_last).requires_grad_()
    out = Dropout(p)(x)
    assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.01)
    assert out.mean().item() == pytest.approx(1, abs=0.02)
    out.sum().backward()
    assert torch.equal(x.grad, out)  # ones either dropped or scaled, in both directions
    assert Dropout(p).eval()(x) is x and Dropout(0)(x) is x


def test_dropout_draws_every_bit_pattern_alike():
    torch.manual_seed(0)
    x = torch.ones(8, 1, 1, 80_000)
    kept = Dropout()(x).flatten().view(-1, 8)  # the eight elements of one random word
    assert torch.allclose(kept.mean(0), torch.ones(8), atol=0.02)


AUTHORS_NAMES = (
    (r"^first_conv\.conv\.", "stem.conv."),
    (r"^first_bn\.", "stem.norm."),
    (r"^dense\.", "head."),
    (r"^stage_list\.(\d+)\.block_list\.(\d+)\.", lambda m: f"s{int(m[1]) + 1}.{m[2]}."),
    (r"\.bn(\d)\.", r".norm\1."),
    (r"\.conv(\d)\.conv\.", r".conv\1."),
    (r"\.se_fc1\.", ".squeeze."),
    (r"\.se_fc2\.", ".excite."),
)


def from_authors(state):
    """Rename a state dictionary of the authors' network for `CardioV.load_state_dict`.

    Parameters
    ----------
    state : dict of str to tensor
        Its batch norm in front of the very first block, which is never called, is left out.

    Returns
    -------
    dict of str to tensor
    """
    renamed = {}
    for name, tensor in state.items():
        if not name.startswith("stage_list.0.block_list.0.bn1."):
            for pattern, new in AUTHORS_NAMES:
                name = re.sub(pattern, new, name)
            renamed[name] = tensor
    return renamed


def authors_names(config):
    """Names in the order in which the authors' network lists its tensors, written out from its structure."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = [f"first_conv.conv.{part}" for part in norm[:2]] + [f"first_bn.{part}" for part in norm]
    for stage, depth in enumerate(config.depths):
        for block in range(depth):
            for i in (1, 2, 3):
                prefix = f"stage_list.{stage}.block_list.{block}"
                names += [f"{prefix}.bn{i}.{part}" for part in norm]
                names += [f"{prefix}.conv{i}.conv.{part}" for part in norm[:2]]
            names += [f"{prefix}.{layer}.{part}" for layer in ("se_fc1", "se_fc2") for part in norm[:2]]
    return names + ["dense.weight", "dense.bias"]


def test_weights_of_the_authors_network_fit(pair):
    textbook, _ = pair
    never_called = "stage_list.0.block_list.0.bn1."
    names = authors_names(CardioVConfig())
    used = [name for name in names if not name.startswith(never_called)]
    state = dict(zip(used, textbook.state_dict().values(), strict=True))
    state |= {name: torch.zeros(64) for name in names if name not in state}
    assert sum(v.numel() for k, v in state.items() if k.endswith(("weight", "bias"))) == 30_668_339
    ours = CardioV().eval()
    ours.load_state_dict(from_authors(state))
    x = torch.randn(1, 12, 500)
    with torch.inference_mode():
        assert torch.allclose(ours(x), textbook.eval()(x), atol=1e-5)


def test_weights_come_back_with_their_configuration(tmp_path):
    model = CardioV(NARROW).eval()
    model.save_pretrained(tmp_path / "w.safetensors", label_rule="most-likely")
    again = CardioV.from_pretrained(tmp_path / "w.safetensors")
    x = torch.randn(2, 12, 600)
    assert again.config == NARROW and again.metadata["label_rule"] == "most-likely" and not again.training
    assert torch.equal(again(x), model(x))
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_missing_damaged_and_foreign_weights_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere.safetensors: no readable"):
        CardioV.from_pretrained(tmp_path / "nowhere.safetensors")
    (tmp_path / "bad").write_bytes(b"\x80\x04pickle" * 10)
    with pytest.raises(CheckpointError, match="no readable"):
        CardioV.from_pretrained(tmp_path / "bad")
    save_file({"head.weight": torch.zeros(3, 3)}, tmp_path / "other", {"config": '{"outputs": 3}'})
    with pytest.raises(CheckpointError, match="do not fit"):
        CardioV.from_pretrained(tmp_path / "other")


def test_configuration_that_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="multiples of 16"):
        CardioVConfig(widths=(20,), depths=(1,))


def test_features_then_head_make_the_forward_pass(paper):
    x = torch.randn(1, 12, 800)
    with torch.inference_mode():
        features = paper.features(x)
        assert features.shape == (1, 1024, 1, 4)
        assert torch.equal(paper.head(features.mean((2, 3))), paper(x))
    assert type(paper.head) is nn.Linear


def test_corals_head_has_one_projection_and_a_bias_for_each_output(tmp_path):
    torch.manual_seed(0)
    model = CardioV(replace(NARROW, shared_slope=True)).eval()
    assert isinstance(model.head, SharedSlope) and parameters(model) == parameters(CardioV(NARROW)) - 2 * 48
    assert model.head.weight.shape == (1, 48) and model.head.bias.shape == (3,)
    columns = ("stage", "length", "channels", "parameters", "multiply_adds")
    assert tuple(model.stage_table()[-1][name] for name in columns) == ("head", 1, 3, 51, 48)
    x = torch.randn(4, 12, 300)
    assert torch.equal(model(x).diff(dim=1), torch.zeros(4, 2))  # the biases start equal
    with torch.no_grad():
        model.head.bias.copy_(torch.tensor([1.0, 0.25, -2.0]))
    steps = torch.tensor([-0.75, -2.25])  # for every record
    assert torch.allclose(model(x).diff(dim=1), steps.expand(4, 2), atol=1e-6)
    model.save_pretrained(tmp_path / "w")
    again = CardioV.from_pretrained(tmp_path / "w")
    assert again.config.shared_slope and torch.equal(again(x), model(x))


def test_corals_head_is_the_plain_one_with_equal_rows():
    torch.manual_seed(0)
    shared, plain = SharedSlope(5, 3), nn.Linear(5, 3)
    plain.load_state_dict({"weight": shared.weight.expand(3, 5), "bias": shared.bias})
    x = torch.randn(6, 5)
    assert torch.allclose(shared(x), plain(x), atol=1e-6)


def test_normalised_records_do_not_depend_on_their_amplitude():
    torch.manual_seed(0)
    model = CardioV(replace(NARROW, normalise=True)).eval()
    plain = CardioV(NARROW).eval()
    plain.load_state_dict(model.state_dict())
    x = torch.randn(2, 12, 100)
    with torch.no_grad():
        assert torch.allclose(model(x), model(3 * x), atol=1e-5)
        assert torch.allclose(model(x), plain(x / x.std((1, 2), keepdim=True)), atol=1e-6)
        assert model(torch.zeros(1, 12, 100)).isfinite().all()
