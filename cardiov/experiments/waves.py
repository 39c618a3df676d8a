"""True waves of a record, annotated or detected, and the share of a map's heat that lies within them."""

from pathlib import Path

import numpy as np
import pandas as pd

from cardiov.ecg.filters import bandpass
from cardiov.errors import DataSetError
from cardiov.scoring.gradcam import cells_over_time, stride_of

ECTOPIC = ("V", "A")  # WFDB's premature ventricular and atrial beats


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
    cells, n = -(-len(span) // stride_of(stage)), len(span)
    centres = (stride_of(stage) * np.arange(cells) + (stride_of(stage) - 1) / 2).astype(int).clip(max=n - 1)
    shares, _ = heat_share(cells_over_time(cells, n, stage), inside, span)
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
