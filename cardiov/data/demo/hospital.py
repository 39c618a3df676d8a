"""The simulated hospital: its patients, their visits and findings, and the reader who labels them."""

import numpy as np
import pandas as pd

from cardiov import mapping
from cardiov.data.demo.heart import first_of
from cardiov.errors import ParameterError

STATEMENTS = mapping.statements()
# How hard the reader's task is.
SEVERITY = (0.35, 1.0)  # a statement's findings, from borderline to marked
LABEL_NOISE = 0.08  # share of records with a statement misread or missed, where it can be

# fmt: off
MIN_PATIENTS = 120  # so that every case occurs
CASES = {  # cases per 1,000 patients; the statements are in the order of scp_codes
    "NORM SR": 305, "NORM SARRH": 28, "NORM SBRAD": 24, "NORM STACH": 12, "NORM PAC SR": 12, "NORM PVC SR": 12, "NORM LVOLT SR": 6,
    "NORM INVT SR": 3, "NDT SR": 32, "NDT STACH": 8, "ISC_ SR": 24, "ISC_ AFIB": 6, "LAFB SR": 22, "IRBBB SR": 26, "CRBBB SR": 22,
    "CRBBB LAFB SR": 8, "1AVB SR": 22, "1AVB SBRAD": 6, "LPFB SR": 10, "RVH SR": 10, "INVT SR": 11, "LOWT SR": 8, "STD_ SR": 10,
    "PACE": 16, "LAO/LAE SR": 6, "SBRAD LVOLT": 4, "STACH STD_": 4, "NDT PAC SR": 6, "AFIB": 24, "AFLT": 14, "PVC ABQRS SR": 12,
    "PVC NDT SR": 8, "PVC AFIB": 6, "BIGU SR": 13, "TRIGU SR": 11, "LVH SR": 32, "LVH AFIB": 6, "LVH ISC_ SR": 10, "LVH LAFB SR": 8,
    "CLBBB SR": 22, "CLBBB AFIB": 6, "INJAS SR": 10, "SVTAC": 10, "PSVT": 10, "2AVB": 12, "IMI ABQRS SR": 38, "IMI AFIB": 6,
    "IMI LAFB SR": 10, "IMI SBRAD": 6, "IMI 1AVB SR": 6, "1AVB IMI SR": 6, "ILMI SR": 14, "ASMI ABQRS SR": 34, "ASMI LAFB SR": 8,
    "ASMI ISC_ SR": 8, "LVH ASMI SR": 6, "CRBBB ASMI SR": 5, "PVC IMI SR": 6, "AMI SR": 22, "AMI STACH": 6, "ALMI SR": 12,
    "LNGQT SR": 14, "WPW SR": 14, "3AVB": 12,
}
TRANSIENT = {"PAC", "PVC", "BIGU", "TRIGU", "PSVT", "SVTAC", "STACH", "INJAS", "STD_"}  # may be absent from a later record
GRADED = {"IMI", "ILMI", "ASMI", "AMI", "ALMI", "LVH", "RVH", "INJAS", "ISC_"}  # likelihood follows severity
CERTAIN = {"PVC", "PACE", "AFLT"}  # statements of form or rhythm that nevertheless have a likelihood of 100
MISREAD = {  # statement -> what a reader may write instead; never a rate or an interval that is not there
    "NORM": ("NDT", "ISC_", "LOWT"), "NDT": ("NORM", "ISC_"), "ISC_": ("NDT", "NORM"), "IRBBB": ("NORM",), "LAFB": ("NORM", "IMI"),
    "LVH": ("NORM", "HVOLT"), "IMI": ("NORM", "NDT", "ILMI"), "ASMI": ("NORM", "LVH", "AMI"), "AMI": ("ISC_", "NDT"), "CLBBB": ("IVCD",),
    "CRBBB": ("IVCD",), "1AVB": ("NORM",), "PVC": ("PRC(S)",), "INVT": ("NORM",), "WPW": ("IVCD",), "LNGQT": ("NDT",),
}
AGES = {"NORM": (49, 17), "SARRH": (34, 13), "WPW": (38, 14), "IRBBB": (50, 17), "PSVT": (52, 15), "AFIB": (70, 9),
        "PACE": (73, 8), "CLBBB": (70, 9), "3AVB": (72, 8), "": (64, 11)}  # mean and standard deviation, years


def scp_codes_of(codes, severity, rng):
    """The reader's {statement: likelihood}, with PTB-XL's habits and human errors."""
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


def findings_of(patient, rng):
    """The statements that are true of this record."""
    codes = patient.case.split()
    if patient.earlier_records and rng.random() < 0.4:
        codes = [s for s in codes if s not in TRANSIENT]
        codes += [] if {"SR", "AFIB"} & set(codes) else ["SR"]
    return ["NORM", "SR"] if codes in (["SR"], ["ABQRS", "SR"]) else codes


def _patients(count, rng):
    """Case, severity, age, sex and fold of every patient; the folds have equal shares of every case."""
    if count < MIN_PATIENTS:
        raise ParameterError(f"{count} patients cannot show all {len(CASES)} demo cases: ask for {MIN_PATIENTS} or more.")
    weights = np.array([*CASES.values()])
    quota = np.maximum(1, weights * count // weights.sum())
    quota[0] += count - quota.sum()
    cases = np.repeat([*CASES], quota)
    mean, spread = np.transpose([first_of(AGES, case.split()) for case in cases])
    return pd.DataFrame({
        "patient_id": rng.permutation(count) + 1, "case": cases, "fold": np.arange(count) % 10 + 1,
        "age": np.clip(np.rint(rng.normal(mean, spread)), 6, 94), "sex": (rng.random(count) > 0.52).astype(int),
        "severity": rng.uniform(*SEVERITY, count),
        "date": pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(8 * 365 * 86400, size=count), unit="s"),
    })  # fmt: skip


def visits_of(patients, seed):
    """One row per record: patient, date and `earlier_records`, the number of the patient's records before it."""
    rng = np.random.default_rng([seed, 0])
    table = _patients(patients, rng)
    table = table.loc[np.repeat(table.index, rng.choice([1, 2, 3, 4], p=[0.82, 0.13, 0.03, 0.02], size=patients))]
    table["earlier_records"] = table.groupby("patient_id").cumcount()
    later = pd.to_timedelta(table["earlier_records"] * rng.integers(20 * 86400, 500 * 86400, len(table)), unit="s")
    table = table.assign(date=table["date"] + later, age=table["age"] + later.dt.days // 365).sort_values(["date", "patient_id"])
    return table.assign(ecg_id=np.arange(len(table)) + 1)
