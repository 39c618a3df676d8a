"""The Makefile's graph: the real rules are run in a stand-in tree, where a stub of the package only notes its steps."""

import ast
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")

STUB = """#!/bin/sh
# stands for every python here: notes the step and leaves the files that the real one would leave
echo "$@" >> log
case "$1 $2 $3" in
  "-m cardiov notebook") case "$*" in *"$FAIL_AT"*) exit 1;; esac ;;
esac
case "$1" in -c) exec python3 -c "$VERSION$2" ;; esac
case "$2 $3" in
  "venv --clear") rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
  "cardiov demo") mkdir -p "$4"; touch "$4/ptbxl_database.csv" "$4/SIMULATED.txt" ;;
  "cardiov prepare") mkdir -p "$5"; touch "$5/cache.json" ;;
  "cardiov notebook") mkdir -p "${5%/*}"; touch "$5"
    case "$4" in *03_training*) mkdir -p "results/$8/runs/${11}-0"; touch "results/$8/runs/${11}-0/predictions.csv";;
      *10_search*) mkdir -p "results/$8/runs/search"; touch "results/$8/search.csv" "results/$8/runs/search/provenance.json";; esac ;;
  "cardiov stress") mkdir -p "$6"; touch "$6/stress.csv" ;;
  "cardiov explain") mkdir -p "$6"; touch "$6/heat_sanity.csv" ;;
  "cardiov report") touch "results/$4/report.html" ;;
esac
"""
TRAININGS = {f"03_training-{objective}-0" for objective in ("ordinal", "classification", "regression")}
AFTER_06 = {"99_published", "report", "compare"}
AFTER_RECORDS = {"05_subgroups", "07_agreement", "08_cases", "09_gradcam"} | AFTER_06
AFTER_TRAINING = {"stress", "explain", "04_roc", "06_ablation"} | AFTER_RECORDS
AFTER_CACHE = {"prepare", "01_dataset", "10_search"} | TRAININGS | AFTER_TRAINING
ALL = {"demo", "02_network"} | AFTER_CACHE


@pytest.fixture
def tree(tmp_path):
    """The repository's files, empty where only their age counts, with stubs for the interpreter and the environment."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for pattern in ("cardiov/*.*", "notebooks/*.ipynb", "notebooks/params/*/*.yaml", "results/*.csv", "*.lock", "*.toml"):
        for path in ROOT.glob(pattern):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
            os.utime(copy, (1e9, 1e9))
    stub = tmp_path / "python-stub"
    stub.write_text(STUB)
    stub.chmod(0o755)
    return tmp_path


def make(tree, *arguments, **variables):
    """Run make; return the steps it took, in order, and its whole result."""
    (tree / "log").unlink(missing_ok=True)
    environment = {"PATH": os.environ["PATH"], "FAIL_AT": "nowhere", **variables}
    done = subprocess.run(
        [MAKE, "PYTHON=./python-stub", *arguments], cwd=tree, env=environment, capture_output=True, text=True
    )
    log = (tree / "log").read_text().splitlines() if (tree / "log").exists() else []
    return [_step(line.split()) for line in log if line.startswith("-m cardiov")], done


def _step(words):
    return Path(words[4]).stem if words[2] == "notebook" else words[2]


def touch(path):
    time.sleep(0.02)  # a file system's clock ticks every few milliseconds
    path.touch()


def steps_after_touching(tree, name):
    assert make(tree, "paper")[1].returncode == 0
    touch(tree / name)
    steps, done = make(tree, "paper")
    assert done.returncode == 0, done.stderr
    assert len(steps) == len(set(steps))
    return set(steps)


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_step_runs_once_and_after_what_it_needs(tree, jobs):
    steps, done = make(tree, f"-j{jobs}", "paper")
    assert done.returncode == 0, done.stderr
    assert sorted(steps) == sorted(ALL)
    at = {step: i for i, step in enumerate(steps)}
    assert at["demo"] < at["prepare"] < min(at[run] for run in TRAININGS | {"01_dataset"})
    assert at["03_training-ordinal-0"] < at["04_roc"] < at["99_published"]
    assert max(at[run] for run in TRAININGS) < at["06_ablation"] < at["99_published"]
    assert at["03_training-ordinal-0"] < at["stress"] < at["08_cases"]
    assert at["03_training-ordinal-0"] < at["explain"] < at["09_gradcam"]
    assert at["01_dataset"] < min(at[name] for name in ("05_subgroups", "07_agreement", "08_cases", "09_gradcam"))
    assert steps[-3:] == ["99_published", "report", "compare"]


def test_nothing_runs_when_nothing_changed(tree):
    make(tree, "paper")
    steps, done = make(tree, "paper")
    assert steps == []
    assert "Nothing to be done" in done.stdout


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("notebooks/02_network.ipynb", {"02_network"} | AFTER_06),
        ("notebooks/04_roc.ipynb", {"04_roc"} | AFTER_06),
        ("notebooks/03_training.ipynb", TRAININGS | AFTER_TRAINING),
        ("notebooks/01_dataset.ipynb", {"01_dataset"} | AFTER_RECORDS),
        ("notebooks/params/demo/analysis.yaml", {"04_roc", "06_ablation"} | AFTER_RECORDS),
        ("notebooks/params/demo/search.yaml", {"10_search"} | AFTER_06),
        ("cardiov/stress.py", {"stress", "08_cases"} | AFTER_06),
        ("cardiov/explain.py", {"explain", "09_gradcam"} | AFTER_06),
        ("cardiov/search.py", {"10_search"} | AFTER_06),
        ("notebooks/params/demo/training.yaml", {"prepare"} | AFTER_CACHE),
        ("notebooks/params/paper/training.yaml", set()),
        ("cardiov/synthetic.py", ALL - {"02_network"}),
        ("cardiov/signals.py", ALL),
        ("cardiov/training.py", {"10_search"} | TRAININGS | AFTER_TRAINING),
        ("cardiov/model.py", {"02_network", "10_search"} | TRAININGS | AFTER_TRAINING),
        ("cardiov/comparison.py", AFTER_06),
        ("cardiov/report.html", {"report", "compare"}),
        ("cardiov/errors.py", set()),
        ("results/published.csv", {"07_agreement"} | AFTER_06),
        ("results/tolerances.csv", AFTER_06),
        ("requirements.lock", ALL - {"demo"}),
        ("data/demo/ptbxl_database.csv", AFTER_CACHE),
        ("data/demo/new-record.dat", AFTER_CACHE),
    ],
)
def test_a_change_reruns_what_depends_on_it_and_no_more(tree, name, expected):
    assert steps_after_touching(tree, name) == expected


def imported(path):
    """Modules of the package that a source text imports, anywhere in it."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(re.sub("^%", "#", cell.source, flags=re.M) for cell in cells if cell.cell_type == "code")
    else:
        text = path.read_text(encoding="utf-8")
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "cardiov":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cardiov."):
            found.add(node.module.split(".")[1])
    return found


def stands_on(path):
    """All that a source text imports, directly or not, except what carries no numbers."""
    found, todo = set(), imported(path)
    while todo:
        module = todo.pop()
        if module not in found and module not in ("errors", "results"):
            found.add(module)
            todo |= imported(ROOT / "cardiov" / f"{module}.py")
    return found


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_reruns_with_every_module_that_it_imports(tree, notebook):
    steps = {f"{notebook.stem}-ordinal-0" if notebook.stem == "03_training" else notebook.stem}
    make(tree, "paper")
    for module in stands_on(notebook):
        touch(tree / "cardiov" / f"{module}.py")
        assert steps <= set(make(tree, "paper")[0]), f"{notebook.name} imports {module}, which the Makefile does not know"


@pytest.mark.parametrize(("step", "module"), [("demo", "synthetic"), ("stress", "stress"), ("explain", "explain")])
def test_a_command_reruns_with_every_module_that_it_stands_on(tree, step, module):
    make(tree, "paper")
    for name in {module} | stands_on(ROOT / f"cardiov/{module}.py"):
        touch(tree / f"cardiov/{name}.py")
        assert step in make(tree, "paper")[0], f"{module}.py imports {name}, which the Makefile does not know"


def test_committed_results_do_not_make_it_skip(tree):
    make(tree, "paper")
    shutil.rmtree(tree / "build")
    shutil.rmtree(tree / "data")
    assert set(make(tree, "paper")[0]) == ALL


def test_a_failed_notebook_is_run_again(tree):
    steps, done = make(tree, "paper", FAIL_AT="04_roc")
    assert done.returncode != 0
    assert "04_roc" in steps and "99_published" not in steps
    steps, done = make(tree, "paper")
    assert done.returncode == 0
    assert {"04_roc"} | AFTER_06 <= set(steps)
    assert not {"prepare", "01_dataset", "03_training-ordinal-0"} & set(steps)


@pytest.mark.parametrize(
    "gone",
    ["build/demo/cache/cache.json", "results/demo/search.csv", *(f"results/demo/runs/ordinal-0/{n}.csv" for n in ("predictions", "stress", "heat_sanity"))],
)
def test_what_is_gone_is_made_again(tree, gone):
    make(tree, "paper")
    (tree / gone).unlink()
    make(tree, "paper")
    assert (tree / gone).exists()


def real_data(tree, name="some-ecgs"):
    folder = tree / "elsewhere" / name
    folder.mkdir(parents=True)
    (folder / "ptbxl_database.csv").touch()
    return folder


def test_a_data_folder_gives_its_name_to_the_results(tree):
    steps, done = make(tree, "paper", f"DATASET={real_data(tree)}/")
    assert set(steps) == ALL - {"demo"}
    assert (tree / "results/some-ecgs/report.html").exists()
    assert "notebooks/params/paper/training.yaml" in done.stdout


def test_ludb_is_read_where_it_is_given_and_again_where_it_moves(tree):
    folder = real_data(tree)
    make(tree, "paper", f"DATASET={folder}")
    for name in ("ludb", "ludb-moved"):
        (tree / name).mkdir()
        (tree / name / "1.hea").touch()
        assert set(make(tree, "paper", f"DATASET={folder}", f"LUDB={name}")[0]) == {"explain", "09_gradcam"} | AFTER_06
        assert f"--ludb {name}" in (tree / "log").read_text()
        assert make(tree, "paper", f"DATASET={folder}", f"LUDB={name}")[0] == []
    assert make(tree, "paper", f"DATASET={folder}")[0] == []


def test_an_imported_sheet_reruns_the_agreement(tree):
    folder = real_data(tree)
    make(tree, "paper", f"DATASET={folder}")
    (tree / "results/some-ecgs/reviews").mkdir(parents=True)
    touch(tree / "results/some-ecgs/reviews/smith.csv")
    assert set(make(tree, "paper", f"DATASET={folder}")[0]) == {"07_agreement"} | AFTER_06


def test_other_parameters_or_another_folder_of_the_same_name_start_anew(tree):
    folder = real_data(tree)
    make(tree, "paper", f"DATASET={folder}")
    steps, _ = make(tree, "paper", f"DATASET={folder}", "PARAMS=notebooks/params/quick")
    assert set(steps) == ALL - {"demo"}
    moved = folder.rename(real_data(tree, "other").parent.parent / folder.name)
    assert set(make(tree, "paper", f"DATASET={moved}", "PARAMS=notebooks/params/quick")[0]) == ALL - {"demo"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["DATASET=no/such/folder/"], "no/such/folder/ptbxl_database.csv"),
        (["DATASET=a folder"], "without spaces"),
        (["LUDB=no/ludb"], "no/ludb/1.hea"),
        (["PARAMS=notebooks/params/missing"], 'the folder "notebooks/params/missing" lacks'),
    ],
)
def test_bad_settings_are_one_sentence(tree, arguments, sentence):
    steps, done = make(tree, "paper", *arguments)
    assert steps == [] and done.returncode != 0
    assert sentence in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("name", "simulated"), [("some-demo", False), ("ecgs", True)])
def test_simulated_data_are_named_so_and_real_data_are_not(tree, name, simulated):
    folder = real_data(tree, name)
    if simulated:
        (folder / "SIMULATED.txt").touch()
    steps, done = make(tree, "paper", f"DATASET={folder}")
    assert steps == [] and "simulated" in done.stderr


def test_an_interrupted_environment_is_made_anew(tree):
    (tree / ".venv").mkdir()
    (tree / ".venv/half").touch()
    done = make(tree, "setup")[1]
    assert done.returncode == 0, done.stderr
    assert not (tree / ".venv/half").exists() and (tree / ".venv/bin/python").exists()
    assert "--require-hashes -r requirements.lock" in (tree / "log").read_text()


def test_a_conda_environment_is_never_cleared(tree):
    (tree / "conda/conda-meta").mkdir(parents=True)
    (tree / "conda/bin").mkdir()
    shutil.copy(tree / "python-stub", tree / "conda/bin/python")
    done = make(tree, "setup", "VENV=conda")[1]
    assert done.returncode == 0, done.stderr
    assert (tree / "conda/conda-meta").exists() and "venv" not in (tree / "log").read_text()


def test_an_old_python_is_refused(tree):
    done = make(tree, "setup", VERSION="import sys; sys.version_info = (3, 9); sys.version = '3.9.1'\n")[1]
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr and not (tree / ".venv").exists()


def test_clean_keeps_results_and_the_weights_of_real_data(tree):
    folder = real_data(tree)
    make(tree, "paper")
    make(tree, "paper", f"DATASET={folder}")
    weights = tree / "build/some-ecgs/runs/ordinal-0/weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert make(tree, "clean")[1].returncode == 0
    kept = [weights, tree / "results/demo/report.html", tree / ".venv/bin/python", folder / "ptbxl_database.csv"]
    assert all(path.exists() for path in kept)
    gone = ["data/demo", "build/demo", "build/some-ecgs/cache", "build/some-ecgs/stamps", "build/some-ecgs/notebooks"]
    assert not any((tree / name).exists() for name in gone)


def test_help_names_every_target(tree):
    text = make(tree, "help")[1].stdout
    assert all(f"make {target} " in text for target in ("paper", "test", "setup", "lab", "bench", "notebooks", "clean"))
    assert make(tree)[1].stdout == text
