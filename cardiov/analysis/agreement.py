"""Agreement of a further reader with label and model, and what rereading only wrong predictions can show.

``wrong`` is a table of wrongly predicted records: predictions whose ``predicted`` differs from the label
``critical_value``, with the reader's ``reading``. Intervals are exact (Clopper & Pearson 1934) and count records as
independent, as if each were another patient's.
"""

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

    Raises
    ------
    ParameterError
        If a record is predicted rightly: there the reader would side with both.
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
    """Does a reader side with the model more often than with the label? The exact McNemar test.

    The records on which the reader sides with either are the discordant pairs, which are compared with a fair coin.

    Returns
    -------
    Series
        ``estimate``, the model's share of these records, its ``low`` and ``high``, and the two-sided ``p``; NaN where
        the reader sides with neither everywhere.
    """
    decided = int(counts["label"] + counts["model"])
    p = binomtest(int(counts["model"]), decided, 0.5).pvalue if decided else np.nan
    return pd.Series([*exact_share(counts["model"], decided), p], ["estimate", "low", "high", "p"])


def reader_kappas(wrong: pd.DataFrame) -> pd.Series:
    """Quadratically weighted kappa of a reader with the label and with the model, and model - label.

    On wrongly predicted records alone, kappa is lower than on all: those on which label and model agree are left out.
    """
    reading = wrong["reading"].to_numpy()
    label, model = (quadratic_kappa(wrong[name].to_numpy(), reading) for name in ("critical_value", "predicted"))
    return pd.Series({"kappa_label": label, "kappa_model": model, "kappa_model_minus_label": model - label})


# Simulated readers


def misread(truth: np.ndarray, accuracy: float, errors: str, rng: np.random.Generator) -> np.ndarray:
    """Critical values (N,) read with a known accuracy; what is misread depends on the truth alone.

    Parameters
    ----------
    truth : int array, shape (N,)
    accuracy : float
        Probability of reading the truth.
    errors : {"adjacent", "any"}
        What is read otherwise: a value one step away, or any other, each as likely.
    rng : numpy Generator
    """
    levels, size = len(CLASSES), len(truth)
    if errors == "any":
        other = (truth + rng.integers(1, levels, size=size)) % levels
    else:
        other = truth + np.where(truth == 0, 1, np.where(truth == levels - 1, -1, rng.choice([-1, 1], size=size)))
    return np.where(rng.random(size) < accuracy, truth, other)


def selection(shares, reader_accuracies, n: int = 100_000, seed: int = 0) -> pd.DataFrame:
    """How much agreement rereading only the wrong predictions yields, by simulation.

    Label, model and reader each read a true critical value with an accuracy of their own, independently of each other.

    Parameters
    ----------
    shares : array, shape (4,)
        Of the true critical values.
    reader_accuracies : sequence of float
    n : int
        Simulated records.
    seed : int

    Returns
    -------
    DataFrame
        A row per kind of ``errors``, ``scenario`` (of `SCENARIOS`) and ``reader_accuracy``, with ``label_accuracy`` and
        ``model_accuracy``. Agreements are shares: ``label_model`` of label and model; the reader's with label and
        model on all records (``label_all``, ``model_all``), and on those where the prediction is not the label, as in
        the paper (``label_wrong``, ``model_wrong``).
    """
    rows = []
    for errors in ("adjacent", "any"):
        for scenario, accuracies in SCENARIOS.items():
            rng = np.random.default_rng(seed)
            truth = rng.choice(len(CLASSES), size=n, p=np.asarray(shares) / np.sum(shares))
            label, model = (misread(truth, accuracy, errors, rng) for accuracy in accuracies)
            for reader_accuracy in reader_accuracies:
                agreement = _agreement(misread(truth, reader_accuracy, errors, rng), label, model)
                names = ("reader_accuracy", "label_accuracy", "model_accuracy")
                known = dict(zip(names, (reader_accuracy, *accuracies), strict=True))
                rows.append({"errors": errors, "scenario": scenario, **known, **agreement})
    return pd.DataFrame(rows)


def _agreement(reading, label, model):
    with_label, with_model, disputed = reading == label, reading == model, label != model
    return {
        "label_model": 1 - disputed.mean(),
        "label_all": with_label.mean(), "model_all": with_model.mean(),
        "label_wrong": with_label[disputed].mean(), "model_wrong": with_model[disputed].mean(),
    }  # fmt: skip
