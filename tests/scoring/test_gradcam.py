"""Maps of the stages against autograd, and where their cells lie in time."""

import copy

import numpy as np
import pytest
import torch
from heat_maps import signals, small_network
from pytorch_grad_cam import GradCAM
from torch import nn
from torch.nn import functional as F

from cardiov.errors import DataSetError, ParameterError
from cardiov.experiments.heat import _energy, _predicted
from cardiov.model import CardioV, CardioVConfig
from cardiov.scoring.cells import stride_of
from cardiov.scoring.gradcam import OrdinalTarget, _AsImage, heat_maps
from cardiov.store.results import read_heat


@pytest.fixture(scope="module")
def model():
    return small_network()


@pytest.mark.parametrize(("critical_value", "score"), [(0, -7), (1, -5), (2, -1), (3, 7)])
def test_the_target_adds_thresholds_below_and_subtracts_those_above(critical_value, score):
    assert OrdinalTarget(critical_value)(torch.tensor([1.0, 2.0, 4.0])).item() == score


def test_the_target_is_the_predicted_critical_value_by_default():
    assert OrdinalTarget()(torch.tensor([5.0, -6.0, -7.0])).item() == 18  # predicts 1


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
    heat = heat_maps(Watcher(), two_events(), critical_value=3)
    assert heat.shape == (7, 5000)
    for stage, of_stage in enumerate(heat):
        hot = np.flatnonzero(of_stage)
        # within the cell, also where the package's stretching of 20 cells of 256 over 5,000 samples errs by 113
        assert abs(of_stage.argmax() - 4700) <= stride_of(stage) / 2
        assert np.abs(hot - 4700).max() <= 1.5 * stride_of(stage) and of_stage.max() == 1


def test_no_evidence_is_no_heat():
    heat = heat_maps(Watcher(sign=-1.0), two_events(), critical_value=3)
    assert not heat.any()  # and no NaN
    assert heat_maps(Watcher(sign=-1.0), two_events(), critical_value=0).any()


def test_all_stages_in_one_pass_agree_with_the_package(model):
    x = signals(3)
    heat = heat_maps(model, x, critical_value=[0, 2, 3])
    signs = torch.tensor([[-1.0, -1, -1], [1, 1, -1], [1, 1, 1]])
    targets = [lambda z, t=t: (t * z).sum() for t in signs]
    for stage in range(7):
        theirs = copy.deepcopy(model)  # whose gradients the package leaves behind
        layer = theirs.stages[stage][-1].conv3
        expected = GradCAM(_AsImage(theirs), [layer])(torch.from_numpy(x).unsqueeze(2), targets)[:, 0]
        low, high = heat[:, stage].min(axis=1, keepdims=True), heat[:, stage].max(axis=1, keepdims=True)
        # 1,024 samples are whole cells of every stage, so nothing is stretched
        np.testing.assert_allclose((heat[:, stage] - low) / np.maximum(high - low, 1e-9), expected, atol=2e-3)


def test_one_record_is_explained_as_in_a_batch_and_the_model_is_left_alone(model):
    x = signals(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    heat = heat_maps(model, x)
    np.testing.assert_allclose(heat_maps(model, x[1]), heat[1], atol=1e-3)
    assert heat.shape == (3, 7, 1024) and heat.min() >= 0 and heat.max() == 1
    assert all(value.requires_grad and value.grad is None for value in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_maps_are_of_what_the_model_predicts_by_default(model):
    x = signals(4)
    predicted = _predicted(model, x)
    np.testing.assert_array_equal(heat_maps(model, x), heat_maps(model, x, predicted))


def test_other_heads_are_refused():
    with pytest.raises(ParameterError, match="4 outputs where the ordinal head has 3"):
        heat_maps(CardioV(CardioVConfig(outputs=4, widths=(16,) * 7, depths=(1,) * 7)), signals(1))


def test_energy_is_that_of_each_cell():
    energy = _energy(two_events()[None])[0]
    assert energy.shape == (7, 5000)
    for stage, of_stage in enumerate(energy):
        assert abs(of_stage.argmax() - 1500) <= stride_of(stage)  # the stronger event
    assert energy[:5, 4600:4800].max(axis=1) == pytest.approx(1 / 81, abs=2e-3)


def test_reading_heat_says_what_has_not_run(root):
    with pytest.raises(DataSetError, match="run `python -m cardiov heat` first"):
        read_heat("demo", "ordinal-0")
