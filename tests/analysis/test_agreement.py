"""Agreement of real and simulated readers with label and model."""

import numpy as np
import pandas as pd
import pytest
from predictions import SIX
from scipy import stats
from sklearn import metrics as sk

from cardiov.analysis.agreement import misread, preference, reader_kappas, selection, side_shares, sides
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
    kappas = reader_kappas(wrong)
    for name, column in (("label", "critical_value"), ("model", "predicted")):
        expected = sk.cohen_kappa_score(wrong[column], wrong["reading"], weights="quadratic")
        assert kappas[f"kappa_{name}"] == pytest.approx(expected)
    assert kappas["kappa_model_minus_label"] == pytest.approx(kappas["kappa_model"] - kappas["kappa_label"])
    assert reader_kappas(wrong.assign(reading=wrong["predicted"]))["kappa_model"] == 1


def test_misreadings_have_the_accuracy_asked_for_and_stay_on_the_scale():
    truth = np.repeat([0, 1, 2, 3], 20_000)
    for errors in ("adjacent", "any"):
        read = misread(truth, 0.7, errors, np.random.default_rng(0))
        assert set(read) == {0, 1, 2, 3}
        assert [(read == truth)[truth == k].mean() for k in range(4)] == pytest.approx([0.7] * 4, abs=0.01)
        steps = np.abs(read - truth)
        assert steps.max() == (1 if errors == "adjacent" else 3)
    counts = np.bincount(read[truth == 1], minlength=4) / 20_000
    assert counts == pytest.approx([0.1, 0.7, 0.1, 0.1], abs=0.01)  # any other value, each as likely
    assert (misread(truth, 1.0, "any", np.random.default_rng(0)) == truth).all()


def test_selection_agrees_with_exact_probabilities():
    """Any other value alike: P(reader = label | label ≠ model) from the joint distribution of the three."""
    table = selection([0.4, 0.3, 0.2, 0.1], [0.9], n=200_000)
    row = table.query("errors == 'any' and scenario == 'label better'").iloc[0]
    a, b, c = 0.90, 0.75, 0.9  # label, model, reader
    wrong = [(1 - p) / 3 for p in (a, b, c)]  # probability of each single other value
    agree = a * b + 3 * wrong[0] * wrong[1]
    reader_label_not_model = a * (1 - b) * c + (1 - a) * wrong[2] * (b + 2 * wrong[1])
    assert row["label_model"] == pytest.approx(agree, abs=0.005)
    assert row["label_all"] == pytest.approx(a * c + 3 * wrong[0] * wrong[2], abs=0.005)
    assert row["label_wrong"] == pytest.approx(reader_label_not_model / (1 - agree), abs=0.01)


def test_selection_lowers_agreement_and_keeps_the_order():
    table = selection([0.4, 0.3, 0.2, 0.1], [0.7, 0.9], n=50_000)
    assert (table["label_wrong"] < table["label_all"]).all() and (table["model_wrong"] < table["model_all"]).all()
    assert table["label_model"].between(0.66, 0.72).all()  # the paper's 69 %
    better = table.set_index("scenario")["model_wrong"] - table.set_index("scenario")["label_wrong"]
    assert (better["model better"] > 0.1).all() and (better["label better"] < -0.1).all()
    assert (better["equally good"].abs() < 0.03).all()
    # on all records the difference of the two agreements is that on the wrong ones, times their share
    difference = (table["model_wrong"] - table["label_wrong"]) * (1 - table["label_model"])
    assert np.allclose(difference, table["model_all"] - table["label_all"])
