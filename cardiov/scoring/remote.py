"""ECGs in an object store, by addresses such as ``s3://bucket/ecgs/1.hea``: listed, and copied to be read."""

from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlsplit

from cardiov.ecg.leads import ECG, read_ecg
from cardiov.errors import ParameterError, SignalError


def is_address(path) -> bool:
    return "://" in str(path)


def list_address(address) -> list[str]:
    """Addresses of all files below a folder, by name; of a file, its own. Errors as `read_address`."""
    arrow, store, path = _resolve(address)
    with _fetching(address):
        if store.get_file_info(path).type != arrow.FileType.Directory:
            return [address]
        below = store.get_file_info(arrow.FileSelector(path, recursive=True))
    base = urlsplit(address)
    names = sorted(info.path[len(path.rstrip("/")) :] for info in below if info.is_file)
    return [base._replace(path=base.path.rstrip("/") + quote(name)).geturl() for name in names]


def read_address(address, **reading) -> ECG:
    """`cardiov.read_ecg` of a temporary copy of a file in an object store, and of the signal files that a WFDB header names.

    Raises
    ------
    SignalError
        If a file cannot be fetched or read.
    ParameterError
        If pyarrow is not installed, or the kind of address is unknown.
    """
    arrow, store, path = _resolve(address)
    source = PurePosixPath(path)
    with TemporaryDirectory() as folder:
        copy = Path(folder, source.name)
        with _fetching(address):
            arrow.copy_files(path, str(copy), source_filesystem=store)
            for name in _signal_files(copy) if copy.suffix.lower() == ".hea" else ():
                arrow.copy_files(str(source.with_name(name)), str(copy.with_name(name)), source_filesystem=store)
        try:
            return read_ecg(copy, **reading)
        except SignalError as error:
            raise SignalError(f"{address}: {str(error).replace(f'{folder}/', '')}") from error


def _signal_files(header):
    """Names of the signal files in a WFDB header, without names that lead out of its folder."""
    lines = [line.split() for line in header.read_text(encoding="latin-1").splitlines() if line.strip() and line[0] != "#"]
    return {name for name, *_ in lines[1:] if PurePosixPath(name).name == name and name not in ("..", "~", header.name)}


@contextmanager
def _fetching(address):
    try:
        yield
    except OSError as error:
        raise SignalError(f"{address} cannot be fetched ({first_line(error)}): check the address and your access to it.") from error


def first_line(error) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")


def _resolve(address):
    """pyarrow.fs, the file system of an address, and the path in it."""
    arrow = import_pyarrow(address).fs
    try:
        return arrow, *arrow.FileSystem.from_uri(address)
    except (ValueError, OSError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise ParameterError(f"{address} is no known kind of address ({error}): give s3://, gs://, abfs://, hdfs:// or file://.") from error


def import_pyarrow(reason):
    """pyarrow with its parts; ParameterError if it is not installed."""
    try:
        import pyarrow.csv
        import pyarrow.fs
        import pyarrow.parquet
    except ImportError as error:
        raise ParameterError(f'{reason} needs pyarrow, which is not installed: pip install "cardiov[cluster]".') from error
    return pyarrow
