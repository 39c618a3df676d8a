"""LUDB as an external check: real ECGs of another country, two decades later, and of other cardiologists than PTB-XL's.

LUDB's records carry diagnoses in words, not SCP-ECG statements. ``ludb_statements.csv`` beside this file takes each of
the 83 to the nearest of PTB-XL's 71 statements and says on what basis; their critical values then label the records.
LUDB gives no likelihoods, so the label is the highest risk among a record's statements: the rule "most-likely", by
which the paper's labels are made, cannot be applied. This alone raises labels above what the network was taught.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cardiov import mapping, training
from cardiov.errors import DataSetError, StatementError
from cardiov.evaluation import exact_share
from cardiov.ordinal import objective_of
from cardiov.ptbxl import Version, to_microvolts
from cardiov.results import replacing, results_dir, shown
from cardiov.signals import prepare_signal, read_ecg

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
    """Every diagnosis of LUDB and the statement of PTB-XL's 71 that is nearest to it.

    Returns
    -------
    DataFrame
        Indexed by ``diagnosis``, spelt as in LUDB, with its ``field`` there, the ``statement`` ("" where none of the 71
        says anything of the kind), the ``basis`` (one of `BASES`), and ``why``, where that needs words.
    """
    return pd.read_csv(Path(__file__).with_name("ludb_statements.csv"), index_col="diagnosis", keep_default_na=False)


def label(diagnoses: pd.Series, statements: pd.Series) -> pd.DataFrame:
    """Statements and critical value of each record, by the rule "highest-risk".

    Parameters
    ----------
    diagnoses : Series of str
        A record's diagnoses, joined by ";".
    statements : Series of str
        The statement of each diagnosis, such as the column of `diagnosis_statements`; "" leaves a diagnosis out.

    Returns
    -------
    DataFrame
        Indexed as the diagnoses: ``statements``, each once, joined by ";", and ``critical_value``, the highest of
        theirs.

    Raises
    ------
    DataSetError
        If a diagnosis is unknown.
    StatementError
        If none of a record's diagnoses has a statement, or a statement is none of the 71.
    """
    rows = []
    for record, text in diagnoses.items():
        found = [diagnosis for diagnosis in text.split(";") if diagnosis]
        if unknown := [diagnosis for diagnosis in found if diagnosis not in statements.index]:
            raise DataSetError(
                f"record {record} has the diagnosis {unknown[0]!r}, which ludb_statements.csv does not have: give LUDB "
                f"{VERSION} as it was published, or add the diagnosis there."
            )
        codes = dict.fromkeys(filter(None, statements[found]), 0.0)  # each once, of unknown likelihood
        try:
            rows.append((";".join(codes), mapping.critical_value(codes, rule="highest-risk")))
        except StatementError as error:
            raise StatementError(f"record {record}: {error}") from error
    return pd.DataFrame(rows, diagnoses.index, columns=["statements", "critical_value"])


def read_diagnoses(folder) -> pd.DataFrame:
    """People, diagnoses and labels of LUDB's records.

    Returns
    -------
    DataFrame
        Indexed by ``ecg_id``, LUDB's number of the record: ``age`` in years (90 for the one ">89"), ``sex``,
        ``diagnoses`` joined by ";", and ``statements`` and ``critical_value`` as from `label`.

    Raises
    ------
    DataSetError
        If ``ludb.csv`` is missing, has other columns, or has an age, sex or diagnosis that is unknown.
    StatementError
        If a record has no diagnosis with a statement.
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
        raise DataSetError(f"{path} has a sex other than F and M: give LUDB {VERSION} as it was published.")
    people["diagnoses"] = [_joined(texts) for texts in table[FIELDS].to_numpy()]
    return people.join(label(people["diagnoses"], diagnosis_statements()["statement"]))


def _joined(texts):
    """A record's diagnoses, of which a field holds one a line, in the order of the fields."""
    return ";".join(line.strip() for text in texts for line in text.splitlines() if line.strip())


def predict(model, folder, rate) -> pd.DataFrame:
    """Predict LUDB's records as the network's own run predicts its test records.

    Parameters
    ----------
    model : CardioV
        From `CardioV.from_pretrained`; its metadata have the run's configuration.
    folder : path
        LUDB's records and ``ludb.csv``.
    rate : float
        Sampling rate that the network was trained at, in Hz.

    Returns
    -------
    DataFrame
        One row a record, with the columns of a run's predictions (`cardiov.training.predict`): ``patient_id`` is the
        record's number, since each record is of another person, and ``split`` is "external". Then ``age``, ``sex``,
        ``diagnoses`` and ``statements`` of `read_diagnoses`.

    Raises
    ------
    CheckpointError
        If the weights do not say what they were trained for.
    DataSetError, StatementError
        As `read_diagnoses`.
    SignalError
        If a record cannot be read.
    """
    objective_of(model)  # else the outputs mean nothing
    config = training.TrainingConfig(**model.metadata["run"]["config"])
    known = read_diagnoses(folder)
    about = known.assign(patient_id=known.index, split="test")
    fabric = training.make_fabric(config.precision)
    signals = _Signals(Path(folder), known.index.to_numpy(), rate)
    predictions = training.predict(fabric, model.to(fabric.device), signals, about, config).assign(split="external")
    return predictions.join(known[["age", "sex", "diagnoses", "statements"]], on="ecg_id")


@dataclass(frozen=True)
class _Signals:
    """LUDB's records as `cardiov.training.predict` reads them from a cache."""

    folder: Path
    ecg_ids: np.ndarray
    rate: float

    def stored(self, rows):
        ecgs = [read_ecg(self.folder / str(ecg_id)) for ecg_id in self.ecg_ids[rows]]
        signals = np.stack([prepare_signal(ecg.signal, ecg.fs, self.rate) for ecg in ecgs])  # (B, 12, n) in mV
        return to_microvolts(signals)[0]


def write_external(table, path) -> Path:
    """Write `predict`'s table; notebook 16 reads it as ``results/<dataset>/external_ludb.csv``."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return Path(path)


def read_external(dataset: str) -> pd.DataFrame:
    """The predictions of LUDB's records by a network that was trained on a data set.

    Raises
    ------
    DataSetError
        If LUDB has not been predicted.
    """
    path = results_dir(dataset) / "external_ludb.csv"
    if not path.exists():
        raise DataSetError(
            f"{shown(path)} is missing: make it by `python -m cardiov external` from LUDB's folder and the weights."
        )
    return pd.read_csv(path)


def errors_by_statement(predictions: pd.DataFrame) -> pd.DataFrame:
    """How the records with each statement are predicted; which findings are called less urgent than they are?

    Parameters
    ----------
    predictions : DataFrame
        From `read_external`.

    Returns
    -------
    DataFrame
        Indexed by ``statement``, those of most records first: its own ``critical_value``; the number of ``records``
        with it; their ``mean_error``, predicted - labelled; how many are ``under_called``, predicted below the
        statement's own critical value, whatever else they have; and their share as ``estimate`` with its exact 95 %
        interval ``low`` to ``high`` (Clopper & Pearson 1934). Statements of critical value 0, below which nothing can
        be predicted, are left out.
    """
    values = mapping.statements()["critical_value"]
    stated = predictions.assign(statement=predictions["statements"].str.split(";")).explode("statement")
    stated["own"] = stated["statement"].map(values)
    groups = stated[stated["own"] > 0].groupby("statement")
    rows = {statement: _under_called(group) for statement, group in groups}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("statement")
    return table.sort_values("records", ascending=False, kind="stable")


def _under_called(group):
    own, records = int(group["own"].iloc[0]), len(group)
    below = int((group["predicted"] < own).sum())
    mean_error = (group["predicted"] - group["critical_value"]).mean()
    found = {"critical_value": own, "records": records, "mean_error": mean_error, "under_called": below}
    return found | dict(zip(("estimate", "low", "high"), exact_share(below, records), strict=True))
