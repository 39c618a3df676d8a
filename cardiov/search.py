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
import os
import sys
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest, bootstrap, ks_2samp, mannwhitneyu
from tqdm import tqdm

from cardiov.errors import DataSetError, ParameterError
from cardiov.evaluation import CLASSES, metrics
from cardiov.model import CardioV, CardioVConfig
from cardiov.ptbxl import cache_at, read_metadata
from cardiov.results import build_dir, check_writable, existing, provenance, replacing, results_dir, save_table
from cardiov.training import TrainingConfig, fit, source_digest

SPACES = {
    "any": "every stage has its own width and depth",
    "growing": "widths and depths never fall from one stage to the next (RegNet's AnyNetX_E)",
}
STAGES = 7  # as in the paper
REMEDY = "give notebook 10 a data folder"  # where there is no stored search
SEARCHED = ("depths", "widths", "group_width", "kernel", "squeeze_excitation")
LEAST = 0.75  # of the budget's multiply-adds, so that networks of a like cost are compared
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
    max_multiply_adds: int  # and `LEAST` of it at least
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


# Sampling


def count(model, samples):
    """Parameters and multiply-adds of a network, read off its modules without memory for its weights.

    Parameters
    ----------
    model : dict
        Fields of CardioVConfig.
    samples : int
        Length of the input.

    Returns
    -------
    dict
        ``parameters`` and ``multiply_adds``.
    """
    with torch.device("meta"):
        table = pd.DataFrame(CardioV(CardioVConfig(**model)).stage_table(samples))
    return table[["parameters", "multiply_adds"]].sum().to_dict()


def grows(model):
    """Whether widths and depths never fall from one stage to the next, which makes it of the space "growing"."""
    config = CardioVConfig(**model)
    return all(list(numbers) == sorted(numbers) for numbers in (config.widths, config.depths))


def within(counts, settings):
    """Whether the counts of `count` obey the budget."""
    cost, most = counts["multiply_adds"], settings.max_multiply_adds
    return counts["parameters"] <= settings.max_parameters and LEAST * most <= cost <= most


def sample(space, settings, samples):
    """Draw networks from a design space, by rejection of those outside the budget; none comes twice.

    Parameters
    ----------
    space : str
        One of `SPACES`.
    settings : Settings
    samples : int
        Length of the input, on which multiply-adds depend.

    Returns
    -------
    list of dict
        Fields of CardioVConfig. They depend on the settings, not on the machine.

    Raises
    ------
    ParameterError
        If the space is unknown, or so few of its networks obey the budget that none is found in `TRIES` draws.
    """
    if space not in SPACES:
        raise ParameterError(f"there is no design space {space!r}: choose among {', '.join(SPACES)}.")
    rng = np.random.default_rng([settings.seed, list(SPACES).index(space)])
    found = []
    while len(found) < settings.models:
        found.append(_sample_one(rng, space, settings, samples, found))
    return found


def _sample_one(rng, space, settings, samples, found):
    for _ in range(TRIES):
        model = _draw(rng, space, settings) | {"squeeze_excitation": len(found) % 2 == 0}
        if model not in found and within(count(model, samples), settings):
            return model
    raise ParameterError(
        f"{TRIES} draws from the space {space!r} gave no further network with at most {settings.max_parameters:,} "
        f"parameters and {LEAST * settings.max_multiply_adds:,.0f} to {settings.max_multiply_adds:,} multiply-adds at "
        f"{samples:,} samples: change max_parameters, max_multiply_adds, max_width or max_depth."
    )


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


# Training


def search(settings, data, dataset):
    """Sample, train and validate all networks of a search, or finish one that was interrupted.

    Each network leaves its run in ``build/<dataset>/search``, where it is found again by its configuration; what comes
    of them all goes to ``results/<dataset>/search.csv`` (see `train_models`) and the settings to
    ``results/<dataset>/runs/search/provenance.json``.

    Parameters
    ----------
    settings : Settings
    data : Path
        Folder in PTB-XL's layout.
    dataset : str
        Names the folders of the results.

    Raises
    ------
    ParameterError
        If the budget cannot be met.
    DataSetError
        If the validation split lacks a critical value, which leaves the mean AUC undefined.
    """
    check_writable(_provenance_path(dataset).parent)
    cache = cache_at(data, build_dir(dataset), settings.rate)
    metadata = read_metadata(data).loc[cache.ecg_ids]
    models = train_models(settings, cache, metadata, build_dir(dataset) / "search")
    run = {"config": asdict(settings), "data": cache.digest[:16], "code": source_digest()}
    about = {"run": run, "seconds": round(models.pop("seconds").sum(), 1), **provenance()}
    save_table(models, dataset, "search")
    with replacing(_provenance_path(dataset)) as temporary:
        temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def train_models(settings, cache, metadata, folder):
    """Train the networks of all spaces and the reference, all alike, and validate them.

    Parameters
    ----------
    settings : Settings
    cache : ptbxl.Cache
    metadata : DataFrame
        Of `ptbxl.read_metadata`, one row for each record of the cache in its order.
    folder : Path
        Keeps one run a network.

    Returns
    -------
    DataFrame
        One row a network: ``role`` ("sampled" or "reference"), ``space``, ``seed``, the configuration (`SEARCHED`),
        ``parameters``, ``multiply_adds``, ``error`` (1 - mean AUC on the validation split), ``mae`` (there) and
        ``seconds`` of training.
    """
    # fit predicts what is called "test"; held out under another name, its signals are never read
    metadata = metadata.assign(split=metadata["split"].replace("test", "held out"))
    _check_validation(metadata)
    candidates = _candidates(settings, cache.shape[2])
    rows = []
    for candidate in tqdm(candidates, desc="networks"):
        counts = count(candidate["model"], cache.shape[2])
        outcome = _train(settings, candidate, cache, metadata, Path(folder))
        rows.append(_row(candidate) | counts | outcome)
    return pd.DataFrame(rows)


def _check_validation(metadata):
    present = set(metadata.loc[metadata["split"] == "validation", "critical_value"])
    if absent := sorted(set(CLASSES) - present):
        raise DataSetError(
            f"the validation split (fold 9) has no record of critical value {', '.join(map(str, absent))}, so the mean "
            "AUC of a network is undefined: search on a larger data set."
        )


def _candidates(settings, samples):
    """All networks to train: the reference with each of its seeds, then those sampled from each space."""
    reference, seeds = dict(settings.reference), range(settings.seed, settings.seed + settings.reference_seeds)
    space = "growing" if grows(reference) else "any"
    found = [{"role": "reference", "space": space, "seed": seed, "model": reference} for seed in seeds]
    for space in SPACES:
        sampled = {"role": "sampled", "space": space, "seed": settings.seed}
        found += [{**sampled, "model": model} for model in sample(space, settings, samples)]
    return found


def _row(candidate):
    """What identifies a network in the table: stages joined by spaces, as in "2 2 2 3 3 4 4"."""
    config = asdict(CardioVConfig(**candidate["model"]))
    identity = {name: candidate[name] for name in ("role", "space", "seed")}
    stages = {name: " ".join(map(str, config[name])) for name in ("depths", "widths")}
    return identity | {name: config[name] for name in SEARCHED} | stages


def _train(settings, candidate, cache, metadata, folder):
    """Train one network, unless it is trained already; its error, MAE and seconds."""
    shared = ("batch_size", "micro_batch", "learning_rate", "weight_decay", "precision")
    config = TrainingConfig(
        **{name: getattr(settings, name) for name in shared}, seed=candidate["seed"], model=candidate["model"],
        pretrain_epochs=0, finetune_epochs=settings.epochs, schedule="one-cycle",
    )  # fmt: skip
    folder = folder / hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:16]
    with redirect_stdout(sys.stderr):  # progress is no result of a notebook
        history = fit(config, cache, metadata, folder, folder)
    os.truncate(folder / "weights.safetensors", 0)  # only its name is needed, to recognise the run as finished
    found = metrics(pd.read_csv(folder / "predictions.csv"))
    return {"error": 1 - found["auc_mean"], "mae": found["mae"], "seconds": history["seconds"].sum()}


# Reading and comparing


def read_models(dataset):
    """The networks of a stored search, see `train_models`.

    Raises
    ------
    DataSetError
        If there is none.
    """
    return pd.read_csv(existing(results_dir(dataset) / "search.csv", REMEDY))


def read_settings(dataset):
    """The settings of a stored search.

    Raises
    ------
    DataSetError
        If there is none.
    """
    path = existing(_provenance_path(dataset), REMEDY)
    return Settings(**json.loads(path.read_text(encoding="utf-8"))["run"]["config"])


def _provenance_path(dataset):
    return results_dir(dataset) / "runs" / "search" / "provenance.json"


def error_distribution(errors, at):
    """Error distribution function of a sample of networks (Radosavovic et al. 2020, Eq. 1).

    Parameters
    ----------
    errors : array-like, shape (n,)
    at : array-like, shape (m,)
        Errors e to evaluate it at.

    Returns
    -------
    DataFrame
        ``error`` (e), ``share`` F(e) of networks with an error below e, and ``low`` and ``high``, its exact 95 %
        interval (Clopper-Pearson) at this e alone, over the choice of networks.
    """
    errors = np.asarray(errors)
    return pd.DataFrame([{"error": e, **_share((errors < e).sum(), len(errors))} for e in at])


def _share(k, n):
    """k of n as a share, with its exact 95 % interval."""
    low, high = binomtest(int(k), n).proportion_ci()
    return {"share": k / n, "low": low, "high": high}


def error_distributions(models):
    """The error distributions of the spaces, and of the sampled networks with and without squeeze-excitation.

    Parameters
    ----------
    models : DataFrame
        Of `read_models`.

    Returns
    -------
    DataFrame
        As `error_distribution`, from just below the least to just above the greatest error of all networks, the
        reference too, with ``panel`` and ``group``, by which it is sorted.
    """
    margin = 0.03 * np.ptp(models["error"])
    at = np.unique([*models["error"], models["error"].min() - margin, models["error"].max() + margin])
    sampled = models[models["role"] == "sampled"]
    gated = sampled["squeeze_excitation"].map({True: "with", False: "without"})
    found = {
        (panel, f"{group} (n = {len(errors)})"): error_distribution(errors, at)
        for panel, groups in (("design space", sampled["space"]), ("squeeze-excitation", gated))
        for group, errors in sampled["error"].groupby(groups)
    }
    return pd.concat(found, names=["panel", "group"]).droplevel(-1).reset_index()


def summary(models):
    """Errors of the sampled networks, a row a space and one for all, beside the reference's mean error over its seeds.

    Parameters
    ----------
    models : DataFrame
        Of `read_models`.

    Returns
    -------
    DataFrame
        By ``space``: ``n``, ``best``, ``median`` and ``worst`` error, ``share`` of networks with an error below the
        reference's, with its exact 95 % interval ``low`` to ``high`` over the choice of networks.
    """
    reference = models.loc[models["role"] == "reference", "error"].mean()
    sampled = models[models["role"] == "sampled"]
    errors = {"all": sampled["error"], **dict(list(sampled.groupby("space")["error"]))}
    rows = {
        space: {"n": len(e), "best": e.min(), "median": e.median(), "worst": e.max()}
        | _share((e < reference).sum(), len(e))
        for space, e in errors.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("space")


def compare(first, second, resamples=1000, seed=0):
    """Whether one sample of errors is lower than another.

    Parameters
    ----------
    first, second : array-like of float
        Errors of independent networks, two or more each.
    resamples, seed : int
        Of the bootstrap over networks.

    Returns
    -------
    dict
        ``difference`` of the medians, first - second, with its 95 % percentile bootstrap interval ``low`` to ``high``;
        ``first_lower``, the chance that a network of the first has a lower error than one of the second, ties counting
        one half, and ``p`` of its Mann-Whitney test; ``ks_p`` of the Kolmogorov-Smirnov test.
    """
    settings = {"n_resamples": resamples, "rng": seed, "method": "percentile"}
    interval = bootstrap((first, second), _median_difference, **settings).confidence_interval
    rank_test = mannwhitneyu(second, first)
    return {
        "difference": _median_difference(first, second),
        "low": interval.low,
        "high": interval.high,
        "first_lower": rank_test.statistic / (len(first) * len(second)),
        "p": rank_test.pvalue,
        "ks_p": ks_2samp(first, second).pvalue,
    }


def _median_difference(first, second, axis=-1):
    return np.median(first, axis=axis) - np.median(second, axis=axis)


def comparisons(models, resamples=1000):
    """`compare` of the space "growing" with "any", and of squeeze-excitation with none, over the sampled networks."""
    sampled = models[models["role"] == "sampled"]
    error, space, gated = sampled["error"], sampled["space"], sampled["squeeze_excitation"]
    pairs = {
        "growing - any": (error[space == "growing"], error[space == "any"]),
        "with - without squeeze-excitation": (error[gated], error[~gated]),
    }
    rows = {name: compare(*pair, resamples=resamples) for name, pair in pairs.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("comparison")
