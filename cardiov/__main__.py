"""The command line: ``python -m cardiov <command>``; ``--help`` lists the commands.

Each command imports what it needs when it runs, so that ``--help`` does not wait for torch.
"""

import argparse
import errno
import os
import sys
import time
from functools import partial
from pathlib import Path

from cardiov import processes
from cardiov.errors import CardioVError, ParameterError, SignalError
from cardiov.paper.steps import compare, explain, external, notebook, report, ship, stress, study, verify
from cardiov.store.parameters import read_parameters


def demo(arguments):
    """Simulate the demo data set."""
    from cardiov.data.demo.dataset import make_demo

    make_demo(arguments.folder, patients=arguments.patients, seed=arguments.seed)
    print(f"{arguments.folder}: simulated ECGs of {arguments.patients:,} patients")


def download(arguments):
    """Download PTB-XL, or go on with a download; the folder appears when every file is verified."""
    from cardiov.data.download import download as bring

    source = arguments.source or os.environ.get("PTBXL_FROM") or None
    records = bring(arguments.folder, arguments.version, source)
    print(f"{arguments.folder}: {records:,} records, every file verified")


def prepare(arguments):
    """Filter and resample a data set's signals, once, into a cache on disk."""
    from cardiov.data.cache import prepare as prepare_signals

    rate = read_parameters(arguments.parameters).get("rate", arguments.rate)
    cache = prepare_signals(arguments.data, arguments.cache, rate=rate)
    records, leads, samples = cache.shape
    print(f"{arguments.cache}: {records:,} records, {leads} leads, {samples:,} samples at {cache.rate:g} Hz")


def train(arguments):
    """Train one network."""
    from dataclasses import fields

    from cardiov.data.cache import open_cache
    from cardiov.data.ptbxl import read_metadata
    from cardiov.training.config import TrainingConfig
    from cardiov.training.run import fit

    parameters = read_parameters(arguments.parameters)
    parameters.pop("rate", None)  # of the cache
    known = [field.name for field in fields(TrainingConfig)]
    if unknown := sorted(set(parameters) - set(known)):
        raise ParameterError(f"{arguments.parameters} sets {', '.join(unknown)}: correct it to one of {', '.join(known)}.")
    config = TrainingConfig(**parameters | {"objective": arguments.objective, "seed": arguments.seed})
    cache = open_cache(arguments.cache)
    metadata = read_metadata(arguments.data).loc[cache.ecg_ids]
    fit(config, cache, metadata, arguments.weights_dir or arguments.run_dir, arguments.run_dir)


def launch(arguments):
    """Train in several processes together, each on a GPU of its own where there are GPUs."""
    command = [arguments.what, *arguments.arguments]
    command_line().parse_args(command)  # so that what is wrong is said once
    processes.launch(arguments.processes, command)


def score(arguments):
    """Estimate the critical value of ECGs."""
    from cardiov.scoring import archive

    form = "json" if arguments.json else "csv" if arguments.csv else "parquet" if arguments.parquet else "table"
    if arguments.output and form == "table":
        raise ParameterError("a table is for reading: give --json, --csv or --parquet with --output.")
    if form == "parquet" and not arguments.output:
        raise ParameterError("Parquet is not for the screen: give --output.")
    settings = {"model": arguments.model, "fs": arguments.rate, "unit": arguments.unit}
    files, scorer = archive.find_files(arguments.files, arguments.listing), archive.score_files
    if arguments.cluster:
        from cardiov.scoring import cluster

        scorer = partial(cluster.score_files, address=arguments.cluster)
    if arguments.report:
        from cardiov.app.sheet import write_report

        write_report(files, arguments.report, **settings)
    bad = archive.write_scores(files, form, arguments.output, scorer=scorer, processes=arguments.processes, **settings)
    if bad:
        raise SignalError(f"{bad:,} of {len(files):,} files could not be scored: mend those named above, or leave them out.")


def review_export(arguments):
    """Write the wrongly predicted records as a packet that hides label and prediction."""
    from cardiov.experiments.review import export

    cases = export(arguments.dataset, arguments.data, arguments.packet, arguments.key, arguments.run_name,
                   arguments.split, arguments.seed)  # fmt: skip
    print(f"{arguments.packet}: {len(cases):,} cases for the reader; keep {arguments.key} from them")


def review_import(arguments):
    """Check a filled sheet and take it into the results."""
    from cardiov.experiments.review import import_sheet
    from cardiov.store.files import shown

    print(shown(import_sheet(arguments.sheet, arguments.key, arguments.reader)))


def app(arguments):
    """Open the page on which ECGs are scored, on this machine's own address."""
    from cardiov.app.page import serve

    serve(arguments.port, arguments.browser)


def command_line() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m cardiov", description="CardioV companion: from ECGs to the report.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command")

    def add(run, *positional, to=commands):
        command = to.add_parser(run.__name__.removeprefix("review_"), help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        for name, meaning in positional:
            command.add_argument(name, help=meaning)
        return command

    command = add(demo, ("folder", "where to write it"))
    command.add_argument("--patients", type=int, default=1000)
    command.add_argument("--seed", type=int, default=0)

    _add_download(add)

    command = add(prepare, ("data", "folder in PTB-XL's layout"), ("cache", "where to write the cache"))
    command.add_argument("--rate", type=float, default=500, help="in Hz (default: 500)")
    _add_parameters(command, "YAML file whose rate is taken instead")

    _add_networks(add)
    _add_score(add)

    _add_launch(add)

    command = add(notebook, ("source", "notebook to execute"), ("target", "executed notebook"))
    _add_parameters(command, "YAML file of parameters")
    command.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "TEXT"),
                         help="a parameter that is text; other numbers than the seed are given in a file")  # fmt: skip
    command.add_argument("--seed", type=int, help="the parameter seed")

    _add_review(commands, add)
    add(report, ("dataset", "name under results/"))
    add(compare, ("dataset", "name under results/"))

    _add_app(add)
    return parser


def _add_app(add):
    command = add(app)
    command.add_argument("--port", type=int, default=8866, help="(default: 8866)")
    command.add_argument("--no-browser", dest="browser", action="store_false", help="do not open it in a browser")


def _add_download(add):
    command = add(download, ("folder", "where to put it"))
    command.add_argument("--version", default="1.0.3", help="1.0.3 (default) or 1.0.1, the paper's")
    command.add_argument("--from", dest="source", metavar="ADDRESS",
                         help="another address than PhysioNet's: of the archive, if it ends in .zip, or of the files, if it "
                         "ends in /; also taken from the environment variable PTBXL_FROM")  # fmt: skip

    command = add(verify, ("folder", "the copy"), ("memory", "JSON file that remembers a verified copy's sizes and times"))
    command.add_argument("--version", default="1.0.3", help="1.0.3 (default) or 1.0.1")


def _add_launch(add):
    command = add(launch)
    command.add_argument("processes", type=int, help="how many; at most one for each GPU, if there are GPUs")
    command.add_argument("what", choices=["train"])
    command.add_argument("arguments", nargs=argparse.REMAINDER, help="of train")


def _add_networks(add):
    command = add(train)
    _add_parameters(command, "YAML file such as notebooks/params/paper/training.yaml")
    command.add_argument("--data", required=True, help="folder in PTB-XL's layout")
    command.add_argument("--cache", required=True, help="made by prepare")
    command.add_argument("--run-dir", required=True, help="gets weights, predictions, history and provenance")
    command.add_argument("--weights-dir", help="gets the weights, and while training the checkpoint, instead")
    command.add_argument("--objective", default="ordinal",
                         help="ordinal (default), classification, regression, coral, corn, sord or emd")  # fmt: skip
    command.add_argument("--seed", type=int, default=0)

    command = add(study, ("data", "folder in PTB-XL's layout"), ("dataset", "name under results/"))
    _add_parameters(command, "YAML file such as notebooks/params/demo/experiments.yaml")

    add(ship, ("dataset", "name under results/"), ("path", "safetensors file to write; the card goes beside it"))

    command = add(stress, ("data", "folder in PTB-XL's layout"), ("weights", "of train"), ("run_dir", "gets stress.csv"))
    _add_parameters(command, "the YAML file that the run was trained with: its rate and precision are taken")

    command = add(explain, ("data", "folder in PTB-XL's layout"), ("weights", "of an ordinal run"),
                  ("run_dir", "has the run's predictions; gets the tables of heat"))  # fmt: skip
    _add_parameters(command, "YAML file with the rate in Hz that the network was trained with (default: 500)")
    command.add_argument("--ludb", metavar="FOLDER", help="LUDB's records, whose waves cardiologists have marked")

    command = add(external, ("ludb", "folder of LUDB"), ("weights", "of train"),
                  ("table", "CSV to write, such as results/<dataset>/external_ludb.csv"))  # fmt: skip
    command.add_argument("--rate", type=float, help="in Hz, of the network's training; for weights that do not say")


def _add_score(add):
    command = add(score)
    command.add_argument("files", nargs="*", metavar="FILE", help="an ECG (WFDB, CSV, TSV, NPZ, SCP-ECG, HL7 aECG, DICOM, "
                         "EDF), a folder of ECGs, or the address of either in an object store, such as s3://bucket/ecgs")  # fmt: skip
    command.add_argument("--listing", metavar="FILE", help="text file with one further file per line")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a line of JSON for each file")
    form.add_argument("--csv", action="store_true", help="a line of CSV for each file")
    form.add_argument("--parquet", action="store_true", help="a line of CSV for each file, and at the end a Parquet file beside it")
    command.add_argument("--output", metavar="FILE", help="write there; started again, go on where it stopped")
    command.add_argument("--report", metavar="HTML", help="draw the ECGs with their heat maps, too, into one page")
    command.add_argument("--model", help="name or file of the weights (default: those that come with the package)")
    command.add_argument("--rate", type=float, metavar="HZ", help="sampling rate of files that do not say it")
    command.add_argument("--unit", help="mV or uV, for files that do not say it")
    command.add_argument("--processes", type=int, help="default: one for each core, or one for few files")
    command.add_argument("--cluster", metavar="ADDRESS", help="head of a Ray cluster that scores, such as 10.0.0.1:6379; 'local' "
                         "starts one on this machine")  # fmt: skip


def _add_review(commands, add):
    review = commands.add_parser("review", help="Have wrongly predicted records reread, blinded.")
    actions = review.add_subparsers(title="actions", required=True, metavar="action")

    places = ("packet", "folder to make, for the reader"), ("key", "CSV to write elsewhere")
    command = add(review_export, *places, to=actions)
    command.add_argument("--dataset", required=True, help="name under results/")
    command.add_argument("--data", required=True, help="its folder in PTB-XL's layout")
    command.add_argument("--run", dest="run_name", default="ordinal-0", help="whose predictions (default: ordinal-0)")
    command.add_argument("--split", default="test", help="validation or test (default)")
    command.add_argument("--seed", type=int, default=0, help="of the order (default: 0)")

    command = add(review_import, ("sheet", "filled in by the reader"), ("key", "written by export"), to=actions)
    command.add_argument("--reader", required=True, help="name of the reader in the results")


def _add_parameters(command, meaning):
    command.add_argument("-f", "--parameters", metavar="FILE", help=meaning)


def main(argv=None) -> int:
    """Run a command; what goes wrong is one sentence on stderr and the exit code 1."""
    arguments = command_line().parse_args(argv)
    if processes.launched():
        processes.end_with_launcher()
    try:
        arguments.run(arguments)
    except CardioVError as error:
        if processes.rank():  # mostly the first process says the same, and its end ends this one
            time.sleep(1)
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # who reads the output, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
        return 1
    except OSError as error:
        from cardiov.store.files import is_full

        if is_full(error, Path.cwd()):
            print(f"no space left on the device ({error}): free some space and run the command again.", file=sys.stderr)
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            print(f"{error}: give permission for that, or another place, and run the command again.", file=sys.stderr)
        else:
            raise
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
