"""The files that a visitor gives at once: within limits, and sorted into ECGs."""

from pathlib import PurePath

from cardiov.ecg.recording import decode
from cardiov.errors import SignalError

MAX_MIB = 16  # of an upload: an hour of twelve leads at 200 Hz
MAX_FILES = 200


def check_upload(names, contents) -> None:
    """Refuse no files, too many or too large ones, as the browser should have done; raises `SignalError`."""
    mib = sum(memoryview(content).nbytes for content in contents) / 2**20
    if not 0 < len(names) <= MAX_FILES:
        raise SignalError(f"these are {len(names)} files: give 1 to {MAX_FILES}, or score a folder by `cardiov score`.")
    if mib > MAX_MIB:
        raise SignalError(f"the upload has {mib:.1f} MiB: give at most {MAX_MIB} MiB, or cut the record.")


def sort_into_ecgs(files: dict[str, bytes]) -> list[dict[str, bytes]]:
    """The files of each ECG: a WFDB header and then all that it names, directly or by its segments; or any other file alone."""
    headers = [name for name in files if name.lower().endswith(".hea")]
    named = {header: _named(header, files) for header in headers}
    segments = {name for header in headers for name in named[header] if name in named and name != header}
    groups = [{name: files[name] for name in (header, *named[header])} for header in headers if header not in segments]
    taken = {name for group in groups for name in group}
    return groups + [{name: data} for name, data in files.items() if name not in taken]


def _named(header, files):
    """A header and the files that it names, if they are here; a segment's header is named without its suffix."""
    found, waiting = {}, [header]  # a dict for its order
    while waiting:
        name = waiting.pop()
        if name in found or name not in files:
            continue
        found[name] = None
        if PurePath(name).suffix.lower() == ".hea":
            words = [line.split()[0] for line in decode(files[name]).splitlines() if line.strip() and line[0] != "#"]
            waiting += [file for word in words[1:] for file in (word, f"{word}.hea")]
    return found
