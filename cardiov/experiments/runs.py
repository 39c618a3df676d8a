"""Every training of a data set: declared in one YAML file, run by one command.

The file (``notebooks/params/<data set>/runs.yaml``) holds recipes and runs::

    recipes:
      paper: {rate: 500, model: {}, ...}       # rate in Hz, and fields of `cardiov.training.config.TrainingConfig`
    runs:
      ordinal: {recipe: paper, seeds: [0, 1]}  # and what differs from the recipe
      ordinal-fold: {recipe: paper, seeds: [0], folds: [1, 2]}  # ordinal-fold1-0 tests fold 1, and fold 10 chooses; and so on
      member-fold: {recipe: paper, seeds: [0], folds: [1, 2], without: [9, 10]}  # in which folds 9 and 10 have no part

Each run leaves predictions, history and provenance in ``results/<data set>/runs/<name>-<seed>`` and its weights in
``build/<data set>/runs/<name>-<seed>``.
"""

import json
import multiprocessing
import os
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from cardiov.analysis.metrics import SCORES
from cardiov.data.cache import cache_at
from cardiov.data.ptbxl import read_metadata, splits
from cardiov.errors import ParameterError
from cardiov.objectives import decode_outputs
from cardiov.store.parameters import check_names, read_parameters
from cardiov.store.results import FOLDS, build_dir, read_out_of_fold, read_predictions, read_provenance, run_dir
from cardiov.training.batches import TEACHER
from cardiov.training.config import TrainingConfig, completed, statements_settings
from cardiov.training.devices import chosen_precision
from cardiov.training.run import fit

KNOWN = {field.name for field in fields(TrainingConfig)} - {"seed"}  # settings of a run, besides those of `_checked`
WRITTEN = ("predictions.csv", "history.csv", "provenance.json")  # of a run, in its folder of results


class Run(NamedTuple):
    """One training of one network."""

    rate: float  # of the signals, in Hz
    config: TrainingConfig
    tested: int = FOLDS[-1]  # fold of the test split; the fold before it is the validation split
    without: tuple[int, ...] = ()  # folds that have no part


def read_runs(path) -> dict[str, Run]:
    """The runs of a file, by name and seed, such as "best-0"; a `ParameterError` if something is missing or unknown."""
    declared = {"recipes": {}, "runs": {}} | read_parameters(path, {"recipes", "runs"})
    runs = {}
    for name, run in declared["runs"].items():
        settings = _checked(f"the run {name} of {path}", run, declared["recipes"])
        chosen = {key: value for key, value in settings.items() if key in KNOWN}
        for fold, seed in product(settings.get("folds", [None]), run["seeds"]):
            config = TrainingConfig(**chosen, seed=seed)
            runs[f"{name}{fold or ''}-{seed}"] = Run(settings["rate"], config, fold or FOLDS[-1], tuple(settings.get("without", ())))
    _check_teachers(path, runs)
    return runs


def _check_teachers(path, runs):
    """Each network that teaches predicts a fold that trains, and has seen neither this fold nor those of the choice and the test."""
    for name, run in runs.items():
        training = _training_folds(run.tested)
        withheld = [fold for fold in FOLDS if fold not in training]
        for teacher, fold in product(run.config.teachers, training):
            member = runs.get(f"{teacher}-fold{fold}-0")
            if member is None or sorted(member.without) != withheld:
                folds = "it needs a run of seed 0 for each training fold, without folds {} and {}".format(*withheld)
                raise ParameterError(f"the run {name} of {path} cannot be taught by {teacher}: {folds}.")


def _training_folds(tested):
    return [fold for fold, split in zip(FOLDS, splits(np.array(FOLDS), tested), strict=True) if split == "train"]


def _checked(where, run, recipes):
    """The settings of a run, those of its recipe among them."""
    if not isinstance(run, dict) or not run.get("seeds") or run.get("recipe") not in recipes:
        raise ParameterError(f"{where} lacks seeds, or a recipe of the same file: add them.")
    settings = recipes[run["recipe"]] | run
    check_names(where, settings, KNOWN | {"rate", "recipe", "seeds", "folds", "without"})
    if "rate" not in settings:
        raise ParameterError(f"{where} lacks a rate: add it to the recipe, in Hz.")
    if not set(settings.get("folds", FOLDS[-1:])) <= set(FOLDS) - set(settings.get("without", [])):
        raise ParameterError(f"{where} tests folds that there are not, or that have no part: give others of 1 to 10.")
    return settings


def train_runs(runs: Mapping[str, Run], data, dataset: str) -> list[Path]:
    """Train every run that is not finished: one per core, one after another on a GPU, or all processes of torchrun on each.

    A run computes on one thread, so its numbers do not depend on the number of cores. Returns the files of all runs; weights
    are listed where they are, for a run whose predictions are stored is finished.
    """
    places = {name: (weights_path(dataset, name).parent, run_dir(dataset, name)) for name in runs}
    for taught in (False, True):  # by runs that are trained before
        if part := {name: run for name, run in runs.items() if bool(run.config.teachers) == taught}:
            _train(part, places, data, dataset)
    written = [run_dir(dataset, name) / file for name in runs for file in WRITTEN]
    return [*written, *filter(Path.exists, (weights_path(dataset, name) for name in runs))]


def retrain(runs: Mapping[str, Run], names: Sequence[str], data, dataset: str) -> dict[str, Path]:
    """Train each of the named runs once more with a new seed, the same for all; the folder of each name's predictions.

    What the trainings leave is in ``build/<data set>/retrained``, beside what is published.
    """
    seed = 1 + max(run.config.seed for name, run in runs.items() if name.rpartition("-")[0] in names)
    new = {}
    for name in names:
        run = next(run for known, run in runs.items() if known.rpartition("-")[0] == name)
        new[name] = run._replace(config=replace(run.config, seed=seed))
    folders = {name: build_dir(dataset) / "retrained" / f"{name}-{seed}" for name in names}
    _train(new, {name: (folder, folder) for name, folder in folders.items()}, data, dataset)
    return folders


def _train(runs, places, data, dataset):
    caches = {rate: cache_at(data, build_dir(dataset), rate) for rate in {run.rate for run in runs.values()}}
    metadata, jobs = read_metadata(data), []
    for name, run in runs.items():
        chosen_precision(run.config.precision)  # which says its choice here, for the workers are silent
        cache = caches[run.rate]
        of_cache = metadata.loc[cache.ecg_ids]
        if run.config.teacher_weight:
            of_cache = of_cache.join(read_teacher(dataset, run.tested, run.config.teachers))
        of_cache = of_cache.assign(split=splits(of_cache["fold"], run.tested, run.without))
        jobs.append((run.config, cache, of_cache, *places[name]))
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        for job in jobs:
            fit(*job)
    else:
        _train_in_pool(jobs, list(runs.values()), 1 if torch.cuda.is_available() else os.cpu_count())


def teacher_of(tested: int) -> str:
    """The name of the predictions that teach networks which test this fold (`cardiov.experiments.baselines.write_teachers`)."""
    return "teacher" if tested == FOLDS[-1] else f"teacher-fold{tested}"


def read_teacher(dataset: str, tested: int = FOLDS[-1], networks: Sequence[str] = ()) -> pd.DataFrame:
    """A teacher's probabilities of the records that train where a fold is tested, by ``ecg_id``: boosting's, or a mean.

    The mean is of boosting and of networks, such as "member" for ``member-fold1-0`` and so on, each of which predicts records that
    it has not seen.
    """
    boosting = read_predictions(dataset, teacher_of(tested)).set_index("ecg_id")[SCORES]
    tables = [read_out_of_fold(dataset, name, folds=_training_folds(tested)).set_index("ecg_id") for name in networks]
    probabilities = sum((table.loc[boosting.index, SCORES] for table in tables), boosting) / (1 + len(tables))
    return probabilities.set_axis(TEACHER, axis=1)


def _train_in_pool(jobs, runs, workers):
    context = multiprocessing.get_context("spawn")
    epochs = context.SimpleQueue()  # not a Queue, whose last reports may come after a worker's result
    progress = threading.Thread(target=_show_progress, args=(epochs, runs), daemon=True)
    progress.start()
    with ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(epochs,)) as pool:
        futures = [pool.submit(_fit_in_worker, number, job) for number, job in enumerate(jobs)]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            epochs.put(None)
            progress.join()


def _show_progress(epochs, runs):
    """One line for all runs: their epochs as they end, from a queue of (number of the run, its epochs so far, None for all).

    Runs that learn the statements alike share this phase, so its epochs count once.
    """
    totals, shared = [sum(count for _, count in run.config.phases) for run in runs], [_statements(run) for run in runs]
    total = sum(totals) - sum(count for _, count in shared) + sum(dict(shared).values())
    done = Counter()  # epochs, by shared phase, and by number of the run
    with tqdm(total=total, unit=" epochs", desc=f"training {len(totals)} networks", smoothing=0) as bar:
        while (report := epochs.get()) is not None:
            number, count = report
            count = totals[number] if count is None else count
            phase, of_phase = shared[number]
            done[phase] = max(done[phase], min(count, of_phase))
            done[number] = max(0, count - of_phase)
            bar.update(done.total() - bar.n)


def _statements(run):
    """What decides a run's statements phase, as text, and its epochs."""
    return json.dumps([run.rate, run.tested, statements_settings(run.config)]), run.config.statements_epochs


def _begin_worker(epochs):
    global _epochs
    _epochs = epochs
    sys.stdout = sys.stderr = open(os.devnull, "w")  # several runs at once would print into each other
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _fit_in_worker(number, job):
    fit(*job, on_epoch=lambda count: _epochs.put((number, count)))
    _epochs.put((number, None))


def _end_with_parent():
    multiprocessing.parent_process().join()  # a killed parent cannot tell its workers to stop
    os._exit(1)


def weights_path(dataset: str, run: str) -> Path:
    """Where a run leaves its weights."""
    return build_dir(dataset) / "runs" / run / "weights.safetensors"


def settings(dataset: str, run: str) -> dict:
    """Configuration of a stored run without its seed, the network's fields beside the others."""
    config = completed(read_provenance(dataset, run)["run"])["config"]
    return {name: value for name, value in (config | config.pop("model")).items() if name != "seed"}


def ensemble(runs: Mapping[int, pd.DataFrame], objective: str = "ordinal") -> pd.DataFrame:
    """Predictions of an ensemble: the networks' outputs averaged, then decoded.

    The runs are predictions of the same records in the same order, as `cardiov.store.results.read_seeds` gives them.
    """
    first, *_ = runs.values()
    columns = list(first.filter(like="output_"))
    outputs = torch.tensor(sum(run[columns].to_numpy() for run in runs.values()) / len(runs))  # (N, outputs)
    scores, predicted = decode_outputs(outputs, objective)
    combined = first.assign(predicted=predicted.numpy())
    combined[columns], combined[SCORES] = outputs.numpy(), scores.numpy()
    return combined
