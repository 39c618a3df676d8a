"""A data set in PTB-XL's layout (Wagner et al. 2020, CC BY 4.0, see `VERSIONS`): metadata, labels and folds."""

import ast
import hashlib
import io
import logging
import lzma
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cardiov import mapping
from cardiov.errors import DataSetError, ParameterError, StatementError
from cardiov.store.files import ROOT, shown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Version:
    """What a published version of PTB-XL holds."""

    records: int
    patients: int
    doi: str
    sha256: str = ""  # of its table
    licence: str = "CC BY 4.0"
    citation: str = (
        "Wagner P, Strodthoff N, Bousseljot R-D, Kreiseler D, Lunze FI, Samek W, Schaeffter T. PTB-XL, a large "
        "publicly available electrocardiography dataset. Scientific Data 7:154 (2020), doi:10.1038/s41597-020-0495-6."
    )


VERSIONS = {
    "1.0.1": Version(  # the paper's
        records=21837,
        patients=18885,
        doi="10.13026/x4td-x982",
        sha256="cd9bf4e6445c5e022605857c4d6f90c90ff0e62df847da52efaebe94de786156",
    ),
    "1.0.3": Version(
        records=21799,
        patients=18869,
        doi="10.13026/kfzx-aw45",
        sha256="7600de9c1b27d181d850b3c6038a35d7c3ddb6bb33b702e3a20252a6859d216b",
    ),
}

TABLE = "ptbxl_database.csv"
PUBLISHED = ROOT / "data/ptbxl-metadata"  # the tables of both versions
COLUMNS = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_hr",
           "baseline_drift", "static_noise", "burst_noise", "electrodes_problems")  # fmt: skip
FOLDS = 10


def check_version(version: str) -> None:
    """Raise a ParameterError for a version of PTB-XL that is not known."""
    if version not in VERSIONS:
        raise ParameterError(f"the version is {version!r}: give {' or '.join(sorted(VERSIONS, reverse=True))}.")


def check_count(folder: Path, records: int, version: str, remedy: str) -> None:
    """Raise a DataSetError if another version has this number of records; only warn if no version has it."""
    other = next((name for name, published in VERSIONS.items() if published.records == records), None)
    if other not in (None, version):
        raise DataSetError(f"{folder} has the {records:,} records of version {other}, not of {version}: {remedy}.")
    if other is None:
        log.warning("%s has %d records, where PTB-XL %s has %d.", folder, records, version, VERSIONS[version].records)


def read_table(folder) -> pd.DataFrame:
    """Read ``ptbxl_database.csv`` as it is, indexed by ``ecg_id``; raise a DataSetError if it is missing or damaged."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataSetError(f"there is no data folder {folder}: check its path, or make the demo data ('make paper').")
    return _parse_table(folder / TABLE, folder / TABLE)


def _parse_table(file, where):
    """The table in a file, a path or a stream that messages call `where`."""
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise DataSetError(f"{where} cannot be read ({error}): restore the data set's own file.") from error
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise DataSetError(f"{where} lacks the column {', '.join(missing)}: restore the data set's own file.")
    table["ecg_id"] = _whole_numbers(table["ecg_id"], where)
    if table.empty or table["ecg_id"].duplicated().any():
        raise DataSetError(f"{where} has no rows, or an ecg_id twice: restore the data set's own file.")
    return table.set_index("ecg_id")


def read_metadata(folder) -> pd.DataFrame:
    """Metadata and labels of a data set in PTB-XL's layout (versions 1.0.1 and 1.0.3).

    Returns
    -------
    DataFrame
        Indexed by ``ecg_id``: the columns of ``ptbxl_database.csv``, with these changed or added.

        - ``scp_codes``: a dict in the file's order. ``sex``: "male" or "female" (0 and 1 in the file).
        - ``age``: years; 90 instead of the 300 by which version 1.0.3 hides higher ages. ``age_90_or_over``.
        - ``fold``: 1 to 10. ``split``: "train" (1-8), "validation" (9) or "test" (10).
        - ``superclasses``: diagnostic superclasses of all statements at any likelihood, sorted and joined by ";", as in
          the example of PTB-XL's authors. They give the counts of Table 1.
        - ``critical_value``: by the rule "most-likely"; ``tie``: whether only the order of the statements decides it;
          ``critical_value_highest_risk``: by the other rule.

    Raises
    ------
    DataSetError, StatementError
        If the folder or a column is missing or a value is invalid; if a record has no statement or an unknown one.
    """
    return _with_labels(read_table(folder), Path(folder) / TABLE)


def read_published(version: str) -> pd.DataFrame:
    """Metadata and labels of all records of a published version, as `read_metadata`, from the file in the repository.

    Raises
    ------
    ParameterError, DataSetError
        If the version is unknown; if its file is missing, damaged or not as it was published.
    """
    check_version(version)
    path = PUBLISHED / f"{Path(TABLE).stem}-{version}.csv.xz"
    try:
        content = lzma.decompress(path.read_bytes())
    except (OSError, lzma.LZMAError) as error:
        raise DataSetError(f"{shown(path)} cannot be read ({error}): restore it from the repository.") from error
    if hashlib.sha256(content).hexdigest() != VERSIONS[version].sha256:
        raise DataSetError(f"{shown(path)} is not PTB-XL's table of version {version}: restore it from the repository.")
    return _with_labels(_parse_table(io.BytesIO(content), path), path)


def _with_labels(frame, where):
    """What `read_metadata` returns, from the table as it is, which is changed."""
    frame["patient_id"] = _whole_numbers(frame["patient_id"], where)
    frame["fold"] = _whole_numbers(frame["strat_fold"], where, range(1, 11))
    frame["split"] = splits(frame["fold"])
    frame["sex"] = _whole_numbers(frame["sex"], where, (0, 1)).map({0: "male", 1: "female"})
    frame["age"] = _numbers(frame["age"], where).replace(300.0, 90.0)
    frame["age_90_or_over"] = frame["age"] >= 90
    frame["scp_codes"] = [_parse_statements(text, ecg_id, where) for ecg_id, text in frame["scp_codes"].items()]
    return frame.join(_labels(frame["scp_codes"]))


def _numbers(column, where):
    """As float, NaN where the file has no value."""
    numbers = pd.to_numeric(column, errors="coerce")
    _refuse(column, numbers.isna() & column.notna(), where)
    return numbers.astype(float)


def _whole_numbers(column, where, allowed=None):
    numbers = _numbers(column, where)
    bad = numbers % 1 != 0  # also where there is no value
    _refuse(column, bad if allowed is None else bad | ~numbers.isin(allowed), where)
    return numbers.astype(int)


def _refuse(column, bad, where):
    if bad.any():
        row = column.index[bad][0]
        named = f"record {row}" if column.index.name == "ecg_id" else f"row {row + 1}"
        cause = f"{where} gives {named} the {column.name} '{column[row]}' ({bad.sum()} such values in all)"
        raise DataSetError(f"{cause}: restore the data set's own file.")


def _parse_statements(text, ecg_id, where):
    try:
        return {str(name): float(likelihood) for name, likelihood in ast.literal_eval(text).items()}
    except (ValueError, SyntaxError, AttributeError, TypeError) as error:
        cause = f"{where} gives record {ecg_id} the scp_codes {text!r}, which is no dictionary of statements and likelihoods"
        raise DataSetError(f"{cause}: restore the data set's own file.") from error


def _labels(scp_codes):
    superclass = mapping.statements()["superclass"].to_dict()
    rows = []
    for ecg_id, codes in scp_codes.items():
        try:
            rows.append({
                "superclasses": ";".join(sorted({superclass[code] for code in codes if superclass.get(code)})),
                "critical_value": mapping.critical_value(codes),
                "critical_value_highest_risk": mapping.critical_value(codes, rule="highest-risk"),
                "tie": mapping.tie_decides(codes),
            })
        except StatementError as error:
            raise StatementError(f"record {ecg_id}: {error}") from error
    return pd.DataFrame(rows, index=scp_codes.index)


LISTED = ["patient_id", "sex", "age", "age_90_or_over", "fold", "split", "critical_value", "critical_value_highest_risk", "tie",
          "superclasses", "statements", "baseline_drift", "static_noise", "burst_noise", "electrodes_problems"]  # fmt: skip


def splits(fold, tested: int = FOLDS, without=()) -> np.ndarray:
    """The split of each record by its fold, (N,): "test" that of `tested`, "validation" the fold before it, else "train".

    Folds of `without` are "unused". PTB-XL's own splits test fold 10; the last fold comes before the first.
    """
    used = [k for k in range(1, FOLDS + 1) if k not in without]
    cases = [fold == tested, fold == used[used.index(tested) - 1], np.isin(fold, list(without))]
    return np.select(cases, ["test", "validation", "unused"], "train").astype(object)


def list_records(folder) -> pd.DataFrame:
    """What the analysis needs of every record, by ``ecg_id``; ``statements`` is text, such as "NORM:100;SR:0"."""
    records = read_metadata(folder)
    statements = (";".join(f"{name}:{likelihood:g}" for name, likelihood in codes.items()) for codes in records["scp_codes"])
    return records.assign(statements=list(statements))[LISTED]
