"""The ECGs that come with the package: which records of PTB-XL they are, and their files as published."""

import hashlib
from pathlib import Path

import pandas as pd

from cardiov import mapping
from cardiov.analysis.cases import NOISE
from cardiov.analysis.metrics import SCORES
from cardiov.data.checksums import LINE, LIST
from cardiov.data.ptbxl import VERSIONS, list_records, read_metadata
from cardiov.ecg.examples import FOLDER, TABLE
from cardiov.errors import DataSetError
from cardiov.experiments.shipping import calibrated_predictions, describe
from cardiov.store import results
from cardiov.store.files import replacing, write_text
from cardiov.store.templates import templates

SHOWN = ("AFIB", "PVC", "PACE")  # statements of which there is an example each
EACH = 3  # examples of each critical value
FILES = (".hea", ".dat")
ALL_LEADS = "alles"  # in PTB-XL's notes of noise
WORST = {"error": False, "critical_value": False, "likelihood": False, "probability": False, "ecg_id": True}  # ascending?
CLEAREST = {"error": True, "tie": True, "likelihood": False, "noise": True, "findings": True, "probability": False,
            "ecg_id": True}  # fmt: skip


def choose_examples(records: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Twelve records of as many patients, three for each critical value, by this rule:

    1. The worst prediction: the largest error; of several, the highest label, the likeliest statement, the surest network.
    2. The clearest normal ECG, the clearest with noise in all leads, and for each of atrial fibrillation, ventricular premature
       complexes and pacing the clearest record that has the statement and its critical value.
    3. For each critical value, up to three, the clearest record of a new statement, or else of a new rhythm.

    The clearest record is predicted right, labelled by a statement of 100 % without a tie, and without noted noise; of several
    it has the fewest statements beside sinus rhythm, then the highest probability, then the lowest ``ecg_id``.

    Parameters
    ----------
    records, predictions : DataFrame
        As from `cardiov.data.ptbxl.read_metadata` and `cardiov.store.results.read_predictions`; those in both are eligible.

    Returns
    -------
    DataFrame
        By ``ecg_id``: ``name`` in words, ``critical_value``, ``why``; from no to high risk.

    Raises
    ------
    DataSetError
        If no eligible record fits a part of the rule.
    """
    eligible = _described(records, predictions).reset_index()
    worst, clearest = (eligible.sort_values(list(order), ascending=list(order.values())) for order in (WORST, CLEAREST))
    needed = [_first(worst, [], why="badly wrong: the network predicts {predicted} instead of {critical_value}")]
    for name, fits in _needed(clearest).items():
        needed.append(_first(clearest[fits], needed, name, "the clearest of its kind"))
    clear = []
    for value in mapping.CLASSES:
        alike = clearest[clearest["critical_value"] == value]
        while sum(row["critical_value"] == value for row in needed + clear) < EACH:
            clear.append(_first(_unlike(alike, needed + clear), needed + clear, why="a clear case of another finding"))
    chosen = pd.DataFrame([*needed[1:], *clear, needed[0]]).sort_values("critical_value", kind="stable")
    return chosen.set_index("ecg_id")[["name", "critical_value", "why"]]


def _described(records, predictions):
    """The records that are predicted, with what the rule looks at."""
    table = records.join(predictions.set_index("ecg_id")[[*SCORES, "predicted"]], how="inner")
    codes, rhythms = table["scp_codes"], set(mapping.statements().query("kind == 'rhythm'").index) - {"SR"}
    table["decides"] = codes.map(mapping.deciding_statement)
    table["rhythm"] = [next((name for name in one if name in rhythms), "SR") for one in codes]
    both = (dict.fromkeys([row.decides, row.rhythm]) for row in table.itertuples())
    table["name"] = [", ".join(mapping.description(name) for name in one if name != "SR") for one in both]
    table["likelihood"] = [max(one.values()) for one in codes]
    table["findings"] = [len(one.keys() - {"SR"}) for one in codes]
    table["error"] = (table["predicted"] - table["critical_value"]).abs()
    table["probability"] = table[SCORES].max(axis=1)
    return table.assign(noise=table[NOISE].notna().any(axis=1))


def _needed(table):
    """{name: which records fit} of those that must be among the examples."""
    normal = table["decides"] == "NORM"
    noisy = table["static_noise"].str.contains(ALL_LEADS, na=False)
    fits = {mapping.description("NORM"): normal, "normal ECG with noise in all leads": normal & noisy}
    for statement in SHOWN:
        has = table["scp_codes"].map(lambda codes, statement=statement: statement in codes)
        fits[mapping.description(statement)] = has & (table["critical_value"] == mapping.critical_value({statement: 100}))
    return fits


def _unlike(table, chosen):
    """Records whose deciding statement no chosen one has; if there are none, those of another rhythm."""
    free = _of_new_patients(table, chosen)
    new = ~free["decides"].isin([row["decides"] for row in chosen])
    return free[new] if new.any() else free[~free["rhythm"].isin([row["rhythm"] for row in chosen])]


def _of_new_patients(table, chosen):
    return table[~table["patient_id"].isin([row["patient_id"] for row in chosen])]


def _first(table, chosen, name=None, why=""):
    """The first record of a new patient, named by its statement unless a name is given; ``why`` may name its columns."""
    table = _of_new_patients(table, chosen)
    if table.empty:
        raise DataSetError(f"no record is left as an example ({name or why}): give a source with more records at 500 Hz.")
    row = table.iloc[0].copy()
    row["name"], row["why"] = name or row["name"], why.format(**row)
    return row


def write_examples(source, target=FOLDER, dataset="ptbxl-sample") -> list[Path]:
    """Choose the examples among a source's records by a data set's chosen network, and copy their files; what was written.

    ``source`` is a folder in PTB-XL's layout with signals at 500 Hz and with PTB-XL's list of digests.

    Raises
    ------
    DataSetError
        If the list is missing, or a chosen file is not as it says.
    """
    source, target, metadata = Path(source), Path(target), read_metadata(source)
    here = [all((source / f"{name}{suffix}").exists() for suffix in FILES) for name in metadata["filename_hr"]]
    chosen = choose_examples(metadata[here], calibrated_predictions(describe(dataset)))
    files = _published_files(source, metadata.loc[chosen.index, "filename_hr"])
    for old in (path for suffix in FILES for path in target.glob(f"*{suffix}")):
        old.unlink()
    for name, content in files.items():
        with replacing(target / name) as temporary:
            temporary.write_bytes(content)
    table = chosen.join(list_records(source)[["statements", "fold"]])
    digests = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()]
    template = templates(Path(__file__).parent).get_template("examples.md")
    readme = template.render(rows=list(table.itertuples()), source=VERSIONS["1.0.3"])
    return [
        *(target / name for name in files), results.write_table(table, target / TABLE),
        write_text(target / LIST, "".join(digests)), write_text(target / "README.md", readme),
    ]  # fmt: skip


def _published_files(source, bases):
    """{name: content} of the headers and signals of records, which must have PTB-XL's digests."""
    path = source / LIST
    if not path.exists():
        raise DataSetError(f"{path} is missing: put PTB-XL's own list of digests there.")
    lines = (LINE.fullmatch(line) for line in path.read_text(encoding="utf-8").splitlines())
    published, files = {line[2]: line[1].lower() for line in lines if line}, {}
    for name in (f"{base}{suffix}" for base in bases for suffix in FILES):
        content = (source / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != published.get(name):
            raise DataSetError(f"{source / name} is not as {LIST} says: take PTB-XL's own file.")
        files[Path(name).name] = content
    return files
