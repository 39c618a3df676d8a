"""A trained network as an ONNX graph.

The graph is written node by node, because torch's exporters fix the length of the signal or fail on it. Two things make any
length right: a convolution of an even kernel pads k / 2 - 1 zeros to the left and k / 2 to the right, of which the last is not
reached by a stride of 2 over an even length; and so is the one zero that the shortcut's maximum always pads. Signals stay
(B, C, 1, n), for which onnxruntime's convolutions are twice as fast as for (B, C, n).
"""

import json

import numpy as np

from onnx import TensorProto, checker, helper, numpy_helper

from cardiov.errors import ParameterError
from cardiov.model import FLAT, CardioV
from cardiov.scoring.network import SOURCE

OPSET, IR_VERSION = 17, 8  # which onnxruntime has read since 1.12


class Graph:
    """The forward pass as ONNX nodes; weights keep their names, and every value's name is that of the node that makes it.

    Raises
    ------
    ParameterError
        If the network's kernel is odd, for which the padding depends on the signal's length.
    """

    def __init__(self, model):
        if model.config.kernel % 2:
            raise ParameterError(f"a kernel of {model.config.kernel} taps cannot be exported: give one with an even kernel.")
        self.model, self.state = model, model.state_dict()
        self.nodes, self.constants, self.inputs = [], {}, {"ecg": ["batch", model.config.leads, "samples"]}
        self.of = {}  # values by the name of the layer that makes them, of a block's input by the block's
        x = self.normalised("ecg") if model.config.normalise else "ecg"
        x = self.add("Unsqueeze", x, self.integers(2))  # (B, 12, 1, n)
        x = self.swish(self.norm(self.conv(x, "stem.conv"), "stem.norm"))
        for i, depth in enumerate(model.config.depths):
            for k in range(depth):
                x = self.block(x, f"s{i + 1}.{k}")
        self.features = x  # (B, width, 1, ceil(n / 2**8))
        self.logits = self.head(self.mean(x))

    # Nodes

    def add(self, kind, *inputs, **settings) -> str:
        """Add a node; the name of its output."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **settings))
        return name

    def weight(self, name):
        return self.constant(name, self.state[name].numpy())

    def integers(self, *values):
        return self.constant("_".join(map(str, ("integers", *values))), np.array(values, np.int64))

    def number(self, value):
        return self.constant(f"number_{value}", np.float32(value))

    def constant(self, name, array):
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(np.shape(array)), name)
        return name

    # Layers, by the names of `cardiov.model`

    def normalised(self, x):
        """Divided by the standard deviation over leads and samples, with n - 1 in the denominator as torch has it."""
        centred = self.add("Sub", x, self.add("ReduceMean", x, axes=[1, 2]))
        total = self.add("ReduceSumSquare", centred, axes=[1, 2])  # (B, 1, 1)
        count = self.add("Mul", self.add("Cast", self.length(x), to=TensorProto.FLOAT), self.number(self.model.config.leads))
        variance = self.add("Div", total, self.add("Sub", count, self.number(1)))
        return self.add("Div", x, self.add("Max", self.add("Sqrt", variance), self.number(FLAT)))

    def length(self, x):
        """Size of the last axis, (1,)."""
        return self.add("Gather", self.add("Shape", x), self.integers(-1))

    def conv(self, x, name):
        layer, weight = self.model.get_submodule(name), self.state[f"{name}.weight"].unsqueeze(2)  # (width, in, 1, kernel)
        weight, bias = self.constant(f"{name}.weight", weight.numpy()), self.weight(f"{name}.bias")
        settings = {"group": layer.groups, "strides": [1, layer.stride], "pads": padding(layer)}
        self.of[name] = self.add("Conv", x, weight, bias, **settings)
        return self.of[name]

    def norm(self, x, name):
        parts = [self.weight(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        self.of[name] = self.add("BatchNormalization", x, *parts, epsilon=self.model.get_submodule(name).eps)
        return self.of[name]

    def swish(self, x):
        return self.add("Mul", x, self.add("Sigmoid", x))

    def linear(self, x, name):
        self.of[name] = self.add("Gemm", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), transB=1)
        return self.of[name]

    def mean(self, x):
        return self.add("Flatten", self.add("GlobalAveragePool", x))  # (B, C, 1, n) -> (B, C)

    def block(self, x, name):
        block, self.of[name] = self.model.get_submodule(name), x
        out = x if block.norm1 is None else self.swish(self.norm(x, f"{name}.norm1"))
        out = self.conv(out, f"{name}.conv1")
        out = self.conv(self.swish(self.norm(out, f"{name}.norm2")), f"{name}.conv2")
        out = self.conv(self.swish(self.norm(out, f"{name}.norm3")), f"{name}.conv3")
        if block.gated:
            squeezed = self.swish(self.linear(self.mean(out), f"{name}.squeeze"))
            gate = self.add("Sigmoid", self.linear(squeezed, f"{name}.excite"))
            out = self.add("Mul", out, self.add("Unsqueeze", gate, self.integers(2, 3)))
        return self.add("Add", self.shortcut(x, block), out)

    def shortcut(self, x, block):
        if block.stride > 1:
            x = self.add("MaxPool", self.padded(x), kernel_shape=[1, 2], strides=[1, 2])
        front = block.grow // 2
        return self.add("Pad", x, self.integers(0, front, 0, 0, 0, block.grow - front, 0, 0)) if block.grow else x

    def padded(self, x):
        """One zero to the right."""
        return self.add("Pad", x, self.integers(0, 0, 0, 0, 0, 0, 0, 1))

    def head(self, x):
        if not self.model.config.shared_slope:
            return self.linear(x, "head")
        slope = self.add("MatMul", x, self.constant("head.weight", self.state["head.weight"].T.numpy()))
        return self.add("Add", slope, self.weight("head.bias"))

    # File

    def serialised(self, outputs) -> bytes:
        """The file's content, with outputs {name: (value, shape)}."""
        for name, (value, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [name], name))
        inputs, results = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
            for shapes in (self.inputs, {name: shape for name, (_, shape) in outputs.items()})
        )
        graph = helper.make_graph(self.nodes, "cardiov", inputs, results, [*self.constants.values()])
        opset = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="cardiov")
        described = {**self.model.metadata, SOURCE: self.model.sha256}
        helper.set_model_props(made, {key: json.dumps(described[key]) for key in sorted(described)})
        checker.check_model(made, full_check=True)
        return made.SerializeToString(deterministic=True)


def padding(layer):
    """Zeros [above, left, below, right] of a convolution, in ONNX's order."""
    kernel = layer.weight.shape[-1]
    left = max(0, kernel // 2 - 1)
    return [0, left, 0, kernel - 1 - left]
