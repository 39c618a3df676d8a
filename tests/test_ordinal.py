"""The ordinal method against literal values and other implementations."""

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

from cardiov.model import SharedSlope
from cardiov.ordinal import class_probabilities, decode, monotone_probabilities, ordinal_loss, ordinal_targets, violation_rate

P = torch.tensor([[0.9, 0.6, 0.2], [0.55, 0.82, 0.27]], dtype=torch.float64)


def test_targets_are_table_4():
    expected = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert ordinal_targets(torch.arange(4)).tolist() == expected


@pytest.mark.parametrize("wrong", [-1, 4])
def test_values_outside_the_scale_are_an_error(wrong):
    with pytest.raises(ValueError, match=f"between 0 and 3, but .* {wrong}"):
        ordinal_targets(torch.tensor([1, wrong, 1]))


def test_loss_is_the_mean_of_three_binary_cross_entropies():
    logits, y = torch.logit(P), torch.tensor([2, 0])
    by_hand = -(np.log([0.9, 0.6, 0.8]).sum() + np.log([0.45, 0.18, 0.73]).sum()) / 6
    assert ordinal_loss(logits, y).item() == pytest.approx(by_hand, abs=1e-6)
    assert ordinal_loss(logits, y) > 0  # Eq. 5 as printed would be negative


def test_class_probabilities_by_hand():
    probabilities = class_probabilities(torch.logit(P))
    expected = [[0.1, 0.3, 0.4, 0.2], [0.45, -0.27, 0.55, 0.27]]  # the second is not monotone
    assert np.allclose(probabilities, expected, atol=1e-12)
    assert decode(probabilities).tolist() == [2, 2]


def test_monotone_probabilities_are_the_isotonic_fit():
    p = torch.rand(300, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    fitted = [IsotonicRegression(increasing=False).fit_transform(range(3), row) for row in p.numpy()]
    edges = np.pad(fitted, ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0)))
    probabilities = monotone_probabilities(torch.logit(p))
    assert np.allclose(probabilities, -np.diff(edges), atol=1e-12)
    assert probabilities.min() >= -1e-12


def test_monotone_decoding_leaves_monotone_thresholds_alone():
    p = torch.rand(300, 3, generator=torch.Generator().manual_seed(2)).sort(dim=1, descending=True).values
    assert torch.allclose(monotone_probabilities(torch.logit(p)), class_probabilities(torch.logit(p)), atol=1e-5)


def test_violation_rate_counts_records():
    assert violation_rate(torch.logit(P)) == 0.5
    assert violation_rate(torch.logit(P[:1])) == 0.0


WHY = "the oracles are not installed: pip install -e .[oracles]"
LABELS = torch.arange(500) % 4


def test_coral_is_coral_pytorchs():
    losses = pytest.importorskip("coral_pytorch.losses", reason=WHY)
    layers = pytest.importorskip("coral_pytorch.layers", reason=WHY)
    levels = pytest.importorskip("coral_pytorch.dataset", reason=WHY).levels_from_labelbatch(LABELS, num_classes=4)
    assert torch.equal(ordinal_targets(LABELS), levels)
    theirs, ours = layers.CoralLayer(7, 4), SharedSlope(7, 3)
    ours.load_state_dict({"weight": theirs.coral_weights.weight, "bias": theirs.coral_bias})
    x = torch.randn(500, 7, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ours(x), theirs(x))
    expected = losses.coral_loss(theirs(x), levels) / 3  # coral-pytorch adds the three thresholds up
    assert torch.allclose(ordinal_loss(ours(x), LABELS), expected, rtol=1e-6)
