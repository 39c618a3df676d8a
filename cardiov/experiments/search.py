"""Architecture search in the manner of RegNet: design spaces compared by the errors of networks sampled from them.

The paper's network "is designed with the neural architecture space searching technique" of Radosavovic et al.,
*Designing Network Design Spaces* (CVPR 2020, arXiv:2003.13678), and says no more. That technique compares not single
networks but *spaces*: it samples networks of equal cost from each, trains them briefly and alike, and compares the
distributions of their errors.

Where this differs from RegNet: the widths' range, the kernels and the number of networks are those of `Settings`, which
suit ECGs and the machine; the error is 1 - mean AUC, because the four critical values are not equally common. The test
split takes no part: no network here reads its signals.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from cardiov.analysis.metrics import metrics
from cardiov.data.cache import cache_at
from cardiov.data.ptbxl import read_metadata
from cardiov.errors import DataSetError, ParameterError
from cardiov.mapping import CLASSES
from cardiov.model import CardioV, CardioVConfig
from cardiov.store.files import check_writable, read_note, write_note
from cardiov.store.parameters import read_parameters
from cardiov.store.provenance import provenance
from cardiov.store.results import NO_SEARCH, build_dir, existing, results_dir, search_provenance_path, write_table
from cardiov.training.config import VERSION, TrainingConfig
from cardiov.training.run import fit

SPACES = {
    "any": "every stage has its own width and depth",
    "growing": "widths and depths never fall from one stage to the next (RegNet's AnyNetX_E)",
}
STAGES = 7  # as in the paper
SEARCHED = ("depths", "widths", "group_width", "kernel", "squeeze_excitation")
LOWEST_SHARE = 0.75  # of the budget's multiply-adds, so that networks of similar cost are compared
TRIES = 500  # draws in a row outside the budget after which it counts as impossible


@dataclass(frozen=True)
class Settings:
    """The spaces, the budget and the brief training; what is not searched (stem, dropout) is the reference's."""

    rate: float  # of the signals, in Hz
    models: int  # networks a space; every other one has squeeze-excitation
    epochs: int  # of the ordinal loss, for each network
    reference: dict  # fields of CardioVConfig of the paper's network, or of its narrow version
    reference_seeds: int  # how often the reference is trained
    max_parameters: int
    max_multiply_adds: int  # and at least `LOWEST_SHARE` of it
    max_width: int  # channels; widths are log-uniform multiples of the group width
    max_depth: int  # blocks a stage, from 1
    kernels: tuple
    group_widths: tuple
    batch_size: int
    micro_batch: int
    learning_rate: float
    weight_decay: float
    precision: str = "32-true"
    seed: int = 0  # of the sampling and of the training

    def __post_init__(self):
        for name in ("kernels", "group_widths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.models < 2 or self.epochs < 1 or self.reference_seeds < 1:
            raise ParameterError(
                f"models = {self.models}, epochs = {self.epochs} and reference_seeds = {self.reference_seeds} make no "
                "search: give at least 2 models, 1 epoch and 1 seed."
            )


def count(model, samples):
    """``parameters`` and ``multiply_adds`` of a network (fields of CardioVConfig) on so many samples, without its weights."""
    with torch.device("meta"):
        table = pd.DataFrame(CardioV(CardioVConfig(**model)).stage_table(samples))
    return table[["parameters", "multiply_adds"]].sum().to_dict()


def grows(model):
    """Whether a network belongs to the space "growing"."""
    config = CardioVConfig(**model)
    return all(list(numbers) == sorted(numbers) for numbers in (config.widths, config.depths))


def within(counts, settings):
    """Whether the counts of `count` obey the budget."""
    cost, most = counts["multiply_adds"], settings.max_multiply_adds
    return counts["parameters"] <= settings.max_parameters and LOWEST_SHARE * most <= cost <= most


def sample(space, settings, samples):
    """Draw different networks (fields of CardioVConfig) within the budget from one of `SPACES`, for inputs of so many samples.

    They depend on the settings, not on the machine. A `ParameterError` if `TRIES` draws in a row miss the budget.
    """
    rng, models = np.random.default_rng([settings.seed, list(SPACES).index(space)]), []
    for i in range(settings.models):
        draws = (_draw(rng, space, settings) | {"squeeze_excitation": i % 2 == 0} for _ in range(TRIES))
        model = next((draw for draw in draws if draw not in models and within(count(draw, samples), settings)), None)
        if model is None:
            raise ParameterError(
                f"{TRIES} draws from the space {space!r} gave no further network with at most {settings.max_parameters:,} parameters "
                f"and {LOWEST_SHARE * settings.max_multiply_adds:,.0f} to {settings.max_multiply_adds:,} multiply-adds at "
                f"{samples:,} samples: change max_parameters, max_multiply_adds, max_width or max_depth."
            )
        models.append(model)
    return models


def _draw(rng, space, settings):
    """One network of the space, whatever it costs."""
    group = int(rng.choice(settings.group_widths))
    groups = np.exp(rng.uniform(0, np.log(settings.max_width // group + 1), STAGES)).astype(int)  # log-uniform, from 1
    depths = rng.integers(1, settings.max_depth + 1, STAGES)
    if space == "growing":
        groups, depths = np.sort(groups), np.sort(depths)
    drawn = {"depths": depths.tolist(), "widths": (group * groups).tolist(), "group_width": group}
    fixed = {name: value for name, value in settings.reference.items() if name not in SEARCHED}
    return fixed | drawn | {"kernel": int(rng.choice(settings.kernels))}


def read_search(path) -> Settings:
    """The settings of a search, from a YAML file with the fields of `Settings`; a `ParameterError` if one is missing or unknown."""
    settings = read_parameters(path, {field.name for field in fields(Settings)})
    try:
        return Settings(**settings)
    except TypeError as error:
        raise ParameterError(f"{path} is incomplete ({error}): add what is missing.") from error


def search_networks(settings, data, dataset):
    """Sample, train and validate all networks of a search, or finish an interrupted one; a stored one is not repeated.

    Returns the files, ``search.csv`` (of `train_models`) and the settings, in ``results/<dataset>``.
    """
    note, table = search_provenance_path(dataset), results_dir(dataset) / "search.csv"
    check_writable(note.parent)
    cache = cache_at(data, build_dir(dataset), settings.rate)
    run = {"config": asdict(settings), "data": cache.digest[:16], "version": VERSION}
    if not table.exists() or read_note(note).get("run") != json.loads(json.dumps(run)):
        metadata = read_metadata(data).loc[cache.ecg_ids]
        models = train_models(settings, cache, metadata, build_dir(dataset) / "search")
        seconds = round(models.pop("seconds").sum(), 1)
        write_table(models, table, "%.6g")
        write_note(note, {"run": run, "seconds": seconds, **provenance()})
    return [table, note]


def train_models(settings, cache, metadata, folder):
    """Train and validate the reference and the networks of all spaces; the folder keeps one run per network.

    A `DataSetError` if the validation split lacks a critical value, so that the mean AUC is undefined.

    Returns
    -------
    DataFrame
        One row per network: ``role`` ("sampled" or "reference"), ``space``, ``seed``, the configuration (`SEARCHED`),
        ``parameters``, ``multiply_adds``, ``error`` (1 - mean AUC on the validation split), ``mae`` on that split and
        ``seconds`` of training.
    """
    # fit predicts what is called "test"; held out under another name, its signals are never read
    metadata = metadata.assign(split=metadata["split"].replace("test", "held out"))
    _check_validation(metadata)
    samples, rows = cache.shape[2], []
    for role, space, seed, model in tqdm(_candidates(settings, samples), desc="networks"):
        config = asdict(CardioVConfig(**model))
        row = {"role": role, "space": space, "seed": seed, **{name: config[name] for name in SEARCHED}}
        row |= {name: " ".join(map(str, config[name])) for name in ("depths", "widths")}  # such as "2 2 2 3 3 4 4"
        rows.append(row | count(model, samples) | _train(settings, seed, model, cache, metadata, Path(folder)))
    return pd.DataFrame(rows)


def _check_validation(metadata):
    if absent := sorted(set(CLASSES) - set(metadata.query("split == 'validation'")["critical_value"])):
        raise DataSetError(
            f"the validation split (fold 9) has no record of critical value {', '.join(map(str, absent))}, so the mean "
            "AUC of a network is undefined: search on a larger data set."
        )


def _candidates(settings, samples):
    """(role, space, seed, model) of the reference with each of its seeds, then of the networks sampled from each space."""
    space = "growing" if grows(settings.reference) else "any"
    seeds = range(settings.seed, settings.seed + settings.reference_seeds)
    sampled = [(space, model) for space in SPACES for model in sample(space, settings, samples)]
    return [
        *(("reference", space, seed, settings.reference) for seed in seeds),
        *(("sampled", space, settings.seed, model) for space, model in sampled),
    ]


def _train(settings, seed, model, cache, metadata, folder):
    """Train one network, unless it is trained already; its error, MAE and seconds."""
    shared = ("batch_size", "micro_batch", "learning_rate", "weight_decay", "precision")
    config = TrainingConfig(
        **{name: getattr(settings, name) for name in shared}, seed=seed, model=model, pretrain_epochs=0,
        finetune_epochs=settings.epochs, schedule="one-cycle",
    )  # fmt: skip
    folder = folder / hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:16]
    history = fit(config, cache, metadata, folder, folder)
    (folder / "weights.safetensors").unlink(missing_ok=True)  # its predictions are enough
    scores = metrics(pd.read_csv(folder / "predictions.csv"))
    return {"error": 1 - scores["auc_mean"], "mae": scores["mae"], "seconds": history["seconds"].sum()}


def read_settings(dataset):
    """The settings of a stored search."""
    path = existing(search_provenance_path(dataset), NO_SEARCH)
    return Settings(**json.loads(path.read_text(encoding="utf-8"))["run"]["config"])
