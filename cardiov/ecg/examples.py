"""Twelve real ECGs that come with the package: 10 s at 500 Hz of PTB-XL (Wagner et al. 2020, CC BY 4.0), as published.

``cardiov/examples/README.md`` gives source and licence, and the rule that chose them.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cardiov.ecg.leads import ECG, read_ecg
from cardiov.errors import ParameterError

FOLDER = Path(__file__).parents[1] / "examples"
TABLE = "ptbxl_examples.csv"


@dataclass(frozen=True)
class Example:
    """What is known of an example; ``statements`` and ``critical_value``, the label, come from PTB-XL's cardiologists."""

    ecg_id: int
    name: str  # in words, such as "atrial fibrillation"
    critical_value: int
    statements: str  # and their likelihoods in percent, such as "NORM:100;SR:0"
    fold: int
    why: str  # it was chosen

    @property
    def path(self) -> Path:
        """Its WFDB record, without suffix."""
        return FOLDER / f"{self.ecg_id:05d}_hr"

    @property
    def attribution(self) -> str:
        """Its source, to be shown wherever the ECG is."""
        return f"PTB-XL (Wagner et al. 2020, CC BY 4.0), record {self.ecg_id}"


@cache
def examples() -> dict[str, Example]:
    """All examples by name, from no risk to high risk."""
    with open(FOLDER / TABLE, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [{column: int(row[column]) for column in ("ecg_id", "critical_value", "fold")} for row in rows]
    return {row["name"]: Example(**row | of_row) for row, of_row in zip(rows, numbers, strict=True)}


def read_example(name: str) -> ECG:
    """An example, by its name in words; a ParameterError names them all."""
    if name not in examples():
        raise ParameterError(f"there is no example {name!r}: choose one of {', '.join(examples())}.")
    return read_ecg(examples()[name].path)
