"""The network of the paper (Table 3), whole: config -> block -> stage -> network.

61 convolutions (1 stem + 20 blocks of 3) in seven stages s1..s7, pre-activation residual blocks with a grouped
convolution and squeeze-excitation in the manner of RegNet. It computes what the authors' network computes, and takes
their weights (tests/test_model.py). How it differs inside, for speed alone:

- activations are (B, C, 1, L) in channels-last memory, in which the grouped convolution's backward pass and batch
  normalisation are several times faster on a CPU, and convolutions of kernel 1 are plain matrix products;
- the grouped convolution's weight gradient is computed as matrix products on a CPU (`GroupedConv`);
- dropout draws eight bits an element instead of a double on a CPU (`dropout`);
- asymmetric SAME padding is a leading zero tap of the kernel instead of a padded copy of the signal.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from cardiov.errors import CheckpointError
from cardiov.kernels import GroupedConv, convolve, dropout
from cardiov.store.files import replacing

PRETRAINED = Path(__file__).with_name("pretrained")  # weights that come with the package, each with its model card
FLAT = 1e-3  # mV: what varies less is not made larger by normalisation


@dataclass(frozen=True)
class CardioVConfig:
    """What makes a network of this family; the defaults are the paper's network with its ordinal head."""

    outputs: int = 3  # logits: 3 thresholds (ordinal), 4 classes (classification) or 1 value (regression)
    leads: int = 12
    stem_width: int = 64
    widths: tuple = (64, 160, 160, 400, 400, 1024, 1024)  # channels of each stage, multiples of group_width
    depths: tuple = (2, 2, 2, 3, 3, 4, 4)  # blocks of each stage
    kernel: int = 16  # taps of the stem's and of each block's middle convolution
    group_width: int = 16  # channels a group of the middle convolution
    dropout: float = 0.5
    squeeze_excitation: bool = True  # without it a block's output is added to the shortcut as it is
    shared_slope: bool = False  # CORAL's head: one projection for all outputs, each with its own bias
    normalise: bool = False  # divide each record by its standard deviation over all leads

    def __post_init__(self):
        for name in ("widths", "depths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.widths) != len(self.depths) or any(w % self.group_width for w in self.widths):
            raise ValueError(
                f"widths {self.widths} must be as many as depths {self.depths} and multiples of {self.group_width}"
            )


class Conv(nn.Module):
    """Convolution over time with TensorFlow's SAME padding: out = ceil(n / stride), the odd sample to the right."""

    def __init__(self, inputs, width, kernel=1, stride=1, groups=1):
        super().__init__()
        plain = nn.Conv1d(inputs, width, kernel, groups=groups)  # for torch's initial weights
        self.weight, self.bias = plain.weight, plain.bias  # (width, inputs / groups, kernel), (width,)
        self.stride, self.groups = stride, groups

    def forward(self, x):  # (B, inputs, 1, n)
        n, kernel = x.shape[-1], self.weight.shape[-1]
        if kernel == 1:  # a matrix product over (B, 1, n, inputs), which is how x lies in memory
            return F.linear(x.permute(0, 2, 3, 1), self.weight[:, :, 0], self.bias).permute(0, 3, 1, 2)
        padding = max(0, (-(-n // self.stride) - 1) * self.stride + kernel - n)
        own = self.groups > 1 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        apply = GroupedConv.apply if own and kernel % self.stride == 0 else convolve
        return apply(x, self.weight, self.bias, self.stride, padding)

    def multiply_adds(self, n):
        """Multiply-adds for an input of n samples."""
        return -(-n // self.stride) * self.weight.numel()


class Block(nn.Module):
    """[BN, Swish, dropout, conv] x 3 with kernels 1, k and 1, squeeze-excitation, and the shortcut added.

    The very first block of the network has no [BN, Swish, dropout] in front.
    """

    def __init__(self, config, inputs, width, stride, first):
        super().__init__()
        self.stride, self.grow, self.dropout = stride, width - inputs, config.dropout
        self.norm1 = None if first else nn.BatchNorm2d(inputs)
        self.conv1 = Conv(inputs, width)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = Conv(width, width, config.kernel, stride, width // config.group_width)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = Conv(width, width)
        self.gated = config.squeeze_excitation
        if self.gated:
            self.squeeze = nn.Linear(width, width // 2)
            self.excite = nn.Linear(width // 2, width)

    def activate(self, norm, x):
        return dropout(F.silu(norm(x)), self.dropout, self.training)

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

    With biases that fall from one output to the next, so do the outputs of every record; the best biases for CORAL's
    loss do (Cao, Mirjalili, Raschka 2020, arXiv:1901.07884, Theorem 1). They start equal, at 0.
    """

    def __init__(self, inputs, outputs):
        super().__init__(inputs, 1, bias=False)  # weight (1, inputs)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.out_features = outputs

    def forward(self, x):
        return F.linear(x, self.weight) + self.bias  # (B, 1) + (outputs,)


def _stage(config, inputs, i):
    width = config.widths[i]
    blocks = [Block(config, inputs, width, 2, first=i == 0)]
    blocks += [Block(config, width, width, 1, first=False) for _ in range(config.depths[i] - 1)]
    return nn.Sequential(*blocks)


class CardioV(nn.Module):
    """The network of Table 3: ECGs in mV, shape (B, 12, n), to logits, shape (B, outputs), for any n.

    Parameters
    ----------
    config : CardioVConfig, optional
        The paper's network by default: 30,668,211 parameters.

    Attributes
    ----------
    stem, s1, ..., s7, head : nn.Module
        The named stages; `stages` lists s1 to s7.
    """

    def __init__(self, config=CardioVConfig()):
        super().__init__()
        self.config = config
        self.stem = Stem(config)
        inputs = config.stem_width
        for i, width in enumerate(config.widths):
            self.add_module(f"s{i + 1}", _stage(config, inputs, i))
            inputs = width
        self.head = (SharedSlope if config.shared_slope else nn.Linear)(inputs, config.outputs)

    @property
    def stages(self):
        return [self.get_submodule(f"s{i + 1}") for i in range(len(self.config.widths))]

    def features(self, x):
        """Activations of the last stage: (B, 12, n) -> (B, 1024, 1, ceil(n / 2**8))."""
        if self.config.normalise:
            x = x / x.std((1, 2), keepdim=True).clamp(min=FLAT)
        x = self.stem(x.unsqueeze(2).contiguous(memory_format=torch.channels_last))
        for stage in self.stages:
            x = stage(x)
        return x

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))  # (B, outputs)

    def stage_table(self, n=5000):
        """Describe each stage for an input of n samples (Table 3), read off the modules.

        Parameters
        ----------
        n : int
            Length of the input in samples.

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

    def save_pretrained(self, path, **metadata):
        """Write weights as safetensors, with the configuration (and more) as JSON in its metadata, atomically."""
        described = {"config": asdict(self.config), **metadata}
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary, {key: json.dumps(value) for key, value in described.items()})

    @classmethod
    def from_pretrained(cls, name_or_path="ptbxl-sample"):
        """Build the network that a weights file describes, with its weights, ready for inference.

        Parameters
        ----------
        name_or_path : str or Path
            The name of weights that come with the package, by default those trained on the real sample of PTB-XL, or
            a safetensors file written by `save_pretrained`.

        Returns
        -------
        CardioV
            In evaluation mode; what else the file says is in `.metadata`.

        Raises
        ------
        CheckpointError
            If the file is missing, is not safetensors, or holds weights of another configuration.
        """
        shipped = PRETRAINED / f"{name_or_path}.safetensors"
        state, metadata = _read_weights(shipped if shipped.exists() else Path(name_or_path))
        try:
            model = cls(CardioVConfig(**metadata.get("config", {})))
            model.load_state_dict(state)
        except (RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{name_or_path}: the weights do not fit the configuration beside them "
                f"({str(error).splitlines()[-1].strip()}); train again or take a file made by save_pretrained."
            ) from error
        model.metadata = metadata
        return model.eval()


def _describe(module, n):
    """One row of the stage table and the length that the module puts out."""
    convs, multiply_adds, channels = 0, 0, 0
    for part in module.modules():
        if isinstance(part, Conv):
            convs, channels = convs + 1, len(part.weight)
            multiply_adds += part.multiply_adds(n)
            n = -(-n // part.stride)
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
            f"the names {', '.join(sorted(path.stem for path in PRETRAINED.glob('*.safetensors'))) or '(none here)'}."
        ) from error
