"""The page "Score my ECG": a visitor drops files or picks an example and sees the scores.

The page is one widget: ``app.html`` is its content, ``app.js`` sends the visitor's choices as messages, and Python
answers each with HTML. An upload arrives as bytes in memory, which only `cardiov.read_ecg` reads. Every visitor has a
kernel of their own.
"""

import base64
import json
import sys
import threading
import traceback
from dataclasses import dataclass, replace
from urllib.parse import quote

from cardiov.app.server import WEB  # first, because it says how to install what is missing

import anywidget
import numpy as np
import traitlets

from cardiov.app import sheet
from cardiov.app.uploads import MAX_MIB, check_upload, sort_into_ecgs
from cardiov.ecg.examples import examples, read_example
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.errors import CardioVError, ParameterError
from cardiov.mapping import CLASSES, FINDINGS
from cardiov.scoring.network import load_model
from cardiov.scoring.outputs import FORMS
from cardiov.scoring.record import score

SAMPLE = "normal ECG"  # the example that is offered as files
UNEXPECTED = "the program failed: see its terminal for the reason, and try another ECG."


@dataclass
class Row:
    """One ECG of an upload: what is shown of it, or the reason why it has no score."""

    number: int
    name: str  # of its file
    shown: sheet.ReportedWindow | None = None
    error: str = ""

    @property
    def score(self):
        return self.shown and self.shown.score

    @property
    def urgency(self):
        """Critical value, and behind the point the share that the expected value has of the highest."""
        return self.score.critical_value + np.dot(self.score.probabilities, CLASSES) / len(CLASSES) if self.shown else -1


class Page(anywidget.AnyWidget):
    """The page as a widget, which answers every message of the browser, also after an error."""

    _esm = WEB / "app.js"
    _css = WEB / "app.css"
    form = traitlets.Unicode().tag(sync=True)
    max_bytes = traitlets.Int(MAX_MIB * 2**20).tag(sync=True)

    def __init__(self):
        super().__init__(form=sheet.html("app.html", "form", list(examples().values()), samples(), MAX_MIB))
        self.rows, self.shown, self.example = [], None, None
        self.on_msg(self._answer)

    def __repr__(self):
        return "the page, as a widget"

    def _answer(self, _, message, buffers):
        try:
            answers = {"example": self._example, "files": self._files, "show": self._show, "heat": self._heat}
            answer = (answers | {"print": self._print})[message["ask"]](message, buffers)
        except CardioVError as error:
            answer = {"error": str(error)}
        except Exception:  # the visitor would get no answer
            traceback.print_exc(file=sys.__stderr__)
            answer = {"error": UNEXPECTED}
        self.send({**answer, "request": message.get("request")})

    def _example(self, message, _):
        self.rows, self.shown, self.example = [], None, None  # if scoring fails, no older ECG may be shown
        ecg, example = read_example(message["name"]), examples()[message["name"]]
        self.rows = [Row(0, example.name, _scored(replace(ecg, meta={**ecg.meta, "record": example.name})))]
        self.example = example
        return self._result(self.rows[0]) | {"table": ""}

    def _files(self, message, buffers):
        self.rows, self.shown, self.example = [], None, None
        check_upload(message["names"], buffers)
        files = {name: bytes(content) for name, content in zip(message["names"], buffers, strict=True)}
        ecgs, settings = sort_into_ecgs(files), {"fs": message.get("fs"), "unit": message.get("unit")}
        if len(ecgs) == 1:
            self.rows = [Row(0, next(iter(ecgs[0])), _scored(read_ecg(ecgs[0], **settings)))]
            return self._result(self.rows[0]) | {"table": ""}
        self.rows = [_row(number, ecg, settings) for number, ecg in enumerate(ecgs)]
        return self._table(sorted(self.rows, key=lambda row: -row.urgency))

    def _table(self, rows):
        """The table of several ECGs, the most urgent first, which is also shown."""
        scored = {row.name: row.score for row in rows if row.shown}
        answer = self._result(rows[0]) if scored else {"html": "", "sheets": "", "announcement": ""}
        said = f"{len(scored)} of {len(rows)} ECGs are scored. {answer['announcement']}"
        table = sheet.html("app.html", "table", rows, downloads(scored) if scored else {})
        return answer | {"table": table, "announcement": said}

    def _show(self, message, _):
        return self._result(next(row for row in self.rows if row.shown and row.number == message["number"]))

    def _result(self, row):
        self.shown = row.shown
        answer = {"html": result(row, self.example), "sheets": sheet.paper(row.shown, self.example)}
        return answer | {"announcement": announcement(row.score, self.example)}

    def _heat(self, message, _):
        level = message["level"]
        if self.shown is None or level not in ("off", *sheet.HEAT_LEVELS):
            raise ParameterError("there is no ECG to draw: choose one first.")
        picture = self.shown.picture if level == "off" else sheet.picture(self.shown, level)
        return {"picture": picture, "alt": sheet.alt_text(self.shown, level)}

    def _print(self, message, _):
        rows = sorted((row for row in self.rows if row.shown), key=lambda row: -row.urgency)
        return {"sheets": "".join(sheet.paper(row.shown, self.example) for row in rows), "print": True}


def page() -> Page:
    """The page of one visitor; network and delineator load in the background, so that the first score need not wait."""
    threading.Thread(target=_load, daemon=True).start()
    return Page()


def _load():
    import neurokit2  # noqa: F401

    load_model()


def _scored(ecg):
    return sheet.reported_window(ecg, score(ecg))


def _row(number, files, settings):
    name = next(iter(files))
    try:
        return Row(number, name, _scored(read_ecg(files, **settings)))
    except CardioVError as error:
        return Row(number, name, error=str(error))


def samples() -> list[tuple[str, str]]:
    """Names of files of one example, in two formats, and their addresses, for visitors who have none."""
    base, ecg = examples()[SAMPLE].path, read_example(SAMPLE)
    rows = [f"# fs: {ecg.fs:g}", "# unit: mV", ",".join(LEADS), *(",".join(f"{x:g}" for x in moment) for moment in ecg.signal.T)]
    files = {f"{base.name}{suffix}": base.with_suffix(suffix).read_bytes() for suffix in (".hea", ".dat")}
    files[f"{base.name}.csv"] = "\n".join([*rows, ""]).encode()
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    return [(name, f"data:application/octet-stream;base64,{text}") for name, text in encoded.items()]


def downloads(scores) -> dict[str, str]:
    """Scores by the names of their files, as files: addresses by suffix; the CSV file is that of `cardiov score --csv`."""
    records = [{"file": name, **score.as_dict()} for name, score in scores.items()]
    head, line = FORMS["csv"]
    table = head + "".join(line(name, score) for name, score in scores.items())
    texts = {"json": json.dumps(records if len(records) > 1 else records[0], indent=1), "csv": table}
    return {suffix: f"data:text/plain;charset=utf-8,{quote(text)}" for suffix, text in texts.items()}


def announcement(score, example=None) -> str:
    """A score in one sentence, and what is stated of an example in another, for screen readers."""
    warnings = {0: "no warnings", 1: "1 warning"}.get(len(score.warnings), f"{len(score.warnings)} warnings")
    stated = f" Stated: {example.critical_value}." if example else ""
    return f"Scored: {score.critical_value} of 3, resembles ECGs {FINDINGS[score.critical_value]}; {warnings}.{stated}"


def result(row, example=None) -> str:
    """HTML of a `Row` with a score; of an example with what is stated."""
    return sheet.html("app.html", "result", row.shown, downloads({row.name: row.score}), *sheet.origin(), example)
