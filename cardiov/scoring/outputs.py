"""What is written of many scores: a table for people, JSON, CSV or Parquet, resumable; the status of every file; a summary."""

import csv
import io
import json
import os
import sys
from collections import Counter
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

from tqdm.auto import tqdm

from cardiov.errors import CardioVError, ParameterError
from cardiov.mapping import FINDINGS
from cardiov.scoring.archive import score_files
from cardiov.scoring.network import load_model
from cardiov.scoring.record import NOT_A_DEVICE, model_name
from cardiov.scoring.remote import import_pyarrow
from cardiov.store.files import check_place, locked, printable, replacing, storing, write_text

COLUMNS = {"file": "string", "critical_value": "int64", **dict.fromkeys(("p0", "p1", "p2", "p3"), "double"), "set_low": "int64",
           "set_high": "int64", "seconds": "double", "fs": "double", "windows": "string",
           **dict.fromkeys(("warnings", "model", "weights", "software", "scored"), "string")}  # fmt: skip
MANY_WINDOWS = 60  # ten minutes
STATUS = "file", "format", "outcome", "seconds", "reason"  # columns of the status


def csv_line(*values) -> str:
    """Values as a line of CSV, in which nothing breaks a line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([printable(value) for value in values])
    return text.getvalue()


def _values(file, score):
    low, high = score.prediction_set or ("", "")
    windows = ";".join(f"{window.start:g}={window.critical_value}" for window in score.windows)
    probabilities = [f"{p:.6f}" for p in score.probabilities]
    return [file, score.critical_value, *probabilities, low, high, f"{score.seconds:g}", f"{score.fs:g}", windows,
            "; ".join(score.warnings), score.model, score.weights, score.software, score.scored]  # fmt: skip


def json_line(file, score) -> str:
    """A score as a line of JSON."""
    return json.dumps({"file": file, **score.as_dict(), "record": printable(score.record)}) + "\n"


def table_lines(file, score) -> str:
    """A score for people: a line, and below it what goes with it."""
    shares = "  ".join(f"{100 * p:3.0f} %" for p in score.probabilities)
    lines = [f"{score.critical_value}  {FINDINGS[score.critical_value]:29}  {shares}   {file}"]
    if score.prediction_set and score.prediction_set[0] < score.prediction_set[1]:
        lines += ["     {} to {} holds the label of 9 in 10 records of each critical value".format(*score.prediction_set)]
    if len(score.windows) > 1:
        listed = _listed(score.windows)
        lines += [f"     the gravest of {len(score.windows)} windows, from {score.windows[score.window].start:g} s; {listed}"]
    return "\n".join([*lines, *(f"     ! {warning}" for warning in score.warnings)]) + "\n"


def _listed(windows):
    """Each window's value, or of many windows how many have each value."""
    if len(windows) <= MANY_WINDOWS:
        return ", ".join(f"{window.start:g} s: {window.critical_value}" for window in windows)
    counts = Counter(window.critical_value for window in windows)
    return ", ".join(f"{counts[value]:,} have {value}" for value in sorted(counts))


FORMS = {  # form -> head of the output, and the text of one file
    "table": (f"{NOT_A_DEVICE}\ncritical value: resembles ECGs       0      1      2      3   file\n", table_lines),
    "json": ("", json_line),
    "csv": (csv_line(*COLUMNS), lambda file, score: csv_line(*_values(file, score))),
}


def write_scores(files, form="table", output=None, model=None, scorer=score_files, status=None, **settings) -> int:
    """Score files, write each result at once, name the failed files on the standard error; returns their number.

    ``form`` is a key of `FORMS`, or "parquet": a CSV file, and at the end a Parquet file beside it. Files that the ``output`` (by
    default the standard output) holds already are not scored again. ``status`` is a CSV file with a row for every file. ``scorer``
    is `score_files` or the like. Names are written as `cardiov.store.files.printable` gives them.

    Raises
    ------
    ParameterError
        If the output holds anything but results of this form and these weights, the status anything but a status, two files
        have the same printable name, or Parquet is not installed.
    StorageError
        If another process writes the output or the status, or it cannot be written.
    """
    pyarrow = import_pyarrow("Parquet") if form == "parquet" else None
    table = Path(output).with_suffix(".csv") if pyarrow else output
    with ExitStack() as held:
        for path in filter(None, (table, status)):
            check_place(path)
            held.enter_context(locked(path, wait=False))
        counts = _score_into(table, "csv" if pyarrow else form, _by_name(files), model, scorer, status, settings)
        if pyarrow:
            _write_parquet(pyarrow, table)
    return sum(count for (_, scored), count in counts.items() if not scored)


def _by_name(files):
    """The files by their printable names."""
    names = {}
    for file in files:
        if names.setdefault(printable(file), file) != file:
            raise ParameterError(f"two files have the name {printable(file)} when it is written as UTF-8: rename one of them.")
    return names


def _score_into(output, form, names, model, scorer, status, settings):
    """Score the files that are not in the output yet; the number of scored and failed files of each format."""
    network, (head, text) = load_model(model), FORMS[form]
    done = {} if output is None else _resume(Path(output), form, network)
    if status:
        _begin_status(Path(status), done)
    remaining = [file for name, file in names.items() if name not in done]
    outcomes = scorer(remaining, model, **settings)
    bar = tqdm(outcomes, "scoring", len(names), initial=len(names) - len(remaining), unit=" files", disable=None)
    with closing(bar), _opened(output) as stream, _opened(status or os.devnull) as states:
        _append(stream, "" if output and stream.tell() else head)
        counts = _write(bar, stream, text, states)
    if len(names) > 1:
        print(*_summary(counts, len(names) - len(remaining)), sep="\n", file=sys.stderr)
    return counts


def _opened(path):
    if path is None:
        return nullcontext(sys.stdout)
    with storing(Path(path)):
        return open(path, "a", encoding="utf-8")


def _append(stream, text):
    with nullcontext() if stream is sys.stdout else storing(Path(stream.name)):
        stream.write(text)
        stream.flush()


def _write(outcomes, stream, text, states):
    """Write results and states; the number of scored and failed files of each format."""
    counts = Counter()
    for file, result, form, seconds in outcomes:
        reason = printable(result) if isinstance(result, CardioVError) else ""
        if reason:
            tqdm.write(reason, file=sys.stderr)
        else:
            _append(stream, text(printable(file), result))
        _append(states, csv_line(file, form, "failed" if reason else "scored", f"{seconds:.3f}", reason))
        counts[form, not reason] += 1
    return counts


def _summary(counts, before):
    """Lines for people: how many files of each format were scored."""
    names = sorted({form for form, _ in counts})
    lines = [f"{name or 'unknown format'}: {counts[name, True]:,} scored, {counts[name, False]:,} failed" for name in names]
    return lines + ([f"scored by an earlier run: {before:,}"] if before else [])


def _write_parquet(pyarrow, table):
    options = pyarrow.csv.ConvertOptions(column_types={name: pyarrow.type_for_alias(kind) for name, kind in COLUMNS.items()})
    with replacing(table.with_suffix(".parquet")) as temporary:
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(table, convert_options=options), temporary)


# Going on


def _begin_status(path, done):
    """Write the rows of files that are done, as an earlier run left them."""
    head, lines = csv_line(*STATUS), _whole_lines(path)
    if lines and lines[0] != head.encode():
        raise ParameterError(f"{path} holds something else than a status: give --status another file.")
    rows = {row[0]: row for row in csv.reader(line.decode(errors="replace") for line in lines[1:]) if row}
    kept = (rows.get(name, [name, "", "scored", "", "by an earlier run without --status"]) for name in done)
    write_text(path, head + "".join(csv_line(*row) for row in kept))


def _whole_lines(path):
    """Lines of a file as bytes, without half a line at its end."""
    if not path.exists():
        return []
    with path.open("rb") as stream:
        return [line for line in stream if line.endswith(b"\n")]


def _resume(output, form, model):
    """Names of the files whose results are in an output; half a line at its end is cut off."""
    if not output.exists():
        return {}
    done, made = {}, set()
    try:
        with output.open("rb") as stream:
            for row in _rows(stream, form):
                done[row["file"]] = True
                made.add((row["model"], row["weights"]))
    except _OtherColumns as error:
        raise ParameterError(f"{output} holds results of another version, which have other columns: give another --output.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{output} holds something else than results as {form}: give --output another file.") from error
    if others := made - {(model_name(model), model.sha256)}:
        listed = ", ".join(f"{name} (weights {weights:.12})" for name, weights in sorted(others))
        raise ParameterError(f"{output} holds results of {listed}: give --output another file.")
    with output.open("rb") as stream:
        whole = sum(len(line) for line in stream if line.endswith(b"\n"))
    os.truncate(output, whole)
    return done


class _OtherColumns(Exception):
    """Results that another version wrote."""


def _rows(stream, form):
    """Results in the whole lines of a file."""
    start = (FORMS[form][0] or '{"file": ').encode()
    if not start.startswith(first := stream.readline()[: len(start)]):
        raise _OtherColumns if first.startswith(b"file,critical_value,") else ValueError("another kind of file")
    stream.seek(0)
    lines = (line.decode() for line in stream if line.endswith(b"\n"))
    for row in map(json.loads, lines) if form == "json" else csv.DictReader(lines):
        if "weights" not in row and {"file", "model"} <= {*row}:
            raise _OtherColumns
        yield row
