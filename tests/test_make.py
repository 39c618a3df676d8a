"""The Makefile's graph: the real rules are run in a stand-in tree, where a stub of the package only notes its steps."""

import ast
import fcntl
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")

STUB = """#!/bin/sh
# stands for every python here: notes the step and leaves the files that the real one would leave
echo "$@" >> log
echo "threads: $OMP_NUM_THREADS; flags: $MAKEFLAGS" > environment
case "$1 $2 $3" in
  "-m cardiov notebook") case "$*" in *"$FAIL_AT"*) exit 1;; esac ;;
esac
case "$1" in -c) exec python3 -c "$BEFORE$2" ;; esac
case "$2 $3" in
  "venv --clear") rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
  "cardiov demo") mkdir -p "$4"; touch "$4/ptbxl_database.csv" "$4/SIMULATED.txt" ;;
  "cardiov download") case "$FAIL_AT" in download) exit 1;; esac; mkdir -p "$4"; touch "$4/ptbxl_database.csv" ;;
  "cardiov verify") case "$FAIL_AT" in verify) exit 1;; esac; touch "$5" ;;
  "cardiov prepare") mkdir -p "$5"; touch "$5/cache.json" ;;
  "cardiov notebook") mkdir -p "${5%/*}"; touch "$5"
    case "$*" in  # these train where a folder is given
      *03_training*"-p data "[a-z/]*) run="results/$8/runs/${11}-${13}"; mkdir -p "$run"; touch "$run/predictions.csv" ;;
      *10_search*"-p data "[a-z/]*) run="results/$8/runs/search"; mkdir -p "$run"
        touch "$run/provenance.json" "results/$8/search.csv" ;;
    esac ;;
  "cardiov stress") mkdir -p "$6"; touch "$6/stress.csv" ;;
  "cardiov explain") mkdir -p "$6"; touch "$6/heat_sanity.csv" ;;
  "cardiov study") mkdir -p "results/$5/runs/best-0"; touch "results/$5/runs/best-0/predictions.csv" ;;
  "cardiov ship") touch "$5" ;;
  "cardiov external") touch "$6" ;;
  "cardiov report") touch "results/$4/report.html" ;;
esac
"""
OBJECTIVES = ("ordinal", "classification", "regression")
TRAININGS = {f"03_training-{objective}-0" for objective in OBJECTIVES}
STUDIES = {path.stem for path in ROOT.glob("notebooks/1[1-5]_*.ipynb")}
AFTER_06 = {"99_published", "report", "compare"}
AFTER_RECORDS = {"05_subgroups", "07_agreement", "08_cases", "09_gradcam"} | STUDIES | AFTER_06
AFTER_TRAINING = {"stress", "explain", "04_roc", "06_ablation"} | AFTER_RECORDS
AFTER_STUDY = {"ship"} | STUDIES | AFTER_06
AFTER_CACHE = {"prepare", "01_dataset", "10_search", "study"} | TRAININGS | AFTER_TRAINING | AFTER_STUDY
ALL = {"demo", "02_network"} | AFTER_CACHE
OF_SIGNALS = {"demo", "prepare", "stress", "explain", "study", "ship"}


@pytest.fixture
def tree(tmp_path):
    """The repository's files, empty where only their age counts, with stubs for the interpreter and the environment."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for pattern in ("cardiov/**/[!_]*.*", "notebooks/*.ipynb", "notebooks/params/*/*.yaml", "results/*.csv", "*.lock", "*.toml"):
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
    assert at["01_dataset"] < min(at[name] for name in AFTER_RECORDS)
    assert at["study"] < min(at[name] for name in AFTER_STUDY)
    assert steps[-2:] == ["report", "compare"]


def test_the_further_runs_which_take_all_cores_wait_for_the_other_trainings(tree):
    steps, _ = make(tree, "-j3", "build/demo/stamps/studied")
    assert steps[-1] == "study" and set(steps[:-1]) == {"demo", "prepare", "10_search"} | TRAININGS


def test_several_processes_train_before_the_notebook_which_finds_it_done(tree):
    steps, done = make(tree, "paper", "PROCESSES=8")
    assert done.returncode == 0, done.stderr
    trained = [i for i, step in enumerate(steps) if step == "launch"]
    assert {steps[i + 1] for i in trained} == TRAININGS and len(trained) == 3
    assert sorted(step for step in steps if step != "launch") == sorted(ALL)
    text = (tree / "log").read_text()
    assert (
        "launch 8 train --data data/demo --cache build/demo/cache -f notebooks/params/demo/training.yaml --objective ordinal "
        "--seed 0 --weights-dir build/demo/runs/ordinal-0 --run-dir results/demo/runs/ordinal-0\n"
    ) in text


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
        ("cardiov/experiments/stress.py", {"stress", "08_cases"} | AFTER_06),
        ("cardiov/experiments/heat.py", {"explain", "09_gradcam"} | AFTER_06),
        ("cardiov/experiments/search.py", {"10_search"} | AFTER_06),
        ("notebooks/params/demo/experiments.yaml", {"study"} | AFTER_STUDY),
        ("cardiov/experiments/runs.py", {"study"} | AFTER_STUDY),
        ("cardiov/experiments/shipping.py", {"ship", "11_best", "13_probabilities"} | AFTER_06),
        ("notebooks/params/demo/training.yaml", {"prepare"} | AFTER_CACHE),
        ("notebooks/params/paper/training.yaml", set()),
        ("cardiov/data/demo/dataset.py", ALL - {"02_network"}),
        ("cardiov/ecg/leads.py", ALL),
        ("cardiov/training/run.py", {"10_search", "study"} | TRAININGS | AFTER_TRAINING | AFTER_STUDY),
        ("cardiov/model.py", {"02_network", "10_search", "study"} | TRAININGS | AFTER_TRAINING | AFTER_STUDY),
        ("cardiov/paper/published.py", AFTER_06),
        ("cardiov/paper/report.html", {"report", "compare"}),
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
    """Files of the package that a source text imports, anywhere in it."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(re.sub("^%", "#", cell.source, flags=re.M) for cell in cells if cell.cell_type == "code")
    else:
        text = path.read_text(encoding="utf-8")
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = {Path(*name.split(".")).with_suffix(".py") for name in names if name.startswith("cardiov.")}
    return {file for file in files if (ROOT / file).exists()}


def stands_on(path):
    """All that a source text imports, directly or not, except what carries no numbers."""
    found, todo = set(), imported(path)
    while todo:
        file = todo.pop()
        if file not in found and file.parts[1] not in ("errors.py", "processes.py", "store"):
            found.add(file)
            todo |= imported(ROOT / file)
    return found


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_reruns_with_every_module_that_it_imports(tree, notebook):
    steps = {f"{notebook.stem}-ordinal-0" if notebook.stem == "03_training" else notebook.stem}
    (tree / "results/demo").mkdir()
    (tree / "results/demo/external_ludb.csv").touch()
    make(tree, "paper")
    for file in sorted(stands_on(notebook)):
        touch(tree / file)
        assert steps <= set(make(tree, "paper")[0]), f"{notebook.name} imports {file}, which the Makefile does not know"


@pytest.mark.parametrize(
    ("step", "module"),
    [("demo", "data/demo/dataset"), ("stress", "experiments/stress"), ("explain", "experiments/heat"),
     ("study", "experiments/runs"), ("ship", "experiments/shipping"), ("external", "experiments/external")],
)
def test_a_command_reruns_with_every_module_that_it_stands_on(tree, step, module):
    given = ludb(tree)
    make(tree, "paper", given)
    module = Path(f"cardiov/{module}.py")
    for file in sorted({module} | stands_on(ROOT / module)):
        touch(tree / file)
        assert step in make(tree, "paper", given)[0], f"{module} imports {file}, which the Makefile does not know"


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
    ["build/demo/cache/cache.json", "build/demo/shipped.safetensors", "results/demo/search.csv",
     "results/demo/runs/best-0/predictions.csv",
     *(f"results/demo/runs/ordinal-0/{name}.csv" for name in ("predictions", "stress", "heat_sanity"))],
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


@pytest.mark.parametrize(("version", "name"), [("1.0.3", "ptbxl"), ("1.0.1", "ptbxl-1.0.1")])
@pytest.mark.parametrize("stored", [False, True])
def test_ptbxl_is_downloaded_where_it_is_not_and_then_used(tree, version, name, stored):
    if stored:
        stored_results(tree, name)
    given = ["DATASET=ptbxl", *([f"VERSION={version}"] if version != "1.0.3" else [])]
    steps, done = make(tree, "paper", *given, VERSION="7.8")  # of something else: what the environment says does not count
    assert done.returncode == 0, done.stderr
    assert set(steps) == ALL - {"demo"} | {"download"} and steps.index("download") < steps.index("prepare")
    log = (tree / "log").read_text()
    assert f"cardiov download data/{name} --version {version}\n" in log
    assert f"cardiov prepare data/{name} build/{name}/cache -f notebooks/params/paper/training.yaml" in log
    assert (tree / f"results/{name}/report.html").exists()
    assert make(tree, "paper", *given)[0] == []
    assert make(tree, "clean")[1].returncode == 0 and (tree / f"data/{name}/ptbxl_database.csv").exists()
    shutil.rmtree(tree / "data" / name)
    assert "download" in make(tree, "paper", *given)[0]


def test_a_failed_download_is_gone_on_with_and_a_later_failure_keeps_it(tree):
    steps, done = make(tree, "paper", "DATASET=ptbxl", FAIL_AT="download")
    assert done.returncode != 0 and set(steps) <= {"download", "02_network"}
    steps, done = make(tree, "paper", "DATASET=ptbxl", FAIL_AT="03_training")
    assert done.returncode != 0 and "download" in steps
    assert "download" not in make(tree, "paper", "DATASET=ptbxl")[0]


def test_a_copy_of_ptbxl_is_verified_once_and_used_without_a_download(tree):
    copy = real_data(tree, "read-only")
    given = ["DATASET=ptbxl", f"PTBXL={copy}"]
    steps, done = make(tree, "paper", *given, FAIL_AT="verify")
    assert done.returncode != 0 and "prepare" not in steps
    steps, done = make(tree, "paper", *given)
    assert done.returncode == 0 and set(steps) | {"02_network"} == ALL - {"demo"} | {"verify"}
    log = (tree / "log").read_text()
    assert f"cardiov verify {copy} build/ptbxl/verified.json --version 1.0.3" in log and f"prepare {copy} build/ptbxl/cache" in log
    assert (tree / "results/ptbxl/report.html").exists() and os.listdir(copy) == ["ptbxl_database.csv"]
    assert make(tree, "paper", *given)[0] == []
    touch(copy / "new-record.dat")
    assert make(tree, "paper", *given)[0][:2] == ["verify", "prepare"]
    make(tree, "clean")
    assert (tree / "build/ptbxl/verified.json").exists()


def test_a_folder_with_the_name_of_ptbxl_is_a_folder_like_any_other(tree):
    real_data(tree).rename(tree / "ptbxl")
    steps, _ = make(tree, "paper", "DATASET=ptbxl")
    assert set(steps) == ALL - {"demo"} and f"prepare {tree}/ptbxl build" in (tree / "log").read_text()


@pytest.mark.parametrize("variable", [{"PTBXL_FROM": "http://mirror/ptb-xl.zip"}, {}])
def test_another_address_reaches_the_download(tree, variable):
    stub = tree / "python-stub"
    stub.write_text(STUB.replace("#!/bin/sh\n", '#!/bin/sh\necho "from: $PTBXL_FROM" >> addresses\n'))
    make(tree, "paper", "DATASET=ptbxl", *([] if variable else ["PTBXL_FROM=http://mirror/ptb-xl.zip"]), **variable)
    assert set((tree / "addresses").read_text().splitlines()) == {"from: http://mirror/ptb-xl.zip"}


def ludb(tree, name="ludb"):
    (tree / name).mkdir()
    (tree / name / "1.hea").touch()
    return f"LUDB={name}"


def test_ludb_is_read_where_it_is_given_and_again_where_it_moves(tree):
    folder = real_data(tree)
    read = {"explain", "09_gradcam", "external", "16_external"} | AFTER_06
    assert "16_external" not in make(tree, "paper", f"DATASET={folder}")[0]
    for name in ("ludb", "ludb-moved"):
        given = ludb(tree, name)
        assert set(make(tree, "paper", f"DATASET={folder}", given)[0]) == read
        log = (tree / "log").read_text()
        assert f"--ludb {name}" in log
        assert f"external {name} build/some-ecgs/shipped.safetensors results/some-ecgs/external_ludb.csv" in log
        assert make(tree, "paper", f"DATASET={folder}", given)[0] == []
    assert make(tree, "paper", f"DATASET={folder}")[0] == []


def test_each_objective_is_trained_with_each_seed_of_the_parameters(tree):
    (tree / "notebooks/params/demo/settings.mk").write_text("SEEDS := 0 7\n")
    steps, _ = make(tree, "paper")
    seeded = {f"03_training-{objective}-7" for objective in OBJECTIVES}
    assert set(steps) == ALL | seeded
    at = {step: i for i, step in enumerate(steps)}
    assert max(at[run] for run in seeded) < min(at["06_ablation"], at["study"])
    assert "-p objective regression --seed 7 -p data data/demo" in (tree / "log").read_text()
    (tree / "results/demo/runs/ordinal-7/predictions.csv").unlink()
    assert {run for run in make(tree, "paper")[0] if run.startswith("03")} == {"03_training-ordinal-7"}


@pytest.mark.parametrize(("name", "seeds"), [("demo", "0"), ("quick", "0"), ("ptbxl-sample", "012"), ("paper", "012")])
def test_real_ecgs_are_trained_on_with_three_seeds(tree, name, seeds):
    if (settings := ROOT / f"notebooks/params/{name}/settings.mk").exists():
        shutil.copy(settings, tree / f"notebooks/params/{name}")
    planned = make(tree, "-n", "paper", f"PARAMS=notebooks/params/{name}")[1].stdout
    assert set(re.findall(r"--seed (\d+) ", planned)) == set(seeds)


def stored_results(tree, name="some-ecgs"):
    """Committed results, and nothing under build/."""
    for result in ("records.csv", "search.csv", "runs/search/provenance.json", "runs/best-0/predictions.csv",
                   *(f"runs/{objective}-0/predictions.csv" for objective in OBJECTIVES)):
        path = tree / "results" / name / result
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1e9, 1e9))
    return tree / "results" / name


def test_stored_results_are_made_into_everything_again_without_signals(tree):
    results = stored_results(tree)
    steps, done = make(tree, "paper", "DATASET=some-ecgs")
    assert done.returncode == 0, done.stderr
    assert sorted(steps) == sorted(ALL - OF_SIGNALS)
    assert steps[-3:] == ["99_published", "report", "compare"]
    sentence = done.stdout.splitlines()[-1]
    assert sentence.startswith("The signals of some-ecgs are not here, so the training") and sentence.endswith(".")
    without_folder = re.findall(r"notebooks/(\d\d)_\w+.ipynb .* -p data (?: |$)", (tree / "log").read_text(), re.M)
    assert sorted(without_folder) == ["01", "03", "03", "03", "08", "09", "10"]
    steps, done = make(tree, "paper", "DATASET=some-ecgs")
    assert steps == [] and "Nothing to be done for 'paper'" in done.stdout
    touch(results / "runs/best-0/predictions.csv")
    assert STUDIES | AFTER_06 <= set(make(tree, "paper", "DATASET=some-ecgs")[0])


def test_what_is_made_of_stored_results_says_nothing_of_training(tree):
    stored_results(tree)
    make(tree, "paper", "DATASET=some-ecgs")
    assert os.listdir(tree / "build/some-ecgs") == ["stored"]
    assert set(make(tree, "paper", f"DATASET={real_data(tree)}")[0]) == ALL - {"demo"}


def test_several_notebooks_on_stored_results_run_at_once_on_a_core_each(tree):
    stored_results(tree)
    make(tree, "paper", "DATASET=some-ecgs")
    assert re.match(r"threads: 1; flags: .*-j\d", (tree / "environment").read_text())
    make(tree, "paper")
    assert not re.search(r"threads: 1|-j", (tree / "environment").read_text())


def test_stored_results_of_ludb_and_other_parameters_are_read(tree):
    results = stored_results(tree)
    (results / "external_ludb.csv").touch()
    steps = set(make(tree, "paper", "DATASET=some-ecgs")[0])
    assert "external" not in steps and steps >= {path.stem for path in ROOT.glob("notebooks/16_*.ipynb")}
    assert set(make(tree, "paper", "DATASET=some-ecgs", "PARAMS=notebooks/params/quick")[0]) == steps


def test_signals_are_preferred_to_stored_results(tree):
    stored_results(tree)
    real_data(tree).rename(tree / "some-ecgs")
    steps, done = make(tree, "paper", "DATASET=some-ecgs")
    assert "prepare" in steps and "are not here" not in done.stdout
    stored_results(tree, "demo")
    assert {"demo", "prepare"} <= set(make(tree, "paper")[0])


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
        (["DATASET=elsewhere/some-ecgs"], "elsewhere/some-ecgs/ptbxl_database.csv"),
        (["DATASET=unknown"], "unknown/ptbxl_database.csv"),
        (["DATASET=a folder"], "without spaces"),
        (["DATASET=ptbxl", "PTBXL=a folder"], "without spaces"),
        (["DATASET=ptbxl", "PTBXL=no/copy"], "no/copy/ptbxl_database.csv"),
        (["DATASET=ptbxl", "VERSION=1.0.2"], 'VERSION="1.0.2" is none of PTB-XL that this is made for: give 1.0.3 or 1.0.1'),
        (["PTBXL=elsewhere"], "VERSION and PTBXL say which PTB-XL is taken: give DATASET=ptbxl with them"),
        (["DATASET=some-ecgs", "VERSION=1.0.1"], "give DATASET=ptbxl with them"),
        (["LUDB=no/ludb"], "no/ludb/1.hea"),
        (["DATASET=some-ecgs", "LUDB=ludb"], "ludb is read by a network that is trained on the signals of some-ecgs"),
        (["PARAMS=notebooks/params/missing"], 'the folder "notebooks/params/missing" lacks'),
        (["SEEDS=1 2"], 'SEEDS="1 2" lacks 0'),
    ],
)
def test_bad_settings_are_one_sentence(tree, arguments, sentence):
    stored_results(tree)
    ludb(tree)
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
    done = make(tree, "setup", BEFORE="import sys; sys.version_info = (3, 9); sys.version = '3.9.1'\n")[1]
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr and not (tree / ".venv").exists()


def test_the_page_needs_no_data_and_opens_at_the_port_that_is_given(tree):
    steps, done = make(tree, "app", "PORT=9000", "DATASET=unknown")
    assert steps == ["app"] and done.returncode == 0, done.stderr
    assert "-m cardiov app --port 9000" in (tree / "log").read_text()


def test_clean_keeps_results_and_the_weights_of_real_data(tree):
    folder = real_data(tree)
    make(tree, "paper")
    make(tree, "paper", f"DATASET={folder}")
    weights = tree / "build/some-ecgs/runs/ordinal-0/weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    (tree / "build/some-ecgs/stored").mkdir()
    assert make(tree, "clean")[1].returncode == 0
    kept = [weights, tree / "results/demo/report.html", tree / ".venv/bin/python", folder / "ptbxl_database.csv"]
    assert all(path.exists() for path in kept)
    gone = ["data/demo", "build/demo", *(f"build/some-ecgs/{name}" for name in ("cache", "stamps", "notebooks", "stored"))]
    assert not any((tree / name).exists() for name in gone)


def test_help_names_every_target(tree):
    text = make(tree, "help")[1].stdout
    assert all(f"make {target} " in text for target in ("paper", "test", "setup", "lab", "app", "bench", "notebooks", "clean"))
    assert make(tree)[1].stdout == text


SENTENCE = "Another make is at work on demo: this one waits until it has ended."


def log(tree):
    return (tree / "log").read_text() if (tree / "log").exists() else ""


def started(tree):
    environment = {"PATH": os.environ["PATH"], "FAIL_AT": "nowhere"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([MAKE, "PYTHON=./python-stub", "paper"], cwd=tree, env=environment, **pipes)


def test_of_two_makes_at_once_one_waits_and_finds_all_done(tree):
    makes = [started(tree) for _ in range(2)]
    told = [(*one.communicate(), one.returncode) for one in makes]
    steps = [_step(line.split()) for line in (tree / "log").read_text().splitlines() if line.startswith("-m cardiov")]
    assert sorted(steps) == sorted(ALL)
    assert [code for *_, code in told] == [0, 0]
    assert sorted(error for _, error, _ in told) == ["", f"{SENTENCE}\n"]


def test_a_make_waits_for_what_a_killed_one_has_left_running(tree):
    make(tree, "setup")
    (tree / "build").mkdir()
    with open(tree / "build/demo.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        left = subprocess.Popen(["sleep", "60"], stdout=lock)
    one = started(tree)
    assert one.stderr.readline() == f"{SENTENCE}\n"
    assert make(tree, "-n", "paper")[1].returncode == 0  # which only looks, and need not wait
    assert "-m cardiov demo" not in log(tree)
    left.kill(), left.wait()
    assert one.wait() == 0 and "-m cardiov compare demo" in log(tree)


def test_what_killed_runs_have_left_half_written_is_removed(tree):
    left = [tree / name for name in ("results/demo/runs/best-0/.history.csv.12.tmp", "figures/demo/.roc.png.12.tmp",
                                     "build/demo/runs/ordinal-0/.checkpoint.pt.12.tmp")]  # fmt: skip
    for path in left:
        path.parent.mkdir(parents=True)
        path.touch()
    (tree / "results/other").mkdir()
    other = tree / "results/other/.table.csv.12.tmp"
    other.touch()
    make(tree, "paper")
    assert not any(path.exists() for path in left) and other.exists()
