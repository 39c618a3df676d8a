"""PTB-XL from PhysioNet, or any address that serves the same, into a folder that appears when every file is verified.

An unfinished download lies in ``<folder>.part`` and ``<folder>.unfinished`` and is resumed. Only needed files are kept.
"""

import logging
import os
import re
import shutil
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from threading import Event
from urllib.parse import quote

from tqdm.auto import tqdm

from cardiov.data.checksums import LIST, DamagedError, read_list, verify, wrong_files
from cardiov.data.http import fetch
from cardiov.data.ptbxl import check_version
from cardiov.errors import DataSetError, DownloadError, ParameterError
from cardiov.store.files import check_room, locked, storing

log = logging.getLogger(__name__)

ARCHIVE = "https://physionet.org/static/published-projects/ptb-xl/ptb-xl-a-large-publicly-available-electrocardiography-dataset-{}.zip"
FILES = "https://physionet.org/files/ptb-xl/{}/"
# approximate bytes of either version: the archive as PhysioNet states it, the needed files, and one of these
ARCHIVE_BYTES, KEPT_BYTES, MEAN_FILE_BYTES = 1.7e9, 2.7e9, 62e3
FILE_LIMIT, CONNECTIONS = 2**27, 4  # bytes (the largest file, the list, has about 8 MB), and files at a time
DAMAGES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, RuntimeError, ValueError)  # of a zip file


def download(folder, version="1.0.3", source=None) -> int:
    """Download PTB-XL, resume that, or check a finished copy; return the number of records.

    `source` is an address that ends in ``.zip`` (the archive) or in ``/`` (the files); by default PhysioNet's archive and,
    if that is refused or damaged, its files. Raises DataSetError (DownloadError if the server fails too often), StorageError
    and ParameterError.
    """
    addresses = _addresses(version, source)
    folder = Path(folder).absolute()
    part, unfinished = Path(f"{folder}.part"), Path(f"{folder}.unfinished")
    with storing(folder), locked(folder):
        if folder.is_dir() and any(folder.iterdir()):
            remedy = f"rename it to {part.name} and run the command again, with --from {FILES.format(version)}"
            records = verify(folder, version=version, remedy=remedy)
        else:
            records = _complete(addresses, part, unfinished, version)
            os.replace(part, folder)
        shutil.rmtree(unfinished, ignore_errors=True)
    return records


def _addresses(version, source):
    check_version(version)
    if source and not re.fullmatch(r"https?://[^/\s]+/(\S*(\.zip|/))?", source):
        remedy = "give one that begins with http:// or https:// and ends in .zip (an archive) or in / (the files are under it)"
        raise ParameterError(f"the address {source!r} is neither of an archive nor of files: {remedy}.")
    return [source] if source else [ARCHIVE.format(version), FILES.format(version)]


def _complete(addresses, part, unfinished, version):
    """Get what `part` lacks from the first address that serves it, and check all; return the number of records."""
    attempts = [address for address in addresses for _ in range(2)]  # the second if the first gets damaged files
    while True:
        address = attempts.pop(0)
        unfinished.mkdir(exist_ok=True)
        try:
            (_from_archive if address.endswith(".zip") else _from_files)(address, part, unfinished)
            return verify(part, version=version, remedy=f"try later, or another address than {address} (--from)")
        except DownloadError:
            raise  # the next address is of the same server, and what is here of this one is worth resuming
        except DataSetError as error:
            shutil.rmtree(unfinished)
            attempts = attempts if isinstance(error, DamagedError) else [other for other in attempts if other != address]
            if not attempts:
                raise
            log.warning("%s Next, %s is tried.", error, attempts[0])


def _from_files(address, part, unfinished):
    def get(name, path, stop):
        for _ in fetch(address + quote(name), path, FILE_LIMIT, stop):
            pass

    _fill(part, unfinished, address, get, CONNECTIONS)


def _from_archive(address, part, unfinished):
    archive = unfinished / "archive.zip"
    with tqdm(unit="B", unit_scale=True, desc="downloading") as bar:
        for offset, size in fetch(address, archive, 4 * ARCHIVE_BYTES, Event()):
            if bar.total is None:
                bar.total = size or ARCHIVE_BYTES
                bar.clear()
                check_room(part.parent, bar.total * (1 + KEPT_BYTES / ARCHIVE_BYTES) - offset, address)
            bar.update(offset - bar.n)
    try:
        with zipfile.ZipFile(archive) as opened:
            lists = [name for name in opened.namelist() if Path(name).name == LIST]
            if not lists:
                raise DataSetError(f"{address} holds no {LIST}, so it cannot be verified: give another address by --from.")
            get = partial(_extract, opened, min(lists, key=len).removesuffix(LIST))
            _fill(part, unfinished, address, get, 1)
    except DAMAGES as error:
        raise DamagedError(f"{address} is damaged ({error}): try later or another address (--from).") from error


def _extract(opened, top, name, path, stop):
    info = opened.getinfo(top + name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.file_size > FILE_LIMIT or info.header_offset < 0:
        raise zipfile.BadZipFile(f"{name} has {info.file_size:,} bytes, too many, or is packed in an unusual way")
    with opened.open(info) as source, open(path, "wb") as target:
        shutil.copyfileobj(source, target)


def _fill(part, unfinished, address, get, connections):
    """Get the list, and all that `part` lacks of it, so many files at a time."""

    def store(name):
        for folder in (unfinished, part):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        get(name, unfinished / name, stop)
        os.replace(unfinished / name, part / name)

    stop = Event()
    store(LIST)
    absent = wrong_files(part, read_list(part))
    check_room(part.parent, len(absent) * MEAN_FILE_BYTES, address)
    with ThreadPoolExecutor(connections) as pool:
        jobs = [pool.submit(store, name) for name in absent]
        try:
            for job in tqdm(as_completed(jobs), total=len(jobs), unit=" files", desc="storing"):
                job.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
