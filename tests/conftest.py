"""Fixtures that several tests share."""

import shutil

import pytest

from cardiov import comparison, notebook, report, results


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty stand-in for the repository, with the committed lists of published figures and tolerances."""
    (tmp_path / "results").mkdir()
    for name in ("published.csv", "tolerances.csv"):
        shutil.copy(results.ROOT / "results" / name, tmp_path / "results" / name)
    for module in (results, comparison, notebook, report):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path
