"""Grad-CAM of each stage: where in time the network finds its evidence for a critical value.

The maps are those of the grad-cam package (Selvaraju et al. 2017) for the last convolution of each stage, from one pass.
Three things differ from the package's defaults:

- The target is `OrdinalTarget`, since the largest threshold logit means nothing.
- A cell stays at the centre of its convolutions (`cardiov.scoring.cells`). The package stretches a map over the signal, which
  puts the last of 20 cells up to 0.24 s too early in a record of 10 s.
- A map is only divided by its maximum. The package also subtracts the minimum, so that a nearly flat map looks peaked;
  `cardiov.experiments.heat` measures that as the map's contrast.
"""

import copy

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from torch import nn

from cardiov.errors import ParameterError
from cardiov.ordinal import THRESHOLDS, class_probabilities, decode, ordinal_targets
from cardiov.scoring.cells import heat_of


class OrdinalTarget:
    """Evidence for critical value k, by default the predicted one: the sum of t_j z_j, t_j = +1 where Table 4 has 1, else -1.

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
    """The network on images of height 1, which the package needs: (B, 12, 1, n) -> (B, 3)."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.squeeze(2))


class StageCAM(GradCAM):
    """Grad-CAM of the last convolution of every stage: a list of (B, cells), neither scaled nor resized."""

    def __init__(self, model):
        model = copy.deepcopy(model).requires_grad_(False)
        layers = [stage[-1].conv3 for stage in model.stages]
        layers[0].bias.requires_grad_(True)  # no gradients are needed below the first map
        super().__init__(_AsImage(model), layers)

    def compute_cam_per_layer(self, input_tensor, targets, eigen_smooth):
        layers = self.activations_and_grads
        maps = zip(self.target_layers, layers.activations, layers.gradients, strict=True)
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
        By default the predicted one.

    Returns
    -------
    ndarray of float32, shape (7, n) or (B, 7, n)
        One row per stage, from 0 (no evidence) to 1 (the stage's strongest in this record).

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
    """Heat (B, stages, n) of signals (B, 12, n); a critical value may be None, for the predicted one."""
    with torch.enable_grad():
        maps = cam(x.unsqueeze(2), [OrdinalTarget(value) for value in critical_values])
    return heat_of(maps, x.shape[-1])
