"""How long each notebook runs, and takes to read, for docs/teaching.md; in a copy that has only what is committed."""

import os
import re
import resource
import subprocess
import sys
import time

import nbformat
import pytest
from repository import copy_committed

from cardiov.store.files import ROOT

LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
WORDS, CELL, EXERCISE = 200, 0.5, 5  # words a minute; minutes a code cell and an exercise


def reading_minutes(path):
    """An estimate, to 5 minutes."""
    cells = nbformat.read(path, as_version=4).cells
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    code = sum(cell.cell_type == "code" for cell in cells)
    exercises = len(re.findall(r"^\d+\. ", cells[-1].source, flags=re.MULTILINE))
    return 5 * max(1, round((words / WORDS + CELL * code + EXERCISE * exercises) / 5))


def seconds(path, root):
    """Elapsed time, and time on one core, which other work on the machine hardly changes."""
    environment = {**os.environ, "CARDIOV_ROOT": str(root), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "cardiov", "notebook", str(path), str(root / path.name)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(used), "elapsed_seconds": round(elapsed)}


@pytest.mark.slow
def test_every_notebook_runs_within_a_minute_of_a_core(record_ratio, tmp_path):
    copy_committed(tmp_path)
    measured = {path.stem: seconds(path, tmp_path) | {"reading_minutes": reading_minutes(path)} for path in LESSONS}
    record_ratio("notebooks", load=round(os.getloadavg()[0], 1), notebooks=measured)
    assert max(one["seconds"] for one in measured.values()) < 60
