"""What made a result, and copies of what is committed."""

import subprocess

import matplotlib
import numpy as np
import pandas as pd
import pytest
from repository import copy_committed, git_repository

from cardiov.store import results
from cardiov.store.provenance import provenance

matplotlib.use("Agg")


def test_provenance_tells_changed_code_from_changed_results(root):
    assert provenance()["commit"] is None
    (root / "code.py").write_text("1")
    (root / ".gitignore").write_text("build/\n")
    git_repository(root)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True).stdout.strip()
    results.save_table(pd.DataFrame({"a": [1]}), "some", "new")
    results.write_table(pd.DataFrame({"a": [1]}), results.results_dir("some") / "new.csv")
    assert provenance()["commit"] == head
    assert provenance()["code_changed"] is False
    (root / "code.py").write_text("2")
    assert provenance()["code_changed"] is True


def test_provenance_names_the_packages_that_decide_numbers():
    packages = provenance()["packages"]
    assert {"torch", "numpy", "scipy", "pandas"} <= set(packages) and "pytest" not in packages
    assert packages["numpy"] == np.__version__


@pytest.mark.parametrize("versioned", [True, False])
def test_a_copy_of_the_committed_results_holds_what_is_staged_and_no_later_change(root, tmp_path_factory, versioned):
    for folder in ("results/some", "figures/some", "data"):
        (root / folder).mkdir(parents=True)
    table, figure = root / "results/some/table.csv", root / "figures/some/line.csv"
    table.write_text("a\n1\n")
    figure.write_text("y\n2\n")
    if versioned:
        for arguments in (["init", "-q"], ["add", "results", "figures"]):
            subprocess.run(["git", "-C", root, *arguments], check=True)
        table.write_text("a\n3\n")
    folder = tmp_path_factory.mktemp("copy")
    copy_committed(folder)
    assert (folder / "results/some/table.csv").read_text() == "a\n1\n"
    assert (folder / "figures/some/line.csv").read_text() == "y\n2\n"
    assert (folder / "data").resolve() == root / "data"
