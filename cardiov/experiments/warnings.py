"""What the warnings about a signal catch, how often they are false, and what they miss.

Measured on folds 9 and 10 of a data set in PTB-XL's layout, on which no limit was chosen, and on LUDB: on simulated faults and
disturbances, and against what cardiologists noted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from tqdm.auto import tqdm

from cardiov.data.ludb import read_diagnoses, read_record
from cardiov.data.ptbxl import read_metadata
from cardiov.data.records import open_records
from cardiov.ecg.leads import ECG
from cardiov.ecg.missed import TABLE
from cardiov.ecg.quality import quality_warnings
from cardiov.experiments.faults import fault_names, with_fault
from cardiov.experiments.stress import disturb
from cardiov.scoring.record import score_all
from cardiov.store.files import ROOT, write_text
from cardiov.store.results import write_table

FAULTS = frozenset(name.partition(":")[0] for name in fault_names())  # kinds of warning
NEW = FAULTS | {"pacing spikes"}  # whose false alarms are also counted together
ANY = "any fault of recording, or pacing spikes"
MEASURES = ["caught", "caught_low", "caught_high", "named", "false", "false_low", "false_high", "changed", "silent"]
LOST, CLIPPED = 2.0, 0.5  # s of a lost lead; share of its largest value at which a lead is clipped
NOTED = [  # warning, what cardiologists noted, and the column that says so
    ("drift", "drift that cardiologists noted", "baseline_drift"),
    ("noise", "noise that cardiologists noted", "static_noise"),
    ("noise", "bursts of noise that cardiologists noted", "burst_noise"),
    ("pacing spikes", "pacemaker that cardiologists noted", "pacemaker"),
]
MARKS = "<!-- table: written by `cardiov warnings` -->", "<!-- end of table -->"


@dataclass(frozen=True)
class Place:
    """ECGs by a name, of which ``noted`` says by column whether cardiologists noted something: (ECGs, columns) of bool."""

    name: str
    read: Callable  # ecg_id -> ECG
    noted: pd.DataFrame
    scored: bool  # whether the score is watched, too


def places(folder, full=None, ludb=None) -> list[Place]:
    """Folds 9 and 10 of a data set, those of its records that are in another folder at 500 Hz, and LUDB."""
    found = [Place("folds 9 and 10", open_records(folder).read, _noted(folder), True)]
    if full:
        records, noted = open_records(full), _noted(full)
        here = [ecg_id for ecg_id in noted.index if Path(f"{records.paths[ecg_id]}.hea").exists()]
        found.append(Place("folds 9 and 10, 500 Hz", records.read, noted.loc[here], False))
    if ludb:
        diagnoses = read_diagnoses(ludb)
        noted = diagnoses[["statements"]].map(lambda text: "PACE" in text.split(";")).set_axis(["pacemaker"], axis=1)
        found.append(Place("LUDB", partial(read_record, ludb), noted, False))
    return found


def _noted(folder):
    table = read_metadata(folder).query("fold > 8")
    noted = table[["baseline_drift", "static_noise", "burst_noise", "pacemaker"]].notna()
    return noted.assign(pacemaker=noted["pacemaker"] | table["scp_codes"].map(lambda codes: "PACE" in codes))


# Simulated disturbances: an ECG and random numbers -> the ECG with the disturbance


def _lost(ecg, rng):
    start, length = rng.integers(ecg.signal.shape[1] - round(LOST * ecg.fs)), round(LOST * ecg.fs)
    signal = ecg.signal.copy()
    signal[rng.integers(12), start : start + length] = 0
    return replace(ecg, signal=signal)


def _clipped(ecg, rng):
    signal, lead = ecg.signal.copy(), rng.integers(12)
    limit = CLIPPED * np.abs(signal[lead]).max()
    signal[lead] = signal[lead].clip(-limit, limit)
    return replace(ecg, signal=signal)


def _misnamed(ecg, rng):
    signal = ecg.signal.copy()
    pair = rng.choice(6, 2, replace=False)
    signal[pair] = signal[pair[::-1]]
    return replace(ecg, signal=signal)


def _stressed(ecg, rng, name, strength):
    return replace(ecg, signal=disturb(ecg.signal, ecg.fs, name, strength, rng.integers(2**31)))


def _faulty(ecg, rng, name):
    signal, fs = with_fault(ecg.signal, ecg.fs, name)
    return ECG(signal, float(fs), ecg.meta)


SIMULATED = {  # (warning, what is simulated): disturbance
    **{(name, name.replace(" may be", "")): partial(_faulty, name=name) for name in fault_names()},
    ("drift", "drift of 1 mV at each electrode"): partial(_stressed, name="baseline drift", strength=1.0),
    ("noise", "muscle noise of 0.1 mV at each electrode"): partial(_stressed, name="muscle noise", strength=0.1),
    ("flat stretch", f"one lead lost for {LOST:g} s"): _lost,
    ("clipped", "one lead clipped at half of its largest value"): _clipped,
    ("limb leads contradict each other", "names of two limb leads exchanged"): _misnamed,
}


def measure(place) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Warnings and critical values of a place's ECGs: as they are (first column) and with each of `SIMULATED`, (ECGs, 1 + cases).

    Warnings are sets of kinds, of faults of recording with their details; values are -1 where scores are not watched.
    """
    warned, values = [], []
    for ecg_id in tqdm(place.noted.index, unit=" records", desc=f"warnings on {place.name}"):
        ecg, rng = place.read(ecg_id), np.random.default_rng(ecg_id)
        cases = [ecg, *(case(ecg, rng) for case in SIMULATED.values())]
        warned.append([_names(quality_warnings(case)) for case in cases])
        values.append([score.critical_value for score in score_all(cases)] if place.scored else [-1] * len(cases))
    columns = ["clean", *(simulated for _, simulated in SIMULATED)]
    return tuple(pd.DataFrame(rows, place.noted.index, columns) for rows in (warned, values))


def _names(texts):
    """Names of warnings without their meanings; the details only of faults of recording."""
    texts = [text.partition(" (")[0] for text in texts]
    return frozenset(text if text.partition(":")[0] in FAULTS else text.partition(":")[0] for text in texts)


def _has(warned, warnings):
    """Which ECGs of a column of `measure` have one of some warnings; a kind stands for all its details."""
    return warned.map(lambda names: any(name in warnings or name.partition(":")[0] in warnings for name in names))


def tabulate(place, warned, values) -> pd.DataFrame:
    """A row for each simulated disturbance and each kind of note at a place.

    ``caught`` is the share with a warning of the kind (of faults of recording: of any) and ``named`` that with the right one;
    ``false`` the share of ECGs as they are, or without the note, with this warning; each with Wilson's 95 % interval. ``changed``
    is the share whose critical value the disturbance changes, and ``silent`` that where no new warning says so. The last row
    counts false alarms of all `NEW` kinds together, in ECGs without a noted pacemaker.
    """
    rows = [_of_simulated(place, *case, warned, values) for case in SIMULATED]
    for warning, text, column in NOTED:
        if column in place.noted:
            noted, has = place.noted[column], _has(warned["clean"], {warning})
            rows.append(_row(warning, text, place, has[noted], has[~noted]))
    false = _has(warned["clean"], NEW)[~place.noted["pacemaker"]]
    return pd.DataFrame([*rows, _row(ANY, "", place, pd.Series(dtype=bool), false)])


def _of_simulated(place, warning, simulated, warned, values):
    caught = _has(warned[simulated], FAULTS if warning in fault_names() else {warning})
    row = _row(warning, simulated, place, caught, _has(warned["clean"], {warning}))
    row["named"] = _has(warned[simulated], {warning}).mean()
    if place.scored:
        changed = values[simulated] != values["clean"]
        silent = changed & (warned[simulated] <= warned["clean"])  # no new warning: sets, compared one by one
        row |= {"changed": changed.mean(), "silent": silent.mean()}
    return row


def _row(warning, simulated, place, caught, false):
    row = {"warning": warning, "disturbance": simulated, "where": place.name}
    return row | _share("caught", caught) | _share("false", false)


def _share(name, flags):
    """Number of ECGs, share of those that are flagged, and Wilson's interval of 95 %."""
    if not len(flags):
        return {f"{name}_of": 0}
    low, high = binomtest(int(flags.sum()), len(flags)).proportion_ci(method="wilson")
    return {f"{name}_of": len(flags), name: flags.mean(), f"{name}_low": low, f"{name}_high": high}


def read_warnings() -> pd.DataFrame:
    """The measured table that comes with the package."""
    return pd.read_csv(TABLE, keep_default_na=False, na_values={name: [""] for name in MEASURES})


def write_warnings(folder, full=None, ludb=None) -> list[Path]:
    """Measure the warnings, and write the package's ``warnings.csv`` and the table of ``docs/warnings.md``."""
    table = pd.concat([tabulate(place, *measure(place)) for place in places(folder, full, ludb)], ignore_index=True)
    write_table(table, TABLE, "%.4f")
    page = ROOT / "docs/warnings.md"
    return [TABLE, write_text(page, with_table(page.read_text(encoding="utf-8"), read_warnings()))]


def with_table(text, table) -> str:
    """A page whose part between `MARKS` is the table: a row for each disturbance, by place."""
    before, _, rest = text.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    titles = "What is wrong", "ECGs", "caught, %", "named right, %", "false alarms, %", "score changes, %", "of these without a warning, %"
    head = f"| {' | '.join(titles)} |\n{'| --- ' * len(titles)}|"
    parts = [before + MARKS[0]]
    for where, rows in table.groupby("where", sort=False):
        lines = [_line(row) for row in rows.to_dict("records")]
        parts += [f"\n**{where}**\n", "\n".join([head, *lines])]
    return "\n".join(parts) + f"\n\n{MARKS[1]}{after}"


def _line(row):
    cells = row["disturbance"] or row["warning"], str(row["caught_of"] or row["false_of"]), _interval(row, "caught")
    return "| " + " | ".join([*cells, _percent(row["named"]), _interval(row, "false"), *_changes(row)]) + " |"


def _interval(row, name):
    share, low, high = (_percent(row[column]) for column in (name, f"{name}_low", f"{name}_high"))
    return f"{share} ({low} to {high})" if share else ""


def _changes(row):
    return _percent(row["changed"]), _percent(row["silent"] / (row["changed"] or 1))


def _percent(share):
    return "" if pd.isna(share) else f"{100 * share:.1f}"
