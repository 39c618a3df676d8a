"""Does heat lie where the heart does what the critical value is about (Fig. 5)? Maps of the test split, measured.

A map that looks right may only follow the signal, whatever the weights. So heat is measured against chance, against
networks with random weights (Adebayo et al. 2018) and against the signal's own energy. The maps themselves are
`cardiov.scoring.gradcam`'s.
"""

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch import nn
from tqdm.auto import tqdm

from cardiov import mapping
from cardiov.analysis.cases import NOISE
from cardiov.data.ptbxl import read_metadata
from cardiov.ecg.filters import prepare_signal
from cardiov.ecg.leads import read_ecg
from cardiov.errors import DataSetError
from cardiov.experiments.waves import beat_marks, read_waves, share_rows
from cardiov.model import CardioV
from cardiov.ordinal import class_probabilities, decode
from cardiov.scoring.gradcam import StageCAM, heat_maps, over_time, stage_heat, stride_of
from cardiov.store.files import replacing
from cardiov.store.results import HEAT_TABLES

# Stated before any map was computed: weights are held to decide the maps if, at every stage, the maps of trained and of
# random weights have a mean rank correlation nearer to 0 than this.
TOLERANCE = 0.5
RECORDS = 300  # at most, of the test split, in the order of ecg_id
CASCADE_RECORDS = 32  # of these, whose maps are followed while the weights are randomised from the head down
BATCH = 8  # records at once
SEED = 0  # of the random weights
EXAMPLES = {  # name: statement that the record has, statements that it must not have
    "AF": ("AFIB", {"AFLT", "PVC"}),
    "PVC": ("PVC", {"AFIB", "AFLT"}),
}
MAP_RATE = 50  # Hz, of the examples' maps as they are stored


def _energy(x):
    """The signals' own energy (B, 12, n) as if it were a map, in each stage's cells: (B, stages, n), from 0 to 1."""
    energy = np.square(x).sum(axis=1)  # (B, n)
    maps = []
    for stage in range(7):
        padded = np.pad(energy, ((0, 0), (0, -energy.shape[1] % stride_of(stage))))
        maps.append(over_time(padded.reshape(len(x), -1, stride_of(stage)).mean(axis=-1), x.shape[-1], stage))
    heat = np.stack(maps, axis=1)
    return heat / np.maximum(heat.max(axis=-1, keepdims=True), np.finfo(np.float32).tiny)


# Random weights


def randomised(model, signals, modules=None, seed=SEED):
    """A copy of a network with new weights in some of its modules (Adebayo et al. 2018).

    The batch norms of these modules measure their statistics anew on the signals, so that what comes out of random
    weights has the size that the next layer expects, and a map does not vanish for that reason alone.

    Parameters
    ----------
    model : CardioV
    signals : array, shape (B, 12, n)
    modules : sequence of str, optional
        Such as ``["head", "s7"]``; by default all.
    seed : int

    Returns
    -------
    CardioV
        In evaluation mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = CardioV(model.config)
    new = copy.deepcopy(model)
    for name, module in new.named_children():
        if modules is None or name in modules:
            module.load_state_dict(fresh.get_submodule(name).state_dict())
            for norm in (part for part in module.modules() if isinstance(part, nn.BatchNorm2d)):
                norm.train().momentum = None  # the plain mean over all batches
    with torch.no_grad():
        for part in np.array_split(signals, -(-len(signals) // BATCH)):
            new(torch.from_numpy(part).to(new.head.weight))
    return new.eval()


def rank_correlation(first, second):
    """Spearman's correlation over the last axis; NaN where one of the two is constant."""
    ranks = [rankdata(heat, axis=-1) for heat in (first, second)]
    ranks = [rank - rank.mean(axis=-1, keepdims=True) for rank in ranks]
    with np.errstate(invalid="ignore"):
        return (ranks[0] * ranks[1]).sum(-1) / np.sqrt(np.square(ranks).sum(-1).prod(0))


# Examples


def choose_examples(metadata, predictions) -> dict:
    """The AF and the PVC record of Fig. 5, by rule, from the test split.

    Of the records with the statement (`EXAMPLES`), those come first that are predicted to have the statement's own
    critical value, so that the statement can be what is explained; then those whose label the statement decides; then
    those without annotated noise; then those for which that critical value is most probable.

    Parameters
    ----------
    metadata : DataFrame
        Of `cardiov.data.ptbxl.read_metadata`.
    predictions : DataFrame
        Of an ordinal run.

    Returns
    -------
    dict of str to int
        ecg_id by name; a statement that no test record has is left out.
    """
    test = predictions[predictions["split"] == "test"].set_index("ecg_id")
    noisy = metadata.loc[test.index, NOISE].notna().any(axis=1)
    chosen = {}
    for name, (statement, excluded) in EXAMPLES.items():
        value, ranked = mapping.critical_value({statement: 0.0}), []
        for ecg_id, codes in metadata.loc[test.index, "scp_codes"].items():
            if statement in codes and not excluded & set(codes):
                other = max(codes, key=codes.get) != statement
                wrong, doubt = test.loc[ecg_id, "predicted"] != value, -test.loc[ecg_id, f"p{value}"]
                ranked.append((wrong, other, noisy[ecg_id], doubt, ecg_id))
        if ranked:
            chosen[name] = int(min(ranked)[-1])
    return chosen


# The stored run


def write_heat(data, weights, run_dir, rate, ludb=None):
    """Compute maps of the test split and write what notebook 09 stands on into a run's folder; no signal is stored.

    Writes ``heat_maps.csv`` (the two examples, 50 Hz) and ``heat_marks.csv`` (their beats), ``heat_sanity.csv`` (rank
    correlation of each record's trained map with the map of random weights, another record's map and the signal's
    energy), ``heat_cascade.csv`` (mean rank correlation while the weights are randomised from the head down),
    ``heat_shares.csv`` where the records have annotations beside them (simulated records do) and, with LUDB,
    ``heat_shares_ludb.csv``.

    Parameters
    ----------
    data : path
        Folder in PTB-XL's layout.
    weights : path
        Of an ordinal run.
    run_dir : path
        Has the run's ``predictions.csv``.
    rate : float
        That the network was trained with, in Hz.
    ludb : path, optional
        Folder of LUDB.

    Returns
    -------
    list of Path
        What was written.
    """
    run_dir, model = Path(run_dir), CardioV.from_pretrained(weights)
    metadata, predictions = read_metadata(data), _predictions(run_dir)
    test = predictions[predictions["split"] == "test"].sort_values("ecg_id")[:RECORDS].set_index("ecg_id")
    records = {i: Path(data, metadata.loc[i, "filename_hr"]) for i in test.index}
    tables = _examples(model, data, metadata, predictions, rate)
    values = test["predicted"].to_dict()
    annotated = all(Path(f"{record}.atr").exists() for record in records.values())
    shares, sanity = _measure(model, records, rate, values, "atr" if annotated else None)
    tables |= {"heat_sanity": sanity, "heat_shares": shares, "heat_cascade": _cascade(model, records, rate, values)}
    if ludb is not None:
        found = {int(path.stem): path.with_suffix("") for path in Path(ludb).glob("*.hea")}
        if not found:
            raise DataSetError(f"{ludb} has no WFDB records: give the folder of LUDB's records 1 to 200.")
        tables["heat_shares_ludb"] = _measure(model, dict(sorted(found.items())), rate, None, "ii")[0]
    return _write(tables, run_dir, metadata["patient_id"])


def _predictions(run_dir):
    path = run_dir / "predictions.csv"
    if not path.exists():
        raise DataSetError(f"{path} is missing: train the run first and give its folder, as `make paper` does.")
    return pd.read_csv(path)


def _signals(records, rate):
    """Prepared signals of some records, (B, 12, n) in mV."""
    ecgs = [read_ecg(record) for record in records]
    return np.stack([prepare_signal(ecg.signal, ecg.fs, rate) for ecg in ecgs])


def _examples(model, data, metadata, predictions, rate):
    maps, marks = [], []
    predicted = predictions.set_index("ecg_id")["predicted"]
    for name, ecg_id in choose_examples(metadata, predictions).items():
        record = Path(data, metadata.loc[ecg_id, "filename_hr"])
        heat = heat_maps(model, _signals([record], rate)[0], predicted[ecg_id])  # (7, n)
        step = round(rate / MAP_RATE)
        means = heat[:, : heat.shape[1] // step * step].reshape(len(heat), -1, step).mean(axis=-1)
        table = pd.DataFrame(means.T, columns=[f"s{i + 1}" for i in range(len(heat))])
        table.insert(0, "time", (np.arange(len(table)) + 0.5) * step / rate)
        ecg = read_ecg(record)
        beats = beat_marks(record, ecg.signal, ecg.fs)
        table["mark"] = _marks_at(table["time"], beats)
        for found, part in ((maps, table), (marks, beats)):
            part.insert(0, "ecg_id", ecg_id)
            part.insert(0, "example", name)
            found.append(part)
    return {"heat_maps": pd.concat(maps), "heat_marks": pd.concat(marks)} if maps else {}


def _marks_at(time, beats):
    """Name of the mark at each moment; an ectopic beat goes before its own QRS complex."""
    names = pd.Series("", time.index)
    for beat in beats.itertuples():  # ectopic beats come last
        names[time.between(beat.onset, beat.end)] = beat.mark
    return names


def _measure(model, records, rate, values, extension):
    """Shares of heat (where `extension` names annotations) and rank correlations, of all records in batches."""
    ids = list(records)
    start = _signals([records[i] for i in ids[:CASCADE_RECORDS]], rate)
    trained, random = StageCAM(model), StageCAM(randomised(model, start))
    shares, sanity = [], []
    for part in tqdm(np.array_split(ids, -(-len(ids) // BATCH)), desc="Grad-CAM", unit=" batches"):
        x = _signals([records[i] for i in part], rate)
        k = [values[i] for i in part] if values else _predicted(model, x)
        heats = {"trained": stage_heat(trained, torch.from_numpy(x), k), "random": stage_heat(random, torch.from_numpy(x), k)}
        heats["contrast"] = heats["trained"] - heats["trained"].min(axis=-1, keepdims=True)
        heats["energy"] = _energy(x)
        sanity += _sanity_rows(part, heats, rate)
        for row, i in enumerate(part if extension else []):
            of_record, waves = {name: heat[row] for name, heat in heats.items()}, read_waves(records[i], extension)
            shares += [{"ecg_id": i, **found} for found in share_rows(of_record, waves, rate)]
    return pd.DataFrame(shares), pd.DataFrame(sanity)


def _predicted(model, x):
    with torch.inference_mode():
        return decode(class_probabilities(model(torch.from_numpy(x)))).tolist()


def _sanity_rows(ids, heats, rate):
    """Rank correlation of the trained maps (B, stages, n) with others; "another record" is half a batch away."""
    others = {"random": heats["random"], "energy": heats["energy"]}
    others["another_record"] = np.roll(heats["trained"], len(ids) // 2, axis=0)
    found = {name: rank_correlation(heats["trained"], other) for name, other in others.items()}  # (B, stages)
    if len(ids) == 1:  # there is no other record
        found["another_record"][:] = np.nan
    found["lowest"] = heats["trained"].min(axis=-1)
    rows = []
    for (row, stage), _ in np.ndenumerate(found["lowest"]):
        about = {"ecg_id": ids[row], "stage": f"s{stage + 1}", "cell": stride_of(stage) / rate}
        rows.append(about | {name: values[row, stage] for name, values in found.items()})
    return rows


def _cascade(model, records, rate, values):
    """Mean rank correlation with the trained maps by stage, randomised from the head down to each module."""
    ids = list(records)[:CASCADE_RECORDS]
    x = _signals([records[i] for i in ids], rate)
    k = [values[i] for i in ids]
    names = [name for name, _ in model.named_children()][::-1]  # head, s7, ..., s1, stem
    counts = tqdm(range(len(names) + 1), desc="cascade")
    maps = [_heat_in_batches(randomised(model, x, names[:count]), x, k) for count in counts]
    rows = [pd.DataFrame(rank_correlation(maps[0], other)).mean() for other in maps[1:]]  # skips NaN
    table = pd.DataFrame(rows).rename(columns=lambda stage: f"s{stage + 1}").reset_index(drop=True)
    table.insert(0, "randomised", names)
    return table.assign(records=len(ids))


def _heat_in_batches(model, x, critical_values):
    cam, parts = StageCAM(model), np.array_split(np.arange(len(x)), -(-len(x) // BATCH))
    return np.concatenate([stage_heat(cam, torch.from_numpy(x[part]), np.array(critical_values)[part]) for part in parts])


def _write(tables, run_dir, patient_id):
    """Write the tables that are not empty and delete those of an earlier run that are empty now; what was written."""
    written = []
    for name in HEAT_TABLES:
        path, table = run_dir / f"{name}.csv", tables.get(name, pd.DataFrame())
        if table.empty:
            path.unlink(missing_ok=True)
            continue
        if name in ("heat_shares", "heat_sanity"):
            table.insert(1, "patient_id", table["ecg_id"].map(patient_id))
        elif name == "heat_shares_ludb":
            table.insert(1, "patient_id", table["ecg_id"])  # each of LUDB's records is of another person
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.4f", lineterminator="\n")
        written.append(path)
    return written
