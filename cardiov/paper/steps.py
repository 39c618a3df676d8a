"""The steps of `make paper`, in its order. Each prints the files that it has made, one a line, for make to watch."""

import os
import sys
from pathlib import Path

ANALYSIS = {"resamples", "permutations", "seed"}  # what analysis.yaml may set


def _print(paths):
    if int(os.environ.get("RANK", 0)) == 0:  # several processes train together, and one speaks
        print(*paths, sep="\n")


def prepare(data, dataset, params, verify=None):
    """Filter and resample a data set's signals, once, into caches on disk; and list its records."""
    from cardiov.data.cache import cache_at
    from cardiov.data.checksums import verify as verify_copy
    from cardiov.data.ptbxl import list_records
    from cardiov.experiments.runs import read_runs
    from cardiov.experiments.search import read_search
    from cardiov.store.results import build_dir, save_table

    build = build_dir(dataset)
    if verify:
        verify_copy(data, build / "verified.json", verify)
    rates = {run.rate for run in read_runs(Path(params, "runs.yaml")).values()} | {read_search(Path(params, "search.yaml")).rate}
    caches = [cache_at(data, build, rate).folder / "cache.json" for rate in sorted(rates)]
    _print([*caches, save_table(list_records(data), dataset, "records")])


def train(data, dataset, params):
    """Train all runs that runs.yaml declares and that are not finished; under torchrun, in all processes together."""
    from cardiov.experiments.baselines import write_teachers
    from cardiov.experiments.runs import read_runs, train_runs

    runs = read_runs(Path(params, "runs.yaml"))
    taught = sorted({run.tested for run in runs.values() if run.config.teacher_weight})
    teachers = write_teachers(data, dataset, taught) if taught else []
    _print([*teachers, *train_runs(runs, data, dataset)])


def search(data, dataset, params, ludb=None):
    """Train the networks of the architecture search (notebook 10)."""
    from cardiov.experiments.search import read_search, search_networks

    _print(search_networks(read_search(Path(params, "search.yaml")), data, dataset))


def baselines(data, dataset, params, ludb=None):
    """Train and predict what a network must beat (notebook 17)."""
    from cardiov.experiments.baselines import write_baselines
    from cardiov.experiments.runs import read_runs

    _print(write_baselines(data, dataset, read_runs(Path(params, "runs.yaml"))["ordinal-0"]))


def stress(data, dataset, params, ludb=None):
    """Predict the test records again, disturbed, by the chosen network (notebook 08)."""
    from cardiov.experiments.stress import stressed_predictions
    from cardiov.model import CardioV
    from cardiov.store.results import chosen_run, run_dir, shipped_path, write_table

    model = CardioV.from_pretrained(shipped_path(dataset))
    table = stressed_predictions(model, data, rate=model.metadata["preprocessing"]["rate"])
    _print([write_table(table, run_dir(dataset, chosen_run(dataset)) / "stress.csv")])


def heat(data, dataset, params, ludb=None):
    """Measure the chosen network's Grad-CAM of the test records against the waves of the heart (notebook 09)."""
    from cardiov.experiments.heat import write_heat
    from cardiov.store.results import chosen_run, run_dir, shipped_path

    _print(write_heat(data, shipped_path(dataset), run_dir(dataset, chosen_run(dataset)), ludb))


def ship(data, dataset, params, ludb=None):
    """Write the network that fold 9 chose, with its preprocessing, and its model card."""
    from cardiov.experiments.shipping import ship as write_shipped
    from cardiov.store.results import shipped_path

    _print(write_shipped(dataset, shipped_path(dataset)))


def external(data, dataset, params, ludb):
    """Predict LUDB's records, which no network here is trained on (notebook 16)."""
    from cardiov.experiments.external import networks, predict
    from cardiov.model import CardioV
    from cardiov.store.results import external_path, write_table

    tables = {rule: predict(CardioV.from_pretrained(path), ludb) for rule, path in networks(dataset).items()}
    _print([write_table(table, external_path(dataset, rule)) for rule, table in tables.items()])


def notebook(source, target, dataset=None, data=None, parameters=None, parameter=()):
    """Execute a notebook by papermill; the target appears only when it has run to its end."""
    from cardiov.paper.captions import made_by
    from cardiov.paper.notebooks import run_notebook
    from cardiov.store.parameters import read_parameters

    shared = read_parameters(parameters, ANALYSIS) if parameters else {}
    shared |= {name: value for name, value in {"dataset": dataset, "data": data}.items() if value is not None}
    run_notebook(source, target, dict(parameter), shared)
    _print([target, *(made_by(Path(source), dataset) if dataset else ())])


def exact(data, dataset, params):
    """Compare tables and figures, made again from the stored predictions, with the published ones."""
    from cardiov.paper import reproduction

    _print(reproduction.exact(dataset))


def replayed(data, dataset, params):
    """Predict folds 9 and 10 by the shipped network, and compare with the stored predictions."""
    from cardiov.paper import reproduction

    _print(reproduction.replayed(dataset, data))


def retrained(data, dataset, params):
    """Train the three objectives with a new seed, and place their figures among the stored seeds'."""
    from cardiov.paper import reproduction

    _print(reproduction.retrained(dataset, data, params))


def report(dataset, steps=()):
    """Write a data set's tables and figures, and how steps of rebuilding ended here, into one page."""
    from cardiov.paper.report import write_report

    _print([write_report(dataset, steps)])


def ending(dataset, steps):
    """Say how each step of `make paper` ended."""
    from cardiov.paper.reproduction import ending as lines

    print(lines(dataset, steps), file=sys.stderr)


def publish(dataset):
    """Take what was made here into results, figures, the README and docs/."""
    from cardiov.paper.publishing import publish as take
    from cardiov.paper.pages import update_pages

    paths = take(dataset)
    update_pages()
    _print(paths)
