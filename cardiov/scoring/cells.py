"""From a stage's map to heat: where in time its cells lie."""

from functools import lru_cache

import numpy as np


def heat_of(maps, n) -> np.ndarray:
    """Heat (B, stages, n) from 0 to 1 of the stages' maps, a list of (B, cells), each divided by its maximum over time."""
    heat = np.stack([over_time(map_, n, stage) for stage, map_ in enumerate(maps)], axis=1)
    return heat / np.maximum(heat.max(axis=-1, keepdims=True), np.finfo(np.float32).tiny)


def stride_of(stage):
    """Samples per cell of a stage's map; stem and stages each halve the length."""
    return 4 * 2**stage


@lru_cache(maxsize=8)
def cells_over_time(cells, n, stage):
    """Weights (cells, n) of each cell in each sample: 1 at its centre, linear to the next, constant at the ends."""
    stride = stride_of(stage)
    centres = stride * np.arange(cells) + (stride - 1) / 2  # SAME padding puts cell c between inputs 2 c and 2 c + 1
    return np.stack([np.interp(np.arange(n), centres, one) for one in np.eye(cells)]).astype(np.float32)


def over_time(maps, n, stage):
    return maps @ cells_over_time(maps.shape[-1], n, stage)  # (B, cells) -> (B, n)
