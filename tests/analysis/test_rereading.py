"""The reader study: packets that betray nothing, sheets that are checked, and what selection does to agreement."""

import numpy as np
import pytest

from cardiov.analysis.agreement import misread, selection


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
