"""HL7 aECG.

ecgdatakit reads these files, too, but takes 1 for a scale and 0 for an origin that it cannot read, and the first of several
series whatever it holds; only its safe XML parser is used.
"""

import re
from xml.etree import ElementTree
from contextlib import suppress
from pathlib import PurePath

import numpy as np

from cardiov.ecg.names import NEEDED, lead_of, name_of
from cardiov.ecg.numerals import plain_number
from cardiov.ecg.recording import (
    MILLIVOLTS,
    Damaged,
    Recording,
    library,
    meta_of,
    moment,
    refuse_large,
    unreadable,
    years_between,
)
from cardiov.errors import SignalError

MAX_XML_BYTES = 8 * 2**20  # an XML document takes many times its size in memory
MAX_XML_TAGS = 100_000
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_SUBJECT = "componentOf/timepointEvent/componentOf/subjectAssignment/subject/trialSubject"
_PERSON = "subjectDemographicPerson"
_PATIENT = (f"{_PERSON}/administrativeGenderCode", "code"), (f"{_PERSON}/birthTime", "value"), ("id", "extension")
_REPORTED_AGE = "21612-7"  # LOINC


def refuse_long_xml(file, kind):
    refuse_large(len(file.data), file.where, MAX_XML_BYTES)
    if file.data.count(b"<") > MAX_XML_TAGS:
        raise unreadable(file.where, kind, f"it has more than {MAX_XML_TAGS} tags")


def xml_root(file):
    """The root element, without namespaces; within `library`."""
    from ecgdatakit.parsing.helpers.xml import parse_xml_root

    try:
        return parse_xml_root(file.data)
    except ElementTree.ParseError as error:
        raise Damaged(error) from error


def refuse_xml(file):
    kinds = "HL7 aECG nor of GE MUSE, Philips Sierra or Mortara ELI"
    raise SignalError(f"{file.where} is XML, but neither {kinds}: export it as one of these.")


def read_aecg(file):
    """The longest complete sequence set of the rhythm series."""
    refuse_long_xml(file, "HL7 aECG")
    with library(file.where, "HL7 aECG"):
        root = xml_root(file)
        sequences, notes = _rhythm(root)
        leads = [(name, value) for name, value in sequences if name_of(name)]
        samples, units = _samples(leads)
        meta = _meta(root, PurePath(file.where).stem)
    return Recording([name for name, _ in leads], samples, units, _rate(sequences), file.where, meta, notes)


def _rhythm(root):
    """The (name, value) of each sequence of the rhythm, and what to say of what is not read."""
    series = [(_code(one), one) for one in root.findall("component/series")]
    beats = [one for code, one in series if code == "REPRESENTATIVE_BEAT"] + root.findall(".//derivation/derivedSeries")
    rhythms = [one for code, one in series if code == "RHYTHM"] or [one for code, one in series if code != "REPRESENTATIVE_BEAT"]
    sets = [[(_name(one), one.find("value")) for one in group.findall("component/sequence")]
            for one in rhythms for group in one.findall("component/sequenceSet")]  # fmt: skip
    if not sets:
        raise ValueError("it holds median beats, but no rhythm" if beats else "it holds no sequences of samples")
    best = max(sets, key=lambda sequences: ({lead_of(name) for name, _ in sequences}.issuperset(NEEDED), _length(sequences)))
    others = [f"{len(sets) - 1} of {len(sets)} recordings of the rhythm"] * (len(sets) > 1) + ["median beats"] * bool(beats)
    return best, ((f"not read: {', '.join(others)}",) if others else ())


def _length(sequences):
    return max((len(value.findtext("digits", "").split()) for name, value in sequences if lead_of(name)), default=0)


def _code(element):
    code = element.find("code")
    return "" if code is None else (code.get("code") or "").strip().upper()


def _name(sequence):
    """TIME_ABSOLUTE, TIME_RELATIVE or a lead, from its code or else from the code's text."""
    text = sequence.find("code")
    names = [_code(sequence), "" if text is None else text.get("displayName") or ""]
    names = [re.sub(r"^.*_ECG_LEAD_", "", name) for name in names]  # makers have their own prefixes
    return next((name for name in names if lead_of(name)), names[0])


def _rate(sequences):
    """Hz, or None if the file gives no readable increment of time."""
    for name, value in sequences:
        increment = value.find("increment") if name.startswith("TIME_") and value is not None else None
        with suppress(ValueError):  # --rate settles what is unreadable
            step = _number(increment)
            if step and 0 < step < np.inf and increment.get("unit") in _SECONDS:
                return 1 / (step * _SECONDS[increment.get("unit")])
    return None


def _samples(leads):
    """Samples and units of the leads, ``origin + scale * digit``."""
    samples, units = [], []
    for name, value in leads:
        scale, origin = _number(value.find("scale")), _number(value.find("origin")) or 0.0
        if not scale:
            raise ValueError(f"it gives no scale for {name}")
        units.append((value.find("scale").get("unit") or "").strip())
        samples.append(np.array(value.findtext("digits", "").split(), float) * scale + origin * _ratio(value, origin))
    return samples, units


def _ratio(value, origin):
    """The origin's unit in units of the scale."""
    units = [(value.find(tag).get("unit") or "").strip().lower() for tag in (("origin", "scale") if origin else ())]
    if not origin or units[0] in (units[1], ""):
        return 1.0
    return MILLIVOLTS[units[0]] / MILLIVOLTS[units[1]]


def _number(element):
    """A ``value``, or None if it is absent or empty."""
    text = "" if element is None else (element.get("value") or "").strip()
    return float(plain_number(text)) if text else None


def _meta(root, record):
    start = next(filter(None, (moment(time.get("value") or "") for path in ("", "component/series/") for tag in ("low", "center")
                               for time in root.findall(f"{path}effectiveTime/{tag}"))), None)  # fmt: skip
    subject = root.find(_SUBJECT) if root.find(_SUBJECT) is not None else ElementTree.Element("trialSubject")
    sex, born, identifier = (_attribute(subject, *where) for where in _PATIENT)
    born = moment(born[:8].ljust(12, "0"))
    age = years_between(born, start) if _reported_age(root) is None else _reported_age(root)
    return meta_of(record, age=age, sex=sex, recorded=start, patient=identifier)


def _attribute(element, path, name):
    child = element.find(path)
    return "" if child is None else (child.get(name) or "").strip()


def _reported_age(root):
    """Years, if the file states an age."""
    for observation in root.findall("controlVariable/relatedObservation"):
        value = observation.find("value")
        if _code(observation) == _REPORTED_AGE and value is not None and (value.get("unit") or "a") in ("a", "yr"):
            return _number(value)
    return None
