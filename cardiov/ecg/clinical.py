"""Readers of clinical formats (EDF, DICOM, SCP-ECG, HL7 aECG), by libraries that are imported only when needed."""

import binascii
import io
import os
import re
import struct
from collections import Counter
from contextlib import contextmanager
from pathlib import Path, PurePath

import numpy as np

from cardiov.ecg.recording import Damaged, Recording, library, meta_of, refuse_large, unreadable
from cardiov.errors import SignalError

MAX_SCP_BYTES = 2**20
MAX_SCP_STEPS = 2**22  # see `_scp_steps`: about ten times those of a usual record; they take a second
MAX_XML_BYTES = 8 * 2**20  # an XML document takes many times its size in memory
MAX_XML_TAGS = 100_000


def read_edf(file):
    with library(file.where, "EDF") as caught:
        import edfio

        edf = edfio.read_edf(file.data, header_encoding="latin-1")
        if edf.reserved.startswith("EDF+D"):
            raise ValueError("it is EDF+D, whose signals may have gaps")
        fs = Counter(signal.sampling_frequency for signal in edf.signals).most_common(1)[0][0]
        signals = [signal for signal in edf.signals if signal.sampling_frequency == fs]
        samples = [signal.data for signal in signals]
        if caught:  # the file is shorter than declared, or signals have no calibration
            raise Damaged(caught[0].message)
        meta = meta_of(PurePath(file.where).stem, sex=edf.patient.sex)
    return Recording([signal.label for signal in signals], samples, [signal.physical_dimension for signal in signals], fs, file.where, meta)


_DEFLATED = b"1.2.840.10008.1.2.1.99"
_DICOM_LEADS = {"1": "I", "2": "II", "61": "III", "62": "aVR", "63": "aVL", "64": "aVF"} | {f"{k + 2}": f"V{k}" for k in range(1, 7)}


def read_dicom(file):
    """The longest waveform group of eight or more channels; others hold median beats or other signals."""
    if _DEFLATED in file.data:  # pydicom would unpack it at any size
        raise SignalError(f"{file.where} is deflated DICOM: export it uncompressed (Explicit VR Little Endian).")
    with library(file.where, "a DICOM waveform"):
        import pydicom
        from pydicom.waveforms import multiplex_array

        dataset = pydicom.dcmread(io.BytesIO(file.data))
        if dataset.original_encoding[1] is False:
            raise ValueError("it is big-endian")
        groups = dict(enumerate(dataset.WaveformSequence))
        wide = {i: group for i, group in groups.items() if group.NumberOfWaveformChannels >= 8} or groups
        index, group = max(wide.items(), key=lambda item: item[1].NumberOfWaveformSamples / item[1].SamplingFrequency)
        declared = group.NumberOfWaveformChannels * group.NumberOfWaveformSamples * group.WaveformBitsAllocated // 8
        if len(group.WaveformData) < declared:
            raise Damaged(f"it holds {len(group.WaveformData):,} of {declared:,} bytes of samples")
        raw = multiplex_array(dataset, index).T  # (channels, n)
        channels = group.ChannelDefinitionSequence
        samples = [_scaled(channel, row, group) for channel, row in zip(channels, raw, strict=True)]
        units = [channel.ChannelSensitivityUnitsSequence[0].CodeValue for channel in channels]
        names = [_dicom_name(channel.ChannelSourceSequence[0], channel) for channel in channels]
        age = re.fullmatch(r"(\d{3})Y", str(dataset.get("PatientAge", "")))
        meta = meta_of(PurePath(file.where).stem, age=age and age[1], sex=str(dataset.get("PatientSex", "")))
        return Recording(names, samples, units, float(group.SamplingFrequency), file.where, meta)


def _dicom_name(source, channel):
    """The lead of a code of SCP-ECG or MDC (CID 3001), else the channel's text."""
    code = re.fullmatch(r"(?:5\.6\.3-9-|2:)(\d+)", str(source.get("CodeValue", "")))
    text = source.get("CodeMeaning") or channel.get("ChannelLabel") or source.get("CodeValue", "")
    return _DICOM_LEADS.get(code[1] if code else "", str(text))


def _scaled(channel, raw, group):
    correction = float(channel.get("ChannelSensitivityCorrectionFactor", 1))
    samples = raw * (float(channel.ChannelSensitivity) * correction) + float(channel.get("ChannelBaseline", 0))
    if "WaveformPaddingValue" in group:
        samples[raw == np.frombuffer(group.WaveformPaddingValue, raw.dtype, 1)[0]] = np.nan
    return samples


def read_scp(file):
    refuse_large(len(file.data), file.where, MAX_SCP_BYTES)
    size = int.from_bytes(file.data[2:6], "little")
    if binascii.crc_hqx(file.data[2:size], 0xFFFF) != int.from_bytes(file.data[:2], "little"):
        raise unreadable(file.where, "SCP-ECG", "its checksum is wrong", damaged=True)
    with library(file.where, "SCP-ECG"), _on_disk(file) as path:
        if _scp_steps(file.data[:size]) > MAX_SCP_STEPS:
            raise SignalError(f"{file.where} has too many samples or beats to decode: cut out a part.")
        from ecgdatakit.parsing.parsers.scp_ecg import SCPECGParser

        record = SCPECGParser().parse(path)
        if len({lead.annotations.get("start_sample", "1") for lead in record.leads}) > 1:
            raise ValueError("its leads begin at different times")
        return _recording(record, 1e6 / record.raw_metadata["rhythm_sample_interval_us"], file.where)


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


def read_aecg(file):
    refuse_large(len(file.data), file.where, MAX_XML_BYTES)
    if file.data.count(b"<") > MAX_XML_TAGS:
        raise unreadable(file.where, "HL7 aECG", f"it has more than {MAX_XML_TAGS} tags")
    with library(file.where, "HL7 aECG"), _on_disk(file) as path:
        from ecgdatakit.parsing.parsers.hl7_aecg import HL7aECGParser

        record = HL7aECGParser().parse(path)
        return _recording(record, record.raw_metadata["rhythm_time"]["sampling_rate_exact"], file.where)


def _recording(record, fs, where):
    """A `Recording` of ecgdatakit's record, whose own rates are rounded to whole Hz."""
    leads = [lead.to_physical() for lead in record.leads]  # raises for a lead without unit
    meta = meta_of(PurePath(where).stem, age=record.patient.age, sex=record.patient.sex)
    return Recording([lead.label for lead in leads], [lead.samples for lead in leads],
                     [lead.units for lead in leads], float(fs), where, meta)  # fmt: skip


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
