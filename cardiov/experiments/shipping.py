"""The shipped model: chosen on fold 9, written with all that scoring an ECG takes, and described by a model card."""

from pathlib import Path

import pandas as pd

from cardiov import mapping
from cardiov.analysis.metrics import SCORES
from cardiov.analysis.probabilities import calibrated
from cardiov.analysis.resampling import bootstrap
from cardiov.data.ptbxl import VERSIONS
from cardiov.ecg.filters import BAND, ORDER
from cardiov.ecg.leads import LEADS
from cardiov.errors import ParameterError
from cardiov.experiments.runs import weights_path
from cardiov.model import CardioV
from cardiov.scoring.calibration import conformal_level, fit_temperature
from cardiov.store import results
from cardiov.store.files import replacing, shown
from cardiov.store.templates import templates

RECIPE = "best"  # the name of the runs among which one is chosen
COVERAGES = (0.8, 0.9, 0.95)
LARGEST = 16 * 10**6  # bytes
CARD_METRICS = {
    "auc_mean": "mean AUC", **{f"auc_{k}": f"AUC of critical value {k} ({name})" for k, name in enumerate(mapping.LEVELS)},
    "mae": "mean absolute error", "macro_mae": "mean absolute error, each critical value alike", "accuracy": "accuracy",
    "kappa": "quadratically weighted kappa", "error_2_or_more": "share of errors of two steps or more",
    "rps": "ranked probability score (0 to 3)", "ece": "expected calibration error",
}  # fmt: skip


def chosen_run(dataset: str, name: str = RECIPE) -> str:
    """The run of a recipe whose network is taken: that of the lowest loss on fold 9 in its last phase.

    Parameters
    ----------
    dataset : str
    name : str
        Of runs such as "best-0", "best-1", ...

    Returns
    -------
    str
        Such as "best-1".

    Raises
    ------
    DataSetError
        If there is no such run.
    """
    losses = {}
    for seed in results.run_seeds(dataset, name):
        history = results.read_history(dataset, f"{name}-{seed}")
        losses[f"{name}-{seed}"] = history.query("phase == phase.iloc[-1]")["validation_loss"].min()
    return min(losses, key=losses.get)


def describe(dataset: str) -> dict:
    """What the chosen network's file says beside weights and configuration.

    Temperature and levels of the prediction sets come from fold 9 (`cardiov.analysis.probabilities`).

    Returns
    -------
    dict
        ``name``, ``chosen_run``, ``preprocessing`` (rate in Hz, band in Hz, order of the filter, leads, unit),
        ``label_rule``, ``temperature``, ``levels`` (by coverage), ``data``, ``licence``, ``attribution`` and ``use``.
    """
    run = chosen_run(dataset)
    about = results.read_provenance(dataset, run)["run"]
    validation = results.read_predictions(dataset, run).query("split == 'validation'")
    label = validation["critical_value"].to_numpy()
    temperature = round(fit_temperature(validation.filter(like="output_").to_numpy(), label), 4)
    probabilities = calibrated(validation, temperature)[SCORES].to_numpy()
    source = VERSIONS["1.0.3"]
    return {
        "name": dataset,
        "chosen_run": run,
        "preprocessing": {"rate": about["rate"], "band": BAND, "order": ORDER, "leads": LEADS, "unit": "mV"},
        "label_rule": about["config"]["label_rule"],
        "temperature": temperature,
        "levels": {str(coverage): round(conformal_level(probabilities, label, coverage), 6) for coverage in COVERAGES},
        "data": "simulated" if results.simulated(dataset) else f"{dataset}, of PTB-XL, doi:{source.doi}",
        "licence": source.licence,
        "attribution": source.citation,
        "use": "research and teaching only; not a medical device",
    }


def ship(dataset: str, path) -> None:
    """Write the chosen network as safetensors, and its model card beside it, as Markdown.

    Raises
    ------
    DataSetError
        If there are no runs of the recipe.
    CheckpointError
        If the chosen run's weights are not there: they are never committed, so its study must have run here.
    ParameterError
        If the weights are larger than the repository takes.
    """
    about = describe(dataset)
    weights = weights_path(dataset, about["chosen_run"])
    if weights.exists() and weights.stat().st_size > LARGEST:
        raise ParameterError(f"{shown(weights)} has more than {LARGEST:,} bytes: ship a narrower network.")
    model = CardioV.from_pretrained(weights)
    model.save_pretrained(path, run=model.metadata["run"], **about)
    with replacing(path.with_suffix(".md")) as temporary:
        temporary.write_text(model_card(CardioV.from_pretrained(path)), encoding="utf-8")


def model_card(model) -> str:
    """The card of a shipped model, from its file's metadata and the stored predictions of its run.

    Parameters
    ----------
    model : CardioV
        From `CardioV.from_pretrained`.

    Returns
    -------
    str
        Markdown.
    """
    about = model.metadata
    test = results.read_predictions(about["name"], about["chosen_run"]).query("split == 'test'")
    told = bootstrap(calibrated(test, about["temperature"]))
    return templates(Path(__file__).parent).get_template("model_card.md").render(
        about=about, run=about["run"], config=model.config, simulated=results.simulated(about["name"]),
        parameters=sum(parameter.numel() for parameter in model.parameters()), records=len(test),
        patients=test["patient_id"].nunique(), metrics=_rows(told), levels=mapping.LEVELS,
    )  # fmt: skip


def _rows(table: pd.DataFrame):
    return [(name, *table.loc[statistic]) for statistic, name in CARD_METRICS.items()]
