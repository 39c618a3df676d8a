"""What a network must beat: predictions without one, or with one that has learnt nothing, in the form of a network's runs.

Every baseline is trained on the same records as a network, its choices are made on the same fold, and the test fold has no part
in either. A fold k is tested by training on all folds but it and the one before it, which makes the choices: of fold 10 that is
the data set's own split. A constant, logistic regression and boosting test every fold in turn.

A baseline leaves predictions and provenance in ``results/<data set>/runs/baseline-<name>-<seed>``, a fold's in
``baseline-<name>-fold<k>-0``. Boosting is also the teacher of distilled networks (``runs/teacher``, or ``runs/teacher-fold<k>`` of
those that test fold k): it predicts each training record by trees that have learned from other training folds.
"""

import functools
import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import nn

from cardiov.analysis.metrics import SCORES
from cardiov.data.cache import cache_at
from cardiov.data.ptbxl import read_metadata, splits
from cardiov.experiments.features import RATE, record_features
from cardiov.experiments.runs import teacher_of
from cardiov.mapping import CLASSES
from cardiov.model import CardioV, CardioVConfig
from cardiov.store.files import locked, read_note, write_note
from cardiov.store.provenance import provenance
from cardiov.store.results import FOLDS, build_dir, run_dir, write_table
from cardiov.training.batches import in_pieces

VERSION = 1  # raised when the same settings and data would give other predictions
STRENGTHS = (0.001, 0.003, 0.01, 0.03)  # of logistic regression's penalty, the inverse of it: chosen by the loss
BOOSTING = {"learning_rate": 0.05, "max_features": 0.1, "max_iter": 600, "n_iter_no_change": 20}  # trees: stopped by the loss
MEASURED, UNMEASURED, UNTRAINED = ("logistic", "boosting"), ("constant", "age-sex"), "random-encoder"
WRITTEN = ("predictions.csv", "provenance.json")
BATCH, SETTLING = 64, 512  # records at once, and those that batch norm's statistics are of


class Baseline(NamedTuple):
    """One baseline, tested on one fold."""

    name: str
    fold: int = FOLDS[-1]
    seed: int = 0


BASELINES = {f"baseline-{name}-0": Baseline(name) for name in (*UNMEASURED, *MEASURED)}
BASELINES |= {f"baseline-{UNTRAINED}-{seed}": Baseline(UNTRAINED, seed=seed) for seed in range(3)}
BASELINES |= {f"baseline-{name}-fold{k}-0": Baseline(name, k) for name in ("constant", *MEASURED) for k in FOLDS}


def write_baselines(data, dataset: str, run) -> list[Path]:
    """Train and predict every baseline that is not finished; the files of all.

    ``run`` is the network's (`cardiov.experiments.runs.Run`), whose architecture and rate the untrained encoder has.
    """
    caches = {rate: cache_at(data, build_dir(dataset), rate) for rate in {RATE, run.rate}}
    metadata = read_metadata(data).loc[caches[RATE].ecg_ids]
    runs = {name: _identity(baseline, run, caches, metadata) for name, baseline in BASELINES.items()}
    unfinished = {name: identity for name, identity in runs.items() if not _finished(identity, run_dir(dataset, name))}
    measured = record_features(caches[RATE]) if unfinished else None
    for name, identity in unfinished.items():
        with _written(dataset, name, identity) as made:
            inputs = inputs_of(BASELINES[name], measured, metadata, run.config.model, caches[run.rate])
            made.append(predictions(BASELINES[name], inputs, metadata))
    return [run_dir(dataset, name) / file for name in runs for file in WRITTEN]


def write_teachers(data, dataset: str, tested: Sequence[int]) -> list[Path]:
    """Predict, for each fold of `tested`, every record that trains for it, by boosting of the others' folds; the files.

    A teacher that is finished is not repeated.
    """
    cache = cache_at(data, build_dir(dataset), RATE)
    metadata = read_metadata(data).loc[cache.ecg_ids]
    measured = functools.cache(lambda: record_features(cache))  # once for all that are missing
    for fold in tested:
        training = metadata[splits(metadata["fold"], fold) == "train"].assign(split="train")
        _write_teacher(dataset, teacher_of(fold), cache, training, measured)
    return [run_dir(dataset, teacher_of(fold)) / file for fold in tested for file in WRITTEN]


def _write_teacher(dataset, name, cache, metadata, measured):
    identity = {"config": {"teacher": "boosting"} | BOOSTING, "data": _digest(cache, metadata), "rate": cache.rate, "version": VERSION}
    with locked(build_dir(dataset) / name):  # by one of the processes of torchrun
        if not _finished(identity, run_dir(dataset, name)):
            with _written(dataset, name, identity) as made:
                made.append(taught(measured().loc[metadata.index].to_numpy(), metadata))


def taught(inputs, metadata) -> pd.DataFrame:
    """The teacher's predictions of training records from inputs (N, features): of each fold by trees of the other folds.

    The fold before it, of those that train, says how many trees.
    """
    labels, fold = metadata["critical_value"].to_numpy(), metadata["fold"].to_numpy()
    folds, probabilities = np.unique(fold), np.zeros((len(metadata), len(CLASSES)))
    for asked, before in zip(folds, np.roll(folds, 1), strict=True):
        rows = [np.flatnonzero(part) for part in (~np.isin(fold, [asked, before]), fold == before, fold == asked)]
        probabilities[rows[-1]] = fit_predict(candidates_of("boosting", 0), inputs, labels, *rows)
    return _table(metadata, probabilities)


@contextmanager
def _written(dataset, name, identity):
    """Write the table that the block has put into the list, with what made it."""
    started, made = time.time(), []
    with threadpool_limits(1):  # sums depend on the number of threads
        yield made
    write_table(made[0], run_dir(dataset, name) / WRITTEN[0])
    seconds = round(time.time() - started, 1)
    write_note(run_dir(dataset, name) / WRITTEN[1], {"run": identity, "seconds": seconds, **provenance()})


def _identity(baseline, run, caches, metadata):
    """What decides a baseline: equal identities give equal predictions."""
    settings = {"logistic": {"strengths": STRENGTHS}, "boosting": BOOSTING}
    settings[UNTRAINED] = {"model": run.config.model, "strengths": STRENGTHS}
    cache = caches[run.rate if baseline.name == UNTRAINED else RATE]
    config = {"baseline": baseline.name, "fold": baseline.fold, "seed": baseline.seed} | settings.get(baseline.name, {})
    return {"config": config, "data": _digest(cache, metadata), "rate": cache.rate, "version": VERSION}


def _digest(cache, metadata):
    labels = metadata[["fold", "critical_value", "age", "sex"]].to_csv()
    return hashlib.sha256((cache.digest + labels).encode()).hexdigest()[:16]


def _finished(identity, folder):
    stored = read_note(folder / "provenance.json").get("run")
    return stored == json.loads(json.dumps(identity)) and (folder / "predictions.csv").exists()


def inputs_of(baseline, measured, metadata, model, cache) -> np.ndarray:
    """What a baseline sees of each record, (N, inputs)."""
    if baseline.name == UNTRAINED:
        return encode(model, cache, np.flatnonzero(splits(metadata["fold"], baseline.fold) == "train"), baseline.seed)
    if baseline.name in MEASURED:
        return measured.to_numpy()
    return np.c_[metadata["age"], metadata["sex"] == "male"]


def predictions(baseline, inputs, metadata) -> pd.DataFrame:
    """Predictions of the validation and test records, as a network's (`cardiov.training.predict`), from inputs (N, ...)."""
    metadata = metadata.assign(split=splits(metadata["fold"], baseline.fold))
    rows = {split: np.flatnonzero(metadata["split"] == split) for split in ("train", "validation", "test")}
    asked = np.flatnonzero(metadata["split"] != "train")
    labels = metadata["critical_value"].to_numpy()
    candidates = candidates_of(baseline.name, baseline.seed)
    probabilities = fit_predict(candidates, inputs, labels, rows["train"], rows["validation"], asked)
    return _table(metadata.iloc[asked], probabilities)


def _table(metadata, probabilities):
    table = metadata.reset_index()[["ecg_id", "patient_id", "split", "critical_value"]]
    table[SCORES] = probabilities.round(6)
    return table.assign(predicted=probabilities.argmax(axis=1))


def candidates_of(name, seed) -> list:
    """The models that a baseline chooses among."""
    if name == "constant":
        return [DummyClassifier(strategy="prior")]
    if name == "boosting":
        return [HistGradientBoostingClassifier(early_stopping=True, random_state=seed, **BOOSTING)]
    strengths = (1.0,) if name == "age-sex" else STRENGTHS
    return [make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(C=c, max_iter=5000)) for c in strengths]


def fit_predict(candidates, inputs, labels, train, choice, rows) -> np.ndarray:
    """Probabilities of the four values, (len(rows), 4), by the candidate with the lowest log loss on the choice rows.

    Inputs (N, ...) and labels (N,) are those of all records; only labels of the rows train and choice are looked at.
    """
    losses = {}
    for model in candidates:
        stopping = {"X_val": inputs[choice], "y_val": labels[choice]} if getattr(model, "early_stopping", False) else {}
        model.fit(inputs[train], labels[train], **stopping)
        losses[model] = log_loss(labels[choice], _probabilities(model, inputs[choice]), labels=CLASSES)
    return _probabilities(min(losses, key=losses.get), inputs[rows])


def _probabilities(model, inputs):
    """Of all four values, also of those that no training record has."""
    probabilities = np.zeros((len(inputs), len(CLASSES)))
    probabilities[:, model.classes_] = model.predict_proba(inputs)
    return probabilities


@torch.inference_mode()
def encode(model, cache, train, seed) -> np.ndarray:
    """Pooled features (N, width) of an untrained network with random weights; batch norm has statistics of training records."""
    torch.manual_seed(seed)
    network = CardioV(CardioVConfig(**model)).eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the mean over all pieces
    settling = np.random.default_rng(seed).permutation(train)[:SETTLING]
    _pooled(network, cache, settling)
    network.eval()
    return _pooled(network, cache, np.arange(len(cache.ecg_ids)))


def _pooled(network, cache, rows):
    pieces = in_pieces(rows, BATCH)
    pooled = [network.features(torch.from_numpy(cache.read(piece))).mean((2, 3)) for piece in pieces]
    return torch.cat(pooled).double().numpy()
