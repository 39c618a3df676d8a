"""The version of the training code is raised when numbers change: a tiny training, compared with stored numbers.

Training amplifies rounding, so on another processor or build of torch the numbers differ without any change of the code,
and no tolerance could tell. The test compares only where they were made, and elsewhere it says so. After a change on
purpose, raise VERSION in cardiov/training/config.py and run ``PYTHONPATH=.:tests python tests/training/test_version.py``.
"""

import json
import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # as all tests run, also where this file is run by itself

import pytest
import torch
from tiny_runs import BEYOND, CONFIG, make_data, run

from cardiov.store.provenance import processor
from cardiov.training.config import VERSION

STORED = Path(__file__).parents[1] / "fixtures/training_version.json"
CONFIGS = {"paper": CONFIG, "beyond": CONFIG.__class__(**CONFIG.__dict__ | BEYOND)}


def kind():
    """What rounding depends on."""
    return {"processor": processor(), "torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability()}


def numbers(folder):
    """Logits and losses of each configuration, to six digits."""
    found = {}
    for name, config in CONFIGS.items():
        predictions = run(config, make_data(folder / "data"), folder / name)
        history = (folder / name / "run/history.csv").read_text().splitlines()[1:]
        losses = [[round(float(loss), 6) for loss in row.split(",")[2:4]] for row in history]
        found[name] = {"logits": predictions.filter(like="output_")[:8].to_numpy().tolist(), "losses": losses}
    return found


def test_equal_numbers_have_an_equal_version(tmp_path):
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert stored["version"] == VERSION, "the numbers are of another version: store them again, as this file says"
    if stored["made on"] != kind():
        pytest.skip(f"the numbers were made on {stored['made on']}, and this is {kind()}: training rounds otherwise here")
    assert numbers(tmp_path) == stored["numbers"], "training gives other numbers: if on purpose, raise VERSION"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        content = {"version": VERSION, "made on": kind(), "numbers": numbers(Path(folder))}
    STORED.write_text(json.dumps(content) + "\n", encoding="utf-8")
