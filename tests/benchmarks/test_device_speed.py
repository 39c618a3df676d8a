"""The paper's network on a GPU, at the size of PTB-XL: training and scoring against the textbook's in float32, in one run.

Of both, the whole path is taken: signals from the cache to the loss, or to the table of predictions. Without a GPU it measures
this processor in the same way, on few records. `make bench BENCH=tests/benchmarks/test_device_speed.py` runs it alone.
Signals and labels are random numbers.
"""

import json
import os
import re
import statistics
import time
from dataclasses import replace

import cost
import numpy as np
import pandas as pd
import pytest
import torch
from textbook import Textbook
from torch.nn import functional as F

from cardiov.data.cache import Cache, prepare
from cardiov.data.demo.dataset import make_demo
from cardiov.model import CardioV
from cardiov.scoring.archive import find_files
from cardiov.scoring.outputs import write_scores
from cardiov.store.files import replacing
from cardiov.store.provenance import processor
from cardiov.training.config import TrainingConfig
from cardiov.training.devices import make_fabric
from cardiov.training.phase import Phase, compile_for
from cardiov.training.predict import predict
from cardiov.training.run import fit

pytestmark = pytest.mark.slow

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
NAME = torch.cuda.get_device_name() if GPU else processor()
# 17,441 records to train and the other two folds, as in PTB-XL 1.0.1; a processor has fewer
TRAIN, VALIDATION, TEST, BATCH = (cost.TRAINED, 2193, 2203, 256) if GPU else (96, 16, 48, 32)
MICRO = (256, 32) if GPU else (16,)
ROUNDS = 3
PATIENTS = 2000 if GPU else 300  # of simulated files, some 1.25 each
TARGET = 5  # times the textbook's speed in training, on a GPU


def seconds(call):
    began = time.perf_counter()
    call()
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def median_seconds(call):
    call()
    return statistics.median(seconds(call) for _ in range(ROUNDS))


@pytest.fixture(scope="module")
def peaks():
    """What the device reaches in a large matrix product, FLOP/s, and in a large copy, bytes/s read and written."""
    n, size = (8192, 2**31) if GPU else (2048, 2**28)
    a, b = (torch.randn(n, n, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    source = torch.ones(size, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    times = 20 if GPU else 1
    product = min(seconds(lambda: [a @ b for _ in range(times)]) for _ in range(5)) / times
    copy = min(seconds(lambda: [target.copy_(source) for _ in range(times)]) for _ in range(5)) / times
    return {"matrix_flops": 2 * n**3 / product, "memory_bytes": 2 * size / copy}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A cache of random signals, with metadata."""
    folder, n = tmp_path_factory.mktemp("cache"), TRAIN + VALIDATION + TEST
    signals = np.lib.format.open_memmap(folder / "signals.npy", "w+", np.int16, (n, 12, cost.SAMPLES))
    generator = np.random.default_rng(0)
    for start in range(0, n, 512):
        part = signals[start : start + 512]
        part[:] = generator.integers(-500, 500, part.shape, dtype=np.int16)
    rows = np.arange(n)
    split = np.repeat(["train", "validation", "test"], [TRAIN, VALIDATION, TEST])
    metadata = pd.DataFrame({"patient_id": rows, "split": split, "critical_value": rows % 4}, pd.Index(rows, name="ecg_id"))
    return Cache(folder, 500, rows, (n, 12, cost.SAMPLES), "random", {}), metadata


@pytest.fixture(scope="module")
def record(peaks):
    """Adds to results/scale/devices/<device>.json, which a part of the tests may also be run for."""
    path = cost.DEVICES / f"{re.sub('[^a-z0-9]+', '-', NAME.lower()).strip('-')}.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    stored |= {"device": NAME, "gpu": GPU, "cores": os.cpu_count(), "processor": processor(), "torch": torch.__version__, **peaks}

    def add(**values):
        stored.update(values)
        print(json.dumps(values, indent=2))
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")

    return add


CONFIG = TrainingConfig(
    objective="ordinal", pretrain_epochs=0, finetune_epochs=1 + ROUNDS, batch_size=BATCH, precision="bf16-mixed"
)


def our_epochs(data, micro, folder, monkeypatch):
    """Seconds of an epoch's training and validation in `cardiov.training.run.fit`, medians after the first, in which it is compiled."""
    taken = {"epoch": [], "validate": []}
    for name, times in taken.items():
        def timed(*arguments, call=getattr(Phase, name), times=times):  # fmt: skip
            began = time.perf_counter()
            result = call(*arguments)  # a number, so the GPU is done
            times.append(time.perf_counter() - began)
            return result

        monkeypatch.setattr(Phase, name, timed)
    fit(replace(CONFIG, micro_batch=micro), *data, folder, folder)
    monkeypatch.undo()
    return *(statistics.median(times[1:]) for times in taken.values()), taken["epoch"][0]


def as_torch_comes():
    """The textbook may round to TF32, as torch does by default, and takes the fastest convolutions, which are looked for."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=True)


def textbook_batches(data, micro, batches):
    """The textbook's training, as one would write it: float32, each piece read when it is due."""
    cache, metadata = data
    model = Textbook().to(DEVICE).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    order = np.random.default_rng(0).permutation(TRAIN)
    labels = torch.tensor(metadata["critical_value"].to_numpy()[:, None] > np.arange(3)).float()  # Table 4

    def train():
        for i in range(batches):
            optimizer.zero_grad()
            for rows in np.array_split(order[i * BATCH : (i + 1) * BATCH], BATCH // micro):
                logits = model(torch.from_numpy(cache.read(rows)).to(DEVICE))
                loss = F.binary_cross_entropy_with_logits(logits, labels[rows].to(DEVICE))
                (loss * len(rows) / BATCH).backward()
                loss.item()
            optimizer.step()

    return train


@pytest.mark.parametrize("micro", MICRO)
def test_training(data, record, peaks, tmp_path, monkeypatch, micro):
    batches = 8 if GPU else TRAIN // BATCH
    try:
        with as_torch_comes():
            theirs = batches * BATCH / median_seconds(textbook_batches(data, micro, batches))
    except torch.OutOfMemoryError:
        pytest.skip(f"{micro} records at once do not fit into the memory of {NAME}")
    if GPU:
        torch.cuda.reset_peak_memory_stats()
    epoch, validation, first = our_epochs(data, micro, tmp_path, monkeypatch)
    ours = TRAIN // BATCH * BATCH / epoch  # records a second
    work = cost.network_work(batch=micro)["training"]
    record(**{f"training_{micro}": {
        "records": TRAIN, "epoch_seconds": epoch, "validation_seconds": validation, "first_epoch_seconds": first,
        "records_per_second": ours, "textbook_records_per_second": theirs, "ratio": ours / theirs,
        "matrix_share": ours * work["flops"] / peaks["matrix_flops"],
        "memory_share": ours * work["bytes"] / peaks["memory_bytes"],
        **({"most_memory_gb": torch.cuda.max_memory_allocated() / 1e9} if GPU else {}),
    }})  # fmt: skip
    assert ours / theirs >= (TARGET if GPU and micro == max(MICRO) else 1)


def test_where_the_time_goes(record):
    """Shares of a training step's time, of the kernels (on a GPU) or operations that take most."""
    model = compile_for(CardioV().to(DEVICE).train(), DEVICE)
    x, y = torch.randn(MICRO[-1], 12, cost.SAMPLES, device=DEVICE), torch.ones(MICRO[-1], 3, device=DEVICE)

    def step():
        with torch.autocast(DEVICE.type, torch.bfloat16):
            logits = model(x)
        F.binary_cross_entropy_with_logits(logits.float(), y).backward()
        if GPU:
            torch.cuda.synchronize()

    make_fabric(CONFIG.precision)  # sets how convolutions are computed
    step()
    with torch.profiler.profile() as profile:
        step()
    taken = {event.key: getattr(event, f"self_{'device' if GPU else 'cpu'}_time_total") for event in profile.key_averages()}
    most = sorted(taken, key=taken.get, reverse=True)[:12]
    record(shares_of_a_step={name[:100]: round(taken[name] / sum(taken.values()), 3) for name in most})


def test_scoring_from_the_cache(data, record, peaks):
    cache, metadata = data
    micro, rows = max(MICRO), np.arange(TRAIN, TRAIN + VALIDATION + TEST)
    model = compile_for(CardioV().to(DEVICE), DEVICE)
    textbook = Textbook().to(DEVICE).eval()

    def plain():
        with as_torch_comes(), torch.inference_mode():
            for part in np.array_split(rows, -(-len(rows) // micro)):
                textbook(torch.from_numpy(cache.read(part)).to(DEVICE)).cpu()

    theirs = len(rows) / median_seconds(plain)
    fabric, config = make_fabric(CONFIG.precision), replace(CONFIG, micro_batch=micro)
    ours = len(rows) / median_seconds(lambda: predict(fabric, model, cache, metadata, config))
    work = cost.network_work(batch=micro)["scoring"]
    record(scoring={
        "records": len(rows), "records_per_second": ours, "textbook_records_per_second": theirs, "ratio": ours / theirs,
        "matrix_share": ours * work["flops"] / peaks["matrix_flops"], "memory_share": ours * work["bytes"] / peaks["memory_bytes"],
    })  # fmt: skip
    assert ours > theirs


def test_files(record, tmp_path):
    """What the processor beside the device does: prepare records, and score files by the shipped network."""
    make_demo(tmp_path / "demo", PATIENTS)
    files = find_files([tmp_path / "demo/records500"])
    rates = {}
    for name, call in {
        "preparing": lambda: prepare(tmp_path / "demo", tmp_path / "cache", rate=500),
        "scoring_files": lambda: write_scores(files, "csv", tmp_path / "scores.csv"),
    }.items():
        rate = len(files) / seconds(call)
        rates[name] = {"records": len(files), "records_per_core_second": rate / os.cpu_count()}
    record(**rates)


def test_the_page_of_costs_is_written(record):
    record()
    cost.write_page()
