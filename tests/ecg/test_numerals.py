"""Decimal points, decimal commas and marks between thousands, told apart by the numbers themselves."""

import pytest

from cardiov.ecg.numerals import Marks, marks_of

POINT, COMMA = Marks("."), Marks(",")
POINTS, COMMAS = Marks(",", "."), Marks(".", ",")  # between thousands


@pytest.mark.parametrize(("numbers", "marks"), [
    ("1 2 -3 4000", POINT), ("0.5 1.25 -2", POINT), ("0,5 1,25 -2", COMMA), ("0,5 1.234 850,25", POINTS),
    ("1.234 850 -1.100", POINTS), ("1,234 850 -1,100", COMMAS), ("1.234.567 1", POINTS),
    ("1,234.5 850.1", COMMAS), ("1.234,5 850,1", POINTS), ("1.234 0.5 850", POINT), ("1.234 2.345 -1.002", POINT),
    ("1.234 0 5", POINTS), ("1.234 0", POINT), ("0.123 -0.456 1.002 1", POINT), ("1,234 2,5", COMMA), ("1e-3 2.5E+02", POINT),
    ("1,5e-3 2", COMMA), ("1.000 2 3", POINTS), ("1.234 12345", POINT), (".5 -.25", POINT), ("12.345 nan 7.5", POINT),
    ("", POINT), ("abc 1.5", POINT),
])  # fmt: skip
def test_marks(numbers, marks):
    lines = numbers.replace(" ", "\n")
    assert marks_of([lines]) == marks_of(lines.split("\n")) == marks  # in any number of parts


@pytest.mark.parametrize("numbers", ["0.5 0,5", "1.234.567 0.5", "1,234.5 1.234,5"])
def test_contradictory_marks_are_an_error(numbers):
    with pytest.raises(ValueError, match="contradictory"):
        marks_of([numbers.replace(" ", "\n")])
