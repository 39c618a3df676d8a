"""What the warnings miss, in sentences: for the page and the command line, wherever a score is read that has no warning.

``warnings.csv`` was measured by ``cardiov/experiments/warnings.py``; ``docs/warnings.md`` shows it whole.
"""

import csv
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("warnings.csv")
WHERE = "folds 9 and 10"
AT_500 = "folds 9 and 10, 500 Hz"  # where spikes show
NOT_CHECKED = (
    "pacing spikes in ECGs recorded below 250 Hz",
    "chest electrodes a rib too high or too low",
    "exchanged legs, which change nothing",
    "the ECG of another person",
)


@cache
def missed() -> tuple[str, ...]:
    """What is missed, a phrase for each disturbance, the most often missed first: "drift ...: 61 in 100 missed"."""
    with open(TABLE, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["caught"]]
    rows = [row for row in rows if row["where"] == (AT_500 if row["warning"] == "pacing spikes" else WHERE)]
    shares = {row["disturbance"]: 1 - float(row["caught"]) for row in rows}
    return tuple(f"{name}: {_in_100(share)}" for name, share in sorted(shares.items(), key=lambda item: -item[1]))


def _in_100(share):
    return f"{round(100 * share)} in 100 missed" if share >= 0.005 else "fewer than 1 in 100 missed"
