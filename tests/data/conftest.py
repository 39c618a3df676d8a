"""A small simulated data set."""

import pytest
from ecg_files import write_data_set


@pytest.fixture
def data(tmp_path):
    write_data_set(tmp_path / "data")
    return tmp_path / "data"
