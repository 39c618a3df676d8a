"""The command line: ``cardiov <command>`` or ``python -m cardiov <command>``; ``--help`` lists the commands.

Each command imports what it needs when it runs, so that ``--help`` does not wait for torch.
"""

import argparse
import errno
import logging
import os
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

from cardiov.errors import CardioVError, ParameterError, SignalError, requiring
from cardiov.paper import steps
from cardiov.training import processes as training_processes

EXAMPLES = """examples:
  cardiov score my-ecg.edf             one ECG, for reading
  cardiov score archive/ --csv --output scores.csv
  cardiov app                          the page on which ECGs are scored
  cardiov COMMAND --help               all of a command's options"""


# Use


def score(files, listing, json, csv, parquet, output, status, report, processes, cluster, model, rate, unit,
          ignore_checksum, bridge_gaps, timeline):  # fmt: skip
    """Estimate the critical value of ECGs."""
    from cardiov.scoring import archive, outputs

    form = "json" if json else "csv" if csv else "parquet" if parquet else "table"
    if form == "parquet" and not output:
        raise ParameterError("Parquet is not for the screen: give --output.")
    _check_places(form, output, status, report, timeline)
    settings = {"model": model, "fs": rate, "unit": unit, "ignore_checksum": ignore_checksum, "bridge_gaps": bridge_gaps}
    archive.check_settings(processes=processes, **settings)
    files, scorer = archive.find_files(files, listing, (output, status)), archive.score_files
    if cluster is not None:
        from cardiov.scoring.cluster import score_files

        scorer = partial(score_files, address=cluster)
    if report is not None:
        from cardiov.app.sheet import write_report

        write_report(files, report, **settings)
    if timeline is not None:
        scorer = _drawing(scorer, files, timeline)
    bad = outputs.write_scores(files, form, output, scorer=scorer, status=status, processes=processes, **settings)
    if bad:
        raise SignalError(f"{bad:,} of {len(files):,} files could not be scored: correct those named above, or leave them out.")


def _drawing(scorer, files, path):
    """A scorer that also draws the windows of its only file."""
    from cardiov.plots.holter import scores_over_time
    from cardiov.store.files import replacing

    if len(files) != 1:
        raise ParameterError(f"a timeline is of one record, not of {len(files):,}: give one file, or leave --timeline out.")

    def score_and_draw(*arguments, **settings):
        for outcome in scorer(*arguments, **settings):
            if not isinstance(outcome.result, CardioVError):
                with replacing(path) as temporary:
                    scores_over_time(outcome.result.windows).savefig(temporary, format=Path(path).suffix[1:].lower(), dpi=150)
            yield outcome

    return score_and_draw


def _check_places(form, output, status, report, timeline):
    """Refuse places that cannot be written, or that would lose a file, before an ECG is scored."""
    from cardiov.store.files import check_place

    if output and form == "table":
        raise ParameterError("a table is for reading: give --json, --csv or --parquet with --output.")
    table = Path(output).with_suffix(".csv") if form == "parquet" else output
    places = [place for place in (table, status, report, timeline) if place is not None]
    if len(places) > len({*map(os.path.realpath, places)}):
        raise ParameterError("two results have the same place: give --output, --status, --report and --timeline different files.")
    if timeline is not None and Path(timeline).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ParameterError(f"the timeline {timeline!r} is a picture: give it a name that ends in .png, .svg or .pdf.")
    if report is not None and Path(report).suffix.lower() not in (".html", ".htm"):
        raise ParameterError(f"the report {report!r} is a page: give it a name that ends in .html.")
    for place in places:
        check_place(place)


def export(target, model):
    """Write a trained network as ONNX, which scores without torch."""
    from cardiov.model import CardioV
    from cardiov.scoring.export import export as write_onnx
    from cardiov.store.pretrained import DEFAULT

    print(*write_onnx(CardioV.from_pretrained(model or DEFAULT), target), sep="\n")


def app(port, browser):
    """Open the page on which ECGs are scored, on this machine's own address."""
    from cardiov.app.server import serve

    serve(port, browser)


# Reproduce


def demo(folder, patients, seed):
    """Simulate the demo data set."""
    from cardiov.data.demo.dataset import make_demo

    make_demo(folder, patients=patients, seed=seed)
    print(f"{folder}: simulated ECGs of {patients:,} patients")


def download(folder, version, source):
    """Download PTB-XL, or go on with a download; the folder appears when every file is verified."""
    from cardiov.data.download import download as fetch

    records = fetch(folder, version, source or os.environ.get("PTBXL_FROM") or None)
    print(f"{folder}: {records:,} records, every file verified")


# Develop


def sample(source, target):
    """Make the sample of PTB-XL that comes with the repository."""
    from cardiov.data.sample import write_sample

    print(*write_sample(source, target), sep="\n")


def examples(source):
    """Choose the ECGs that come with the package, and copy their files."""
    from cardiov.experiments.examples import write_examples

    print(*write_examples(source), sep="\n")


def warnings(data, full, ludb):
    """Fit the model of recording faults, and measure what the warnings catch (docs/warnings.md)."""
    from cardiov.experiments.faults import write_faults
    from cardiov.experiments.warnings import write_warnings

    print(write_faults(data), *write_warnings(data, full, ludb), sep="\n")


def review_export(packet, key, dataset, data, run_name, split, seed):
    """Write the wrongly predicted records as a packet that hides label and prediction."""
    from cardiov.experiments.review import export

    cases = export(dataset, data, packet, key, run_name, split, seed)
    print(f"{packet}: {len(cases):,} cases for the reader; keep {key} from them")


def review_import(sheet, key, reader):
    """Check a filled sheet and take it into the results."""
    from cardiov.experiments.review import import_sheet
    from cardiov.store.files import shown

    print(shown(import_sheet(sheet, key, reader)))


def alone(build, settings, ludb, command):
    """Run a make command when no other make works on the data set."""
    from cardiov.paper.alone import run_alone

    sys.exit(run_alone(build, settings, ludb, command))


# Arguments


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as all errors here, instead of the usage and a line."""

    def error(self, message):
        self.exit(2, f"{message}: {self.prog} --help shows what to give.\n")


def command_line() -> argparse.ArgumentParser:
    """The parser of all commands, which stand in three groups."""
    parser = _Parser(
        prog="cardiov", description="CardioV companion: how urgent does an ECG look, and where does the estimate come from?",
        formatter_class=argparse.RawDescriptionHelpFormatter, usage="cardiov [--version] COMMAND ...",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"cardiov {version('cardiov')}")
    commands = parser.add_subparsers(required=True, prog="cardiov", metavar="COMMAND", help=argparse.SUPPRESS)
    groups = {"use": _add_use(commands), "reproduce": _add_reproduce(commands), "develop": _add_develop(commands)}
    lines = [f"{group}:\n" + "\n".join(f"  {name:10} {text}" for name, text in listed) for group, listed in groups.items()]
    parser.epilog = "\n\n".join([*lines, EXAMPLES])
    return parser


def _command(commands, run, *positional, name=None):
    """A command with its positional arguments, whose help is the function's docstring."""
    command = commands.add_parser(name or run.__name__, description=run.__doc__)
    command.set_defaults(run=run)
    for argument, meaning in positional:
        command.add_argument(argument, help=meaning)
    return command


def _seed(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0, not {text!r}")
    return int(text)


def _listed(*runs):
    return [(run.__name__, run.__doc__.splitlines()[0]) for run in runs]


def _add_use(commands):
    command = _command(commands, score)
    command.add_argument("files", nargs="*", metavar="FILE", help="an ECG (WFDB, CSV, TSV, NPZ, SCP-ECG, HL7 aECG, DICOM, "
                         "EDF), '-' for one from the standard input, a folder of ECGs, or the address of a file or folder in an "
                         "object store, such as s3://bucket/ecgs")  # fmt: skip
    command.add_argument("--listing", metavar="FILE", help="text file with one further file per line")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one line of JSON per file")
    form.add_argument("--csv", action="store_true", help="one line of CSV per file")
    form.add_argument("--parquet", action="store_true", help="one line of CSV per file, and at the end a Parquet file beside it")
    command.add_argument("--output", metavar="FILE", help="file for the results; started again, the command goes on where it stopped")
    command.add_argument("--status", metavar="CSV", help="file with format, outcome, seconds and reason of every file")
    command.add_argument("--timeline", metavar="FILE", help="picture of one long record's windows over time (PNG, SVG or PDF)")
    command.add_argument("--report", metavar="HTML", help="page of the ECGs, each on A4 at true scale when it is printed")
    command.add_argument("--model", help="name or file of the weights (default: those that come with the package)")
    command.add_argument("--rate", type=float, metavar="HZ", help="sampling rate of files that do not state it")
    command.add_argument("--unit", help="mV or uV, for files that do not state it")
    command.add_argument("--ignore-checksum", action="store_true", help="samples that contradict their file's checksum, with a warning")
    command.add_argument("--bridge-gaps", type=float, metavar="MS", help="longest gap that is filled by a straight line, with a warning")
    command.add_argument("--processes", type=int, help="number of processes (default: one per core, or one for few files)")
    command.add_argument("--cluster", metavar="ADDRESS", help="head of a Ray cluster that scores, such as 10.0.0.1:6379; 'local' "
                         "starts one on this machine")  # fmt: skip

    command = _command(commands, export, ("target", "ONNX file to write, such as model.onnx"))
    command.add_argument("--model", help="name or file of the weights (default: those that come with the package)")

    command = _command(commands, app)
    command.add_argument("--port", type=int, default=8866, help="(default: 8866)")
    command.add_argument("--no-browser", dest="browser", action="store_false", help="only the server")
    return _listed(score, export, app)


def _add_reproduce(commands):
    command = _command(commands, demo, ("folder", "folder of the data set"))
    command.add_argument("--patients", type=int, default=1000)
    command.add_argument("--seed", type=_seed, default=0)

    command = _command(commands, download, ("folder", "folder of the data set"))
    command.add_argument("--version", default="1.0.3", help="1.0.3 (default) or 1.0.1, the paper's")
    command.add_argument("--from", dest="source", metavar="ADDRESS",
                         help="another address than PhysioNet's: of the archive, if it ends in .zip, or of the files, if it "
                         "ends in /; also taken from the environment variable PTBXL_FROM")  # fmt: skip

    places = ("data", "folder in PTB-XL's layout"), ("dataset", "name under results/"), ("params", "folder of runs.yaml and search.yaml")
    command = _command(commands, steps.prepare, *places)
    command.add_argument("--verify", metavar="VERSION", help="version of PTB-XL whose digests the folder must have")
    _command(commands, steps.train, *places)
    experiments = (steps.search, steps.baselines, steps.stress, steps.heat, steps.ship, steps.external)
    for step in experiments:
        command = _command(commands, step, *places)
        command.add_argument("--ludb", metavar="FOLDER", required=step is steps.external, help="folder of LUDB's records")
    rebuilding = (steps.exact, steps.replayed, steps.retrained)
    for step in rebuilding:
        _command(commands, step, *places)
    name = ("dataset", "name under results/")
    _command(commands, steps.publish, name)
    for step, count in ((steps.report, "*"), (steps.ending, "+")):
        _command(commands, step, name).add_argument("steps", nargs=count, metavar="STEP", help="exact, replayed or retrained")
    return _listed(demo, download, steps.prepare, steps.train, *experiments, *rebuilding, steps.report, steps.ending, steps.publish)


def _add_develop(commands):
    command = _command(commands, steps.notebook, ("source", "notebook to execute"), ("target", "executed notebook"))
    command.add_argument("--dataset", help="name under results/, for notebooks that have this parameter")
    command.add_argument("--data", help="folder in PTB-XL's layout, likewise")
    command.add_argument("-f", "--parameters", metavar="FILE", help="YAML file such as notebooks/params/demo/analysis.yaml")
    command.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "TEXT"),
                         help="a further parameter of the notebook, as text")  # fmt: skip

    _command(commands, sample, ("source", "folder in PTB-XL's layout, with signals at 100 Hz, 500 Hz or both"), ("target", "its folder"))
    _command(commands, examples, ("source", "folder in PTB-XL's layout, with signals at 500 Hz and PTB-XL's SHA256SUMS.txt"))
    command = _command(commands, warnings, ("data", "folder in PTB-XL's layout"))
    command.add_argument("--full", metavar="FOLDER", help="copy of PTB-XL with records at 500 Hz, where spikes show")
    command.add_argument("--ludb", metavar="FOLDER", help="folder of LUDB's records")
    review = commands.add_parser("review", description="Have wrongly predicted records reread, blinded.")
    actions = review.add_subparsers(title="actions", required=True, metavar="ACTION")
    command = _command(actions, review_export, ("packet", "folder for the reader"), ("key", "CSV, kept elsewhere"), name="export")
    command.add_argument("--dataset", required=True, help="name under results/")
    command.add_argument("--data", required=True, help="its folder in PTB-XL's layout")
    command.add_argument("--run", dest="run_name", help="run whose predictions are reread (default: the shipped network's)")
    command.add_argument("--split", default="test", help="validation or test (default)")
    command.add_argument("--seed", type=_seed, default=0, help="of the order (default: 0)")
    command = _command(actions, review_import, ("sheet", "filled in by the reader"), ("key", "written by export"), name="import")
    command.add_argument("--reader", required=True, help="name of the reader in the results")

    places = ("build", "folder such as build/demo"), ("settings", "folders of data and parameters"), ("ludb", "folder of LUDB, or nothing")
    command = _command(commands, alone, *places)
    command.add_argument("command", nargs=argparse.REMAINDER)
    return [*_listed(steps.notebook, sample, examples, warnings), ("review", review.description), *_listed(alone)]


def main(argv=None) -> int:
    """Run a command; what goes wrong is one sentence on stderr and the exit code 1, of Ctrl-C 130."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal need not know every character
    try:
        arguments = vars(command_line().parse_args(argv))
        run = arguments.pop("run")
        training_processes.begin()
        _show_log()
        with requiring("paper", "this command"):
            run(**arguments)
    except CardioVError as error:
        training_processes.report(error)
        return 1
    except KeyboardInterrupt:
        print("interrupted before the end: run the command again.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of the output, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
        return 1
    except OSError as error:
        return _say_storage(error)
    return 0


def _show_log():
    """Print on stderr what the package logs; of several processes that train together the first speaks, and all warn."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cardiov").setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING)


def _say_storage(error):
    """The sentence for a full or read-only device, or about a path; other errors are raised again."""
    from cardiov.store.files import is_full, no_space

    if is_full(error, Path.cwd()):
        print(no_space(error.filename or Path.cwd()), file=sys.stderr)
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        print(f"{error}: give permission for that, or another place, and run the command again.", file=sys.stderr)
    elif error.filename is not None:
        print(f"{error.filename}: {error.strerror}: check this path, and run the command again.", file=sys.stderr)
    else:
        raise error
    return 1


if __name__ == "__main__":
    sys.exit(main())
