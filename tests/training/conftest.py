"""Small data for all tests of training."""

import pytest
from tiny_runs import make_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))
