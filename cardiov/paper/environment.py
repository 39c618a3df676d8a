"""Make the environment: ``python environment.py .venv`` installs exactly what requirements.lock lists, and this package.

It needs nothing but Python. An environment that was left half made is made again, but one of conda, or one with a torch from
elsewhere than PyPI, is filled and never cleared. Such a torch has a version such as 2.15.0+cpu; it and its torchvision stay,
and the packages of CUDA are left out.
"""

import re
import subprocess
import sys
import venv
from importlib.metadata import distributions
from pathlib import Path

OLDEST = (3, 11)
LOCK = Path("requirements.lock")
PAIR = "torch", "torchvision"  # must be of one build
CUDA = "cuda-", "nvidia-", "triton="  # what only PyPI's torch for Linux needs


def make_environment(folder: Path) -> None:
    """Make or update the environment in a folder, with the Python that runs this."""
    ready = folder / ".cardiov-ready"  # stands for a whole environment
    own = _own_pair(folder)
    if not (ready.exists() or own or (folder / "conda-meta").is_dir()):
        venv.create(folder, clear=True, with_pip=True)
    ready.unlink(missing_ok=True)
    _pip(folder, "--require-hashes", "-r", _without_cuda(folder) if own else LOCK)
    _pip(folder, "--no-deps", "--no-build-isolation", "-e", ".")
    ready.touch()


def _own_pair(folder):
    """Versions of torch and torchvision in the environment, if torch is not PyPI's build."""
    places = map(str, folder.glob("lib/python*/site-packages"))
    versions = {found.name: found.version for found in distributions(path=list(places)) if found.name in PAIR}
    return versions if "+" in versions.get("torch", "") else None


def _unlike_the_lock(folder):
    """The sentence to end with if the environment has a torch of its own of another version, or no torchvision of its build."""
    own, locked = _own_pair(folder), dict(re.findall(r"^(torch|torchvision)==(\S+)", LOCK.read_text(), re.MULTILINE))
    if own is None:
        return None
    build = own["torch"].partition("+")[2]
    wanted = {name: f"{locked[name]}+{build}" for name in PAIR}
    if own == wanted:
        return None
    has, wants = (" and ".join(f"{name} {pair.get(name, '(none)')}" for name in PAIR) for pair in (own, wanted))
    return f"{folder} has {has}, and {LOCK} wants {wants}: install these, as the README says, into a new environment."


def _without_cuda(folder):
    """A copy of the lock in the environment, without CUDA's packages."""
    packages = re.split(r"^(?=[\w#])", LOCK.read_text(), flags=re.MULTILINE)  # each with its hashes
    copy = folder / LOCK.name
    copy.write_text("".join(package for package in packages if not package.startswith(CUDA)))
    return copy


def _pip(folder, *arguments):
    command = ["-m", "pip", "install", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run([folder / "bin/python", *command], check=True)


def main(folder: str) -> str | int | None:
    """Make the environment; what it returns is the exit status, or the sentence to end with."""
    if sys.version_info < OLDEST:
        return f"Python 3.11 or newer is needed, and this is {sys.version.split()[0]}: give make PYTHON=<newer python>."
    if sentence := _unlike_the_lock(Path(folder)):
        return sentence
    try:
        return make_environment(Path(folder))
    except subprocess.CalledProcessError as error:
        return error.returncode  # pip has said why


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
