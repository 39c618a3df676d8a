"""Training signals changed at random, so that the network learns what does not matter (cf. Raghu et al. 2022).

Everything acts on prepared signals (band-passed, at the network's rate), a batch at a time, and draws from torch's
global random numbers, which training seeds for each epoch.
"""

import math

import torch

from cardiov.errors import ParameterError

DRIFT_BAND = (0.5, 1.0)  # Hz: what the band-pass leaves of breathing and movement


def random_crop(x, length):
    """A stretch of each record, at a random place: (B, 12, n) -> (B, 12, length).

    As every beat can come at any time, this is also the shift in time.
    """
    starts = torch.randint(x.shape[-1] - length + 1, (len(x),), device=x.device)
    places = starts[:, None] + torch.arange(length, device=x.device)  # (B, length)
    return x.gather(2, places[:, None].expand(-1, x.shape[1], -1))


def _amplitude(x, rate, spread):
    """Each record larger or smaller by a factor exp(N(0, spread²))."""
    return x * torch.exp(spread * torch.randn(len(x), 1, 1, device=x.device))


def _lead_dropout(x, rate, probability):
    """Each lead flat with this probability."""
    return x * (torch.rand(*x.shape[:2], 1, device=x.device) >= probability)


def _drift(x, rate, amplitude):
    """A slow sine wave in each lead, of up to `amplitude` mV."""
    frequency, phase, size = (torch.rand(*x.shape[:2], 1, device=x.device) for _ in range(3))
    frequency = DRIFT_BAND[0] + (DRIFT_BAND[1] - DRIFT_BAND[0]) * frequency
    time = torch.arange(x.shape[-1], device=x.device) / rate
    return x + amplitude * size * torch.sin(2 * math.pi * (frequency * time + phase))


def _noise(x, rate, amplitude):
    """White noise in each lead, of up to `amplitude` mV root mean square."""
    return x + amplitude * torch.rand(*x.shape[:2], 1, device=x.device) * torch.randn_like(x)


AUGMENTATIONS = {"amplitude": _amplitude, "lead_dropout": _lead_dropout, "drift": _drift, "noise": _noise}


def augment(x, rate, amounts):
    """Change a batch of training signals at random.

    Parameters
    ----------
    x : tensor, shape (B, 12, n)
        In mV.
    rate : float
        In Hz.
    amounts : dict
        How much of each of `AUGMENTATIONS`, which act in the order given.

    Returns
    -------
    tensor, shape (B, 12, n)

    Raises
    ------
    ParameterError
        If there is no such augmentation.
    """
    for name, amount in amounts.items():
        if name not in AUGMENTATIONS:
            raise ParameterError(f"there is no augmentation {name!r}: take some of {', '.join(AUGMENTATIONS)}.")
        x = AUGMENTATIONS[name](x, rate, amount)
    return x
