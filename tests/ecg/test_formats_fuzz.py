"""Hundreds of damaged and malicious files: each gives an ECG or one sentence, with little work and memory."""

import base64
import binascii
import io
import json
import os
import re
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from ecg_files import WRITERS, simulated_signal, write_record, write_scp, write_sierra

from cardiov.ecg.leads import LEADS

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak of memory is read from Linux's /proc")
ABSURD_NUMBERS = ["0", "-1", "nan", "inf", "1e308", "1e-308", "2147483648", "4294967295", "9" * 20, "9" * 5000, "", "x"]
MAX_CALLS = 3_000_000  # of functions per file; the widest table takes 2.6 million, the largest SCP-ECG file 2.1
ABSURD_WORDS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff\xff\0\0", b"\1\0\0\0"]

CHILD = """
import json, os, re, sys
import resource
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))  # protects the machine
folder = os.path.realpath(sys.argv[1])
packages = [os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, *sys.path)]
allowed, offences = (), []
FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.", "urllib.")
def watch(event, arguments):
    if not allowed:
        return
    if event == "open" and not isinstance(arguments[0], int):
        path, writes = os.fsdecode(arguments[0]), arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        inside = any(os.path.realpath(path).startswith(start) for start in allowed)
        if writes or not (inside or re.fullmatch(r"/proc/self/fd/[0-9]+", path)):
            offences.append([event, path, writes])
    elif event.startswith(FORBIDDEN):
        offences.append([event, repr(arguments)[:200]])
sys.addaudithook(watch)
calls = 0  # of functions, Python's and C's: work, whatever else the processor does
def count(frame, event, argument):
    global calls
    calls += event.endswith("call")
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
def outcome(source):
    global allowed, calls
    allowed, calls = (os.path.join(folder, case), *packages), 0
    sys.setprofile(count)
    try:
        read_ecg(source)
        result = "an ECG"
    except SignalError as error:
        result = f"SignalError: {error}"
    except BaseException as error:
        result = f"{type(error).__name__}! {error}"
    sys.setprofile(None)
    allowed, seen = (), list(offences)
    offences.clear()
    return [case, result, calls, seen]
from cardiov.errors import SignalError
from cardiov.ecg.leads import read_ecg
cases, report = json.load(open(os.path.join(folder, "cases.json"))), []
for case, names in cases:
    if case.startswith("good"):  # importing the libraries opens their files
        read_ecg(os.path.join(folder, case, names[0]))
before = peak()
for i, (case, names) in enumerate(cases):
    where = os.path.join(folder, case)
    both = case.startswith(("good", "path-"))
    if both or i % 2:
        report.append(outcome(os.path.join(where, names[0])))
    if both or not i % 2:
        report.append(outcome({name: open(os.path.join(where, name), "rb").read() for name in names}))
print(json.dumps({"report": report, "growth": peak() - before}))
"""


def seeds(folder):
    """{name: files} of a valid ECG in each format; the name is that of the file to open."""
    signal = simulated_signal(fs=100, seconds=6)
    for name, write in WRITERS.items():
        write(folder / name, signal, 100)
    write_scp(folder / "huffman.scp", signal, 100, huffman=True)
    np.savez(folder / "plain.npz", signal=signal, leads=np.array(LEADS), fs=100, unit="uV")
    write_record(folder, "other", signal // 10, 100, fmt="212")
    groups = [[name] for name in (*(name for name in WRITERS if "." in name), "huffman.scp", "plain.npz")]
    groups += [["r.hea", "r.dat"], ["other.hea", "other.dat"], ["A0001.hea", "A0001.mat"]]
    return {names[0]: {name: (folder / name).read_bytes() for name in names} for names in groups}


def mutations(name, data, random):
    """Damaged versions of a file: cut, flipped, doubled, filled, and with absurd numbers in its head."""
    head = min(len(data), 3000)
    for _ in range(3):
        yield data[: random.integers(len(data))], data[: random.integers(min(head, 400))]
    for reach in (head, head, head, len(data)):
        for count in (1, 3, 30):
            flipped = bytearray(data)
            for place in random.integers(reach, size=count):
                flipped[place] ^= 1 << random.integers(8)
            yield bytes(flipped), None
    for _ in range(2):
        start, stop = sorted(random.integers(len(data), size=2))
        yield data[:stop] + data[start:], data[:start] + data[stop:]
    yield data[:200] + random.bytes(len(data)), random.bytes(2000)
    for _ in range(6):
        yield absurd_number(data, head, random), absurd_word(data, head, random)


def absurd_number(data, head, random):
    numbers = list(re.finditer(rb"\d[\d.]*", data[:head]))
    if not numbers:
        return None
    one, new = numbers[random.integers(len(numbers))], ABSURD_NUMBERS[random.integers(len(ABSURD_NUMBERS))].encode()
    if data[:8] == b"0       ":  # EDF has fields of fixed widths
        new = new[: one.end() - one.start()].ljust(one.end() - one.start())
    return data[: one.start()] + new + data[one.end() :]


def absurd_word(data, head, random):
    place = random.integers(max(head - 4, 1))
    return data[:place] + ABSURD_WORDS[random.integers(len(ABSURD_WORDS))] + data[place + 4 :]


def with_checksum(data):
    """With SCP-ECG's checksum corrected, so that what follows it is read."""
    size = int.from_bytes(data[2:6], "little")
    return binascii.crc_hqx(data[2:size], 0xFFFF).to_bytes(2, "little") + data[2:]


def zip_of(compression=zipfile.ZIP_DEFLATED, size=200 * 2**20, **replaced):
    """An .npz whose signal is zeros of any size."""
    buffer, part = io.BytesIO(), bytes(2**20)
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        with archive.open("signal.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f8", "fortran_order": False, "shape": (12, size // 96)} | replaced
            np.lib.format.write_array_header_1_0(file, header)
            for _ in range(size // 2**20):
                file.write(part)
        for name, value in (("leads", np.array(LEADS)), ("fs", np.array(100)), ("unit", np.array("mV"))):
            with archive.open(f"{name}.npy", "w") as file:
                np.save(file, value)
    return buffer.getvalue()


def lie_about_size(data):
    """A bomb whose directory declares a thousand unpacked bytes."""
    at = data.index(b"PK\1\2")
    return data[: at + 24] + (1000).to_bytes(4, "little") + data[at + 28 :]


class Pickled:
    def __reduce__(self):
        return os.system, ("echo executed >&2",)


PLACES = [
    "../secret.dat", "/etc/passwd", "memory://x.dat", "simplecache::file:///etc/passwd", "zip::r.dat", "file:r.dat",
    "http://127.0.0.1:9/x.dat", "..", "r.dat/../../secret.dat", "..\\secret.dat", "%2e%2e/x", "s3://x/y", ".",
    "~/.profile", "/proc/self/environ", "/dev/zero", "//127.0.0.1/x", "-", "A0001.mat",
]  # fmt: skip
RECORD_LINES = [
    "r/2 12 100 600", "../r 12 100 600", "r 12 100 999999999", "r 12 1e9 600", "r 12 100)999999999", "r 12 inf 600",
    "r 999999999 100 600", "r 12 100/9999999999(99999999) 600",
]  # fmt: skip
FORMS = ["16x999999999", "16:999999999", "16:30000000", "16+999999999", "212x99999:9999", "508", "516+9", "8", "61"]


def crafted_records(header, signal):
    """WFDB headers that point elsewhere or declare too much, {case: {name: bytes}}."""
    for i, name in enumerate(PLACES):
        for fmt in ("16", "212"):
            text = header.replace(b"r.dat 16", f"{name} {fmt}".encode())
            yield f"path-{i}-{fmt}", {"r.hea": text, "r.dat": signal}
    for i, line in enumerate(RECORD_LINES):
        yield f"record-line-{i}", {"r.hea": header.replace(b"r 12 100 600", line.encode()), "r.dat": signal}
    for i, form in enumerate(FORMS):
        yield f"form-{i}", {"r.hea": header.replace(b" 16 1000", f" {form} 1000".encode()), "r.dat": signal}


def crafted_archives():
    """Zip bombs, arrays with wrong sizes, and pickles."""
    bomb, objects = zip_of(), io.BytesIO()
    np.savez(objects, signal=np.array([Pickled()] * 12, object), leads=np.array(LEADS), fs=100, unit="mV")
    archives = [
        bomb, lie_about_size(bomb), lie_about_size(zip_of(zipfile.ZIP_BZIP2)), zip_of(size=120 * 2**20),
        zip_of(size=2**20, shape=(12, 10**12)), zip_of(size=2**20, descr="<U1000000000"), objects.getvalue(),
        zip_of(size=0, shape=(0, 0)), zip_of(size=2**20, descr="|O"),
    ]  # fmt: skip
    yield from ((f"archive-{i}", {"ecg.npz": data}) for i, data in enumerate(archives))


ROOTS = {"ecg.xml": "AnnotatedECG", "muse.xml": "RestingECG", "sierra.xml": "restingecgdata", "mortara.xml": "ECG"}


def crafted_documents(valid):
    """Entities that grow or point elsewhere, and documents that are deep or long."""
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "ha" * 10}">' for i in range(12))
    for name, root in ROOTS.items():
        text = valid[name][name].decode("utf-16" if name == "sierra.xml" else "latin-1").replace('encoding="UTF-16"', "")
        text = re.sub("<!DOCTYPE.*?>", "", text).replace(f"<{root}", f"<!DOCTYPE x [{entities}]><{root}", 1).replace("P7", "&a11;")
        yield f"{root}-entities", {name: text.encode()}
        yield f"{root}-deep", {name: f"<{root}>".encode() + b"<a>" * 99_000}
    valid = valid["ecg.xml"]["ecg.xml"]
    outside = '<!DOCTYPE x [<!ENTITY a11 SYSTEM "file:///etc/passwd">]>'
    remote = '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">'
    for i, start in enumerate([f"<!DOCTYPE x [{entities}]>", remote, outside]):
        text = valid.decode().replace("<AnnotatedECG", start + "<AnnotatedECG")
        yield f"entities-{i}", {"ecg.xml": text.replace("<digits>", "<digits>&a11;").encode()}
    for i, count in enumerate((99_000, 2_600_000)):
        yield f"deep-{i}", {"ecg.xml": b"<AnnotatedECG>" + b"<a>" * count}
    digits = b"<digits>" + b"7 " * 3_900_000 + b"</digits>"
    yield "long-xml", {"ecg.xml": re.sub(rb"<digits>.*?</digits>", digits, valid, count=1)}


def crafted_tables():
    """Text with wide rows, long numbers, open quotes or nothing."""
    rows, name = b"1,2\n" * 600, b"I,II\n"
    texts = [
        b"a," * 10**5 + b"\n" + rows, name + b"9" * 10**6 + b",1\n", name + b"1e999999,2\n" * 600, b'"I,II\n' + rows,
        name + b"\0\0,\0\n" + rows, name + b"1," * 10**6, b"#" * 10**6, b"# fs: " + b"9" * 10**5 + b"\n" + name + rows,
        b"\n" * 10**5, name + b"1,2,3\n" + rows,
    ]  # fmt: skip
    yield from ((f"text-{i}", {"ecg.csv": text}) for i, text in enumerate(texts))


def crafted_binaries(valid, tmp_path):
    """EDF headers with absurd numbers, the longest Huffman code allowed, beats without end, and DICOM."""
    edf = valid["ecg.edf"]["ecg.edf"]
    for start, field in ((252, b"9999"), (236, b"9" * 8), (236, b"-1"), (244, b"0"), (244, b"1e-300"), (184, b"9" * 8)):
        width = 4 if start == 252 else 8
        yield f"edf-{start}-{field.decode()}", {"ecg.edf": edf[:start] + field.ljust(width) + edf[start + width :]}
    write_scp(tmp_path / "long.scp", np.zeros((12, 174_000), int), 100, huffman=True)
    write_scp(tmp_path / "beats.scp", np.zeros((12, 600), int), 100, beats=65_000)
    yield from ((f"{name}-scp", {"ecg.scp": (tmp_path / f"{name}.scp").read_bytes()}) for name in ("long", "beats"))
    mfer = valid["ecg.mwf"]["ecg.mwf"]
    yield "mfer-definitions", {"ecg.mwf": mfer[:34] + b"\x04\0" * 300_000 + mfer[34:]}
    yield "mfer-nested", {"ecg.mwf": mfer[:34] + b"\x67\x80" * 300_000}
    yield "mfer-long", {"ecg.mwf": mfer[:34] + bytes(2**22)}
    write_sierra(tmp_path / "long.xml", np.zeros((12, 12_000), int), 100, xli=True)
    yield "long-xli", {"sierra.xml": (tmp_path / "long.xml").read_bytes()}
    yield "bomb-xli", {"sierra.xml": xli_bomb(valid["sierra.xml"]["sierra.xml"])}
    for i, text in enumerate((b'{"a":' * 10**5, b"[" * 10**6, b'{"data": {"raw": {"frequency": 1e308, "samples": {"leadI": [1e999]}}}}')):
        yield f"json-{i}", {"ecg.json": text}
    yield from ((f"dicom-{i}", {"ecg.dcm": data}) for i, data in enumerate(dicom_bombs(valid["ecg.dcm"]["ecg.dcm"])))


def xli_bomb(valid):
    """A lead whose codes of ten bits stand for ever longer strings, 700 times their own size in the end."""
    codes = [0, *range(256, 1022), *[1021] * 400_000]
    packed = np.array(codes)[:, None] >> np.arange(9, -1, -1) & 1
    data = np.packbits(packed.astype("u1").ravel()).tobytes()
    text = base64.b64encode(len(data).to_bytes(4, "little") + bytes(4) + data).decode()
    flags = 'dataencoding="Base64" compressflag="True" compressmethod="XLI"'
    document = valid.decode("utf-16").replace('dataencoding="Base64" compressflag="False"', flags)
    return re.sub(r'(V6">).*?(</parsed)', lambda match: match[1] + text + match[2], document, flags=re.DOTALL).encode("utf-16")


def dicom_bombs(data):
    """Deflated data of any size, nested sequences and wrong numbers of samples."""
    meta = data[: data.index(b"\x08\x00\x16\x00")]
    end = meta.index(b"1.2.840.10008.1.2.1\0")
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = b"".join(compressor.compress(bytes(2**20)) for _ in range(150)) + compressor.flush()
    syntax = b"1.2.840.10008.1.2.1.99"
    grown = (int.from_bytes(meta[140:144], "little") + 2).to_bytes(4, "little")
    yield meta[:140] + grown + meta[144 : end - 2] + (22).to_bytes(2, "little") + syntax + meta[end + 20 :] + deflated
    sequence = b"\x00\x54\x00\x01SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    yield meta + sequence * 20_000
    for new in (b"\xff\xff\xff\xff", b"\0\0\0\0"):
        yield data.replace((600).to_bytes(4, "little"), new)


def cases(tmp_path):
    random, valid = np.random.default_rng(5), seeds(tmp_path)
    yield from ((f"good-{name}", files) for name, files in valid.items())
    for name, files in valid.items():
        for target in files:
            pairs = [data for pair in mutations(target, files[target], random) for data in pair if data is not None]
            for i, data in enumerate(pairs):
                repaired = with_checksum(data) if target.endswith(".scp") and i % 4 and len(data) > 6 else data
                yield f"{target}-{i}", files | {target: repaired}
    yield from crafted_records(valid["r.hea"]["r.hea"], valid["r.hea"]["r.dat"])
    yield from crafted_archives()
    yield from crafted_documents(valid)
    yield from crafted_tables()
    yield from crafted_binaries(valid, tmp_path)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """The report of a child process that reads the files from disk or from memory, by turns; some both ways."""
    folder, names = tmp_path_factory.mktemp("fuzz"), []
    (folder / "files").mkdir()
    for case, files in cases(tmp_path_factory.mktemp("seeds")):
        (folder / "files" / case).mkdir()
        names.append((case, list(files)))
        for name, data in files.items():
            (folder / "files" / case / name).write_bytes(data)
        if case.startswith("path-"):
            (folder / "files" / "secret.dat").write_bytes(files["r.dat"])
    (folder / "files" / "cases.json").write_text(json.dumps(names))
    command = [sys.executable, "-c", CHILD, str(folder / "files")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout) | {"stderr": done.stderr}


def test_every_file_is_an_ecg_or_one_sentence(outcomes):
    report = outcomes["report"]
    assert len({case for case, *_ in report}) > 500
    assert [row for row in report if not re.fullmatch(r"an ECG|SignalError: [^\n]{20,700}\.", row[1])] == []
    assert [row for row in report if "MemoryError" in row[1]] == []  # without the child's limit it would not have ended
    results = {case: result for case, result, *_ in report}
    assert all(results[case] == "an ECG" for case in results if "good" in case)
    assert sum(result == "an ECG" for result in results.values()) < len(results) / 3


def test_nothing_else_is_opened_written_or_executed(outcomes):
    assert [row for row in outcomes["report"] if row[3]] == []
    assert outcomes["stderr"] == ""


def test_none_takes_much_work_or_memory(outcomes):
    assert [row for row in outcomes["report"] if row[2] > MAX_CALLS] == []
    assert outcomes["growth"] < 500  # MB
