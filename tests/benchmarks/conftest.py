"""What the benchmarks share: where their numbers go."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from cardiov.store.files import ROOT, replacing
from cardiov.store.provenance import processor

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what the tests share
torch.set_num_threads(os.cpu_count())  # the tests beside keep to one


@pytest.fixture
def record_ratio():
    """``record_ratio(name, **values)`` prints the values and writes them to results/benchmarks/<name>.json."""

    def record(name, **values):
        values |= {"processor": processor(), "cores": os.cpu_count()}
        print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in values.items()))
        with replacing(ROOT / "results" / "benchmarks" / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    return record
