"""The paper's network against a textbook implementation of it with torch's own layers, in one run on this machine."""

import statistics
import sys
import time
from pathlib import Path

import pytest
import torch

from cardiov.model import CardioV
from cardiov.training.devices import multiplies_bfloat16

sys.path.insert(0, str(Path(__file__).parents[1]))
from textbook import Textbook  # noqa: E402

pytestmark = pytest.mark.slow
BATCH, SAMPLES, ROUNDS = 16, 5000, 5
BFLOAT16 = multiplies_bfloat16()


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    textbook, ours = Textbook(), CardioV()
    ours.load_state_dict(dict(zip(ours.state_dict(), textbook.state_dict().values(), strict=True)))
    return textbook, ours


def seconds(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def ratio(baseline, ours):
    """Median over rounds of baseline's time by ours, the two taken in turn after one round of warming up."""
    baseline(), ours()
    return statistics.median(seconds(baseline) / seconds(ours) for _ in range(ROUNDS))


def training_step(model, optimizer, low):
    x, y = torch.randn(BATCH, 12, SAMPLES), torch.rand(BATCH, 3).round()

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            logits = model(x)
        torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), y).backward()
        optimizer.step()

    return step


def judge(name, reached, target):
    """Hold the target where the processor multiplies bfloat16; elsewhere say how far float32 alone got."""
    if reached < target and not BFLOAT16:
        pytest.xfail(f"{name}: {reached:.2f} of {target} times the textbook's speed without bfloat16 in hardware")
    assert reached >= target


def test_training_step(networks, record_ratio):
    textbook, ours = networks
    theirs = training_step(textbook.train(), torch.optim.Adam(textbook.parameters(), 1e-3), low=False)
    mine = training_step(ours.train(), torch.optim.Adam(ours.parameters(), 1e-3, fused=True), low=BFLOAT16)
    reached = ratio(theirs, mine)
    record_ratio("training_step", ratio=reached, target=2.0, batch=BATCH, samples=SAMPLES, bfloat16=BFLOAT16)
    judge("training step", reached, 2.0)


def test_inference(networks, record_ratio):
    textbook, ours = (model.eval() for model in networks)
    x = torch.randn(BATCH, 12, SAMPLES)

    def mine():
        with torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16):
            ours(x)

    with torch.inference_mode():
        reached = ratio(lambda: textbook(x), mine)
    record_ratio("inference", ratio=reached, target=1.5, batch=BATCH, samples=SAMPLES, bfloat16=BFLOAT16)
    judge("inference", reached, 1.5)
