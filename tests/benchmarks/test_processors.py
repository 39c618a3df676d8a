"""Both commands of the README as on other processors: a clone runs them beside a process that keeps one core busy.

oneDNN and torch are held to older instructions. `make paper` and pytest give each process one thread themselves; the notebooks take
as many as they are told, so nbval runs with two threads, within `make test`, and once more with one.
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from cardiov.store.files import ROOT, read_note, write_note
from cardiov.store.provenance import git, processor

pytestmark = pytest.mark.slow
PROCESSORS = {
    "without AVX": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "with AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "as it is": {},
}
PAPER = ["make", "paper"]
COMMANDS = {  # number of threads, command
    "make paper": ("2", PAPER),
    "make paper STEPS=exact": ("2", [*PAPER, "STEPS=exact"]),
    "make test": ("2", ["make", "test"]),
    "nbval": ("1", [".venv/bin/python", "-m", "pytest", "--nbval", "--nbval-current-env", "notebooks"]),
}


@pytest.fixture
def clone(tmp_path):
    """What is committed, with this environment for its own."""
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    python = tmp_path / "clone/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "clone/.venv/.cardiov-ready").touch()
    return tmp_path / "clone"


@contextmanager
def busy():
    """Another process, which never waits."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def run(clone, name, processor_settings):
    """Run a command; its exit status, seconds, and how many files under version control it has changed."""
    threads, command = COMMANDS[name]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "CARDIOV", "PYTEST"))}
    environment |= {"PYTHONPATH": str(clone), "OMP_NUM_THREADS": threads} | processor_settings
    start = time.monotonic()
    with open(clone.parent / "log.txt", "w") as log:
        status = subprocess.run(command, cwd=clone, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode
    seconds = round(time.monotonic() - start)
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True).stdout.splitlines()
    return {"threads": threads, "status": status, "seconds": seconds, "changed_files": len(changed)}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", PROCESSORS)
def test_a_command_passes_beside_a_busy_process(clone, name, command):
    commit = git("rev-parse", "--short", "HEAD")
    with busy():
        ended = run(clone, command, PROCESSORS[name]) | {"commit": commit}
    path = ROOT / f"results/scale/processors/{name.replace(' ', '-')}.json"
    known = read_note(path).get("commands", {}) | {command: ended}
    about = {"settings": PROCESSORS[name], "processor": processor(), "cores": os.cpu_count()}
    write_note(path, about | {"commands": {command: known[command] for command in COMMANDS if command in known}})
    assert not ended["status"] and not ended["changed_files"]
