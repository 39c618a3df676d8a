"""One make at a time on a data set, and what must be made again because something changed that make does not see.

A step's mark in ``build/<data set>/done`` lists the files that the step has made; make compares the mark's age with its
sources. Here marks are deleted whose files are gone, that were made of another folder or by other parameters, or before a
record was last changed.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout

OF_LUDB = ("heat", "external")  # steps that read it


def run_alone(build, settings: str, ludb: str, command: list[str]) -> int:
    """Run make's command when no other make works on the data set; its exit status.

    Parameters
    ----------
    build : path
        Such as ``build/demo``; the data set is its second part.
    settings : str
        Folders of data and parameters.
    ludb : str
        Folder of LUDB, or nothing.
    command : list of str
    """
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
    before = json.loads(remembered.read_text()) if remembered.exists() else {}
    now = {"settings": settings, "ludb": ludb or before.get("ludb", "")}
    if before.get("settings", settings) != settings:
        shutil.rmtree(done)
    if before.get("ludb") != now["ludb"]:
        _delete(done / step for step in OF_LUDB)
    _delete(mark for mark in done.glob("*") if mark != remembered and _is_incomplete(mark))
    _delete(mark for mark in [done / "prepare"] if mark.exists() and _newest(settings.split()[0]) > mark.stat().st_mtime_ns)
    done.mkdir(parents=True, exist_ok=True)
    if now != before:
        remembered.write_text(json.dumps(now))


def _delete(marks):
    for mark in marks:
        mark.unlink(missing_ok=True)


def _is_incomplete(mark):
    return not all(Path(name).exists() for name in mark.read_text().splitlines())


def _newest(folder):
    """Time of the last change in a folder, in ns."""
    return max(
        os.stat(os.path.join(parent, name)).st_mtime_ns
        for parent, _, files in os.walk(folder) for name in (".", *files)
    )  # fmt: skip
