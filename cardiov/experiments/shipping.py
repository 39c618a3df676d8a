"""The shipped model: chosen on fold 9, written with all that scoring an ECG takes, and described by a model card."""

from pathlib import Path

from cardiov import mapping
from cardiov.analysis.metrics import SCORES
from cardiov.analysis.probabilities import calibrated
from cardiov.analysis.resampling import bootstrap
from cardiov.data.ptbxl import VERSIONS
from cardiov.ecg.filters import ORDER, band_at
from cardiov.ecg.leads import LEADS
from cardiov.errors import CheckpointError, ParameterError
from cardiov.experiments.runs import weights_path
from cardiov.model import PRETRAINED, CardioV
from cardiov.scoring.calibration import conformal_level, fit_temperature
from cardiov.store import results
from cardiov.store.files import shown, write_text
from cardiov.store.templates import templates
from cardiov.training.config import same_run

COVERAGES = (0.8, 0.9, 0.95)
LARGEST = 16 * 10**6  # bytes
CARD_METRICS = {
    "auc_mean": "mean AUC", **{f"auc_{k}": f"AUC of critical value {k} ({name})" for k, name in enumerate(mapping.LEVELS)},
    "mae": "mean absolute error", "macro_mae": "mean absolute error, each critical value alike", "accuracy": "accuracy",
    "kappa": "quadratically weighted kappa", "error_2_or_more": "share of errors of two steps or more",
    "rps": "ranked probability score (0 to 3)", "ece": "expected calibration error",
}  # fmt: skip


def describe(dataset: str) -> dict:
    """What the chosen network's file says beside weights and configuration.

    The rate and the band are in Hz. Temperature and levels of the prediction sets, by coverage, come from fold 9
    (`cardiov.scoring.calibration`).
    """
    run_name = results.chosen_run(dataset)
    run = results.read_provenance(dataset, run_name)["run"]
    validation = results.read_predictions(dataset, run_name).query("split == 'validation'")
    label = validation["critical_value"].to_numpy()
    temperature = round(fit_temperature(validation.filter(like="output_").to_numpy(), label), 4)
    probabilities = calibrated(validation, temperature)[SCORES].to_numpy()
    source = VERSIONS["1.0.3"]
    return {
        "name": dataset,
        "chosen_run": run_name,
        "preprocessing": {"rate": run["rate"], "band": band_at(run["rate"]), "order": ORDER, "leads": LEADS, "unit": "mV"},
        "label_rule": run["config"]["label_rule"],
        "temperature": temperature,
        "levels": {str(coverage): round(conformal_level(probabilities, label, coverage), 6) for coverage in COVERAGES},
        "data": "simulated" if results.simulated(dataset) else f"{dataset}, of PTB-XL, doi:{source.doi}",
        "licence": source.licence,
        "attribution": source.citation,
        "use": "research and teaching only; not a medical device",
    }


def ship(dataset: str, path) -> list[Path]:
    """Write the chosen network as safetensors, and its model card beside it, as Markdown; both paths.

    Raises
    ------
    CheckpointError
        If the chosen run's weights are not there: they are not committed, but for those of the network in the package.
    ParameterError
        If the weights are larger than the repository takes.
    """
    description = describe(dataset)
    weights = _weights(dataset, description["chosen_run"])
    if weights.stat().st_size > LARGEST:
        raise ParameterError(f"{shown(weights)} has more than {LARGEST:,} bytes: ship a narrower network.")
    model = CardioV.from_pretrained(weights)
    model.save_pretrained(path, run=model.metadata["run"], **description)
    return [path, write_text(path.with_suffix(".md"), model_card(CardioV.from_pretrained(path)))]


def _weights(dataset, run):
    """A run's weights; those in the package, if they are this run's, where the run was trained elsewhere."""
    path, packaged = weights_path(dataset, run), PRETRAINED / f"{dataset}.safetensors"
    if path.exists():
        return path
    if packaged.exists():
        made = CardioV.from_pretrained(packaged).metadata["run"]
        if same_run(made, results.read_provenance(dataset, run)["run"]):
            return packaged
    raise CheckpointError(f"{shown(path)} is missing: delete {shown(results.run_dir(dataset, run))}, so that the run is trained again.")


def model_card(model) -> str:
    """The card of a shipped model, in Markdown, from its file's metadata and the stored predictions of its run."""
    metadata = model.metadata
    test = results.read_predictions(metadata["name"], metadata["chosen_run"]).query("split == 'test'")
    intervals = bootstrap(calibrated(test, metadata["temperature"]))
    return templates(Path(__file__).parent).get_template("model_card.md").render(
        metadata=metadata, run=metadata["run"], config=model.config, simulated=results.simulated(metadata["name"]),
        parameters=sum(parameter.numel() for parameter in model.parameters()), records=len(test),
        patients=test["patient_id"].nunique(), levels=mapping.LEVELS,
        metrics=[(name, *intervals.loc[statistic]) for statistic, name in CARD_METRICS.items()],
    )  # fmt: skip
