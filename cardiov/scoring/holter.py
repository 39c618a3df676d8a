"""Score a record of many hours part by part, in bounded memory."""

from collections import Counter
from dataclasses import replace

import numpy as np

from cardiov.ecg.holter import PART, read_parts
from cardiov.ecg.quality import MEANINGS
from cardiov.errors import SignalError
from cardiov.scoring.record import Score, gravest_of, score_all


def score_long(path, model=None, **reading) -> Score:
    """`cardiov.score` of a long WFDB, EDF or BDF record, whose windows of 10 s follow each other from its start.

    A warning says in how many parts of 60 s it holds; parts that cannot be read are left out, with a warning. ``reading`` holds
    keywords of `cardiov.read_ecg`.

    Raises
    ------
    SignalError
        If no part can be read.
    """
    scores, failures, end = {}, {}, 0.0
    for start, part in read_parts(path, **reading):
        if isinstance(part, SignalError):
            failures[start] = part
        else:
            scores[start] = score_all([part], model)[0]
            end = start + scores[start].seconds
    if not scores:
        raise next(iter(failures.values()))
    return _joined(scores, failures, max(end, *failures, 0.0))


def _joined(scores, failures, seconds):
    windows = [(replace(window, start=window.start + start), score) for start, score in scores.items() for window in score.windows]
    gravest = gravest_of([window for window, _ in windows])
    window, score = windows[gravest]
    return replace(
        score, critical_value=window.critical_value, probabilities=np.array(window.probabilities), prediction_set=None,
        windows=tuple(window for window, _ in windows), window=gravest, seconds=seconds,
        warnings=_warnings(scores.values(), failures),
    )  # fmt: skip


def _warnings(scores, failures):
    """What holds for all parts as it is, and of other warnings in how many parts they hold."""
    texts = Counter(text for score in scores for text in dict.fromkeys(score.warnings))
    common = [text for text, count in texts.items() if count == len(scores)]
    kinds = Counter(kind for score in scores for kind in {_kind(text) for text in score.warnings if text not in common})
    some = [f"{kind}: in {count:,} of {len(scores):,} parts of {PART:g} s{_meaning(kind)}" for kind, count in kinds.most_common()]
    if failures:
        start, reason = next(iter(failures.items()))
        some.append(f"{len(failures):,} parts of {PART:g} s were not scored, the first at {start:g} s: {str(reason).rstrip('.')}")
    return (*common, *some)


def _kind(text):
    return text.partition(":")[0].partition(" (")[0]


def _meaning(kind):
    return f" ({MEANINGS[kind]})" if kind in MEANINGS else ""
