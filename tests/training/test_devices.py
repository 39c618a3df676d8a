"""Networks are compiled where torch can compile them."""

import logging

import torch

from cardiov.model import CardioV, CardioVConfig
from cardiov.training import devices
from cardiov.training.devices import _compiles, compile_for

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SMALL = CardioVConfig(stem_width=16, widths=(16, 32), depths=(1, 1))


def test_a_network_is_compiled_for_a_gpu_only(monkeypatch):
    monkeypatch.setattr(devices, "_compiles", lambda device: True)
    model, names = CardioV(SMALL), list(CardioV(SMALL).state_dict())
    assert compile_for(model, CPU)._compiled_call_impl is None
    assert compile_for(model, CUDA)._compiled_call_impl is not None and list(model.state_dict()) == names


def test_without_a_compiler_a_network_runs_as_it_is(monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("Failed to find C compiler.\nand more")

    monkeypatch.setattr(torch, "compile", fail)
    monkeypatch.setattr(devices, "_compiles", _compiles.__wrapped__)
    with caplog.at_level(logging.WARNING):
        assert compile_for(CardioV(SMALL), CUDA)._compiled_call_impl is None
    assert "does not work here (Failed to find C compiler.)" in caplog.text
