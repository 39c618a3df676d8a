"""True waves of a record, annotated or detected, and the share of a map's heat that lies within them.

``waves`` are those of one record, from `read_waves`; times are in s, rates in Hz. A mask, shape (n,), says of each sample
whether it lies in a window (``inside``), or where waves are annotated (``span``).
"""

from pathlib import Path

import numpy as np
import pandas as pd

from cardiov.ecg.filters import bandpass, resample
from cardiov.errors import DataSetError
from cardiov.scoring.cells import cells_over_time, stride_of

DETECTION_RATE = 500  # Hz; at 100 Hz XQRS finds beats twice, and 10 ms between samples make equal beats look unlike
ECTOPIC = ("V", "A")  # WFDB's premature ventricular and atrial beats


def read_waves(record, extension: str) -> pd.DataFrame:
    """``symbol`` ("p", "t", or the beat's type), ``onset`` and ``end`` of waves that WFDB annotations give both ends.

    The extension is ``"atr"`` of simulated records, ``"ii"`` for lead II of LUDB; `DataSetError` without such annotations.
    """
    import wfdb

    try:
        notes = wfdb.rdann(str(record), extension)
    except (OSError, ValueError) as error:
        raise DataSetError(f"{record}.{extension} cannot be read ({error}): restore the record's annotations.") from error
    table = pd.DataFrame({"symbol": notes.symbol, "time": notes.sample / notes.fs})
    numbered = table.groupby(notes.num)  # which separates overlapping waves
    before, after = numbered.shift(1), numbered.shift(-1)
    waves = table.assign(onset=before["time"], end=after["time"])[(before["symbol"] == "(") & (after["symbol"] == ")")]
    return waves[["symbol", "onset", "end"]].sort_values("onset", ignore_index=True)


def wave_windows(waves: pd.DataFrame) -> dict[str, np.ndarray]:
    """Onsets and ends, (windows, 2), by kind of window; a kind that the record does not have is left out.

    ``P to T`` is from the P wave (without one, the QRS complex) to the end of the T wave; ``ectopic beat`` from a premature
    QRS complex to the end of its T wave.
    """
    p, t = (waves.loc[waves["symbol"] == name, ["onset", "end"]].to_numpy() for name in ("p", "t"))
    beats = waves[~waves["symbol"].isin(["p", "t"])]
    windows = {"P": p, "QRS": beats[["onset", "end"]].to_numpy(), "T": t, "P to T": [], "ectopic beat": []}
    onsets = [-np.inf, *beats["onset"], np.inf]
    for symbol, before, onset, after in zip(beats["symbol"], onsets, onsets[1:], onsets[2:], strict=False):
        start = [wave for wave, _ in p if before < wave < onset][-1:] or [onset]
        for end in [end for wave, end in t if onset < wave < after][:1]:
            windows["P to T"].append((start[0], end))
            if symbol in ECTOPIC:
                windows["ectopic beat"].append((onset, end))
    return {kind: np.array(ends) for kind, ends in windows.items() if len(ends)}


def _mask(windows, n, rate):
    """Whether each of n samples lies in one of the windows."""
    time = np.arange(n) / rate
    return ((time >= windows[:, :1]) & (time < windows[:, 1:])).any(axis=0)


def heat_share(heat, inside, span):
    """Share of the heat (..., n) of the span that lies inside, (...); NaN without any heat."""
    with np.errstate(invalid="ignore"):
        return (heat * (inside & span)).sum(axis=-1) / (heat * span).sum(axis=-1)


def _best_share(inside, span, stage):
    """The largest share that a map with the cells of this stage can have: all heat in the one cell that fits best."""
    stride, n = stride_of(stage), len(span)
    cells = -(-n // stride)
    centres = (stride * np.arange(cells) + (stride - 1) / 2).astype(int).clip(max=n - 1)
    shares = heat_share(cells_over_time(cells, n, stage), inside, span)
    return shares[span[centres]].max(initial=0)


def share_rows(heats: dict, waves: pd.DataFrame, rate: float) -> list[dict]:
    """Shares of the heat of one record's maps, (stages, n) by name, between the first and the last annotated wave.

    By ``stage`` and ``window``: ``coverage`` (the share of the time, which is chance), ``best`` (the largest share that
    this stage's cells allow) and, by name, each map's share.
    """
    stages, n = next(iter(heats.values())).shape
    span = _mask(np.array([[waves["onset"].min(), waves["end"].max()]]), n, rate)
    rows = []
    for kind, windows in wave_windows(waves).items():
        inside = _mask(windows, n, rate)
        coverage = heat_share(np.ones(n), inside, span)
        shares = {name: heat_share(heat, inside, span) for name, heat in heats.items()}
        for stage in range(stages):
            row = {"stage": f"s{stage + 1}", "window": kind, "coverage": coverage, "best": _best_share(inside, span, stage)}
            rows.append(row | {name: share[stage] for name, share in shares.items()})
    return rows


def beat_marks(record, signal, fs) -> pd.DataFrame:
    """QRS complexes and ectopic beats, from the annotations beside a simulated record, else detected (wfdb's XQRS, lead II).

    A detected QRS complex has 0.1 s around its R peak. Ectopic beats, from 0.1 s before the R peak to 0.4 s after it,
    are those of another shape: 0.2 s around the R peak in twelve leads correlate with the median beat by less than 0.5.
    The columns are ``mark`` ("QRS" or "ectopic beat"), ``onset``, ``end`` and ``source`` ("annotated" or "detected").
    """
    if Path(f"{record}.atr").exists():
        windows, source = wave_windows(read_waves(record, "atr")), "annotated"
    else:
        filtered = resample(bandpass(signal, fs), fs, DETECTION_RATE)
        peaks = _detected_peaks(filtered[1])
        windows, source = _detected_windows(peaks, filtered, DETECTION_RATE), "detected"
    marks = [(kind, *window, source) for kind in ("QRS", "ectopic beat") for window in windows.get(kind, ())]
    return pd.DataFrame(marks, columns=["mark", "onset", "end", "source"])


def _detected_peaks(lead):
    """Times in s of R peaks; the mirrored ends make up for the start that XQRS takes to learn the signal."""
    from wfdb.processing import xqrs_detect

    last, edge = len(lead) - 1, round(0.1 * DETECTION_RATE)
    peaks = xqrs_detect(np.pad(lead.astype(float), last, "reflect"), DETECTION_RATE, verbose=False) - last
    peaks = np.abs(peaks[(peaks > -edge) & (peaks < last + edge)])  # of a beat at the edge and its mirror image, XQRS finds one
    return (last - np.abs(last - peaks)) / DETECTION_RATE


def _detected_windows(peaks, signal, fs):
    half = round(0.1 * fs)
    places = np.round(peaks * fs).astype(int)
    whole = places[(places >= half) & (places < signal.shape[1] - half)]
    beats = np.array([signal[:, i - half : i + half].ravel() for i in whole])
    alike = [np.corrcoef(beat, np.median(beats, axis=0))[0, 1] for beat in beats]
    other = whole[np.array(alike) < 0.5] / fs
    return {"QRS": np.c_[peaks - 0.05, peaks + 0.05], "ectopic beat": np.c_[other - 0.1, other + 0.4]}
