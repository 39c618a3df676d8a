"""The demo data set: simulated ECGs, written as WFDB in PTB-XL's layout, with the true wave positions kept.

One cardiac dipole moves in three dimensions: left, down and back, in mV. Every wave (P, septum, free wall, ..., T) is a
bell of its own direction (`TIMING`, `LOOPS`); a statement bends these directions by its severity (`CHANGES`) or changes
the rhythm (`RHYTHMS`). The dipole is projected on the leads by the Dower matrix (Dower et al. 1980, Clin Cardiol 3:87);
noise is added at the nine electrodes, so Einthoven's and Goldberger's relations hold in every record. A sum of bells is
the idea of McSharry et al. 2003 (IEEE Trans Biomed Eng 50:289) and, for the dipole, of Sameni et al. 2007.
"""

import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import wfdb
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sawtooth, sosfilt, sosfiltfilt
from scipy.spatial.transform import Rotation
from tqdm.auto import tqdm

from cardiov import mapping
from cardiov.errors import DataSetError, ParameterError, StorageError
from cardiov.results import locked
from cardiov.signals import ECG, LEADS

MARKER = "SIMULATED.txt"  # only a folder that has it is ever replaced
STATEMENTS = mapping.statements()
FS, SECONDS, UNITS_PER_MV = 500, 10, 1000  # as PTB-XL: Hz, s, 1 µV a unit
TIME = np.arange(FS * SECONDS) / FS  # (n,)

# How hard the data are: change these and the reader's task changes with them.
SEVERITY = (0.35, 1.0)  # a statement's findings, from borderline to marked
INDIVIDUALITY = 0.15  # relative spread of every wave between people
LABEL_NOISE = 0.08  # share of records with a statement misread or missed, where it can be
QUIET = 0.006  # mV, noise of an electrode in a good record

# fmt: off
DOWER = np.array([  # left, down, back; III and the augmented leads follow from I and II
    [0.632, -0.235, 0.059], [0.235, 1.066, -0.132],                          # I II
    [-0.515, 0.157, -0.917], [0.044, 0.164, -1.387], [0.882, 0.098, -1.277],  # V1 V2 V3
    [1.213, 0.127, -0.601], [1.125, 0.127, -0.086], [0.831, 0.076, 0.230],    # V4 V5 V6
])
ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
LEADS_OF_ELECTRODES = np.vstack([  # (8, 9): I, II, and V1 to V6 against Wilson's terminal
    [[-1, 1, 0, *[0] * 6], [-1, 0, 1, *[0] * 6]], np.hstack([np.full((6, 3), -1 / 3), np.eye(6)]),
])

EDGE = 2.2  # standard deviations from a bell's centre to where a reader sees it end
TIMING = {  # wave: counted from, centre, standard deviations before and after it (ms)
    "right atrium": ("P", 36, 16, 17), "left atrium": ("P", 70, 17, 18),
    "spike": ("QRS", -6, 1.5, 1.5), "delta": ("QRS", 2, 20, 16), "septum": ("QRS", 13, 5.5, 6),
    "apex": ("QRS", 26, 7, 8), "wall": ("QRS", 40, 8, 8), "base": ("QRS", 55, 8, 9), "end": ("QRS", 69, 8, 8),
    "right, late": ("QRS", 84, 9, 9), "right, very late": ("QRS", 104, 15, 15),
    "wide 1": ("QRS", 30, 13, 15), "wide 2": ("QRS", 66, 17, 18), "wide 3": ("QRS", 108, 18, 18),
    "ST": ("J", 60, 35, 60), "T": ("T", 0, 58, 34), "coronary T": ("T", 0, 42, 36), "U": ("T", 165, 30, 35),
}
LOOPS = {  # the dipole of each wave: left, down, back (mV)
    "sinus": {"right atrium": (0.03, 0.08, -0.04), "left atrium": (0.08, 0.05, 0.03)},
    "ectopic": {"right atrium": (0.06, -0.08, 0.03), "left atrium": (-0.03, -0.06, -0.04)},
    "narrow": {
        "septum": (-0.12, 0.00, -0.22), "apex": (0.35, 0.25, -0.25), "wall": (0.85, 0.62, 0.15),
        "base": (0.20, 0.08, 0.70), "end": (-0.12, -0.10, 0.18),
        "ST": (0.01, 0.02, -0.03), "T": (0.30, 0.20, -0.17), "U": (0.02, 0.01, -0.02)},
    "left block": {
        "wide 1": (0.45, 0.20, 0.35), "wide 2": (0.75, 0.15, 1.00), "wide 3": (0.75, 0.00, 0.45),
        "ST": (-0.12, -0.02, -0.20), "T": (-0.35, -0.10, -0.45)},
    "right ventricle": {
        "wide 1": (0.30, 0.50, 0.25), "wide 2": (0.60, 1.10, 0.80), "wide 3": (0.40, 0.60, 0.50),
        "ST": (-0.08, -0.15, -0.15), "T": (-0.30, -0.50, -0.40)},
    "left ventricle": {
        "wide 1": (-0.20, -0.30, -0.40), "wide 2": (-0.50, -0.90, -0.90), "wide 3": (-0.40, -0.50, -0.60),
        "ST": (0.08, 0.12, 0.15), "T": (0.30, 0.45, 0.45)},
    "paced": {
        "spike": (0.50, -1.20, 0.60),
        "wide 1": (0.30, -0.35, 0.30), "wide 2": (0.60, -0.80, 0.75), "wide 3": (0.45, -0.50, 0.45),
        "ST": (-0.08, 0.12, -0.15), "T": (-0.25, 0.40, -0.38)},
}
CHANGES = {  # what a statement of severity 1 adds to the waves of sinus rhythm's narrow beats (mV)
    "CRBBB": {"right, very late": (-0.62, -0.05, -0.68), "T": (0.22, 0.00, 0.34)},
    "IRBBB": {"right, late": (-0.30, 0.00, -0.50), "T": (0.00, 0.00, 0.08)},
    "LAFB": {"septum": (0, 0.20, 0), "apex": (0, -0.10, 0), "wall": (0, -0.85, 0),
             "base": (0.30, -0.80, 0), "end": (0.10, -0.35, 0)},
    "LPFB": {"septum": (0.15, -0.25, 0), "apex": (-0.20, 0, 0), "wall": (-0.55, 0.25, 0),
             "base": (-0.40, 0.40, 0), "end": (-0.25, 0.35, 0)},
    "WPW": {"delta": (0.48, 0.26, -0.20), "septum": (0.14, 0.00, 0.20),
            "ST": (-0.04, -0.03, 0.05), "T": (-0.30, -0.18, 0.16)},
    "LVH": {"wall": (0.90, 0.15, 0.30), "base": (0.50, 0.00, 0.95), "ST": (-0.14, -0.07, -0.02),
            "T": (-0.62, -0.25, -0.05)},
    "RVH": {"wall": (-0.70, 0.10, -0.60), "base": (-0.45, 0.10, -0.75), "end": (-0.45, 0.15, -0.35),
            "T": (-0.05, -0.10, 0.38)},
    "LAO/LAE": {"left atrium": (0.05, 0.02, 0.10)},
    "IMI": {"septum": (0, -0.35, 0), "apex": (0, -0.65, 0), "wall": (0, -0.50, 0),
            "T": (0.05, -0.20, 0), "coronary T": (0, -0.22, 0)},
    "ILMI": {"septum": (-0.10, -0.35, 0), "apex": (-0.55, -0.65, 0), "wall": (-0.35, -0.45, 0),
             "T": (-0.20, -0.20, 0), "coronary T": (-0.20, -0.20, 0)},
    "ASMI": {"septum": (0, 0, 0.38), "apex": (0, 0, 0.55), "ST": (0, 0, -0.08),
             "T": (0, 0, 0.20), "coronary T": (0, 0, 0.18)},
    "AMI": {"septum": (0.05, 0, 0.42), "apex": (-0.42, 0, 0.65), "wall": (-0.25, 0, 0.30), "ST": (0.05, 0, -0.14),
            "T": (-0.15, 0, 0.20), "coronary T": (-0.10, 0, 0.30)},
    "ALMI": {"septum": (-0.15, 0, 0.25), "apex": (-0.75, 0, 0.25), "wall": (-0.50, 0, 0.10),
             "T": (-0.30, 0, 0.15), "coronary T": (-0.30, 0, 0.15)},
    "INVT": {"T": (-0.40, -0.28, 0.22), "coronary T": (-0.25, -0.15, 0.15)},
    "NDT": {"T": (-0.32, -0.22, 0.14)},
    "LOWT": {"T": (-0.24, -0.16, 0.14)},
    "ISC_": {"ST": (-0.05, -0.03, 0), "T": (-0.30, -0.20, 0.15), "coronary T": (-0.30, -0.14, 0.15)},
    "STD_": {"ST": (-0.17, -0.13, 0.05), "T": (-0.08, -0.06, 0)},
    "INJAS": {"ST": (-0.08, -0.02, 0.24), "T": (-0.08, 0, 0.10)},
    "AFLT": {"T": (-0.12, -0.08, 0.07)},
}
RATES = {  # ventricular rate, beats a minute: lowest, most frequent, highest
    "SBRAD": (42, 53, 57), "STACH": (103, 110, 135), "SARRH": (61, 70, 84), "AFIB": (62, 88, 135),
    "SVTAC": (145, 165, 195), "2AVB": (68, 78, 92), "3AVB": (31, 38, 45), "PACE": (60, 68, 74),
    "BIGU": (63, 75, 85), "TRIGU": (63, 75, 85), "SR": (61, 72, 96),
}
FEWEST = 120  # patients, so that every case occurs
PR = {"1AVB": (0.215, 0.31), "WPW": (0.085, 0.112)}  # s
CASES = {  # the simulated hospital: cases a 1,000 patients; the statements stand as scp_codes has them
    "NORM SR": 305, "NORM SARRH": 28, "NORM SBRAD": 24, "NORM STACH": 12, "NORM PAC SR": 12, "NORM PVC SR": 12,
    "NORM LVOLT SR": 6, "NORM INVT SR": 3,
    "NDT SR": 32, "NDT STACH": 8, "ISC_ SR": 24, "ISC_ AFIB": 6, "LAFB SR": 22, "IRBBB SR": 26, "CRBBB SR": 22,
    "CRBBB LAFB SR": 8, "1AVB SR": 22, "1AVB SBRAD": 6, "LPFB SR": 10, "RVH SR": 10, "INVT SR": 11, "LOWT SR": 8,
    "STD_ SR": 10, "PACE": 16, "LAO/LAE SR": 6, "SBRAD LVOLT": 4, "STACH STD_": 4, "NDT PAC SR": 6,
    "AFIB": 24, "AFLT": 14, "PVC ABQRS SR": 12, "PVC NDT SR": 8, "PVC AFIB": 6, "BIGU SR": 13, "TRIGU SR": 11,
    "LVH SR": 32, "LVH AFIB": 6, "LVH ISC_ SR": 10, "LVH LAFB SR": 8, "CLBBB SR": 22, "CLBBB AFIB": 6, "INJAS SR": 10,
    "SVTAC": 10, "PSVT": 10, "2AVB": 12,
    "IMI ABQRS SR": 38, "IMI AFIB": 6, "IMI LAFB SR": 10, "IMI SBRAD": 6, "IMI 1AVB SR": 6, "1AVB IMI SR": 6,
    "ILMI SR": 14, "ASMI ABQRS SR": 34, "ASMI LAFB SR": 8, "ASMI ISC_ SR": 8, "LVH ASMI SR": 6, "CRBBB ASMI SR": 5,
    "PVC IMI SR": 6, "AMI SR": 22, "AMI STACH": 6, "ALMI SR": 12, "LNGQT SR": 14, "WPW SR": 14, "3AVB": 12,
}
PASSING = {"PAC", "PVC", "BIGU", "TRIGU", "PSVT", "SVTAC", "STACH", "INJAS", "STD_"}  # may be gone in a later record
GRADED = {"IMI", "ILMI", "ASMI", "AMI", "ALMI", "LVH", "RVH", "INJAS", "ISC_"}  # likelihood follows severity
CERTAIN = {"PVC", "PACE", "AFLT"}  # statements of form or rhythm that nevertheless have a likelihood of 100
MISREAD = {  # statement -> what a reader may write instead; never a rate or an interval that is not there
    "NORM": ("NDT", "ISC_", "LOWT"), "NDT": ("NORM", "ISC_"), "ISC_": ("NDT", "NORM"), "IRBBB": ("NORM",),
    "LAFB": ("NORM", "IMI"), "LVH": ("NORM", "HVOLT"), "IMI": ("NORM", "NDT", "ILMI"), "ASMI": ("NORM", "LVH", "AMI"),
    "AMI": ("ISC_", "NDT"), "CLBBB": ("IVCD",), "CRBBB": ("IVCD",), "1AVB": ("NORM",), "PVC": ("PRC(S)",),
    "INVT": ("NORM",), "WPW": ("IVCD",), "LNGQT": ("NDT",),
}
AGES = {"NORM": (49, 17), "SARRH": (34, 13), "WPW": (38, 14), "IRBBB": (50, 17), "PSVT": (52, 15), "AFIB": (70, 9),
        "PACE": (73, 8), "CLBBB": (70, 9), "3AVB": (72, 8), "": (64, 11)}  # mean and standard deviation, years
RHYTHM_NOTES = {"AFIB": "(AFIB", "AFLT": "(AFL", "SVTAC": "(SVTA", "PACE": "(P", "2AVB": "(BII", "WPW": "(PREX",
                "BIGU": "(B", "TRIGU": "(T", "SBRAD": "(SBR", "": "(N"}  # as in the MIT-BIH database
# fmt: on


class Beat(NamedTuple):
    """One heart beat; without a loop, a P wave that is not conducted."""

    onset: float  # of the QRS complex, s
    pr: float  # from the P wave's onset to it, s
    loop: str = "narrow"  # of the ventricles, a key of LOOPS
    symbol: str = "N"  # WFDB's beat type
    atria: str = "sinus"  # a key of LOOPS, or "" for no P wave


class Heart(NamedTuple):
    """What the beats of one record share."""

    loops: dict  # loop -> wave -> dipole (3,), mV
    projection: np.ndarray  # (8, 3)
    pr: float  # s
    qtc: float  # Fridericia, s
    qrs: float  # stretch of the QRS complex
    breath: tuple  # frequency (Hz), phase (rad)


def _first(table, codes):
    """Entry of the first statement that `table` has, else its default."""
    return next((table[s] for s in codes if s in table), table.get(""))


# --- heart -----------------------------------------------------------------------------------------------------------


def _anatomy(patient, seed):
    """What stays the same in all records of a patient: lead field, gain and shift of every wave, PR, QTc."""
    rng = np.random.default_rng([seed, 1, patient.patient_id])
    woman, age = patient.sex, patient.age
    # with age the axis turns to the left and voltages fall; women's are lower in the chest leads
    turn = Rotation.from_euler("zyx", rng.normal([8 - 0.4 * (age - 45), 0, 0], [11, 8, 7]), degrees=True)
    size = np.exp(rng.normal(0, 0.14)) * (1.1 - 0.12 * woman) * (1.15 - 0.003 * age)
    field = DOWER * rng.normal(1, 0.06, DOWER.shape)
    field[2:] *= 1 - 0.1 * woman
    gain = {wave: np.exp(rng.normal(0, INDIVIDUALITY)) for wave in TIMING}
    shift = {wave: rng.normal(0, 0.12 * INDIVIDUALITY, 3) for wave in LOOPS["narrow"]}
    pr, qtc = rng.normal(0.158, 0.015), rng.normal(0.405 + 0.013 * woman, 0.013)
    return size * field @ turn.as_matrix(), gain, shift, pr, qtc


def _bent_loops(codes, severity, gain, shift):
    """All loops of one record: LOOPS, changed by the statements, then by the patient's own gains and shifts."""
    loops = {name: {wave: np.array(dipole) for wave, dipole in loop.items()} for name, loop in LOOPS.items()}
    for statement in codes:
        loop = loops["sinus" if statement == "LAO/LAE" else "narrow"]
        for wave, change in CHANGES.get(statement, {}).items():
            loop[wave] = loop.get(wave, 0) + severity[statement] * np.array(change)
    for loop in loops.values():
        loop |= {wave: dipole * gain[wave] + shift.get(wave, 0) for wave, dipole in loop.items()}
    return loops | ({"narrow": loops["left block"]} if "CLBBB" in codes else {})


def _heart(patient, codes, severity, seed, rng):
    """The heart of one record."""
    projection, gain, shift, pr, qtc = _anatomy(patient, seed)
    projection = projection @ Rotation.from_euler("zyx", rng.normal(0, 3, 3), degrees=True).as_matrix()  # posture
    loops = _bent_loops(codes, severity, gain, shift)
    if "LVOLT" in codes:  # below 0.5 mV in every limb lead
        projection = projection * rng.uniform(0.25, 0.36) / np.abs(projection[:2] @ loops["narrow"]["wall"]).max()
    pr = rng.uniform(*_first(PR, codes)) if set(PR) & set(codes) else np.clip(pr, 0.125, 0.19)
    qtc = rng.uniform(0.482, 0.56) if "LNGQT" in codes else np.clip(qtc, 0.37, 0.437)
    qrs = np.clip(rng.normal(1, 0.05), 0.9, 1.1) * (1.08 if "LAFB" in codes else 1)
    return Heart(loops, projection, pr, qtc, qrs, (rng.uniform(0.17, 0.3), rng.uniform(0, 2 * np.pi)))


def _extent(loop, anchor):
    """First and last moment (ms) at which a loop's waves of one anchor can be seen."""
    seen = [TIMING[w] for w, v in loop.items() if TIMING[w][0] == anchor and w != "spike" and np.abs(v).max() > 0.04]
    return min(c - EDGE * before for _, c, before, _ in seen), max(c + EDGE * after for _, c, _, after in seen)


def _ventricles(beat, heart, rr):
    """Waves and marks of one QRS complex and T wave, as `_waves` gives them."""
    loop = heart.loops[beat.loop]
    start, end = (heart.qrs * moment / 1000 for moment in _extent(loop, "QRS"))
    qt = heart.qtc * rr ** (1 / 3) + 0.7 * (end - start - 0.09)  # Fridericia; a wide QRS delays the T wave
    stretch = {"QRS": heart.qrs, "J": 1.0, "T": qt / 0.4}
    before, after = (deviation / 1000 * stretch["T"] for deviation in TIMING["T"][2:])
    j, peak = beat.onset + end - start, beat.onset + qt - EDGE * after
    zero = {"QRS": beat.onset - start, "J": j, "T": peak}
    marks = [(beat.onset, None, j, beat.symbol, 1), (peak - 1.8 * before, peak, beat.onset + qt, "t", 2)]
    return _bells(loop, zero, stretch), marks


def _atria(beat, heart):
    """The same of the P wave."""
    loop, onset = heart.loops[beat.atria], beat.onset - beat.pr
    start, end = (moment / 1000 for moment in _extent(loop, "P"))
    mark = (onset, onset + (end - start) / 2, onset + end - start, "p", 0)
    return _bells(loop, {"P": onset - start}, {"P": 1.0}), [mark]


def _bells(loop, zero, stretch):
    rows = []
    for wave, dipole in loop.items():
        anchor, *times = TIMING[wave]
        centre, before, after = np.array(times) / 1000 * (1.0 if wave == "spike" else stretch[anchor])
        rows.append((zero[anchor] + centre, before, after, *dipole))
    return rows


def _waves(beats, heart):
    """All beats' waves (centre, standard deviations before and after in s; dipole in mV) and marks (onset, peak, end in
    s, symbol, number)."""
    onsets = np.array([beat.onset for beat in beats if beat.loop])
    mean = np.diff(onsets).mean()
    previous = dict(zip(onsets[1:], np.diff(onsets), strict=True))
    parts = [_atria(beat, heart) for beat in beats if beat.atria]
    for beat in beats:
        if beat.loop:  # the QT interval follows the rate slowly
            rr = np.clip(0.75 * mean + 0.25 * previous.get(beat.onset, mean), 0.3, 1.4)
            parts.append(_ventricles(beat, heart, rr))
    return [row for rows, _ in parts for row in rows], [mark for _, marks in parts for mark in marks]


def _dipole(waves):
    """Sum of the bells, (3, n) in mV."""
    dipole = np.zeros((3, len(TIME)))
    for centre, before, after, *vector in waves:
        part = slice(max(0, int((centre - 4 * before) * FS)), max(0, int((centre + 4 * after) * FS) + 1))
        t = TIME[part] - centre
        dipole[:, part] += np.outer(vector, np.exp(-0.5 * (t / np.where(t < 0, before, after)) ** 2))
    return dipole


# --- rhythm: each function gives the beats from before the record's start to after its end ---------------------------


def _times(rate, irregularity, heart, rng):
    """Onsets (s); `irregularity` is the share of the RR interval that breathing takes and gives."""
    frequency, phase = heart.breath
    times = [-rng.uniform(1, 2)]
    while times[-1] < SECONDS + 1:
        breathing = irregularity * np.sin(2 * np.pi * frequency * times[-1] + phase)
        times.append(times[-1] + 60 / rate * (1 + breathing + 0.008 * rng.standard_normal()))
    return times


def _rate(codes, rng):
    return rng.triangular(*(_first(RATES, codes) or RATES["SR"]))


def _sinus(codes, heart, rng):
    irregularity = rng.uniform(0.12, 0.22) if "SARRH" in codes else rng.uniform(0.005, 0.035)
    symbol = _first({"CLBBB": "L", "CRBBB": "R", "": "N"}, codes)
    return [Beat(t, heart.pr, symbol=symbol) for t in _times(_rate(codes, rng), irregularity, heart, rng)]


def _fibrillation(codes, heart, rng):
    beat, *others = _sinus(codes, heart, rng)
    mean = (others[-1].onset - beat.onset) / len(others)
    rr = mean * np.clip(rng.lognormal(-0.03, 0.24, 2 * len(others)), 0.6, 1.9)
    onsets = beat.onset + np.cumsum(np.maximum(rr, 0.33))
    return [beat._replace(onset=t, atria="") for t in onsets if t < SECONDS + 1]


def _flutter_period(heart):
    return 0.18 + 0.3 * (heart.pr - 0.125)  # s, the patient's own: 300 to 330 a minute


def _flutter(codes, heart, rng):
    varying = rng.random() < 0.4
    ratios = rng.choice([2, 3, 4], p=[0.35, 0.25, 0.4], size=60 if varying else 1)
    onsets = -1.0 + np.cumsum(np.resize(ratios, 60)) * _flutter_period(heart)
    return [Beat(t, 0, atria="") for t in onsets if t < SECONDS + 1]


def _tachycardia(codes, heart, rng):
    """Supraventricular tachycardia without visible P waves; the paroxysmal one starts within the record."""
    start = rng.uniform(2, 5) if "PSVT" in codes else -2.0
    run = np.arange(start, SECONDS + 1, 60 / rng.triangular(*RATES["SVTAC"]))
    before = [beat for beat in _sinus(codes, heart, rng) if beat.onset < start - 0.35]
    return before + [Beat(t, 0, symbol="S", atria="") for t in run]


def _second_degree(codes, heart, rng):
    """Wenckebach's growing PR intervals, or every second P wave blocked."""
    cycle, growth = (2, 0) if rng.random() < 0.4 else (rng.integers(3, 6), rng.uniform(0.05, 0.11))
    beats = []
    for k, beat in enumerate(_sinus(codes, heart, rng)):
        longer, blocked = growth * np.sqrt(k % cycle), k % cycle == cycle - 1
        beats.append(Beat(beat.onset + longer, heart.pr + longer, "" if blocked else "narrow"))
    return beats


def _third_degree(codes, heart, rng):
    """Atria and ventricles each at their own rate."""
    loop, symbol = ("left ventricle", "E") if rng.random() < 0.5 else ("narrow", "j")
    atria = [Beat(t, heart.pr, "") for t in _times(rng.uniform(68, 95), 0.02, heart, rng)]
    return atria + [Beat(t, 0, loop, symbol, "") for t in _times(_rate(codes, rng), 0.005, heart, rng)]


def _paced(codes, heart, rng):
    atria = "sinus" if rng.random() < 0.5 else ""  # following the patient's own P waves, or over silent atria
    return [Beat(t, 0.16, "paced", "/", atria) for t in _times(_rate(codes, rng), 0, heart, rng)]


RHYTHMS = {"AFIB": _fibrillation, "AFLT": _flutter, "SVTAC": _tachycardia, "PSVT": _tachycardia,
           "2AVB": _second_degree, "3AVB": _third_degree, "PACE": _paced, "": _sinus}  # fmt: skip


def _premature(beats, codes, rng):
    """Make some beats premature: ventricular with a compensatory pause, or atrial that resets the rhythm."""
    onsets = [beat.onset for beat in beats]
    fit = [k for k in range(1, len(beats)) if 0.8 < onsets[k] < SECONDS - 0.8 and onsets[k] - onsets[k - 1] > 0.5]
    every = _first({"BIGU": 2, "TRIGU": 3, "": 0}, codes)
    chosen = fit[::every] if every else rng.permutation(fit[:: rng.integers(3, 8)])[: rng.integers(1, 4)]
    atrial = "PAC" in codes or (every and rng.random() < 0.2)
    ventricle = "right ventricle" if rng.random() < 0.5 else "left ventricle"
    ectopic = {"symbol": "A", "atria": "ectopic"} if atrial else {"symbol": "V", "atria": "", "loop": ventricle}
    coupling, shift, result = rng.uniform(0.56, 0.68) + 0.06 * bool(atrial), 0.0, []
    for k, beat in enumerate(beats):
        early = (1 - coupling) * (onsets[k] - onsets[k - 1]) if k in chosen else 0.0
        result.append(beat._replace(onset=beat.onset - shift - early, **(ectopic if early else {})))
        shift += 0.8 * early if atrial else 0.0
    return result


def _atrial_activity(codes, heart, rng):
    """Fibrillatory or flutter waves, (3, n) in mV."""
    if "AFIB" in codes:
        band = butter(1, (4.5, 9.0), "bandpass", fs=FS, output="sos")
        waves = sosfiltfilt(band, rng.standard_normal((3, len(TIME))))
        return waves / waves.std() * rng.uniform(0.02, 0.05) * np.array([[0.6], [1.0], [1.0]])
    if "AFLT" in codes:
        phase = 2 * np.pi * (TIME + 0.97) / _flutter_period(heart)
        wave = gaussian_filter1d(sawtooth(phase, 0.3), 0.009 * FS, mode="nearest")
        return np.outer((-0.01, 0.17, -0.06), wave) * rng.uniform(0.7, 1.3)
    return np.zeros((3, len(TIME)))


# --- recorder --------------------------------------------------------------------------------------------------------


MUSCLE_BAND = butter(1, (15, 150), "bandpass", fs=FS, output="sos")


def _muscle(size, rng):
    return 1.5 * size * sosfilt(MUSCLE_BAND, rng.standard_normal(len(TIME)))


def _drift(size, rng):
    frequency, phase = rng.uniform(0.05, 0.4, (3, 1)), rng.uniform(0, 2 * np.pi, (3, 1))
    return size * np.sin(2 * np.pi * frequency * TIME + phase).sum(axis=0)


def _static(size, rng):
    mains = np.sin(2 * np.pi * 50 * TIME + rng.uniform(0, 2 * np.pi))
    return rng.uniform(0.5, 1) * size * mains + _muscle(size, rng)


def _burst(size, rng):
    places = rng.uniform(0.5, SECONDS - 0.5, (rng.integers(1, 4), 1))
    return _muscle(size, rng) * np.exp(-0.5 * ((TIME - places) / 0.15) ** 2).sum(axis=0)


def _loose(size, rng):
    """Sudden steps of a loose electrode."""
    steps = np.sort(rng.uniform(0, SECONDS, 6))
    return gaussian_filter1d(rng.normal(0, size, 7)[np.searchsorted(steps, TIME)], 2)


NOISES = {  # column: share of records, PTB-XL's way of writing where, source, size (mV)
    "baseline_drift": (0.08, " , {}", _drift, (0.12, 0.3)),
    "static_noise": (0.14, " , {},  ", _static, (0.02, 0.04)),
    "burst_noise": (0.03, "{}", _burst, (0.2, 0.4)),
    "electrodes_problems": (0.01, "{}", _loose, (0.4, 0.8)),
}
PLACES = {name: [k] for k, name in enumerate(ELECTRODES) if k > 2}  # leads as PTB-XL writes them -> electrodes
PLACES |= {"alles": range(9), "I-AVF": range(3), "I-AVR": [0], "II,III,AVF": [2], "I-V1": range(4)}


def _noise(rng):
    """Noise at the electrodes, (9, n) in mV, and the metadata's columns that tell of it."""
    quiet = QUIET * rng.lognormal(0, 0.4)
    noise = np.array([_muscle(quiet, rng) + _drift(0.03, rng) for _ in ELECTRODES])
    notes = dict.fromkeys(NOISES)
    for column, (share, text, source, sizes) in NOISES.items():
        if rng.random() < share:
            place = list(PLACES)[rng.integers(6 if column == "electrodes_problems" else len(PLACES))]
            notes[column] = text.format(place)
            for electrode in PLACES[place]:
                noise[electrode] += source(rng.uniform(*sizes), rng)
    return noise, notes


def _twelve(leads):
    """(8, n) in mV to (12, n) in digital units; III and the augmented leads follow from the digitised I and II."""
    i, ii, *chest = np.clip(np.rint(leads * UNITS_PER_MV), -10000, 10000)
    return np.rint([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2, *chest]).astype("<i2")


def _annotations(marks, potentials):
    """WFDB annotations (sample, symbol, number) of the waves that lie wholly within the record, in order of time."""
    found = []
    for onset, peak, end, symbol, number in marks:
        a, b = round(onset * FS), round(end * FS)
        if 0 <= a < b < len(TIME):
            strongest = a + int(np.square(potentials[:, a:b]).sum(axis=0).argmax())
            found += [(a, "(", number), (round(peak * FS) if peak else strongest, symbol, number), (b, ")", number)]
    return sorted(found)


def _simulate(patient, codes, severity, seed, rng):
    """One record: signal (12, n) in digital units, annotations, the metadata's noise columns, QRS axis in degrees."""
    heart = _heart(patient, codes, severity, seed, rng)
    beats = _first(RHYTHMS, codes)(codes, heart, rng)
    if {"PAC", "PVC", "BIGU", "TRIGU"} & set(codes):
        beats = _premature(beats, codes, rng)
    waves, marks = _waves(sorted(beats), heart)
    dipole = _dipole(waves)
    annotations = _annotations(marks, heart.projection @ dipole)
    dipole += _atrial_activity(codes, heart, rng)
    breath = np.sin(2 * np.pi * heart.breath[0] * TIME + heart.breath[1])
    turn = np.cross(rng.normal(0, 0.035, 3), dipole, axisb=0).T  # breathing turns the heart a little
    dipole = (1 + 0.04 * breath) * (dipole + breath * turn)
    noise, notes = _noise(rng)
    return _twelve(heart.projection @ dipole + LEADS_OF_ELECTRODES @ noise), annotations, notes, _axis(heart)


def _axis(heart):
    """Electrical axis of the QRS complex in the frontal plane (degrees)."""
    i, ii = heart.projection[:2] @ sum(v for wave, v in heart.loops["narrow"].items() if TIMING[wave][0] == "QRS")
    return np.degrees(np.arctan2((2 * ii - i) / np.sqrt(3), i))


def example(statements, seed=0) -> ECG:
    """One simulated ECG of 10 s at 500 Hz that has the given findings, marked; the same on every call.

    Parameters
    ----------
    statements : str
        As in `CASES`, such as "NORM SR".
    seed : int
        Of the patient, of the heart's rate and of the noise.

    Returns
    -------
    ECG
        Its record's name says that it is simulated.

    Raises
    ------
    ParameterError
        If `CASES` has no such case.
    """
    if statements not in CASES:
        raise ParameterError(f"{statements!r} cannot be simulated: choose one of {', '.join(CASES)}.")
    codes, rng = statements.split(), np.random.default_rng([seed, 3])
    patient = SimpleNamespace(patient_id=seed, sex=seed % 2, age=round(_first(AGES, codes)[0]))
    signal, *_ = _simulate(patient, codes, dict.fromkeys(codes, SEVERITY[1]), seed, rng)
    meta = {"record": f"simulated {statements}", "age": float(patient.age), "sex": ("male", "female")[patient.sex],
            "comments": []}  # fmt: skip
    return ECG((signal / UNITS_PER_MV).astype(np.float32), float(FS), meta)


# --- reader and archive ----------------------------------------------------------------------------------------------


def _scp_codes(codes, severity, rng):
    """What the reader writes, statement -> likelihood, with PTB-XL's habits and human errors."""
    read, doubtful = list(codes), [k for k, s in enumerate(codes) if s in MISREAD]
    if doubtful and rng.random() < LABEL_NOISE:
        wrong = rng.choice(doubtful)
        read[wrong] = str(rng.choice(MISREAD[read[wrong]]))
    likelihoods = dict.fromkeys(read, 0.0)
    for statement in likelihoods:
        sure = severity.get(statement, 0.6) + rng.normal(0, 0.12)
        if statement == "NORM":
            likelihoods[statement] = 80.0 if {"SARRH", "SBRAD", "STACH", "PAC", "LVOLT"} & set(codes) else 100.0
        elif statement in GRADED:
            likelihoods[statement] = (15.0, 35.0, 50.0, 80.0, 100.0)[np.searchsorted((0.38, 0.44, 0.52, 0.58), sure)]
        elif statement in CERTAIN or "diagnostic" in STATEMENTS.kind[statement]:
            likelihoods[statement] = 100.0
    return likelihoods


def _metadata(patient, codes, scp_codes, notes, axis, rng):
    """One row of ptbxl_database.csv in PTB-XL's columns, order and conventions, as often filled in as there."""
    maybe = lambda share, value: value if rng.random() < share else None  # noqa: E731
    whole = lambda mean, spread: float(round(rng.normal(mean, spread)))  # noqa: E731
    name = f"{patient.ecg_id // 1000 * 1000:05d}/{patient.ecg_id:05d}"
    words = [STATEMENTS.description[statement] for statement in scp_codes]
    stage = str(rng.choice(["unknown", "Stadium III"])) if any(s.endswith("MI") for s in codes) else None
    heart_axis = ("AXR", "ALAD", "LAD", "MID", "RAD", "ARAD")[np.searchsorted((-90, -30, 30, 90, 120), axis)]
    # fmt: off
    return {
        "ecg_id": patient.ecg_id, "patient_id": float(patient.patient_id),
        "age": 300.0 if patient.age >= 90 else maybe(0.998, float(patient.age)), "sex": patient.sex,
        "height": maybe(0.32, whole(175 - 12 * patient.sex, 7)),
        "weight": maybe(0.48, whole(80 - 12 * patient.sex, 11)),
        "nurse": maybe(0.92, float(rng.integers(12))), "site": float(rng.integers(4)), "device": "SIMULATOR",
        "recording_date": str(patient.date), "report": "simulated record: " + ", ".join(words),
        "scp_codes": str(scp_codes), "heart_axis": maybe(0.53, heart_axis),
        "infarction_stadium1": stage, "infarction_stadium2": None,
        "validated_by": maybe(0.55, float(rng.integers(12))), "second_opinion": rng.random() < 0.03,
        "initial_autogenerated_report": rng.random() < 0.26, "validated_by_human": rng.random() < 0.78, **notes,
        "extra_beats": _first({"PAC": "SVES", "PVC": "VES"}, codes),
        "pacemaker": _first({"PACE": "ja, pacemaker"}, codes), "strat_fold": patient.fold,
        "filename_lr": f"records100/{name}_lr", "filename_hr": f"records500/{name}_hr",
    }
    # fmt: on


def _write_wfdb(path, signal, annotations, rhythm):
    """Header and signal as PTB-XL has them (wfdb.wrsamp writes the same bytes, far slower), annotations beside them."""
    lines = [f"{path.name} {len(signal)} {FS} {signal.shape[1]}"]
    for lead, samples in zip(LEADS, signal, strict=True):
        checksum = samples.sum(dtype=np.int64) % 65536
        lines.append(f"{path.name}.dat 16 {UNITS_PER_MV:.1f}(0)/mV 16 0 {samples[0]} {checksum} 0 {lead.upper()}")
    Path(f"{path}.hea").write_bytes("".join(f"{line}\n" for line in lines).encode())
    Path(f"{path}.dat").write_bytes(signal.T.tobytes())
    sample, symbol, number = zip((0, "+", 0), *annotations, strict=True)
    notes = [rhythm] + [""] * len(annotations)
    wfdb.wrann(path.name, "atr", np.array(sample), list(symbol), num=np.array(number), aux_note=notes, fs=FS,
               write_dir=str(path.parent))  # fmt: skip


def _findings(patient, rng):
    """The statements that are true of this record."""
    codes = patient.case.split()
    if patient.again and rng.random() < 0.4:
        codes = [s for s in codes if s not in PASSING]
        codes += [] if {"SR", "AFIB"} & set(codes) else ["SR"]
    return ["NORM", "SR"] if codes in (["SR"], ["ABQRS", "SR"]) else codes


def _record(patient, folder, seed):
    """Simulate and write one record; returns its row of metadata."""
    rng = np.random.default_rng([seed, 2, patient.ecg_id])
    codes = _findings(patient, rng)
    severity = {s: float(np.clip(patient.severity + rng.normal(0, 0.1), *SEVERITY)) for s in codes}
    signal, annotations, notes, axis = _simulate(patient, codes, severity, seed, rng)
    row = _metadata(patient, codes, _scp_codes(codes, severity, rng), notes, axis, rng)
    path = Path(folder, row["filename_hr"])
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_wfdb(path, signal, annotations, _first(RHYTHM_NOTES, codes))
    return row


def _patients(count, rng):
    """Case, severity, age, sex and fold of every patient; the folds share every case out."""
    if count < FEWEST:
        raise ParameterError(f"{count} patients cannot show all {len(CASES)} demo cases: ask for {FEWEST} or more.")
    weights = np.array([*CASES.values()])
    quota = np.maximum(1, weights * count // weights.sum())
    quota[0] += count - quota.sum()
    cases = np.repeat([*CASES], quota)
    mean, spread = np.transpose([_first(AGES, case.split()) for case in cases])
    return pd.DataFrame({
        "patient_id": rng.permutation(count) + 1, "case": cases, "fold": np.arange(count) % 10 + 1,
        "age": np.clip(np.rint(rng.normal(mean, spread)), 6, 94), "sex": (rng.random(count) > 0.52).astype(int),
        "severity": rng.uniform(*SEVERITY, count),
        "date": pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(8 * 365 * 86400, size=count), unit="s"),
    })  # fmt: skip


def _visits(patients, seed):
    """One row for each record: its patient, when, and `again`, how many of the patient's came before."""
    rng = np.random.default_rng([seed, 0])
    table = _patients(patients, rng)
    table = table.loc[np.repeat(table.index, rng.choice([1, 2, 3, 4], p=[0.82, 0.13, 0.03, 0.02], size=patients))]
    table["again"] = table.groupby("patient_id").cumcount()
    later = pd.to_timedelta(table["again"] * rng.integers(20 * 86400, 500 * 86400, len(table)), unit="s")
    table = table.assign(date=table["date"] + later, age=table["age"] + later.dt.days // 365)
    table = table.sort_values(["date", "patient_id"])
    return table.assign(ecg_id=np.arange(len(table)) + 1)


def _statement_table():
    """scp_statements.csv in PTB-XL's columns; subclass and codes of other vocabularies stay empty."""
    frame = STATEMENTS[["description"]].copy()
    for kind in ("diagnostic", "form", "rhythm"):
        frame[kind] = STATEMENTS.kind.str.contains(kind).map({True: 1.0, False: None})
    frame["diagnostic_class"], frame["diagnostic_subclass"] = STATEMENTS.superclass, None
    frame["Statement Category"] = STATEMENTS.scp_category
    frame["SCP-ECG Statement Description"] = STATEMENTS.description
    return frame.reindex(columns=[*frame, "AHA code", "aECG REFID", "CDISC Code", "DICOM Code"]).rename_axis(None)


def _write_all(folder, patients, seed, workers):
    visits = [SimpleNamespace(**row) for row in _visits(patients, seed).to_dict("records")]
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        rows = pool.map(partial(_record, folder=folder, seed=seed), visits, chunksize=10)
        table = pd.DataFrame(list(tqdm(rows, total=len(visits), unit=" records", desc="simulating ECGs")))
    table.to_csv(folder / "ptbxl_database.csv", index=False, lineterminator="\n")
    _statement_table().to_csv(folder / "scp_statements.csv", lineterminator="\n")
    (folder / MARKER).write_text(f"Simulated ECGs, not of any person: {patients} patients, seed {seed}.\n")


def make_demo(folder, patients=1000, seed=0, workers=None):
    """Write simulated ECGs of 10 s at 500 Hz in PTB-XL's layout, the same on every run.

    Writes ``ptbxl_database.csv``, ``scp_statements.csv`` and, under ``records500``, each record's WFDB header, signal
    (format 16, 1 µV a unit) and annotations (``.atr``). These hold the true waves that lie wholly within the record,
    each as ``(``, its peak, ``)``: ``p`` for the P wave; the beat type for the QRS complex (``N`` normal, ``L`` and
    ``R`` bundle branch block, ``A`` atrial and ``V`` ventricular premature, ``S`` supraventricular tachycardia, ``/``
    paced, ``E`` ventricular and ``j`` junctional escape); ``t`` for the T wave. ``num`` is 0, 1 and 2 for P, QRS and T
    and tells overlapping waves apart; ``+`` at the first sample names the rhythm. The column ``filename_lr`` is filled
    as in PTB-XL, but 100 Hz records are not written.

    Parameters
    ----------
    folder : path
        Where to write; an earlier demo set there is replaced once the new one is complete.
    patients : int
        Number of patients, 120 or more; about 1.25 records each.
    seed : int
        All is drawn from it; the number of workers makes no difference.
    workers : int, optional
        Processes; by default one for each core.

    Raises
    ------
    ParameterError
        If there are too few patients for every case to occur.
    DataSetError
        If `folder` holds anything but an earlier demo set.
    StorageError
        If it cannot be written.
    """
    folder = Path(folder).absolute()
    prefix = f".{folder.name}-"
    if folder.exists() and not (folder / MARKER).exists() and (folder.is_file() or any(folder.iterdir())):
        raise DataSetError(f"{folder} holds something else than demo data and is left alone: give another folder.")
    try:
        with locked(folder):
            for left in folder.parent.glob(f"{prefix}*"):
                shutil.rmtree(left)  # by a process that was killed
            with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as temporary:
                new = Path(temporary, "new")
                _write_all(new, patients, seed, workers)
                if folder.exists():
                    os.replace(folder, Path(temporary, "old"))
                os.replace(new, folder)
    except OSError as error:
        raise StorageError(
            f"the demo data cannot be written to {folder} ({error.strerror}): mend that or give another folder."
        ) from error
