"""SCP-ECG and the formats of makers, by ecgdatakit, which is imported only when needed."""

import base64
import binascii
import os
import re
import struct
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePath

import numpy as np

from cardiov.ecg.aecg import MAX_XML_BYTES, refuse_long_xml, xml_root
from cardiov.ecg.names import name_of
from cardiov.ecg.recording import Damaged, Recording, library, meta_of, refuse_large, unreadable
from cardiov.errors import SignalError

MAX_SCP_BYTES = 2**20
MAX_SCP_STEPS = 2**22  # see `_scp_steps`: about ten times those of a usual record; they take a second
MAX_XLI_BYTES = 300_000  # unpacked; 12,500 samples of twelve leads, which take two seconds
MAX_MFER_BYTES = 2**22  # a definition may have two bytes
_DAMAGE = re.compile(
    r"truncated|too (?:small|short)|but .* (?:has|holds|decoded)|remain|expected|past the end|outside the|exceed|Malformed|"
    r"whole number|missing sample|no waveform data|incomplete"
)
_GAPS = re.compile("without a gap")  # of frames that are not contiguous
_LEFT_OUT = re.compile(r"ignored|only the first|not loaded|skipped")
_ASIDE = re.compile(r"median|representative|TYPICAL_CYCLE|enhanced|Section (?:1|4|5) |recordedAt|birth|time [0-9a-f]+$")


def _read(file, kind, parser, amend=None):
    """The rhythm of a file by a parser of ecgdatakit, "module.Class"; ``amend`` corrects its record with the file's content."""
    with library(file.where, kind) as caught, _on_disk(file) as path:
        module, name = parser.split(".")
        record = _parsed(getattr(import_module(f"ecgdatakit.parsing.parsers.{module}"), name)(), path)
        notes = amend(record, file) if amend else None
        texts = [(_without(path, warning.message), warning.category.__name__ == "ChecksumWarning") for warning in caught]
        return _recording(record, file.where, (notes or ()) + _notes(texts, record, file.ignore_checksum))


def _parsed(parser, path):
    from ecgdatakit.exceptions import CorruptedFileError

    try:
        return parser.parse(path)
    except CorruptedFileError as error:  # also raised for what is whole, but not as the library expects it
        cause = _without(path, error)
        raise Damaged(cause) if _DAMAGE.search(cause) else ValueError(cause) from error


def _without(path, message):
    """The text of a message without the file's name, which is said elsewhere."""
    return re.sub(rf" (?:in|of) (?:{re.escape(str(path))}|{re.escape(path.name)}$)", "", " ".join(str(message).split()))


def _notes(texts, record, ignore_checksum):
    """What to say of the library's warnings, each with whether it is of a checksum, if they concern the rhythm."""
    notes = ["not read: median beats"] if record.median_beats else []
    for text, checksum in texts:
        if _GAPS.search(text):
            raise ValueError(text)
        if _ASIDE.search(text) and "(rhythm)" not in text:
            continue
        if (checksum and not ignore_checksum) or _DAMAGE.search(text):
            raise Damaged(text)
        kind = "checksum ignored" if checksum else "not read" if _LEFT_OUT.search(text) else "note of the reader"
        notes.append(f"{kind}: {text}")
    return tuple(notes)


def _recording(record, where, notes):
    """A `Recording` of ecgdatakit's record."""
    labels = [lead.label for lead in record.leads]
    names = [stem if (stem := re.sub(r"_\d+$", "", label)) in labels else label for label in labels]  # "II_2" is a twin of II
    leads = [(name, lead) for name, lead in zip(names, record.leads, strict=True) if name_of(name)]
    samples = [_physical(lead) for _, lead in leads]
    units = [lead.resolution_unit or lead.adc_resolution_unit for _, lead in leads]
    patient, start = record.patient, record.recording.date
    meta = meta_of(PurePath(where).stem, age=patient.age, sex=patient.sex, recorded=start, patient=patient.patient_id)
    return Recording([name for name, _ in leads], samples, units, [lead.sampling_rate for _, lead in leads], where, meta, notes)


def _physical(lead):
    if not lead.adc_resolution:  # the library would take 1
        raise ValueError(f"it gives no scale for lead {lead.label}")
    if not lead.resolution_unit and lead.resolution != lead.adc_resolution:
        raise ValueError(f"it gives lead {lead.label} in {lead.adc_resolution_unit}")
    return lead.samples * lead.resolution + lead.offset if lead.is_raw else lead.samples


def read_scp(file):
    refuse_large(len(file.data), file.where, MAX_SCP_BYTES)
    size = int.from_bytes(file.data[2:6], "little")
    stored = int.from_bytes(file.data[:2], "little")
    if binascii.crc_hqx(file.data[2:size], 0xFFFF) != stored and not file.ignore_checksum:
        if stored:
            raise unreadable(file.where, "SCP-ECG", "its checksum is wrong", damaged=True)
        cause = f"{file.where} is SCP-ECG with 0 as its checksum, as writers do that compute none"
        raise SignalError(f"{cause}: have it ignored (--ignore-checksum), if the file is whole.")
    with library(file.where, "SCP-ECG"):
        steps = _scp_steps(file.data[:size])
    if steps > MAX_SCP_STEPS:
        raise SignalError(f"{file.where} has too many samples or beats to decode: cut out a part.")
    return _read(file, "SCP-ECG", "scp_ecg.SCPECGParser", _amend_scp)


def _amend_scp(record, file):
    if len({lead.annotations.get("start_sample", "1") for lead in record.leads}) > 1:
        raise ValueError("its leads begin at different times")
    for lead in record.leads:
        lead.sampling_rate = 1e6 / record.raw_metadata["rhythm_sample_interval_us"]  # the library's is in whole Hz
    if 0 < (together := record.raw_metadata["simultaneous_leads"]) < 8:
        return (f"not simultaneous: the file says that {together} leads were recorded at a time",)


def _scp_steps(data):
    """Steps of Python that decoding takes at most: bits of Huffman code, samples, and beats that are added to each lead.

    A small file may declare billions: codes of no sample, and beats as long as the record (counted by 256 samples).
    """
    pointers = _entries("<HII", data[22 : 6 + int.from_bytes(data[10:14], "little")])
    places = {number: slice(start + 15, start + size - 1) for number, size, start in pointers if size}  # without their headers
    codes, leads, beats, *coded = (data[places.get(number, slice(0))] for number in range(2, 7))
    counts = [last - first + 1 for first, last, _ in _entries("<IIB", leads[2 : 2 + 9 * int.from_bytes(leads[:1])])]
    decoded = sum(counts) + 8 * sum(map(len, coded)) if codes else 0
    return decoded + int.from_bytes(beats[4:6], "little") * (4 * len(counts) + sum(counts) // 256)


def _entries(form, data):
    """The whole entries of a list."""
    return struct.iter_unpack(form, data[: len(data) // struct.calcsize(form) * struct.calcsize(form)])


def read_muse(file):
    refuse_long_xml(file, "GE MUSE XML")
    return _read(file, "GE MUSE XML", "ge_muse_xml.GEMuseXMLParser", _amend_muse)


def _amend_muse(record, file):
    if len({lead.annotations.get("LeadTimeOffset", "0") for lead in record.leads}) > 1:
        raise ValueError("its leads begin at different times")
    off = [lead.label for lead in record.leads if "LeadOff" in lead.annotations]
    return (f"lead off: {', '.join(off)}",) if off else ()


def read_sierra(file):
    refuse_long_xml(file, "Philips Sierra XML")
    with library(file.where, "Philips Sierra XML"):
        parsed = next(xml_root(file).iter("parsedwaveforms"), {})
        if "XLI" in ((parsed.get(name) or "").upper() for name in ("compression", "compressmethod")):
            _refuse_long_xli(base64.b64decode(parsed.text or ""))
    return _read(file, "Philips Sierra XML", "sierra_xml.SierraXMLParser", lambda record, _: _amend_sierra(record, parsed))


def _refuse_long_xli(data):
    """Refuse what would unpack to any size; ``data`` are chunks of a size, four other bytes and codes of ten bits (LZW)."""
    total = 0
    while data:
        size = int.from_bytes(data[:4], "little")
        bits = np.unpackbits(np.frombuffer(data[8 : 8 + size], "u1"))
        codes = bits[: len(bits) // 10 * 10].reshape(-1, 10) @ (1 << np.arange(9, -1, -1))
        lengths, last = [1] * 256, 0  # of the strings that codes stand for
        for code in codes.tolist():
            length = lengths[code] if code < len(lengths) else last + 1
            lengths += [last + 1] * (last > 0 and len(lengths) < 1023)
            total, last = total + length, length
            if total > MAX_XLI_BYTES:
                raise ValueError("it has too many samples to unpack")
        data = data[8 + size :]


def _amend_sierra(record, parsed):
    """Refuse what the library would cut at wrong places: it lays the leads end to end, each of the declared duration."""
    text, count = "".join((parsed.text or "").split()), sum(len(lead.samples) for lead in record.leads)
    compressed = record.recording.acquisition.signal.compression not in ("", "none")
    if compressed and [lead.label for lead in record.leads[:6]] != ["I", "II", "III", "aVR", "aVL", "aVF"]:
        raise ValueError("its compressed leads are not in the order I, II, III, aVR, aVL, aVF")
    if not compressed and parsed.get("dataencoding") == "Base64" and len(text.rstrip("=")) * 3 // 4 > 2 * count:
        raise ValueError("it holds more samples than its leads and its duration declare")


def read_mortara(file):
    refuse_long_xml(file, "Mortara ELI XML")
    return _read(file, "Mortara ELI XML", "mortara_el250.MortaraEL250Parser")


def read_ishne(file):
    return _read(file, "ISHNE", "ishne_holter.ISHNEHolterParser", _amend_ishne)


def _amend_ishne(record, file):
    codes, declared = record.raw_metadata["lead_spec"], record.raw_metadata["ecg_size"]
    for lead, code in zip(record.leads, codes, strict=True):
        lead.samples[lead.samples == -32768] = np.nan  # the standard's mark of a fault
        if not 5 <= code <= 16:
            lead.label = f"signal of code {code}"  # the library would call the first one "Lead 1"
    count = record.raw_metadata["samples_per_lead"]
    if declared not in (count, count * len(codes), 0):  # makers differ in what they count
        return (f"length: the header declares {declared:,} samples, the file has {count:,} per lead",)


def read_mfer(file):
    refuse_large(len(file.data), file.where, MAX_MFER_BYTES)
    return _read(file, "MFER", "mfer.MFERParser", _amend_mfer)


def _amend_mfer(record, file):
    if any(record.raw_metadata.get("sample_skew_ns", ())):
        raise ValueError("its channels are skewed")
    if any("waveform_type" in lead.annotations for lead in record.leads):
        raise ValueError("its channels hold several kinds of waveforms")
    stated = record.raw_metadata.get("sampling_rate_stated", True)
    for lead, rate in zip(record.leads, record.raw_metadata.get("sampling_rates", ()), strict=True):
        lead.sampling_rate = rate if stated else None  # the library's is in whole Hz


def read_kardia(file):
    refuse_large(len(file.data), file.where, MAX_XML_BYTES)
    return _read(file, "AliveCor Kardia JSON", "alivecor_kardia.AliveCorKardiaParser")


def refuse_edan(file):
    raise SignalError(f"{file.where} is an Edan Holter file, which gives no scale: export it as another format.")


def refuse_xle(file):
    cause = f"{file.where} is an XLE file, which gives neither rate nor scale and measures the chest leads against the right arm"
    raise SignalError(f"{cause}: export it as another format.")


@contextmanager
def _on_disk(file):
    """A path for libraries that need one; an upload gets a file in memory, because none is stored on disk."""
    if file.path:
        yield file.path
        return
    if not hasattr(os, "memfd_create"):
        raise SignalError(f"{file.where} can be read from memory on Linux only: use the command line.")
    with open(os.memfd_create("ecg"), "wb") as memory:
        memory.write(file.data)
        memory.flush()
        yield Path(f"/proc/self/fd/{memory.fileno()}")
