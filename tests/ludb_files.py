"""LUDB's files, simulated and real."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cardiov.data import ludb
from cardiov.ecg.leads import LEADS
from cardiov.experiments.waves import read_waves

SHARED = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[2] / "shared"))
ARCHIVE = SHARED / "ludb" / "ludb-1.0.1.tar.xz"


def write_table(folder, *records):
    """A ``ludb.csv`` as LUDB writes it, from (id, sex, age, {field: diagnoses})."""
    rows = []
    for record, sex, age, found in records:
        fields = {field: "\n".join(texts) for field, texts in found.items()}
        rows.append({"ID": record, "Sex": f"{sex}\n", "Age": f"{age}\n"} | fields)
    Path(folder).mkdir(exist_ok=True)
    pd.DataFrame(rows, columns=["ID", "Sex", "Age", *ludb.FIELDS]).to_csv(Path(folder) / "ludb.csv", index=False)
    return folder


NORMAL = {"Rhythms": ["Sinus rhythm"], "Electric axis of the heart": ["Electric axis of the heart: normal"]}
RECORDS = [
    (1, "F", "51", NORMAL),
    (2, "M", ">89", NORMAL | {"Hypertrophies": ["Left atrial hypertrophy", "Left ventricular hypertrophy"]}),
    (3, "M", "64", {"Rhythms": ["Atrial fibrillation"], "Ischemia": ["Scar formation: septal", "Stemi: septal"]}),
    (7, "F", "30", {"Rhythms": ["Sinus bradycardia"], "Other states": ["Early repolarization syndrome"]}),
]


def unpack_ludb(folder, wanted):
    """The files of LUDB whose names end so, unpacked; the folder that holds them."""
    if not ARCHIVE.is_file():
        pytest.skip("LUDB is not here (CARDIOV_SHARED)")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, [member for member in archive if member.name.endswith(wanted)], filter="data")
    return folder / "ludb"


def marked_intervals(record):
    """PR, QRS and QT in ms as LUDB's cardiologists mark them: medians over leads of the medians over beats; NaN without P or T."""
    leads = [_of_lead(read_waves(record, lead.lower())) for lead in LEADS]
    return {name: np.round(1000 * _median([lead[name] for lead in leads])) for name in ("PR", "QRS", "QT")}


def _of_lead(waves):
    p, t = (waves[waves["symbol"] == name] for name in ("p", "t"))
    beats = waves[~waves["symbol"].isin(["p", "t"])]
    pr = [onset - start for onset in beats["onset"] for start in p["onset"][p["onset"].between(onset - 0.4, onset)][-1:]]
    qt = [end - onset for onset in beats["onset"] for end in t["end"][t["end"].between(onset, onset + 0.65)][:1]]
    return {"PR": _median(pr), "QRS": _median(beats["end"] - beats["onset"]), "QT": _median(qt)}


def _median(values):
    known = [value for value in values if not np.isnan(value)]
    return np.median(known) if known else np.nan
