"""nbval runs the notebooks on a copy of the committed results, which their stored outputs belong to.

What a run on this machine has left in results/ may differ in what training amplifies, and a test must not write there.
Pictures are not compared, but what they plot is: every CSV that the notebooks write must be the committed one.
"""

import os
import tempfile
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from repository import copy_committed  # of tests/

TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}  # processors sum in different orders; tables have six digits
_folder = tempfile.TemporaryDirectory(prefix="cardiov-")  # goes when pytest ends
_committed, _root = Path(_folder.name, "committed"), Path(_folder.name, "root")
for _copy in (_committed, _root):
    copy_committed(_copy)
os.environ["CARDIOV_ROOT"] = str(_root)  # the kernels inherit it


def pytest_collect_file(file_path):
    """Refuse a notebook without outputs, which nbval would pass, having compared nothing."""
    if file_path.suffix == ".ipynb":
        cells = nbformat.read(file_path, as_version=4).cells
        if not any(cell.get("outputs") for cell in cells):
            raise pytest.UsageError(f"{file_path.name} holds no outputs to compare: execute it by make notebooks.")


def pytest_sessionfinish(session):
    """Fail where a table, or what a figure plots, is no longer what is committed."""
    for path in sorted(_committed.rglob("*.csv")):
        name = path.relative_to(_committed)
        try:
            pd.testing.assert_frame_equal(pd.read_csv(_root / name), pd.read_csv(path), check_dtype=False, **TOLERANCE)
        except AssertionError as difference:
            print(f"\nFAILED {name} is not what is committed: {difference}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
