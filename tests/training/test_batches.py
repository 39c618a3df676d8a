import copy
import shutil
import threading
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import make_data
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from cardiov import mapping
from cardiov.model import CardioV, CardioVConfig
from cardiov.training.batches import READERS, TEACHER, _ahead, in_pieces, signals_of, softened, targets_of
from cardiov.training.config import STATEMENTS

CPU = torch.device("cpu")
SHALLOW = CardioVConfig(depths=(1, 1, 1, 1, 1, 1, 2))  # blocks of every kind, in fewer minutes


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))[0]


def test_signals_are_those_of_the_cache(cache):
    pieces = [np.array([3, 1]), np.array([95]), np.array([0, 0, 7])]
    signals = list(signals_of(cache, iter(pieces), CPU))
    for x, rows in zip(signals, pieces, strict=True):
        assert x.dtype == torch.float32 and np.array_equal(x.numpy(), cache.read(rows))


def test_a_batch_is_cut_evenly_for_every_process():
    assert [len(piece) for piece in in_pieces(np.arange(256), 32)] == [32] * 8
    assert [len(piece) for piece in in_pieces(np.arange(256), 32, processes=8)] == [32] * 8
    assert [len(piece) for piece in in_pieces(np.arange(256), 32, processes=3)] == [29] * 4 + [28] * 5
    assert [len(piece) for piece in in_pieces(np.arange(16), 32, processes=3)] == [6, 5, 5]
    assert np.array_equal(np.concatenate(in_pieces(np.arange(100, 150), 7, processes=4)), np.arange(100, 150))


def test_items_come_in_order_and_a_few_ahead():
    fetched, others = [], threading.Event()

    def fetch(item):
        if item == 0:
            others.wait(300)  # it is the last to be done; the time is only so that a hang ends
        fetched.append(item)
        if len(fetched) == READERS:
            others.set()
        return item * item

    items = _ahead(fetch, iter(range(9)))
    assert next(items) == 0 and fetched == [*range(1, READERS + 1), 0]
    assert list(items) == [1, 4, 9, 16, 25, 36, 49, 64]


def test_what_a_thread_cannot_read_is_raised():
    items = _ahead(lambda item: 1 / item, [2, 0, 1])
    assert next(items) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(items)


@pytest.mark.slow  # and first: after another backend of the compiler, this one fails in torch 2.15
@pytest.mark.skipif(not (shutil.which("gcc") or shutil.which("clang")), reason="torch's compiler needs one for C")
def test_a_compiled_network_computes_the_same():
    """On the processor, for want of a GPU; in double precision, so that only a wrong computation would differ."""
    torch.manual_seed(0)
    config = CardioVConfig(stem_width=16, widths=(16, 32, 64), depths=(1, 2, 1), dropout=0.0)
    written, x = CardioV(config).double(), torch.randn(4, 12, 500, dtype=torch.float64)
    compiled = copy.deepcopy(written)
    compiled.compile()
    results = []
    for model in (written, compiled):
        logits = model.train()(x)
        F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits)).backward()
        results.append([logits, *(parameter.grad for parameter in model.parameters()), *model.buffers(), model.eval()(x[:3])])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_the_network_is_one_graph_forth_and_back():
    """Nothing in it makes torch's compiler stop, on the way that a GPU takes: whatever is not the CPU."""
    with torch.device("meta"):
        model = CardioV(SHALLOW)
    logits = torch.compile(model, backend="aot_eager", fullgraph=True)(torch.empty(4, 12, 5000, device="meta"))
    F.binary_cross_entropy_with_logits(logits, torch.empty(4, 3, device="meta")).backward()
    assert all(parameter.grad.stride() == parameter.stride() for parameter in model.parameters())


def test_the_network_stays_on_a_gpu_as_far_as_that_can_be_told_without_one():
    """Shapes, types and devices of a training step; backward asks the driver, so it is left out."""
    with mock.patch("torch.cuda.is_available", return_value=True), mock.patch("torch.cuda.is_bf16_supported", return_value=True):
        bfloat16 = torch.autocast("cuda", dtype=torch.bfloat16)  # it turns itself off where there is no GPU
    with FakeTensorMode():
        with torch.device("cuda"):
            model = CardioV(SHALLOW)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        with bfloat16:
            logits = model(torch.empty(32, 12, 5000, device="cuda"))
        assert logits.device.type == "cuda" and logits.dtype == torch.bfloat16 and logits.shape == (32, 3)
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()
        assert {value.device.type for state in optimizer.state.values() for value in state.values()} == {"cuda"}


def test_softened_answers_lie_between_the_label_and_the_teacher():
    taught = pd.DataFrame([[0.1, 0.2, 0.3, 0.4], [np.nan] * 4], columns=TEACHER).assign(critical_value=[1, 3])
    expected = torch.tensor([[0.5 + 0.45, 0.35, 0.2], [1.0, 1.0, 1.0]])  # above 0, 1, 2: the teacher's 0.9, 0.7, 0.4
    assert torch.allclose(softened(taught, 0.5), expected)


def test_statements_are_learned_as_stated_or_by_their_likelihood():
    metadata = pd.DataFrame({"scp_codes": [{"NORM": 80.0, "SR": 0.0}, {"AFIB": 0.0, "IMI": 15.0}]})
    names = [*mapping.statements().index]
    for likelihoods, expected in ((False, {"NORM": 1, "SR": 1}), (True, {"NORM": 0.8, "SR": 1})):
        said = targets_of(metadata, STATEMENTS, likelihoods)  # (2, 71)
        assert said.dtype == torch.float32 and said.shape == (2, 71)
        assert said[0].tolist() == pytest.approx([expected.get(name, 0) for name in names])
    assert said[1, names.index("IMI")] == pytest.approx(0.15) and said[1].sum() == pytest.approx(1.15)
