"""The steps of `make paper`, in its order. Each prints the files that it has made, one a line, for make to watch."""

import os
import sys
from pathlib import Path

RUN = "ordinal-0"  # the paper's network, which is disturbed and explained
ANALYSIS = {"resamples", "permutations", "seed"}  # what analysis.yaml may set


def _print(paths):
    if int(os.environ.get("RANK", 0)) == 0:  # several processes train together, and one speaks
        print(*paths, sep="\n")


def prepare(data, dataset, params, verify=None):
    """Filter and resample a data set's signals, once, into caches on disk."""
    from cardiov.data.cache import cache_at
    from cardiov.data.checksums import verify as verify_copy
    from cardiov.experiments.runs import read_runs
    from cardiov.experiments.search import read_search
    from cardiov.store.results import build_dir

    build = build_dir(dataset)
    if verify:
        verify_copy(data, build / "verified.json", verify)
    rates = {run.rate for run in read_runs(Path(params, "runs.yaml")).values()} | {read_search(Path(params, "search.yaml")).rate}
    _print(cache_at(data, build, rate).folder / "cache.json" for rate in sorted(rates))


def train(data, dataset, params):
    """Train all runs that runs.yaml declares and that are not finished; under torchrun, in all processes together."""
    from cardiov.experiments.runs import read_runs, train_runs

    _print(train_runs(read_runs(Path(params, "runs.yaml")), data, dataset))


def search(data, dataset, params, ludb=None):
    """Train the networks of the architecture search (notebook 10)."""
    from cardiov.experiments.search import read_search, search_networks

    _print(search_networks(read_search(Path(params, "search.yaml")), data, dataset))


def stress(data, dataset, params, ludb=None):
    """Predict the test records again, disturbed (notebook 08)."""
    from cardiov.experiments.runs import weights_path
    from cardiov.experiments.stress import stressed_predictions
    from cardiov.model import CardioV
    from cardiov.objectives import objective_of
    from cardiov.store.results import read_provenance, run_dir, write_table

    run = read_provenance(dataset, RUN)["run"]
    model = CardioV.from_pretrained(weights_path(dataset, RUN))
    settings = {"rate": run["rate"], "precision": run["config"]["precision"], "objective": objective_of(model)}
    _print([write_table(stressed_predictions(model, data, **settings), run_dir(dataset, RUN) / "stress.csv")])


def heat(data, dataset, params, ludb=None):
    """Measure Grad-CAM of the test records against the waves of the heart (notebook 09)."""
    from cardiov.experiments.heat import write_heat
    from cardiov.experiments.runs import weights_path
    from cardiov.store.results import read_provenance, run_dir

    rate = read_provenance(dataset, RUN)["run"]["rate"]
    _print(write_heat(data, weights_path(dataset, RUN), run_dir(dataset, RUN), rate, ludb))


def ship(data, dataset, params, ludb=None):
    """Write the network that fold 9 chose, with its preprocessing, and its model card."""
    from cardiov.experiments.shipping import ship as write_shipped
    from cardiov.store.results import shipped_path

    _print(write_shipped(dataset, shipped_path(dataset)))


def external(data, dataset, params, ludb):
    """Predict LUDB's records, which no network here is trained on (notebook 16)."""
    from cardiov.experiments.external import predict
    from cardiov.model import CardioV
    from cardiov.store.results import results_dir, shipped_path, write_table

    model = CardioV.from_pretrained(shipped_path(dataset))
    table = predict(model, ludb, model.metadata["preprocessing"]["rate"])
    _print([write_table(table, results_dir(dataset) / "external_ludb.csv")])


def notebook(source, target, dataset=None, data=None, parameters=None, parameter=()):
    """Execute a notebook by papermill; the target appears only when it has run to its end."""
    from cardiov.paper.notebooks import run_notebook
    from cardiov.store.parameters import read_parameters

    shared = read_parameters(parameters, ANALYSIS) if parameters else {}
    shared |= {name: value for name, value in {"dataset": dataset, "data": data}.items() if value is not None}
    print(f"{source} -> {target}", file=sys.stderr, flush=True)
    run_notebook(source, target, dict(parameter), shared)


def report(dataset):
    """Write a data set's tables and figures into one page, and the headline figures into the README."""
    from cardiov.paper.report import update_readme, write_report

    page = write_report(dataset)
    update_readme()
    _print([page])


def compare(dataset):
    """Compare a data set's tables with the committed ones; trained numbers are only reported."""
    from cardiov.paper.published import compare_with_committed, verdict

    cells = compare_with_committed(dataset)
    if cells is not None and len(cells):
        print(cells.sort_values("within").head(30).to_string(index=False, max_colwidth=40))
    print(verdict(dataset, cells))
