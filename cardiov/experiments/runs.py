"""Further training runs, which a YAML file lists: the best recipe, each of its ideas, other losses, fewer records.

The file (``notebooks/params/<name>/experiments.yaml``) holds the sampling rate, a recipe and the runs::

    rate: 100
    recipe: {...}              # fields of `cardiov.training.config.TrainingConfig`
    runs:                      # name: seeds, and what differs from the recipe
      best: {seeds: [0, 1, 2]}
      method-coral: {seeds: [0, 1, 2], objective: coral}

Each run leaves predictions, history and provenance in ``results/<dataset>/runs/<name>-<seed>`` and its weights in
``build/<dataset>/studies``.
"""

import multiprocessing
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from cardiov.analysis.metrics import SCORES
from cardiov.data.cache import cache_at
from cardiov.data.ptbxl import read_metadata
from cardiov.errors import ParameterError
from cardiov.objectives import decode_outputs
from cardiov.store.results import build_dir, read_provenance, results_dir
from cardiov.training.config import TrainingConfig
from cardiov.training.run import fit

KEYS = {"rate", "recipe", "runs"}


def read_runs(parameters: dict) -> dict[str, TrainingConfig]:
    """The runs that a file of experiments lists, by name and seed, such as "best-0".

    Parameters
    ----------
    parameters : dict
        Content of the file.

    Returns
    -------
    dict of str to TrainingConfig
        In the file's order.

    Raises
    ------
    ParameterError
        If something is missing or unknown.
    """
    if set(parameters) != KEYS or not all(isinstance(run, dict) and run.get("seeds") for run in parameters["runs"].values()):
        raise ParameterError(f"a file of experiments holds {', '.join(sorted(KEYS))}, and seeds for each run: correct it.")
    known = {field.name for field in fields(TrainingConfig)}
    runs = {}
    for name, run in parameters["runs"].items():
        settings = parameters["recipe"] | {key: value for key, value in run.items() if key != "seeds"}
        if unknown := sorted(set(settings) - known):
            raise ParameterError(f"the run {name} sets {', '.join(unknown)}: take fields of TrainingConfig.")
        runs |= {f"{name}-{seed}": TrainingConfig(**settings | {"seed": seed}) for seed in run["seeds"]}
    return runs


def train_runs(parameters: dict, data, dataset: str) -> None:
    """Train every run of a file of experiments that is not finished, one a core, or one by one where there is a GPU.

    A run computes on one thread, so what comes out does not depend on the number of cores.

    Parameters
    ----------
    parameters : dict
        Content of the file, see `read_runs`.
    data : path
        Folder in PTB-XL's layout.
    dataset : str
        Names the folders of the results.

    Raises
    ------
    ParameterError
        As `read_runs`.
    """
    runs = read_runs(parameters)
    cache = cache_at(data, build_dir(dataset), parameters["rate"])
    metadata = read_metadata(data).loc[cache.ecg_ids]
    workers = 1 if torch.cuda.is_available() else os.cpu_count()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_begin_worker) as pool:
        jobs = [pool.submit(_train, config, cache, metadata, dataset, run) for run, config in runs.items()]
        try:
            for job in tqdm(as_completed(jobs), total=len(jobs), unit=" runs", desc="training"):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin_worker():
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()  # a killed parent cannot tell its workers to stop
    os._exit(1)


def _train(config, cache, metadata, dataset, run):
    # many runs at once would print into each other; their histories tell
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        fit(config, cache, metadata, weights_path(dataset, run).parent, results_dir(dataset) / "runs" / run)


def weights_path(dataset: str, run: str) -> Path:
    """Where a run of a study leaves its weights."""
    return build_dir(dataset) / "studies" / run / "weights.safetensors"


def settings(dataset: str, run: str) -> dict:
    """Configuration of a stored run but for its seed, the network's fields beside the others.

    Raises
    ------
    DataSetError
        If there is no such run.
    """
    config = read_provenance(dataset, run)["run"]["config"]
    return {name: value for name, value in (config | config.pop("model")).items() if name != "seed"}


def ensemble(runs: Mapping[int, pd.DataFrame], objective: str = "ordinal") -> pd.DataFrame:
    """Predictions of several networks together: their outputs averaged, then decoded.

    Parameters
    ----------
    runs : mapping of int to DataFrame
        Predictions of the same records in the same order, from `cardiov.store.results.read_seeds`.
    objective : str
        Of `cardiov.objectives.OBJECTIVES`.

    Returns
    -------
    DataFrame
        As of one run.
    """
    first, *_ = runs.values()
    columns = list(first.filter(regex=r"^output_\d+$"))
    outputs = torch.tensor(sum(run[columns].to_numpy() for run in runs.values()) / len(runs))  # (N, outputs)
    scores, predicted = decode_outputs(outputs, objective)
    together = first.assign(predicted=predicted.numpy())
    together[columns], together[SCORES] = outputs.numpy(), scores.numpy()
    return together
