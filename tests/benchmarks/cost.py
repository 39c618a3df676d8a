"""What the whole of PTB-XL, or an archive of 800,000 ECGs, takes in time, disk and money, on one GPU and on eight.

Speeds are those that ``tests/benchmarks/test_device_speed.py`` has measured (``results/scale/devices``). While it has not
run on a GPU, the GPU's share is a forecast between two bounds: the project's aim, and what a card's published rates allow.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cardiov.data.download import ARCHIVE_BYTES, KEPT_BYTES
from cardiov.data.ptbxl import VERSIONS
from cardiov.errors import DataSetError
from cardiov.experiments.runs import read_runs
from cardiov.experiments.search import SPACES, read_search
from cardiov.model import CardioV
from cardiov.store.files import ROOT, replacing, shown
from cardiov.store.templates import templates

DEVICES = ROOT / "results/scale/devices"
PAGE = ROOT / "results/scale/cost.md"
PARAMETERS = ROOT / "notebooks/params/paper"
OF_PAPER = "paper"  # the runs of the paper's network
MEASURED = {"training", "scoring", "preparing"}  # of a device
SAMPLES = 5000  # 10 s at 500 Hz
TRAINED = 17_441  # records of folds 1 to 8 in the paper's version of PTB-XL
# What a GPU computes in any case; the rest can be done in passing, on values that are on the chip already.
HEAVY = {"mm", "addmm", "convolution", "convolution_backward", "native_batch_norm", "native_batch_norm_backward"}

# Bounds and prices of the forecast. They are assumptions, and the page says so.
AIM = 15.0  # seconds that an epoch of `TRAINED` records may take on an H200, by the project's aim
CARD, CARD_FLOPS, CARD_BYTES = "NVIDIA H200", 989e12, 4.8e12  # dense bfloat16 and memory a second, by its datasheet
PRICES = (2.5, 7.0)  # US dollars for an hour of a GPU with its share of a machine; asked in May 2026 by
PRICES_SOURCE = "https://www.mercatus-ai.com/blog/cloud-gpu-pricing"
CORES = 16  # that come with each GPU
LINE = 10e6  # bytes a second from the archive's server
GPUS = (1, 8)


class _Traffic(TorchDispatchMode):
    """Counts the bytes of all operands and results of `HEAVY` operations."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        if operation.overloadpacket.__name__ in HEAVY:
            self.bytes += sum(leaf.nbytes for leaf in tree_leaves((args, result)) if isinstance(leaf, torch.Tensor))
        return result


@functools.cache
def network_work(samples: int = SAMPLES, batch: int = 256) -> dict[str, dict[str, float]]:
    """What the paper's network asks of a device for one record, in bfloat16.

    Parameters
    ----------
    samples : int
        Length of a record.
    batch : int
        Records at once, which share the weights' bytes.

    Returns
    -------
    dict
        ``{"training": ..., "scoring": ...}``, each with ``flops`` (two for a multiply-add; training takes the forward
        pass three times) and ``bytes`` that go through memory if each operand and result of a matrix product, convolution
        or batch norm does once and nothing else does.
    """
    model = CardioV().to("meta", torch.bfloat16)
    x = torch.empty(batch, model.config.leads, samples, device="meta", dtype=torch.bfloat16)
    forward = 2.0 * sum(row["multiply_adds"] for row in model.stage_table(samples))
    with _Traffic() as training:
        model.train()(x).sum().backward()
    with _Traffic() as scoring, torch.no_grad():
        model.eval()(x)
    return {
        "training": {"flops": 3 * forward, "bytes": training.bytes / batch},
        "scoring": {"flops": forward, "bytes": scoring.bytes / batch},
    }


@dataclass(frozen=True)
class Archive:
    """A collection of 12-lead ECGs of 10 s at 500 Hz; sizes in bytes, by default in proportion to PTB-XL's."""

    name: str
    records: int
    doi: str

    @property
    def download(self):
        return ARCHIVE_BYTES * self.records / ARCHIVES[0].records

    @property
    def unpacked(self):
        return KEPT_BYTES * self.records / ARCHIVES[0].records

    def cache(self, rate):
        """Of signals at this rate in Hz, two bytes a sample."""
        return 2 * 12 * 10 * rate * self.records


ARCHIVES = (
    Archive("PTB-XL 1.0.3", VERSIONS["1.0.3"].records, VERSIONS["1.0.3"].doi),
    Archive("MIMIC-IV-ECG 1.0", 800_000, "10.13026/4nqg-sb35"),
)


@dataclass(frozen=True)
class Speeds:
    """Records a second, (slowest, fastest), of one GPU in training and scoring and of one core beside it."""

    source: str  # what was measured, or that it is a forecast
    training: tuple[float, float]
    scoring: tuple[float, float]
    preparing: float
    scoring_files: float


def read_devices() -> list[dict]:
    """What the benchmark has measured, the fastest GPU first and processors alone last.

    Raises
    ------
    DataSetError
        If it has measured no device wholly.
    """
    devices = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(DEVICES.glob("*.json"))]
    whole = [device for device in devices if MEASURED <= {name.split("_")[0] for name in device}]
    if not whole:
        raise DataSetError(f"{shown(DEVICES)} holds no whole measurement: run tests/benchmarks/test_device_speed.py.")
    return sorted(whole, key=lambda device: (not device["gpu"], -_best(device)["records_per_second"]))


def _best(device):
    """The fastest training, among those with different numbers of records at once."""
    return max((part for name, part in device.items() if name.startswith("training_")), key=lambda part: part["records_per_second"])


def floor_seconds(work: dict[str, float], flops: float = CARD_FLOPS, memory: float = CARD_BYTES) -> float:
    """Seconds a record that a device of these rates (a second) needs at least for `network_work`'s training or scoring."""
    return max(work["flops"] / flops, work["bytes"] / memory)


def speeds(devices: list[dict]) -> Speeds:
    """The first device's, or a forecast of a GPU's where none has been measured."""
    device, cores = devices[0], [devices[0][name]["records_per_core_second"] for name in ("preparing", "scoring_files")]
    if device["gpu"]:
        pair = [(part["records_per_second"],) * 2 for part in (_best(device), device["scoring"])]
        return Speeds(f"measured on {device['device']}", *pair, *cores)
    work = network_work()
    fastest = [1 / floor_seconds(work[name]) for name in ("training", "scoring")]
    share = TRAINED / AIM / fastest[0]  # of the floor's speed that the aim asks for; scoring is taken to have it too
    return Speeds("forecast", *((share * fast, fast) for fast in fastest), *cores)


def planned() -> tuple[dict[str, tuple[int, bool]], dict[str, int]]:
    """What `make paper DATASET=ptbxl` trains, by ``notebooks/params/paper``.

    Returns
    -------
    epochs : dict
        Number of the paper's network, or of others of about its size, by what they are for; and whether several GPUs
        train one of them together.
    further : dict
        ``runs`` and ``epochs`` of the smaller network, which is shipped.
    """
    search = read_search(PARAMETERS / "search.yaml")
    runs = {name: run.config for name, run in read_runs(PARAMETERS / "runs.yaml").items()}
    names = [name for name in runs if name.rpartition("-")[0] == OF_PAPER]
    number = sum(_epochs(runs.pop(name)) for name in names)
    searched = len(SPACES) * search.models + search.reference_seeds
    epochs = {
        f"train the paper's network, {len(names)} runs": (number, True),
        f"search among {searched} networks, on one GPU (notebook 10)": (searched * search.epochs, False),
    }
    return epochs, {"runs": len(runs), "epochs": sum(map(_epochs, runs.values()))}


def _epochs(config):
    return sum(number for _, number in config.phases)


def steps(archive: Archive, speed: Speeds, gpus: int, epochs: dict) -> dict[str, tuple[float, float]]:
    """Seconds, (fewest, most), that each step takes on so many GPUs with `CORES` cores each; epochs are those of `planned`."""
    cores, records = CORES * gpus, archive.records
    found = {"prepare the signals (cores)": (records / speed.preparing / cores,) * 2}
    for name, (number, together) in epochs.items():  # of folds 1 to 8
        share = 0.8 * records * number / (gpus if together else 1)
        found[f"{name}, {number} epochs (GPU)"] = _seconds(share, speed.training)
    found["score the prepared signals by the paper's network (GPU)"] = _seconds(records / gpus, speed.scoring)
    found["score the files by the shipped network (cores)"] = (records / speed.scoring_files / cores,) * 2
    return found | {"all of these": tuple(map(sum, zip(*found.values(), strict=True)))}


def _seconds(records, rates):
    slow, fast = rates
    return records / fast, records / slow


def page() -> str:
    """The page on costs, as Markdown.

    Raises
    ------
    DataSetError
        If nothing has been measured.
    """
    devices = read_devices()
    speed = speeds(devices)
    environment = templates(Path(__file__).parent)
    environment.filters |= {"span": _span, "time": _time, "money": _money, "size": _size}
    epochs, further = planned()
    asked = [epochs, dict([next(iter(epochs.items()))])]  # there is no reason to search again on another archive
    tables = [
        (archive, {gpus: steps(archive, speed, gpus, those) for gpus in GPUS})
        for archive, those in zip(ARCHIVES, asked, strict=True)
    ]
    return environment.get_template("cost.md").render(
        devices=devices, speed=speed, forecast=speed.source == "forecast", tables=tables, work=network_work(),
        trained=TRAINED, aim=AIM, card=CARD, flops=CARD_FLOPS, memory=CARD_BYTES, prices=PRICES,
        prices_source=PRICES_SOURCE, cores=CORES, line=LINE, further=further,
    )  # fmt: skip


def write_page() -> None:
    """Write `page` to results/scale/cost.md."""
    with replacing(PAGE) as temporary:
        temporary.write_text(page(), encoding="utf-8")


def _span(pair):
    """(fewest, most) seconds in words."""
    low, high = (_time(seconds) for seconds in pair)
    return low if low == high else f"{low} to {high}"


def _time(seconds):
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{_rounded(seconds / size)} {unit}"
    return f"{_rounded(seconds)} s" if seconds >= 1 else "below 1 s"


def _rounded(number):
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}"


def _money(pair, gpus):
    """Of (fewest, most) seconds on so many GPUs, at the lowest and the highest price."""
    low, high = (seconds / 3600 * gpus * price for seconds, price in zip(pair, PRICES, strict=True))
    return f"${low:.2f} to ${high:.2f}" if high >= 0.01 else "below $0.01"


def _size(count):
    return f"{_rounded(count / 1e9)} GB"


if __name__ == "__main__":
    write_page()
