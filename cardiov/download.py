"""PTB-XL from PhysioNet, or any address that serves the same, into a folder that appears when every file is verified.

Kept are the tables, the 500 Hz records and `EXTRAS`. What is under way lies in
``<folder>.part`` and ``<folder>.unfinished``, and is resumed.
"""

import hashlib
import logging
import os
import re
import shutil
import struct
import sys
import zipfile
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from urllib.parse import quote

from tqdm.auto import tqdm

from cardiov.errors import DataSetError, DownloadError, ParameterError
from cardiov.fetch import Client
from cardiov.ptbxl import TABLE, check_count, check_version, read_metadata
from cardiov.results import check_room, locked, read_note, storing, write_note

log = logging.getLogger(__name__)

PHYSIONET = (
    "https://physionet.org/static/published-projects/ptb-xl/"
    "ptb-xl-a-large-publicly-available-electrocardiography-dataset-{}.zip",
    "https://physionet.org/files/ptb-xl/{}/",
)
# bytes, about, of either version: the archive as PhysioNet states it, and what is kept of it
ARCHIVE_BYTES, KEPT_BYTES, MEAN_FILE_BYTES = 1.7e9, 2.7e9, 62e3
FILE_LIMIT, CONNECTIONS = 2**27, 4  # bytes (the largest file, the list, has about 8 MB), and files at a time
LIST, TABLES, EXTRAS, SIGNALS = "SHA256SUMS.txt", {TABLE, "scp_statements.csv"}, {"LICENSE.txt", "RECORDS"}, "records500/"
LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(.{1,255})")
OUTSIDE = re.compile(r"(.*/)?\.\.(/.*)?|.*[\\\0].*")
DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, RuntimeError, ValueError)  # of a zip file
COPY_AGAIN = "copy them again, or leave PTBXL out to download the data set"


class DamagedError(DataSetError):
    """What is here is not what was published; ``names`` of the files that are missing or wrong, if known."""


def download(folder, version="1.0.3", source=None, client=None) -> int:
    """Download PTB-XL, or resume that, or verify a copy that is there; the number of records.

    `source` is an address that ends in ``.zip`` (the archive) or in ``/`` (the files are under it); by default PhysioNet's
    archive or, if it is refused or damaged, PhysioNet's files. Of two downloads into one folder, one waits. Raises
    DataSetError (DownloadError if the server fails too often), StorageError and ParameterError.
    """
    folder, addresses = Path(folder).absolute(), _addresses(version, source)
    part, unfinished = Path(f"{folder}.part"), Path(f"{folder}.unfinished")
    with storing(folder), locked(folder):
        if folder.is_dir() and any(folder.iterdir()):
            files = PHYSIONET[1].format(version)
            records = verify(folder, version, None, f"rename it to {part.name} and run it again, with --from {files}")
        else:  # each address a second time, if what it sends is damaged
            twice = [address for address in addresses for _ in range(2)]
            records = _complete(twice, part, unfinished, version, client or Client())
            os.replace(part, folder)
        shutil.rmtree(unfinished, ignore_errors=True)
    return records


def _addresses(version, source):
    check_version(version)
    if source and not re.fullmatch(r"https?://[^/\s]+/(\S*(\.zip|/))?", source):
        remedy = "give one that begins with http:// or https:// and ends in .zip (an archive) or in / (the files are under it)"
        raise ParameterError(f"the address {source!r} is neither of an archive nor of files: {remedy}.")
    return [source] if source else [address.format(version) for address in PHYSIONET]


def _complete(addresses, part, unfinished, version, client):
    """Fetch what `part` lacks from the first address that serves it, and verify all; the number of records."""
    address, *others = addresses
    bring = _from_archive if address.endswith(".zip") else _from_files
    part.mkdir(exist_ok=True)
    unfinished.mkdir(exist_ok=True)
    client.stop.clear()
    try:
        bring(address, part, unfinished, client)
        return verify(part, version, remedy=f"try later, or another address than {address} (--from)", optional=())
    except DownloadError:
        raise  # the next is on the same server, and what is here of this one is worth resuming
    except DataSetError as error:
        shutil.rmtree(unfinished)
        for name in getattr(error, "names", ()):
            (part / name).unlink(missing_ok=True)
        others = others if isinstance(error, DamagedError) else [other for other in others if other != address]
        if not others:
            raise
        log.warning("%s Next, %s is tried.", error, others[0])
    return _complete(others, part, unfinished, version, client)


def _from_files(address, part, unfinished, client):
    def get(name, path):
        deque(client.fetch(address + quote(name), path, FILE_LIMIT), maxlen=0)

    _fill(part, unfinished, address, get, CONNECTIONS, client.stop)


def _from_archive(address, part, unfinished, client):
    archive = unfinished / "archive.zip"
    with tqdm(unit="B", unit_scale=True, desc="downloading") as bar:
        for here, size in client.fetch(address, archive, 4 * ARCHIVE_BYTES):
            if bar.total is None:
                bar.total = size or ARCHIVE_BYTES
                check_room(part, bar.total * (1 + KEPT_BYTES / ARCHIVE_BYTES) - here, address)
            bar.update(here - bar.n)
    try:
        with zipfile.ZipFile(archive) as opened:
            lists = [name for name in opened.namelist() if Path(name).name == LIST]
            if not lists:
                raise DataSetError(f"{address} holds no {LIST}, so it cannot be verified: give another address by --from.")
            get = partial(_extract, opened, min(lists, key=len).removesuffix(LIST))
            _fill(part, unfinished, address, get, 1, client.stop)
    except DAMAGES as error:
        raise DamagedError(f"{address} is damaged ({error}): try later or another address (--from).") from error


def _extract(opened, top, name, path):
    info = opened.getinfo(top + name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.file_size > FILE_LIMIT:
        raise zipfile.BadZipFile(f"{name} has {info.file_size:,} bytes, too many, or is packed in an unusual way")
    with opened.open(info) as source, open(path, "wb") as target:
        shutil.copyfileobj(source, target)


def _fill(part, unfinished, address, get, connections, stop):
    """Get the list, and all that it names and `part` lacks, so many files at a time."""

    def bring(name):
        for folder in (unfinished, part):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        get(name, unfinished / name)
        os.replace(unfinished / name, part / name)

    bring(LIST)
    absent = [name for name in read_list(part) if not (part / name).exists()]
    check_room(part, len(absent) * MEAN_FILE_BYTES, address)
    with ThreadPoolExecutor(connections) as pool:
        jobs = [pool.submit(bring, name) for name in absent]
        try:
            for job in tqdm(as_completed(jobs), total=len(jobs), unit=" files", desc="storing"):
                job.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def verify(folder, version="1.0.3", memory=None, remedy=COPY_AGAIN, optional=EXTRAS) -> int:
    """Compare a copy of PTB-XL, which is only read, with its list; the number of records.

    The JSON file `memory` remembers a verified copy's sizes and times, so that it is not read again while they last; the
    files `optional` may be missing. Raises DataSetError with the remedy if files are missing, damaged or another version's.
    """
    check_version(version)
    folder = Path(folder).absolute()
    digests = {name: digest for name, digest in read_list(folder).items() if name not in optional or (folder / name).exists()}
    statuses = [(folder / name).stat() if (folder / name).exists() else None for name in digests]
    state = [str(folder), version, digests, [status and (status.st_size, status.st_mtime_ns) for status in statuses]]
    state = hashlib.sha256(repr(state).encode()).hexdigest()
    if memory and (known := read_note(memory)).get("state") == state:
        return known["records"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        actual = pool.map(digest_of, [folder / name for name in digests])
        bar = tqdm(zip(digests, actual, strict=True), total=len(digests), unit=" files", desc="verifying")
        wrong = [name for name, digest in bar if digest != digests[name]]
    if wrong:
        missing = sum(not (folder / name).exists() for name in wrong)
        error = DamagedError(
            f"{folder} lacks {missing:,} of the {len(digests):,} files that are needed, and {len(wrong) - missing:,} are unreadable "
            f"or not as {LIST} says, the first being {', '.join(wrong[:3])}: {remedy}."
        )
        error.names = wrong
        raise error
    names = read_metadata(folder)["filename_hr"].astype(str)
    if unlisted := [name for name in names if not {f"{name}.hea", f"{name}.dat"} <= set(digests)]:
        raise DamagedError(f"{folder / LIST} lacks {len(unlisted):,} records of {TABLE}, such as {unlisted[0]}: {remedy}.")
    check_count(folder, len(names), version, remedy)
    if memory:
        write_note(memory, {"state": state, "records": len(names)})
    return len(names)


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file; None if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def read_list(folder):
    """SHA-256 of each file that is needed, by its name."""
    path = folder / LIST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read ({error}): it comes with PTB-XL and is needed to check it.") from error
    matches = [LINE.fullmatch(line) for line in lines if line]
    listed = {match[2]: match[1].lower() for match in matches if match}
    digests = {name: listed[name] for name in listed if name in TABLES | EXTRAS or name.startswith(SIGNALS)}
    if not all(matches) or not TABLES < set(digests) or not any(name.startswith(SIGNALS) for name in digests):
        raise DamagedError(f"{path} is not PTB-XL's list of SHA-256 digests: take the data set's own.")
    if any(map(OUTSIDE.fullmatch, digests)):
        raise DataSetError(f"{path} names files outside the data set: do not use this source.")
    return digests
