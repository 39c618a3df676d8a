"""Files that are whole or not there at all, and what stands in the way of writing them.

Every file is written to a temporary neighbour first and moved into place when it is whole, so an interrupted run never
leaves a half-written table that is taken for a good one.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from cardiov.errors import StorageError

# another root, such as a copy of the committed results, keeps what is there untouched (`make test` does so)
ROOT = Path(os.environ.get("CARDIOV_ROOT") or Path(__file__).resolve().parents[2]).resolve()


# Writing


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write, in the folder of `path`; it is moved there when the block ends without an error.

    Raises
    ------
    StorageError
        As `storing`.
    """
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
    """Say in one sentence what a full device, or a folder that cannot be written, means for a file.

    Raises
    ------
    StorageError
        If what goes wrong in the block comes of either.
    """
    try:
        yield
    except Exception as error:
        folder = next(folder for folder in Path(path).absolute().parents if folder.is_dir())
        if is_full(error, folder):
            raise StorageError(f"no space left to write {shown(path)}: free some space and run the command again.") from error
        if not os.access(folder, os.W_OK):
            raise StorageError(
                f"{shown(path)} cannot be written, for {shown(folder)} is read-only: give permission to write there and run "
                "the command again."
            ) from error
        raise


def check_writable(*folders: Path) -> None:
    """Make folders, and try to write there, before hours are spent.

    Raises
    ------
    StorageError
        As `storing`.
    """
    for folder in folders:
        with storing(folder / "*"):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time make what `path` names; another waits and then finds it made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        yield


def is_full(error, folder):
    """Whether an error comes from a full device; torch and safetensors hide that in errors of their own."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if "No space left on device" in str(error):
        return True
    return folder.is_dir() and shutil.disk_usage(folder).free < 2**20


def shown(path: Path) -> str:
    """A path as messages and notebooks show it: relative to the repository where it lies inside."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
