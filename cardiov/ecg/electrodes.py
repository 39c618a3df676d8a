"""The nine electrodes of a twelve-lead ECG: leads from potentials, and potentials from leads."""

import numpy as np

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
LEADS_OF_ELECTRODES = np.vstack([  # (8, 9): I, II, and V1 to V6 against Wilson's terminal
    [[-1, 1, 0, *[0] * 6], [-1, 0, 1, *[0] * 6]], np.hstack([np.full((6, 3), -1 / 3), np.eye(6)]),
])
LIMBS = 3  # number of limb electrodes, which come first
_i, _ii, *_chest = LEADS_OF_ELECTRODES
# (12, 9): each lead from the electrodes' potentials (Einthoven, Goldberger, Wilson)
LEAD_MATRIX = np.array([_i, _ii, _ii - _i, -(_i + _ii) / 2, _i - _ii / 2, _ii - _i / 2, *_chest])


def electrode_potentials(signal) -> np.ndarray:
    """Potentials of the nine electrodes RA, LA, LL and V1 to V6 against Wilson's terminal: (12, n) -> (9, n), in mV."""
    i, ii = signal[:2]
    return np.stack([-(i + ii) / 3, (2 * i - ii) / 3, (2 * ii - i) / 3, *signal[6:]])


def with_electrodes_of(signal, order) -> np.ndarray:
    """The leads (12, n) in mV, had the electrodes RA, LA, LL, V1 to V6 stood at the places that ``order`` names.

    Exact, because leads are differences of potentials: leads = `LEAD_MATRIX` · potentials. "RL" is the right leg, where the
    potential is taken to be that of the left one.
    """
    places = [ELECTRODES.index("LL" if name == "RL" else name) for name in order]
    potentials = electrode_potentials(np.asarray(signal, np.float64))
    return (signal + LEAD_MATRIX @ (potentials[places] - potentials)).astype(np.float32)
