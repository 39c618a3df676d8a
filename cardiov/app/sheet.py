"""A scored ECG as HTML: what the page "Score my ECG" shows, and a report that needs no program but a browser."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cardiov.ecg.leads import read_ecg
from cardiov.errors import CardioVError, ParameterError
from cardiov.mapping import LEVELS
from cardiov.plots.paper import ecg_paper
from cardiov.plots.style import LEVEL_COLOURS
from cardiov.scoring.record import COVERAGE, NOT_A_DEVICE, load_model, score
from cardiov.store.files import replacing
from cardiov.store.templates import templates

WEB = Path(__file__).with_name("web")
MOST = 10  # ECGs of a report, each of which takes some two megabytes
STAGES = range(1, 8)
TEMPLATES = templates(WEB)
TEMPLATES.globals.update(levels=LEVELS, colours=LEVEL_COLOURS, coverage=COVERAGE, notice=NOT_A_DEVICE)


class Shown(NamedTuple):
    """A scored ECG as it is drawn: the window that is reported."""

    signal: np.ndarray  # (12, n) in mV
    fs: float
    start: float  # s
    score: object


def shown(ecg, score) -> Shown:
    """The reported window of an ECG and its score."""
    window = score.windows[score.window]
    first, last = (round(moment * ecg.fs) for moment in (window.start, window.start + window.seconds))
    return Shown(ecg.signal[:, first:last], ecg.fs, window.start, score)


def html(template, macro, *values) -> str:
    """A macro of a template, filled in."""
    return str(getattr(TEMPLATES.get_template(template).module, macro)(*values))


def picture(shown, stage=0, form="svg") -> str:
    """The ECG on paper as the address of an image that holds it; from stage 1 on over this stage's heat."""
    # without the record's name, which may be in any script or as long as it likes
    title, heat = (f"{_span(shown)}, heat of stage {stage}", shown.score.heat[stage - 1]) if stage else (_span(shown), None)
    drawn = io.BytesIO()
    ecg_paper(shown.signal, shown.fs, title, heat=heat).savefig(drawn, format=form, dpi=90)
    kind = {"svg": "svg+xml"}.get(form, form)
    return f"data:image/{kind};base64,{base64.b64encode(drawn.getvalue()).decode()}"


def _span(shown):
    return f"{shown.start:.1f} to {shown.start + shown.signal.shape[1] / shown.fs:.1f} s"


def words(shown, stage=0) -> str:
    """The picture in words."""
    told = f"Twelve-lead ECG on paper, 25 mm/s and 10 mm/mV, {_span(shown)}"
    if not stage:
        return f"{told}."
    heat = shown.score.heat[stage - 1]
    if not heat.any():
        return f"{told}; stage {stage} finds no evidence anywhere."
    return f"{told}, shaded by the heat of stage {stage}, which is strongest at {shown.start + heat.argmax() / shown.score.rate:.1f} s."


def write_report(files, path, model=None, fs=None, unit=None) -> None:
    """Write scored ECGs, each drawn with the heat of every stage, into one HTML file that needs no other.

    Parameters
    ----------
    files : sequence of str
        At most 10; why one could not be scored stands in the report.
    path : path
        The file to write.
    model, fs, unit
        As in `cardiov.scoring.archive.score_files`.

    Raises
    ------
    ParameterError
        If there are too many files.
    CheckpointError
        If the weights cannot be read, or are none of an ordinal network.
    """
    if len(files) > MOST:
        raise ParameterError(f"a report of {len(files):,} ECGs would be too long: give {MOST} at most, or leave --report out.")
    network, drawn, bad = load_model(model), [], []
    for file in files:
        try:
            drawn.append((file, *_drawn(read_ecg(file, fs=fs, unit=unit), network)))
        except CardioVError as error:
            bad.append(str(error))
    css = (WEB / "app.css").read_text(encoding="utf-8")
    values = {"drawn": drawn, "bad": bad, "css": css, "data": network.metadata.get("data")}
    text = TEMPLATES.get_template("score_report.html").render(values)
    with replacing(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _drawn(ecg, network):
    ecg = shown(ecg, score(ecg, network, heat=True))
    return ecg, [(picture(ecg, stage, "png"), words(ecg, stage)) for stage in (0, *STAGES)]
