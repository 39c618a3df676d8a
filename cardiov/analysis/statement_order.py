"""Is the order in which PTB-XL's file lists a record's statements noise, or can it be learnt?

Where statements of different critical values share the highest likelihood, only this order decides the label "most-likely".
``codes`` are one dict per record from statement to likelihood, in the order of the file (`cardiov.data.ptbxl.read_metadata`).
"""

from collections import Counter
from collections.abc import Iterable
from itertools import combinations

import pandas as pd

from cardiov import mapping
from cardiov.analysis.metrics import exact_share

Codes = Iterable[dict[str, float]]


def pair_counts(codes: Codes) -> Counter:
    """In how many records the first statement of a pair stands somewhere before the second, by (first, second)."""
    return Counter(pair for stated in codes for pair in combinations(stated, 2))


def usual_first(statements: Iterable[str], counts: Counter) -> str:
    """Of a set of statements, the one that stands before most of the others by the counts of `pair_counts`."""
    names = sorted(statements)  # so that the order in which they are given shows nothing
    return max(names, key=lambda one: sum(counts[one, other] > counts[other, one] for other in names))


def learnt_order(known: Codes, tested: Codes) -> pd.DataFrame:
    """How far the order of statements, learnt from known records, holds in the tested ones.

    Indexed by ``question``: do two statements stand in the order that is usual among the known records? Do the statements
    as a set, their likelihoods and the usual order give the record's label, in all records, and where a tie decides it?
    ``cases`` are pairs or records, and ``estimate`` the share of yes with its exact 95 % interval ``low`` to ``high``, which
    counts cases as independent.
    """
    counts, tested = pair_counts(known), list(tested)
    kept = [counts[pair] > counts[pair[::-1]] for stated in tested for pair in combinations(stated, 2)]
    right = [_label_of_the_set(stated, counts) == mapping.critical_value(stated) for stated in tested]
    tied = [yes for yes, stated in zip(right, tested, strict=True) if mapping.tie_decides(stated)]
    answers = {"pairs in the usual order": kept, "label from the set": right, "label from the set, where a tie decides": tied}
    rows = {question: [len(yes), *exact_share(sum(yes), len(yes))] for question, yes in answers.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["cases", "estimate", "low", "high"]).rename_axis("question")


def _label_of_the_set(stated, counts):
    """The label "most-likely", without a look at the order in which the record's statements stand."""
    highest = max(stated.values())
    first = usual_first((name for name, likelihood in stated.items() if likelihood == highest), counts)
    return mapping.critical_value({first: stated[first]})
