"""The paper's network written a second time, plainly, with torch's own layers: an oracle and the speed baseline.

It shares no code with `cardiov.model`. Submodules are declared in the order in which they act, so that both
state dictionaries list the same tensors in the same order (`tests/test_model.py` relies on it).
"""

import torch
from torch import nn
from torch.nn import functional as F


def same_padding(x, kernel, stride, value=0.0):
    """Pad as TensorFlow's SAME does: the odd sample goes to the right."""
    length = x.shape[-1]
    total = max(0, (-(-length // stride) - 1) * stride + kernel - length)
    return F.pad(x, (total // 2, total - total // 2), value=value)


class SameConv(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1, groups=1):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, x):
        return self.conv(same_padding(x, self.kernel, self.stride))


class Block(nn.Module):
    def __init__(self, inputs, width, stride, first, dropout):
        super().__init__()
        self.stride, self.grow = stride, width - inputs
        self.before1 = nn.Identity() if first else self.activate(inputs, dropout)
        self.conv1 = SameConv(inputs, width, 1)
        self.before2 = self.activate(width, dropout)
        self.conv2 = SameConv(width, width, 16, stride, width // 16)
        self.before3 = self.activate(width, dropout)
        self.conv3 = SameConv(width, width, 1)
        self.squeeze = nn.Linear(width, width // 2)
        self.excite = nn.Linear(width // 2, width)

    @staticmethod
    def activate(width, dropout):
        return nn.Sequential(nn.BatchNorm1d(width), nn.SiLU(), nn.Dropout(dropout))

    def forward(self, x):
        out = self.conv1(self.before1(x))
        out = self.conv2(self.before2(out))
        out = self.conv3(self.before3(out))
        gate = torch.sigmoid(self.excite(F.silu(self.squeeze(out.mean(-1)))))
        out = out * gate.unsqueeze(-1)
        if self.stride == 2:
            x = F.max_pool1d(same_padding(x, 2, 2), 2)
        if self.grow:
            front = self.grow // 2
            x = F.pad(x, (0, 0, front, self.grow - front))
        return out + x


class Textbook(nn.Module):
    def __init__(self, outputs=3, dropout=0.5):
        super().__init__()
        self.stem = nn.Sequential(SameConv(12, 64, 16, 2), nn.BatchNorm1d(64), nn.SiLU())
        blocks, inputs = [], 64
        for width, depth in zip((64, 160, 160, 400, 400, 1024, 1024), (2, 2, 2, 3, 3, 4, 4)):
            for i in range(depth):
                blocks.append(Block(inputs, width, 2 if i == 0 else 1, not blocks, dropout))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.dense = nn.Linear(1024, outputs)

    def forward(self, x):
        return self.dense(self.blocks(self.stem(x)).mean(-1))
