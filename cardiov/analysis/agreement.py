"""Agreement of a further reader with label and model, and what rereading only wrong predictions can show."""

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from cardiov.analysis.metrics import exact_share, quadratic_kappa
from cardiov.errors import ParameterError
from cardiov.mapping import LEVELS


def sides(wrong: pd.DataFrame) -> pd.Series:
    """With whom a further reader sides, on records that the model predicts wrongly.

    Parameters
    ----------
    wrong : DataFrame
        Predictions whose ``predicted`` differs from the label ``critical_value``, with the reader's ``reading``.

    Returns
    -------
    Series of int
        Records by side: ``label``, ``model``, ``neither``.

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
    """Share of each side with its exact 95 % interval (Clopper & Pearson 1934).

    Returns
    -------
    DataFrame
        Indexed as ``counts``, with ``records``, ``share``, ``low`` and ``high``. Records count as independent, as if
        each were another patient's.
    """
    rows = [exact_share(count, counts.sum()) for count in counts]
    return pd.DataFrame(rows, counts.index, columns=["share", "low", "high"]).assign(records=counts)[
        ["records", "share", "low", "high"]
    ]


def preference(counts: pd.Series) -> pd.Series:
    """Does a reader side with the model more often than with the label? The exact McNemar test.

    On wrongly predicted records a reader agrees with the label, or with the model, or with neither; those who agree
    with one of them are the discordant pairs of the paired table, which are compared with a fair coin.

    Returns
    -------
    Series
        ``estimate``, the model's share of the records on which the reader sides with either, its exact ``low`` and
        ``high``, and the two-sided ``p``; NaN where the reader sides with neither everywhere.
    """
    decided = int(counts["label"] + counts["model"])
    p = binomtest(int(counts["model"]), decided, 0.5).pvalue if decided else np.nan
    values = [*exact_share(counts["model"], decided), p]
    return pd.Series(values, ["estimate", "low", "high", "p"])


def reader_kappas(wrong: pd.DataFrame) -> pd.Series:
    """Quadratically weighted kappa of a reader with the label and with the model, and model - label; for `bootstrap`.

    On wrongly predicted records alone, kappa is lower than on all: those on which label and model agree are left out.
    """
    reading = wrong["reading"].to_numpy()
    label, model = (quadratic_kappa(wrong[name].to_numpy(), reading) for name in ("critical_value", "predicted"))
    return pd.Series({"kappa_label": label, "kappa_model": model, "kappa_model_minus_label": model - label})


def wrong(predictions: pd.DataFrame) -> pd.DataFrame:
    """The wrongly predicted records, which the paper had reread."""
    return predictions[predictions["critical_value"] != predictions["predicted"]]


# Simulated readers


def misread(truth: np.ndarray, accuracy: float, errors: str, rng: np.random.Generator) -> np.ndarray:
    """Critical values read with a known accuracy; what is misread depends on the truth alone.

    Parameters
    ----------
    truth : int array, shape (N,)
    accuracy : float
        Probability of reading the truth.
    errors : {"adjacent", "any"}
        What is read otherwise: a value one step away, or any other, each as likely.
    rng : numpy Generator

    Returns
    -------
    int array, shape (N,)
    """
    levels = len(LEVELS)
    if errors == "any":
        other = (truth + rng.integers(1, levels, size=len(truth))) % levels
    else:
        step = np.where(truth == 0, 1, np.where(truth == levels - 1, -1, rng.choice([-1, 1], size=len(truth))))
        other = truth + step
    return np.where(rng.random(len(truth)) < accuracy, truth, other)


# Accuracies of label and model at which they agree on about as many records as in the paper (69 %)
SCENARIOS = {"label better": (0.90, 0.75), "equally good": (0.82, 0.82), "model better": (0.75, 0.90)}


def selection(shares, reader_accuracies, n: int = 100_000, seed: int = 0) -> pd.DataFrame:
    """How much agreement rereading only the wrong predictions yields, by simulation.

    Label, model and reader each read a true critical value with an accuracy of their own, independently of each other.
    The reader's agreement with label and model is counted on all records, and on those where the model's prediction is
    not the label, as in the paper.

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
        One row a kind of ``errors``, ``scenario`` (of `SCENARIOS`) and ``reader_accuracy``: ``label_accuracy``,
        ``model_accuracy``, ``label_model`` (their agreement) and the reader's agreement ``label_all``, ``model_all``,
        ``label_wrong``, ``model_wrong``, as shares.
    """
    rows = []
    for errors in ("adjacent", "any"):
        for scenario, (label_accuracy, model_accuracy) in SCENARIOS.items():
            rng = np.random.default_rng(seed)
            truth = rng.choice(len(LEVELS), size=n, p=np.asarray(shares) / np.sum(shares))
            label, model = (misread(truth, accuracy, errors, rng) for accuracy in (label_accuracy, model_accuracy))
            for accuracy in reader_accuracies:
                accuracies = {"reader": accuracy, "label": label_accuracy, "model": model_accuracy}
                row = {"errors": errors, "scenario": scenario} | {f"{who}_accuracy": a for who, a in accuracies.items()}
                rows.append(row | _agreement(misread(truth, accuracy, errors, rng), label, model))
    return pd.DataFrame(rows)


def _agreement(reading, label, model):
    with_label, with_model, disputed = reading == label, reading == model, label != model
    return {
        "label_model": 1 - disputed.mean(),
        "label_all": with_label.mean(), "model_all": with_model.mean(),
        "label_wrong": with_label[disputed].mean(), "model_wrong": with_model[disputed].mean(),
    }  # fmt: skip
