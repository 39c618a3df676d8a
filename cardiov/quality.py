"""What speaks against trusting a signal: lost electrodes, noise, drift, clipping, leads that contradict each other."""


def quality_warnings(ecg) -> tuple[str, ...]:
    """The warnings of an ECG, in words."""
    return ecg.warnings
