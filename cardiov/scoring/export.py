"""Trained networks as ONNX files, for scoring without torch."""

from pathlib import Path

from cardiov.model import CardioV
from cardiov.ordinal import THRESHOLDS
from cardiov.scoring.network import heat_path
from cardiov.scoring.onnx_graph import Graph
from cardiov.scoring.onnx_heat import HeatGraph
from cardiov.store.files import replacing


def export(model: CardioV, path) -> list[Path]:
    """Write a network from `CardioV.from_pretrained` as ONNX, and its heat beside it if it has three thresholds; the paths.

    The input "ecg" is (B, 12, n) in mV, prepared as `cardiov.ecg.filters.prepare_signal` does, for any B and n; the output
    "logits" is (B, outputs). ``<name>-heat.onnx`` is `cardiov.scoring.onnx_heat.HeatGraph`. The metadata of both are those of the
    safetensors as JSON, and ``weights_sha256``, their digest.

    Raises
    ------
    ParameterError
        If the network's kernel is odd.
    """
    graph = Graph(model)
    files = {Path(path): graph.serialised({"logits": (graph.logits, ["batch", model.config.outputs])})}
    if model.config.outputs == THRESHOLDS:
        graph = HeatGraph(model)
        files[heat_path(path)] = graph.serialised(graph.maps)
    for target, content in files.items():
        with replacing(target) as temporary:
            temporary.write_bytes(content)
    return [*files]
