"""Agreement of readers with label and model."""

import numpy as np
import pandas as pd
import pytest
from predictions import SIX
from scipy import stats
from sklearn import metrics as sk

from cardiov.analysis.agreement import preference, reader_kappas, side_shares, sides
from cardiov.errors import ParameterError


def test_sides_of_a_reader():
    wrong = pd.DataFrame({"critical_value": [0, 0, 1, 2], "predicted": [1, 2, 0, 3], "reading": [0, 2, 3, 2]})
    assert sides(wrong).to_dict() == {"label": 2, "model": 1, "neither": 1}
    with pytest.raises(ParameterError, match="predicted rightly"):
        sides(SIX.assign(reading=0))


def test_the_published_shares_with_exact_intervals():
    """38.43 % and 53.56 % from 259, 361 and 54 of 674; the ends are quantiles of beta distributions."""
    counts = pd.Series({"label": 259, "model": 361, "neither": 54})
    table = side_shares(counts)
    assert (100 * table["share"]).round(2).tolist() == [38.43, 53.56, 8.01]
    for side, k in counts.items():
        assert table.loc[side, "low"] == pytest.approx(stats.beta.ppf(0.025, k, 674 - k + 1))
        assert table.loc[side, "high"] == pytest.approx(stats.beta.ppf(0.975, k + 1, 674 - k))
    paired = preference(counts)
    assert paired["estimate"] == pytest.approx(361 / 620)
    assert paired["p"] == pytest.approx(2 * stats.binom.cdf(259, 620, 0.5))  # exact McNemar: 259 against 361
    assert preference(pd.Series({"label": 5, "model": 5, "neither": 9}))["p"] == 1


def test_agreement_of_no_one_is_undefined():
    nothing = pd.Series({"label": 0, "model": 0, "neither": 3})
    assert preference(nothing).isna().all()
    assert side_shares(nothing).loc["neither", ["share", "high"]].tolist() == [1, 1]
    assert side_shares(nothing * 0)["share"].isna().all()


def test_kappas_of_a_reader_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    wrong = pd.DataFrame(rng.integers(4, size=(200, 3)), columns=["critical_value", "predicted", "reading"])
    found = reader_kappas(wrong)
    for name, column in (("label", "critical_value"), ("model", "predicted")):
        expected = sk.cohen_kappa_score(wrong[column], wrong["reading"], weights="quadratic")
        assert found[f"kappa_{name}"] == pytest.approx(expected)
    assert found["kappa_model_minus_label"] == pytest.approx(found["kappa_model"] - found["kappa_label"])
    assert reader_kappas(wrong.assign(reading=wrong["predicted"]))["kappa_model"] == 1
