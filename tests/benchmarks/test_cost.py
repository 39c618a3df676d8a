import json
from dataclasses import replace

import cost
import pytest
import torch
from torch import nn

from cardiov.errors import DataSetError
from cardiov.kernels import Conv
from cardiov.model import CardioV

MEASURED = {
    "device": "Some GPU", "gpu": True, "cores": 8, "processor": "Some CPU",
    "training_32": {"epoch_seconds": 8.0, "records_per_second": 2000.0, "ratio": 6.0, "matrix_share": 0.02, "memory_share": 0.04},
    "training_256": {"epoch_seconds": 4.0, "records_per_second": 4000.0, "ratio": 9.0, "matrix_share": 0.04, "memory_share": 0.08},
    "scoring": {"records_per_second": 10_000.0, "ratio": 4.0},
    "preparing": {"records_per_core_second": 100.0}, "scoring_files": {"records_per_core_second": 50.0},
}  # fmt: skip


def test_work_is_that_of_the_network():
    work = cost.network_work()
    assert work["scoring"]["flops"] == 2 * 1_168_490_752  # two for each multiply-add of Table 3's network
    assert work["training"]["flops"] == 3 * work["scoring"]["flops"]


def test_bytes_are_those_of_what_goes_in_and_out():
    """Counted another way, by hooks: activations at two bytes, and the weights once for all records."""
    batch, total = 4, 0

    def count(module, inputs, output):
        nonlocal total
        total += 2 * (inputs[0].numel() + output.numel() + sum(parameter.numel() for parameter in module.parameters()))

    model = CardioV().eval()
    for module in model.modules():
        if isinstance(module, Conv | nn.BatchNorm2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(batch, 12, 5000))
    assert cost.network_work(batch=batch)["scoring"]["bytes"] == pytest.approx(total / batch, rel=0.02)


def test_the_floor_is_the_slower_of_arithmetic_and_memory():
    assert cost.floor_seconds({"flops": 6e9, "bytes": 8e7}, flops=1e12, memory=1e12) == 0.006
    assert cost.floor_seconds({"flops": 6e9, "bytes": 8e7}, flops=1e14, memory=1e12) == 0.00008


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """A folder for measurements, and a page for them."""
    monkeypatch.setattr(cost, "DEVICES", tmp_path)
    monkeypatch.setattr(cost, "PAGE", tmp_path / "cost.md")

    def write(**devices):
        for name, device in devices.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(device))

    return write


def test_a_measured_gpu_replaces_the_forecast(devices):
    processor = MEASURED | {"gpu": False, "device": "A CPU", "preparing": {"records_per_core_second": 1.0}}
    devices(a=processor, b=MEASURED)
    speed = cost.speeds(cost.read_devices())
    assert speed.source == "measured on Some GPU" and speed.training == (4000, 4000) and speed.scoring == (10_000, 10_000)
    assert (speed.preparing, speed.scoring_files) == (100, 50)
    cost.write_page()
    text = cost.PAGE.read_text()
    assert "forecast" not in text and "| Some GPU | 256 | 4.0 s | 4000 | 9.0 | 10000 | 4.0 | 4.0 % | 8.0 % |" in text
    assert "| A CPU (processor, 8 cores) | 32 | not quoted | not quoted | 6.0 | not quoted |" in text


def test_without_a_gpu_the_page_says_forecast(devices):
    devices(a=MEASURED | {"gpu": False})
    speed = cost.speeds(cost.read_devices())
    assert speed.source == "forecast" and "(forecast)" in cost.page().splitlines()[0]
    slow, fast = speed.training
    assert slow == pytest.approx(17_441 / 15)  # the aim
    assert fast == pytest.approx(1 / max(6 * 1_168_490_752 / 989e12, cost.network_work()["training"]["bytes"] / 4.8e12))
    assert speed.scoring[0] / speed.scoring[1] == pytest.approx(slow / fast)


def test_nothing_measured_is_said(devices):
    with pytest.raises(DataSetError, match="holds no whole measurement: run tests/benchmarks/test_device_speed.py"):
        cost.page()
    devices(a={"device": "Some GPU", "gpu": True, "training_32": MEASURED["training_32"]})
    with pytest.raises(DataSetError, match="holds no whole measurement"):
        cost.page()


SPEEDS = cost.Speeds("made up", (1000.0, 2000.0), (4000.0, 8000.0), preparing=100.0, scoring_files=50.0)


def test_steps_take_the_time_of_their_records():
    archive = replace(cost.ARCHIVES[0], records=16_000)
    found = cost.steps(archive, SPEEDS, 1, {"train": (10, True), "search": (20, False)})
    assert list(found.values()) == [(10, 10), (64, 128), (128, 256), (2, 4), (20, 20), (224, 418)]  # 16 cores


def test_eight_gpus_share_what_can_be_shared():
    one, eight = (list(cost.steps(cost.ARCHIVES[1], SPEEDS, n, {"train": (1, True), "search": (1, False)}).values()) for n in (1, 8))
    for k, ratio in enumerate([8, 8, 1, 8, 8]):
        assert one[k] == pytest.approx([ratio * seconds for seconds in eight[k]])


def test_what_is_planned_is_what_the_parameters_say():
    epochs, further = cost.planned()
    # 3 seeds of 10 + 12 epochs; 2 spaces of 32 networks and 5 seeds of the reference, 10 epochs each
    assert list(epochs.values()) == [(66, True), (690, False)]
    # 3 objectives and 4 methods with 3 seeds, 3 ideas with 2, and 3 seeds of the other label rule, of 20 epochs; 3 seeds of three shares
    assert further == {"runs": 39, "epochs": (9 + 12 + 6 + 3) * 20 + 3 * (60 + 40 + 30)}


def test_sizes_are_in_proportion_to_ptbxl():
    ptbxl, mimic = cost.ARCHIVES
    assert ptbxl.cache(500) == 21_799 * 12 * 5000 * 2
    assert mimic.unpacked / ptbxl.unpacked == pytest.approx(800_000 / 21_799)


@pytest.mark.parametrize(("pair", "words"), [((0.2, 0.9), "below 1 s"), ((3, 119), "3.0 s to 119 s"), ((120, 7199), "2.0 min to 120 min"),
                                             ((7200, 36_000), "2.0 h to 10 h")])  # fmt: skip
def test_times_in_words(pair, words):
    assert cost._span(pair) == words


def test_money_is_hours_times_gpus_times_price():
    assert cost._money((3600, 7200), 8) == "$20.00 to $112.00" and cost._money((1, 1), 1) == "below $0.01"


def test_the_committed_page_is_what_was_measured():
    assert cost.PAGE.read_text(encoding="utf-8") == cost.page()
