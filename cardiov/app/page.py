"""The page "Score my ECG": a visitor drops a file or picks an example and sees its score.

The page is one widget: ``app.html`` is its content, ``app.js`` sends the visitor's choices as messages, and Python
answers each with HTML. An upload arrives as bytes in memory, which only `cardiov.read_ecg` reads. Every visitor has a
kernel of their own.
"""

import json
import sys
import threading
import traceback
from dataclasses import replace
from urllib.parse import quote

from cardiov.app.server import MAX_MIB, WEB  # first, because it says how to install what is missing

import anywidget
import traitlets

from cardiov.app import sheet
from cardiov.ecg.examples import examples, read_example
from cardiov.ecg.leads import read_ecg
from cardiov.errors import CardioVError, ParameterError, SignalError
from cardiov.mapping import LEVELS
from cardiov.scoring.record import load_model, score

MAX_FILES = 4  # of one ECG; WFDB has two
UNEXPECTED = "the program failed: see its terminal for the reason, and try another ECG."


class Page(anywidget.AnyWidget):
    """The page as a widget, which answers every message of the browser, also after an error."""

    _esm = WEB / "app.js"
    _css = WEB / "app.css"
    form = traitlets.Unicode(sheet.html("app.html", "form", list(examples().values()), MAX_MIB)).tag(sync=True)
    max_bytes = traitlets.Int(MAX_MIB * 2**20).tag(sync=True)

    def __init__(self):
        super().__init__()
        self.reported = None
        self.on_msg(self._answer)

    def __repr__(self):
        return "the page, as a widget"

    def _answer(self, _, message, buffers):
        try:
            answers = {"example": self._example, "files": self._files, "heat": self._heat}
            answer = answers[message["ask"]](message, buffers)
        except CardioVError as error:
            answer = {"error": str(error)}
        except Exception:  # the visitor would get no answer
            traceback.print_exc(file=sys.__stderr__)
            answer = {"error": UNEXPECTED}
        self.send({**answer, "request": message.get("request")})

    def _example(self, message, _):
        ecg, example = read_example(message["name"]), examples()[message["name"]]
        return self._scored(replace(ecg, meta={**ecg.meta, "record": example.name}), example)

    def _files(self, message, buffers):
        check_upload(message["names"], buffers)
        files = {name: bytes(content) for name, content in zip(message["names"], buffers, strict=True)}
        return self._scored(read_ecg(files, fs=message.get("fs"), unit=message.get("unit")))

    def _scored(self, ecg, example=None):
        self.reported = None  # if scoring fails, no older ECG may be drawn
        self.reported = sheet.reported_window(ecg, score(ecg, heat=True))
        return {"html": result(self.reported, example), "announcement": announcement(self.reported.score, example)}

    def _heat(self, message, _):
        stage = message["stage"]
        if self.reported is None or stage not in range(8):
            raise ParameterError("there is no ECG to draw: choose one first.")
        return {"picture": sheet.picture(self.reported, stage), "alt": sheet.alt_text(self.reported, stage)}


def page() -> Page:
    """The page of one visitor; the network loads in the background, so that the first score need not wait."""
    threading.Thread(target=_load, daemon=True).start()
    return Page()


def _load():
    from cardiov.scoring import gradcam  # noqa: F401

    load_model()


def check_upload(names, contents) -> None:
    """Refuse no files, too many or too large ones, as the browser should have done; raises `SignalError`."""
    mib = sum(memoryview(content).nbytes for content in contents) / 2**20
    if not 0 < len(names) <= MAX_FILES:
        raise SignalError(f"{len(names)} files are not one ECG: give 1 to {MAX_FILES} files.")
    if mib > MAX_MIB:
        raise SignalError(f"the upload has {mib:.1f} MiB: give at most {MAX_MIB} MiB, or cut the record.")


def announcement(score, example=None) -> str:
    """A score in one sentence, and an example's label in another, for screen readers."""
    warnings = {0: "no warnings", 1: "1 warning"}.get(len(score.warnings), f"{len(score.warnings)} warnings")
    label = f" The cardiologists' label is {example.critical_value}." if example else ""
    return f"Scored: critical value {score.critical_value} of 3, {LEVELS[score.critical_value]}; {warnings}.{label}"


def result(window, example=None) -> str:
    """HTML of a score and its ECG, from `cardiov.app.sheet.reported_window`; of an example with its label and source."""
    data = load_model().metadata.get("data", "unknown data")
    json_address = "data:application/json;charset=utf-8," + quote(json.dumps(window.score.as_dict(), indent=1))
    picture, alt = sheet.picture(window), sheet.alt_text(window)
    return sheet.html("app.html", "result", window.score, picture, alt, data, json_address, example)
