"""What `make paper` finds: is everything here as published? Three outcomes, each one line, in ``build/<data set>/outcomes``.

- exact: tables and figures, made again from the stored predictions, equal the published ones;
- replayed: the shipped network gives the stored predictions on the signals;
- retrained: networks with a new seed are as the stored seeds let expect. Another processor is another seed, because training is
  chaotic in rounding; so an unusual figure is reported, and fails nothing.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from cardiov.analysis.metrics import SCORES, metrics
from cardiov.analysis.resampling import prediction_interval
from cardiov.data.cache import cache_at
from cardiov.data.ptbxl import read_metadata
from cardiov.errors import ComparisonError
from cardiov.experiments.runs import read_runs, retrain
from cardiov.experiments.shipping import chosen_run
from cardiov.model import CardioV
from cardiov.paper.differences import TOLERANCE, compared_files, differences
from cardiov.store import results
from cardiov.store.files import read_note, shown, write_note
from cardiov.training.config import TrainingConfig
from cardiov.training.devices import make_fabric
from cardiov.training.predict import predict

LEVEL = 0.99  # of each prediction interval, so that 1 of 100 figures of a sound reproduction is called unusual
HEADLINE = {"mae": "mean absolute error", "auc_mean": "mean AUC"}
OBJECTIVES = ("ordinal", "classification", "regression")
PROBABILITY = 1e-3  # by which a probability may differ between processors


def outcome_path(dataset: str, step: str) -> Path:
    """Where a step's outcome is: ``passed`` and ``line``."""
    return results.build_dir(dataset) / "outcomes" / f"{step}.json"


def _write_outcome(dataset, step, passed, line):
    path = outcome_path(dataset, step)
    write_note(path, {"passed": bool(passed), "line": line})
    return path


def exact(dataset: str) -> list[Path]:
    """Compare what the notebooks have made with what is published; the outcome and the differing cells."""
    cells = differences(dataset)
    table = results.write_table(cells, results.build_dir(dataset) / "differences.csv")
    tables, figures = (len(compared_files(dataset, kind)) for kind in results.KINDS)
    what = f"{tables} files of tables and numbers, {figures} of figures"
    line = f"{what}: equal to the published ones within {TOLERANCE:g}"
    if len(cells):
        first = cells.iloc[0]
        place = f"{first['table']}, row {first['row'] or '-'}, {first['statistic']}"
        line = f"{what}: {len(cells)} cells differ, the first in {place}: {first['published']} published, {first['made']} here (all: {shown(table)})"
    return [_write_outcome(dataset, "exact", not len(cells), line), table]


def replayed(dataset: str, data) -> list[Path]:
    """Predict folds 9 and 10 by the shipped network, and compare with the stored predictions."""
    model = CardioV.from_pretrained(dataset)
    run = model.metadata["run"]
    cache = cache_at(data, results.build_dir(dataset), run["rate"])
    metadata, config = read_metadata(data).loc[cache.ecg_ids], TrainingConfig(**run["config"])
    here = predict(make_fabric("32-true"), model, cache, metadata, config)
    stored = results.read_predictions(dataset, chosen_run(dataset))
    return [_write_outcome(dataset, "replayed", *compare_predictions(here, stored))]


def compare_predictions(here: pd.DataFrame, stored: pd.DataFrame) -> tuple[bool, str]:
    """Whether two tables of predictions agree, and how well; critical values may differ where two are equally probable."""
    if here["ecg_id"].tolist() != stored["ecg_id"].tolist():
        return False, "the records are not those of the stored predictions: restore data/ and results/"
    p, q = here[SCORES].to_numpy(), stored[SCORES].to_numpy()
    largest, ranked = np.abs(p - q).max(), np.sort(q, axis=1)
    decided = ranked[:, -1] - ranked[:, -2] >= PROBABILITY
    changed = int((decided & (here["predicted"] != stored["predicted"]).to_numpy()).sum())
    line = f"{len(here):,} ECGs, largest difference of a probability {largest:.1e}, critical values changed: {changed}"
    return largest <= PROBABILITY and not changed, line


def retrained(dataset: str, data, params) -> list[Path]:
    """Train the three objectives once more with a new seed, and place their figures in the stored seeds' prediction intervals."""
    folders = retrain(read_runs(Path(params, "runs.yaml")), OBJECTIVES, data, dataset)
    new = {name: pd.read_csv(folder / "predictions.csv").query("split == 'test'") for name, folder in folders.items()}
    table = place_in_seeds(new, {name: results.read_seeds(dataset, name, "test") for name in OBJECTIVES})
    path = results.write_table(table, results.build_dir(dataset) / "retrained.csv", results.FLOAT_FORMAT)
    unusual = table[~table["usual"]]
    line = f"{len(table)} figures of {len(new)} new networks, in {LEVEL:.0%} prediction intervals of {table['seeds'].min()} seeds: "
    line += "all as expected"
    if len(unusual):
        named = (f"{row.objective} {row.figure} {row.here:.4f} ({row.low:.4f} to {row.high:.4f})" for row in unusual.itertuples())
        line = line.removesuffix("all as expected") + f"unusual {', '.join(named)}; of sound figures 1 in 100 is"
    return [_write_outcome(dataset, "retrained", True, line), path]


def place_in_seeds(new: dict, stored: dict) -> pd.DataFrame:
    """Headline figures of new networks, by objective, beside the mean and prediction interval of the stored seeds."""
    rows = []
    for name, runs in stored.items():
        seeds, here = pd.DataFrame({seed: metrics(run) for seed, run in runs.items()}), metrics(new[name])
        for statistic, figure in HEADLINE.items():
            low, high = prediction_interval(seeds.loc[statistic], LEVEL)
            rows.append({"objective": name, "figure": figure, "seeds": len(runs), "published": seeds.loc[statistic].mean(),
                         "low": low, "high": high, "here": here[statistic], "usual": low <= here[statistic] <= high})  # fmt: skip
    return pd.DataFrame(rows)


def ending(dataset: str, steps) -> str:
    """How each step ended, one line each.

    Raises
    ------
    ComparisonError
        If one of them failed; the lines are its message.
    """
    notes = {step: read_note(outcome_path(dataset, step)) for step in steps}
    lines = [f"{step:10} {'ok    ' if note['passed'] else 'FAILED'}  {note['line']}" for step, note in notes.items()]
    text = "\n".join([*lines, f"report     {shown(results.build_dir(dataset) / 'report.html')}"])
    if not all(note["passed"] for note in notes.values()):
        raise ComparisonError(f"not all is as published:\n{text}")
    return text
