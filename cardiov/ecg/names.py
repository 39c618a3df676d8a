"""The vocabulary of lead names, one for all formats, and the choice of the leads among a file's signals."""

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cardiov.errors import SignalError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
NEEDED = ("I", "II", *LEADS[6:])  # the others follow from I and II

_USUAL = {lead.upper(): lead for lead in LEADS} | {"DI": "I", "DII": "II", "DIII": "III"}
_SELDOM = {f"D{k}": lead for k, lead in enumerate(LEADS[:3], 1)} | {f"C{k}": f"V{k}" for k in range(1, 7)}  # C3 is also an EEG's
_PREFIX = re.compile(
    r"(?:(?:MDC_ECG_LEAD|MDC_ECG_ELEC_POTL|ECG|EKG|LEAD|ABLEITUNG|ABL|DERIVATION|DERIVACION|DERIVAZIONE|DERIVACAO|AFLEIDING)"
    r"(?:\s*[.:]\s*|\s+-\s+|[\s_]+|-)?)+"
)
_BRACKET = re.compile(r"\s*[(\[{](.*?)[)\]}]")
_INVERTED = {"INV", "INVERTED", "INVERSE", "INVERTIERT", "NEG", "NEGATIVE"}
# remarks behind a name, or in brackets, that change nothing, and those of what is no original rhythm or lies elsewhere
_HARMLESS = {"EINTHOVEN", "GOLDBERGER", "WILSON", "REF", "RHYTHM", "STANDARD", "RAW", "ORIGINAL", "RESTING", "REST", "LEAD",
             "MV", "UV", "\u039cV", "V"}  # fmt: skip
_OTHER = {"MEDIAN", "AVERAGE", "AVERAGED", "AVG", "MEAN", "TEMPLATE", "BEAT", "TREND", "RESIDUAL", "NOISE", "HR", "ST", "QUALITY",
          "STATUS", "IMPEDANCE", "AMPLITUDE", "DERIVATIVE", "RIGHT", "RECHTS", "POSTERIOR", "NEHB"}  # fmt: skip


@dataclass(frozen=True)
class Name:
    """What a signal's name says."""

    lead: str
    usual: bool = True  # not "C1" or "D1"
    inverted: bool = False  # as "-aVR" or "aVR (inv)"
    original: bool = True  # not a median, a trend, or from another place of the body
    remark: bool = False  # as in "II (rhythm)"
    unknown: bool = False  # a remark that may matter, as in "V1 (filtered)"

    @property
    def rank(self):
        """Among names of one lead the lowest is taken."""
        return not self.usual, self.inverted, self.remark


def lead_of(name) -> str | None:
    """The lead that a signal's name stands for, such as "MDC_ECG_LEAD_AVR" for aVR; None for another signal."""
    named = name_of(name)
    return named.lead if named and named.original else None


@lru_cache(4096)
def name_of(text) -> Name | None:
    """A signal's name, such as "Lead I (Einthoven)", "-aVR", "DII", "ecg_v1" or "II rhythm"; None if it names no lead."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", str(text or ""))).upper()
    text = "".join(c for c in text if not unicodedata.combining(c)).strip(" '\"\t")
    bracketed = " ".join(_BRACKET.findall(text))
    core, words = _core(_BRACKET.sub("", text).strip())
    minus, core = core.startswith("-"), core.lstrip("-").removesuffix("+")
    lead = _USUAL.get(core) or _SELDOM.get(core)
    if not lead:
        return None
    remarks = words | {*re.findall(r"[^\W_]+", bracketed)}
    elsewhere = any(re.fullmatch(r"V\d+[RL]?", word) and word != core for word in remarks)
    return Name(lead, core in _USUAL, minus != bool(remarks & _INVERTED), not (remarks & _OTHER or elsewhere), bool(remarks),
                bool(remarks - _HARMLESS - _INVERTED - {core}))  # fmt: skip


def _core(text):
    """A name without its prefix and the known words behind it, and those words: "LEAD II RHYTHM" to ("II", {"RHYTHM"})."""
    text = _PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text
    words = set()
    while (match := re.fullmatch(r"(.*[^\s_.-])[\s_.-]+([^\W_]+)", text)) and match[2] in _HARMLESS | _INVERTED | _OTHER:
        text = match[1]
        words.add(match[2])
    return re.sub(r"^(-?)(AV|V|C)[ _](?=\w$)", r"\1\2", text), words  # "V 1", "aV_R"


@dataclass(frozen=True)
class Choice:
    """Which of a file's signals are its leads."""

    places: dict[str, int]  # lead: position; III, aVR, aVL and aVF may be missing
    inverted: tuple[str, ...]  # leads that the file holds upside down
    fs: float | None
    warnings: tuple[str, ...]


def choose_leads(recording) -> Choice:
    """The signals that are a recording's leads: of one rate, with the plainest names; a SignalError if they are not clear."""
    named = {i: name for i, text in enumerate(recording.names) if (name := name_of(text))}
    rates = recording.fs if isinstance(recording.fs, list | tuple) else [recording.fs] * len(recording.names)
    fs = _rate({i: name.lead for i, name in named.items() if name.original}, rates, recording.where)
    candidates = defaultdict(list)
    for i, name in named.items():
        if name.original and (rates[i] is fs or rates[i] == fs):  # also if it is no number
            candidates[name.lead].append(i)
    places = {lead: _one_of(candidates[lead], named, recording) for lead in LEADS if lead in candidates}
    inverted = tuple(lead for lead, i in places.items() if named[i].inverted)
    return Choice(places, inverted, fs, _warnings(recording, named, places, inverted, rates, fs))


def _rate(leads, rates, where):
    """The rate of all needed leads; if there are several, the highest."""
    at = defaultdict(set)
    for i, lead in leads.items():
        at[rates[i]].add(lead)
    if missing := [lead for lead in NEEDED if lead not in leads.values()]:
        raise SignalError(f"{where} lacks lead {', '.join(missing)}: give a record with at least I, II and V1 to V6.")
    whole = [rate for rate, there in at.items() if there.issuperset(NEEDED)]
    if not whole:
        listed = " and ".join(f"{', '.join(sorted(there, key=LEADS.index))} at {rate:g} Hz" for rate, there in at.items())
        raise SignalError(f"{where} samples its leads at different rates ({listed}): export it with one rate for all leads.")
    return max(whole) if len(whole) > 1 else whole[0]


def _one_of(places, named, recording):
    """The place of the plainest name; equal names must have equal samples, but for a twin in which nothing was recorded."""
    if len(places) == 1:
        return places[0]
    samples = recording.samples
    plainest = [i for i in places if named[i].rank == min(named[k].rank for k in places)]
    first, *others = [i for i in plainest if len(plainest) == 1 or not _is_empty(samples[i])] or plainest
    if not all(np.array_equal(samples[first], samples[i], equal_nan=True) for i in others):
        names = ", ".join(repr(recording.names[i]) for i in (first, *others))
        cause = f"{recording.where} has lead {named[first].lead} more than once ({names:.200})"
        raise SignalError(f"{cause}: remove or rename the extra signals.")
    return first


def _is_empty(samples):
    valid = samples[~np.isnan(samples)]
    return not (valid != valid[:1]).any()


def _warnings(recording, named, places, inverted, rates, fs):
    taken = {*places.values()}
    seldom = {i for i, name in named.items() if not name.usual}
    shown = {i: f"{recording.names[i]!r:.40}" + (f" at {rates[i]:g} Hz" if rates[i] != fs else "") for i in named}
    rest = [text for i, text in shown.items() if i not in taken | seldom]
    remarks = [shown[i] for i in places.values() if named[i].unknown]
    texts = {"not read": rest, "name with a remark": remarks, "inverted in the file": inverted}
    return tuple(f"{kind}: {', '.join(values)}" for kind, values in texts.items() if values)
