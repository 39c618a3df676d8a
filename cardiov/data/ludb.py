"""LUDB as an external check: real ECGs of another country, two decades later, and of other cardiologists than PTB-XL's.

``ludb_statements.csv`` beside this file maps each of LUDB's 83 diagnoses to the nearest of PTB-XL's 71 statements. LUDB gives
no likelihoods, so a record's label is the highest risk of its statements and not, as in the paper, that of the most likely one.
This alone raises labels above those that the network was taught.
"""

from pathlib import Path

import pandas as pd

from cardiov import mapping
from cardiov.data.ptbxl import Version
from cardiov.ecg.leads import ECG, ecg_from_leads
from cardiov.errors import DataSetError, StatementError

VERSION = "1.0.1"
LUDB = Version(
    records=200,
    patients=200,
    doi="10.13026/eegm-h675",
    licence="ODC-BY 1.0",
    citation=(
        "Kalyakulina AI, Yusipov II, Moskalenko VA, Nikolskiy AV, Kosonogov KA, Osipov GV, Zolotykh NYu, Ivanchenko "
        "MV. LUDB: a new open-access validation tool for electrocardiogram delineation algorithms. IEEE Access "
        "8:186181 (2020), doi:10.1109/ACCESS.2020.3029211."
    ),
)
TABLE = "ludb.csv"
FIELDS = ["Rhythms", "Electric axis of the heart", "Conduction abnormalities", "Extrasystolies", "Hypertrophies",
          "Cardiac pacing", "Ischemia", "Non-specific repolarization abnormalities", "Other states"]  # fmt: skip
BASES = ("same finding", "nearest", "no counterpart")


def diagnosis_statements() -> pd.DataFrame:
    """Every ``diagnosis`` of LUDB (the index), its ``field``, and the nearest ``statement`` of PTB-XL's 71, "" if none.

    The ``basis`` is one of `BASES`; ``why`` gives the reason if diagnosis and statement differ.
    """
    return pd.read_csv(Path(__file__).with_name("ludb_statements.csv"), index_col="diagnosis", keep_default_na=False)


def label(diagnoses: pd.Series, statements: pd.Series) -> pd.DataFrame:
    """Each record's ``statements``, each once, joined by ";", and ``critical_value``, their highest.

    ``diagnoses`` are a record's, joined by ";"; ``statements`` is that column of `diagnosis_statements`.

    Raises
    ------
    DataSetError, StatementError
        If a diagnosis is unknown; if none of a record's diagnoses has a statement, or one is none of the 71.
    """
    rows = []
    for record, text in diagnoses.items():
        names = [diagnosis for diagnosis in text.split(";") if diagnosis]
        if unknown := [diagnosis for diagnosis in names if diagnosis not in statements.index]:
            cause = f"record {record} has the diagnosis {unknown[0]!r}, which ludb_statements.csv lacks"
            raise DataSetError(f"{cause}: give the published LUDB {VERSION}, or add the diagnosis there.")
        codes = dict.fromkeys(filter(None, statements[names]), 0.0)  # each once, of unknown likelihood
        try:
            rows.append((";".join(codes), mapping.critical_value(codes, rule="highest-risk")))
        except StatementError as error:
            raise StatementError(f"record {record}: {error}") from error
    return pd.DataFrame(rows, diagnoses.index, columns=["statements", "critical_value"])


def read_diagnoses(folder) -> pd.DataFrame:
    """People, diagnoses and labels of LUDB's records, by ``ecg_id``, LUDB's number of the record.

    The columns are ``age`` in years (90 for ">89"), ``sex``, ``diagnoses`` joined by ";", and those of `label`.

    Raises
    ------
    DataSetError, StatementError
        If ``ludb.csv`` is missing or lacks a column, or an age, sex or diagnosis is unknown; as `label`.
    """
    path = Path(folder) / TABLE
    try:
        table = pd.read_csv(path, usecols=["ID", "Sex", "Age", *FIELDS], dtype=str, keep_default_na=False)
        table = table.apply(lambda column: column.str.strip())  # "F\n" in LUDB
        people = pd.DataFrame({"age": table["Age"].replace(">89", "90").astype(float)})
        people = people.set_axis(pd.Index(table["ID"].astype(int), name="ecg_id"))
    except (OSError, ValueError) as error:
        raise DataSetError(f"{path} cannot be read ({error}): give the folder of LUDB {VERSION}.") from error
    people["sex"] = table["Sex"].map({"F": "female", "M": "male"}).to_numpy()
    if people["sex"].isna().any():
        raise DataSetError(f"{path} has a sex other than F and M: give the published LUDB {VERSION}.")
    lines = ("\n".join(texts).splitlines() for texts in table[FIELDS].to_numpy())  # a field has one diagnosis per line
    people["diagnoses"] = [";".join(line.strip() for line in texts if line.strip()) for texts in lines]
    return people.join(label(people["diagnoses"], diagnosis_statements()["statement"]))


def read_record(folder, ecg_id) -> ECG:
    """A record in mV, its stored numbers taken as µV.

    The headers give each lead another gain, by which it reaches from lowest to highest exactly 1 mV. The stored numbers have one
    unit: Einthoven's relation holds exactly between them, and their medians over LUDB are those of PTB-XL's leads in µV.
    """
    import wfdb

    record = wfdb.rdrecord(str(Path(folder, str(ecg_id))), physical=False)
    leads = dict(zip(record.sig_name, record.d_signal.T, strict=True))
    return ecg_from_leads(leads, record.fs, "uV", record=f"record {ecg_id} of LUDB")
