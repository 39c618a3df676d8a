"""Simulated records in all formats, and data sets in PTB-XL's layout, for the tests."""

import base64
import binascii
import hashlib
import json
import struct
import zlib
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.io
import wfdb

from cardiov.ecg.leads import LEADS, read_ecg

STATEMENTS = [
    "{'NORM': 100.0, 'SR': 0.0}",
    "{'IMI': 100.0, 'LAFB': 100.0}",
    "{'NDT': 0.0, 'LVH': 50.0, 'AFIB': 0.0}",
    "{'PVC': 100.0}",
]


def simulated_signal(seconds=10, fs=500, seed=0):
    """Waves of 1 Hz to 40 Hz, drift and noise, (12, n) in µV as integers: not an ECG, but in its range."""
    generator = np.random.default_rng(seed)
    t = np.arange(int(seconds * fs)) / fs
    waves = [generator.normal(0, 200, (12, 1)) * np.sin(2 * np.pi * f * t + f) for f in (0.1, 1, 3, 9, 21, 40)]
    return (sum(waves) + generator.normal(0, 20, (12, len(t)))).round().astype(np.int64)


def write_record(
    folder, name="r", signal=None, fs=500, leads=LEADS, gain=1000.0, baseline=0, units="mV", comments=(), fmt="16"
):
    """Write a WFDB record from (leads, n) integers; return the path without suffix."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    signal = simulated_signal() if signal is None else signal
    count = len(leads)
    wfdb.wrsamp(
        name, fs, [units] * count, list(leads), d_signal=np.ascontiguousarray(signal.T), fmt=[fmt] * count,
        adc_gain=np.broadcast_to(gain, count).tolist(), baseline=np.broadcast_to(baseline, count).tolist(),
        comments=list(comments), write_dir=str(folder),
    )  # fmt: skip
    return Path(folder) / name


def write_data_set(folder, records=4, **record):
    """Write a data set of simulated records; return its table."""
    rows = []
    for k in range(records):
        name = f"{k + 1:05d}_hr"
        write_record(Path(folder) / "records500/00000", name, **{"signal": simulated_signal(seed=k)} | record)
        rows.append({
            "ecg_id": k + 1, "patient_id": float(100 + k // 2), "age": [56.0, 300.0, None, 95.0][k % 4], "sex": k % 2,
            "scp_codes": STATEMENTS[k % 4], "baseline_drift": None, "static_noise": ", I-V1,", "burst_noise": None,
            "electrodes_problems": None, "strat_fold": [3, 8, 9, 10][k % 4],
            "filename_lr": f"records100/00000/{k + 1:05d}_lr", "filename_hr": f"records500/00000/{name}",
        })  # fmt: skip
    table = pd.DataFrame(rows)
    table.to_csv(Path(folder) / "ptbxl_database.csv", index=False)
    return table


def published_files(folder):
    """A small data set as PTB-XL is published, with files that nobody needs, written to a folder: {name: bytes}."""
    write_data_set(folder)
    for k in range(4):
        write_record(Path(folder) / "records500/00000", f"{k + 1:05d}_hr", simulated_signal(seconds=2, seed=k))
    for name in ("scp_statements.csv", "LICENSE.txt", "RECORDS", "example.py", "records100/00000/00001_lr.dat"):
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} of the data set\n" * 20)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
    (Path(folder) / "SHA256SUMS.txt").write_bytes(list_of_digests(files))
    return files | {"SHA256SUMS.txt": list_of_digests(files)}


def list_of_digests(files):
    """The list that PhysioNet publishes of {name: bytes}."""
    lines = [f"{hashlib.sha256(body).hexdigest()} {name}\n" for name, body in sorted(files.items())]
    return "".join(lines).encode()


def write_cinc(folder, signal, fs=500, leads=LEADS):
    """Write (leads, n) integers in µV as the PhysioNet/CinC challenges do: a MATLAB 4 file and a WFDB header."""
    scipy.io.savemat(Path(folder) / "A0001.mat", {"val": signal.astype("<i2")}, format="4")
    lines = [f"A0001 {len(leads)} {fs} {signal.shape[1]} 16-May-2020 12:33:23"]
    for lead, samples in zip(leads, signal, strict=True):
        lines.append(f"A0001.mat 16+24 1000/mV 16 0 {samples[0]} {(samples.sum() + 32768) % 65536 - 32768} 0 {lead}")
    (Path(folder) / "A0001.hea").write_text("\n".join([*lines, "#Age: 74", "#Sex: Male", "#Dx: 426783006"]) + "\n")
    return Path(folder) / "A0001"


def write_csv(path, signal, fs=500, leads=LEADS, separator=",", before="# fs: {fs}\n# unit: uV\n", names="{}"):
    """Write (leads, n) integers in µV as text."""
    rows = [separator.join(names.format(lead) for lead in leads), *(separator.join(map(str, row)) for row in signal.T)]
    Path(path).write_text(before.format(fs=fs) + "\n".join(rows) + "\n", encoding="utf-8")


def write_npz(path, signal, fs=500, leads=LEADS, **arrays):
    np.savez_compressed(path, **{"signal": signal, "leads": np.array(leads), "fs": fs, "unit": "uV"} | arrays)


PATIENT, AGE, BORN, RECORDED = "P7", 61, date(1959, 6, 1), datetime(2021, 3, 25, 14, 5, 9)  # a woman, in every clinical format


def write_edf(path, signal, fs=500, leads=LEADS, kind="Edf"):
    import edfio

    limit = -(2**15 if kind == "Edf" else 2**23) / 10, ((2**15 if kind == "Edf" else 2**23) - 1) / 10
    signals = [
        getattr(edfio, f"{kind}Signal")(samples, fs, label=f"ECG {lead}", physical_dimension="uV", physical_range=limit)
        for lead, samples in zip(leads, signal.astype(float), strict=True)
    ]
    patient = edfio.Patient(code=PATIENT, sex="F", birthdate=BORN)
    day = edfio.Recording(startdate=RECORDED.date())
    getattr(edfio, kind)(signals, patient=patient, recording=day, starttime=RECORDED.time()).write(path)


def write_bdf(path, *ecg, **more):
    write_edf(path, *ecg, **more, kind="Bdf")


def write_dicom(path, signal, fs=500, leads=LEADS, **changes):
    """Write (leads, n) integers in µV as a 12-lead ECG, with a median beat before it."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = changes.pop("syntax", ExplicitVRLittleEndian)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = TwelveLeadECGWaveformStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientAge, dataset.PatientSex, dataset.PatientID = f"{AGE:03}Y", "F", PATIENT
    dataset.AcquisitionDateTime = f"{RECORDED:%Y%m%d%H%M%S}"
    dataset.WaveformSequence = [_waveform(signal[:, : int(fs)], fs, leads), _waveform(signal, fs, leads)]
    for keyword, value in changes.items():
        setattr(dataset.WaveformSequence[1], keyword, value)
    dataset.save_as(path, enforce_file_format=True)


def _waveform(signal, fs, leads):
    import pydicom

    group = pydicom.Dataset()
    group.WaveformOriginality, group.SamplingFrequency = "ORIGINAL", fs
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = signal.shape
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.add_new("WaveformData", "OW", signal.T.astype("<i2").tobytes())
    group.ChannelDefinitionSequence = []
    for lead in leads:
        channel, source, unit = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning = f"2:{SCP_CODES[lead]}", "MDC", "?"
        unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "uV", "UCUM", "microvolt"
        channel.ChannelSourceSequence, channel.ChannelSensitivityUnitsSequence = [source], [unit]
        channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = 1, 1, 0
        group.ChannelDefinitionSequence.append(channel)
    return group


AECG = """<?xml version="1.0" encoding="UTF-8"?>
<AnnotatedECG xmlns="urn:hl7-org:v3"><effectiveTime><low value="{2:%Y%m%d%H%M%S}.000"/></effectiveTime><componentOf>
<timepointEvent><componentOf><subjectAssignment><subject><trialSubject><id extension="{3}"/><subjectDemographicPerson>
<administrativeGenderCode code="F"/><birthTime value="{4:%Y%m%d}"/></subjectDemographicPerson></trialSubject></subject>
</subjectAssignment></componentOf></timepointEvent></componentOf><component><series><code code="RHYTHM"/><component><sequenceSet>
<component><sequence><code code="TIME_RELATIVE"/><value><head value="0" unit="s"/><increment value="{0}" unit="s"/>
</value></sequence></component>
{1}
</sequenceSet></component></series></component></AnnotatedECG>
"""
AECG_LEAD = """<component><sequence><code code="MDC_ECG_LEAD_{}"/><value><origin value="0" unit="uV"/>
<scale value="1" unit="uV"/><digits>{}</digits></value></sequence></component>"""


def write_aecg(path, signal, fs=500, leads=LEADS):
    """Write (leads, n) integers in µV as a minimal HL7 aECG."""
    digits = [" ".join(map(str, samples)) for samples in signal]
    sequences = "\n".join(map(AECG_LEAD.format, map(str.upper, leads), digits))
    Path(path).write_text(AECG.format(1 / fs, sequences, RECORDED, PATIENT, BORN), encoding="utf-8")


SCP_CODES = dict(zip(LEADS, (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), strict=True))


def write_scp(path, signal, fs=500, leads=LEADS, huffman=False, beats=0, bimodal=False, together=None):
    """Write (leads, n) integers in µV as SCP-ECG 2.0 (EN 1064). BioSig, another reader, reads the same from these.

    A reader has to add so many beats, each of zeros and as long as the record. All leads are recorded at the same time, or so many.
    """
    n = signal.shape[1]
    definitions = b"".join(struct.pack("<IIB", 1, n, SCP_CODES[lead]) for lead in leads)
    sections = {
        1: _scp_patient(),
        2: struct.pack("<H", 19999) if huffman else b"",  # the default table
        3: bytes([len(leads), (together << 3 if together else 4 | len(leads) << 3) | bool(beats)]) + definitions,
        4: struct.pack("<HHH", round(1000 * n / fs), 1, beats) + struct.pack("<HIII", 0, 1, 1, n) * beats if beats else b"",
        5: _scp_leads(0 * signal, fs, huffman) if beats else b"",
        6: _scp_leads(signal, fs, huffman, bimodal),
    }
    sections = {number: body + b"\0" * (len(body) % 2) for number, body in sections.items() if body}
    start, index = 7 + 16 + 120, {0: (136, 7)}
    for number, body in sections.items():
        index[number] = (16 + len(body), start)
        start += 16 + len(body)
    pointers = b"".join(struct.pack("<HII", number, *index.get(number, (0, 0))) for number in range(12))
    packed = b"".join(_section(number, body) for number, body in ({0: pointers} | sections).items())
    record = struct.pack("<I", 6 + len(packed)) + packed
    Path(path).write_bytes(struct.pack("<H", binascii.crc_hqx(record, 0xFFFF)) + record)


def _scp_patient():
    """Identifier, age in years, sex, and date and time of the recording."""
    day = struct.pack("<HBB", RECORDED.year, RECORDED.month, RECORDED.day)
    time = bytes([RECORDED.hour, RECORDED.minute, RECORDED.second])
    fields = {2: PATIENT.encode() + b"\0", 4: struct.pack("<HB", AGE, 1), 8: b"\2", 25: day, 26: time, 255: b""}
    return b"".join(struct.pack("<BH", tag, len(value)) + value for tag, value in fields.items())


def _scp_leads(signal, fs, huffman, bimodal=False):
    coded = [_huffman(lead) if huffman else lead.astype("<i2").tobytes() for lead in signal]
    head = struct.pack("<HHBB", 1000, round(1e6 / fs), 2 * huffman, bimodal)  # nV, µs, second differences
    return head + struct.pack(f"<{len(signal)}H", *map(len, coded)) + b"".join(coded)


def _section(number, body):
    head = struct.pack("<HIBB6s", number, 16 + len(body), 20, 20, b"SCPECG" if number == 0 else b"")
    return struct.pack("<H", binascii.crc_hqx(head + body, 0xFFFF)) + head + body


def _huffman(lead):
    """Second differences by SCP-ECG's default Huffman table, from the standard's own description of its codes."""
    values = np.concatenate([lead[:2], np.diff(lead, 2)])
    bits = "".join(_code(int(value)) for value in values)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _code(value):
    if value == 0:
        return "0"
    if abs(value) <= 8:
        return "1" * abs(value) + "0" + ("1" if value < 0 else "0")
    wide = 8 if -128 <= value < 128 else 16
    return "111111111" + ("0" if wide == 8 else "1") + f"{value % 2**wide:0{wide}b}"


MUSE = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE RestingECG SYSTEM "restecg.dtd">
<RestingECG><PatientDemographics><PatientID>{2}</PatientID><PatientAge>{3}</PatientAge><AgeUnits>YEARS</AgeUnits>
<Gender>FEMALE</Gender></PatientDemographics><TestDemographics><AcquisitionDate>{4:%m-%d-%Y}</AcquisitionDate>
<AcquisitionTime>{4:%H:%M:%S}</AcquisitionTime></TestDemographics>
<Waveform><WaveformType>Rhythm</WaveformType><SampleBase>{0}</SampleBase><SampleExponent>0</SampleExponent>
{1}
</Waveform></RestingECG>
"""
MUSE_LEAD = """<LeadData><LeadByteCountTotal>{}</LeadByteCountTotal><LeadTimeOffset>0</LeadTimeOffset>
<LeadSampleCountTotal>{}</LeadSampleCountTotal><LeadAmplitudeUnitsPerBit>{}</LeadAmplitudeUnitsPerBit>
<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadOff>FALSE</LeadOff><LeadID>{}</LeadID>
<LeadDataCRC32>{}</LeadDataCRC32><WaveFormData>{}</WaveFormData></LeadData>"""


def write_muse(path, signal, fs=500, leads=LEADS, scale="1"):
    """Write (leads, n) integers, multiples of ``scale`` in µV, as GE MUSE exports them."""
    packed = [samples.astype("<i2").tobytes() for samples in signal]
    parts = [MUSE_LEAD.format(len(data), len(data) // 2, scale, lead, zlib.crc32(data), base64.b64encode(data).decode())
             for lead, data in zip(leads, packed, strict=True)]  # fmt: skip
    Path(path).write_text(MUSE.format(fs, "\n".join(parts), PATIENT, AGE, RECORDED), encoding="latin-1")


SIERRA = """<?xml version="1.0" encoding="UTF-16"?>
<restingecgdata xmlns="http://www3.medical.philips.com"><documentinfo><documenttype>SierraECG</documenttype>
<documentversion>1.04</documentversion></documentinfo><patient><generalpatientdata><patientid>{0}</patientid><age>
<years>{1}</years></age><sex>Female</sex></generalpatientdata></patient>
<dataacquisition date="{2:%Y-%m-%d}" time="{2:%H:%M:%S}"><signalcharacteristics><samplingrate>{4}</samplingrate>
<numberchannelsallocated>{7}</numberchannelsallocated><numberchannelsvalid>{7}</numberchannelsvalid></signalcharacteristics>
</dataacquisition><waveforms>
<parsedwaveforms dataencoding="Base64" {3} samplespersecond="{4}" durationperchannel="{5:.0f}" resolution="{6}"
numberofleads="{7}" leadlabels="{8}">
{9}
</parsedwaveforms></waveforms></restingecgdata>
"""


def write_sierra(path, signal, fs=500, leads=LEADS, scale="1", xli=False):
    """Write (leads, n) integers, multiples of ``scale`` in µV, as Philips exports them, on request with XLI compression."""
    data = b"".join(map(_xli, _xli_residuals(signal))) if xli else signal.astype("<i2").tobytes()
    text = base64.b64encode(data).decode()
    compression = 'compressflag="True" compressmethod="XLI"' if xli else 'compressflag="False"'
    Path(path).write_text(SIERRA.format(PATIENT, AGE, RECORDED, compression, fs, 1000 * signal.shape[1] / fs, scale, len(leads),
                                        " ".join(leads), text), encoding="utf-16")  # fmt: skip


def _xli_residuals(signal):
    """The twelve leads with III, aVR, aVL and aVF as the differences from what I and II predict (by sierra-ecg-tools)."""
    i, ii, iii, avr, avl, avf, *chest = signal
    return [i, ii, ii - i - iii, -avr - (i + ii) // 2, (i - iii) // 2 - avl, (ii + iii) // 2 - avf, *chest]


def _xli(samples):
    """Second differences, high bytes before low bytes, as codes of ten bits that are bytes themselves (LZW without repeats)."""
    bend = 2 * samples[1:-1] - samples[:-2] - samples[2:]
    codes = np.concatenate([samples[:2], bend[1:] + 64, [64]]).astype(">i2").view("u1").reshape(-1, 2)
    bits = "".join(f"{byte:010b}" for byte in codes.T.ravel())
    bits += "0" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return struct.pack("<iHh", len(packed), 0, bend[0]) + packed


MORTARA_LEAD = """<CHANNEL OFFSET="0" BITS="16" FORMAT="SIGNED" UNITS_PER_MV="{}" DURATION="{}" SAMPLE_FREQ="{}" NAME="{}"
ENCODING="BASE64" DATA="{}"/>"""


def write_mortara(path, signal, fs=500, leads=LEADS, scale="1000"):
    """Write (leads, n) integers, ``scale`` per mV, as Mortara's ELI devices do."""
    texts = [base64.b64encode(samples.astype("<i2").tobytes()).decode() for samples in signal]
    parts = [MORTARA_LEAD.format(scale, signal.shape[1], fs, lead, text) for lead, text in zip(leads, texts, strict=True)]
    who = f'<ECG ACQUISITION_TIME="{RECORDED:%Y%m%d%H%M%S}" AGE="{AGE}" AGE_UNITS="YEARS"><SUBJECT ID="{PATIENT}" GENDER="FEMALE"/>'
    Path(path).write_text("\n".join(['<?xml version="1.0" encoding="UTF-8"?>', who, *parts, "</ECG>"]), encoding="utf-8")


ISHNE_CODES = {lead: 5 + k for k, lead in enumerate(LEADS)}


def write_ishne(path, signal, fs=500, leads=LEADS, scale=1000, codes=ISHNE_CODES):
    """Write (leads, n) integers, multiples of ``scale`` in nV, as the ISHNE's standard for Holters describes."""
    count, day, time = len(leads), (RECORDED.day, RECORDED.month, RECORDED.year), (RECORDED.hour, RECORDED.minute, RECORDED.second)
    padded = lambda values: [*values, *[-9] * (12 - count)]  # noqa: E731
    head = struct.pack(
        "<iiiih40s40s20shh3h3h3h3hh12h12h12hh40sh80s80s88s", 0, signal.shape[1], 522, 522, 1, b"", b"", PATIENT.encode(), 2, 0,
        BORN.day, BORN.month, BORN.year, *day, *day, *time, count, *padded([codes[lead] for lead in leads]), *padded([1] * count),
        *padded([scale] * count), 0, b"digital", fs, b"", b"", b"",
    )  # fmt: skip
    Path(path).write_bytes(b"ISHNE1.0" + struct.pack("<H", binascii.crc_hqx(head, 0xFFFF)) + head + signal.T.astype("<i2").tobytes())


def write_mfer(path, signal, fs=500, leads=LEADS, scale=(-6, 1), more=b""):
    """Write (leads, n) integers, multiples of ``scale`` (exponent, mantissa) in V, as ISO 22077 describes; ``more`` before them."""
    channels = b"".join(bytes([0x3F, k, 4]) + _tlv(0x09, struct.pack("<H", SCP_CODES[lead])) for k, lead in enumerate(leads))
    exponent, mantissa = scale
    fields = [
        _tlv(0x40, b"MFR Standard 12 leads ECG".ljust(32)), _tlv(0x01, b"\1"), _tlv(0x08, struct.pack("<H", 1)),
        _tlv(0x0B, struct.pack("<BbH", 0, 0, fs)), _tlv(0x0C, struct.pack("<BbH", 0, exponent, mantissa)), _tlv(0x0A, b"\0"),
        _tlv(0x04, struct.pack("<I", signal.shape[1])), _tlv(0x05, struct.pack("<H", len(leads))), _tlv(0x06, struct.pack("<H", 1)),
        _tlv(0x82, PATIENT.encode()), _tlv(0x83, struct.pack("<BHHBB", AGE, 0, BORN.year, BORN.month, BORN.day)), _tlv(0x84, b"\2"),
        _tlv(0x85, struct.pack("<H5B", RECORDED.year, *RECORDED.timetuple()[1:6])), channels, more,
        _tlv(0x1E, signal.astype("<i2").tobytes()), b"\x80\0",
    ]  # fmt: skip
    Path(path).write_bytes(b"".join(fields))


def _tlv(tag, value):
    """Tag, length and value, as MFER writes them."""
    size = bytes([len(value)]) if len(value) < 128 else b"\x84" + struct.pack(">I", len(value))
    return bytes([tag]) + size + value


def write_kardia(path, signal, fs=300, names=("leadI", "leadII", "leadIII", "AVR", "AVL", "AVF")):
    """Write the six limb leads, integers in µV, as AliveCor's interface gives them."""
    raw = {"frequency": fs, "mainsFrequency": 50, "amplitudeResolution": 1000, "numLeads": len(names),
           "samples": dict(zip(names, signal.tolist(), strict=True))}  # fmt: skip
    record = {"id": "1", "patientID": PATIENT, "recordedAt": f"{RECORDED:%Y-%m-%dT%H:%M:%S}Z", "data": {"raw": raw}}
    Path(path).write_text(json.dumps(record))


WRITERS = {  # name of the file: writer of (leads, n) integers in µV
    "ecg.csv": write_csv, "ecg.npz": write_npz, "ecg.edf": write_edf, "ecg.dcm": write_dicom, "ecg.scp": write_scp,
    "ecg.xml": write_aecg, "ecg.bdf": write_bdf, "muse.xml": write_muse, "sierra.xml": write_sierra, "mortara.xml": write_mortara,
    "ecg.ecg": write_ishne, "ecg.mwf": write_mfer,
    "r": lambda path, *ecg, **leads: write_record(path.parent, "r", *ecg, **leads),
    "A0001": lambda path, *ecg, **leads: write_cinc(path.parent, *ecg, **leads),
}  # fmt: skip


def in_memory(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def read_both_ways(path):
    """The ECG of a path, which is alone in its folder, after a comparison with the same file as an upload."""
    ecg, upload = read_ecg(path), read_ecg(in_memory(path.parent))
    np.testing.assert_array_equal(ecg.signal, upload.signal)
    assert (ecg.fs, ecg.meta, ecg.warnings) == (upload.fs, upload.meta, upload.warnings)
    return ecg
