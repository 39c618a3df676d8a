"""The reader study as a workflow: a blinded packet goes out, a filled sheet comes in.

In the paper a further cardiologist reread the test records that the model had predicted wrongly. `export` writes those
records as a packet that shows neither label nor prediction, and a key to it: which record is which case. `import_sheet`
reads what the reader has filled in. `cardiov.analysis.agreement` counts with whom the reader sides.
"""

import csv
import io
import os
import re
import tempfile
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.backends.backend_pdf import PdfPages
from tqdm.auto import tqdm

from cardiov.analysis.agreement import misread, wrong
from cardiov.data.records import open_records
from cardiov.errors import ParameterError, ReviewError
from cardiov.mapping import LEVELS, statements
from cardiov.plots.paper import ecg_paper
from cardiov.plots.style import data_title
from cardiov.store.files import write_text
from cardiov.store.results import chosen_run, read_predictions, results_dir, simulated, write_table
from cardiov.store.templates import templates

PAGES, SHEET, INSTRUCTIONS = "cases.pdf", "sheet.csv", "README.txt"
ANONYMOUS = {"Creator": None, "Producer": None, "CreationDate": None}  # a PDF without them names no one and no day
NUMBER = r"0|[1-9][0-9]{0,17}"  # of a case or record, each in one form only
LISTED_CASES = 20  # at most, in an error


def shuffled_cases(ecg_ids, seed: int = 0) -> pd.DataFrame:
    """The key of a packet, without the data set: ``ecg_id`` by ``case``.

    Cases are numbered from 1 in an order that depends on the seed and the set of records only, so a case's number says
    nothing about its record.
    """
    shuffled = np.random.default_rng(seed).permutation(np.sort(np.asarray(ecg_ids)))
    return pd.DataFrame({"ecg_id": shuffled}, index=pd.RangeIndex(1, len(shuffled) + 1, name="case"))


def empty_sheet(cases: pd.DataFrame) -> pd.DataFrame:
    """The sheet that a reader fills in: a row per case, ``critical_value`` and ``comment`` empty."""
    return pd.DataFrame({"case": cases.index, "critical_value": "", "comment": ""})


def export(dataset: str, data, packet, key, run=None, split="test", seed=0) -> pd.DataFrame:
    """Write the wrongly predicted records of a run as a blinded packet, and the key to it elsewhere; returns the cases.

    The run is by default the one whose network is shipped.

    The packet holds ``cases.pdf`` (a page per case on ECG paper at true scale, the signals as recorded), ``sheet.csv``
    and ``README.txt``. Nothing in it shows label, prediction, record, patient or file. It appears under its name only
    when it is complete. The key is a CSV outside of it: ``case``, ``ecg_id`` and ``dataset``.

    Raises
    ------
    ReviewError
        If no record is predicted wrongly, a record is missing, the packet exists already, or the key lies inside it or
        belongs to another packet.
    """
    predictions = read_predictions(dataset, run or chosen_run(dataset)).query("split == @split")
    cases = shuffled_cases(wrong(predictions)["ecg_id"], seed)
    records = _records(cases, data)
    content = cases.assign(dataset=dataset)
    packet, key = Path(packet).absolute(), Path(key).absolute()
    _refuse_places(packet, key, content)
    packet.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{packet.name}.", suffix=".tmp", dir=packet.parent) as folder:
        _write_pages(cases, records, Path(folder, PAGES), simulated(dataset))
        write_table(empty_sheet(cases), Path(folder, SHEET))
        write_text(Path(folder, INSTRUCTIONS), _instructions(dataset, len(cases)))
        write_table(content, key)  # before the packet appears: a packet without its key would be worthless
        os.chmod(folder, 0o755)  # a temporary folder lets only its maker in
        os.replace(folder, packet)
    return cases


def _records(cases, data):
    """The signals of the cases' data set."""
    if cases.empty:
        raise ReviewError("no record of this run and split is predicted wrongly: check the run, and the split.")
    records = open_records(data)
    absent = [ecg_id for ecg_id in cases["ecg_id"] if ecg_id not in records.paths]
    if absent:
        raise ReviewError(
            f"{len(absent)} wrongly predicted records are not in {data}, the first being {absent[0]}: give the "
            "data folder that the run was trained on."
        )
    return records


def _refuse_places(packet, key, content):
    if packet.is_file() or (packet.is_dir() and any(packet.iterdir())):
        raise ReviewError(f"{packet} exists already, and its sheet may be filled in: give a new folder.")
    if key.is_relative_to(packet):
        raise ReviewError(f"the key {key} lies inside the packet, where the reader would find it: give another place.")
    if key.exists() and key.read_text(encoding="utf-8") != content.to_csv(lineterminator="\n"):
        raise ReviewError(f"{key} is the key of another packet, which would be lost: give another place for this one.")


def _write_pages(cases, records, path, artificial):
    # matplotlib simplifies the traces by at most 0.04 mm, which leaves about 40 kB per page
    with PdfPages(path, metadata=ANONYMOUS) as pages:
        for case, ecg_id in tqdm(cases["ecg_id"].items(), unit=" cases", desc="drawing"):
            ecg = records.read(ecg_id)
            title = f"case {case}" + " (simulated ECG)" * artificial
            pages.savefig(ecg_paper(ecg.signal, ecg.fs, title))


def _instructions(dataset, count):
    names = statements().reset_index().groupby("critical_value")["statement"].agg(", ".join)
    levels = "\n".join(fill(f"{k}  {LEVELS[k]}: {name}", 100, subsequent_indent="   ") for k, name in names.items())
    values = {"count": count, "title": data_title(dataset), "pages": PAGES, "sheet": SHEET, "levels": levels}
    return templates(Path(__file__).parent).get_template("instructions.txt").render(values) + "\n"


def import_sheet(sheet, key, reader: str) -> Path:
    """Check a filled sheet and write ``results/<dataset>/reviews/<reader>.csv``: ``ecg_id`` and ``critical_value``.

    Comments stay in the sheet. What Excel makes of a CSV file is read as well: semicolons or tabs, UTF-16, 2.0 for 2, empty rows
    and columns. A reader's earlier readings are replaced. A `ReviewError` names all that is wrong with the sheet, or with the key.
    """
    if not re.fullmatch(r"[\w-]+", reader):
        raise ParameterError(f"{reader!r} cannot name a reader: use letters, digits, '-' and '_' only.")
    cases, dataset = _read_key(key)
    filled = _read_sheet(sheet, ["case", "critical_value"], "sheet").replace(r"^([0-9]+)[.,]0*$", r"\1", regex=True)  # 2.0 is 2
    if problems := _problems(filled, cases.index):
        raise ReviewError(f"{sheet}: {'; '.join(problems)}: correct the sheet and import it again.")
    readings = filled.set_index("case")["critical_value"].astype(int)
    table = pd.DataFrame({"ecg_id": cases["ecg_id"].astype(int), "critical_value": readings}).sort_values("ecg_id")
    return write_table(table.reset_index(drop=True), results_dir(dataset) / "reviews" / f"{reader}.csv")


def _read_key(path):
    """The key's ``ecg_id`` by case, and its data set."""
    key = _read_sheet(path, ["case", "ecg_id", "dataset"], "key")
    names = list(dict.fromkeys(key["dataset"]))
    problems = {
        "data sets instead of one": names if len(names) > 1 else [],
        "names that no data set has": [f"'{name}'" for name in names if not _names_data_set(name)],
    }
    for name, column in {"cases": key["case"], "records": key["ecg_id"]}.items():
        problems[f"{name} that are no whole numbers"] = [f"'{text}'" for text in column[~column.str.fullmatch(NUMBER)]]
        problems[f"{name} listed more than once"] = list(dict.fromkeys(column[column.duplicated()]))
    if problems := _in_words(problems):
        raise ReviewError(f"the key {path} has been changed, {'; '.join(problems)}: give the key as export wrote it.")
    return key.set_index("case"), names[0]


def _names_data_set(name):
    """Whether a name stays below ``results``."""
    return bool(re.fullmatch(r"[^/\\:.][^/\\:]*", name))


def _read_sheet(path, columns, kind):
    """Columns of a CSV as stripped texts, without rows that are empty; in the forms in which Excel writes it."""
    header, *rows = _cells(path, columns, kind) or [[]]
    if (missing := [column for column in columns if column not in header]) or not rows:
        lacking = f"the column {', '.join(missing)}" if missing else "any row"
        raise ReviewError(f"{path} lacks {lacking}: give the {kind} of this packet, with its first line unchanged.")
    if double := [column for column in columns if header.count(column) > 1]:
        raise ReviewError(f"{path} has the column {', '.join(double)} more than once: leave the one that counts.")
    if long := next((row for row in rows if any(row[len(header) :])), None):
        raise ReviewError(f"{path} has more values than columns in the row {', '.join(long)!r:.60}: put texts with commas in quotes.")
    table = [[(row + [""] * len(header))[header.index(column)] for column in columns] for row in rows]
    return pd.DataFrame([row for row in table if any(row)], columns=columns, dtype=str)


def _cells(path, columns, kind):
    """Stripped cells of the rows that are not empty: UTF-8 or UTF-16, separated by commas, semicolons or tabs."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ReviewError(f"{path} cannot be read as a {kind} ({error.strerror}): give the CSV file itself.") from error
    if content.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        raise ReviewError(f"{path} is a workbook: save it as CSV and give that.")
    # what a comment holds in another encoding does not matter, as long as the rest can be read
    text = content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig", errors="replace")
    text = re.sub(r"\Asep=.\s*", "", text)
    try:
        tables = [[*csv.reader(io.StringIO(text, newline=None), delimiter=separator)] for separator in ",;\t"]
    except csv.Error as error:
        raise ReviewError(f"{path} cannot be read as a {kind} ({error}): give the CSV file itself.") from error
    tables = [[[cell.strip() for cell in row] for row in table if any(map(str.strip, row))] for table in tables]
    return max(tables, key=lambda table: len({*columns}.intersection(*table[:1])))


def _problems(filled, cases):
    """Everything that keeps a sheet from being imported, in words."""
    case, value = filled["case"], filled["critical_value"]
    known = case.isin(cases)
    bad = filled[known & ~value.isin(["", *"0123"])]
    valued = set(case[value != ""])
    problems = {
        "unknown cases": [f"'{name}'" for name in case[~known]],
        "cases listed more than once": list(dict.fromkeys(case[known & case.duplicated()])),
        "values that are not 0, 1, 2 or 3": [f"'{row.critical_value}' for case {row.case}" for row in bad.itertuples()],
        "cases without a value": [name for name in cases if name not in valued],
    }
    return _in_words(problems)


def _in_words(problems):
    return [f"{name} ({len(items)}): {_listed(items)}" for name, items in problems.items() if items]


def _listed(items):
    return ", ".join(items[:LISTED_CASES]) + (f" and {len(items) - LISTED_CASES} more" if len(items) > LISTED_CASES else "")


def simulate_review(dataset: str, predictions: pd.DataFrame, accuracy: float, seed: int = 0) -> Path:
    """Let a simulated reader reread the wrongly predicted records, through key, sheet and `import_sheet`.

    The reader reads the label, which is the truth in simulated data, with the given accuracy and otherwise takes a
    neighbouring value: it shows the workflow and nothing about readers or models.
    """
    if not simulated(dataset):
        raise ParameterError(f"{dataset} is not simulated: import a reader's sheet instead of a simulated one.")
    cases = shuffled_cases(wrong(predictions)["ecg_id"], seed)
    label = predictions.set_index("ecg_id")["critical_value"][cases["ecg_id"]].to_numpy()
    readings = misread(label, accuracy, "adjacent", np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as folder:
        key, sheet = Path(folder) / "key.csv", Path(folder) / SHEET
        write_table(cases.assign(dataset=dataset), key)
        write_table(empty_sheet(cases).assign(critical_value=readings), sheet)
        return import_sheet(sheet, key, "simulated-reader")
