"""Findings in words."""

import pandas as pd

from cardiov.analysis.sentences import decided, written


def test_the_interval_decides_the_words():
    words = "higher", "lower", "cannot tell"
    for (low, high), word in {(0.1, 0.3): "higher", (-0.3, -0.1): "lower", (-0.1, 0.3): "cannot tell", (0, 0.3): "cannot tell"}.items():
        assert decided(pd.Series({"low": low, "high": high}), *words) == word


def test_estimates_are_written_with_their_interval():
    assert written(pd.Series({"estimate": 0.87, "low": 0.8446, "high": 0.9})) == "0.870 (0.845 to 0.900)"
    nothing = float("nan")
    assert written({"estimate": 0.5, "low": nothing, "high": nothing}) == "0.500"
    assert written({"estimate": nothing, "low": nothing, "high": nothing}) == "undefined"
