"""The simulated heart: waves of one cardiac dipole, which differ by statement and by patient.

The dipole moves in three dimensions: left, down and back, in mV. Every wave (P, septum, free wall, ..., T) is a bell of
its own direction (`TIMING`, `LOOPS`). A statement changes these directions in proportion to its severity (`CHANGES`).
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

FS, SECONDS = 500, 10  # as PTB-XL: Hz, s
TIME = np.arange(FS * SECONDS) / FS  # (n,)
INDIVIDUALITY = 0.15  # relative spread of every wave between people

# fmt: off
DOWER = np.array([  # left, down, back, of I, II and V1 to V6; the other leads follow from I and II
    [0.632, -0.235, 0.059], [0.235, 1.066, -0.132], [-0.515, 0.157, -0.917], [0.044, 0.164, -1.387], [0.882, 0.098, -1.277],
    [1.213, 0.127, -0.601], [1.125, 0.127, -0.086], [0.831, 0.076, 0.230],
])
EDGE = 2.2  # standard deviations from a bell's centre to where a reader sees it end
TIMING = {  # wave: anchor, centre after it, standard deviations before and after it (ms)
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
    "narrow": {"septum": (-0.12, 0.00, -0.22), "apex": (0.35, 0.25, -0.25), "wall": (0.85, 0.62, 0.15),
        "base": (0.20, 0.08, 0.70), "end": (-0.12, -0.10, 0.18),
        "ST": (0.01, 0.02, -0.03), "T": (0.30, 0.20, -0.17), "U": (0.02, 0.01, -0.02)},
    "left block": {"wide 1": (0.45, 0.20, 0.35), "wide 2": (0.75, 0.15, 1.00), "wide 3": (0.75, 0.00, 0.45),
        "ST": (-0.12, -0.02, -0.20), "T": (-0.35, -0.10, -0.45)},
    "right ventricle": {"wide 1": (0.30, 0.50, 0.25), "wide 2": (0.60, 1.10, 0.80), "wide 3": (0.40, 0.60, 0.50),
        "ST": (-0.08, -0.15, -0.15), "T": (-0.30, -0.50, -0.40)},
    "left ventricle": {"wide 1": (-0.20, -0.30, -0.40), "wide 2": (-0.50, -0.90, -0.90), "wide 3": (-0.40, -0.50, -0.60),
        "ST": (0.08, 0.12, 0.15), "T": (0.30, 0.45, 0.45)},
    "paced": {"spike": (0.50, -1.20, 0.60), "wide 1": (0.30, -0.35, 0.30), "wide 2": (0.60, -0.80, 0.75), "wide 3": (0.45, -0.50, 0.45),
        "ST": (-0.08, 0.12, -0.15), "T": (-0.25, 0.40, -0.38)},
}
CHANGES = {  # what a statement of severity 1 adds to the waves of sinus rhythm's narrow beats (mV)
    "CRBBB": {"right, very late": (-0.62, -0.05, -0.68), "T": (0.22, 0.00, 0.34)},
    "IRBBB": {"right, late": (-0.30, 0.00, -0.50), "T": (0.00, 0.00, 0.08)},
    "LAFB": {"septum": (0, 0.20, 0), "apex": (0, -0.10, 0), "wall": (0, -0.85, 0), "base": (0.30, -0.80, 0), "end": (0.10, -0.35, 0)},
    "LPFB": {"septum": (0.15, -0.25, 0), "apex": (-0.20, 0, 0), "wall": (-0.55, 0.25, 0),
             "base": (-0.40, 0.40, 0), "end": (-0.25, 0.35, 0)},
    "WPW": {"delta": (0.48, 0.26, -0.20), "septum": (0.14, 0.00, 0.20), "ST": (-0.04, -0.03, 0.05), "T": (-0.30, -0.18, 0.16)},
    "LVH": {"wall": (0.90, 0.15, 0.30), "base": (0.50, 0.00, 0.95), "ST": (-0.14, -0.07, -0.02), "T": (-0.62, -0.25, -0.05)},
    "RVH": {"wall": (-0.70, 0.10, -0.60), "base": (-0.45, 0.10, -0.75), "end": (-0.45, 0.15, -0.35), "T": (-0.05, -0.10, 0.38)},
    "LAO/LAE": {"left atrium": (0.05, 0.02, 0.10)},
    "IMI": {"septum": (0, -0.35, 0), "apex": (0, -0.65, 0), "wall": (0, -0.50, 0), "T": (0.05, -0.20, 0), "coronary T": (0, -0.22, 0)},
    "ILMI": {"septum": (-0.10, -0.35, 0), "apex": (-0.55, -0.65, 0), "wall": (-0.35, -0.45, 0),
             "T": (-0.20, -0.20, 0), "coronary T": (-0.20, -0.20, 0)},
    "ASMI": {"septum": (0, 0, 0.38), "apex": (0, 0, 0.55), "ST": (0, 0, -0.08), "T": (0, 0, 0.20), "coronary T": (0, 0, 0.18)},
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
PR = {"1AVB": (0.215, 0.31), "WPW": (0.085, 0.112)}  # s
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


def first_of(table, codes):
    """Entry of the first statement that `table` has, else its default."""
    return next((table[s] for s in codes if s in table), table.get(""))


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


def _changed_loops(codes, severity, gain, shift):
    """All loops of one record: LOOPS, changed by the statements, then by the patient's own gains and shifts."""
    loops = {name: {wave: np.array(dipole) for wave, dipole in loop.items()} for name, loop in LOOPS.items()}
    for statement in codes:
        loop = loops["sinus" if statement == "LAO/LAE" else "narrow"]
        for wave, change in CHANGES.get(statement, {}).items():
            loop[wave] = loop.get(wave, 0) + severity[statement] * np.array(change)
    for loop in loops.values():
        loop |= {wave: dipole * gain[wave] + shift.get(wave, 0) for wave, dipole in loop.items()}
    return loops | ({"narrow": loops["left block"]} if "CLBBB" in codes else {})


def heart_of(patient, codes, severity, seed, rng):
    """The heart of one record."""
    projection, gain, shift, pr, qtc = _anatomy(patient, seed)
    projection = projection @ Rotation.from_euler("zyx", rng.normal(0, 3, 3), degrees=True).as_matrix()  # posture
    loops = _changed_loops(codes, severity, gain, shift)
    if "LVOLT" in codes:  # below 0.5 mV in every limb lead
        projection = projection * rng.uniform(0.25, 0.36) / np.abs(projection[:2] @ loops["narrow"]["wall"]).max()
    pr = rng.uniform(*first_of(PR, codes)) if first_of(PR, codes) else np.clip(pr, 0.125, 0.19)
    qtc = rng.uniform(0.482, 0.56) if "LNGQT" in codes else np.clip(qtc, 0.37, 0.437)
    qrs = np.clip(rng.normal(1, 0.05), 0.9, 1.1) * (1.08 if "LAFB" in codes else 1)
    return Heart(loops, projection, pr, qtc, qrs, (rng.uniform(0.17, 0.3), rng.uniform(0, 2 * np.pi)))


def _extent(loop, anchor):
    """First and last moment (ms) at which a loop's waves of one anchor can be seen."""
    seen = [TIMING[w] for w, v in loop.items() if TIMING[w][0] == anchor and w != "spike" and np.abs(v).max() > 0.04]
    return min(c - EDGE * before for _, c, before, _ in seen), max(c + EDGE * after for _, c, _, after in seen)


def _ventricles(beat, heart, rr):
    """Waves and marks of one QRS complex and T wave, as `waves_of` returns them."""
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
    """Waves and marks of one P wave, as `waves_of` returns them."""
    loop, onset = heart.loops[beat.atria], beat.onset - beat.pr
    start, end = (moment / 1000 for moment in _extent(loop, "P"))
    mark = (onset, onset + (end - start) / 2, onset + end - start, "p", 0)
    return _bells(loop, {"P": onset - start}, {"P": 1.0}), [mark]


def _bells(loop, zero, stretch):
    for wave, dipole in loop.items():
        anchor, *times = TIMING[wave]
        centre, before, after = np.array(times) / 1000 * (1.0 if wave == "spike" else stretch[anchor])
        yield zero[anchor] + centre, before, after, *dipole


def waves_of(beats, heart):
    """Waves and marks of all beats.

    A wave is (centre, standard deviations before and after it in s, dipole's three components in mV), a mark (onset, peak
    and end in s, symbol, number).
    """
    onsets = np.array([beat.onset for beat in beats if beat.loop])
    mean = np.diff(onsets).mean()
    previous = dict(zip(onsets[1:], np.diff(onsets), strict=True))
    parts = [_atria(beat, heart) for beat in beats if beat.atria]
    for beat in beats:
        if beat.loop:  # the QT interval follows the rate slowly
            rr = np.clip(0.75 * mean + 0.25 * previous.get(beat.onset, mean), 0.3, 1.4)
            parts.append(_ventricles(beat, heart, rr))
    return [row for rows, _ in parts for row in rows], [mark for _, marks in parts for mark in marks]


def dipole_of(waves):
    """Sum of the bells, (3, n) in mV."""
    dipole = np.zeros((3, len(TIME)))
    for centre, before, after, *vector in waves:
        part = slice(max(0, int((centre - 4 * before) * FS)), max(0, int((centre + 4 * after) * FS) + 1))
        t = TIME[part] - centre
        dipole[:, part] += np.outer(vector, np.exp(-0.5 * (t / np.where(t < 0, before, after)) ** 2))
    return dipole


def axis_of(heart):
    """Electrical axis of the QRS complex in the frontal plane (degrees)."""
    i, ii = heart.projection[:2] @ sum(v for wave, v in heart.loops["narrow"].items() if TIMING[wave][0] == "QRS")
    return np.degrees(np.arctan2((2 * ii - i) / np.sqrt(3), i))
