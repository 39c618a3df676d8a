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
from cardiov.model import CardioV
from cardiov.paper.differences import TOLERANCE, compared_files, differences
from cardiov.store import results
from cardiov.store.files import read_note, shown, write_note
from cardiov.store.pretrained import packaged_path
from cardiov.training.config import TrainingConfig
from cardiov.training.devices import make_fabric
from cardiov.training.predict import predict

LEVEL = 0.99  # of each prediction interval, so that 1 of 100 figures of a sound reproduction is called unusual
HEADLINE = {"mae": "mean absolute error", "auc_mean": "mean AUC"}
OBJECTIVES = ("ordinal", "classification", "regression")
PROBABILITY = 1e-3  # by which a probability may differ between processors


def _outcome_path(dataset, step):
    return results.build_dir(dataset) / "outcomes" / f"{step}.json"


def _write_outcome(dataset, step, passed, line):
    path = _outcome_path(dataset, step)
    write_note(path, {"passed": bool(passed), "line": line})
    return path


def read_outcomes(dataset: str, steps) -> pd.DataFrame:
    """How steps ended, a row each: ``step``, ``passed`` and ``line``; a `DataSetError` if one has not run."""
    paths = {step: results.existing(_outcome_path(dataset, step), f"run `python -m cardiov {step}` first") for step in steps}
    return pd.DataFrame([{"step": step, "passed": False, "line": "", **read_note(path)} for step, path in paths.items()])


def exact(dataset: str) -> list[Path]:
    """Compare what the notebooks have made with what is published; the outcome and the differing cells."""
    results.existing(results.made_dir(dataset), "run the notebooks first")
    cells = differences(dataset)
    table = results.write_table(cells, results.build_dir(dataset) / "differences.csv")
    tables, figures = (len(compared_files(dataset, kind)) for kind in results.KINDS)
    line = f"{tables} files of tables and numbers, {figures} of figures: "
    if cells.empty:
        line += f"equal to the published ones within {TOLERANCE:g}"
    else:
        first = cells.iloc[0]
        line += f"differing cells: {len(cells)} (in {shown(table)}), the first in {first['table']}, row {first['row'] or '-'}, "
        line += f"{first['statistic']}: {first['published']} published, {first['made']} here"
    return [_write_outcome(dataset, "exact", cells.empty, line), table]


def replayed(dataset: str, data) -> list[Path]:
    """Predict folds 9 and 10 by the shipped network, and compare with the stored predictions."""
    model = CardioV.from_pretrained(packaged_path(dataset).stem)
    run = model.metadata["run"]
    cache = cache_at(data, results.build_dir(dataset), run["rate"])
    metadata, config = read_metadata(data).loc[cache.ecg_ids], TrainingConfig(**run["config"])
    here = predict(make_fabric("32-true"), model, cache, metadata, config)
    stored = results.read_predictions(dataset, results.chosen_run(dataset))
    return [_write_outcome(dataset, "replayed", *compare_predictions(here, stored))]


def compare_predictions(here: pd.DataFrame, stored: pd.DataFrame) -> tuple[bool, str]:
    """Whether two tables of predictions agree, and how well; critical values may differ where two are equally probable."""
    if here["ecg_id"].tolist() != stored["ecg_id"].tolist():
        return False, "the records are not those of the stored predictions: restore data/ and results/"
    p, q = here[SCORES].to_numpy(), stored[SCORES].to_numpy()
    largest, ranked = np.abs(p - q).max(), np.sort(q, axis=1)
    decided = ranked[:, -1] - ranked[:, -2] >= PROBABILITY
    changed = int((decided & (here["predicted"].to_numpy() != stored["predicted"].to_numpy())).sum())
    line = f"{len(here):,} ECGs, largest difference of a probability {largest:.1e} (at most {PROBABILITY:g}), "
    line += f"critical values changed: {changed}"
    return largest <= PROBABILITY and not changed, line


def retrained(dataset: str, data, params) -> list[Path]:
    """Train the three objectives once more with a new seed, and place their figures in the stored seeds' prediction intervals."""
    folders = retrain(read_runs(Path(params, "runs.yaml")), OBJECTIVES, data, dataset)
    new = {name: pd.read_csv(folder / "predictions.csv").query("split == 'test'") for name, folder in folders.items()}
    table = place_in_seeds(new, {name: results.read_seeds(dataset, name, "test") for name in OBJECTIVES})
    path = results.write_table(table, results.build_dir(dataset) / "retrained.csv", results.FLOAT_FORMAT)
    unusual = [
        f"{row.objective} {row.figure} {row.here:.4f} ({row.low:.4f} to {row.high:.4f})" for row in table.itertuples() if not row.usual
    ]
    line = f"{len(table)} figures of {len(new)} new networks, in {LEVEL:.0%} prediction intervals of {table['seeds'].min()} seeds: "
    line += f"unusual {', '.join(unusual)}; 1 in 100 figures of a sound reproduction is" if unusual else "all as expected"
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
    outcomes = read_outcomes(dataset, steps)
    lines = [f"{row.step:10} {'ok    ' if row.passed else 'FAILED'}  {row.line}" for row in outcomes.itertuples()]
    text = "\n".join([*lines, f"report     {shown(results.build_dir(dataset) / 'report.html')}"])
    if not outcomes["passed"].all():
        raise ComparisonError(f"not all is as published:\n{text}")
    return text
