"""PTB-XL from PhysioNet, or any address that serves the same, into a folder that appears when every file is verified.

What is under way lies in ``<folder>.part`` (and ``<folder>.zip.unfinished``) and is gone on with. Only what is needed
is kept, and each file is checked by the data set's own list, see `cardiov.data.checksums`.
"""

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
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import requests
from tqdm.auto import tqdm

from cardiov.data.checksums import (
    LIST,
    DamagedError,
    check,
    count_records,
    digest_of,
    escapes,
    is_needed,
    read_list,
    refuse_unknown,
    storage,
    unverified,
)
from cardiov.data.http import Patience, fetch, forget, size_of
from cardiov.errors import DataSetError, DownloadError, ParameterError, StorageError
from cardiov.store.files import locked, replacing

log = logging.getLogger(__name__)

PHYSIONET = "https://physionet.org/"
ARCHIVE = "static/published-projects/ptb-xl/ptb-xl-a-large-publicly-available-electrocardiography-dataset-{}.zip"
FILES = "files/ptb-xl/{}/"
# In bytes, about, of either version: the archive as PhysioNet states it, and what is kept of it. Where a server says
# the length of its archive, that counts instead.
ARCHIVE_BYTES, KEPT_BYTES, MEAN_FILE_BYTES = 1.7e9, 2.7e9, 62e3
FILE_LIMIT = 2**27  # bytes; the largest, the list, has about 8 MB
CONNECTIONS = 4
UNFINISHED = ".unfinished"
# what reading a damaged zip file raises
DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)


def download(folder, version="1.0.3", source=None, patience=Patience()) -> int:
    """Download PTB-XL, or go on with a download that was interrupted, or check one that is there.

    Parameters
    ----------
    folder : str or Path
        Appears when all is verified. Of two downloads at once into one folder, one waits for the other.
    version : str
        A key of `cardiov.data.ptbxl.VERSIONS`.
    source : str, optional
        Address that ends in ``.zip`` (the archive) or ``/`` (the files); by default PhysioNet's archive, then its files.
    patience : Patience

    Returns
    -------
    int
        Number of records.

    Raises
    ------
    DataSetError, DownloadError, StorageError, ParameterError
        If the source is missing or no such data set, the server fails time and again, nothing can be written, the
        version is unknown, or a finished folder has been changed.
    """
    folder = Path(folder).absolute()
    sources = _sources(version, source)
    part, archive = Path(f"{folder}.part"), Path(f"{folder}.zip{UNFINISHED}")
    with storage(folder), locked(folder):
        if folder.is_dir() and any(folder.iterdir()):
            files = PHYSIONET + FILES.format(version)
            mend = f"rename it to {part.name} and run it again, with --from {files} to fetch only these"
            return check(folder, version, mend)
        part.mkdir(exist_ok=True)
        _bring(sources, part, archive, patience)
        records = _counted(part, version)
        for leftover in [*part.rglob(".*.tmp"), *part.rglob(f"*{UNFINISHED}*")]:
            leftover.unlink(missing_ok=True)
        os.replace(part, folder)
        forget(archive)
    return records


def _counted(part, version):
    try:
        return count_records(part, read_list(part), version, "give the right version, or another address by --from")
    except DataSetError:
        (part / LIST).unlink(missing_ok=True)  # so that it is not taken for good another time
        raise


def _sources(version, source):
    refuse_unknown(version)
    if source is None:
        return [PHYSIONET + ARCHIVE.format(version), PHYSIONET + FILES.format(version)]
    if not re.fullmatch(r"https?://[^/\s]+/(\S*(\.zip|/))?", source):
        raise ParameterError(
            f"the address {source!r} is neither of an archive nor of files: give one that begins with http:// or "
            "https:// and ends in .zip (an archive) or in / (the files are under it)."
        )
    return [source]


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
    for last in (False, True):
        _fetch_archive(address, archive, patience)
        try:
            return _extract(address, archive, part)
        except (DamagedError, *DAMAGES) as error:
            said = str(error).rstrip(".")
            forget(archive)
            if last:
                raise DataSetError(f"{address} is damaged ({said}): try later or another address (--from).") from error
            log.warning("%s is damaged (%s) and is fetched again.", address, said)
        except DataSetError:
            forget(archive)
            raise


def _fetch_archive(address, archive, patience):
    begun = size_of(archive)

    def room(to_come):
        if not bar.total:
            whole = ARCHIVE_BYTES if to_come is None else to_come + size_of(archive)
            _room(archive, whole - size_of(archive) + whole * KEPT_BYTES / ARCHIVE_BYTES, address)

    def progress(here, size):
        bar.total = size
        bar.update(here - bar.n)

    with requests.Session() as session, tqdm(initial=begun, unit="B", unit_scale=True, desc="downloading") as bar:
        fetch(session, address, archive, patience, threading.Event(), 4 * ARCHIVE_BYTES, room, progress)


def _extract(address, archive, part):
    """Extract what is needed and not yet there; each file gets its name when it is verified."""
    with zipfile.ZipFile(archive) as opened:
        members = _members(opened, address)
        _extract_member(opened, members, LIST, part)
        digests = read_list(part)
        if absent := sorted(set(digests) - set(members)):
            raise DamagedError(f"it lacks {len(absent):,} files of its list, the first being {absent[0]}")
        todo = unverified(part, digests)
        _room(part, sum(members[name].file_size for name in todo), address)
        for name in tqdm(todo, unit=" files", desc="unpacking"):
            _extract_member(opened, members, name, part, digests[name])


def _members(opened, address) -> Mapping[str, zipfile.ZipInfo]:
    """The members that are needed, by their names in the data set, whose list is at the top."""
    infos = opened.infolist()
    if strange := [info.filename for info in infos if escapes(info.filename) or stat.S_ISLNK(info.external_attr >> 16)]:
        raise DataSetError(f"{address} holds {strange[0]!r}, which leads out of its folder: do not use this source.")
    lists = (info.filename for info in infos if PurePosixPath(info.filename).name == LIST)
    tops = sorted((name.removesuffix(LIST) for name in lists), key=len)
    if not tops:
        raise DataSetError(f"{address} holds no {LIST}, so it cannot be verified: give another address by --from.")
    inside = {info.filename.removeprefix(tops[0]): info for info in infos if info.filename.startswith(tops[0])}
    members = {name: info for name, info in inside.items() if name == LIST or is_needed(name) and not info.is_dir()}
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in members.values()):
        raise DamagedError("it is packed in a way that zip files seldom are")
    sizes = [info.file_size for info in members.values()]
    if max(sizes) > FILE_LIMIT or sum(sizes) > 4 * KEPT_BYTES:
        raise DataSetError(f"{address} would unpack to {sum(sizes):,} bytes, too many: do not use this source.")
    return members


def _extract_member(opened, members, name, part, digest=None):
    with replacing(part / name) as temporary:
        with opened.open(members[name]) as source, open(temporary, "wb") as target:
            shutil.copyfileobj(source, target)
        if digest and digest_of(temporary) != digest:
            raise DamagedError(f"{name} is not as its {LIST} says")


def _from_files(address, part, patience):
    stop = threading.Event()
    with requests.Session() as session:
        _fetch_file(session, address, part, LIST, patience, stop)
    digests = read_list(part)
    todo = unverified(part, digests)
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
        if digest in (None, digest_of(path)):
            os.replace(path, part / name)
            return forget(path)
        forget(path)
    raise DataSetError(f"{address}{name} is not as its {LIST} says, twice: try later or another address (--from).")
