"""Grad-CAM of each stage: where in time the network finds its evidence for a critical value.

The maps are those of the grad-cam package (Selvaraju et al. 2017) for the last convolution of each stage, all seven
from one forward and one backward pass. Three things differ from the package's defaults, each because of a trap:

- its default target, the largest output, means nothing for threshold logits: here it is `OrdinalTarget`;
- it stretches a map over the signal, which puts the last of 20 cells of 0.512 s up to 0.24 s too early in a record of
  10 s: here each cell stays where its convolutions have their centre (`cells_over_time`);
- it subtracts a map's minimum, so that a nearly flat map looks peaked: here a map is only divided by its maximum; what
  the package's scaling would make of it is measured in `cardiov.experiments.heat`, as the map's contrast.
"""

import copy
from functools import lru_cache

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from torch import nn

from cardiov.errors import ParameterError
from cardiov.ordinal import THRESHOLDS, class_probabilities, decode, ordinal_targets


class OrdinalTarget:
    """What Grad-CAM explains: the evidence for one critical value, as a linear score of the three threshold logits.

    The score for critical value k is the sum of t_j z_j, where t_j is +1 for the thresholds below k, which Table 4
    answers by yes, and -1 for the others.

    Parameters
    ----------
    critical_value : int, optional
        0 to 3; by default the one that the outputs are decoded to.

    Examples
    --------
    >>> OrdinalTarget(2)(torch.tensor([1.0, 2.0, 4.0]))
    tensor(-1.)
    """

    def __init__(self, critical_value=None):
        self.critical_value = critical_value

    def __call__(self, logits):  # (3,) -> ()
        value = self.critical_value
        if value is None:
            value = decode(class_probabilities(logits.detach()[None]))[0]
        signs = 2 * ordinal_targets(torch.as_tensor(value).reshape(1))[0] - 1
        return logits @ signs.to(logits)


class _AsImage(nn.Module):
    """The network as the package wants it, on images of height 1: (B, 12, 1, n) -> (B, 3)."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.squeeze(2))


class StageCAM(GradCAM):
    """Grad-CAM of the last convolution of every stage, from one pass: a list of (B, cells), neither scaled nor resized.

    Works on a copy of the model in which nothing needs gradients below the first map.
    """

    def __init__(self, model):
        model = copy.deepcopy(model).requires_grad_(False)
        layers = [stage[-1].conv3 for stage in model.stages]
        layers[0].bias.requires_grad_(True)
        super().__init__(_AsImage(model), layers)

    def compute_cam_per_layer(self, input_tensor, targets, eigen_smooth):
        found = self.activations_and_grads
        maps = zip(self.target_layers, found.activations, found.gradients, strict=True)
        cams = [self.get_cam_image(input_tensor, layer, targets, a, g.numpy()) for layer, a, g in maps]
        return [np.maximum(cam[:, 0], 0) for cam in cams]

    def aggregate_multi_layers(self, cam_per_target_layer):
        return cam_per_target_layer


def heat_maps(model, signals, critical_value=None) -> np.ndarray:
    """Where each stage finds its evidence for a critical value (Grad-CAM).

    Parameters
    ----------
    model : CardioV
        With the ordinal head.
    signals : array, shape (12, n) or (B, 12, n)
        Prepared by `cardiov.ecg.filters.prepare_signal`, in mV.
    critical_value : int or sequence of B int, optional
        What to explain (see `OrdinalTarget`); by default what the model predicts.

    Returns
    -------
    ndarray of float32, shape (7, n) or (B, 7, n)
        One row a stage, from 0 (no evidence for it) to 1 (the record's and stage's strongest); all 0 where a stage has
        none. A record's stages can't be compared by height, only by shape.

    Raises
    ------
    ParameterError
        If the model has no ordinal head.
    """
    if model.config.outputs != THRESHOLDS:
        raise ParameterError(
            f"the network has {model.config.outputs} outputs where the ordinal head has {THRESHOLDS}: explain the "
            "weights of an ordinal run."
        )
    x = torch.as_tensor(np.array(signals, np.float32))
    batch = x if x.ndim == 3 else x[None]
    heat = stage_heat(StageCAM(model), batch, np.broadcast_to(critical_value, len(batch)))
    return heat if x.ndim == 3 else heat[0]


def stage_heat(cam, x, critical_values):
    """Heat (B, stages, n) of signals (B, 12, n); a critical value may be None."""
    with torch.enable_grad():
        maps = cam(x.unsqueeze(2), [OrdinalTarget(value) for value in critical_values])
    heat = np.stack([over_time(map_, x.shape[-1], stage) for stage, map_ in enumerate(maps)], axis=1)
    return heat / np.maximum(heat.max(axis=-1, keepdims=True), np.finfo(np.float32).tiny)


def stride_of(stage):
    """Samples a cell of a stage's map stands for; stem and stages each halve the length."""
    return 4 * 2**stage


@lru_cache(maxsize=8)
def cells_over_time(cells, n, stage):
    """What each cell gives to each sample, (cells, n): 1 at its centre, linear to the next, constant at the ends.

    SAME padding of an even kernel with stride 2 centres cell c between samples 2 c and 2 c + 1 of its input.
    """
    stride = stride_of(stage)
    centres = stride * np.arange(cells) + (stride - 1) / 2
    return np.stack([np.interp(np.arange(n), centres, one) for one in np.eye(cells)]).astype(np.float32)


def over_time(maps, n, stage):
    return maps @ cells_over_time(maps.shape[-1], n, stage)  # (B, cells) -> (B, n)
