"""PTB-XL's own list of SHA-256 digests, and whether a folder is as it says.

Of the data set only this is needed, and only this is looked at: the two tables, the 500 Hz records, the licence and the
list of records.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from cardiov.data.ptbxl import TABLE, VERSIONS, read_metadata
from cardiov.errors import DataSetError, ParameterError, StorageError
from cardiov.store.files import is_full, replacing

log = logging.getLogger(__name__)

LIST = "SHA256SUMS.txt"
TABLES = (TABLE, "scp_statements.csv")
EXTRAS = ("LICENSE.txt", "RECORDS")
SIGNALS = "records500/"
LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(.{1,255})")


class DamagedError(DataSetError):
    """What is here is not what was published."""


def verify(folder, memory, version="1.0.3") -> int:
    """Check a copy of PTB-XL that is on disk already, once: it is only read.

    Parameters
    ----------
    folder : str or Path
        The copy; files beside those that are needed are ignored.
    memory : str or Path
        JSON file elsewhere that remembers the files' sizes and times, so that an unchanged copy is not read again.
    version : str
        A key of `cardiov.data.ptbxl.VERSIONS`.

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
    refuse_unknown(version)
    key = _key(folder, version)
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["key"] == key:
            return known["records"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    records = check(folder, version, "copy them again, or leave PTBXL out to download the data set")
    with storage(memory), replacing(memory) as temporary:
        temporary.write_text(json.dumps({"key": key, "records": records}) + "\n", encoding="utf-8")
    return records


def check(folder: Path, version: str, remedy: str) -> int:
    """Compare all files that are needed with the data set's digests; the number of records.

    Raises
    ------
    DataSetError
        If one is missing or damaged or the folder holds another version; `remedy` says how that is mended.
    """
    digests = read_list(folder)
    digests = {name: digest for name, digest in digests.items() if name not in EXTRAS or (folder / name).exists()}
    if bad := unverified(folder, digests):
        missing = sum(not (folder / name).exists() for name in bad)
        raise DataSetError(
            f"{folder} lacks {missing:,} of the {len(digests):,} files that are needed, and {len(bad) - missing:,} are "
            f"not as {LIST} says, the first being {', '.join(bad[:3])}: {remedy}."
        )
    return count_records(folder, digests, version, remedy)


def refuse_unknown(version: str) -> None:
    """Raise a ParameterError for a version of PTB-XL that is not known."""
    if version not in VERSIONS:
        raise ParameterError(f"the version is {version!r}: give {' or '.join(sorted(VERSIONS, reverse=True))}.")


def read_list(folder: Path) -> dict[str, str]:
    """SHA-256 digest of each file that is needed, by its name, from the data set's list.

    Raises
    ------
    DataSetError
        If there is no list, it is none of PTB-XL, or it names files outside the folder.
    """
    path = folder / LIST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataSetError(f"{path} cannot be read ({error}): it comes with PTB-XL and is needed to check it.") from error
    matches = [LINE.fullmatch(line) for line in lines if line]
    digests = {match[2]: match[1].lower() for match in matches if match and is_needed(match[2])}
    if not all(matches) or not {*TABLES} < set(digests) or not any(name.startswith(SIGNALS) for name in digests):
        raise DamagedError(f"{path} is not PTB-XL's list of SHA-256 digests: take the data set's own.")
    if any(map(escapes, digests)):
        raise DataSetError(f"{path} names files outside the data set: do not use this source.")
    return digests


def is_needed(name: str) -> bool:
    """Whether a file of the data set is one of those that are kept."""
    return name in (*TABLES, *EXTRAS) or name.startswith(SIGNALS)


def escapes(name: str) -> bool:
    """Whether a name leads out of the folder that it is given in, on any system."""
    return PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file; None if there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataSetError(f"{path} cannot be read ({error.strerror}): permit it, or restore the file.") from error


def unverified(folder: Path, digests: Mapping[str, str]) -> list[str]:
    """Names of the files that are missing or not as the list says."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda name: digest_of(folder / name), digests)
        bar = tqdm(found, total=len(digests), unit=" files", desc="verifying")
        return [name for name, digest in zip(digests, bar, strict=True) if digest != digests[name]]


def count_records(folder: Path, digests: Mapping[str, str], version: str, remedy: str) -> int:
    """Number of records; one that no version has, such as a mirror's sample, is only warned of.

    Raises
    ------
    DataSetError
        If a record is not on the list, or they are as many as another version has.
    """
    names = read_metadata(folder)["filename_hr"].astype(str)
    unlisted = [name for name in names if not {f"{name}.hea", f"{name}.dat"} <= set(digests)]
    if unlisted:
        lacking = f"{len(unlisted):,} records of {TABLE}, such as {unlisted[0]}"
        raise DamagedError(f"{folder / LIST} lacks {lacking}: {remedy}.")
    versions = {holds.records: name for name, holds in VERSIONS.items()}
    other = versions.get(len(names))
    if other not in (None, version):
        raise DataSetError(f"{folder} has the {len(names):,} records of version {other}, not of {version}: {remedy}.")
    if other is None:
        published = VERSIONS[version].records
        log.warning("%s has %d records, where PTB-XL %s has %d.", folder, len(names), version, published)
    return len(names)


def _key(folder, version):
    """Changes with the list and with the size or time of a file that is needed."""
    digests = read_list(folder)
    seen = [str(folder), version, sorted(digests.items())]
    for name in digests:
        status = (folder / name).stat() if (folder / name).exists() else None
        seen.append(status and (status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(seen).encode()).hexdigest()


@contextmanager
def storage(folder: Path):
    """Say in one sentence what a failing file system means."""
    try:
        yield
    except OSError as error:
        mend = "free some space" if is_full(error, folder.parent) else "give a folder that can be written"
        said = error.strerror or error
        raise StorageError(f"{folder} cannot be written ({said}): {mend}, and run it again.") from error
