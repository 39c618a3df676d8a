"""nbval runs the notebooks on a copy of what is committed, which their stored outputs belong to.

What was made on this machine may differ, and a test must not write beside it. Pictures are not compared, but what they plot
is: every table, number and figure that the notebooks make must be the published one.
"""

import os
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbval import kernel
from repository import copy_committed  # of tests/

from cardiov.paper.differences import differences
from cardiov.plots.playing import STATIC
from cardiov.store import results

_folder = tempfile.TemporaryDirectory(prefix="cardiov-")  # goes when pytest ends
_root = Path(_folder.name)
copy_committed(_root)
os.environ["CARDIOV_ROOT"], os.environ[STATIC] = str(_root), "yes"  # the kernels inherit them
_others = []  # what the processes of pytest-xdist have found
_start = kernel.start_new_kernel


def _start_again(*arguments, **settings):
    """Start a kernel; once more if it dies at once, as it does where another process has taken the ports that it was given."""
    try:
        return _start(*arguments, **settings)
    except RuntimeError:
        return _start(*arguments, **settings)


kernel.start_new_kernel = _start_again


def pytest_collect_file(file_path):
    """Refuse a notebook without outputs, which nbval would pass, having compared nothing."""
    if file_path.suffix == ".ipynb":
        cells = nbformat.read(file_path, as_version=4).cells
        if not any(cell.get("outputs") for cell in cells):
            raise pytest.UsageError(f"{file_path.relative_to(file_path.parents[1])} holds no outputs to compare: execute it by make notebooks.")


def _unlike_published():
    """Where the notebooks have made something else than what is published, as text; what they have not made is not missed."""
    results.ROOT = _root
    cells = {build.name: differences(build.name) for build in sorted(_root.glob("build/*"))}
    made = {name: table[table["made"] != "missing"] for name, table in cells.items()}
    return [f"{name}: the notebooks make other results than the published ones\n{table.to_string(index=False)}"
            for name, table in made.items() if len(table)]  # fmt: skip


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_testnodedown(node):
    _others.extend(getattr(node, "workeroutput", {}).get("unlike", []))


def pytest_sessionfinish(session):
    """Fail where what is made is not what is published; a process of pytest-xdist leaves that to the one that began it."""
    unlike = _others + _unlike_published()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["unlike"] = unlike
    elif unlike:
        print("".join(f"\nFAILED {text}" for text in unlike))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
