"""The environment: one list of packages, whichever way it is installed."""

import re
import subprocess
import sys
import tomllib
import venv
from types import SimpleNamespace

import pytest
import yaml

from cardiov.paper import environment
from cardiov.store.files import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", LOCK, flags=re.MULTILINE))
WANTED = [*PROJECT["dependencies"], *(name for extra in ("app", "formats", "test") for name in PROJECT["optional-dependencies"][extra])]


@pytest.mark.parametrize("requirement", WANTED)
def test_the_lock_satisfies_every_dependency(requirement):
    name, relation, version = re.fullmatch(r"([\w-]+)(>=|==)([\d.]+)", requirement).groups()
    numbers = [[int(part) for part in text.split("+")[0].split(".")] for text in (PINNED[name], version)]
    assert numbers[0] == numbers[1] if relation == "==" else numbers[0] >= numbers[1]


def test_the_lock_has_a_hash_for_every_package_and_no_address():
    packages = re.split(r"\n(?=[\w-])", re.sub(r"^\s*#.*\n", "", LOCK, flags=re.MULTILINE).strip())
    assert len(packages) >= len(PINNED) and all("--hash=sha256:" in package for package in packages)
    assert "://" not in LOCK and "-index" not in LOCK


def test_conda_users_get_the_same_packages():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock"]
    (python,) = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert [int(part) for part in python.removeprefix("python=").split(".")] >= [int(part) for part in oldest.split(".")]
    assert sys.version_info >= tuple(int(part) for part in oldest.split("."))


@pytest.fixture
def pip(monkeypatch):
    """pip's calls, none of which installs anything; a file "fails" in the environment makes them fail."""
    calls = []

    def run(command, check):
        calls.append(command[3:])
        if (command[0].parents[1] / "fails").exists():
            raise subprocess.CalledProcessError(7, command)

    fake = SimpleNamespace(run=run, CalledProcessError=subprocess.CalledProcessError)
    monkeypatch.setattr(environment, "subprocess", fake)  # venv has the real one
    return calls


def test_an_environment_has_exactly_the_lock_and_this_package(tmp_path, pip):
    assert environment.main(str(tmp_path / "new")) is None
    assert [call[:1] + call[2:] for call in pip] == [["install", "--require-hashes", "-r", "requirements.lock"],
                                                     ["install", "--no-deps", "--no-build-isolation", "-e", "."]]  # fmt: skip
    assert (tmp_path / "new/bin/python").exists() and (tmp_path / "new/.cardiov-ready").exists()


@pytest.mark.parametrize(("file", "cleared"), [(".cardiov-ready", False), ("conda-meta/history", False), ("half-made", True)])
def test_only_what_was_left_half_made_is_made_again(tmp_path, pip, monkeypatch, file, cleared):
    created = []
    monkeypatch.setattr(venv, "create", lambda folder, clear, with_pip: created.append(clear and with_pip))
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert environment.main(str(tmp_path)) is None
    assert created == [True] * cleared and len(pip) == 2


def test_a_failed_installation_is_not_taken_for_whole(tmp_path, pip):
    (tmp_path / ".cardiov-ready").touch()
    (tmp_path / "fails").touch()
    assert environment.main(str(tmp_path)) == 7
    assert not (tmp_path / ".cardiov-ready").exists()


def test_an_old_python_is_refused(tmp_path, pip, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    assert "Python 3.11 or newer is needed" in environment.main(str(tmp_path / "new"))
    assert not pip and not (tmp_path / "new").exists()
