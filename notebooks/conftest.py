"""nbval runs the notebooks on a copy of the committed results, which their stored outputs belong to.

What a run on this machine has left in results/ may differ in what training amplifies, and a test must not write there.
"""

import os
import tempfile
from pathlib import Path

import nbformat
import pytest

from cardiov.results import copy_committed

_copy = tempfile.TemporaryDirectory(prefix="cardiov-")  # goes when pytest ends
copy_committed(Path(_copy.name))
os.environ["CARDIOV_ROOT"] = _copy.name  # the kernels inherit it


def pytest_collect_file(file_path):
    """Refuse a notebook without outputs, which nbval would pass, having compared nothing."""
    if file_path.suffix == ".ipynb":
        cells = nbformat.read(file_path, as_version=4).cells
        if not any(cell.get("outputs") for cell in cells):
            raise pytest.UsageError(f"{file_path.name} holds no outputs to compare: execute it by make notebooks.")
