"""Score an ECG: the one function behind Python, the command line, the notebooks and the page.

The weights file gives the sampling rate, the temperature of the probabilities and the levels of the prediction sets
(`cardiov.experiments.shipping`). A record longer than 10 s, the length of the training's records, is scored in windows of
10 s; the gravest is reported, and all are listed.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version

import numpy as np

from cardiov import mapping
from cardiov.ecg.filters import prepare_signal, whole_microvolts
from cardiov.ecg.leads import ECG, check_ecg, read_ecg
from cardiov.ecg.quality import quality_warnings
from cardiov.errors import CheckpointError
from cardiov.scoring.calibration import prediction_sets
from cardiov.scoring.decoding import DECODERS
from cardiov.scoring.network import as_network

NOT_A_DEVICE = "Research software, not a medical device: it must not guide the care of a patient."
WINDOW = 10.0  # s, as the records of PTB-XL
COVERAGE = 0.9  # of the prediction set
EXAMPLES = (("NORM", "SR"), ("CRBBB", "1AVB", "SBRAD"), ("AFIB", "CLBBB", "LVH"), ("AMI", "IMI", "3AVB"))


@dataclass(frozen=True)
class Window:
    """Score of one stretch of a record."""

    start: float  # s
    seconds: float
    critical_value: int
    probabilities: tuple[float, ...]  # of the critical values 0 to 3


@dataclass(frozen=True)
class Score:
    """Critical value of one ECG.

    Attributes
    ----------
    critical_value : int
        The most probable one, 0 to 3; `meaning` says it in words.
    probabilities : ndarray, shape (4,)
        After temperature scaling.
    prediction_set : tuple of two int, or None
        Lowest and highest critical value of a range that, of each critical value, holds the label of 90 % of records like the
        training's. None for several windows, or weights without levels.
    windows : tuple of Window
        All stretches, in order of time. `window` is the index of the reported one: it has the highest critical value, and
        among equals the highest expected value.
    fs, rate : float
        Sampling rates in Hz of the record and of the network's input.
    weights : str
        SHA-256 of the weights file, in hexadecimal digits.
    software, scored : str
        Version of this package, and when it scored: ISO 8601, UTC, to the second.
    heat : ndarray of float32, shape (7, n), or None
        `cardiov.scoring.gradcam.heat_maps` of the reported window, at `rate`.
    """

    record: str
    critical_value: int
    meaning: str
    probabilities: np.ndarray
    prediction_set: tuple[int, int] | None
    warnings: tuple[str, ...]
    windows: tuple[Window, ...]
    window: int
    seconds: float
    fs: float
    model: str
    rate: float
    weights: str
    software: str
    scored: str
    heat: np.ndarray | None = None

    def as_dict(self) -> dict:
        """All but the heat, for JSON; probabilities to six digits."""
        fields = {**asdict(self), "probabilities": self.probabilities.tolist(), "notice": NOT_A_DEVICE}
        del fields["heat"]
        for part in (fields, *fields["windows"]):
            part["probabilities"] = [round(p, 6) for p in part["probabilities"]]
        return fields


@cache
def meaning(critical_value: int) -> str:
    """A critical value in words, with examples of the statements that have it."""
    names = [mapping.description(code) for code in EXAMPLES[critical_value]]
    return (
        f"it resembles ECGs {mapping.FINDINGS[critical_value]} (critical value {critical_value}), such as {', '.join(names[:-1])} or "
        f"{names[-1]}; which of them, it does not say"
    )


def score(ecg_or_path, model=None, heat=False) -> Score:
    """Estimate the critical value of one ECG.

    Parameters
    ----------
    ecg_or_path : ECG, path, or mapping of str to bytes
        An ECG, or what `cardiov.read_ecg` takes.
    model : CardioV, str or path, optional
        A network, or the name or file (ONNX or safetensors) of its weights; by default the one that comes with the package.

    Raises
    ------
    SignalError
        If the ECG cannot be read.
    CheckpointError
        If the weights cannot be read, give outputs that are no numbers, lack their sampling rate, or have the levels of an older
        version.
    ParameterError
        If a network without the ordinal head is to give heat maps, or safetensors are given and torch is not installed.
    """
    ecg = check_ecg(ecg_or_path) if isinstance(ecg_or_path, ECG) else read_ecg(ecg_or_path)
    return score_all([ecg], model, heat)[0]


def score_all(ecgs: Sequence[ECG], model=None, heat=False) -> list[Score]:
    """Score ECGs from `cardiov.read_ecg` as `score` does, with windows of equal length in one batch."""
    model = as_network(model)
    cuts, rate = [_cut(ecg) for ecg in ecgs], _rate(model)
    prepared = (_prepared(ecg, span, rate) for ecg, spans in zip(ecgs, cuts, strict=True) for span in spans)
    probabilities = _probabilities(model, prepared)
    records = [[_window(ecg, span, next(probabilities)) for span in spans] for ecg, spans in zip(ecgs, cuts, strict=True)]
    scores = []
    for ecg, spans, windows, prediction_set in zip(ecgs, cuts, records, _sets(model, records), strict=True):
        score = _score(ecg, windows, prediction_set, model)
        if heat:
            score = replace(score, heat=model.heat(_prepared(ecg, spans[score.window], rate), score.critical_value))
        scores.append(score)
    return scores


def _rate(model):
    """Sampling rate in Hz of the network's training."""
    training = {**model.metadata.get("run", {}), **model.metadata.get("preprocessing", {})}
    if "rate" not in training:
        raise CheckpointError(
            "the weights do not say at which sampling rate they were trained: take weights that `python -m cardiov train` "
            "or `ship` wrote."
        )
    return training["rate"]


def _cut(ecg):
    """Samples (start, end) of each window: the whole record, or stretches of 10 s, evenly spread from end to end."""
    n, length = ecg.signal.shape[1], round(WINDOW * ecg.fs)
    if n <= length:
        return [(0, n)]
    starts = np.linspace(0, n - length, -(-n // length)).round().astype(int)
    return [(int(start), int(start) + length) for start in starts]


def _prepared(ecg, span, rate):
    """One window, prepared as the training's records: (12, n) in mV, in whole µV."""
    return whole_microvolts(prepare_signal(ecg.signal[:, slice(*span)], ecg.fs, rate))


def _probabilities(model, windows):
    """Probabilities (4,) of each prepared window, in their order; windows of equal length share batches."""
    probabilities, waiting = {}, defaultdict(list)
    for row, window in enumerate(windows):
        alike = waiting[window.shape[1]]
        alike.append((row, window))
        if len(alike) == model.batch:
            probabilities |= _predict(model, waiting.pop(window.shape[1]))
    for alike in waiting.values():
        probabilities |= _predict(model, alike)
    return iter(probabilities[row] for row in range(len(probabilities)))


def _predict(model, alike):
    rows, windows = zip(*alike, strict=True)
    outputs = model.outputs(np.stack(windows))  # (B, 12, n) -> (B, m)
    if not np.isfinite(outputs).all():
        raise CheckpointError(
            f"the network {model_name(model)} gives outputs that are no numbers, as after a training that diverged: take other "
            "weights."
        )
    return dict(zip(rows, _decoded(model, outputs.astype(float)), strict=True))


def _decoded(model, outputs):
    """Outputs (B, m) to probabilities (B, 4), never negative."""
    objective = model.metadata.get("run", {}).get("config", {}).get("objective")
    if objective not in DECODERS:
        raise CheckpointError(
            f"the weights name {objective!r} as their objective, which gives no probabilities: take weights of `cardiov train` by "
            f"one of {', '.join(DECODERS)}."
        )
    probabilities = DECODERS[objective](outputs / model.metadata.get("temperature", 1.0))
    return probabilities.clip(0, 1) + 0.0  # neither -1e-17 nor -0.0


def _window(ecg, span, probabilities):
    start, seconds = span[0] / ecg.fs, (span[1] - span[0]) / ecg.fs
    return Window(start, seconds, int(probabilities.argmax()), tuple(probabilities.tolist()))


def _score(ecg, windows, prediction_set, model):
    gravest = gravest_of(windows)
    reported = windows[gravest]
    return Score(
        record=str(ecg.meta.get("record", "")), critical_value=reported.critical_value,
        meaning=meaning(reported.critical_value), probabilities=np.array(reported.probabilities),
        prediction_set=prediction_set, warnings=quality_warnings(ecg), windows=tuple(windows), window=gravest,
        seconds=ecg.signal.shape[1] / ecg.fs, fs=ecg.fs, model=model_name(model), rate=_rate(model),
        weights=model.sha256, software=_software(), scored=_now(),
    )  # fmt: skip


def gravest_of(windows) -> int:
    """Index of the window with the highest critical value, and among equals the highest expected value."""
    return max(range(len(windows)), key=lambda i: (windows[i].critical_value, np.dot(windows[i].probabilities, mapping.CLASSES)))


@cache
def _software():
    return version("cardiov")


def _now():
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _sets(model, records):
    """The prediction set of each record's windows, all at once, because one takes as long as many."""
    levels = model.metadata.get("levels", {}).get(str(COVERAGE))
    single = [k for k, windows in enumerate(records) if len(windows) == 1]
    if levels is None or not single:
        return [None] * len(records)
    if np.shape(levels) != (len(mapping.CLASSES),):
        raise CheckpointError(
            "the weights have one level of the prediction sets for all critical values, as an older version wrote them: write them "
            "again by `python -m cardiov ship`."
        )
    low, high = prediction_sets([records[k][0].probabilities for k in single], levels)
    ranges = dict(zip(single, zip(low.tolist(), high.tolist(), strict=True), strict=True))
    return [ranges.get(k) for k in range(len(records))]


def model_name(model) -> str:
    """Name of a network's weights; weights trained on simulated ECGs are labelled."""
    name = model.metadata.get("name", "unnamed")
    return f"{name} (trained on simulated ECGs)" if model.metadata.get("data") == "simulated" else name
