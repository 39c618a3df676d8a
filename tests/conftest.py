"""Fixtures that several tests share."""

import os
import shutil

import pytest

# before torch is imported: sums depend on the number of threads, and a test's child processes must use as many as it does
os.environ["OMP_NUM_THREADS"] = "1"

from cardiov.paper import notebooks, pages, published
from cardiov.store import files, provenance, results


@pytest.fixture(scope="session", autouse=True)
def on_the_processor(request):
    """Tests run on the processor, whose rounding their tolerances are for; benchmarks take a GPU where there is one."""
    if not all("benchmarks" in item.path.parts for item in request.session.items):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty stand-in for the repository, with the committed lists of published figures and tolerances."""
    (tmp_path / "results").mkdir()
    for name in ("published.csv", "tolerances.csv"):
        shutil.copy(files.ROOT / "results" / name, tmp_path / "results" / name)
    for module in (files, provenance, results, published, notebooks, pages):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path
