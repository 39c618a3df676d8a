"""PTB-XL's own list of SHA-256 digests, and whether the needed files of a folder are as it says."""

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from cardiov.data.ptbxl import TABLE, check_count, check_version, read_metadata
from cardiov.errors import DataSetError
from cardiov.store.files import read_note, write_note

LIST, SIGNALS = "SHA256SUMS.txt", "records500/"
TABLES, EXTRAS = {TABLE, "scp_statements.csv"}, {"LICENSE.txt", "RECORDS"}
LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(.{1,255})")


class DamagedError(DataSetError):
    """Files that are not as they were published."""


def verify(folder, memory=None, version="1.0.3", remedy="copy them again, or leave PTBXL out to download the data set") -> int:
    """Compare a copy of PTB-XL, which is only read, with its list, and return the number of records.

    The JSON file `memory` keeps a verified copy's sizes and times, so that an unchanged copy is not read again. Raises
    DataSetError, which ends with the remedy, if files are missing, damaged or of another version.
    """
    check_version(version)
    folder = Path(folder).absolute()
    digests = {name: digest for name, digest in read_list(folder).items() if name not in EXTRAS or (folder / name).exists()}
    statuses = [(folder / name).stat() if (folder / name).exists() else None for name in digests]
    state = [str(folder), version, digests, [status and (status.st_size, status.st_mtime_ns) for status in statuses]]
    state = hashlib.sha256(repr(state).encode()).hexdigest()
    if memory and (note := read_note(memory)).get("state") == state:
        return note["records"]
    if wrong := wrong_files(folder, digests):
        missing = sum(not (folder / name).exists() for name in wrong)
        raise DamagedError(
            f"{folder} lacks {missing:,} of the {len(digests):,} files that are needed, and {len(wrong) - missing:,} are "
            f"unreadable or not as {LIST} says, the first being {', '.join(wrong[:3])}: {remedy}."
        )
    names = read_metadata(folder)["filename_hr"].astype(str)
    if unlisted := [name for name in names if not {f"{name}.hea", f"{name}.dat"} <= set(digests)]:
        raise DamagedError(f"{folder / LIST} lacks {len(unlisted):,} records of {TABLE}, such as {unlisted[0]}: {remedy}.")
    check_count(folder, len(names), version, remedy)
    if memory:
        write_note(memory, {"state": state, "records": len(names)})
    return len(names)


def read_list(folder: Path) -> dict[str, str]:
    """Read the digest of each needed file, by its name; raise a DataSetError if the list is not PTB-XL's."""
    path = folder / LIST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read ({error}): take the list that comes with PTB-XL.") from error
    matches = [LINE.fullmatch(line) for line in lines if line]
    listed = {match[2]: match[1].lower() for match in matches if match}
    digests = {name: listed[name] for name in listed if name in TABLES | EXTRAS or name.startswith(SIGNALS)}
    if not all(matches) or not TABLES < set(digests) or not any(name.startswith(SIGNALS) for name in digests):
        raise DamagedError(f"{path} is not PTB-XL's list of SHA-256 digests: take the list that comes with PTB-XL.")
    if any(".." in name.split("/") or "\\" in name or "\0" in name for name in digests):
        raise DataSetError(f"{path} names files outside the data set: do not use this source.")
    return digests


def wrong_files(folder: Path, digests: dict[str, str]) -> list[str]:
    """Names of the files that are missing, unreadable or not as listed."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        actual = pool.map(digest_of, [folder / name for name in digests])
        pairs = tqdm(zip(digests.items(), actual, strict=True), total=len(digests), unit=" files", desc="verifying")
        return [name for (name, expected), digest in pairs if digest != expected]


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file; None if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
