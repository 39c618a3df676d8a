"""The Makefile's graph: the real rules are run in a stand-in tree, where a stub of the package only notes its steps."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repository import git_repository

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")

STUB = """#!/bin/sh
# stands for every python here: notes the step and leaves the files that the real one would leave
case "$1 $2 $3" in
  *plan.py*) exec "$REAL" "$@" ;;
  "-m cardiov alone") exec "$REAL" -P "$@" ;;
  *environment.py*) echo "$@" >> log; mkdir -p "$2/bin"; cp "$0" "$2/bin/python"; touch "$2/.cardiov-ready"; exit ;;
esac
echo "$@" >> log
echo "threads: $OMP_NUM_THREADS; flags: $MAKEFLAGS; made: $CARDIOV_MADE;" > environment
case "$*" in $FAIL_AT) exit 1 ;; "-m pytest"* | "-m jupyterlab"*) exit ;; esac
while [ "$1" != cardiov ]; do shift; done
step=$2; shift 2
case "$step $1" in "notebook notebooks/$FAIL_AT.ipynb") exit 1 ;; "$FAIL_AT "*) exit 1 ;; esac
leave() { for file; do mkdir -p "${file%/*}"; touch "$file"; echo "$file"; done; }
case "$step" in
  demo) leave "$1/ptbxl_database.csv" "$1/SIMULATED.txt" ;;
  download) leave "$1/ptbxl_database.csv" ;;
  prepare) leave "build/$2/cache-100/cache.json" "build/$2/results/records.csv" ;;
  train) leave "results/$2/runs/ordinal-0/predictions.csv" "results/$2/runs/paper-0/predictions.csv" ;;
  search) leave "results/$2/search.csv" "results/$2/runs/search/provenance.json" ;;
  baselines) leave "results/$2/runs/baseline-constant-0/predictions.csv" ;;
  stress) leave "results/$2/runs/ordinal-0/stress.csv" ;;
  heat) leave "results/$2/runs/ordinal-0/heat_sanity.csv" ;;
  ship) leave "build/$2/shipped.safetensors" ;;
  external) leave "results/$2/external_ludb.csv" ;;
  notebook) name=${2##*/}; leave "$2" "build/$4/results/${name%.ipynb}.csv" ;;
  exact) leave "build/$2/outcomes/exact.json" "build/$2/differences.csv" ;;
  replayed) leave "build/$2/outcomes/replayed.json" ;;
  retrained) leave "build/$2/outcomes/retrained.json" "build/$2/retrained.csv" ;;
  report) leave "build/$1/report.html" ;;
  publish) leave "results/$1/report.html" "results/$1/table1.csv" ;;
esac
"""
ENVIRONMENT = {"PATH": os.environ["PATH"], "FAIL_AT": "nowhere", "REAL": sys.executable, "PYTHONPATH": str(ROOT)}
NUMBERED = {path.stem for path in ROOT.glob("notebooks/[0-9]*.ipynb")} - {"16_external"}

# of other data sets than the sample
LAST = {"99_published", "report", "publish"}
AFTER_EXPERIMENTS = NUMBERED | LAST
EXPERIMENTS = {"search", "baselines", "stress", "heat", "ship"}
AFTER_TRAINING = {"stress", "heat", "ship"} | AFTER_EXPERIMENTS
AFTER_SIGNALS = {"prepare", "train", "search", "baselines"} | AFTER_TRAINING
ALL = {"demo"} | AFTER_SIGNALS

# of the sample, whose predictions on LUDB are stored
SAMPLE = "ptbxl-sample"
NOTEBOOKS = NUMBERED | {"16_external"}
ENDING = {"report", "ending"}
COMPARED = {"99_published", "exact"} | ENDING
ANALYSED = NOTEBOOKS | COMPARED
AFTER_PREPARING = {"retrained", "replayed"} | ANALYSED
REBUILT = {"prepare"} | AFTER_PREPARING
PUBLISHED = NOTEBOOKS | {"prepare", "train", "report", "publish", "external"} | EXPERIMENTS
PUBLISH = ["publish", "LUDB=ludb"]
STORED = ("search.csv", "external_ludb.csv", "runs/ordinal-0/predictions.csv", "runs/ordinal-0/stress.csv", "runs/paper-0/predictions.csv")
OLD = (1e9, 1e9)


@pytest.fixture
def tree(tmp_path):
    """The repository's files, empty where only their age counts, with stubs for the interpreter and the environment."""
    return plant(tmp_path / "tree")


def plant(folder):
    patterns = ("cardiov/**/*.*", "notebooks/**/*.ipynb", "notebooks/params/*/*.yaml", "results/*.csv", "data/ptbxl-*/*", "*.lock", "*.toml")
    names = [path.relative_to(ROOT) for pattern in patterns for path in ROOT.glob(pattern)]
    names += [f"results/{SAMPLE}/{name}" for name in (*STORED, "table1.csv", "scalars/04_roc.json")]
    for name in (*names, "ludb/1.hea", f"figures/{SAMPLE}/fig2_roc.csv", f"figures/{SAMPLE}/fig2_roc.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "cardiov/paper/plan.py", folder / "cardiov/paper")
    for path in folder.rglob("*"):
        os.utime(path, OLD)
    (folder / "python-stub").write_text(STUB)
    (folder / "python-stub").chmod(0o755)
    return folder


def make(tree, *arguments, **variables):
    """Run make; return the steps it took, in order, and its whole result."""
    (tree / "log").unlink(missing_ok=True)
    environment = ENVIRONMENT | variables
    done = subprocess.run(
        [MAKE, "PYTHON=./python-stub", *arguments], cwd=tree, env=environment, capture_output=True, text=True
    )
    return [_step(line) for line in log(tree).splitlines() if " cardiov " in line], done


def log(tree):
    return (tree / "log").read_text() if (tree / "log").exists() else ""


def _step(line):
    words = line.split(" cardiov ")[1].split()
    return Path(words[2]).stem if words[0] == "notebook" else words[0]


def planned(tree, *arguments):
    """The steps that make would take, in order."""
    done = make(tree, "-n", *arguments)[1]
    assert done.returncode == 0, done.stderr
    return [_step(line) for line in re.findall(r"\.venv/bin/python -m cardiov .*", done.stdout)]


def touch(path):
    """Make it newer than what has just been made, however coarse the file system's clock is."""
    path.touch()
    before = path.stat().st_mtime_ns
    while path.stat().st_mtime_ns == before:
        path.touch()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Trees in which all was made once, by data set."""
    trees = {}

    def make_once(dataset):
        if dataset not in trees:
            trees[dataset] = plant(tmp_path_factory.mktemp(dataset) / "tree")
            steps, done = make(trees[dataset], "paper", f"DATASET={dataset}")
            assert done.returncode == 0 and sorted(steps) == sorted(REBUILT if dataset == SAMPLE else ALL), done.stderr
        return trees[dataset]

    return make_once


@pytest.fixture
def copied(made, tmp_path):
    """Copy a tree in which all was made."""
    return lambda dataset: shutil.copytree(made(dataset), tmp_path / dataset)


def nothing_to_do(tree, *arguments, target="paper"):
    steps, done = make(tree, target, *arguments)
    return steps == [] and f"Nothing to be done for '{target}'" in done.stdout


def check_change(tree, name, expected, *arguments):
    """Touch a file, and run make: the expected steps run, each once."""
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    touch(tree / name)
    steps, done = make(tree, "paper", *arguments)
    assert done.returncode == 0, done.stderr
    assert sorted(steps) == sorted(expected)


# Rebuilding the sample


@pytest.mark.parametrize("jobs", [[], ["-j1"], ["-j3"]])
def test_the_sample_is_rebuilt_and_nothing_that_is_published_is_written(tree, jobs):
    (tree / ".gitignore").write_text("build/\n.venv/\nlog\nenvironment\n")
    git_repository(tree)
    steps, done = make(tree, *jobs, "paper")
    assert done.returncode == 0, done.stderr
    assert sorted(steps) == sorted(REBUILT)
    at = {step: i for i, step in enumerate(steps)}
    assert at["prepare"] == 0 and max(at[name] for name in NOTEBOOKS - {"99_published"}) < at["99_published"] < at["exact"]
    assert steps[-2:] == ["report", "ending"]
    assert f"-m cardiov retrained data/{SAMPLE} {SAMPLE} notebooks/params/{SAMPLE}\n" in log(tree)
    assert log(tree).endswith(f"report {SAMPLE} exact replayed retrained\n-m cardiov ending {SAMPLE} exact replayed retrained\n")
    status = subprocess.run(["git", "status", "--porcelain"], cwd=tree, capture_output=True, text=True, check=True)
    assert status.stdout == ""
    assert nothing_to_do(tree, *jobs)


def test_training_begins_first_and_notebooks_run_beside_it_on_a_core_each(copied):
    tree = copied(SAMPLE)
    assert re.match(r"threads: 1; flags: .*-j\d", (tree / "environment").read_text())
    assert not re.search(r"threads: 1|-j", (copied("demo") / "environment").read_text())
    touch(tree / f"data/{SAMPLE}/ptbxl_database.csv")
    steps = planned(tree, "paper")
    assert steps[0] == "prepare" and steps.index("retrained") < min(steps.index(name) for name in NOTEBOOKS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("notebooks/02_network.ipynb", {"02_network"} | COMPARED),
        ("notebooks/99_published.ipynb", COMPARED),
        (f"notebooks/params/{SAMPLE}/analysis.yaml", ANALYSED),
        (f"notebooks/params/{SAMPLE}/runs.yaml", {"retrained"} | ENDING),
        ("notebooks/params/demo/runs.yaml", set()),
        ("cardiov/ecg/filters.py", REBUILT),
        ("cardiov/data/records.py", REBUILT),
        ("cardiov/training/trainer.py", AFTER_PREPARING),
        ("cardiov/model.py", AFTER_PREPARING),
        ("cardiov/analysis/metrics.py", AFTER_PREPARING),
        ("cardiov/experiments/shipping.py", AFTER_PREPARING),
        ("cardiov/experiments/heat.py", ANALYSED),
        ("cardiov/plots/roc.py", ANALYSED),
        ("cardiov/store/results.py", ANALYSED),
        ("cardiov/pretrained/cardiov-1.safetensors", {"replayed"} | ENDING),
        ("cardiov/paper/reproduction.py", {"retrained", "replayed"} | COMPARED),
        ("cardiov/paper/report.html", COMPARED),
        ("cardiov/app/page.py", set()),
        ("results/published.csv", {"07_agreement", "15_learning_curve"} | COMPARED),
        ("results/tolerances.csv", COMPARED),
        (f"results/{SAMPLE}/table1.csv", {"exact"} | ENDING),
        (f"results/{SAMPLE}/scalars/new.json", {"exact"} | ENDING),
        (f"figures/{SAMPLE}/fig2_roc.csv", {"exact"} | ENDING),
        (f"results/{SAMPLE}/search.csv", AFTER_PREPARING),
        (f"results/{SAMPLE}/runs/ordinal-0/predictions.csv", AFTER_PREPARING),
        (f"results/{SAMPLE}/runs/new-0/predictions.csv", AFTER_PREPARING),
        (f"results/{SAMPLE}/reviews/smith.csv", AFTER_PREPARING),
        ("data/ptbxl-metadata/ptbxl_database-1.0.1.csv.xz", {"01_dataset", "14_labels"} | COMPARED),
        (f"data/{SAMPLE}/fold10.dat", REBUILT),
        ("requirements.lock", REBUILT),
    ],
)
def test_a_change_rebuilds_what_depends_on_it_and_no_more(copied, name, expected):
    check_change(copied(SAMPLE), name, expected)


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ("cache-100/cache.json", REBUILT), ("results/records.csv", REBUILT),
        ("outcomes/retrained.json", {"retrained"} | ENDING), ("retrained.csv", {"retrained"} | ENDING),
        ("outcomes/replayed.json", {"replayed"} | ENDING),
        ("outcomes/exact.json", {"exact"} | ENDING), ("differences.csv", {"exact"} | ENDING),
        ("rebuilt/notebooks/04_roc.ipynb", {"04_roc"} | COMPARED), ("results/04_roc.csv", {"04_roc"} | COMPARED),
        ("report.html", ENDING),
    ],
)  # fmt: skip
def test_what_is_gone_of_the_rebuilt_is_made_again(copied, gone, expected):
    tree = copied(SAMPLE)
    (tree / "build" / SAMPLE / gone).unlink()
    steps, done = make(tree, "paper")
    assert done.returncode == 0 and sorted(steps) == sorted(expected), done.stderr
    assert (tree / "build" / SAMPLE / gone).exists() and nothing_to_do(tree)


@pytest.mark.parametrize(("gone", "expected"), [("table1.csv", {"exact"} | ENDING), ("runs/paper-0/predictions.csv", AFTER_PREPARING)])
def test_what_is_gone_of_the_published_is_noticed(copied, gone, expected):
    tree = copied(SAMPLE)
    (tree / "results" / SAMPLE / gone).unlink()
    assert sorted(make(tree, "paper")[0]) == sorted(expected)
    assert nothing_to_do(tree)


def test_of_a_sample_of_which_nothing_is_published_all_is_made(tree):
    for kind in ("results", "figures"):
        shutil.rmtree(tree / kind / SAMPLE)
    steps, done = make(tree, "paper")
    assert done.returncode == 0 and sorted(steps) == sorted(REBUILT - {"16_external"}), done.stderr


def test_steps_are_chosen_and_the_report_is_always_of_the_last_choice(tree):
    assert sorted(make(tree, "paper", "STEPS=exact")[0]) == sorted({"prepare"} | ANALYSED)
    assert log(tree).endswith(f"report {SAMPLE} exact\n-m cardiov ending {SAMPLE} exact\n")
    assert nothing_to_do(tree, "STEPS=exact")
    assert sorted(make(tree, "paper", STEPS="exact")[0]) == sorted({"retrained", "replayed"} | ENDING)  # the environment does not choose
    assert nothing_to_do(tree)
    for chosen in ("exact", "replayed retrained"):
        assert make(tree, "paper", f"STEPS={chosen}")[0] == ["report", "ending"]
        assert f"report {SAMPLE} {chosen}\n" in log(tree) and nothing_to_do(tree, f"STEPS={chosen}")
    assert make(tree, "paper")[0] == ["report", "ending"]
    touch(tree / "notebooks/04_roc.ipynb")
    make(tree, "paper", "STEPS=exact")
    assert make(tree, "paper")[0] == ["report", "ending"] and f"report {SAMPLE} exact replayed retrained\n" in log(tree)


@pytest.mark.parametrize("place", ["prepare", "retrained", "replayed", "01_dataset", "07_agreement", "exact", "report", "ending"])
def test_a_failed_step_of_rebuilding_is_repeated_and_no_other(tree, place):
    steps, done = make(tree, "paper", FAIL_AT=place)
    assert done.returncode != 0 and place in steps
    again, done = make(tree, "paper")
    assert done.returncode == 0 and place in again, done.stderr
    repeated = {"report"} if place == "ending" else set()  # its mark is that of both
    assert set(steps) & set(again) == {place} | repeated and set(steps) | set(again) == REBUILT
    assert nothing_to_do(tree)


# Publishing


def test_publishing_the_sample_trains_what_is_missing_and_experiments(copied):
    tree = copied(SAMPLE)
    steps, done = make(tree, *PUBLISH)
    assert done.returncode == 0, done.stderr
    assert sorted(steps) == sorted(PUBLISHED)
    at = {step: i for i, step in enumerate(steps)}
    assert at["prepare"] < at["train"] < at["ship"] < min(at["stress"], at["heat"], at["external"])
    assert max(at[step] for step in EXPERIMENTS | {"external"}) < min(at[name] for name in NOTEBOOKS)
    assert steps[-3:] == ["99_published", "report", "publish"]
    assert log(tree).endswith(f"-m cardiov report {SAMPLE}\n-m cardiov publish {SAMPLE}\n")
    assert nothing_to_do(tree, *PUBLISH[1:], target="publish")
    assert sorted(make(tree, "paper")[0]) == sorted(AFTER_PREPARING)  # of what is now published
    assert nothing_to_do(tree) and nothing_to_do(tree, *PUBLISH[1:], target="publish")


@pytest.mark.parametrize(("gone", "repeated"), [
    (f"results/{SAMPLE}/table1.csv", {"publish"}), (f"results/{SAMPLE}/runs/ordinal-0/stress.csv", {"stress"} | NOTEBOOKS),
    (f"build/{SAMPLE}/report.html", {"report", "publish"}),
])  # fmt: skip
def test_what_is_gone_is_published_again(copied, gone, repeated):
    tree = copied(SAMPLE)
    make(tree, *PUBLISH)
    (tree / gone).unlink()
    assert set(make(tree, *PUBLISH)[0]) == repeated | ({"report", "publish"} if "stress" in repeated else set())
    assert (tree / gone).exists() and nothing_to_do(tree, *PUBLISH[1:], target="publish")


@pytest.mark.parametrize("place", ["train", "04_roc", "publish"])
def test_a_failed_step_of_publishing_is_repeated_and_no_other(tree, place):
    steps, done = make(tree, *PUBLISH, FAIL_AT=place)
    assert done.returncode != 0 and steps[-1] == place
    again, done = make(tree, *PUBLISH)
    assert done.returncode == 0 and set(steps) & set(again) == {place} and set(steps) | set(again) == PUBLISHED


def test_other_data_sets_are_published_by_either_target(copied):
    assert nothing_to_do(copied("demo"), "DATASET=demo", target="publish")


# Other data sets


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_step_runs_once_and_after_what_it_needs(tree, jobs):
    steps, done = make(tree, f"-j{jobs}", "paper", "DATASET=demo")
    assert done.returncode == 0, done.stderr
    assert sorted(steps) == sorted(ALL)
    at = {step: i for i, step in enumerate(steps)}
    assert at["demo"] < at["prepare"] < at["train"] < min(at[step] for step in EXPERIMENTS)
    assert at["ship"] < min(at["stress"], at["heat"])
    assert max(at[step] for step in EXPERIMENTS) < min(at[name] for name in NUMBERED)
    assert steps[-3:] == ["99_published", "report", "publish"]
    assert nothing_to_do(tree, "DATASET=demo")


def test_several_processes_train_under_torchrun(tree):
    steps, done = make(tree, "paper", "DATASET=demo", "PROCESSES=8")
    assert done.returncode == 0, done.stderr
    assert sorted(steps) == sorted(ALL)
    expected = "-m torch.distributed.run --standalone --nproc-per-node 8 -m cardiov train data/demo demo notebooks/params/demo"
    assert expected in log(tree).splitlines()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("notebooks/01_dataset.ipynb", {"01_dataset"} | LAST),
        ("notebooks/params/demo/analysis.yaml", AFTER_EXPERIMENTS),
        ("notebooks/params/demo/search.yaml", {"search"} | AFTER_EXPERIMENTS),
        ("notebooks/params/demo/runs.yaml", {"train", "baselines"} | AFTER_TRAINING),
        ("notebooks/params/paper/runs.yaml", set()),
        ("cardiov/ecg/filters.py", ALL),
        ("cardiov/data/demo/heart.py", ALL),
        ("cardiov/training/trainer.py", {"train", "search", "baselines"} | AFTER_TRAINING),
        ("cardiov/model.py", {"train", "search", "baselines"} | AFTER_TRAINING),
        ("cardiov/experiments/heat.py", EXPERIMENTS | AFTER_EXPERIMENTS),
        ("cardiov/analysis/metrics.py", EXPERIMENTS | AFTER_EXPERIMENTS),
        ("cardiov/plots/roc.py", AFTER_EXPERIMENTS),
        ("cardiov/store/results.py", AFTER_EXPERIMENTS),
        ("cardiov/paper/published.py", LAST),
        ("cardiov/paper/report.html", LAST),
        ("cardiov/app/page.py", set()),
        ("cardiov/errors.py", set()),
        ("results/published.csv", {"07_agreement", "15_learning_curve"} | LAST),
        ("results/tolerances.csv", LAST),
        ("data/ptbxl-metadata/ptbxl_database-1.0.1.csv.xz", {"01_dataset", "14_labels"} | LAST),
        (f"results/{SAMPLE}/table1.csv", set()),
        ("requirements.lock", ALL - {"demo"}),
        ("data/demo/ptbxl_database.csv", AFTER_SIGNALS),
        ("data/demo/new-record.dat", AFTER_SIGNALS),
    ],
)
def test_a_change_reruns_what_depends_on_it_and_no_more(copied, name, expected):
    check_change(copied("demo"), name, expected, "DATASET=demo")


def test_results_that_are_there_do_not_make_it_skip(copied):
    tree = copied("demo")
    shutil.rmtree(tree / "build")
    shutil.rmtree(tree / "data/demo")
    assert set(make(tree, "paper", "DATASET=demo")[0]) == ALL


def test_data_that_are_gone_are_made_again(copied):
    tree = copied("demo")
    shutil.rmtree(tree / "data/demo")
    steps, done = make(tree, "paper", "DATASET=demo")
    assert done.returncode == 0 and set(steps) == ALL, done.stderr


@pytest.mark.parametrize("place", ["demo", "prepare", "train", "search", "03_training", "99_published", "report", "publish"])
def test_a_failed_step_is_run_again(tree, place):
    steps, done = make(tree, "paper", "DATASET=demo", FAIL_AT=place)
    assert done.returncode != 0 and steps[-1] == place
    again, done = make(tree, "paper", "DATASET=demo")
    assert done.returncode == 0 and set(steps) & set(again) == {place} and set(steps) | set(again) == ALL


@pytest.mark.parametrize(
    "gone",
    ["build/demo/cache-100/cache.json", "build/demo/results/records.csv", "build/demo/shipped.safetensors", "build/demo/report.html",
     "build/demo/notebooks/04_roc.ipynb", "build/demo/results/04_roc.csv",
     "results/demo/search.csv", "results/demo/report.html", "results/demo/table1.csv", "results/demo/runs/paper-0/predictions.csv",
     *(f"results/demo/runs/ordinal-0/{name}.csv" for name in ("predictions", "stress", "heat_sanity"))],
)  # fmt: skip
def test_what_is_gone_is_made_again(copied, gone):
    tree = copied("demo")
    (tree / gone).unlink()
    make(tree, "paper", "DATASET=demo")
    assert (tree / gone).exists() and nothing_to_do(tree, "DATASET=demo")


def real_data(tree, name="some-ecgs"):
    folder = tree / "elsewhere" / name
    folder.mkdir(parents=True)
    (folder / "ptbxl_database.csv").touch()
    return folder


def test_a_data_folder_gives_its_name_to_the_results(tree):
    steps, done = make(tree, "paper", f"DATASET={real_data(tree)}/")
    assert set(steps) == ALL - {"demo"}
    assert (tree / "results/some-ecgs/report.html").exists()
    assert f"-m cardiov train {tree}/elsewhere/some-ecgs some-ecgs notebooks/params/paper\n" in log(tree)


@pytest.mark.parametrize(("version", "name"), [("1.0.3", "ptbxl"), ("1.0.1", "ptbxl-1.0.1")])
def test_ptbxl_is_downloaded_where_it_is_not_and_then_used(tree, version, name):
    given = ["DATASET=ptbxl", *([f"VERSION={version}"] if version != "1.0.3" else [])]
    steps, done = make(tree, "paper", *given, VERSION="7.8")  # of something else: what the environment says does not count
    assert done.returncode == 0, done.stderr
    assert set(steps) == ALL - {"demo"} | {"download"} and steps.index("download") < steps.index("prepare")
    assert f"-m cardiov download data/{name} --version {version}\n" in log(tree)
    assert f"-m cardiov prepare data/{name} {name} notebooks/params/paper\n" in log(tree)
    assert make(tree, "paper", *given)[0] == []
    assert make(tree, "clean")[1].returncode == 0 and (tree / f"data/{name}/ptbxl_database.csv").exists()
    shutil.rmtree(tree / "data" / name)
    assert "download" in make(tree, "paper", *given)[0]


@pytest.mark.parametrize(("name", "version"), [("ptbxl", "1.0.3"), ("ptbxl-1.0.1", "1.0.1")])
def test_only_the_download_can_be_asked_for(tree, name, version):
    steps, done = make(tree, f"data/{name}/ptbxl_database.csv")
    assert done.returncode == 0 and steps == ["download"]
    assert f"-m cardiov download data/{name} --version {version}\n" in log(tree)


def test_a_failed_download_is_resumed_and_a_later_failure_keeps_it(tree):
    steps, done = make(tree, "paper", "DATASET=ptbxl", FAIL_AT="download")
    assert done.returncode != 0 and steps == ["download"]
    steps, done = make(tree, "paper", "DATASET=ptbxl", FAIL_AT="train")
    assert done.returncode != 0 and "download" in steps
    assert "download" not in make(tree, "paper", "DATASET=ptbxl")[0]


def test_a_copy_of_ptbxl_is_verified_and_used_without_a_download(tree):
    copy = real_data(tree, "read-only")
    given = ["DATASET=ptbxl", f"PTBXL={copy}"]
    steps, done = make(tree, "paper", *given)
    assert done.returncode == 0 and set(steps) == ALL - {"demo"}
    assert f"-m cardiov prepare {copy} ptbxl notebooks/params/paper --verify 1.0.3\n" in log(tree)
    assert (tree / "results/ptbxl/report.html").exists() and os.listdir(copy) == ["ptbxl_database.csv"]
    assert make(tree, "paper", *given)[0] == []
    touch(copy / "new-record.dat")
    assert make(tree, "paper", *given)[0][0] == "prepare"


@pytest.mark.parametrize("variable", [{"PTBXL_FROM": "http://mirror/ptb-xl.zip"}, {}])
def test_another_address_reaches_the_download(tree, variable):
    stub = tree / "python-stub"
    stub.write_text(STUB.replace("#!/bin/sh\n", '#!/bin/sh\necho "from: $PTBXL_FROM" >> addresses\n'))
    make(tree, "paper", "DATASET=ptbxl", *([] if variable else ["PTBXL_FROM=http://mirror/ptb-xl.zip"]), **variable)
    assert set((tree / "addresses").read_text().splitlines()) == {"from: http://mirror/ptb-xl.zip"} or not variable


def test_ludb_is_read_where_it_is_given_and_again_where_it_moves(tree):
    folder = real_data(tree)
    assert "16_external" not in make(tree, "paper", f"DATASET={folder}")[0]
    (tree / "ludb").rename(tree / "ludb-0")
    for name in ("ludb-0", "ludb-moved"):
        (tree / "ludb-0").rename(tree / name)
        given = f"LUDB={name}"
        steps = make(tree, "paper", f"DATASET={folder}", given)[0]
        assert set(steps) == {"heat", "external", "16_external"} | AFTER_EXPERIMENTS
        assert f"-m cardiov external {folder} some-ecgs notebooks/params/paper --ludb {name}\n" in log(tree)
        assert make(tree, "paper", f"DATASET={folder}", given)[0] == []


def test_a_sample_without_predictions_on_ludb_is_rebuilt_without_their_notebook(tree):
    (tree / f"results/{SAMPLE}/external_ludb.csv").unlink()
    assert set(make(tree, "paper")[0]) == REBUILT - {"16_external"}
    assert set(make(tree, "publish")[0]) == PUBLISHED - {"external", "16_external"}


@pytest.mark.parametrize("given", [
    ["publish"], ["publish", "LUDB="], ["-n", "publish"], ["paper", "publish"], ["paper", "DATASET={folder}"],
])  # fmt: skip
def test_results_of_ludb_are_not_published_without_it(tree, given):
    folder = real_data(tree)
    make(tree, "paper", f"DATASET={folder}", "LUDB=ludb")
    steps, done = make(tree, *[text.format(folder=folder) for text in given])
    assert steps == [] and done.returncode != 0 and len(done.stderr.splitlines()) == 1
    name = "some-ecgs" if "DATASET={folder}" in given else SAMPLE
    assert f"results/{name} holds results of LUDB: give LUDB=<folder with its records>." in done.stderr


def test_an_imported_sheet_reruns_the_agreement(tree):
    folder = real_data(tree)
    make(tree, "paper", f"DATASET={folder}")
    (tree / "results/some-ecgs/reviews").mkdir(parents=True)
    touch(tree / "results/some-ecgs/reviews/smith.csv")
    assert set(make(tree, "paper", f"DATASET={folder}")[0]) == {"07_agreement"} | LAST


def test_other_parameters_or_another_folder_of_the_same_name_start_anew(tree):
    folder = real_data(tree)
    make(tree, "paper", f"DATASET={folder}")
    steps, _ = make(tree, "paper", f"DATASET={folder}", "PARAMS=notebooks/params/quick")
    assert set(steps) == ALL - {"demo"}
    moved = folder.rename(real_data(tree, "other").parent.parent / folder.name)
    assert set(make(tree, "paper", f"DATASET={moved}", "PARAMS=notebooks/params/quick")[0]) == ALL - {"demo"}


def test_bad_settings_are_one_sentence_and_hinder_nothing_else(tree):
    for given in ("DATASET=unknown", "STEPS=fast"):
        steps, done = make(tree, "paper", given)
        assert steps == [] and done.returncode != 0 and len(done.stderr.splitlines()) == 1
        assert "unknown" in done.stderr
    steps, done = make(tree, "app", "PORT=9000", "DATASET=unknown")
    assert steps == ["app"] and done.returncode == 0, done.stderr
    assert "-m cardiov app --port 9000" in log(tree)


def test_clean_keeps_results_and_the_weights_of_real_data(copied):
    tree = copied(SAMPLE)
    make(tree, "paper", "DATASET=demo")
    weights = tree / f"build/{SAMPLE}/runs/ordinal-0/weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert make(tree, "clean")[1].returncode == 0
    kept = [weights, tree / "results/demo/report.html", tree / ".venv/bin/python", tree / f"data/{SAMPLE}/ptbxl_database.csv"]
    assert all(path.exists() for path in kept)
    assert not (tree / "data/demo").exists() and not (tree / "build/demo").exists()
    assert not {"cache-100", "outcomes", "rebuilt", "results"} & set(os.listdir(tree / f"build/{SAMPLE}"))
    assert set(make(tree, "paper")[0]) == REBUILT


def test_the_lab_keeps_what_its_notebooks_make_and_its_terminals_do_not(tree):
    (tree / "build/lab").mkdir(parents=True)
    (tree / "build/lab/04_roc.ipynb").write_text("a reader's own")
    assert make(tree, "lab")[1].returncode == 0 and log(tree).endswith("-m jupyterlab build/lab\n")
    assert "made: build/lab;" in (tree / "environment").read_text()
    assert (tree / "build/lab/04_roc.ipynb").read_text() == "a reader's own"
    assert (tree / "build/lab/solutions/04_roc.ipynb").exists() and not (tree / "build/lab/solutions.ipynb").exists()
    assert make(tree, "paper", CARDIOV_MADE="build/lab")[1].returncode == 0
    assert "made: ;" in (tree / "environment").read_text()


def test_help_names_every_target(tree):
    text = make(tree, "help")[1].stdout
    assert all(f"make {target} " in text for target in ("paper", "publish", "test", "setup", "lab", "app", "bench", "docs", "notebooks", "clean"))
    assert make(tree)[1].stdout == text


# Several makes at once, and killed ones

SENTENCE = f"Another make is at work on {SAMPLE}: this one waits until it has ended."


def started(tree, target="paper"):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([MAKE, "PYTHON=./python-stub", target, "LUDB=ludb"], cwd=tree, env=ENVIRONMENT, **pipes)


@pytest.mark.parametrize(("first", "second"), [("paper", "paper"), ("publish", "publish"), ("paper", "publish"), ("publish", "paper")])
def test_of_two_makes_at_once_one_waits_and_does_what_is_left(tree, first, second):
    make(tree, "setup")
    (tree / "log").unlink()
    (tree / ".venv/bin/python").write_text(STUB.replace("  prepare) ", "  prepare) until [ -e go ]; do sleep 0.05; done; "))
    with started(tree, first) as one:
        while "-m cardiov prepare" not in log(tree):
            assert one.poll() is None
            time.sleep(0.02)
        with started(tree, second) as other:
            assert other.stderr.readline() == f"{SENTENCE}\n"
            (tree / "go").touch()
            assert one.communicate()[1] == other.communicate()[1] == "" and one.returncode == other.returncode == 0
    steps = [_step(line) for line in log(tree).splitlines() if " cardiov " in line]
    assert sorted(steps) == sorted([step for target in {first, second} for step in (REBUILT if target == "paper" else PUBLISHED)])


def test_looking_waits_for_nobody_and_makes_nothing(tree):
    make(tree, "setup")
    (tree / "build").mkdir()
    with open(tree / f"build/{SAMPLE}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for target, steps in (("paper", REBUILT), ("publish", PUBLISHED)):
            assert sorted(planned(tree, target, "LUDB=ludb")) == sorted(steps)
            assert log(tree) == "" and os.listdir(tree / "build") == [f"{SAMPLE}.lock"]


def test_a_make_waits_for_what_a_killed_one_has_left_running(tree):
    make(tree, "setup")
    (tree / "build").mkdir()
    with open(tree / f"build/{SAMPLE}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        left = subprocess.Popen(["sleep", "600"], stdout=lock)
    with started(tree) as one:
        assert one.stderr.readline() == f"{SENTENCE}\n"
        assert "-m cardiov prepare" not in log(tree)
        left.kill(), left.wait()
        assert one.wait() == 0 and f"-m cardiov ending {SAMPLE}" in log(tree)


def test_steps_of_a_killed_make_keep_its_lock(tree):
    """A step goes on for a while after the processes above it were killed; another make must not begin beside it."""
    make(tree, "setup")
    stub = tree / ".venv/bin/python"
    stub.write_text(STUB.replace("  retrained) ", "  retrained) echo $$ > pid; exec 2>&- >&-; sleep 600; "))
    with started(tree) as one:
        while not (tree / "pid").exists():
            assert one.poll() is None
            time.sleep(0.02)
        for name in subprocess.run(["pgrep", "-f", f"cardiov alone|{MAKE}"], capture_output=True, text=True).stdout.split():
            if os.path.realpath(f"/proc/{name}/cwd") == str(tree.resolve()):
                os.kill(int(name), signal.SIGKILL)
    os.replace(shutil.copy(tree / "python-stub", tree / "next-stub"), stub)  # what is being started cannot be written
    with started(tree) as other:
        assert other.stderr.readline() == f"{SENTENCE}\n"
        subprocess.run(["pkill", "-P", (tree / "pid").read_text().strip()])
        assert other.wait() == 0


def test_what_killed_runs_have_left_half_written_is_removed(tree):
    left = [tree / name for name in (f"results/{SAMPLE}/runs/best-0/.history.csv.12.tmp", f"figures/{SAMPLE}/.roc.png.12.tmp",
                                     f"build/{SAMPLE}/runs/ordinal-0/.checkpoint.pt.12.tmp",
                                     f"build/{SAMPLE}/rebuilt/done/prepare.part")]  # fmt: skip
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tree / "results/other").mkdir()
    other = tree / "results/other/.table.csv.12.tmp"
    other.touch()
    make(tree, "paper")
    assert not any(path.exists() for path in left) and other.exists()


ON_ALL_CORES = "-m pytest --numprocesses auto --dist loadfile"


@pytest.mark.parametrize(("fails", "said"), [
    ("nowhere", ["pytest: passed", "nbval: passed"]), (ON_ALL_CORES, ["pytest: failed", "nbval: passed"]),
    ("-m pytest*--nbval*", ["pytest: passed", "nbval: failed"]), ("-m pytest*", ["pytest: failed", "nbval: failed"]),
])  # fmt: skip
def test_pytest_and_nbval_both_run_and_are_reported_whichever_fails(tree, fails, said):
    done = make(tree, "test", FAIL_AT=fails)[1]
    assert log(tree).splitlines()[-2:] == [ON_ALL_CORES, f"{ON_ALL_CORES} --nbval --nbval-current-env notebooks"]
    assert done.stdout.splitlines()[-2:] == said and (done.returncode != 0) == (fails != "nowhere")
