"""Findings in words: an interval decides which."""

import pandas as pd


def decided(row: pd.Series, above: str, below: str, unclear: str) -> str:
    """What to say of a difference with ``low`` and ``high``: its interval is above 0, below 0, or holds 0."""
    return above if row["low"] > 0 else below if row["high"] < 0 else unclear


def written(row: pd.Series) -> str:
    """An ``estimate`` with its interval, "0.870 (0.845 to 0.899)", or without one if it has none; "undefined" if it is NaN."""
    interval = "" if pd.isna(row["low"]) else f" ({row['low']:.3f} to {row['high']:.3f})"
    return "undefined" if pd.isna(row["estimate"]) else f"{row['estimate']:.3f}{interval}"
