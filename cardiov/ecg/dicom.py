"""DICOM waveforms, by pydicom, which is imported only when needed."""

import io
import re
from pathlib import PurePath

import numpy as np

from cardiov.ecg.names import NEEDED, lead_of, name_of
from cardiov.ecg.recording import MILLIVOLTS, Damaged, Recording, library, meta_of, moment, years_between
from cardiov.errors import SignalError

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_LEADS = {"1": "I", "2": "II", "61": "III", "62": "aVR", "63": "aVL", "64": "aVF"} | {f"{k + 2}": f"V{k}" for k in range(1, 7)}
_TYPES = {"SB": "i1", "UB": "u1", "SS": "<i2", "US": "<u2", "SL": "<i4", "UL": "<u4"}  # MB and AB are for dictations (PS3.3 A.34.2)
_UNITS = {"microvolt": "uV", "millivolt": "mV", "volt": "V"}
_YEARS = {"Y": 1, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_MEDIAN = re.compile(r"median|averag|representative|template|\bbeat\b", re.IGNORECASE)


def read_dicom(file):
    """The original rhythm: one multiplex group, or several with other leads that were recorded at the same time."""
    if _DEFLATED in file.data:  # pydicom would unpack it at any size
        raise SignalError(f"{file.where} is deflated DICOM: export it uncompressed (Explicit VR Little Endian).")
    with library(file.where, "a DICOM waveform") as caught:
        import pydicom

        dataset = pydicom.dcmread(io.BytesIO(file.data))
        if dataset.original_encoding[1] is False:
            raise ValueError("it is big-endian")
        if not dataset.get("WaveformSequence"):
            raise ValueError("it holds no waveform, but perhaps a picture or a PDF of one")
        meta = _meta(dataset, PurePath(file.where).stem)
        caught.clear()  # these concern the patient and the study
        groups, notes = _original(list(dataset.WaveformSequence))
        channels = [channel for group in groups for channel in _channels(group)]
        names, units, samples, skews = ([channel[k] for channel in channels] for k in range(4))
        fs = float(groups[0].SamplingFrequency) if groups else None
        aligned, padding = _aligned(samples, skews, fs) if channels else ([], ())
        notes += padding + tuple(f"note of the reader: {warning.message}" for warning in caught)
    return Recording(names, aligned, units, fs, file.where, meta, notes)


def _original(groups):
    """The groups of the rhythm as recorded, and what to say of the others that hold leads."""
    leads = [{lead_of(_name(channel)) for channel in group.get("ChannelDefinitionSequence") or ()} - {None} for group in groups]
    holders = [i for i in range(len(groups)) if leads[i]]
    recorded = [i for i in holders if not _MEDIAN.search(str(groups[i].get("MultiplexGroupLabel") or ""))]
    if holders and not recorded:
        raise ValueError("it holds median beats, but no rhythm")
    original = [i for i in recorded if groups[i].get("WaveformOriginality") != "DERIVED"]
    kept = _together(groups, original or recorded, leads)
    unread = [f"group {i + 1} ({_title(groups[i])})" for i in holders if i not in kept]
    notes = {"not read": unread, "derived signal": [] if original else [_title(groups[i]) for i in kept]}
    if len(kept) > 1 and _shape(groups[kept[0]])[2] is None:
        notes["joined groups"] = [str(i + 1) for i in kept]
    return [groups[i] for i in kept], tuple(f"{kind}: {', '.join(which)}" for kind, which in notes.items() if which)


def _together(groups, candidates, leads):
    """Of candidates of the same time those that have the needed leads, each lead once; the longest, if there are several times."""
    times = {}
    for i in candidates:
        members = times.setdefault(_shape(groups[i]), [])
        if not any(leads[i] & leads[other] for other in members):
            members.append(i)
    complete = {time: set().union(*(leads[i] for i in members)).issuperset(NEEDED) for time, members in times.items()}
    best = max(times, key=lambda time: (complete[time], time[0] / time[1]), default=None)
    return times.get(best, [])


def _shape(group):
    """Samples, rate in Hz and start in ms, which simultaneous groups have in common."""
    return int(group.NumberOfWaveformSamples), float(group.SamplingFrequency), _number(group, "MultiplexGroupTimeOffset", None)


def _title(group):
    label = group.get("MultiplexGroupLabel") or group.get("WaveformOriginality") or "without a label"
    return f"{label}, {group.NumberOfWaveformSamples / group.SamplingFrequency:.1f} s"


def _channels(group):
    """Name, unit, samples and skew, in samples, of each channel that is named like a lead."""
    raw, fs = _raw(group), float(group.SamplingFrequency)
    for channel, row in zip(group.ChannelDefinitionSequence, raw, strict=True):
        name = _name(channel)
        if name_of(name):
            yield name, _unit(channel), _scaled(channel, row, group, name), _skew(channel, fs)


def _skew(channel, fs):
    """Samples from the start of the group to that of the channel."""
    seconds = _number(channel, "ChannelTimeSkew", 0) + _number(channel, "ChannelOffset", 0)
    return seconds * fs + _number(channel, "ChannelSampleSkew", 0)


def _raw(group):
    """Samples (channels, n) as they are stored."""
    kind, shape = group.WaveformSampleInterpretation, (group.NumberOfWaveformSamples, group.NumberOfWaveformChannels)
    if kind not in _TYPES or group.WaveformBitsAllocated != 8 * np.dtype(_TYPES[kind]).itemsize:
        raise ValueError(f"its samples are stored as {kind} of {group.WaveformBitsAllocated} bits, not as linear integers")
    count, size = shape[0] * shape[1], np.dtype(_TYPES[kind]).itemsize
    if len(group.WaveformData) < count * size:
        raise Damaged(f"it holds {len(group.WaveformData):,} of {count * size:,} bytes of samples")
    return np.frombuffer(group.WaveformData, _TYPES[kind], count).reshape(shape).T


def _scaled(channel, raw, group, name):
    """Samples in the channel's unit, NaN for padding."""
    padding = np.zeros(raw.shape, bool)
    if group.get("WaveformPaddingValue"):
        padding = raw == np.frombuffer(group.WaveformPaddingValue, raw.dtype, 1)[0]
    sensitivity = _number(channel, "ChannelSensitivity", None)
    if sensitivity is None:
        raise ValueError(f"it gives no sensitivity for {name}")
    stored = _from_stored_bits(raw, padding, int(channel.get("WaveformBitsStored") or group.WaveformBitsAllocated), name)
    samples = stored * (sensitivity * _number(channel, "ChannelSensitivityCorrectionFactor", 1))
    samples += _number(channel, "ChannelBaseline", 0)
    samples[padding] = np.nan
    return samples


def _from_stored_bits(raw, padding, bits, name):
    """Values of samples that use the lower ``bits`` only; above them, the sign is extended or there are zeros."""
    low, high = (int(limit(raw[~padding], initial=0)) for limit in (np.min, np.max))
    signed, half = raw.dtype.kind == "i", 2 ** (bits - 1)
    if low >= (-half if signed else 0) and high < (half if signed else 2 * half):
        return raw
    if low < 0 or high >= 2 * half:
        raise ValueError(f"samples of {name} exceed the {bits} bits that it declares")
    return (raw.astype(np.int64) ^ half) - half


def _aligned(samples, skews, fs):
    """Channels (leads, n) from the start of the last to the end of the first, without padding that all have, and a note of it."""
    late = max(skews)
    first = [round(late - skew) for skew in skews]
    count = min(len(row) - start for row, start in zip(samples, first, strict=True))
    if count < 1:
        raise ValueError("its channels were not recorded at the same time")
    aligned = np.stack([row[start : start + count] for row, start in zip(samples, first, strict=True)])
    valid = np.flatnonzero(~np.isnan(aligned).all(axis=0))
    if not valid.size or valid.size == count:
        return aligned, ()
    kept = aligned[:, valid[0] : valid[-1] + 1]
    return kept, (f"not read: {(count - kept.shape[1]) / fs:.2f} s of padding",) if kept.shape[1] < count else ()


def _name(channel):
    """A lead by a code of SCP-ECG or MDC (CID 3001), else the first of code, meaning and label that names one."""
    source = (channel.get("ChannelSourceSequence") or [{}])[0]
    texts = source.get("CodeValue"), source.get("CodeMeaning"), channel.get("ChannelLabel")
    texts = [str(text or "").strip() for text in texts]
    code = re.fullmatch(r"(?:5\.6\.3-9-|2:)(\d+)", texts[0])
    texts.insert(0, _LEADS.get(code[1], "") if code else "")
    if len({lead.lead for lead in map(name_of, texts) if lead and lead.original and lead.usual}) > 1:
        raise ValueError(f"it names a channel by {' and '.join(repr(text) for text in texts if text):.100}, which are different leads")
    return next((text for text in texts if lead_of(text)), texts[2] or texts[3] or texts[1])


def _unit(channel):
    unit = (channel.get("ChannelSensitivityUnitsSequence") or [{}])[0]
    code, meaning = (str(unit.get(keyword) or "").strip() for keyword in ("CodeValue", "CodeMeaning"))
    return code if code.lower() in MILLIVOLTS else _UNITS.get(meaning.lower(), code)


def _number(dataset, keyword, default):
    """A number; an empty field is absent."""
    value = dataset.get(keyword)
    return default if value is None or value == "" else float(value)


def _meta(dataset, record):
    age = re.fullmatch(r"(\d{3})([YMWD])", str(dataset.get("PatientAge") or "").strip())
    born, start = moment(str(dataset.get("PatientBirthDate") or "").ljust(12, "0")), _start(dataset)
    age = int(age[1]) * _YEARS[age[2]] if age else years_between(born, start)
    sex, patient = (str(dataset.get(keyword) or "") for keyword in ("PatientSex", "PatientID"))
    return meta_of(record, age=age, sex=sex, recorded=start, patient=patient)


def _start(dataset):
    """When the recording began, as far as the file says; an unreadable date is absent."""
    texts = [str(dataset.get("AcquisitionDateTime") or "")]
    texts += [f"{dataset.get(f'{kind}Date') or ''}{dataset.get(f'{kind}Time') or ''}" for kind in ("Acquisition", "Content")]
    return next(filter(None, map(moment, texts)), None)
