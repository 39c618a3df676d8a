"""Make the environment: ``python environment.py .venv`` installs exactly what requirements.lock lists, and this package.

It needs nothing but Python. A conda environment is filled and never cleared; one that was left half made is made again.
"""

import subprocess
import sys
import venv
from pathlib import Path

OLDEST = (3, 11)


def make_environment(folder: Path) -> None:
    """Make or update the environment in a folder, with the Python that runs this."""
    ready = folder / ".cardiov-ready"  # stands for a whole environment
    if not ready.exists() and not (folder / "conda-meta").is_dir():
        venv.create(folder, clear=True, with_pip=True)
    ready.unlink(missing_ok=True)
    _pip(folder, "--require-hashes", "-r", "requirements.lock")
    _pip(folder, "--no-deps", "--no-build-isolation", "-e", ".")
    ready.touch()


def _pip(folder, *arguments):
    subprocess.run([folder / "bin/python", "-m", "pip", "install", "--disable-pip-version-check", *arguments], check=True)


def main(folder: str) -> str | int | None:
    """Make the environment; what it returns is the exit status, or the sentence to end with."""
    if sys.version_info < OLDEST:
        return f"Python 3.11 or newer is needed, and this is {sys.version.split()[0]}: give make PYTHON=<newer python>."
    try:
        return make_environment(Path(folder))
    except subprocess.CalledProcessError as error:
        return error.returncode  # pip has said why


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
