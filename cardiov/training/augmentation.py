"""Random changes of training signals, so that the network learns what does not matter (cf. Raghu et al. 2022).

They act on batches of prepared signals, and draw from torch's global random numbers, which training seeds in each epoch.
"""

import math

import torch

from cardiov.errors import ParameterError

ELECTRODES = 9
DRIFT_BAND = (0.5, 1.0)  # Hz: the part of breathing and movement that passes the filters


def random_crop(x, length):
    """A stretch of each record, at a random place: (B, 12, n) -> (B, 12, length)."""
    starts = torch.randint(x.shape[-1] - length + 1, (len(x),), device=x.device)
    places = starts[:, None] + torch.arange(length, device=x.device)  # (B, length)
    return x.gather(2, places[:, None].expand(-1, x.shape[1], -1))


def _amplitude(x, rate, spread):
    """Each record larger or smaller by a factor exp(N(0, spread²))."""
    return x * torch.exp(spread * torch.randn(len(x), 1, 1, device=x.device))


def _lead_dropout(x, rate, probability):
    """Each lead flat with this probability."""
    return x * (torch.rand(*x.shape[:2], 1, device=x.device) >= probability)


def _electrode_drift(x, rate, amplitude):
    """A slow sine wave added at each electrode, of up to `amplitude` mV."""
    frequency, phase, size = (torch.rand(len(x), ELECTRODES, 1, device=x.device) for _ in range(3))
    frequency = DRIFT_BAND[0] + (DRIFT_BAND[1] - DRIFT_BAND[0]) * frequency
    time = torch.arange(x.shape[-1], device=x.device) / rate
    return x + _leads(amplitude * size * torch.sin(2 * math.pi * (frequency * time + phase)))


def _electrode_noise(x, rate, amplitude):
    """White noise added at each electrode, of up to `amplitude` mV root mean square."""
    size = amplitude * torch.rand(len(x), ELECTRODES, 1, device=x.device)
    return x + _leads(size * torch.randn(len(x), ELECTRODES, x.shape[-1], device=x.device))


def _leads(potentials):
    """Leads of the electrodes RA, LA, LL, V1 to V6: (B, 9, n) -> (B, 12, n), so that Einthoven's relations hold."""
    ra, la, ll, *_ = potentials.unbind(1)
    i, ii = la - ra, ll - ra
    limb = torch.stack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2], dim=1)  # (B, 6, n)
    return torch.cat([limb, potentials[:, 3:] - potentials[:, :3].mean(1, keepdim=True)], dim=1)


AUGMENTATIONS = {
    "amplitude": _amplitude,
    "lead_dropout": _lead_dropout,
    "electrode_drift": _electrode_drift,
    "electrode_noise": _electrode_noise,
}


def augment(x, rate, amounts):
    """Change signals in mV, (B, 12, n) at `rate` Hz, by each augmentation's amount, in the order given.

    Raises
    ------
    ParameterError
        If an augmentation is not one of `AUGMENTATIONS`.
    """
    for name, amount in amounts.items():
        if name not in AUGMENTATIONS:
            raise ParameterError(f"there is no augmentation {name!r}: take some of {', '.join(AUGMENTATIONS)}.")
        x = AUGMENTATIONS[name](x, rate, amount)
    return x
