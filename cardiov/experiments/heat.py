"""Does heat lie where the heart does what the critical value is about (Fig. 5)? Maps of the test split, measured.

A map that looks right may only follow the signal, whatever the weights. So heat is measured against chance, against
networks with random weights (Adebayo et al. 2018) and against the signal's own energy. The maps themselves are
`cardiov.scoring.gradcam`'s. ``records`` are those of `cardiov.data.records`; rates are in Hz.
"""

import copy
from contextlib import contextmanager
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
from cardiov.data.ludb import read_record
from cardiov.data.records import Files, open_records
from cardiov.ecg.filters import prepare_signal
from cardiov.errors import DataSetError
from cardiov.experiments.waves import beat_marks, read_waves, share_rows
from cardiov.model import CardioV
from cardiov.ordinal import class_probabilities, decode
from cardiov.scoring.cells import over_time, stride_of
from cardiov.scoring.gradcam import StageCAM, heat_maps, stage_heat
from cardiov.store.results import HEAT_TABLES, existing, write_table
from cardiov.training.batches import in_pieces

RECORDS = 300  # at most, of the test split, in the order of ecg_id
CASCADE_RECORDS = 32  # of these, whose maps are followed while the weights are randomised from the head down
BATCH = 8  # records at once
SEEDS = range(5)  # of the random weights
SHARED = {"trained": "trained", "contrast": "contrast", "random": "random_0", "energy": "energy"}  # map measured against chance: which
EXAMPLES = {  # name: statement that the record has, statements that it must not have
    "AF": ("AFIB", {"AFLT", "PVC"}),
    "PVC": ("PVC", {"AFIB", "AFLT"}),
}
MAP_RATE = 50  # of the examples' maps as they are stored


def _energy(x):
    """The signals' own energy (B, 12, n) as if it were a map, in each stage's cells: (B, stages, n), from 0 to 1."""
    energy, maps = np.square(x).sum(axis=1), []  # (B, n)
    for stage, stride in enumerate(map(stride_of, range(7))):
        cells = np.pad(energy, ((0, 0), (0, -energy.shape[1] % stride))).reshape(len(x), -1, stride).mean(axis=-1)
        maps.append(over_time(cells, x.shape[-1], stage))
    heat = np.stack(maps, axis=1)
    return heat / np.maximum(heat.max(axis=-1, keepdims=True), np.finfo(np.float32).tiny)


def rank_correlation(first, second):
    """Spearman's correlation over the last axis; NaN where one of the two is constant."""
    ranks = [rankdata(heat, axis=-1) - (heat.shape[-1] + 1) / 2 for heat in (first, second)]  # whose mean is 0
    with np.errstate(invalid="ignore"):
        return (ranks[0] * ranks[1]).sum(-1) / np.sqrt(np.square(ranks).sum(-1).prod(0))


def randomised(model, signals, modules=None, seed=SEEDS[0]):
    """A copy of a network with new weights in some modules, by default all, in evaluation mode (Adebayo et al. 2018).

    Their batch norms measure their statistics on the signals, (B, 12, n), so that what comes out of random weights has
    the size that the next layer expects, and a map does not vanish for that reason alone.
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
    with torch.no_grad(), _one_thread():
        for batch in in_pieces(signals, BATCH):
            new(torch.from_numpy(batch).to(new.head.weight))
    return new.eval()


@contextmanager
def _one_thread():
    """Compute on one thread: batch norm's sums depend on the number of threads, and ranks of heat on their last digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def choose_examples(metadata, predictions) -> dict[str, int]:
    """The ``ecg_id`` of the AF and the PVC record of Fig. 5, by rule, from an ordinal run's test split.

    Of the records with the statement (`EXAMPLES`), if any, those come first that are predicted to have its own critical
    value; then those whose label it decides; then those without annotated noise; then those for which that critical
    value is most probable.
    """
    test = predictions[predictions["split"] == "test"].set_index("ecg_id")
    noisy = metadata.loc[test.index, NOISE].notna().any(axis=1)
    chosen = {}
    for name, (statement, excluded) in EXAMPLES.items():
        value = mapping.critical_value({statement: 0.0})
        ranked = [  # by what speaks against a record
            (test.loc[i, "predicted"] != value, mapping.deciding_statement(codes) != statement, noisy[i], -test.loc[i, f"p{value}"], i)
            for i, codes in metadata.loc[test.index, "scp_codes"].items() if statement in codes and not excluded & set(codes)
        ]  # fmt: skip
        if ranked:
            chosen[name] = int(min(ranked)[-1])
    return chosen


def write_heat(data, weights, run_dir, ludb=None) -> list[Path]:
    """Compute maps of the test split and write what notebook 09 needs into an ordinal run's folder; no signal is stored.

    Returns the files: ``heat_maps.csv`` (the two examples, 50 Hz) and ``heat_marks.csv`` (their beats), ``heat_sanity.csv``
    (rank correlation of each record's trained map with others, those of five networks with random weights among them),
    ``heat_cascade.csv`` (its mean while the weights are randomised from the head down), ``heat_shares.csv`` if the records have annotations beside them and, with LUDB, ``heat_shares_ludb.csv``.
    """
    run_dir, model, metadata = Path(run_dir), CardioV.from_pretrained(weights), read_metadata(data)
    predictions = pd.read_csv(existing(run_dir / "predictions.csv", "train the run first and give its folder"))
    rate, records, marked = model.metadata["preprocessing"]["rate"], open_records(data), ludb and _ludb_records(ludb)
    test = predictions[predictions["split"] == "test"].sort_values("ecg_id")[:RECORDS].set_index("ecg_id")
    values = test["predicted"].to_dict()
    annotated = all(Path(f"{records.paths[ecg_id]}.atr").exists() for ecg_id in values)
    shares, sanity = _measure(model, records, rate, values, "atr" if annotated else None)
    for table in (shares, sanity):
        if len(table):
            table.insert(1, "patient_id", table["ecg_id"].map(metadata["patient_id"]))
    tables = _examples(model, records, metadata, predictions, rate)
    tables |= {"heat_sanity": sanity, "heat_shares": shares, "heat_cascade": _cascade(model, records, rate, values)}
    if marked:
        tables["heat_shares_ludb"] = shares = _measure(model, marked, rate, dict.fromkeys(marked.paths), "ii")[0]
        shares.insert(1, "patient_id", shares["ecg_id"])  # each of LUDB's records is of another person
    for name in HEAT_TABLES:  # also of an earlier run
        (run_dir / f"{name}.csv").unlink(missing_ok=True)
    return [write_table(tables[name], run_dir / f"{name}.csv", "%.4f") for name in HEAT_TABLES if len(tables.get(name, ()))]


def _ludb_records(folder):
    records = {int(path.stem): path.with_suffix("") for path in Path(folder).glob("*.hea")}
    if not records:
        raise DataSetError(f"{folder} has no WFDB records: give the folder of LUDB's records 1 to 200.")
    return _Ludb(dict(sorted(records.items())))


class _Ludb(Files):
    """LUDB's records in mV, which their headers do not give."""

    def read(self, ecg_id):
        return read_record(self.paths[ecg_id].parent, ecg_id)


def _signals(records, ecg_ids, rate):
    """Prepared signals of some records, (B, 12, n) in mV."""
    ecgs = [records.read(ecg_id) for ecg_id in ecg_ids]
    return np.stack([prepare_signal(ecg.signal, ecg.fs, rate) for ecg in ecgs])


def _examples(model, records, metadata, predictions, rate):
    maps, marks, names = {}, {}, ["example", "ecg_id"]
    predicted = predictions.set_index("ecg_id")["predicted"]
    for name, ecg_id in choose_examples(metadata, predictions).items():
        ecg = records.read(ecg_id)
        heat = heat_maps(model, prepare_signal(ecg.signal, ecg.fs, rate), predicted[ecg_id])  # (7, n)
        marks[name, ecg_id] = beats = beat_marks(records.paths[ecg_id], ecg.signal, ecg.fs)
        maps[name, ecg_id] = _at_map_rate(heat, rate, beats)
    tables = {"heat_maps": maps, "heat_marks": marks} if maps else {}
    return {name: pd.concat(parts, names=names).reset_index(names).reset_index(drop=True) for name, parts in tables.items()}


def _at_map_rate(heat, rate, beats):
    """A record's heat (stages, n) at `MAP_RATE`, with the name of the mark at each moment."""
    step = round(rate / MAP_RATE)
    means = heat[:, : heat.shape[1] // step * step].reshape(len(heat), -1, step).mean(axis=-1)
    table = pd.DataFrame(means.T, columns=[f"s{i + 1}" for i in range(len(heat))])
    table.insert(0, "time", (np.arange(len(table)) + 0.5) * step / rate)
    table["mark"] = ""
    for beat in beats.itertuples():  # ectopic beats come last and go before their own QRS complexes
        table.loc[table["time"].between(beat.onset, beat.end), "mark"] = beat.mark
    return table


def _measure(model, records, rate, values, extension):
    """Shares of heat (if `extension` names annotations) and rank correlations, in batches of the records.

    ``values`` holds by ``ecg_id`` the critical value whose heat is measured, or None for the predicted one.
    """
    ecg_ids = list(values)
    start = _signals(records, ecg_ids[:CASCADE_RECORDS], rate)
    networks = {"trained": StageCAM(model)} | {f"random_{seed}": StageCAM(randomised(model, start, seed=seed)) for seed in SEEDS}
    shares, sanity = [], []
    for batch in tqdm(in_pieces(ecg_ids, BATCH), desc="Grad-CAM", unit=" batches"):
        x = _signals(records, batch, rate)
        k = [values[i] for i in batch]
        k = _predicted(model, x) if None in k else k
        heats = {name: stage_heat(cam, torch.from_numpy(x), k) for name, cam in networks.items()} | {"energy": _energy(x)}
        sanity += _sanity_rows(batch, heats, rate)
        heats["contrast"] = heats["trained"] - heats["trained"].min(axis=-1, keepdims=True)
        for row, ecg_id in enumerate(batch if extension else []):
            of_record = {name: heats[heat][row] for name, heat in SHARED.items()}
            waves = read_waves(records.paths[ecg_id], extension)
            shares += [{"ecg_id": ecg_id, **share} for share in share_rows(of_record, waves, rate)]
    return pd.DataFrame(shares), pd.DataFrame(sanity)


def _predicted(model, x):
    with torch.inference_mode():
        return decode(class_probabilities(model(torch.from_numpy(x)))).tolist()


def _sanity_rows(ecg_ids, heats, rate):
    """Rank correlation of the trained maps (B, stages, n) with others; "another record" is half a batch away."""
    trained = heats["trained"]
    others = {name: heat for name, heat in heats.items() if name != "trained"}
    others["another_record"] = np.roll(trained, len(ecg_ids) // 2, axis=0)
    columns = {name: rank_correlation(trained, other) for name, other in others.items()}  # (B, stages)
    if len(ecg_ids) == 1:  # there is no other record
        columns["another_record"][:] = np.nan
    columns["lowest"] = trained.min(axis=-1)
    return [
        {"ecg_id": ecg_id, "stage": f"s{stage + 1}", "cell": stride_of(stage) / rate}
        | {name: column[row, stage] for name, column in columns.items()}
        for row, ecg_id in enumerate(ecg_ids)
        for stage in range(trained.shape[1])
    ]


def _cascade(model, records, rate, values):
    """Mean rank correlation with the trained maps by stage, randomised from the head down to each module."""
    ecg_ids = list(values)[:CASCADE_RECORDS]
    x = _signals(records, ecg_ids, rate)
    k = np.array([values[i] for i in ecg_ids])
    names = [name for name, _ in model.named_children()][::-1]  # head, s7, ..., s1, stem
    counts = tqdm(range(len(names) + 1), desc="cascade")
    maps = [_heat_in_batches(randomised(model, x, names[:count]), x, k) for count in counts]
    rows = [pd.DataFrame(rank_correlation(maps[0], other)).mean() for other in maps[1:]]  # skips NaN
    table = pd.DataFrame(rows).rename(columns=lambda stage: f"s{stage + 1}").reset_index(drop=True)
    table.insert(0, "randomised", names)
    return table.assign(records=len(ecg_ids))


def _heat_in_batches(model, x, critical_values):
    cam, batches = StageCAM(model), in_pieces(np.arange(len(x)), BATCH)
    return np.concatenate([stage_heat(cam, torch.from_numpy(x[rows]), critical_values[rows]) for rows in batches])
