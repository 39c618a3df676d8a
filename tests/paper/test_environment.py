"""The environment: one list of packages, whichever way it is installed."""

import re
import subprocess
import sys
import tomllib
import venv
from importlib import metadata
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement

from cardiov.paper import environment
from cardiov.store.files import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", LOCK, flags=re.MULTILINE))
EXTRAS = PROJECT["optional-dependencies"]
LOCKED = [name for name in EXTRAS if name not in ("cluster", "oracles")]
WANTED = sorted({*PROJECT["dependencies"], *(line for extra in LOCKED for line in EXTRAS[extra])} - {"cardiov[heat]"})


@pytest.mark.parametrize("requirement", WANTED)
def test_the_lock_satisfies_every_dependency(requirement):
    name, relation, version = re.fullmatch(r"([\w-]+)(>=|==)([\d.]+)", requirement).groups()
    numbers = [[int(part) for part in text.split("+")[0].split(".")] for text in (PINNED[name], version)]
    assert numbers[0] == numbers[1] if relation == "==" else numbers[0] >= numbers[1]


def test_scoring_requires_little():
    names = {re.match(r"[\w-]+", line)[0] for line in PROJECT["dependencies"]}
    assert {"numpy", "scipy", "wfdb", "onnxruntime"} <= names and len(names) <= 8 and "torch" not in names


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


# A torch for processors only, which the user installs before the rest


def own_torch(folder, **versions):
    """An environment that has nothing but these versions."""
    for name, version in versions.items():
        about = folder / f"lib/python3.11/site-packages/{name}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def is_cuda(name):
    return f"{name}==".startswith(environment.CUDA)


def test_a_torch_without_cuda_stays_and_gets_the_rest_of_the_lock(tmp_path, pip, monkeypatch):
    monkeypatch.setattr(venv, "create", None)  # which would clear it
    own_torch(tmp_path, **{name: f"{PINNED[name]}+cpu" for name in ("torch", "torchvision")})
    assert environment.main(str(tmp_path)) is None
    assert pip[0][2:] == ["--require-hashes", "-r", str(tmp_path / "requirements.lock")]
    text = (tmp_path / "requirements.lock").read_text()
    rest = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, flags=re.MULTILINE))
    assert rest == {name: version for name, version in PINNED.items() if not is_cuda(name)} and len(rest) < len(PINNED)
    assert all("--hash=sha256:" in package for package in re.split(r"\n(?=\w)", text))
    assert set(text.splitlines()) <= set(LOCK.splitlines())


@pytest.mark.parametrize(
    ("torch", "torchvision"),
    [("1.0+cpu", "{torchvision}+cpu"), ("{torch}+cpu", None), ("{torch}+cpu", "{torchvision}"), ("{torch}+cpu", "{torchvision}+cu1")],
)
def test_a_torch_that_does_not_fit_the_lock_is_a_sentence(tmp_path, pip, torch, torchvision):
    versions = {"torch": torch, "torchvision": torchvision}
    own_torch(tmp_path, **{name: version.format(**PINNED) for name, version in versions.items() if version})
    sentence = environment.main(str(tmp_path))
    assert f"requirements.lock wants torch {PINNED['torch']}+cpu and torchvision {PINNED['torchvision']}+cpu: install" in sentence
    assert not pip and any(tmp_path.glob("lib/*/*/torch-*"))


def test_only_torch_needs_the_packages_of_cuda():
    """Of what is installed here: nothing else requires them, and what torch requires on Linux alone are they."""
    for name in PINNED.keys() - {"torch"}:
        if not is_cuda(name) and (found := next(iter(metadata.distributions(name=name)), None)):
            assert not [line for line in found.requires or [] if is_cuda(Requirement(line).name) and "extra" not in line]
    of_torch = map(Requirement, metadata.requires("torch"))
    on_linux = [needed.name for needed in of_torch if needed.marker and "Linux" in str(needed.marker)]
    assert all(map(is_cuda, on_linux))


def test_the_readme_names_the_locks_torch():
    command = f"torch=={PINNED['torch']} torchvision=={PINNED['torchvision']} --index-url"
    assert command in (ROOT / "README.md").read_text()
