"""One make at a time on a data set, and what must be made again because something changed that make does not see.

A step's mark in ``build/<data set>/done`` lists the files that the step has made; make compares the mark's age with its
sources. Here marks are deleted whose files are gone, that were made of another folder or by other parameters, or before a
record was last changed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from cardiov.errors import ParameterError
from cardiov.store.files import read_note, write_note

OF_LUDB = ("heat", "external")  # steps that read it


def run_alone(build, settings: str, ludb: str, command: list[str]) -> int:
    """Run make's command when no other make works on the data set; its exit status.

    The build folder, such as ``build/demo``, has the data set as its second part; the settings are the folders of data and
    parameters.
    """
    if len(Path(build).parts) < 2 or not command:
        raise ParameterError("the build folder has the data set as its second part, and a command follows: give build/demo and make.")
    name = Path(build).parts[1]
    lock = FileLock(f"build/{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"Another make is at work on {name}: this one waits until it has ended.", file=sys.stderr, flush=True)
        lock.acquire()
    with lock:
        # those whom a killed make has left running still hold the lock
        os.set_inheritable(lock._context.lock_file_fd, True)
        delete_leftovers(name)
        delete_outdated(Path(build), settings, ludb)
        return subprocess.run(command, close_fds=False).returncode


def delete_leftovers(name: str) -> None:
    """Delete what killed runs have left half written."""
    for folder in ("build", "results", "figures"):
        for path in [*Path(folder, name).rglob(".*.tmp"), *Path(folder, name).rglob("*.part")]:
            path.unlink()


def delete_outdated(build: Path, settings: str, ludb: str) -> None:
    """Delete the marks of steps that must be repeated."""
    done, remembered = build / "done", build / "done" / "settings.json"
    before = read_note(remembered)
    now = {"settings": settings, "ludb": ludb or before.get("ludb", "")}
    if before.get("settings", settings) != settings:
        shutil.rmtree(done)
    for mark in set(done.glob("*")) - {remembered}:
        incomplete = not all(Path(name).exists() for name in mark.read_text().splitlines())
        older = mark.name == "prepare" and _newest(settings.split()[0]) > mark.stat().st_mtime_ns
        if incomplete or older or mark.name in OF_LUDB and before.get("ludb") != now["ludb"]:
            mark.unlink()
    if now != before:
        write_note(remembered, now)


def _newest(folder):
    """Time of the last change in a folder, in ns; 0 if it is gone, and make makes it again."""
    return max((path.stat().st_mtime_ns for path in (Path(folder), *Path(folder).rglob("*")) if path.exists()), default=0)
