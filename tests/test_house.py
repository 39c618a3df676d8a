"""The arrows of the house: which part of the package may import which, and no two files each other in a circle."""

import ast
import functools
import shutil
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cardiov"
STUDY = {"data", "training", "experiments", "analysis", "plots", "paper"}
WINGS = STUDY | {"ecg", "scoring", "app", "store"}
COMMANDS = {"", "__init__", "__main__"}  # the command line and the public names lead everywhere
MUST_NOT = {  # part of the package: what it never imports; of the root files each is a part
    **dict.fromkeys(("errors", "ordinal", "kernels"), "cardiov"),
    "store": "cardiov but errors", "ecg": "cardiov but errors",
    "scoring": STUDY,
    "training": {"data", "ecg", "analysis", "plots"},
    "analysis": {"model", "data", "training", "experiments", "plots"},
    "plots": {"analysis", "torch"},
    "data": {"training", "scoring", "analysis"},
}  # fmt: skip


@functools.cache
def imports(text):
    """Every module that a file's text imports, also within functions; of what it imports from a package, its modules."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def arrows(package):
    """{file: the files of the package that it imports}, by dotted name, and what else it imports, as it stands."""
    names = {".".join(path.relative_to(package.parent).with_suffix("").parts): path for path in package.rglob("*.py")}
    return names, {name: imports(path.read_text(encoding="utf-8")) for name, path in names.items()}


def part(name):
    return (name.split(".") + [""])[1] if name.startswith("cardiov") else name.split(".")[0]


def forbidden(package):
    """Each arrow that must not be, in words."""
    names, imported = arrows(package)
    for name, others in imported.items():
        here, ours = part(name), {part(other) for other in others if other in names}
        rule = MUST_NOT.get(here, set())
        if rule in ("cardiov", "cardiov but errors"):
            bad = ours - {here} - ({"errors"} if rule != "cardiov" else set())
        else:
            bad = (ours | {part(other) for other in others}) & rule
        if here not in WINGS | COMMANDS:  # a root file
            bad |= ours & (WINGS - {"store"})
        if here not in COMMANDS | {"paper"}:
            bad |= ours & ({"app", "paper", "__main__"} - {here})
        yield from (f"{name} imports {other}" for other in sorted(bad))


def circle(package):
    names, imported = arrows(package)
    graph = {name: {other for other in others if other in names} for name, others in imported.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]


def test_no_file_imports_what_it_must_not():
    assert list(forbidden(PACKAGE)) == [] and circle(PACKAGE) is None


@pytest.mark.parametrize(("file", "line"), [
    ("model.py", "from cardiov.ecg import leads"), ("ordinal.py", "from cardiov import errors"),
    ("ecg/leads.py", "from cardiov import mapping"), ("store/files.py", "from cardiov.mapping import LEVELS"),
    ("scoring/record.py", "def f():\n    from cardiov.data.ptbxl import VERSIONS"),
    ("training/run.py", "from cardiov.analysis.metrics import metrics"), ("analysis/metrics.py", "import cardiov.model"),
    ("plots/roc.py", "import torch"), ("data/ptbxl.py", "from cardiov.scoring import record"),
    ("experiments/runs.py", "from cardiov.app.sheet import html"), ("errors.py", "import cardiov.mapping"),
])  # fmt: skip
def test_a_planted_arrow_is_found(tmp_path, file, line):
    shutil.copytree(PACKAGE, tmp_path / "cardiov", ignore=shutil.ignore_patterns("pretrained", "__pycache__"))
    with open(tmp_path / "cardiov" / file, "a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")
    assert len(list(forbidden(tmp_path / "cardiov"))) == 1


def test_a_planted_circle_is_found(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "cardiov", ignore=shutil.ignore_patterns("pretrained", "__pycache__"))
    with open(tmp_path / "cardiov/store/files.py", "a", encoding="utf-8") as stream:
        stream.write("\ndef f():\n    from cardiov.store.results import existing\n")
    assert {"cardiov.store.files", "cardiov.store.results"} <= set(circle(tmp_path / "cardiov"))
