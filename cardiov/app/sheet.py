"""A scored ECG as HTML, for the page "Score my ECG" and for a report on paper that needs only a browser."""

import base64
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cardiov.app.intervals import measure
from cardiov.ecg.leads import ECG, read_ecg
from cardiov.ecg.missed import NOT_CHECKED, missed
from cardiov.errors import CardioVError, ParameterError
from cardiov.mapping import FINDINGS, in_words
from cardiov.plots.paper import ecg_paper
from cardiov.plots.style import LEVEL_COLOURS
from cardiov.scoring.network import load_model
from cardiov.scoring.record import COVERAGE, NOT_A_DEVICE, score
from cardiov.store.files import write_text
from cardiov.store.templates import templates

WEB = Path(__file__).with_name("web")
MAX_ECGS = 50  # of a report; each takes half a MB
HEAT_LEVELS = {"fine": 3, "medium": 5, "coarse": 7}  # stages whose cells are about a QRS complex, a beat and three beats long

TEMPLATES = templates(WEB)
TEMPLATES.filters["in_words"] = in_words
TEMPLATES.globals.update(findings=FINDINGS, colours=LEVEL_COLOURS, coverage=COVERAGE, notice=NOT_A_DEVICE)
TEMPLATES.globals.update(heat_levels=[*HEAT_LEVELS], missed=missed(), not_checked=NOT_CHECKED)


@dataclass
class ReportedWindow:
    """The part of an ECG that is drawn and measured, with the ECG's score and `cardiov.ECG.meta`."""

    signal: np.ndarray  # (12, n) in mV
    fs: float  # Hz
    start: float  # s
    score: object
    meta: dict

    def span(self):
        return f"{self.start:.1f} to {self.start + self.signal.shape[1] / self.fs:.1f} s"

    @cached_property
    def measures(self):
        return measure(self.signal, self.fs)

    @cached_property
    def picture(self):
        return picture(self)

    @cached_property
    def heat(self):
        """Of each stage, (7, n) at the score's `rate`; it takes longer than the score, and most visitors do not ask for it."""
        return score(ECG(self.signal, self.fs), heat=True).heat

    @property
    def alt(self):
        return alt_text(self)


def reported_window(ecg, score) -> ReportedWindow:
    """The reported window of a scored ECG."""
    window = score.windows[score.window]
    first, last = (round(moment * ecg.fs) for moment in (window.start, window.start + window.seconds))
    return ReportedWindow(ecg.signal[:, first:last], ecg.fs, window.start, score, ecg.meta)


def html(template, macro, *values) -> str:
    """A macro of a template, filled in."""
    return str(getattr(TEMPLATES.get_template(template).module, macro)(*values))


def paper(shown, example=None) -> str:
    """An ECG on one page of A4 at true scale, as HTML."""
    return html("sheet.html", "paper", shown, *origin(), example)


def origin(network=None):
    """What a network says of its training data and of what its test has shown, which weights of other origin may lack."""
    metadata = (network or load_model()).metadata
    return metadata.get("data", "unknown data"), metadata.get("tested")


def picture(window, level="off") -> str:
    """The ECG on paper, over the heat of one of `HEAT_LEVELS` or of none, as a data URL of an SVG image in its true size."""
    heat = None if level == "off" else window.heat[HEAT_LEVELS[level] - 1]
    image = io.BytesIO()
    ecg_paper(window.signal, window.fs, heat=heat).savefig(image, format="svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(image.getvalue()).decode()}"


def alt_text(window, level="off") -> str:
    """The picture in words."""
    ecg = f"Twelve-lead ECG on paper, 25 mm/s and 10 mm/mV, {window.span()}"
    if level == "off":
        return f"{ecg}."
    heat = window.heat[HEAT_LEVELS[level] - 1]
    if not heat.any():
        return f"{ecg}; the {level} heat map finds no evidence anywhere."
    peak = window.start + heat.argmax() / window.score.rate
    return f"{ecg}, shaded by the {level} heat map, which is strongest at {peak:.1f} s."


def write_report(files, path, model=None, **reading) -> None:
    """Write scored ECGs, each on one page of A4 at true scale, into one HTML file that needs no other.

    The report also names the files that cannot be scored, with the reason. Parameters as in
    `cardiov.scoring.archive.score_files`; `ParameterError` for more than 50 files.
    """
    if len(files) > MAX_ECGS:
        raise ParameterError(f"a report of {len(files):,} ECGs would be too long: give at most {MAX_ECGS}, or leave --report out.")
    network, scored, errors = load_model(model), [], []
    for file in files:
        try:
            ecg = read_ecg(file, **reading)
            scored.append((file, reported_window(ecg, score(ecg, network))))
        except CardioVError as error:
            errors.append(str(error))
    css = (WEB / "app.css").read_text(encoding="utf-8")
    data, tested = origin(network)
    values = {"scored": scored, "errors": errors, "css": css, "data": data, "tested": tested}
    write_text(path, TEMPLATES.get_template("score_report.html").render(values))
