"""Grad-CAM of each stage, and whether its heat lies where the heart does what the critical value is about (Fig. 5).

The maps are those of the grad-cam package (Selvaraju et al. 2017) for the last convolution of each stage, all seven
from one forward and one backward pass. Three things differ from the package's defaults, each because of a trap:

- its default target, the largest output, means nothing for threshold logits: here it is `OrdinalTarget`;
- it stretches a map over the signal, which puts the last of 20 cells of 0.512 s up to 0.24 s too early in a record of
  10 s: here each cell stays where its convolutions have their centre (`_cells_over_time`);
- it subtracts a map's minimum, so that a nearly flat map looks peaked: here a map is only divided by its maximum; what
  the package's scaling would make of it is measured too, as the map's contrast.

A map that looks right may only follow the signal, whatever the weights. So heat is measured against chance, against
networks with random weights (Adebayo et al. 2018) and against the signal's own energy.
"""

import copy
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_grad_cam import GradCAM
from scipy.stats import rankdata
from torch import nn
from tqdm.auto import tqdm

from cardiov import mapping
from cardiov.errors import DataSetError, ParameterError
from cardiov.evaluation import NOISE, bootstrap
from cardiov.model import CardioV
from cardiov.ordinal import THRESHOLDS, class_probabilities, decode, ordinal_targets
from cardiov.ptbxl import read_metadata
from cardiov.results import replacing, results_dir
from cardiov.signals import bandpass, prepare_signal, read_ecg

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
ECTOPIC = ("V", "A")  # WFDB's premature ventricular and atrial beats
TABLES = ("heat_maps", "heat_marks", "heat_sanity", "heat_cascade", "heat_shares", "heat_shares_ludb")

# Maps


class OrdinalTarget:
    """What Grad-CAM explains: the evidence for one critical value, as a linear score of the three threshold logits.

    The score for critical value k is the sum of t_j z_j, where t_j is +1 for the thresholds below k, which Table 4
    answers by yes, and -1 for the others.

    Parameters
    ----------
    critical_value : int, optional
        0 to 3; by default the one that the outputs are decoded to.

    Examples
    --------
    >>> OrdinalTarget(2)(torch.tensor([1.0, 2.0, 4.0]))
    tensor(-1.)
    """

    def __init__(self, critical_value=None):
        self.critical_value = critical_value

    def __call__(self, logits):  # (3,) -> ()
        value = self.critical_value
        if value is None:
            value = decode(class_probabilities(logits.detach()[None]))[0]
        signs = 2 * ordinal_targets(torch.as_tensor(value).reshape(1))[0] - 1
        return logits @ signs.to(logits)


class _AsImage(nn.Module):
    """The network as the package wants it, on images of height 1: (B, 12, 1, n) -> (B, 3)."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.squeeze(2))


class StageCAM(GradCAM):
    """Grad-CAM of the last convolution of every stage, from one pass: a list of (B, cells), neither scaled nor resized.

    Works on a copy of the model in which nothing needs gradients below the first map.
    """

    def __init__(self, model):
        model = copy.deepcopy(model).requires_grad_(False)
        layers = [stage[-1].conv3 for stage in model.stages]
        layers[0].bias.requires_grad_(True)
        super().__init__(_AsImage(model), layers)

    def compute_cam_per_layer(self, input_tensor, targets, eigen_smooth):
        found = self.activations_and_grads
        maps = zip(self.target_layers, found.activations, found.gradients, strict=True)
        cams = [self.get_cam_image(input_tensor, layer, targets, a, g.numpy()) for layer, a, g in maps]
        return [np.maximum(cam[:, 0], 0) for cam in cams]

    def aggregate_multi_layers(self, cam_per_target_layer):
        return cam_per_target_layer


def heat_maps(model, signals, critical_value=None) -> np.ndarray:
    """Where each stage finds its evidence for a critical value (Grad-CAM).

    Parameters
    ----------
    model : CardioV
        With the ordinal head.
    signals : array, shape (12, n) or (B, 12, n)
        Prepared by `cardiov.signals.prepare_signal`, in mV.
    critical_value : int or sequence of B int, optional
        What to explain (see `OrdinalTarget`); by default what the model predicts.

    Returns
    -------
    ndarray of float32, shape (7, n) or (B, 7, n)
        One row a stage, from 0 (no evidence for it) to 1 (the record's and stage's strongest); all 0 where a stage has
        none. A record's stages can't be compared by height, only by shape.

    Raises
    ------
    ParameterError
        If the model has no ordinal head.
    """
    if model.config.outputs != THRESHOLDS:
        raise ParameterError(
            f"the network has {model.config.outputs} outputs where the ordinal head has {THRESHOLDS}: explain the "
            "weights of an ordinal run."
        )
    x = torch.as_tensor(np.array(signals, np.float32))
    batch = x if x.ndim == 3 else x[None]
    heat = _heat(StageCAM(model), batch, np.broadcast_to(critical_value, len(batch)))
    return heat if x.ndim == 3 else heat[0]


def _heat(cam, x, critical_values):
    """Heat (B, stages, n) of signals (B, 12, n); a critical value may be None."""
    with torch.enable_grad():
        maps = cam(x.unsqueeze(2), [OrdinalTarget(value) for value in critical_values])
    heat = np.stack([_over_time(map_, x.shape[-1], stage) for stage, map_ in enumerate(maps)], axis=1)
    return heat / np.maximum(heat.max(axis=-1, keepdims=True), np.finfo(np.float32).tiny)


def _stride(stage):
    """Samples a cell of a stage's map stands for; stem and stages each halve the length."""
    return 4 * 2**stage


@lru_cache(maxsize=8)
def _cells_over_time(cells, n, stage):
    """What each cell gives to each sample, (cells, n): 1 at its centre, linear to the next, constant at the ends.

    SAME padding of an even kernel with stride 2 centres cell c between samples 2 c and 2 c + 1 of its input.
    """
    stride = _stride(stage)
    centres = stride * np.arange(cells) + (stride - 1) / 2
    return np.stack([np.interp(np.arange(n), centres, one) for one in np.eye(cells)]).astype(np.float32)


def _over_time(maps, n, stage):
    return maps @ _cells_over_time(maps.shape[-1], n, stage)  # (B, cells) -> (B, n)


def _energy(x):
    """The signals' own energy (B, 12, n) as if it were a map, in each stage's cells: (B, stages, n), from 0 to 1."""
    energy = np.square(x).sum(axis=1)  # (B, n)
    maps = []
    for stage in range(7):
        padded = np.pad(energy, ((0, 0), (0, -energy.shape[1] % _stride(stage))))
        maps.append(_over_time(padded.reshape(len(x), -1, _stride(stage)).mean(axis=-1), x.shape[-1], stage))
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


# True waves


def read_waves(record, extension) -> pd.DataFrame:
    """Waves from WFDB annotations of the form ``(`` peak ``)``; a wave without both ends is left out.

    Parameters
    ----------
    record : path
        Without suffix.
    extension : str
        ``"atr"`` of simulated records, ``"ii"`` for lead II of LUDB.

    Returns
    -------
    DataFrame
        ``symbol`` ("p", "t", or the beat's type), ``onset`` and ``end`` in s, by onset.

    Raises
    ------
    DataSetError
        If there are no such annotations.
    """
    import wfdb

    try:
        notes = wfdb.rdann(str(record), extension)
    except (OSError, ValueError) as error:
        where = f"{record}.{extension}"
        raise DataSetError(f"{where} cannot be read ({error}): restore the record's annotations.") from error
    rows = []
    for number in np.unique(notes.num):  # which tells overlapping waves apart
        kept = np.flatnonzero(notes.num == number)
        for a, b, c in zip(kept, kept[1:], kept[2:], strict=False):
            if notes.symbol[a] == "(" and notes.symbol[c] == ")":
                rows.append((notes.symbol[b], notes.sample[a] / notes.fs, notes.sample[c] / notes.fs))
    return pd.DataFrame(rows, columns=["symbol", "onset", "end"]).sort_values("onset", ignore_index=True)


def wave_windows(waves) -> dict:
    """Windows of time by kind, from the waves of one record.

    Returns
    -------
    dict of str to ndarray, shape (windows, 2)
        Onset and end in s of each ``P``, ``QRS`` and ``T`` wave; ``P to T``, from the P wave (where there is none, the
        QRS complex) to the end of the T wave; and ``ectopic beat``, from a premature QRS complex to the end of its T
        wave. A kind that a record does not have is left out.
    """
    waves_of = {name: waves.loc[waves["symbol"] == name, ["onset", "end"]].to_numpy() for name in ("p", "t")}
    beats = waves[~waves["symbol"].isin(["p", "t"])]
    windows = {"P": waves_of["p"], "QRS": beats[["onset", "end"]].to_numpy(), "T": waves_of["t"]}
    onsets = [-np.inf, *beats["onset"], np.inf]
    windows |= {"P to T": [], "ectopic beat": []}
    for symbol, before, onset, after in zip(beats["symbol"], onsets, onsets[1:], onsets[2:], strict=False):
        start = [p for p, _ in waves_of["p"] if before < p < onset][-1:] or [onset]
        for end in [end for t, end in waves_of["t"] if onset < t < after][:1]:
            windows["P to T"].append((start[0], end))
            if symbol in ECTOPIC:
                windows["ectopic beat"].append((onset, end))
    return {kind: np.array(found) for kind, found in windows.items() if len(found)}


def _inside(windows, n, rate):
    """Whether each of n samples lies in one of the windows."""
    time = np.arange(n) / rate
    return ((time >= windows[:, :1]) & (time < windows[:, 1:])).any(axis=0)


def heat_share(heat, inside, span):
    """Share of a map's heat inside windows, and share of the time that they cover, which is chance.

    Parameters
    ----------
    heat : array, shape (..., n)
    inside : bool array, shape (n,)
        In a window.
    span : bool array, shape (n,)
        What is looked at: where waves are annotated.

    Returns
    -------
    share : array, shape (...)
        NaN where there is no heat at all.
    coverage : float
    """
    with np.errstate(invalid="ignore"):
        share = (heat * (inside & span)).sum(axis=-1) / (heat * span).sum(axis=-1)
    return share, (inside & span).sum() / span.sum()


def _best_share(inside, span, stage):
    """The largest share that a map with the cells of this stage can have: all heat in the one cell that fits best."""
    cells, n = -(-len(span) // _stride(stage)), len(span)
    centres = (_stride(stage) * np.arange(cells) + (_stride(stage) - 1) / 2).astype(int).clip(max=n - 1)
    shares, _ = heat_share(_cells_over_time(cells, n, stage), inside, span)
    return shares[span[centres]].max(initial=0)


def share_rows(heats, waves, rate):
    """Shares of one record's heat, by stage and kind of window, between the first and the last annotated wave.

    Parameters
    ----------
    heats : dict of str to array, shape (stages, n)
        Maps of one record by name.
    waves : DataFrame
        From `read_waves`.
    rate : float
        Of the maps, in Hz.

    Returns
    -------
    list of dict
        ``stage``, ``window``, ``coverage``, ``best`` (the largest share that this stage's cells allow) and, by name,
        each map's share.
    """
    n = next(iter(heats.values())).shape[-1]
    span = _inside(np.array([[waves["onset"].min(), waves["end"].max()]]), n, rate)
    rows = []
    for kind, windows in wave_windows(waves).items():
        inside = _inside(windows, n, rate)
        shares = {name: heat_share(heat, inside, span) for name, heat in heats.items()}
        for stage in range(len(next(iter(heats.values())))):
            row = {"stage": f"s{stage + 1}", "window": kind, "coverage": (inside & span).sum() / span.sum()}
            row["best"] = _best_share(inside, span, stage)
            rows.append(row | {name: share[stage] for name, (share, _) in shares.items()})
    return rows


# Examples


def choose_examples(metadata, predictions) -> dict:
    """The AF and the PVC record of Fig. 5, by rule, from the test split.

    Of the records with the statement (`EXAMPLES`), those come first that are predicted to have the statement's own
    critical value, so that the statement can be what is explained; then those whose label the statement decides; then
    those without annotated noise; then those for which that critical value is most probable.

    Parameters
    ----------
    metadata : DataFrame
        Of `cardiov.ptbxl.read_metadata`.
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


def detect_beats(signal, fs) -> np.ndarray:
    """R peaks of a record without annotations (s), by wfdb's XQRS detector on lead II."""
    from wfdb.processing import xqrs_detect

    return xqrs_detect(bandpass(signal[1], fs).astype(float), fs, verbose=False) / fs


def beat_marks(record, signal, fs) -> pd.DataFrame:
    """The characteristic places of a record: QRS complexes and ectopic beats.

    From the annotations beside a simulated record; else detected, with 0.1 s around each R peak as its QRS complex, and
    as ectopic beats, from 0.1 s before the R peak to 0.4 s after it, those of another shape: 0.2 s around the R peak in
    twelve leads correlate with the median of the record's beats by less than 0.5.

    Returns
    -------
    DataFrame
        ``mark`` ("QRS" or "ectopic beat"), ``onset`` and ``end`` in s, and ``source`` ("annotated" or "detected").
    """
    if Path(f"{record}.atr").exists():
        windows, source = wave_windows(read_waves(record, "atr")), "annotated"
    else:
        windows, source = _detected_windows(detect_beats(signal, fs), bandpass(signal, fs), fs), "detected"
    marks = [(kind, *window, source) for kind in ("QRS", "ectopic beat") for window in windows.get(kind, ())]
    return pd.DataFrame(marks, columns=["mark", "onset", "end", "source"])


def _detected_windows(peaks, signal, fs):
    half = round(0.1 * fs)
    places = np.round(peaks * fs).astype(int)
    whole = places[(places >= half) & (places < signal.shape[1] - half)]
    beats = np.array([signal[:, i - half : i + half].ravel() for i in whole])
    alike = [np.corrcoef(beat, np.median(beats, axis=0))[0, 1] for beat in beats]
    other = whole[np.array(alike) < 0.5] / fs
    return {"QRS": np.c_[peaks - 0.05, peaks + 0.05], "ectopic beat": np.c_[other - 0.1, other + 0.4]}


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

    Raises
    ------
    CardioVError
        If something of these is missing or unreadable, or the run is not ordinal.
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
    _write(tables, run_dir, metadata["patient_id"])


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
        heats = {"trained": _heat(trained, torch.from_numpy(x), k), "random": _heat(random, torch.from_numpy(x), k)}
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
        about = {"ecg_id": ids[row], "stage": f"s{stage + 1}", "cell": _stride(stage) / rate}
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
    return np.concatenate([_heat(cam, torch.from_numpy(x[part]), np.array(critical_values)[part]) for part in parts])


def _write(tables, run_dir, patient_id):
    """Write the tables that there are and remove those of an earlier run that there are no longer."""
    for name in TABLES:
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


# What notebook 09 makes of it


def read_heat(dataset, run) -> dict:
    """The tables that `write_heat` left, by name; those that this data set cannot give are missing.

    Raises
    ------
    DataSetError
        If it has not run.
    """
    folder = results_dir(dataset) / "runs" / run
    found = {name: pd.read_csv(folder / f"{name}.csv") for name in TABLES if (folder / f"{name}.csv").exists()}
    if "heat_sanity" not in found:
        raise DataSetError(f"{folder} has no heat maps: run `python -m cardiov explain` first, as `make paper` does.")
    return found


def enrichment(shares, resamples=1000, seed=0) -> pd.DataFrame:
    """How much more heat windows hold than chance: mean share over mean coverage, with intervals over patients.

    Parameters
    ----------
    shares : DataFrame
        ``heat_shares`` or ``heat_shares_ludb`` of `read_heat`.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Indexed by ``map`` ("trained"; "contrast", the same less its minimum; "random"; "energy"; and "best", the most
        that the stage's cells allow), ``window`` and ``stage``, with ``estimate`` (1 is chance), ``low``, ``high`` and
        ``records``. A record whose map is empty is left out, both of share and of coverage.
    """
    maps = ["trained", "contrast", "random", "energy", "best"]
    long = shares.melt(["ecg_id", "patient_id", "window", "stage", "coverage"], maps, "map", "share")
    long["coverage"] = long["coverage"].where(long["share"].notna())
    long["key"] = long["map"] + "|" + long["window"] + "|" + long["stage"]
    wide = long.pivot(index=["ecg_id", "patient_id"], columns="key", values=["share", "coverage"])
    keys = wide["share"].columns
    wide = wide.set_axis([f"{value}|{key}" for value, key in wide.columns], axis=1).reset_index("patient_id")

    def ratio(rows):
        means = rows.mean()
        parts = [means[[f"{value}|{key}" for key in keys]].to_numpy() for value in ("share", "coverage")]
        return pd.Series(parts[0] / parts[1], keys)

    table = bootstrap(wide, ratio, resamples, seed)
    table["records"] = [int(wide[f"share|{key}"].notna().sum()) for key in table.index]
    table.index = pd.MultiIndex.from_tuples([key.split("|") for key in table.index], names=["map", "window", "stage"])
    return table.sort_index()


def correlations(sanity, resamples=1000, seed=0) -> pd.DataFrame:
    """Mean rank correlation of the trained maps with others, by stage, with intervals over patients.

    Returns
    -------
    DataFrame
        Indexed by ``compared`` ("random", "another_record", "energy") and ``stage``, with ``estimate``, ``low``,
        ``high`` and ``records`` (whose two maps both vary).
    """
    names = ["random", "another_record", "energy"]
    wide = sanity.pivot(index=["ecg_id", "patient_id"], columns="stage", values=names)
    wide = wide.set_axis(["|".join(key) for key in wide.columns], axis=1).reset_index("patient_id")
    table = bootstrap(wide, lambda rows: rows.drop(columns="patient_id").mean(), resamples, seed)
    table["records"] = wide.drop(columns="patient_id").notna().sum()
    table.index = pd.MultiIndex.from_tuples([key.split("|") for key in table.index], names=["compared", "stage"])
    return table.sort_index()
