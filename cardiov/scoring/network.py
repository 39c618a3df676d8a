"""A trained network as scoring asks it: an ONNX file by onnxruntime, other weights by torch, which only they need."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cardiov.errors import CheckpointError, ParameterError, requiring
from cardiov.scoring.cells import heat_of
from cardiov.scoring.decoding import THRESHOLDS
from cardiov.store import pretrained

BATCH = 16  # windows; more do not fit into a core's cache
BATCH_GPU = 256
SOURCE = "weights_sha256"  # key in an ONNX file of the digest of its safetensors


@dataclass(frozen=True)
class Network:
    """A network that answers in NumPy arrays."""

    outputs: Callable  # windows (B, 12, n) in mV, float32 -> logits (B, m), float32
    heat: Callable  # a window (12, n), critical value -> heat (7, n), from 0 to 1
    metadata: dict  # what the file says beside the weights
    sha256: str  # of the safetensors file, also if the network was exported from it
    batch: int = BATCH


def load_model(name_or_path=None) -> Network:
    """The network of a file, by default the one that comes with the package; an unchanged file is read once.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or is an ONNX file that `cardiov export` has not written.
    ParameterError
        If the file is not ONNX, and torch is not installed.
    """
    path = Path(name_or_path or pretrained.DEFAULT)
    if (packaged := pretrained.PRETRAINED / f"{path}.onnx").exists():
        path = packaged
    return _load(path, path.stat().st_mtime_ns if path.is_file() else None)


@lru_cache(maxsize=2)
def _load(path, _changed):
    return _by_onnxruntime(path) if path.suffix == ".onnx" else load_by_torch(path)


def as_network(model) -> Network:
    """A `Network`, a `CardioV`, or the name or file of either as a `Network`."""
    if isinstance(model, Network):
        return model
    return _by_torch(model) if callable(model) else load_model(model)


def load_by_torch(name_or_path=None, device="cpu") -> Network:
    """The network of safetensors on a device; errors as in `load_model`."""
    with requiring("heat", "a network in safetensors"):
        from cardiov.model import CardioV
    return _by_torch(CardioV.from_pretrained(name_or_path or pretrained.DEFAULT).to(device))


def load_on_gpu(name_or_path=None) -> Network:
    """The network by torch on this process's GPU, in single precision as on a CPU; without either, as `load_model` gives it."""
    if Path(name_or_path or "").suffix != ".onnx" and find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            torch.backends.cudnn.allow_tf32 = False
            return load_by_torch(name_or_path, "cuda")
    return load_model(name_or_path)


def one_thread() -> None:
    """Let torch compute on one core in this process, as onnxruntime does: archives are scored by a process per core."""
    os.environ["OMP_NUM_THREADS"] = "1"  # for a torch that is not loaded yet
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _by_torch(model):
    import torch

    device = model.head.weight.device

    def outputs(windows):
        with torch.inference_mode():
            return model(torch.from_numpy(windows).to(device)).float().cpu().numpy()

    def heat(window, critical_value):
        with requiring("heat", "heat of a network in safetensors"):
            from cardiov.scoring.gradcam import heat_maps  # takes a second to import
        return heat_maps(model, window, critical_value)

    return Network(outputs, heat, model.metadata, model.sha256, BATCH if device.type == "cpu" else BATCH_GPU)


def _by_onnxruntime(path):
    session = _session(path)
    metadata = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    if SOURCE not in metadata or session.get_outputs()[0].name != "logits":
        raise CheckpointError(f"{path} is no network that `cardiov export` has written: give one.")

    def outputs(windows):
        return session.run(["logits"], {"ecg": np.ascontiguousarray(windows, np.float32)})[0]

    @cache
    def heat_session():
        if not heat_path(path).exists():
            raise ParameterError(
                f"{heat_path(path)} is missing, which only networks with the ordinal head have: export such a network again."
            )
        return _session(heat_path(path))

    def heat(window, critical_value):
        signs = np.where(critical_value > np.arange(THRESHOLDS), 1, -1).astype(np.float32)
        maps = heat_session().run(None, {"ecg": window[None], "signs": signs[None]})
        return heat_of(maps, window.shape[-1])[0]

    return Network(outputs, heat, metadata, metadata.pop(SOURCE))


def heat_path(path) -> Path:
    """Where `cardiov export` writes the heat of a network at a path."""
    path = Path(path)
    return path.with_name(f"{path.stem}-heat.onnx")


def _session(path):
    """A session on one thread, as an archive has a process per core."""
    import onnxruntime  # only here, as it takes 0.1 s to import

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors have no common base
        raise CheckpointError(
            f"{path}: no readable ONNX network there ({str(error).splitlines()[0].rstrip('.')}): give a file that "
            "`cardiov export` has written."
        ) from error
