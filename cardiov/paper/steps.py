"""The commands of the study, which make calls; `cardiov.__main__` has those of users and reads the arguments."""

import sys
from pathlib import Path

from cardiov.errors import ParameterError
from cardiov.store.parameters import read_parameters


def verify(arguments):
    """Check a copy of PTB-XL against its list of SHA-256 digests, once; the copy is only read."""
    from cardiov.data.checksums import verify as check

    records = check(arguments.folder, arguments.memory, arguments.version)
    print(f"{arguments.folder}: {records:,} records, every file verified")


def study(arguments):
    """Train all runs of a file of experiments that are not finished."""
    from cardiov.experiments.runs import train_runs

    train_runs(read_parameters(arguments.parameters), arguments.data, arguments.dataset)


def ship(arguments):
    """Write the network that fold 9 chose, with its preprocessing, and its model card."""
    from cardiov.experiments.shipping import ship as write

    write(arguments.dataset, Path(arguments.path))
    print(arguments.path)


def stress(arguments):
    """Predict the test records again, disturbed (notebook 08)."""
    from cardiov.experiments.stress import stressed_predictions, write_stressed
    from cardiov.model import CardioV
    from cardiov.objectives import objective_of

    parameters = read_parameters(arguments.parameters)
    model = CardioV.from_pretrained(arguments.weights)
    settings = {"rate": parameters.get("rate", 500), "precision": parameters.get("precision", "32-true")}
    table = stressed_predictions(model, arguments.data, **settings, objective=objective_of(model))
    print(write_stressed(table, arguments.run_dir))


def explain(arguments):
    """Grad-CAM of a run's test records, measured against true waves, into the run's folder."""
    from cardiov.experiments.heat import write_heat

    rate = read_parameters(arguments.parameters).get("rate", 500)
    write_heat(arguments.data, arguments.weights, arguments.run_dir, rate, arguments.ludb)


def external(arguments):
    """Predict LUDB's records, which no network here is trained on (notebook 16)."""
    from cardiov.experiments.external import predict, write_external
    from cardiov.model import CardioV

    model = CardioV.from_pretrained(arguments.weights)
    rate = model.metadata.get("preprocessing", {}).get("rate", arguments.rate)
    if rate is None:
        raise ParameterError(f"{arguments.weights} does not say its sampling rate: give it by --rate, in Hz.")
    print(write_external(predict(model, arguments.ludb, rate), arguments.table))


def notebook(arguments):
    """Execute a notebook by papermill; the target appears only when it has run to its end."""
    from cardiov.paper.notebooks import run_notebook

    parameters = read_parameters(arguments.parameters) | dict(arguments.parameter)
    if arguments.seed is not None:
        parameters["seed"] = arguments.seed
    print(f"{arguments.source} -> {arguments.target}", file=sys.stderr, flush=True)
    run_notebook(arguments.source, arguments.target, parameters)


def report(arguments):
    """Write a data set's tables and figures into one page."""
    from cardiov.paper.report import update_readme, write_report
    from cardiov.store.files import shown

    print(f"report: {shown(write_report(arguments.dataset))}")
    update_readme()


def compare(arguments):
    """Compare a data set's tables with the committed ones."""
    from cardiov.paper.published import compare_with_committed, verdict

    cells = compare_with_committed(arguments.dataset)
    if cells is not None and len(cells):
        print(cells.sort_values("within").head(30).to_string(index=False, max_colwidth=40))
    print(verdict(arguments.dataset, cells))
