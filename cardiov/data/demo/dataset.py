"""The demo data set: simulated ECGs in PTB-XL's layout, annotated with the true positions of the waves.

A cardiac dipole moves in three dimensions (`heart`) in a rhythm (`rhythm`). The Dower matrix (Dower et al. 1980, Clin Cardiol
3:87) projects it on the leads. Noise is added at the nine electrodes, so Einthoven's and Goldberger's relations hold in every
record. Waves are sums of bells as in McSharry et al. 2003 (IEEE Trans Biomed Eng 50:289), for the dipole as in Sameni et al.
2007.
"""

import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import wfdb
from tqdm.auto import tqdm

from cardiov.data.demo.heart import FS, TIME, axis_of, dipole_of, first_of, heart_of, waves_of
from cardiov.data.demo.hospital import AGES, CASES, SEVERITY, STATEMENTS, findings_of, scp_codes_of, visits_of
from cardiov.data.demo.recorder import UNITS_PER_MV, annotations_of, noise_of, twelve_leads
from cardiov.data.demo.rhythm import RHYTHMS, atrial_activity, premature
from cardiov.ecg.electrodes import LEADS_OF_ELECTRODES
from cardiov.ecg.leads import ECG, LEADS
from cardiov.errors import DataSetError, ParameterError
from cardiov.store.files import locked, storing

MARKER = "SIMULATED.txt"  # only a folder with this file is replaced
RHYTHM_NOTES = {"AFIB": "(AFIB", "AFLT": "(AFL", "SVTAC": "(SVTA", "PACE": "(P", "2AVB": "(BII", "WPW": "(PREX",
                "BIGU": "(B", "TRIGU": "(T", "SBRAD": "(SBR", "": "(N"}  # fmt: skip  # as in the MIT-BIH database


def _simulate(patient, codes, severity, seed, rng):
    """One record: signal (12, n) in digital units, annotations, the metadata's noise columns, QRS axis in degrees."""
    heart = heart_of(patient, codes, severity, seed, rng)
    beats = first_of(RHYTHMS, codes)(codes, heart, rng)
    if {"PAC", "PVC", "BIGU", "TRIGU"} & set(codes):
        beats = premature(beats, codes, rng)
    waves, marks = waves_of(sorted(beats), heart)
    dipole = dipole_of(waves)
    annotations = annotations_of(marks, heart.projection @ dipole)
    dipole += atrial_activity(codes, heart, rng)
    breath = np.sin(2 * np.pi * heart.breath[0] * TIME + heart.breath[1])
    turn = np.cross(rng.normal(0, 0.035, 3), dipole, axisb=0).T  # breathing turns the heart a little
    dipole = (1 + 0.04 * breath) * (dipole + breath * turn)
    noise, notes = noise_of(rng)
    return twelve_leads(heart.projection @ dipole + LEADS_OF_ELECTRODES @ noise), annotations, notes, axis_of(heart)


def example(statements, seed=0) -> ECG:
    """Simulate one ECG of 10 s at 500 Hz with the given findings at full severity, the same on every call.

    ``statements`` are a key of `CASES`, such as "NORM SR"; any other is a ParameterError. ``seed`` is that of the patient, of
    the heart's rate and of the noise. ``meta["record"]`` says that the ECG is simulated.
    """
    if statements not in CASES:
        raise ParameterError(f"{statements!r} cannot be simulated: choose one of {', '.join(CASES)}.")
    codes, rng = statements.split(), np.random.default_rng([seed, 3])
    patient = SimpleNamespace(patient_id=seed, sex=seed % 2, age=round(first_of(AGES, codes)[0]))
    signal, *_ = _simulate(patient, codes, dict.fromkeys(codes, SEVERITY[1]), seed, rng)
    meta = {"record": f"simulated {statements}", "age": float(patient.age), "sex": ("male", "female")[patient.sex], "comments": []}
    return ECG((signal / UNITS_PER_MV).astype(np.float32), float(FS), meta)


def _metadata(patient, codes, scp_codes, notes, axis, rng):
    """One row of ptbxl_database.csv with PTB-XL's columns, order, conventions and shares of missing values."""
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
        "height": maybe(0.32, whole(175 - 12 * patient.sex, 7)), "weight": maybe(0.48, whole(80 - 12 * patient.sex, 11)),
        "nurse": maybe(0.92, float(rng.integers(12))), "site": float(rng.integers(4)), "device": "SIMULATOR",
        "recording_date": str(patient.date), "report": "simulated record: " + ", ".join(words),
        "scp_codes": str(scp_codes), "heart_axis": maybe(0.53, heart_axis),
        "infarction_stadium1": stage, "infarction_stadium2": None,
        "validated_by": maybe(0.55, float(rng.integers(12))), "second_opinion": rng.random() < 0.03,
        "initial_autogenerated_report": rng.random() < 0.26, "validated_by_human": rng.random() < 0.78, **notes,
        "extra_beats": first_of({"PAC": "SVES", "PVC": "VES"}, codes),
        "pacemaker": first_of({"PACE": "ja, pacemaker"}, codes), "strat_fold": patient.fold,
        "filename_lr": f"records100/{name}_lr", "filename_hr": f"records500/{name}_hr",
    }


def _write_wfdb(path, signal, annotations, rhythm):
    """Write header and signal as in PTB-XL (wfdb.wrsamp writes the same bytes, far slower), and the annotations."""
    lines = [f"{path.name} {len(signal)} {FS} {signal.shape[1]}"]
    for lead, samples, checksum in zip(LEADS, signal, signal.sum(axis=1, dtype=np.int64) % 65536, strict=True):
        lines.append(f"{path.name}.dat 16 {UNITS_PER_MV:.1f}(0)/mV 16 0 {samples[0]} {checksum} 0 {lead.upper()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{path}.hea").write_text("\n".join([*lines, ""]), encoding="ascii", newline="\n")
    Path(f"{path}.dat").write_bytes(signal.T.tobytes())
    sample, symbol, number = zip((0, "+", 0), *annotations, strict=True)
    wfdb.wrann(path.name, "atr", np.array(sample), list(symbol), num=np.array(number), fs=FS,
               aux_note=[rhythm] + [""] * len(annotations), write_dir=str(path.parent))  # fmt: skip


def _record(patient, folder, seed):
    """Simulate and write one record; return its row of metadata."""
    rng = np.random.default_rng([seed, 2, patient.ecg_id])
    codes = findings_of(patient, rng)
    severity = {s: float(np.clip(patient.severity + rng.normal(0, 0.1), *SEVERITY)) for s in codes}
    signal, annotations, notes, axis = _simulate(patient, codes, severity, seed, rng)
    row = _metadata(patient, codes, scp_codes_of(codes, severity, rng), notes, axis, rng)
    _write_wfdb(Path(folder, row["filename_hr"]), signal, annotations, first_of(RHYTHM_NOTES, codes))
    return row


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
    visits = [SimpleNamespace(**row) for row in visits_of(patients, seed).to_dict("records")]
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        rows = pool.map(partial(_record, folder=folder, seed=seed), visits, chunksize=10)
        table = pd.DataFrame(tqdm(rows, total=len(visits), unit=" records", desc="simulating ECGs"))
    table.to_csv(folder / "ptbxl_database.csv", index=False, lineterminator="\n")
    _statement_table().to_csv(folder / "scp_statements.csv", lineterminator="\n")
    (folder / MARKER).write_text(f"Simulated ECGs, not of any person: {patients} patients, seed {seed}.\n")


def make_demo(folder, patients=1000, seed=0, workers=None):
    """Write simulated ECGs of 10 s at 500 Hz in PTB-XL's layout, the same on every run and for any number of processes.

    Each record has a WFDB header, signal (format 16, 1 µV per unit) and annotations (``.atr``) under ``records500``; there
    are no 100 Hz records, though ``filename_lr`` is filled. The annotations are the true waves that lie wholly within the
    record, each as ``(``, its peak, ``)``. The peak's symbol is ``p`` for the P wave, WFDB's beat type for the QRS complex
    and ``t`` for the T wave; ``num`` is 0, 1 and 2 for these, because waves may overlap. ``+`` at the first sample names the
    rhythm. An earlier demo set in the folder is replaced when the new one is complete. ``workers`` are processes, by default
    one per core; a patient has about 1.25 records.

    Raises
    ------
    ParameterError, DataSetError, StorageError
        If patients are too few, or the folder holds something other than a demo set, or cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (folder / MARKER).exists() and (folder.is_file() or any(folder.iterdir())):
        raise DataSetError(f"{folder} holds something other than demo data: give another folder.")
    prefix = f".{folder.name}-"
    with storing(folder), locked(folder):
        for leftover in folder.parent.glob(f"{prefix}*"):
            shutil.rmtree(leftover)  # of a process that was killed
        with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as temporary:
            new = Path(temporary, "new")
            _write_all(new, patients, seed, workers)
            if folder.exists():
                os.replace(folder, Path(temporary, "old"))
            os.replace(new, folder)
