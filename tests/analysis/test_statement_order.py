"""The order of statements: by hand, on orders that are rules or noise, and on PTB-XL's own."""

import numpy as np
import pytest

from cardiov.analysis.statement_order import learnt_order, pair_counts, usual_first
from cardiov.data import ptbxl

KNOWN = [{"NORM": 100, "SBRAD": 0, "IMI": 0}, {"NORM": 80, "IMI": 80}, {"IMI": 50, "NORM": 50}, {"SBRAD": 0, "IMI": 100}]


def test_pairs_are_counted_in_the_order_of_the_file():
    counts = pair_counts(KNOWN)
    assert counts == {("NORM", "SBRAD"): 1, ("NORM", "IMI"): 2, ("SBRAD", "IMI"): 2, ("IMI", "NORM"): 1}
    for given in (["IMI", "NORM", "SBRAD"], ["SBRAD", "IMI", "NORM"]):
        assert usual_first(given, counts) == "NORM"
    assert usual_first(["IMI", "SBRAD"], counts) == "SBRAD" and usual_first(["IMI"], counts) == "IMI"


def test_answers_by_hand():
    tested = [{"NORM": 100, "IMI": 100}, {"IMI": 100, "NORM": 100}, {"IMI": 100, "NORM": 50}]
    table = learnt_order(KNOWN, tested)
    assert table["cases"].tolist() == [3, 3, 2]
    assert table["estimate"].tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 2])  # without a tie the likelihoods decide


def test_an_order_at_random_is_not_learnt():
    rng = np.random.default_rng(0)
    names = ["NORM", "IMI", "SBRAD", "LVH", "AFIB"]
    records = [dict.fromkeys(rng.permutation(names)[:3].tolist(), 100) for _ in range(2000)]
    share = learnt_order(records[:1000], records[1000:]).loc["pairs in the usual order", "estimate"]
    assert share == pytest.approx(0.5, abs=0.05)
    ruled = [dict(sorted(record.items())) for record in records]
    assert learnt_order(ruled[:1000], ruled[1000:])["estimate"].tolist() == [1, 1, 1]


def test_ptbxl_keeps_an_order():
    """Counted on all of PTB-XL 1.0.1: a property of its published table, which no training moves."""
    whole = ptbxl.read_published("1.0.1")
    table = learnt_order(whole.query("fold <= 8")["scp_codes"], whole.query("fold > 8")["scp_codes"])
    assert table["cases"].tolist() == [14011, 4396, 652]
    assert table["estimate"].tolist() == pytest.approx([0.9669, 0.9866, 0.9095], abs=1e-4)
