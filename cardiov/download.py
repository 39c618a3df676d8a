"""PTB-XL from PhysioNet, or any address that serves the same, into a folder that appears when every file is verified.

What is under way lies in ``<folder>.part`` (and ``<folder>.zip``) and is gone on with. Only what is needed is kept: the
two tables, the 500 Hz records, the licence, and the data set's own list of SHA-256 digests, by which each file is checked.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import stat
import struct
import sys
import threading
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import requests
from tqdm.auto import tqdm

from cardiov.errors import DataSetError, DownloadError, ParameterError, StorageError
from cardiov.fetch import Patience, fetch, forget
from cardiov.ptbxl import TABLE, VERSIONS, read_metadata
from cardiov.results import is_full, locked, replacing

log = logging.getLogger(__name__)

PHYSIONET = "https://physionet.org/"
ARCHIVE = "static/published-projects/ptb-xl/ptb-xl-a-large-publicly-available-electrocardiography-dataset-{}.zip"
FILES = "files/ptb-xl/{}/"
# In bytes, about, of either version: the archive as PhysioNet states it, and what is kept of it. Where a server says
# the length of its archive, that counts instead.
ARCHIVE_BYTES, KEPT_BYTES, MEAN_FILE_BYTES = 1.7e9, 2.7e9, 62e3
FILE_LIMIT = 2**27  # bytes; the largest, the list, has about 8 MB

LIST = "SHA256SUMS.txt"
TABLES = (TABLE, "scp_statements.csv")
EXTRAS = ("LICENSE.txt", "RECORDS")
SIGNALS = "records500/"
LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(.{1,255})")
CONNECTIONS = 4
UNFINISHED = ".unfinished"
# what reading a damaged zip file raises
DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)


class _DamagedError(DataSetError):
    """What has arrived is not what was published; another try may bring it."""


def download(folder, version="1.0.3", source=None, patience=Patience()) -> int:
    """Download PTB-XL, or go on with a download that was interrupted, or check one that is there.

    Parameters
    ----------
    folder : str or Path
        Appears when all is verified. Of two downloads at once into one folder, one waits for the other.
    version : str
        A key of `cardiov.ptbxl.VERSIONS`.
    source : str, optional
        Address that ends in ``.zip`` (the archive) or in ``/`` (the files are under it); by default PhysioNet's archive
        or, if that is not to be had, PhysioNet's files.
    patience : Patience
        With the server.

    Returns
    -------
    int
        Number of records.

    Raises
    ------
    DataSetError
        If the source is not to be had or is not the data set, or a finished folder has been changed.
    DownloadError
        If the server can't be reached or fails time and again.
    StorageError
        If there is no space, or no permission to write.
    ParameterError
        If the version or the kind of source is unknown.
    """
    folder = Path(folder).absolute()
    sources = _sources(version, source)
    part, archive = Path(f"{folder}.part"), Path(f"{folder}.zip{UNFINISHED}")
    with _storage(folder), locked(folder):
        if folder.is_dir() and any(folder.iterdir()):
            return check(folder, version, f"rename it to {part.name} and download again, which keeps what is whole")
        part.mkdir(exist_ok=True)
        _bring(sources, part, archive, patience)
        try:
            records = _count(part, _read_list(part), version, "give the version that is wanted, or another address by --from")
        except DataSetError:
            (part / LIST).unlink(missing_ok=True)  # so that it is not taken for good another time
            raise
        for leftover in [*part.rglob(".*.tmp"), *part.rglob(f"*{UNFINISHED}*")]:
            leftover.unlink(missing_ok=True)
        os.replace(part, folder)
        forget(archive)
    return records


def verify(folder, memory, version="1.0.3") -> int:
    """Check a copy of PTB-XL that is on disk already, once: it is only read.

    Parameters
    ----------
    folder : str or Path
        The copy; files beside those that are needed are ignored.
    memory : str or Path
        JSON file elsewhere that remembers the files' sizes and times, so that an unchanged copy is not read again.
    version : str
        A key of `cardiov.ptbxl.VERSIONS`.

    Returns
    -------
    int
        Number of records.

    Raises
    ------
    DataSetError
        If files are missing or damaged, with their number and the first of them.
    """
    folder, memory = Path(folder).absolute(), Path(memory)
    _refuse_unknown(version)
    key = _key(folder, version)
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["key"] == key:
            return known["records"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    records = check(folder, version, "copy them again, or leave PTBXL out to download the data set")
    with _storage(memory), replacing(memory) as temporary:
        temporary.write_text(json.dumps({"key": key, "records": records}) + "\n", encoding="utf-8")
    return records


def check(folder: Path, version: str, remedy: str) -> int:
    """Compare all files that are needed with the data set's digests; the number of records.

    Raises
    ------
    DataSetError
        If one is missing or damaged or the folder holds another version; `remedy` says how that is mended.
    """
    digests = _read_list(folder)
    digests = {name: digest for name, digest in digests.items() if name not in EXTRAS or (folder / name).exists()}
    if bad := _unverified(folder, digests):
        missing = sum(not (folder / name).exists() for name in bad)
        raise DataSetError(
            f"{folder} lacks {missing:,} of the {len(digests):,} files that are needed, and {len(bad) - missing:,} are "
            f"not as {LIST} says, the first being {', '.join(bad[:3])}: {remedy}."
        )
    return _count(folder, digests, version, remedy)


def _refuse_unknown(version):
    if version not in VERSIONS:
        raise ParameterError(f"the version is {version!r}: give {' or '.join(sorted(VERSIONS, reverse=True))}.")


def _sources(version, source):
    _refuse_unknown(version)
    if source is None:
        return [PHYSIONET + ARCHIVE.format(version), PHYSIONET + FILES.format(version)]
    if not re.fullmatch(r"https?://[^/\s]+/(\S*(\.zip|/))?", source):
        raise ParameterError(
            f"the address {source!r} is neither of an archive nor of files: give one that begins with http:// or "
            "https:// and ends in .zip (an archive) or in / (the files are under it)."
        )
    return [source]


@contextmanager
def _storage(folder):
    """Say in one sentence what a failing file system means."""
    try:
        yield
    except OSError as error:
        mend = "free some space" if is_full(error, folder.parent) else "give a folder that can be written"
        raise StorageError(f"{folder} cannot be written ({error.strerror or error}): {mend}, and run it again.") from error


def _room(folder, needed, address):
    """Say how much space is needed, and stop if there is less."""
    free = shutil.disk_usage(folder.parent).free
    said = f"{needed / 1e9:,.2f} GB are needed in {folder.parent}, where {free / 1e9:,.2f} GB are free"
    if needed > free:
        mend = "free some space, or give another folder"
        if address.endswith(".zip"):
            mend += f", or download single files, which takes less, by --from {PHYSIONET}{FILES.format('<version>')}"
        raise StorageError(f"about {said}: {mend}.")
    tqdm.write(f"{address}: about {said}.", file=sys.stderr)


# The list of digests


def _read_list(folder) -> dict[str, str]:
    """SHA-256 digest of each file that is needed, by its name, from the data set's list."""
    path = folder / LIST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataSetError(f"{path} cannot be read ({error}): it comes with PTB-XL and is needed to verify it.") from error
    matches = [LINE.fullmatch(line) for line in lines]
    digests = {match[2]: match[1].lower() for match in matches if match and _is_needed(match[2])}
    if not all(matches) or not {*TABLES} < set(digests) or not any(name.startswith(SIGNALS) for name in digests):
        raise _DamagedError(f"{path} is not PTB-XL's list of SHA-256 digests: take the data set's own.")
    if any(map(_escapes, digests)):
        raise DataSetError(f"{path} names files outside the data set: do not use this source.")
    return digests


def _is_needed(name):
    return name in (*TABLES, *EXTRAS) or name.startswith(SIGNALS)


def _escapes(name):
    return PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name


def _digest(path):
    """SHA-256 of a file; None if there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataSetError(f"{path} cannot be read ({error.strerror}): give permission to read it, or restore it.") from error


def _unverified(folder, digests) -> list[str]:
    """Names of the files that are missing or not as the list says."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda name: _digest(folder / name), digests)
        bar = tqdm(found, total=len(digests), unit=" files", desc="verifying")
        return [name for name, digest in zip(digests, bar, strict=True) if digest != digests[name]]


def _count(folder, digests, version, remedy):
    """Number of records, each of which must be on the list; a number that no version has is only warned of."""
    names = read_metadata(folder)["filename_hr"].astype(str)
    unlisted = [name for name in names if not {f"{name}.hea", f"{name}.dat"} <= set(digests)]
    if unlisted:
        raise _DamagedError(f"{folder / LIST} lacks {len(unlisted):,} records of {TABLE}, such as {unlisted[0]}: {remedy}.")
    versions = {holds.records: name for name, holds in VERSIONS.items()}
    other = versions.get(len(names))
    if other not in (None, version):
        raise DataSetError(f"{folder} has the {len(names):,} records of version {other}, not of {version}: {remedy}.")
    if other is None:
        log.warning("%s has %d records, where PTB-XL %s has %d.", folder, len(names), version, VERSIONS[version].records)
    return len(names)


def _key(folder, version):
    """Changes with the list and with the size or time of a file that is needed."""
    digests = _read_list(folder)
    seen = [str(folder), version, sorted(digests.items())]
    for name in digests:
        status = (folder / name).stat() if (folder / name).exists() else None
        seen.append(status and (status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(seen).encode()).hexdigest()


# Files and archives


def _bring(sources, part, archive, patience):
    """Leave all files that are needed in `part`, verified, from the first of the sources that has them."""
    for address in sources:
        try:
            if address.endswith(".zip"):
                return _from_archive(address, part, archive, patience)
            return _from_files(address, part, patience)
        except DownloadError:
            raise  # the other is on the same server, and what is here of this one is worth going on with
        except DataSetError as error:
            if address == sources[-1]:
                raise
            log.warning("%s Instead, %s is tried.", error, sources[-1])


def _from_archive(address, part, archive, patience):
    if _is_whole(part):
        return  # killed just before the folder got its name
    for last in (False, True):
        _fetch_archive(address, archive, patience)
        try:
            return _extract(address, archive, part)
        except (_DamagedError, *DAMAGES) as error:
            forget(archive)
            if last:
                raise DataSetError(f"{address} is damaged ({error}): try later, or give another address by --from.") from error
            log.warning("%s is damaged (%s) and is fetched again.", address, error)
        except DataSetError:
            forget(archive)
            raise


def _is_whole(part):
    try:
        return (part / LIST).exists() and not _unverified(part, _read_list(part))
    except DataSetError:
        return False


def _fetch_archive(address, archive, patience):
    begun = _size(archive)

    def room(to_come):
        if not bar.total:
            whole = ARCHIVE_BYTES if to_come is None else to_come + _size(archive)
            _room(archive, whole - _size(archive) + whole * KEPT_BYTES / ARCHIVE_BYTES, address)

    def progress(here, size):
        bar.total = size
        bar.update(here - bar.n)

    with requests.Session() as session, tqdm(initial=begun, unit="B", unit_scale=True, desc="downloading") as bar:
        fetch(session, address, archive, patience, threading.Event(), 4 * ARCHIVE_BYTES, room, progress)


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _extract(address, archive, part):
    """Extract what is needed and not yet there; each file gets its name when it is verified."""
    with zipfile.ZipFile(archive) as opened:
        members = _members(opened, address)
        _extract_member(opened, members, LIST, part)
        digests = _read_list(part)
        if absent := sorted(set(digests) - set(members)):
            raise _DamagedError(f"it lacks {len(absent):,} files of its list, the first being {absent[0]}")
        todo = _unverified(part, digests)
        _room(part, sum(members[name].file_size for name in todo), address)
        for name in tqdm(todo, unit=" files", desc="unpacking"):
            _extract_member(opened, members, name, part, digests[name])


def _members(opened, address) -> Mapping[str, zipfile.ZipInfo]:
    """The members that are needed, by their names in the data set, whose list is at the top."""
    infos = opened.infolist()
    if strange := [info.filename for info in infos if _escapes(info.filename) or stat.S_ISLNK(info.external_attr >> 16)]:
        raise DataSetError(f"{address} holds {strange[0]!r}, which leads out of its folder: do not use this source.")
    tops = sorted((info.filename.removesuffix(LIST) for info in infos if PurePosixPath(info.filename).name == LIST), key=len)
    if not tops:
        raise DataSetError(f"{address} holds no {LIST}, so it cannot be verified: give another address by --from.")
    inside = {info.filename.removeprefix(tops[0]): info for info in infos if info.filename.startswith(tops[0])}
    members = {name: info for name, info in inside.items() if name == LIST or _is_needed(name) and not info.is_dir()}
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in members.values()):
        raise _DamagedError("it is packed in a way that zip files seldom are")
    sizes = [info.file_size for info in members.values()]
    if max(sizes) > FILE_LIMIT or sum(sizes) > 4 * KEPT_BYTES:
        raise DataSetError(f"{address} would unpack to {sum(sizes):,} bytes, too many for PTB-XL: do not use this source.")
    return members


def _extract_member(opened, members, name, part, digest=None):
    with replacing(part / name) as temporary:
        with opened.open(members[name]) as source, open(temporary, "wb") as target:
            shutil.copyfileobj(source, target)
        if digest and _digest(temporary) != digest:
            raise _DamagedError(f"{name} is not as its {LIST} says")


def _from_files(address, part, patience):
    stop = threading.Event()
    with requests.Session() as session:
        _fetch_file(session, address, part, LIST, patience, stop)
    digests = _read_list(part)
    todo = _unverified(part, digests)
    _room(part, len(todo) * MEAN_FILE_BYTES, address)
    bar = tqdm(total=len(todo), unit=" files", desc="downloading")
    with bar, ThreadPoolExecutor(CONNECTIONS) as pool:
        shares = [{name: digests[name] for name in todo[k::CONNECTIONS]} for k in range(CONNECTIONS)]
        jobs = [pool.submit(_fetch_files, address, part, share, patience, stop, bar) for share in shares]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            stop.set()
            raise


def _fetch_files(address, part, digests, patience, stop, bar):
    with requests.Session() as session:  # a session is of one thread
        for name, digest in digests.items():
            _fetch_file(session, address, part, name, patience, stop, digest)
            bar.update()


def _fetch_file(session, address, part, name, patience, stop, digest=None):
    path = part / f"{name}{UNFINISHED}"
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        fetch(session, address + quote(name), path, patience, stop, FILE_LIMIT)
        if digest in (None, _digest(path)):
            os.replace(path, part / name)
            return forget(path)
        forget(path)
    raise DataSetError(f"{address}{name} is not as its {LIST} says, twice: try later, or give another address by --from.")
