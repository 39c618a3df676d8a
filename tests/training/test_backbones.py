"""Other networks than the paper's: their layers, and a training of each."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_runs import BEYOND, CONFIG, make_data, run
from torch.nn import functional as F

from cardiov.errors import ParameterError
from cardiov.kernels import Conv
from cardiov.model import CardioV, CardioVConfig, SharedSlope
from cardiov.training.backbones import Bottleneck, Ribeiro, StateSpaces, XResNet1d, build_network, multiply_adds

TINY = {
    "xresnet1d": {"stem_width": 8, "width": 4, "depths": [1, 2]},
    "ribeiro": {"stem_width": 4, "widths": [8, 12], "kernel": 5, "stride": 2},
    "s4d": {"width": 8, "depth": 2, "states": 2},
}


def test_without_a_backbone_the_network_is_the_papers():
    network = build_network({"widths": [16], "depths": [1]}, outputs=4)
    assert type(network) is CardioV and network.config == CardioVConfig(outputs=4, widths=(16,), depths=(1,))


def test_an_unknown_backbone_is_named():
    with pytest.raises(ParameterError, match="no backbone 'lstm': choose among cardiov, xresnet1d, ribeiro, s4d"):
        build_network({"backbone": "lstm"})


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("samples", [500, 37])
def test_any_length_gives_one_row_of_outputs_a_record(name, samples):
    network = build_network({"backbone": name} | TINY[name], outputs=4, shared_slope=True).eval()
    x = torch.randn(3, 12, samples)
    outputs = network(x)
    assert outputs.shape == (3, 4) and isinstance(network.head, SharedSlope)
    torch.testing.assert_close(network(x[:1]), outputs[:1])  # whatever else is in the batch


def test_xresnet1d50_has_its_layers():
    weights = [module.weight for module in XResNet1d().modules() if isinstance(module, Conv)]
    # the stem; 16 blocks of three; a shortcut from 64 to 256 channels
    assert len(weights) == 3 + 16 * 3 + 1
    stem, block, first = 5 * (12 * 32 + 32 * 32 + 32 * 64), 2 * 64 * 256 + 5 * 64 * 64, 64 * 64 + 5 * 64 * 64 + 2 * 64 * 256
    assert sum(weight.numel() for weight in weights) == stem + 15 * block + first == 873_344


def test_an_untrained_bottleneck_is_its_shortcut():
    x = torch.randn(2, 16, 1, 9)
    torch.testing.assert_close(Bottleneck(16, 4, kernel=5, stride=1)(x), F.relu(x))
    halved = F.relu(torch.stack([*x[..., :8].unflatten(3, (4, 2)).mean(4).unbind(3), x[..., 8]], 3))
    torch.testing.assert_close(Bottleneck(16, 4, kernel=5, stride=2)(x), halved)


def test_ribeiros_network_has_its_layers():
    network = Ribeiro()
    weights = [tuple(module.weight.shape) for module in network.modules() if isinstance(module, Conv)]
    blocks = [(64, 128), (128, 196), (196, 256), (256, 320)]
    assert weights[0] == (64, 12, 16) and len(weights) == 1 + 3 * 4
    assert weights[1::3] == [(b, a, 16) for a, b in blocks]
    assert weights[2::3] == [(b, b, 16) for _, b in blocks] and weights[3::3] == [(b, a, 1) for a, b in blocks]
    assert network.features(torch.zeros(1, 12, 4096)).shape == (1, 320, 1, 16)  # theirs see 4,096 samples, at 400 Hz


def test_ribeiros_shortcut_is_not_activated_between_blocks():
    block = Ribeiro().eval().blocks[1]
    with torch.no_grad():
        block.conv2.weight.zero_(), block.conv2.bias.zero_()
    x, shortcut = torch.randn(2, 2, 128, 1, 20)
    activated, passed = block((x, shortcut))
    expected = block.project(F.max_pool2d(shortcut, (1, 4)))  # below zero, too
    torch.testing.assert_close(passed, expected)
    torch.testing.assert_close(activated, F.relu(block.norm2(expected)))


def step_by_step(spaces, direction, u):
    """The state spaces of one direction as a recurrence, whose input is constant within a step: (width, n) -> same."""
    a = torch.complex(-spaces.log_decay.exp(), spaces.frequency)[direction]  # (width, states)
    kept = (a * spaces.log_step[direction].exp()).exp()
    state, c, outputs = torch.zeros_like(a), torch.view_as_complex(spaces.c)[direction], []
    for sample in u.T:
        state = kept * state + (kept - 1) / a * sample[:, None]
        outputs.append(2 * (c * state).sum(1).real)
    return torch.stack(outputs, 1)


def test_state_spaces_are_recurrences_in_both_directions_of_time():
    torch.manual_seed(0)
    spaces, u = StateSpaces(width=4, states=3).double(), torch.randn(4, 50, dtype=torch.float64)
    later = step_by_step(spaces, 1, u.flip(1)).flip(1)[:, 1:]  # what comes after each sample
    expected = step_by_step(spaces, 0, u) + F.pad(later, (0, 1)) + spaces.d * u
    torch.testing.assert_close(spaces(u[None])[0], expected)


@pytest.mark.parametrize("name", TINY)
def test_a_backbone_is_trained_by_every_part_of_a_recipe(tmp_path, name):
    config = replace(CONFIG, **BEYOND | {"precision": "bf16-mixed"}, model={"backbone": name} | TINY[name])
    predictions = run(config, make_data(tmp_path / "data"), tmp_path)
    assert len(predictions) == 32 and np.isfinite(predictions.filter(like="output_").to_numpy()).all()
    assert predictions["output_1"].nunique() == 32 and (tmp_path / "weights/weights.safetensors").exists()


def test_multiply_adds_are_those_of_the_layers():
    network = build_network({"backbone": "s4d", "width": 8, "depth": 1, "states": 2, "patch": 4}, outputs=3)
    responses = 2 * 8 * 2 * 100  # of both directions, channels and states at 100 times: once for the batch
    assert multiply_adds(network, 400, batch=4) == 100 * (12 * 4 * 8 + 8 * 16) + 8 * 3 + responses // 4
