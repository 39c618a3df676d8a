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
echo "threads: $OMP_NUM_THREADS; flags: $MAKEFLAGS" > environment
while [ "$1" != cardiov ]; do shift; done
step=$2; shift 2
case "$*" in *"$FAIL_AT"*) exit 1 ;; esac
[ "$step" = "$FAIL_AT" ] && exit 1
leave() { for file; do mkdir -p "${file%/*}"; touch "$file"; echo "$file"; done; }
case "$step" in
  demo) leave "$1/ptbxl_database.csv" "$1/SIMULATED.txt" ;;
  download) leave "$1/ptbxl_database.csv" ;;
  prepare) leave "build/$2/cache-100/cache.json" ;;
  train) leave "results/$2/runs/ordinal-0/predictions.csv" "results/$2/runs/best-0/predictions.csv" ;;
  search) leave "results/$2/search.csv" "results/$2/runs/search/provenance.json" ;;
  stress) leave "results/$2/runs/ordinal-0/stress.csv" ;;
  heat) leave "results/$2/runs/ordinal-0/heat_sanity.csv" ;;
  ship) leave "build/$2/shipped.safetensors" ;;
  external) leave "results/$2/external_ludb.csv" ;;
  notebook) leave "$2" ;;
  report) leave "results/$1/report.html" ;;
esac
"""
ENVIRONMENT = {"PATH": os.environ["PATH"], "FAIL_AT": "nowhere", "REAL": sys.executable, "PYTHONPATH": str(ROOT)}
NUMBERED = {path.stem for path in ROOT.glob("notebooks/[0-9]*.ipynb")} - {"16_external"}
LAST = {"99_published", "report", "compare"}
AFTER_EXPERIMENTS = NUMBERED | LAST
EXPERIMENTS = {"search", "stress", "heat", "ship"}
AFTER_TRAINING = {"stress", "heat", "ship"} | AFTER_EXPERIMENTS
AFTER_SIGNALS = {"prepare", "train", "search"} | AFTER_TRAINING
ALL = {"demo"} | AFTER_SIGNALS


@pytest.fixture
def tree(tmp_path):
    """The repository's files, empty where only their age counts, with stubs for the interpreter and the environment."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for pattern in ("cardiov/**/*.*", "notebooks/*.ipynb", "notebooks/params/*/*.yaml", "results/*.csv", "data/ptbxl-metadata/*.xz", "*.lock",
                    "*.toml"):  # fmt: skip
        for path in ROOT.glob(pattern):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
            os.utime(copy, (1e9, 1e9))
    shutil.copy(ROOT / "cardiov/paper/plan.py", tmp_path / "cardiov/paper")
    os.utime(tmp_path / "cardiov/paper/plan.py", (1e9, 1e9))
    stub = tmp_path / "python-stub"
    stub.write_text(STUB)
    stub.chmod(0o755)
    return tmp_path


def make(tree, *arguments, **variables):
    """Run make; return the steps it took, in order, and its whole result."""
    (tree / "log").unlink(missing_ok=True)
    environment = ENVIRONMENT | variables
    done = subprocess.run(
        [MAKE, "PYTHON=./python-stub", *arguments], cwd=tree, env=environment, capture_output=True, text=True
    )
    log = (tree / "log").read_text().splitlines() if (tree / "log").exists() else []
    return [_step(line) for line in log if " cardiov " in line], done


def _step(line):
    words = line.split(" cardiov ")[1].split()
    return Path(words[2]).stem if words[0] == "notebook" else words[0]


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
    assert at["demo"] < at["prepare"] < at["train"] < min(at[step] for step in EXPERIMENTS)
    assert max(at[step] for step in EXPERIMENTS) < at["01_dataset"] < min(at[name] for name in NUMBERED - {"01_dataset"})
    assert steps[-3:] == ["99_published", "report", "compare"]


def test_several_processes_train_under_torchrun(tree):
    steps, done = make(tree, "paper", "PROCESSES=8")
    assert done.returncode == 0, done.stderr
    assert sorted(steps) == sorted(ALL)
    expected = "-m torch.distributed.run --standalone --nproc-per-node 8 -m cardiov train data/demo demo notebooks/params/demo"
    assert expected in log(tree).splitlines()


def test_nothing_runs_when_nothing_changed(tree):
    make(tree, "paper")
    steps, done = make(tree, "paper")
    assert steps == []
    assert "Nothing to be done for 'paper'" in done.stdout


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("notebooks/02_network.ipynb", {"02_network"} | LAST),
        ("notebooks/01_dataset.ipynb", AFTER_EXPERIMENTS),
        ("notebooks/params/demo/analysis.yaml", AFTER_EXPERIMENTS),
        ("notebooks/params/demo/search.yaml", {"search"} | AFTER_EXPERIMENTS),
        ("notebooks/params/demo/runs.yaml", {"train"} | AFTER_TRAINING),
        ("notebooks/params/paper/runs.yaml", set()),
        ("cardiov/ecg/filters.py", ALL),
        ("cardiov/data/demo/heart.py", ALL),
        ("cardiov/training/trainer.py", {"train", "search"} | AFTER_TRAINING),
        ("cardiov/model.py", {"train", "search"} | AFTER_TRAINING),
        ("cardiov/experiments/heat.py", EXPERIMENTS | AFTER_EXPERIMENTS),
        ("cardiov/analysis/metrics.py", EXPERIMENTS | AFTER_EXPERIMENTS),
        ("cardiov/plots/roc.py", AFTER_EXPERIMENTS),
        ("cardiov/store/results.py", AFTER_EXPERIMENTS),
        ("cardiov/paper/published.py", LAST),
        ("cardiov/paper/report.html", LAST),
        ("cardiov/app/page.py", set()),
        ("cardiov/errors.py", set()),
        ("results/published.csv", {"07_agreement"} | LAST),
        ("results/tolerances.csv", LAST),
        ("data/ptbxl-metadata/ptbxl_database-1.0.1.csv.xz", AFTER_EXPERIMENTS),
        ("requirements.lock", ALL - {"demo"}),
        ("data/demo/ptbxl_database.csv", AFTER_SIGNALS),
        ("data/demo/new-record.dat", AFTER_SIGNALS),
    ],
)
def test_a_change_reruns_what_depends_on_it_and_no_more(tree, name, expected):
    assert make(tree, "paper")[1].returncode == 0
    touch(tree / name)
    steps, done = make(tree, "paper")
    assert done.returncode == 0, done.stderr
    assert len(steps) == len(set(steps)) and set(steps) == expected


def test_committed_results_do_not_make_it_skip(tree):
    make(tree, "paper")
    shutil.rmtree(tree / "build")
    shutil.rmtree(tree / "data")
    assert set(make(tree, "paper")[0]) == ALL


@pytest.mark.parametrize("place", ["04_roc", "train"])
def test_a_failed_step_is_run_again(tree, place):
    steps, done = make(tree, "paper", FAIL_AT=place)
    assert done.returncode != 0 and steps[-1] == place
    steps, done = make(tree, "paper")
    assert done.returncode == 0 and place in steps and "prepare" not in steps


@pytest.mark.parametrize(
    "gone",
    ["build/demo/cache-100/cache.json", "build/demo/shipped.safetensors", "results/demo/search.csv", "results/demo/report.html",
     "results/demo/runs/best-0/predictions.csv",
     *(f"results/demo/runs/ordinal-0/{name}.csv" for name in ("predictions", "stress", "heat_sanity"))],
)  # fmt: skip
def test_what_is_gone_is_made_again(tree, gone):
    make(tree, "paper")
    (tree / gone).unlink()
    make(tree, "paper")
    assert (tree / gone).exists()
    assert make(tree, "paper")[0] == []


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


def ludb(tree, name="ludb"):
    (tree / name).mkdir()
    (tree / name / "1.hea").touch()
    return f"LUDB={name}"


def test_ludb_is_read_where_it_is_given_and_again_where_it_moves(tree):
    folder = real_data(tree)
    assert "16_external" not in make(tree, "paper", f"DATASET={folder}")[0]
    for name in ("ludb", "ludb-moved"):
        given = ludb(tree, name)
        steps = make(tree, "paper", f"DATASET={folder}", given)[0]
        assert set(steps) == {"heat", "external", "16_external"} | AFTER_EXPERIMENTS
        assert f"-m cardiov external {folder} some-ecgs notebooks/params/paper --ludb {name}\n" in log(tree)
        assert make(tree, "paper", f"DATASET={folder}", given)[0] == []
    assert make(tree, "paper", f"DATASET={folder}")[0] == []


def stored_results(tree, name="some-ecgs"):
    """Committed results, and nothing under build/."""
    for result in ("records.csv", "search.csv", "runs/search/provenance.json", "runs/best-0/predictions.csv"):
        path = tree / "results" / name / result
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1e9, 1e9))
    return tree / "results" / name


def test_stored_results_are_made_into_everything_again_without_signals(tree):
    results = stored_results(tree)
    steps, done = make(tree, "paper", "DATASET=some-ecgs")
    assert done.returncode == 0, done.stderr
    assert sorted(steps) == sorted(AFTER_EXPERIMENTS)
    sentence = done.stdout.splitlines()[-1]
    assert sentence.startswith("The signals of some-ecgs are not here, so") and sentence.endswith(".")
    assert "--dataset some-ecgs --data  -f notebooks/params/paper/analysis.yaml" in log(tree)
    steps, done = make(tree, "paper", "DATASET=some-ecgs")
    assert steps == [] and "Nothing to be done for 'paper'" in done.stdout
    touch(results / "runs/best-0/predictions.csv")
    assert set(make(tree, "paper", "DATASET=some-ecgs")[0]) == AFTER_EXPERIMENTS


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


def test_stored_results_of_ludb_are_read(tree):
    (stored_results(tree) / "external_ludb.csv").touch()
    steps = set(make(tree, "paper", "DATASET=some-ecgs")[0])
    assert "external" not in steps and "16_external" in steps


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
    steps, done = make(tree, "paper", "DATASET=unknown")
    assert steps == [] and done.returncode != 0
    assert "unknown/ptbxl_database.csv is missing: give" in done.stderr and len(done.stderr.splitlines()) == 1
    steps, done = make(tree, "app", "PORT=9000", "DATASET=unknown")
    assert steps == ["app"] and done.returncode == 0, done.stderr
    assert "-m cardiov app --port 9000" in log(tree)


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
    gone = ["data/demo", "build/demo", *(f"build/some-ecgs/{name}" for name in ("cache-100", "done", "notebooks", "stored"))]
    assert not any((tree / name).exists() for name in gone)


def test_help_names_every_target(tree):
    text = make(tree, "help")[1].stdout
    assert all(f"make {target} " in text for target in ("paper", "test", "setup", "lab", "app", "bench", "notebooks", "clean"))
    assert make(tree)[1].stdout == text


SENTENCE = "Another make is at work on demo: this one waits until it has ended."


def log(tree):
    return (tree / "log").read_text() if (tree / "log").exists() else ""


def started(tree):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([MAKE, "PYTHON=./python-stub", "paper"], cwd=tree, env=ENVIRONMENT, **pipes)


def test_of_two_makes_at_once_one_waits_and_finds_all_done(tree):
    make(tree, "setup")
    makes = [started(tree) for _ in range(2)]
    ended = [(*one.communicate(), one.returncode) for one in makes]
    steps = [_step(line) for line in log(tree).splitlines() if " cardiov " in line]
    assert sorted(steps) == sorted(ALL)
    assert [code for *_, code in ended] == [0, 0]
    assert sorted(error for _, error, _ in ended) == ["", f"{SENTENCE}\n"]


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


def test_steps_of_a_killed_make_keep_its_lock(tree):
    """A step goes on for a while after the processes above it were killed; another make must not begin beside it."""
    make(tree, "setup")
    stub = tree / ".venv/bin/python"
    stub.write_text(STUB.replace("  train) ", "  train) echo $$ > pid; exec 2>&- >&-; sleep 60; "))
    one = started(tree)
    while not (tree / "pid").exists():
        time.sleep(0.02)
    for name in subprocess.run(["pgrep", "-f", f"cardiov alone|{MAKE}"], capture_output=True, text=True).stdout.split():
        if os.path.realpath(f"/proc/{name}/cwd") == str(tree.resolve()):
            os.kill(int(name), signal.SIGKILL)
    one.wait()
    stub.write_text(STUB)
    other = started(tree)
    assert other.stderr.readline() == f"{SENTENCE}\n"
    subprocess.run(["pkill", "-P", (tree / "pid").read_text().strip()])
    assert other.wait() == 0


def test_what_killed_runs_have_left_half_written_is_removed(tree):
    left = [tree / name for name in ("results/demo/runs/best-0/.history.csv.12.tmp", "figures/demo/.roc.png.12.tmp",
                                     "build/demo/runs/ordinal-0/.checkpoint.pt.12.tmp", "build/demo/done/train.part")]  # fmt: skip
    for path in left:
        path.parent.mkdir(parents=True)
        path.touch()
    (tree / "results/other").mkdir()
    other = tree / "results/other/.table.csv.12.tmp"
    other.touch()
    make(tree, "paper")
    assert not any(path.exists() for path in left) and other.exists()
