"""Agreement of a further reader with label and model, and what rereading only wrong predictions can show.

``wrong`` is a table of wrongly predicted records with the reader's ``reading``. Intervals are exact (Clopper & Pearson 1934)
and count records as independent.
"""

from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from cardiov.analysis.metrics import exact_share, quadratic_kappa
from cardiov.errors import ParameterError
from cardiov.mapping import CLASSES

# Accuracies of label and model at which they agree on about as many records as in the paper (69 %)
SCENARIOS = {"label better": (0.90, 0.75), "equally good": (0.82, 0.82), "model better": (0.75, 0.90)}


def wrong(predictions: pd.DataFrame) -> pd.DataFrame:
    """The wrongly predicted records, which the paper had reread."""
    return predictions[predictions["critical_value"] != predictions["predicted"]]


def sides(wrong: pd.DataFrame) -> pd.Series:
    """With whom a further reader sides: records by ``side`` (``label``, ``model``, ``neither``).

    A rightly predicted record is a ParameterError: there the reader would side with both.
    """
    label, model, reading = wrong["critical_value"], wrong["predicted"], wrong["reading"]
    if (label == model).any():
        raise ParameterError("some of the records are predicted rightly: keep those whose prediction is not the label.")
    counts = {"label": (reading == label).sum(), "model": (reading == model).sum()}
    return pd.Series(counts | {"neither": len(wrong) - sum(counts.values())}).rename_axis("side")


def side_shares(counts: pd.Series) -> pd.DataFrame:
    """``records`` of each side, their ``share`` and its interval ``low`` to ``high``, indexed as the counts."""
    rows = [[count, *exact_share(count, counts.sum())] for count in counts]
    return pd.DataFrame(rows, counts.index, columns=["records", "share", "low", "high"])


def preference(counts: pd.Series) -> pd.Series:
    """Does a reader side with the model more often than with the label? The exact McNemar test, two-sided ``p``.

    ``estimate``, ``low`` and ``high`` are the model's share of the records on which the reader sides with either; NaN if
    there are none.
    """
    decided = int(counts["label"] + counts["model"])
    p = binomtest(int(counts["model"]), decided, 0.5).pvalue if decided else np.nan
    return pd.Series([*exact_share(counts["model"], decided), p], ["estimate", "low", "high", "p"])


def reader_kappas(wrong: pd.DataFrame) -> pd.Series:
    """Quadratically weighted kappa of a reader with the label and with the model, and model - label."""
    reading = wrong["reading"].to_numpy()
    label, model = (quadratic_kappa(wrong[name].to_numpy(), reading) for name in ("critical_value", "predicted"))
    return pd.Series({"kappa_label": label, "kappa_model": model, "kappa_model_minus_label": model - label})


# Simulated readers


def misread(truth: np.ndarray, accuracy: float, errors: str, rng: np.random.Generator) -> np.ndarray:
    """Critical values (N,) read with a known accuracy, else a value one step away ("adjacent") or "any" other."""
    levels, size = len(CLASSES), len(truth)
    if errors == "any":
        other = (truth + rng.integers(1, levels, size=size)) % levels
    else:
        other = truth + np.where(truth == 0, 1, np.where(truth == levels - 1, -1, rng.choice([-1, 1], size=size)))
    return np.where(rng.random(size) < accuracy, truth, other)


def selection(shares, reader_accuracies, n: int = 100_000, seed: int = 0) -> pd.DataFrame:
    """How much agreement rereading only the wrong predictions yields, by simulation.

    Label, model and reader each read n true critical values, of given shares (4,), independently, with accuracies of their own.
    A row per kind of ``errors``, ``scenario`` (of `SCENARIOS`) and ``reader_accuracy`` gives shares of agreement: of label and
    model (``label_model``), of the reader with either on all records (``label_all``, ``model_all``) and on those where the
    prediction is not the label, as in the paper (``label_wrong``, ``model_wrong``).
    """
    rows = []
    for errors, (scenario, accuracies) in product(("adjacent", "any"), SCENARIOS.items()):
        rng = np.random.default_rng(seed)
        truth = rng.choice(len(CLASSES), size=n, p=np.asarray(shares) / np.sum(shares))
        label, model = (misread(truth, accuracy, errors, rng) for accuracy in accuracies)
        for accuracy in reader_accuracies:
            reading = misread(truth, accuracy, errors, rng)
            with_label, with_model, disputed = reading == label, reading == model, label != model
            rows.append({
                "errors": errors, "scenario": scenario, "reader_accuracy": accuracy,
                "label_accuracy": accuracies[0], "model_accuracy": accuracies[1], "label_model": 1 - disputed.mean(),
                "label_all": with_label.mean(), "model_all": with_model.mean(),
                "label_wrong": with_label[disputed].mean(), "model_wrong": with_model[disputed].mean(),
            })  # fmt: skip
    return pd.DataFrame(rows)
