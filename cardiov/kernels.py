"""Layers that compute what torch's do, several times as fast on a CPU.

Activations are (B, C, 1, L) in channels-last memory, in which batch norm and the grouped convolution's backward pass are
several times faster on a CPU.
"""

import torch
from torch import nn
from torch.nn import functional as F


def channels_last(x):
    """Signals (B, C, n) as the layers take them, (B, C, 1, n)."""
    return x.unsqueeze(2).contiguous(memory_format=torch.channels_last)


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
        apply = _GroupedConv.apply if own and kernel % self.stride == 0 else _convolve
        return apply(x, self.weight, self.bias, self.stride, padding)


class Dropout(nn.Dropout):
    """Dropout; on a CPU its probability is rounded to a multiple of 1/256 (0.5 is exact)."""

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        dense = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
        return x * _dropout_mask(x, self.p) if x.device.type == "cpu" and dense else F.dropout(x, self.p)


def _dropout_mask(x, p):
    """0 or 1 / (1 - p) for each element of a dense x, from one random byte each, in the memory layout of x."""
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    if p == 0.5:  # bit 1 of each byte, eight bytes at a time: 0 or 2, which is the scale already
        mask = words.bitwise_and_(0x0202020202020202).view(torch.uint8)[: x.numel()].to(x.dtype)
    else:
        drop = round(256 * p)
        mask = (words.view(torch.uint8)[: x.numel()] >= drop).to(x.dtype).mul_(256 / (256 - drop))
    return mask.as_strided(x.shape, x.stride())


def _convolve(x, weight, bias, stride, padding):
    taps, sides = _even(weight, padding)
    return F.conv2d(x, taps, bias, (1, stride), (0, sides), groups=x.shape[1] // weight.shape[1])


def _even(weight, padding):
    """Weights (out, in, 1, taps) and zeros per side: a zero tap in front makes an odd padding even without a copy of x."""
    taps = F.pad(weight, (padding % 2, 0)) if padding % 2 else weight
    return taps.unsqueeze(2).contiguous(memory_format=torch.channels_last), (padding + 1) // 2


class _GroupedConv(torch.autograd.Function):
    """Grouped convolution whose weight gradient is a few matrix products: on a CPU in half the time of torch's."""

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding):
        ctx.save_for_backward(x, weight)
        ctx.settings = stride, padding
        return _convolve(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx, slopes):
        x, weight = ctx.saved_tensors
        stride, padding = ctx.settings
        slopes = slopes.contiguous(memory_format=torch.channels_last)
        taps, sides = _even(weight, padding)
        groups = x.shape[1] // weight.shape[1]
        settings = ((1, stride), (0, sides), (1, 1), False, (0, 0), groups, (True, False, False))
        to_x = torch.ops.aten.convolution_backward(slopes, x, taps, None, *settings)[0]
        to_weight = _weight_gradient(x, slopes, weight.shape, stride, padding // 2)
        return to_x, to_weight, slopes.sum((0, 2, 3)), None, None


def _weight_gradient(x, slopes, shape, stride, before):
    """Sum over b and t of slopes[b, o, t] x[b, i, stride t + tap - before] for each group of channels.

    With time folded into rows of `kernel` samples, the windows that start at every kernel-th sample are one matrix,
    without a copy; kernel / stride such matrices hold all windows.
    """
    channels, width, kernel = shape
    batch, length, phases = len(x), slopes.shape[-1], kernel // stride
    rows = -(-max(x.shape[-1] + before, (length - 1) * stride + kernel) // kernel)  # of one record
    signal = _by_group(x, width, rows * kernel, before, spare=kernel)  # (groups, (batch rows + 1) kernel, width)
    slopes = _by_group(slopes, width, rows * phases)  # (groups, batch rows phases, width)
    slopes = slopes.view(-1, batch * rows, phases, width)
    total = x.new_zeros(channels // width, width, kernel * width)
    size, strides = (len(total), batch * rows, kernel * width), (signal.stride(0), kernel * width, 1)
    for phase in range(phases):
        windows = signal.as_strided(size, strides, stride * phase * width)
        total.baddbmm_(slopes[:, :, phase].transpose(1, 2), windows)
    return total.view(channels, kernel, width).transpose(1, 2)  # (channels, width, kernel)


def _by_group(x, width, length, before=0, spare=0):
    """(B, C, 1, n) -> (C / width, B length + spare, width), each record padded with zeros to `length` samples."""
    batch, channels, _, n = x.shape
    laid = x.new_zeros(channels // width, batch * length + spare, width)
    records = laid[:, : batch * length].view(-1, batch, length, width)
    records[:, :, before : before + n] = x[:, :, 0].unflatten(1, (-1, width)).permute(1, 0, 3, 2)
    return laid
