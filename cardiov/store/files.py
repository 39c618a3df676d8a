"""Files that are whole or not there at all, and what stands in the way of writing them."""

import errno
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cardiov.errors import CardioVError, StorageError

# another root, such as a copy of the committed results, keeps what is there untouched (`make test` does so)
ROOT = Path(os.environ.get("CARDIOV_ROOT") or Path(__file__).resolve().parents[2]).resolve()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write, moved to `path` when the block ends without an error; errors as in `storing`."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            if temporary.exists():  # where nothing can be written, nothing can be unlinked either
                temporary.unlink()


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn errors of the block that come from a full device or an unwritable folder into a StorageError about `path`."""
    try:
        yield
    except CardioVError:
        raise
    except Exception as error:
        folder = next(parent for parent in Path(path).absolute().parents if parent.exists())
        if not folder.is_dir():
            raise StorageError(f"{shown(path)} cannot be written, for {shown(folder)} is a file: give another folder.") from error
        if is_full(error, folder):
            raise no_space(path) from error
        if not os.access(folder, os.W_OK):
            raise StorageError(
                f"{shown(path)} cannot be written, for {shown(folder)} is read-only: give permission to write there and run "
                "the command again."
            ) from error
        raise


def is_full(error: Exception, folder: Path) -> bool:
    """Whether the folder's device is full; torch and safetensors hide that in errors of their own."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "No space left on device" in str(error) or shutil.disk_usage(folder).free < 2**20


def no_space(path: Path) -> StorageError:
    return StorageError(f"no space left to write {shown(path)}: free some space and run the command again.")


def check_room(folder: Path, needed: float, purpose: str) -> None:
    """Print how many bytes are needed and free in a folder; raise a StorageError if fewer are free."""
    free = shutil.disk_usage(folder).free
    both = f"{purpose} needs about {_amount(needed)} in {shown(folder)}, where {_amount(free)} are free"
    if needed > free:
        raise StorageError(f"{both}: free some space, or give another folder.")
    print(f"{both}.", file=sys.stderr)


def _amount(size):
    return f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def check_writable(*folders: Path) -> None:
    """Make folders, and try to write there, before hours are spent; errors as in `storing`."""
    for folder in folders:
        with storing(folder / "*"):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()


def write_text(path: Path, text: str) -> Path:
    """Write a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a file's name in it need not be UTF-8
    return Path(path)


def write_note(path: Path, content: dict) -> None:
    """Write a JSON object, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_note(path: Path) -> dict:
    """Read what `write_note` wrote; an empty dict if that is missing or damaged."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@contextmanager
def locked(path: Path, wait=True) -> Iterator[None]:
    """Let one process at a time make what `path` names; another waits and then finds it made, or gets a StorageError at once."""
    path = Path(os.path.realpath(path))  # which also ends in a circle of links
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock", timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout as error:
        raise StorageError(f"another process writes {shown(path)}: wait until it has ended, or give another file.") from error
    try:
        yield
    finally:
        if not wait:  # who waits would find another lock
            with suppress(OSError):  # Windows removes no open file
                os.unlink(lock.lock_file)
        lock.release()


def check_place(path: Path) -> None:
    """Refuse a file that cannot be written, before work is spent on its content; raises `StorageError`."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise StorageError(f"{shown(path)} is no file: give the name of a file.")
        if not path.parent.is_dir():
            raise StorageError(f"{shown(path)} cannot be written, for there is no folder {shown(path.parent)}: make it first.")
        tempfile.TemporaryFile(dir=path.parent).close()
        if path.exists() or path.is_symlink():
            path.open("ab").close()
    except OSError as error:
        raise StorageError(f"{shown(path)} cannot be written ({error.strerror}): give another place.") from error


def printable(text) -> str:
    """A name or message as UTF-8 can hold it, on one line: other bytes and control characters escaped, such as ``a\\xe9.csv``."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", str(text))


def shown(path: Path) -> str:
    """A path as messages and notebooks show it: relative to the repository where it lies inside."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
