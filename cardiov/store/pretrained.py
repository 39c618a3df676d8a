"""Where the networks lie that come with the package, each as safetensors and as ONNX, with its model card."""

from pathlib import Path

PRETRAINED = Path(__file__).parents[1] / "pretrained"
NETWORKS = {"ptbxl-sample": "cardiov-1"}  # names, by the data set of their training
DEFAULT = NETWORKS["ptbxl-sample"]


def packaged_path(dataset: str) -> Path:
    """Where the package has, if it has, the weights that were trained on a data set, under their name."""
    return PRETRAINED / f"{NETWORKS.get(dataset, dataset)}.safetensors"
