"""Grad-CAM of each stage as an ONNX graph: the forward pass, and the gradients of `OrdinalTarget` written out."""

from onnx import TensorProto

from cardiov.scoring.onnx_graph import Graph, padding


class HeatGraph(Graph):
    """Inputs "ecg" and "signs" (B, 3), +1 where Table 4 has 1, else -1; outputs "s1" to "s7", maps (B, cells).

    Each map is that of the stage's last convolution, as `cardiov.scoring.gradcam.StageCAM` gives it. Gradients have the shape
    of the values that they belong to.
    """

    def __init__(self, model):
        super().__init__(model)
        self.inputs["signs"], self.maps = ["batch", model.config.outputs], {}
        blocks = [(i, k) for i, depth in enumerate(model.config.depths, 1) for k in range(depth)]
        slope = self.of_features()
        for i, k in reversed(blocks):
            name = f"s{i}.{k}"
            of_conv3 = self.of_conv3(slope, name)
            if k == model.config.depths[i - 1] - 1:
                self.maps[f"s{i}"] = self.map(of_conv3, name), ["batch", f"cells_{i}"]
            if (i, k) == (1, model.config.depths[0] - 1):
                break  # nothing below the first map is needed
            slope = self.add("Add", self.of_input(of_conv3, name), self.of_shortcut(slope, name))
        self.maps = dict(reversed(self.maps.items()))

    def of_features(self):
        """Gradient at the last stage's output, whose mean over time the head takes."""
        slopes = self.state["head.weight"].expand(self.model.config.outputs, -1)  # of a shared slope, the same for each output
        of_mean = self.add("MatMul", "signs", self.constant("head.slopes", slopes.numpy()))  # (B, C)
        each = self.over_channels(self.add("Div", of_mean, self.add("Cast", self.length(self.features), to=TensorProto.FLOAT)))
        return self.add("Expand", each, self.add("Shape", self.features))

    def map(self, slope, name):
        weights = self.add("ReduceMean", slope, axes=[3])  # (B, C, 1, 1)
        weighted = self.add("Mul", weights, self.of[f"{name}.conv3"])
        return self.add("Relu", self.add("ReduceSum", weighted, self.integers(1, 2), keepdims=0))  # (B, cells)

    def over_channels(self, x):
        return self.add("Unsqueeze", x, self.integers(2, 3))  # (B, C) -> (B, C, 1, 1)

    # A block, from its output to its input

    def of_conv3(self, slope, name):
        """Through the squeeze-excitation: the product with the gate, and the gate itself."""
        if not self.model.get_submodule(name).gated:
            return slope
        out, excite = self.of[f"{name}.conv3"], self.of[f"{name}.excite"]
        gate = self.add("Sigmoid", excite)  # (B, C)
        of_gate = self.add("ReduceSum", self.add("Mul", slope, out), self.integers(2, 3), keepdims=0)
        of_excite = self.add("Mul", of_gate, self.add("Mul", gate, self.add("Sub", self.number(1), gate)))
        of_squeeze = self.times_swish(self.add("MatMul", of_excite, self.weight(f"{name}.excite.weight")), f"{name}.squeeze")
        of_mean = self.add("MatMul", of_squeeze, self.weight(f"{name}.squeeze.weight"))
        each = self.add("Div", of_mean, self.add("Cast", self.length(out), to=TensorProto.FLOAT))
        return self.add("Add", self.add("Mul", slope, self.over_channels(gate)), self.over_channels(each))

    def of_input(self, slope, name):
        """Through the three convolutions, each after batch norm and Swish."""
        for k in (3, 2, 1):
            slope = self.of_conv(slope, f"{name}.conv{k}", f"{name}.norm{k}")
            slope = self.of_norm(self.times_swish(slope, f"{name}.norm{k}"), f"{name}.norm{k}")
        return slope

    def of_conv(self, slope, name, before):
        """The gradient is longer than the input, on the right, by what the convolution has padded there."""
        layer, weight = self.model.get_submodule(name), f"{name}.weight"
        long = self.add("ConvTranspose", slope, weight, group=layer.groups, strides=[1, layer.stride],
                        pads=[0, padding(layer)[1], 0, 0])  # fmt: skip
        return self.add("Slice", long, self.integers(0), self.length(self.of[before]), self.integers(3))

    def of_norm(self, slope, name):
        norm = self.model.get_submodule(name)
        scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
        return self.add("Mul", slope, self.constant(f"{name}.scale", scale.reshape(1, -1, 1, 1)))

    def times_swish(self, slope, name):
        """A gradient times the derivative of Swish at a layer's value h: s + h s (1 - s), with s = sigmoid(h)."""
        h = self.of[name]
        s = self.add("Sigmoid", h)
        rising = self.add("Mul", self.add("Mul", h, s), self.add("Sub", self.number(1), s))
        return self.add("Mul", slope, self.add("Add", s, rising))

    def of_shortcut(self, slope, name):
        """Through the channels added and the maximum of each two samples, of equal ones the first as in torch."""
        block, x = self.model.get_submodule(name), self.of[name]
        front = block.grow // 2
        if block.grow:
            width = len(self.state[f"{name}.conv1.bias"]) - block.grow
            slope = self.add("Slice", slope, self.integers(front), self.integers(front + width), self.integers(1))
        if block.stride == 1:
            return slope
        even = self.add("Mul", self.length(slope), self.integers(2))
        pairs = self.add("Slice", self.padded(x), self.integers(0), even, self.integers(3))
        pairs = self.add("Reshape", pairs, self.integers(0, 0, 0, -1, 2))  # (B, C, 1, n, 2)
        one, other = (self.add("Slice", pairs, self.integers(k), self.integers(k + 1), self.integers(4)) for k in (0, 1))
        first = self.add("Cast", self.add("GreaterOrEqual", one, other), to=TensorProto.FLOAT)
        both = self.add("Concat", first, self.add("Sub", self.number(1), first), axis=4)
        spread = self.add("Mul", self.add("Unsqueeze", slope, self.integers(4)), both)
        spread = self.add("Reshape", spread, self.integers(0, 0, 0, -1))
        return self.add("Slice", spread, self.integers(0), self.length(x), self.integers(3))
