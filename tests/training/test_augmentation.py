import numpy as np
import pytest
import torch

from cardiov.ecg.electrodes import LEAD_MATRIX, electrode_potentials
from cardiov.errors import ParameterError
from cardiov.training.augmentation import AUGMENTATIONS, augment, random_crop

RATE = 100.0


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(64, 12, 1000)


def test_crops_are_stretches_at_random_places():
    ramp = torch.arange(1000.0).expand(64, 12, 1000)
    torch.manual_seed(0)
    cropped = random_crop(ramp, 250)
    assert cropped.shape == (64, 12, 250)
    assert (cropped.diff(dim=2) == 1).all() and (cropped == cropped[:, :1]).all()  # whole, and of the same time in all leads
    starts = cropped[:, 0, 0]
    assert starts.min() >= 0 and starts.max() <= 750 and len(starts.unique()) > 50
    assert torch.equal(random_crop(ramp, 1000), ramp)


def test_amplitude_is_one_factor_a_record(x):
    factor = augment(x, RATE, {"amplitude": 0.2}) / x
    assert torch.allclose(factor, factor[:, :1, :1].expand_as(factor), rtol=1e-4)
    assert factor[:, 0, 0].log().std().item() == pytest.approx(0.2, rel=0.3)


def test_lead_dropout_makes_some_leads_flat_and_leaves_the_others(x):
    out = augment(x, RATE, {"lead_dropout": 0.25})
    flat = (out == 0).all(dim=2)
    assert flat.float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert torch.equal(out[~flat], x[~flat])


def electrodes(added):
    """Potentials (B, 9, n) whose leads were added, checked with the package's own matrix, so that Einthoven's relations hold."""
    potentials = np.stack([electrode_potentials(leads) for leads in added])
    assert np.allclose(LEAD_MATRIX @ potentials, added, atol=1e-5)
    return potentials


def test_drift_is_slow_bounded_and_at_the_electrodes(x):
    added = (augment(x, RATE, {"electrode_drift": 0.3}) - x).double().numpy()
    electrodes(added)
    assert 0.3 < np.abs(added).max() <= 0.6 + 1e-5  # of a difference of two electrodes
    power = np.abs(np.fft.rfft(added - added.mean(-1, keepdims=True))) ** 2
    frequency = np.fft.rfftfreq(1000, 1 / RATE)
    assert power[..., frequency <= 1.3].sum() / power.sum() > 0.95


def test_noise_is_white_bounded_in_size_and_at_the_electrodes(x):
    added = (augment(x, RATE, {"electrode_noise": 0.1}) - x).double().numpy()
    electrodes(added)
    sizes = added[:, 0].std(axis=-1)  # of lead I, from two electrodes
    assert sizes.max() < 0.15 and (sizes**2).mean() == pytest.approx(2 * 0.1**2 / 3, rel=0.25)
    neighbours = (added[..., 1:] * added[..., :-1]).mean() / (added**2).mean()
    assert abs(neighbours) < 0.01


def test_nothing_asked_for_changes_nothing(x):
    assert torch.equal(augment(x, RATE, {}), x)
    state = torch.get_rng_state()
    augment(x, RATE, {})
    assert torch.equal(torch.get_rng_state(), state)  # so that the paper's own runs keep their random numbers


def test_an_unknown_augmentation_is_named(x):
    with pytest.raises(ParameterError, match=f"no augmentation 'flip': take some of {', '.join(AUGMENTATIONS)}"):
        augment(x, RATE, {"flip": 1})
