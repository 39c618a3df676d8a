"""A precision is chosen by the device, networks are compiled where torch can, and threads that wait leave their core to others."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cardiov.model import CardioV, CardioVConfig
from cardiov.training import devices
from cardiov.training.devices import _compiles, chosen_precision, compile_for, multiplies_bfloat16

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
ROOT = Path(__file__).parents[2]
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


# Precision


@pytest.mark.parametrize(
    ("gpu", "low", "precision", "reason"),
    [
        (False, True, "bf16-mixed", "torch multiplies bfloat16 in hardware on this processor."),
        (False, False, "32-true", "torch does not multiply bfloat16 in hardware on this processor."),
        (True, True, "bf16-mixed", "torch multiplies bfloat16 in hardware on this GPU."),
        (True, False, "32-true", "torch does not multiply bfloat16 in hardware on this GPU."),
    ],
)
def test_auto_is_bfloat16_only_on_a_device_that_multiplies_it_and_the_log_says_so_once(
    monkeypatch, caplog, gpu, low, precision, reason
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: low and not including_emulation)
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: low is not gpu)  # on a GPU the processor does not matter
    chosen_precision.cache_clear()
    with caplog.at_level(logging.INFO):
        assert [chosen_precision("auto") for _ in range(3)] == [precision] * 3
        assert chosen_precision("64-true") == "64-true"
    assert caplog.messages == [f'precision "auto" is {precision} here: {reason}']
    chosen_precision.cache_clear()


ASKED = """
import torch
from cardiov.training.devices import multiplies_bfloat16
torch.nn.functional.conv2d(torch.ones(16, 16, 8, 64), torch.ones(16, 16, 3, 3))  # large enough for oneDNN
print("asked:", multiplies_bfloat16())
"""


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_bfloat16_is_in_hardware_if_onednn_says_so_of_itself():
    """Whatever the processor: ONEDNN_VERBOSE makes oneDNN print the instructions that it takes."""
    limits = "ALL", "AVX2", "AVX512_CORE"
    unlimited = {name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
    environments = [unlimited | {"ONEDNN_MAX_CPU_ISA": limit, "ONEDNN_VERBOSE": "1"} for limit in limits]
    start = [sys.executable, "-c", ASKED]
    asked = [subprocess.Popen(start, env=environment, stdout=subprocess.PIPE, text=True) for environment in environments]
    for limit, process in zip(limits, asked, strict=True):
        printed = process.communicate()[0].splitlines()
        (instructions,) = [line for line in printed if "cpu,isa:" in line]
        low = "bfloat16" in instructions and "AVX2" not in instructions  # which converts it, and multiplies single precision
        assert printed[-1] == f"asked: {low}", (limit, instructions)


def test_bfloat16_is_not_taken_without_vectors_or_the_processors_instructions(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    for capability, multiplies in (("AVX512", True), ("AVX2", True), ("DEFAULT", False)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        assert multiplies_bfloat16() == multiplies
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for limit, multiplies in (("AVX512_CORE_BF16", True), ("AVX512_CORE_VNNI", False), ("avx512_core", False)):
        monkeypatch.setenv("DNNL_MAX_CPU_ISA", limit)
        assert multiplies_bfloat16() == multiplies
    monkeypatch.delenv("DNNL_MAX_CPU_ISA")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"bf16": True})  # an Arm processor
    assert not multiplies_bfloat16()


@pytest.mark.parametrize(("asked", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
@pytest.mark.parametrize("module", ["cardiov.__main__", "cardiov.training.run"])
def test_waiting_threads_do_not_spin_unless_that_is_asked_for(module, asked, policy):
    """OpenMP reads the policy when torch loads it, so it is set before that."""
    code = f"""
import os, sys
class Torch:
    def find_spec(self, name, *_):
        if name == "torch":
            sys.exit(print(os.environ["OMP_WAIT_POLICY"]))
sys.meta_path.insert(0, Torch())
import {module}, torch
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | asked
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == f"{policy}\n", done.stderr
