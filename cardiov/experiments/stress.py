"""Disturbances added to recorded ECGs, and what the network predicts then: a test that the paper lacks.

A disturbance happens at an electrode, and the leads follow. The twelve leads determine the potentials of the nine
electrodes against Wilson's central terminal; these are disturbed, and the *difference* is projected back on the leads.
So a lead that depends on no disturbed electrode stays as it was recorded, to the bit, and Einthoven's and Goldberger's
relations hold after a disturbance exactly as well as before it. Disturbances act on the raw signal, at the record's own
rate, before the band-pass (`cardiov.ecg.filters.prepare_signal`): what the filter removes harms nobody.
"""

import numpy as np
import pandas as pd
import torch
from scipy.signal import butter, sosfilt
from tqdm.auto import tqdm

from cardiov.analysis.metrics import SCORES
from cardiov.data.ptbxl import read_metadata
from cardiov.data.records import open_records
from cardiov.ecg.electrodes import ELECTRODES, LEAD_MATRIX, LIMBS, electrode_potentials
from cardiov.ecg.filters import prepare_signal, whole_microvolts
from cardiov.errors import DataSetError, ParameterError
from cardiov.objectives import decode_outputs, objective_of
from cardiov.training.devices import make_fabric

CLEAN = ("none", "0")  # disturbance and strength of the record as it is
DRIFT_BAND = (0.1, 1.0)  # Hz: breathing and movement; the band-pass removes what lies under 0.5 Hz only
MUSCLE_BAND = (15.0, 150.0)  # Hz
MAINS = 50.0  # Hz


# Disturbances: potentials (9, n) in mV, fs in Hz, strength and random numbers -> disturbed potentials (9, n)


def _drift(potentials, fs, strength, rng):
    """Three slow sine waves at each electrode, whose sum reaches `strength` mV."""
    shape = (3, len(potentials), 1)
    frequency, phase = rng.uniform(*DRIFT_BAND, shape), rng.uniform(0, 2 * np.pi, shape)
    waves = _sine(potentials, fs, frequency, phase).sum(axis=0)  # (9, n)
    return potentials + strength * waves / np.abs(waves).max(axis=-1, keepdims=True)


def _sine(potentials, fs, frequency, phase):
    return np.sin(2 * np.pi * frequency * (np.arange(potentials.shape[-1]) / fs) + phase)


def _muscle(potentials, fs, strength, rng):
    """Band-limited noise at each electrode, of `strength` mV root mean square."""
    band = butter(1, (MUSCLE_BAND[0], min(MUSCLE_BAND[1], 0.4 * fs)), "bandpass", fs=fs, output="sos")
    noise = sosfilt(band, rng.standard_normal(potentials.shape))
    return potentials + strength * noise / np.sqrt(np.square(noise).mean(axis=-1, keepdims=True))


def _mains(potentials, fs, strength, rng):
    """A sine wave of 50 Hz and `strength` mV amplitude, each electrode in its own phase: in phase, leads cancel."""
    phase = rng.uniform(0, 2 * np.pi, (len(potentials), 1))
    return potentials + strength * _sine(potentials, fs, MAINS, phase)


def _loss(potentials, fs, strength, rng):
    """`strength` electrodes without contact, drawn so that a greater loss includes the smaller one.

    A lost chest electrode reads Wilson's terminal, so that its lead is flat. A lost limb electrode reads the potential
    of Wilson's terminal before the loss, near the body's mean, and disturbs the terminal and with it every chest lead.
    """
    lost = rng.permutation(len(potentials))[: int(strength)]
    disturbed = potentials.copy()
    disturbed[lost[lost < LIMBS]] = 0
    disturbed[lost[lost >= LIMBS]] = disturbed[:LIMBS].mean(axis=0)
    return disturbed


def _swap(potentials, fs, strength, rng):
    """The two electrodes that `strength` names, such as "LA/RA", in each other's place."""
    first, second = (ELECTRODES.index(name) for name in strength.split("/"))
    disturbed = potentials.copy()
    disturbed[[first, second]] = potentials[[second, first]]
    return disturbed


DISTURBANCES = {  # name -> (function, unit of strength, strengths); the amplitudes are at each electrode
    "baseline drift": (_drift, "mV peak", (0.25, 0.5, 1.0, 2.0)),
    "muscle noise": (_muscle, "mV RMS", (0.05, 0.1, 0.2, 0.4)),
    "mains": (_mains, "mV amplitude", (0.1, 0.3, 1.0)),
    "electrode loss": (_loss, "of 9 electrodes", (1, 2, 4)),
    "lead swap": (_swap, "", ("LA/RA", "RA/LL", "LA/LL", "V1/V2", "V1/V3")),
}
CONDITIONS = [(name, strength) for name, (*_, strengths) in DISTURBANCES.items() for strength in strengths]


def disturb(signal, fs, disturbance, strength, seed=0) -> np.ndarray:
    """Add a disturbance of `DISTURBANCES`, its strength in the unit given there, to a raw ECG, (12, n) in mV at ``fs`` Hz: float32.

    With the same seed, a greater strength is more of the same. A `ParameterError` if there is no such disturbance.
    """
    if disturbance not in DISTURBANCES:
        raise ParameterError(f"there is no disturbance {disturbance!r}: take one of {', '.join(DISTURBANCES)}.")
    before = electrode_potentials(np.asarray(signal, np.float64))
    change = DISTURBANCES[disturbance][0](before, fs, strength, np.random.default_rng(seed)) - before
    return (signal + LEAD_MATRIX @ change).astype(np.float32)


def stressed_predictions(model, data, rate) -> pd.DataFrame:
    """Predict every test record as it is, and under each disturbance of `DISTURBANCES`.

    The rate (Hz) is that of the network's training. A `DataSetError` if there is no test record, and a `CheckpointError` if the
    weights do not say what they were trained for.

    Returns
    -------
    DataFrame
        A row per record and condition: ``ecg_id``, ``disturbance`` and ``strength`` ("none" and "0" first), ``p0`` to
        ``p3`` and ``predicted``, as in a run's predictions.
    """
    metadata, records, objective = read_metadata(data), open_records(data), objective_of(model)
    test = metadata.index[metadata["split"] == "test"]
    if test.empty:
        raise DataSetError(f"{data} has no record in fold 10, the test split: give a data set that has.")
    fabric = make_fabric()
    model = model.to(fabric.device).eval()
    tables = []
    for ecg_id in tqdm(test, unit=" records", desc="disturbing ECGs"):
        ecg = records.read(ecg_id)
        batch = torch.from_numpy(_conditions(ecg, rate, [0, ecg_id])).to(fabric.device)  # (conditions, 12, n)
        with torch.inference_mode():
            outputs = model(batch).cpu()
        scores, predicted = decode_outputs(outputs, objective)
        table = pd.DataFrame([CLEAN, *((kind, str(strength)) for kind, strength in CONDITIONS)], columns=["disturbance", "strength"])
        table.insert(0, "ecg_id", ecg_id)
        table[SCORES] = scores.double().numpy().round(6)
        tables.append(table.assign(predicted=predicted.numpy()))
    return pd.concat(tables, ignore_index=True)


def _conditions(ecg, rate, seed):
    """What the network sees of one record, as it is and under each condition: (1 + conditions, 12, n) in mV."""
    seeds = {name: [*seed, kind] for kind, name in enumerate(DISTURBANCES)}
    disturbed = [disturb(ecg.signal, ecg.fs, name, strength, seeds[name]) for name, strength in CONDITIONS]
    return whole_microvolts(prepare_signal(np.stack([ecg.signal, *disturbed]), ecg.fs, rate))
