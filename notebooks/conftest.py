"""nbval runs the notebooks on a copy of what is committed, which their stored outputs belong to.

What was made on this machine may differ, and a test must not write beside it. Pictures are not compared, but what they plot
is: every table, number and figure that the notebooks make must be the published one.
"""

import os
import tempfile
from pathlib import Path

import nbformat
import pytest
from repository import copy_committed  # of tests/

from cardiov.paper.differences import differences
from cardiov.store import results

_folder = tempfile.TemporaryDirectory(prefix="cardiov-")  # goes when pytest ends
_root = Path(_folder.name)
copy_committed(_root)
os.environ["CARDIOV_ROOT"] = str(_root)  # the kernels inherit it


def pytest_collect_file(file_path):
    """Refuse a notebook without outputs, which nbval would pass, having compared nothing."""
    if file_path.suffix == ".ipynb":
        cells = nbformat.read(file_path, as_version=4).cells
        if not any(cell.get("outputs") for cell in cells):
            raise pytest.UsageError(f"{file_path.relative_to(file_path.parents[1])} holds no outputs to compare: execute it by make notebooks.")


def pytest_sessionfinish(session):
    """Fail where the notebooks have made something else than what is published; what they have not made is not missed."""
    results.ROOT = _root
    for build in sorted(_root.glob("build/*")):
        cells = differences(build.name)
        made = cells[cells["made"] != "missing"]
        if len(made):
            print(f"\nFAILED {build.name}: the notebooks make other results than the published ones\n{made.to_string(index=False)}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
