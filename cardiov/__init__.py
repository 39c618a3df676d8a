"""CardioV companion: critical values from the ECG with a deep ordinal convolutional network. The public names."""

from importlib import import_module

from cardiov.errors import requiring

_HOME = {
    "critical_value": "mapping",
    "ordinal_targets": "ordinal",
    "ordinal_loss": "ordinal",
    "class_probabilities": "ordinal",
    "CardioVConfig": "model",
    "CardioV": "model",
    "ECG": "ecg.leads",
    "read_ecg": "ecg.leads",
    "ecg_from_leads": "ecg.leads",
    "score": "scoring.record",
    "Score": "scoring.record",
}
__all__ = list(_HOME)


def __getattr__(name):
    # looked up when asked for, because torch takes seconds to import and the command line does not always need it
    if name not in _HOME:
        raise AttributeError(f"module 'cardiov' has no attribute {name!r}")
    with requiring("heat", f"cardiov.{name}"):
        return getattr(import_module(f"cardiov.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
