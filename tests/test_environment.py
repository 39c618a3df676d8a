"""The environment: one list of packages, whichever way it is installed."""

import re
import sys
import tomllib

import pytest
import yaml

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
