"""The shipped model: chosen on fold 9, written with all that scoring an ECG takes, and described by a model card."""

import hashlib
from pathlib import Path

import pandas as pd

from cardiov import mapping
from cardiov.analysis.dangers import alarm_table, missed_by_statement, missed_sentence, net_benefit, spread
from cardiov.analysis.metrics import SCORES, confusion, constant, metrics, with_median
from cardiov.analysis.probabilities import calibrated, coverage_table
from cardiov.analysis.resampling import bootstrap, bootstrap_seeds
from cardiov.analysis.subgroups import ADJUSTED, COMPARISONS, adjusted_table, with_people
from cardiov.data.ptbxl import VERSIONS
from cardiov.ecg.filters import ORDER, band_at
from cardiov.ecg.leads import LEADS
from cardiov.errors import CheckpointError, ParameterError
from cardiov.experiments.runs import weights_path
from cardiov.model import CardioV
from cardiov.scoring.calibration import conformal_levels, fit_temperature, prediction_sets
from cardiov.scoring.export import export
from cardiov.scoring.record import COVERAGE
from cardiov.store import results
from cardiov.store.files import shown, write_text
from cardiov.store.pretrained import packaged_path
from cardiov.store.templates import templates
from cardiov.training.config import same_run

VERSION = "3.0"  # of the shipped network: other weights or levels under the same name raise it
COVERAGES = (0.8, COVERAGE, 0.95)
LARGEST = 16 * 10**6  # bytes
SIMPLER = {"gradient boosting of beat measurements": "boosting", "logistic regression of beat measurements": "logistic",
           "age and sex": "age-sex", "a constant": "constant"}  # fmt: skip
CARD_METRICS = {
    "auc_mean": "mean AUC", **{f"auc_{k}": f"AUC of critical value {k} ({name})" for k, name in enumerate(mapping.LEVELS)},
    "mae": "mean absolute error", "macro_mae": "mean absolute error, each critical value alike", "accuracy": "accuracy",
    "kappa": "quadratically weighted kappa", "error_2_or_more": "share of errors of two steps or more",
    "rps": "ranked probability score (0 to 3)", "ece": "expected calibration error",
}  # fmt: skip


def describe(dataset: str) -> dict:
    """What the chosen network's file says beside weights and configuration.

    The rate and the band are in Hz. Temperature and levels of the prediction sets, by coverage and critical
    value, come from fold 9 (`cardiov.scoring.calibration`); ``tested`` is what fold 10 shows, for those who read a score.
    """
    run_name = results.chosen_run(dataset)
    provenance = results.read_provenance(dataset, run_name)
    run = provenance["run"]
    stored = results.read_predictions(dataset, run_name)
    validation = stored.query("split == 'validation'")
    label = validation["critical_value"].to_numpy()
    temperature = round(fit_temperature(validation.filter(like="output_").to_numpy(), label), 4)
    probabilities = calibrated(validation, temperature)[SCORES].to_numpy()
    levels = {str(share): _rounded(conformal_levels(probabilities, label, share)) for share in COVERAGES}
    source = VERSIONS["1.0.3"]
    return {
        "name": packaged_path(dataset).stem,
        "version": VERSION,
        "dataset": dataset,
        "chosen_run": run_name,
        "training": {"seconds": provenance["seconds"], "processor": provenance["processor"]},
        "preprocessing": {"rate": run["rate"], "band": band_at(run["rate"]), "order": ORDER, "leads": LEADS, "unit": "mV"},
        "label_rule": run["config"]["label_rule"],
        "temperature": temperature,
        "levels": levels,
        "tested": _tested(calibrated(stored.query("split == 'test'"), temperature), levels[str(COVERAGE)]),
        "data": "simulated" if results.simulated(dataset) else f"{dataset}, of PTB-XL, doi:{source.doi}",
        "licence": source.licence,
        "attribution": source.citation,
        "use": "research and teaching only; not a medical device",
    }


def _rounded(levels):
    return [round(level + 5e-7, 6) for level in levels]  # upwards, which keeps their promise


def _tested(test, levels):
    """``confusion``: numbers of ECGs by label (rows) and called value; ``held``: of each label, how many its prediction set holds."""
    (low, high), label = prediction_sets(test[SCORES], levels), test["critical_value"]
    held = ((low <= label) & (label <= high)).groupby(label).sum().reindex(mapping.CLASSES, fill_value=0)
    return {"confusion": confusion(test).to_numpy().tolist(), "held": held.tolist()}


def calibrated_predictions(description: dict) -> pd.DataFrame:
    """What a described network calls each record of folds 9 and 10, its probabilities calibrated as in scoring."""
    stored = results.read_predictions(description["dataset"], description["chosen_run"])
    return calibrated(stored, description["temperature"])


def ship(dataset: str, path) -> list[Path]:
    """Write the chosen network as safetensors, and beside it as ONNX, with its model card, as Markdown; all paths.

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
    model.save_pretrained(path, run=model.metadata["run"], sha256=weights_digest(model), **description)
    shipped = CardioV.from_pretrained(path)
    return [path, *export(shipped, path.with_suffix(".onnx")), write_text(path.with_suffix(".md"), model_card(shipped))]


def _weights(dataset, run):
    """A run's weights; those in the package, if they are this run's, where the run was trained elsewhere."""
    path, packaged = weights_path(dataset, run), packaged_path(dataset)
    if path.exists():
        return path
    if packaged.exists():
        made = CardioV.from_pretrained(packaged).metadata["run"]
        if same_run(made, results.read_provenance(dataset, run)["run"]):
            return packaged
    raise CheckpointError(f"{shown(path)} is missing: delete {shown(results.run_dir(dataset, run))}, so that the run is trained again.")


def weights_digest(model) -> str:
    """SHA-256 of the names and bytes of a network's tensors, sorted by name; a file's metadata have no fixed order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def model_card(model) -> str:
    """The card of a shipped model, in Markdown, from its file's metadata and the stored predictions of its run."""
    metadata = model.metadata
    dataset = metadata["dataset"]
    stored = calibrated_predictions(metadata).assign(fold=10)
    validation, test = (stored[stored["split"] == split] for split in ("validation", "test"))
    records, intervals = results.read_records(dataset), bootstrap(test)
    people = with_people(test, records)
    ends = prediction_sets(test[SCORES], metadata["levels"][str(COVERAGE)])
    return templates(Path(__file__).parent).get_template("model_card.md").render(
        metadata=metadata, run=metadata["run"], config=model.config, simulated=results.simulated(dataset),
        parameters=sum(parameter.numel() for parameter in model.parameters()), records=len(test),
        patients=test["patient_id"].nunique(), levels=mapping.LEVELS, card_names=CARD_METRICS,
        metrics=[(name, *intervals.loc[statistic]) for statistic, name in CARD_METRICS.items()],
        median=bootstrap(with_median(test)).loc["mae"], beside=_beside(dataset, metadata["chosen_run"]),
        alarms=alarm_table(test, validation).reset_index().to_dict("records"), missed=missed_sentence(test, records),
        statements=missed_by_statement(test, records).reset_index().to_dict("records"), benefit=_benefit(test),
        groups=_groups(people), spreads=_spreads(dataset, metadata["chosen_run"].rpartition("-")[0]),
        coverage=coverage_table(people, *ends).reset_index().to_dict("records"), external=_external(dataset),
    )  # fmt: skip


def _beside(dataset, run):
    """Metrics on fold 10 of all seeds of the network's recipe, together, and of simpler methods, as far as they are stored."""
    stored = {"mean of this recipe's seeds": run.rpartition("-")[0], "another network (xresnet1d), taught alike": "idea-xresnet1d-distilled"}
    stored |= {title: f"baseline-{name}" for title, name in SIMPLER.items()}
    stored = {title: name for title, name in stored.items() if (results.run_dir(dataset, f"{name}-0") / "predictions.csv").exists()}
    tested = {title: bootstrap_seeds(results.read_seeds(dataset, name, "test")) for title, name in stored.items()}
    return [(title, rows.loc["auc_mean"], rows.loc["mae"]) for title, rows in tested.items()]


def _benefit(test):
    """Net benefit by the probability from which somebody acts: of the network, of alarms for all, and the network's lead."""
    policies = "network", "alarm for all", "network - best of all and none"
    table = net_benefit(test).swaplevel()
    return [(threshold, *(table.loc[(threshold, policy)] for policy in policies)) for threshold in table.index.unique("threshold")]


def _groups(people):
    """Errors by sex and age, and with the mix of critical values that all records have."""
    table, groups = adjusted_table(people), [name for pair in COMPARISONS.values() for name in pair]
    return [(name, table.loc[(name, "mae")], table.loc[(name, "mae_standardised")]) for name in [*groups, *ADJUSTED]]


def _spreads(dataset, recipe):
    """How figures differ between training seeds, on fold 10, and between training sets, each tested on its fold."""
    runs = {"training seeds": {seed: run.assign(fold=10) for seed, run in results.read_seeds(dataset, recipe).items()}}
    pooled = [results.read_cross_validated(dataset, split) for split in ("validation", "test")]
    if pooled[0] is not None:
        runs["training sets, each tested on its fold"] = dict(tuple(pd.concat(pooled).groupby("fold")))
    rows = []
    for of, tables in runs.items():
        validation, test = ({key: run[run["split"] == split] for key, run in tables.items()} for split in ("validation", "test"))
        rows += [(of, *row) for row in spread(test, validation).reset_index().itertuples(index=False)]
    return rows


def _external(dataset):
    """The network's metrics on LUDB beside those of the constant 2; None if LUDB's records are not predicted."""
    if not results.external_path(dataset).exists():
        return None
    predictions = results.read_external(dataset)
    return {"records": len(predictions), "constant": metrics(constant(predictions, 2))["mae"]} | bootstrap(predictions).T.to_dict()
