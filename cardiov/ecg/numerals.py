"""How a table writes its numbers: with decimal points or commas, with or without marks between thousands."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_MARKS = ".", ","


def _pattern(text):
    return re.compile(rf"^[+-]?{text}$", re.MULTILINE)


_GROUPED = {m: _pattern(rf"[1-9]\d{{0,2}}(?:[{m}]\d{{3}})+") for m in _MARKS}
_GROUPED_TWICE = {m: _pattern(rf"[1-9]\d{{0,2}}(?:[{m}]\d{{3}}){{2,}}") for m in _MARKS}
_DECIMAL = {m: _pattern(rf"(?![1-9]\d{{0,2}}[{m}]\d{{3}}$)\d*[{m}]\d*(?:[eE][+-]?\d+)?") for m in _MARKS}
_BOTH = {m: _pattern(rf"[1-9]\d{{0,2}}(?:[{m}]\d{{3}})+[{other}]\d+") for m, other in zip(_MARKS, reversed(_MARKS), strict=True)}
_SHORT, _LONG = _pattern(r"0*[1-9]\d{0,2}"), _pattern(r"[1-9]\d{3,}")


@dataclass(frozen=True)
class Marks:
    """The marks in a table's numbers."""

    decimal: str = "."
    thousands: str | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        return (f"thousands marks: 1{self.thousands}234 is read as 1234",) if self.thousands else ()


def marks_of(parts: Iterable[str]) -> Marks:
    """The marks of numbers, one per line, in any number of parts.

    "1.234" may be a decimal number or a whole one. It is decimal if others have another number of decimals, and whole if others
    have a decimal comma, or if numbers below 1,000 have no mark.

    Raises
    ------
    ValueError
        If the numbers contradict each other.
    """
    seen = set()
    for part in parts:
        seen |= {(kind, mark) for kind, patterns in _KINDS.items() for mark, pattern in patterns.items() if pattern.search(part)}
    decimal = {m for m in _MARKS if ("decimal", m) in seen or ("both", _other(m)) in seen}
    thousands = {m for m in _MARKS if ("twice", m) in seen or ("both", m) in seen}
    for m in _MARKS:
        if ("grouped", m) in seen and m not in decimal | thousands:
            whole = _other(m) in decimal or (("whole", "short") in seen and ("whole", "long") not in seen)
            (thousands if whole else decimal).add(m)
    if len(decimal) > 1 or len(thousands) > 1 or decimal & thousands:
        raise ValueError("its numbers use points and commas in contradictory ways")
    if thousands:
        mark, = thousands
        return Marks(_other(mark), mark)
    return Marks(*decimal or ".")


_KINDS = {"grouped": _GROUPED, "twice": _GROUPED_TWICE, "decimal": _DECIMAL, "both": _BOTH, "whole": {"short": _SHORT, "long": _LONG}}


def has_decimal_point(part) -> bool:
    """Whether one of the numbers, one per line, has a point that can only be a decimal one."""
    return _DECIMAL["."].search(part) is not None


def _other(mark):
    return "," if mark == "." else "."


def plain_number(text) -> str:
    """A single number's text as Python reads it: "1.234,5" becomes "1234.5", and "2,5" becomes "2.5"."""
    marks = marks_of([text])
    return text.replace(marks.thousands or "", "").replace(marks.decimal, ".")
