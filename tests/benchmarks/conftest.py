"""What the benchmarks share: where their numbers go."""

import json
import os
import platform
import sys
from pathlib import Path

import pytest

from cardiov.results import ROOT, replacing

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what the tests share


def _processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


@pytest.fixture
def record_ratio():
    """``record_ratio(name, **values)`` prints the values and writes them to results/benchmarks/<name>.json."""

    def record(name, **values):
        values |= {"processor": _processor(), "cores": os.cpu_count()}
        print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in values.items()))
        with replacing(ROOT / "results" / "benchmarks" / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    return record
