"""EDF and BDF, by edfio, which is imported only when needed."""

from contextlib import suppress
from datetime import date, datetime
from pathlib import PurePath

from cardiov.ecg.names import name_of
from cardiov.ecg.numerals import plain_number
from cardiov.ecg.recording import Damaged, Recording, decode, library, meta_of, years_between

_NO_DATE = date(1985, 1, 1)  # what writers give who know none


def read_edf(file):
    kind = "BDF" if file.data[:1] == b"\xff" else "EDF"
    with library(file.where, kind) as caught:
        import edfio

        read = edfio.read_bdf if kind == "BDF" else edfio.read_edf
        edf = read(_with_decimal_points(file.data), header_encoding="latin-1")
        if edf.reserved[3:5] == "+D":
            raise ValueError(f"it is {kind}+D, whose signals may have gaps")
        if caught and file.data[236:244].strip() != b"-1":  # the file is shorter or longer than declared
            raise Damaged(caught[0].message)
        notes = ("unfinished recording",) if caught else ()
        named = [(decode(signal.label.encode("latin-1")), signal) for signal in edf.signals]
        leads = [(name, signal) for name, signal in named if name_of(name)]
        samples, units = [_physical(signal) for _, signal in leads], [_unit(signal) for _, signal in leads]
        meta = _meta(edf, PurePath(file.where).stem)
    rates = [signal.sampling_frequency for _, signal in leads]
    return Recording([name for name, _ in leads], samples, units, rates, file.where, meta, notes)


def _with_decimal_points(data):
    """The file with points for the commas that some writers put into its header's numbers (edfio reads 3276,8 as no number)."""
    count = int(data[252:256])
    repaired = bytearray(data)
    for start in (244, *range(256 + 104 * count, 256 + 136 * count, 8)):  # duration; then physical and digital limits
        field = bytes(repaired[start : start + 8])
        if b"," in field:
            repaired[start : start + 8] = plain_number(field.decode("latin-1").strip()).ljust(8).encode("latin-1")
    return bytes(repaired)


def _physical(signal):
    """A lead's samples; edfio would give them uncalibrated if the header has no calibration."""
    if not signal.digital_min < signal.digital_max or signal.physical_min == signal.physical_max:
        raise ValueError(f"the header gives no calibration for {signal.label}")
    return signal.data


def _unit(signal):
    return decode(signal.physical_dimension.encode("latin-1")).strip()


def _meta(edf, record):
    born = start = None
    with suppress(Exception):  # anonymised, absent or unreadable
        born = edf.patient.birthdate
    with suppress(Exception):
        start = datetime.combine(edf.startdate, edf.starttime)
    start = None if start and start.date() == _NO_DATE else start
    identity = decode(edf.local_patient_identification.encode("latin-1"))
    code, sex = [*identity.split(), "", ""][:2]
    code = code if sex in {*"FMX"} else identity  # EDF+: code, sex, date of birth and name
    return meta_of(record, age=years_between(born, start), sex=sex, recorded=start, patient=None if code == "X" else code)
