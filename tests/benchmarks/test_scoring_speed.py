"""Scoring: how long the first score in a fresh process takes, and the next; an archive against a loop of single calls.

On a part of the real sample where it is at hand, else on simulated records.
"""

import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ecg_files import simulated_signal, write_record

from cardiov.ecg.filters import prepare_signal
from cardiov.ecg.leads import read_ecg
from cardiov.scoring.archive import score_files
from cardiov.scoring.record import load_model, score

pytestmark = pytest.mark.slow

SAMPLE = Path(os.environ.get("CARDIOV_SHARED", Path(__file__).parents[3] / "shared")) / "ptbxl-sample"
ROUNDS = 3
TIMES = 5  # the files are scored so often: an archive has thousands


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Some hundred records, and what they are."""
    folder = tmp_path_factory.mktemp("data")
    if not SAMPLE.is_dir():
        for k in range(500):
            write_record(folder, f"r{k}", simulated_signal(seed=k))
    for part in ("05000", "15000", "16000", "17000") if SAMPLE.is_dir() else ():
        with tarfile.open(SAMPLE / f"records500-{part}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
    source = "PTB-XL" if SAMPLE.is_dir() else "simulated"
    return [str(file) for file in sorted(folder.rglob("*.hea"))], source


def seconds(*arguments):
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def test_latency(files, record_ratio):
    files, source = files
    torch_alone, first, following, network = [], [], [], []
    model = load_model()
    for file in files[:20]:
        score(file)  # warm
    for k in range(ROUNDS):  # alternating, so that a busy machine slows all
        torch_alone.append(seconds("-c", "import torch"))
        first.append(seconds("-m", "cardiov", "score", files[k]))
        for file in files[:100]:
            start = time.perf_counter()
            score(file)
            following.append(time.perf_counter() - start)
            ecg = read_ecg(file)
            x = torch.from_numpy(prepare_signal(ecg.signal, ecg.fs, 100))[None]
            start = time.perf_counter()
            with torch.inference_mode():
                model(x)
            network.append(time.perf_counter() - start)
    record_ratio(
        "scoring_latency", source=source, first_score_to_import_of_torch=round(np.median(first) / np.median(torch_alone), 2),
        next_score_to_network_alone=round(np.median(following) / np.median(network), 2),
        first_score_below_5_s=bool(max(first) < 5), next_scores_below_0_3_s=bool(max(following) < 0.3),
    )  # fmt: skip
    assert max(first) < 5 and max(following) < 0.3


def test_an_archive_is_faster_than_a_loop(files, record_ratio):
    files, source = files
    singles, archive = [], []
    list(score_files(files[:80], processes=2))
    for _ in range(ROUNDS):
        start = time.perf_counter()
        expected = [score(file) for file in files]
        singles.append(time.perf_counter() - start)
        start = time.perf_counter()
        found = [outcome.result for outcome in score_files(files * TIMES, processes=2)]
        archive.append((time.perf_counter() - start) / TIMES)
    for one, other in zip(found, expected * TIMES, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
    ratio = np.median(singles) / np.median(archive)
    record_ratio("scoring_archive", ratio=round(ratio, 2), files=TIMES * len(files), source=source, processes=2)
    assert ratio >= 3
