"""Errors of design spaces and how they compare."""

import pandas as pd
import pytest

from cardiov.analysis.search import comparisons, summary


@pytest.fixture
def models():
    return pd.DataFrame({
        "role": ["reference"] * 2 + ["sampled"] * 8,
        "space": ["growing"] * 2 + ["any"] * 4 + ["growing"] * 4,
        "squeeze_excitation": [True] * 2 + [True, False] * 4,
        "error": [0.1875, 0.3125, 0.5, 0.625, 0.75, 0.875, 0.125, 0.1875, 0.25, 0.375],
    })


def test_summary_places_the_reference(models):
    table = summary(models)
    assert table["n"].to_dict() == {"all": 8, "any": 4, "growing": 4}
    assert table.loc["growing", ["best", "median", "worst"]].tolist() == [0.125, 0.21875, 0.375]
    assert table["share"].tolist() == [2 / 8, 0, 2 / 4]  # below the reference's mean, 0.25, but not at it
    assert table.loc["any", "high"] == pytest.approx(1 - 0.025 ** (1 / 4))


def test_comparisons_are_signed_first_minus_second(models):
    table = comparisons(models, resamples=200)
    growing, gated = table.to_dict("records")
    assert growing["difference"] == 0.21875 - 0.6875 and growing["first_lower"] == 1
    assert -0.75 <= growing["low"] < growing["difference"] < growing["high"] <= -0.125
    assert growing["p"] == pytest.approx(2 / 70)  # exact: 2 of the C(8, 4) orders are as extreme
    assert growing["ks_p"] == pytest.approx(2 / 70)
    assert gated["difference"] == 0.375 - 0.5 and gated["first_lower"] == pytest.approx(10 / 16)
    assert gated["low"] < 0 < gated["high"]
