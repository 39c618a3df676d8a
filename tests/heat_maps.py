"""A small network and signals for the tests of heat maps."""

import numpy as np
import torch

from cardiov.experiments.heat import randomised
from cardiov.model import CardioV, CardioVConfig

SMALL = CardioVConfig(stem_width=16, widths=(16, 16, 16, 16, 16, 32, 32), depths=(1,) * 7)


def small_network():
    """A small network whose batch norms know the signals, as a trained one's do."""
    torch.manual_seed(1)
    return randomised(CardioV(SMALL).eval(), signals(4), modules=["stem"])


def signals(count, n=1024):
    return np.random.default_rng(count).normal(0, 0.3, (count, 12, n)).astype(np.float32)
