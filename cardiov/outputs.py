"""What is written of scores: a table for people, lines of JSON or CSV, or Parquet files; what is there already is kept.

A score takes some 200 bytes, so one process writes the scores of any number of others.
"""

import csv
import io
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from cardiov.errors import ParameterError
from cardiov.mapping import LEVELS
from cardiov.results import replacing, storing
from cardiov.scoring import NOT_A_DEVICE

PART = 10_000  # scores of a Parquet file, some 500 kB
PROBABILITIES = ("p0", "p1", "p2", "p3")
COLUMNS = {  # of CSV and Parquet, with the types of the latter
    "file": "string", "critical_value": "int64", **dict.fromkeys(PROBABILITIES, "float64"), "set_low": "int64",
    "set_high": "int64", "seconds": "float64", "fs": "float64", "windows": "string", "warnings": "string",
    "model": "string",
}  # fmt: skip


def _row(file, score):
    """A score by the names of `COLUMNS`."""
    probabilities = (round(float(p), 6) for p in score.probabilities)
    low, high = score.prediction_set or (None, None)
    windows = ";".join(f"{window.start:g}={window.critical_value}" for window in score.windows)
    values = [file, score.critical_value, *probabilities, low, high, float(score.seconds), float(score.fs), windows,
              "; ".join(score.warnings), score.model]  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def csv_line(*values) -> str:
    """Values as a line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _csv_text(file, score):
    digits = {**dict.fromkeys(PROBABILITIES, ".6f"), "seconds": "g", "fs": "g"}
    row = _row(file, score)
    return csv_line(*(format(value, digits[name]) if name in digits else value for name, value in row.items()))


def json_line(file, score) -> str:
    """A score as a line of JSON."""
    return json.dumps({"file": file, **score.as_dict()}) + "\n"


def table_lines(file, score) -> str:
    """A score for people: a line, and below it what goes with it."""
    shares = "  ".join(f"{100 * p:3.0f} %" for p in score.probabilities)
    lines = [f"{score.critical_value}  {LEVELS[score.critical_value]:11}  {shares}   {file}"]
    if score.prediction_set and score.prediction_set[0] < score.prediction_set[1]:
        lines += ["     {} to {} holds the label of 9 in 10 records".format(*score.prediction_set)]
    if len(score.windows) > 1:
        listed = ", ".join(f"{window.start:g} s: {window.critical_value}" for window in score.windows)
        lines += [f"     the gravest of {len(score.windows)} windows, from {score.windows[score.window].start:g} s; {listed}"]
    return "\n".join([*lines, *(f"     ! {warning}" for warning in score.warnings)]) + "\n"


TEXTS = {  # form -> head of the output, and the text of one file
    "table": (f"{NOT_A_DEVICE}\ncritical value    0 no   1 low  2 med. 3 high   file\n", table_lines),
    "json": ("", json_line),
    "csv": (csv_line(*COLUMNS), _csv_text),
}


def write(scores, form, output=None) -> None:
    """Write each score as soon as it comes.

    Parameters
    ----------
    scores : iterable of (str, Score)
        Files with their scores.
    form : str
        A key of `TEXTS`, or "parquet".
    output : Path, optional
        A file, or for Parquet a folder, that is added to; by default the standard output.

    Raises
    ------
    StorageError
        If there is no space, or no permission, to write it.
    """
    screen = sys.stdout
    with redirect_stdout(sys.stderr):  # what a library prints, such as Ray, must not come among the results
        if form == "parquet":
            _write_parts(scores, output)
        elif output is None:
            _write_text(scores, screen, *TEXTS[form])
        else:
            with storing(output), open(output, "a", encoding="utf-8") as stream:
                head, text = TEXTS[form]
                _write_text(scores, stream, "" if stream.tell() else head, text)


def _write_text(scores, stream, head, text):
    stream.write(head)
    for file, score in scores:
        stream.write(text(file, score))
        stream.flush()


def _write_parts(scores, folder):
    """Write Parquet files of `PART` scores each into a folder; the last, or that of a run that is stopped, has fewer."""
    rows = []
    try:
        for file, score in scores:
            rows.append(_row(file, score))
            if len(rows) == PART:
                _write_part(rows, folder)
                rows = []
    finally:
        if rows:
            _write_part(rows, folder)


def _write_part(rows, folder):
    """Write one more file, whole or not at all."""
    pyarrow, parquet = _parquet()
    schema = pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    number = 1 + max((int(path.stem.removeprefix("part-")) for path in _parts(folder)), default=-1)
    with replacing(folder / f"part-{number:06}.parquet") as temporary:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema), temporary)


def _parts(folder):
    return sorted(folder.glob("part-*.parquet"))


def _parquet():
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ParameterError('Parquet needs pyarrow, which is not installed: pip install "cardiov[cluster]".') from error
    return pyarrow, parquet


def resume(output, form, model) -> set[str]:
    """Files whose results are in an output, from which half a line at the end is cut off.

    Parameters
    ----------
    output, form
        As in `write`.
    model : str
        Name of the weights.

    Raises
    ------
    ParameterError
        If it holds something else, or results of other weights; or if Parquet is not installed.
    """
    done, models = set(), set()
    try:
        for row in _part_rows(output) if form == "parquet" else _text_rows(output, form):
            done.add(row["file"])
            models.add(row["model"])
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{output} holds something else than results as {form}: give --output another place.") from error
    if models - {model}:
        raise ParameterError(f"{output} holds results of {', '.join(sorted(models))}: give --output another place.")
    if form != "parquet":
        _cut_half_line(output)
    return done


def _text_rows(output, form):
    """Results in the whole lines of a text file, none without a file."""
    if not output.exists():
        return
    expected = (TEXTS[form][0] or '{"file": ').encode()
    with output.open("rb") as stream:
        if not expected.startswith(stream.readline()[: len(expected)]):
            raise ValueError("another head")
        stream.seek(0)
        lines = (line.decode() for line in stream if line.endswith(b"\n"))
        yield from map(json.loads, lines) if form == "json" else csv.DictReader(lines)


def _cut_half_line(output):
    """Cut off what a killed process has written of a line."""
    if output.exists():
        with output.open("rb") as stream:
            whole = sum(len(line) for line in stream if line.endswith(b"\n"))
        os.truncate(output, whole)


def _part_rows(folder):
    """Results in the files of a folder, none without a folder."""
    _, parquet = _parquet()
    others = folder.exists() and (not folder.is_dir() or {path for path in folder.glob("[!.]*")} - {*_parts(folder)})
    if others:
        raise ValueError("other files")
    for part in _parts(folder):
        yield from parquet.read_table(part, columns=["file", "model"]).to_pylist()
