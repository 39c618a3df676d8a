"""The paper's network (Table 3): configuration, block, stage, network.

61 convolutions (1 in the stem, 3 in each of 20 blocks) in seven stages s1 to s7: pre-activation residual blocks with a
grouped convolution and squeeze-excitation, as in RegNet. A convolution pads with zeros to ceil(n / stride) samples, the
odd one to the right. The network computes what the authors' computes, and takes their weights (tests/test_model.py).
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from cardiov.errors import CheckpointError
from cardiov.kernels import Conv, Dropout, channels_last
from cardiov.store import pretrained
from cardiov.store.files import replacing

FLAT = 1e-3  # mV: normalisation does not enlarge what varies less


@dataclass(frozen=True)
class CardioVConfig:
    """A network of this family; the defaults are the paper's network with its ordinal head."""

    outputs: int = 3  # logits: 3 thresholds (ordinal), 4 classes (classification) or 1 value (regression)
    leads: int = 12
    stem_width: int = 64
    widths: tuple = (64, 160, 160, 400, 400, 1024, 1024)  # channels of each stage, multiples of group_width
    depths: tuple = (2, 2, 2, 3, 3, 4, 4)  # blocks of each stage
    kernel: int = 16  # taps of the stem's and of each block's middle convolution
    group_width: int = 16  # channels per group of the middle convolution
    dropout: float = 0.5
    squeeze_excitation: bool = True
    shared_slope: bool = False  # CORAL's head: one projection for all outputs, each with its own bias
    normalise: bool = False  # divide each record by its standard deviation over all leads

    def __post_init__(self):
        for name in ("widths", "depths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.widths) != len(self.depths) or any(w % self.group_width for w in self.widths):
            raise ValueError(f"widths {self.widths} must be as many as depths {self.depths} and multiples of {self.group_width}")


class Block(nn.Module):
    """[BN, Swish, dropout, conv] x 3 with kernels 1, k and 1, squeeze-excitation, and the shortcut added.

    The network's first block has no [BN, Swish, dropout] in front.
    """

    def __init__(self, config, inputs, width, stride, first):
        super().__init__()
        self.stride, self.grow, self.gated = stride, width - inputs, config.squeeze_excitation
        self.norm1 = None if first else nn.BatchNorm2d(inputs)
        self.conv1 = Conv(inputs, width)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = Conv(width, width, config.kernel, stride, width // config.group_width)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = Conv(width, width)
        self.dropout = Dropout(config.dropout)
        if self.gated:
            self.squeeze = nn.Linear(width, width // 2)
            self.excite = nn.Linear(width // 2, width)

    def activate(self, norm, x):
        return self.dropout(F.silu(norm(x)))

    def forward(self, x):  # (B, inputs, 1, n)
        out = x if self.norm1 is None else self.activate(self.norm1, x)
        out = self.conv1(out)  # (B, width, 1, n)
        out = self.conv2(self.activate(self.norm2, out))  # (B, width, 1, ceil(n / stride))
        out = self.conv3(self.activate(self.norm3, out))
        if not self.gated:
            return self.shortcut(x) + out
        gate = torch.sigmoid(self.excite(F.silu(self.squeeze(out.mean((2, 3))))))  # (B, width)
        return torch.addcmul(self.shortcut(x), out, gate[:, :, None, None])

    def shortcut(self, x):
        if self.stride > 1:  # the zero goes to the right, and takes part in the maximum
            x = F.max_pool2d(F.pad(x, (0, x.shape[-1] % 2)), (1, 2))
        front = self.grow // 2
        return F.pad(x, (0, 0, 0, 0, front, self.grow - front)) if self.grow else x


class Stem(nn.Module):
    """The first convolution, batch norm and Swish: (B, leads, 1, n) -> (B, stem_width, 1, ceil(n / 2))."""

    def __init__(self, config):
        super().__init__()
        self.conv = Conv(config.leads, config.stem_width, config.kernel, stride=2)
        self.norm = nn.BatchNorm2d(config.stem_width)

    def forward(self, x):
        return F.silu(self.norm(self.conv(x)))


class SharedSlope(nn.Linear):
    """CORAL's head: (B, inputs) -> (B, outputs), one projection for all outputs, each with its own bias.

    Cao, Mirjalili, Raschka 2020, arXiv:1901.07884: the biases that are best for CORAL's loss fall from one output to the
    next (Theorem 1), and so do then the outputs of every record.
    """

    def __init__(self, inputs, outputs):
        super().__init__(inputs, 1, bias=False)  # weight (1, inputs)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.out_features = outputs

    def forward(self, x):
        return F.linear(x, self.weight) + self.bias  # (B, 1) + (outputs,)


def head_of(config, inputs):
    """The last layer: (B, inputs) -> (B, outputs)."""
    return (SharedSlope if config.shared_slope else nn.Linear)(inputs, config.outputs)


def _stage(config, inputs, i):
    width = config.widths[i]
    blocks = [Block(config, inputs, width, 2, first=i == 0)]
    blocks += [Block(config, width, width, 1, first=False) for _ in range(config.depths[i] - 1)]
    return nn.Sequential(*blocks)


class Network(nn.Module):
    """What networks share: `features`, (B, 12, n) -> (B, width, 1, m), whose mean over time goes to `head`."""

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))  # (B, outputs)

    def save_pretrained(self, path, **metadata):
        """Write the weights as safetensors, whose metadata hold the configuration, and what else is given, as JSON."""
        described = {"config": asdict(self.config), **metadata}
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary, {key: json.dumps(value) for key, value in described.items()})


class CardioV(Network):
    """The network of Table 3: ECGs in mV, (B, 12, n) for any n, to logits, (B, outputs).

    Parameters
    ----------
    config : CardioVConfig, optional
        By default the paper's network: 30,668,211 parameters.

    Attributes
    ----------
    stem, s1, ..., s7, head : nn.Module
        `stages` lists s1 to s7.
    """

    def __init__(self, config=CardioVConfig()):
        super().__init__()
        self.config = config
        self.stem = Stem(config)
        inputs = config.stem_width
        for i, width in enumerate(config.widths):
            self.add_module(f"s{i + 1}", _stage(config, inputs, i))
            inputs = width
        self.head = head_of(config, inputs)

    @property
    def stages(self):
        return [self.get_submodule(f"s{i + 1}") for i in range(len(self.config.widths))]

    def features(self, x):
        """Activations of the last stage: (B, 12, n) -> (B, 1024, 1, ceil(n / 2**8))."""
        if self.config.normalise:
            x = x / x.std((1, 2), keepdim=True).clamp(min=FLAT)
        x = self.stem(channels_last(x))  # (B, stem_width, 1, ceil(n / 2))
        for stage in self.stages:
            x = stage(x)  # (B, width, 1, ceil(n / 4)), then half as long after each stage
        return x

    def stage_table(self, n=5000):
        """Describe each stage for an input of n samples (Table 3).

        Returns
        -------
        list of dict
            Keys stage, blocks, convolutions, length (samples), channels, parameters, multiply_adds.
        """
        rows = []
        for name, module in self.named_children():
            row, n = _describe(module, n)
            rows.append({"stage": name, **row})
        return rows

    @classmethod
    def from_pretrained(cls, name_or_path=pretrained.DEFAULT):
        """Build a network from its weights, in evaluation mode; `.metadata` has what else the file says, `.sha256` its digest.

        Parameters
        ----------
        name_or_path : str or Path
            Name of weights that come with the package, or a file of `save_pretrained`. The default's were trained on the
            real sample of PTB-XL.

        Raises
        ------
        CheckpointError
            If the file is missing, is not safetensors, or holds weights that are no numbers or of another configuration.
        """
        shipped = pretrained.PRETRAINED / f"{name_or_path}.safetensors"
        path = shipped if shipped.exists() else Path(name_or_path)
        state, metadata = _read_weights(path)
        try:
            model = cls(CardioVConfig(**metadata.get("config", {})))
            model.load_state_dict(state)
        except (RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{name_or_path}: the weights do not fit the configuration beside them "
                f"({str(error).splitlines()[-1].strip()}); train again or take a file made by save_pretrained."
            ) from error
        if bad := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
            raise CheckpointError(
                f"{name_or_path}: the weights {bad[0]} are no finite numbers, as after a training that diverged: train again or "
                "take other weights."
            )
        model.metadata, model.sha256 = metadata, hashlib.sha256(path.read_bytes()).hexdigest()
        return model.eval()


def _describe(module, n):
    """One row of the stage table and the length that the module puts out."""
    convs, multiply_adds, channels = 0, 0, 0
    for part in module.modules():
        if isinstance(part, Conv):
            convs, channels, n = convs + 1, len(part.weight), -(-n // part.stride)
            multiply_adds += n * part.weight.numel()
        elif isinstance(part, nn.Linear):
            multiply_adds += part.weight.numel()
    linear = isinstance(module, nn.Linear)
    row = {
        "blocks": sum(isinstance(part, Block) for part in module.modules()),
        "convolutions": convs,
        "length": 1 if linear else n,
        "channels": module.out_features if linear else channels,
        "parameters": sum(p.numel() for p in module.parameters()),
        "multiply_adds": multiply_adds,
    }
    return row, n


def _read_weights(path):
    try:
        with safe_open(path, framework="pt") as file:
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            return {name: file.get_tensor(name) for name in file.keys()}, metadata
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path}: no readable safetensors weights there ({error}); give the path of a file made by save_pretrained, or one of "
            f"the names {', '.join(sorted(path.stem for path in pretrained.PRETRAINED.glob('*.safetensors'))) or '(none here)'}."
        ) from error
