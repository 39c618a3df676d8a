"""Interruptions: `make paper` killed at 50 random moments, on a full device, into a read-only folder, and twice at once.

Each runs in a copy of the working tree, on simulated records that a local server gives as PTB-XL, and has to end with what an
undisturbed run leaves.
"""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from fault_server import serving

from cardiov.data.demo.dataset import make_demo
from cardiov.store.files import ROOT, replacing
from cardiov.store.provenance import git, processor

MAKE = shutil.which("make")
LINUX = pytest.mark.skipif(sys.platform != "linux" or MAKE is None, reason="needs make and Linux")
pytestmark = [pytest.mark.slow, LINUX]

SEED = 6
KILLS = {"download": 8, "cache": 6, "training": 16, "notebooks": 14, "report": 6}
SECONDS = 12  # of the download
NAME = "ptbxl"
PARAMS = "notebooks/params/interrupted"
STEP = re.compile(r"^cardiov notebook \S+ \S*/(\w+)\.ipynb|^cardiov (\w+)|-m cardiov (download)", re.M)
STAGES = {"download": "download", "prepare": "cache", "report": "report", "publish": "report"}  # others: training or notebooks
# what a run leaves besides its time, thread and process numbers
TIMES = re.compile(rb'<tr>\n<td>(?:seconds|time)</td>.*?</tr>|<dt>time</dt><dd>.*?</dd>|"(?:time|seconds)": .*', re.S)
CLEAR = re.compile(r"(no space left to write|are free|cannot be written)[^\n]*: [^\n]+")
LEFT = 8192  # bytes of a full device that are free


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the data set is served as an archive, slowly."""
    folder = tmp_path_factory.mktemp("served") / "demo"
    make_demo(folder, patients=130)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    files["SHA256SUMS.txt"] = "".join(f"{hashlib.sha256(body).hexdigest()} {name}\n" for name, body in files.items()).encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, body in files.items():
            opened.writestr(f"ptb-xl/{name}", body)
    with serving({"/ptb-xl.zip": archive.getvalue()}) as served:
        served.slowly = SECONDS * 2**14 / len(archive.getvalue())
        yield f"{served.address}/ptb-xl.zip"


def copy_tree(folder):
    """The working tree as it is, results of data sets aside, with this environment for its own."""
    names = git("ls-files", "--cached", "--others", "--exclude-standard")
    if names is None:
        pytest.skip("the working tree is not under git, so it is not known what belongs to it")
    wanted = [name for name in names.splitlines() if not re.match(r"(results|figures)/.*/", name) and (ROOT / name).exists()]
    for name in wanted:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    parameters = folder / PARAMS
    shutil.copytree(folder / "notebooks/params/quick", parameters)
    runs = yaml.safe_load((parameters / "runs.yaml").read_text())
    runs["recipes"]["paper"] |= {"pretrain_epochs": 4, "finetune_epochs": 4}
    (parameters / "runs.yaml").write_text(yaml.safe_dump(runs))
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / ".venv/.cardiov-ready").touch()
    return folder


class Make:
    """A running make, or another command, and the steps that it has begun, with their times."""

    def __init__(self, tree, address, *arguments, command=MAKE):
        settings = [f"DATASET={NAME}", f"PTBXL_FROM={address}", f"PARAMS={PARAMS}"] if command == MAKE else []
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "CARDIOV"))}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)}
        self.lines, self.steps = [], []
        self.process = subprocess.Popen([command, *arguments, *settings], cwd=tree, env=environment, text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if step := STEP.search(line):
                self.steps.append((step[step.lastindex], time.monotonic()))

    def until(self, condition):
        """Wait until a condition holds, or the command has ended; whether it holds."""
        while not condition():
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return True

    def end(self):
        """Wait for the end; the exit status."""
        self.process.wait()
        self.reader.join(10)
        return self.process.returncode

    def kill(self):
        """kill -9 of the command and of every process below it, whatever their groups."""
        family = [psutil.Process(self.process.pid)]
        family += family[0].children(recursive=True)
        for one in family:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                pass
        psutil.wait_procs(family[1:], 10)
        self.process.wait()

    @property
    def text(self):
        return "".join(self.lines)


def stage(step):
    return STAGES.get(step) or ("notebooks" if step[:2].isdigit() else "training")


def contents(tree, *folders):
    """Digests of all files, without the times in them; half-written files have names of their own."""
    files = [path for folder in folders for path in sorted((tree / folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(tree)): digest(path) for path in files if path.suffix not in (".tmp", ".lock")}


def digest(path):
    body = path.read_bytes()
    if path.suffix in (".html", ".json"):
        body = TIMES.sub(b"", body) if path.suffix == ".html" else re.sub(rb'"(?:time|seconds)": .*', b"", body)
    if path.name == "history.csv":
        body = pd.read_csv(path, dtype=str).drop(columns="seconds").to_csv().encode()
    return hashlib.sha256(body).hexdigest()


RESULTS = (f"results/{NAME}", f"figures/{NAME}", f"build/{NAME}/results", f"build/{NAME}/figures")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, address):
    """What an undisturbed run leaves, and when it began each step."""
    tree = copy_tree(tmp_path_factory.mktemp("undisturbed"))
    make = Make(tree, address, "paper")
    assert make.end() == 0, make.text[-3000:]
    return tree, [*make.steps, ("end", time.monotonic())]


@pytest.fixture(scope="module")
def record():
    """Adds to results/scale/interruptions.json what a test has found; it may be run alone."""
    path = ROOT / "results/scale/interruptions.json"

    def add(**values):
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        stored |= {"seed": SEED, "records": "simulated", "not_compared": "times and seconds", "processor": processor()} | values
        print(f"\n{values}")
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")

    return add


def random_moments(steps):
    """(position of a step, seconds after its begin), in order; each stage has its share, drawn evenly over its time."""
    rng = np.random.default_rng(SEED)
    moments = []
    for name, count in KILLS.items():
        of_stage = [i for i, (step, _) in enumerate(steps[:-1]) if stage(step) == name]
        lengths = np.array([steps[i + 1][1] - steps[i][1] for i in of_stage])
        drawn = np.sort(rng.uniform(0, lengths.sum(), count))
        if name == "download":  # it goes on at its byte, so each comes so much after the one before
            drawn = np.diff(drawn, prepend=0)
        for at in drawn:
            i = np.searchsorted(lengths.cumsum(), at)
            moments.append((of_stage[i], float(at - lengths[:i].sum())))
    return sorted(moments)


def begun(make, awaited):
    """When the first of these steps has begun; None if none has."""
    return next((at for step, at in list(make.steps) if step in awaited), None)


def test_what_is_killed_at_50_random_moments_ends_as_if_undisturbed(whole, address, tmp_path, record):
    (undisturbed, steps), kills = whole, Counter()
    expected, tree = contents(undisturbed, *RESULTS), copy_tree(tmp_path)
    for position, seconds in random_moments(steps):
        awaited, killed = {step for step, _ in steps[position:-1]}, False
        while not killed:
            make = Make(tree, address, "paper")
            if make.until(lambda: begun(make, awaited)):
                moment = begun(make, awaited) + seconds
                make.until(lambda: time.monotonic() > moment)
            if make.process.poll() is None:
                killed = True
                make.kill()
                kills[stage(make.steps[-1][0])] += 1
            else:  # it was quicker than the undisturbed run: the last step once more
                assert make.end() == 0, make.text[-3000:]
                (tree / "cardiov/paper/report.py").touch()
                seconds /= 2
        made = contents(tree, *RESULTS)
        assert made.items() <= expected.items(), f"half-written or other: {made.items() - expected.items()}"
    make = Make(tree, address, "paper")
    assert make.end() == 0, make.text[-3000:]
    everything = (*RESULTS, f"data/{NAME}")
    same = contents(tree, *everything) == contents(undisturbed, *everything)
    names = [sorted(str(path.relative_to(one)) for folder in ("results", "figures", "data", "build")
                    for path in (one / folder).rglob("*")) for one in (tree, undisturbed)]  # fmt: skip
    tables = sum(name.endswith((".csv", ".json")) for name in expected)
    record(kills=sum(kills.values()), kills_by_stage={name: kills[name] for name in KILLS}, identical=same,
           tables=tables, figures=sum(name.endswith(".png") for name in expected), leftovers=len(set(names[0]) - set(names[1])))  # fmt: skip
    assert same
    assert names[0] == names[1]
    assert sum(kills.values()) == 50 and min(kills[name] for name in KILLS) >= 3


def test_a_make_takes_over_from_a_killed_one_and_another_finds_all_done(whole, address, tmp_path, record):
    tree = copy_tree(tmp_path)
    first = Make(tree, address, "paper")
    assert first.until(lambda: first.steps)
    second = Make(tree, address, "paper")
    waits = f"Another make is at work on {NAME}: this one waits until it has ended.\n"
    assert second.until(lambda: waits in second.lines)
    assert first.until(lambda: begun(first, {"train"}))
    first.kill()
    assert second.until(lambda: second.steps)
    third = Make(tree, address, "paper")
    assert second.end() == 0, second.text[-3000:]
    assert third.end() == 0 and third.lines[0] == waits and not third.steps
    assert "Nothing to be done for 'paper'" in third.text
    same = contents(tree, *RESULTS) == contents(whole[0], *RESULTS)
    record(two_at_once="the second waits, then finds all done", identical_of_two_at_once=same)
    assert same


# Devices


@pytest.fixture
def mount():
    """``mount(folder, *options)``; what is mounted is gone at the end."""
    mounted = []

    def make(folder, *options):
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)

    yield make
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(ballast):
    """Take all space of a device but LEFT bytes."""
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**16))
        except OSError:
            pass
        file.truncate(max(file.tell() - LEFT, 0))


DONE = f"build/{NAME}/done"
WRITTEN = {  # what is written when the device is full, in the order of the steps: by make, or by a command of the package
    "download": [f"data/{NAME}/ptbxl_database.csv"],
    "cache": [f"{DONE}/prepare"],
    "training": [f"{DONE}/train"],
    "search": [f"{DONE}/search"],
    "shipped network": [f"{DONE}/ship"],
    "stressed predictions": [f"{DONE}/stress"],
    "heat maps": [f"{DONE}/heat"],
    "tables": [f"{DONE}/01_dataset"],
    "executed notebook": [f"{DONE}/02_network"],
    "figures": [f"{DONE}/04_roc"],
    "report": ["-m", "cardiov", "report", NAME],
    "publication": ["-m", "cardiov", "publish", NAME],
    "scores": ["-m", "cardiov", "score", "--csv", "--output", "scores.csv", f"data/{NAME}"],
}


def run(tree, address, arguments):
    command = str(tree / ".venv/bin/python") if arguments[0] == "-m" else MAKE
    make = Make(tree, address, *arguments, command=command)
    return make.end(), make.text


def test_a_full_device_is_one_sentence_at_each_stage_and_with_space_the_same_command_goes_on(
    whole, address, tmp_path, mount, record
):
    mount(tmp_path, "-t", "tmpfs", "-o", "size=200m", "tmpfs")
    folders = (*RESULTS, f"data/{NAME}")
    tree, expected, failed = copy_tree(tmp_path), contents(whole[0], *folders), []
    for name, arguments in WRITTEN.items():
        before = contents(tree, *folders)
        fill(tree / "ballast")
        status, text = run(tree, address, arguments)
        assert status and CLEAR.search(text) and "Traceback" not in text, f"{name}: {text[-3000:]}"
        (tree / "ballast").unlink()
        made = contents(tree, *folders)
        assert before.items() <= made.items() <= expected.items(), f"{name}: {made.items() - expected.items()}"
        assert not list(tree.rglob(".*.tmp")), name
        status, text = run(tree, address, arguments)
        assert status == 0, f"{name}: {text[-3000:]}"
        (tree / f"results/{NAME}/report.html").unlink(missing_ok=True)  # of what is made so far
        failed.append(name)
    same = contents(tree, *folders).items() <= expected.items()
    record(full_device_at=failed, identical_after_full_device=same)
    records = pd.read_csv(tree / f"data/{NAME}/ptbxl_database.csv")
    assert same and len(pd.read_csv(tree / "scores.csv")) == len(records)


def test_a_read_only_results_folder_is_one_sentence(whole, address, tmp_path, mount, record):
    tree = shutil.copytree(whole[0], tmp_path / "tree")
    before = contents(tree, *RESULTS)
    mount(tree / "results", "--bind", str(tree / "results"))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(tree / "results")], check=True)
    (tree / "notebooks/01_dataset.ipynb").touch()
    commands = {
        "publication": ["paper"],
        "scores": ["-m", "cardiov", "score", "--csv", "--output", "results/scores.csv", f"data/{NAME}"],
        "training": [f"{DONE}/train"],
    }
    for name, arguments in commands.items():
        if name == "training":
            change(tree / PARAMS / "runs.yaml", "finetune_epochs: 4", "finetune_epochs: 5")
        status, text = run(tree, address, arguments)
        assert status and CLEAR.search(text) and "Traceback" not in text, f"{name}: {text[-3000:]}"
    record(read_only_results=list(commands))
    assert contents(tree, *RESULTS) == before


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
