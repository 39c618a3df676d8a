"""A scored ECG as HTML, for the page "Score my ECG" and for a report that needs only a browser."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cardiov.ecg.leads import read_ecg
from cardiov.errors import CardioVError, ParameterError
from cardiov.mapping import LEVELS, description
from cardiov.plots.paper import ecg_paper
from cardiov.plots.style import LEVEL_COLOURS
from cardiov.scoring.record import COVERAGE, NOT_A_DEVICE, load_model, score
from cardiov.store.files import write_text
from cardiov.store.templates import templates

WEB = Path(__file__).with_name("web")
MAX_ECGS = 10  # of a report; each takes some 2 MB


def statements_in_words(statements) -> str:
    """Statements such as "PVC:100;SR:0" in words, with their likelihoods in percent; PTB-XL writes 0 for an unknown one."""
    pairs = (statement.split(":") for statement in statements.split(";"))
    return ", ".join(description(name) + (f" ({likelihood} %)" if likelihood != "0" else "") for name, likelihood in pairs)


TEMPLATES = templates(WEB)
TEMPLATES.filters["statements_in_words"] = statements_in_words
TEMPLATES.globals.update(levels=LEVELS, colours=LEVEL_COLOURS, coverage=COVERAGE, notice=NOT_A_DEVICE)


class ReportedWindow(NamedTuple):
    """The part of an ECG that is drawn, and the ECG's score."""

    signal: np.ndarray  # (12, n) in mV
    fs: float  # Hz
    start: float  # s
    score: object

    def span(self):
        return f"{self.start:.1f} to {self.start + self.signal.shape[1] / self.fs:.1f} s"


def reported_window(ecg, score) -> ReportedWindow:
    """The reported window of a scored ECG."""
    window = score.windows[score.window]
    first, last = (round(moment * ecg.fs) for moment in (window.start, window.start + window.seconds))
    return ReportedWindow(ecg.signal[:, first:last], ecg.fs, window.start, score)


def html(template, macro, *values) -> str:
    """A macro of a template, filled in."""
    return str(getattr(TEMPLATES.get_template(template).module, macro)(*values))


def picture(window, stage=0, form="svg") -> str:
    """The ECG on paper, over the heat of a stage from 1 to 7, as a data URL of an image."""
    title, heat = window.span(), None  # no record name, which may have any script and length
    if stage:
        title, heat = f"{title}, heat of stage {stage}", window.score.heat[stage - 1]
    image = io.BytesIO()
    ecg_paper(window.signal, window.fs, title, heat=heat).savefig(image, format=form, dpi=90)
    kind = {"svg": "svg+xml"}.get(form, form)
    return f"data:image/{kind};base64,{base64.b64encode(image.getvalue()).decode()}"


def alt_text(window, stage=0) -> str:
    """The picture in words."""
    ecg = f"Twelve-lead ECG on paper, 25 mm/s and 10 mm/mV, {window.span()}"
    if not stage:
        return f"{ecg}."
    heat = window.score.heat[stage - 1]
    if not heat.any():
        return f"{ecg}; stage {stage} finds no evidence anywhere."
    peak = window.start + heat.argmax() / window.score.rate
    return f"{ecg}, shaded by the heat of stage {stage}, which is strongest at {peak:.1f} s."


def write_report(files, path, model=None, **reading) -> None:
    """Write scored ECGs, drawn with the heat of every stage, into one HTML file that needs no other.

    The report also names the files that cannot be scored, with the reason. Parameters as in
    `cardiov.scoring.archive.score_files`; `ParameterError` for more than 10 files.
    """
    if len(files) > MAX_ECGS:
        raise ParameterError(f"a report of {len(files):,} ECGs would be too long: give at most {MAX_ECGS}, or leave --report out.")
    network, scored, errors = load_model(model), [], []
    for file in files:
        try:
            ecg = read_ecg(file, **reading)
            scored.append((file, *_drawn(reported_window(ecg, score(ecg, network, heat=True)))))
        except CardioVError as error:
            errors.append(str(error))
    css = (WEB / "app.css").read_text(encoding="utf-8")
    values = {"scored": scored, "errors": errors, "css": css, "data": network.metadata.get("data")}
    text = TEMPLATES.get_template("score_report.html").render(values)
    write_text(path, text)


def _drawn(window):
    return window.score, [(picture(window, stage, "png"), alt_text(window, stage)) for stage in range(8)]
