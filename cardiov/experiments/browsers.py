"""Pages of ECGs that a reader of the notebooks switches through by a widget."""

from dataclasses import replace
from textwrap import shorten

from cardiov.ecg.leads import ECG
from cardiov.experiments.stress import DISTURBANCES, disturb
from cardiov.mapping import LEVELS
from cardiov.plots.paper import ecg_paper
from cardiov.plots.style import with_source
from cardiov.scoring.record import score

AS_RECORDED = "as recorded"
SWITCHES = {  # what is done to an ECG, in words -> disturbance and strength
    f"{name} {strength} {unit}".strip(): (name, strength)
    for name, (_, unit, strengths) in DISTURBANCES.items()
    for strength in strengths
}
_WIDTH = 140  # letters of a page's second line


def case_page(title: str, ecgs: dict[str, ECG], source: str):
    """Draw the one of several ECGs that has this title, with the source of all as a footer."""
    return with_source(ecg_paper(ecgs[title].signal, ecgs[title].fs, title), source)


def disturbed_page(condition: str, ecg: ECG, ecg_id: int, source: str):
    """Draw an ECG `AS_RECORDED` or under one of `SWITCHES`, with the shipped network's score and warnings above it.

    The random numbers are those of ``python -m cardiov stress`` for the record.
    """
    if condition != AS_RECORDED:
        name, strength = SWITCHES[condition]
        ecg = replace(ecg, signal=disturb(ecg.signal, ecg.fs, name, strength, [0, ecg_id, list(DISTURBANCES).index(name)]))
    scored = score(ecg)
    called = f"called {scored.critical_value} ({LEVELS[scored.critical_value]})"
    probabilities = ", ".join(f"{100 * p:.0f} %" for p in scored.probabilities)
    warned = "; ".join(warning.partition(" (")[0] for warning in scored.warnings) or "no warning about the signal"
    title = f"{condition}: {called}; probabilities of 0 to 3: {probabilities}\n{shorten(warned, _WIDTH, placeholder=' …')}"
    return with_source(ecg_paper(ecg.signal, ecg.fs, title), source)
