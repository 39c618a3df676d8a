"""Networks of other families beside the paper's, with its head: an xresnet1d, Ribeiro's ResNet, and state spaces (S4D).

Where a recipe's ``model`` names a ``backbone``, its other fields are those of that backbone's configuration.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from cardiov.errors import ParameterError
from cardiov.kernels import Conv, Dropout, channels_last
from cardiov.model import CardioV, CardioVConfig, Network, head_of


@dataclass(frozen=True)
class XResNet1dConfig:
    """The defaults are xresnet1d50 of Strodthoff et al. 2021."""

    outputs: int = 3
    leads: int = 12
    stem_width: int = 32  # channels of the first convolutions; the last of the stem has twice as many
    width: int = 64  # channels within a block; it passes on four times as many
    depths: tuple = (3, 4, 6, 3)  # blocks of each stage
    kernel: int = 5
    shared_slope: bool = False


@dataclass(frozen=True)
class RibeiroConfig:
    """The defaults are the network of Ribeiro et al. 2020, but for its head."""

    outputs: int = 3
    leads: int = 12
    stem_width: int = 64
    widths: tuple = (128, 196, 256, 320)  # channels of each block
    kernel: int = 16
    stride: int = 4  # of each block
    dropout: float = 0.2
    shared_slope: bool = False


@dataclass(frozen=True)
class S4DConfig:
    """The defaults are small: Mehari and Strodthoff 2023 took a width of 512 and no patches."""

    outputs: int = 3
    leads: int = 12
    width: int = 64  # channels, each with a state space for each direction of time
    depth: int = 4  # layers
    states: int = 8  # complex numbers in the state of a channel
    patch: int = 2  # samples that enter together
    dropout: float = 0.2
    shared_slope: bool = False


def _normed(inputs, width, kernel=1, stride=1):
    return nn.Sequential(Conv(inputs, width, kernel, stride), nn.BatchNorm2d(width))


class Bottleneck(nn.Module):
    """Convolutions with kernels 1, k and 1, and the shortcut added: (B, inputs, 1, n) -> (B, 4 width, 1, ceil(n / stride))."""

    def __init__(self, inputs, width, kernel, stride):
        super().__init__()
        self.stride = stride
        self.conv1, self.conv2 = _normed(inputs, width), _normed(width, width, kernel, stride)
        self.conv3 = _normed(width, 4 * width)
        nn.init.zeros_(self.conv3[1].weight)  # so that a block changes nothing at first
        self.shortcut = _normed(inputs, 4 * width) if inputs != 4 * width else nn.Identity()

    def forward(self, x):
        out = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        x = F.avg_pool2d(x, (1, self.stride), ceil_mode=True) if self.stride > 1 else x
        return F.relu(out + self.shortcut(x))


class XResNet1d(Network):
    """A residual network as in He et al. 2019 (arXiv:1812.01187), over time.

    Strodthoff et al. 2021 (doi:10.1109/JBHI.2020.3022989) compare it with others on PTB-XL. Theirs ends in two poolings and
    two linear layers; this one ends in the mean and one linear layer, as the paper's network does.
    """

    def __init__(self, config=XResNet1dConfig()):
        super().__init__()
        self.config = config
        widths = [config.leads, config.stem_width, config.stem_width, 2 * config.stem_width]
        steps = [(_normed(a, b, config.kernel, 1 + (i == 0)), nn.ReLU()) for i, (a, b) in enumerate(zip(widths, widths[1:]))]
        self.stem, inputs, blocks = nn.Sequential(*(part for step in steps for part in step)), widths[-1], []
        for stage, depth in enumerate(config.depths):
            for i in range(depth):
                blocks.append(Bottleneck(inputs, config.width, config.kernel, 2 if stage and i == 0 else 1))
                inputs = 4 * config.width
        self.blocks, self.head = nn.Sequential(*blocks), head_of(config, inputs)

    def features(self, x):
        x = self.stem(channels_last(x))  # (B, 2 stem_width, 1, ceil(n / 2))
        return self.blocks(F.max_pool2d(x, (1, 3), (1, 2), (0, 1)))  # (B, 4 width, 1, ceil(n / 32))


class TwoPathBlock(nn.Module):
    """Two convolutions, the second with a stride, and a shortcut that no activation has touched.

    Both paths, (B, inputs, 1, n), go in and, (B, width, 1, ceil(n / stride)), come out: what is activated, and the shortcut.
    """

    def __init__(self, inputs, width, config):
        super().__init__()
        self.stride, self.dropout = config.stride, Dropout(config.dropout)
        self.conv1 = _normed(inputs, width, config.kernel)
        self.conv2, self.norm2 = Conv(width, width, config.kernel, config.stride), nn.BatchNorm2d(width)
        self.project = Conv(inputs, width)

    def forward(self, paths):
        x, shortcut = paths
        out = self.conv2(self.dropout(F.relu(self.conv1(x))))
        shortcut = out + self.project(F.max_pool2d(shortcut, (1, self.stride), ceil_mode=True))
        return self.dropout(F.relu(self.norm2(shortcut))), shortcut


class Ribeiro(Network):
    """The residual network of Ribeiro et al. 2020 (doi:10.1038/s41467-020-15432-4), which learned from two million ECGs.

    Theirs ends in one linear layer over all times, for records of one length; this one ends in the mean, as the paper's does.
    """

    def __init__(self, config=RibeiroConfig()):
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(_normed(config.leads, config.stem_width, config.kernel), nn.ReLU())
        widths = [config.stem_width, *config.widths]
        self.blocks = nn.Sequential(*(TwoPathBlock(a, b, config) for a, b in zip(widths, widths[1:])))
        self.head = head_of(config, widths[-1])

    def features(self, x):
        x = self.stem(channels_last(x))  # (B, stem_width, 1, n)
        return self.blocks((x, x))[0]  # (B, width, 1, ceil(n / 256))


class StateSpaces(nn.Module):
    """Diagonal state spaces, one for each channel and direction of time, in the form of a convolution: (B, width, n) -> same.

    S4D-Lin of Gu, Gupta, Goel, Ré 2022 (arXiv:2206.11893): x' = A x + u, y = Re(C x) + D u, held constant over each step.
    """

    def __init__(self, width, states):
        super().__init__()
        low, high = math.log(0.001), math.log(0.1)
        self.log_step = nn.Parameter(low + (high - low) * torch.rand(2, width, 1))
        self.log_decay = nn.Parameter(torch.full((2, width, states), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(states).float().repeat(2, width, 1))
        self.c = nn.Parameter(torch.randn(2, width, states, 2) / math.sqrt(2))
        self.d = nn.Parameter(torch.randn(width, 1))

    def kernel(self, n):
        """Responses to an impulse, (2, width, n)."""
        a, step = torch.complex(-self.log_decay.exp(), self.frequency), self.log_step.exp()  # (2, width, states), (2, width, 1)
        c = torch.view_as_complex(self.c) * ((a * step).exp() - 1) / a
        time = step[..., None] * torch.arange(n, device=a.device)  # (2, width, 1, n)
        powers = torch.polar((a.real[..., None] * time).exp(), a.imag[..., None] * time)  # (2, width, states, n), faster than exp
        return 2 * torch.einsum("dhs,dhsn->dhn", c, powers).real

    def forward(self, u):
        n = u.shape[-1]
        ahead, back = self.kernel(n)
        taps = F.pad(ahead, (0, n)) + F.pad(back.flip(-1), (n, 0))  # of 2n times; the last n are -n to -1
        response = torch.fft.irfft(torch.fft.rfft(u, 2 * n) * torch.fft.rfft(taps), 2 * n)[..., :n]
        return response + self.d * u


class S4DLayer(nn.Module):
    """State spaces, GELU, a gated linear unit, the shortcut added, and layer norm: (B, width, n) -> same."""

    def __init__(self, config):
        super().__init__()
        self.spaces = StateSpaces(config.width, config.states)
        self.mix = nn.Linear(config.width, 2 * config.width)
        self.norm, self.dropout = nn.LayerNorm(config.width), Dropout(config.dropout)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):  # there is no transform of bfloat16
            out = self.spaces(x.float())
        out = self.dropout(F.gelu(out)).transpose(1, 2)  # (B, n, width)
        out = self.dropout(F.glu(self.mix(out)))
        return self.norm(x.transpose(1, 2) + out).transpose(1, 2)


class S4D(Network):
    """Layers of state spaces, in both directions of time.

    Mehari and Strodthoff 2023 (arXiv:2211.07579) have such layers (S4) estimate PTB-XL's statements.
    """

    def __init__(self, config=S4DConfig()):
        super().__init__()
        self.config = config
        self.stem = Conv(config.leads, config.width, config.patch, config.patch)
        self.layers = nn.Sequential(*(S4DLayer(config) for _ in range(config.depth)))
        self.head = head_of(config, config.width)

    def features(self, x):
        x = self.stem(channels_last(x)).squeeze(2)  # (B, width, ceil(n / patch))
        return self.layers(x).unsqueeze(2)


BACKBONES = {"cardiov": (CardioV, CardioVConfig), "xresnet1d": (XResNet1d, XResNet1dConfig),
             "ribeiro": (Ribeiro, RibeiroConfig), "s4d": (S4D, S4DConfig)}  # fmt: skip


def build_network(model: dict, **head) -> Network:
    """A network from a recipe's ``model``: the paper's family, or its ``backbone`` of `BACKBONES`; ``head`` has the outputs."""
    name = model.get("backbone", "cardiov")
    if name not in BACKBONES:
        raise ParameterError(f"there is no backbone {name!r}: choose among {', '.join(BACKBONES)}.")
    network, config = BACKBONES[name]
    return network(config(**{field: value for field, value in model.items() if field != "backbone"}, **head))


def multiply_adds(network: Network, samples: int, batch: int = 32) -> int:
    """Those of convolutions and matrix products for one record of so many samples in a batch; Fourier transforms are left out."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(batch, network.config.leads, samples))
    return counter.get_total_flops() // (2 * batch)
