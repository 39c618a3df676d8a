"""Batches of training: which records, their labels, and their signals on the device."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from cardiov import mapping
from cardiov.ordinal import THRESHOLDS, ordinal_targets
from cardiov.training.config import CONTRAST, STATEMENTS

TEACHER = [f"teacher_{k}" for k in range(THRESHOLDS + 1)]  # columns of the metadata: probabilities, NaN where there are none
READERS = 2  # threads for a GPU, and pieces that they read ahead


def signals_of(cache, pieces: Iterable[np.ndarray], device: torch.device) -> Iterator[torch.Tensor]:
    """Signals of each piece of rows, (B, 12, n) in mV; the next ones are read while a GPU computes."""

    def read(rows):
        x = torch.from_numpy(cache.stored(rows))
        return x.pin_memory() if device.type == "cuda" else x

    for x in _ahead(read, pieces) if device.type == "cuda" else map(read, pieces):
        # in mV on the device, so that half the bytes go there
        yield x.to(device, non_blocking=True).float().mul_(1e-3)


def _ahead(read, items):
    """Results of `read` for each item, in order; threads work a few items ahead."""
    coming = deque()
    with ThreadPoolExecutor(READERS) as readers:
        for item in items:
            coming.append(readers.submit(read, item))
            if len(coming) > READERS:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def in_pieces(rows, size, processes=1):
    """Rows cut evenly into as few pieces of at most `size` as possible, equally many for each process."""
    return np.array_split(rows, processes * -(-len(rows) // (size * processes)))


def data_digest(cache, metadata, phases):
    """Digest of the signals, the splits, the phases' labels, and a teacher's probabilities if there is one."""
    columns = {"scp_codes" if objective == STATEMENTS else "critical_value" for objective, _ in phases if objective != CONTRAST}
    taught = metadata.columns.intersection(TEACHER) if "critical_value" in columns else []
    labels = metadata[["split", *sorted(columns, reverse=True), *taught]].to_csv()
    return hashlib.sha256((cache.digest + labels).encode()).hexdigest()[:16]


def training_rows(metadata, config):
    """Positions of the training records, of `config.train_share` of the training patients; of a final fit, the validation's too."""
    rows = np.flatnonzero(metadata["split"].isin(["train", "validation"] if config.final_fit else ["train"]))
    patients = metadata["patient_id"].to_numpy()[rows]
    drawn = np.random.default_rng(config.seed).permutation(np.unique(patients))
    return rows[np.isin(patients, drawn[: round(config.train_share * len(drawn))])]


def targets_of(metadata, objective, likelihoods=False):
    """Labels of a phase: critical values, (N,), or statements as 0 and 1, (N, 71), or, with `likelihoods`, as what lies between.

    A likelihood of 0 % stands in PTB-XL where none was given, so such a statement is a 1.
    """
    if objective != STATEMENTS:
        return torch.from_numpy(metadata["critical_value"].to_numpy(np.int64, copy=True))
    names = mapping.statements().index
    said = [{name: (percent or 100) / 100 if likelihoods else 1.0 for name, percent in codes.items()} for codes in metadata["scp_codes"]]
    return torch.tensor([[codes.get(name, 0.0) for name in names] for codes in said])


def softened(metadata, weight):
    """Answers to the threshold questions, (N, 3): the label's, mixed with a teacher's by `weight` where it says something.

    Distillation: Hinton, Vinyals, Dean (2015), *Distilling the knowledge in a neural network*, arXiv:1503.02531.
    """
    answers = ordinal_targets(targets_of(metadata, "ordinal"))
    taught = torch.from_numpy(metadata[TEACHER].to_numpy(np.float32, copy=True))  # (N, 4)
    above = taught.flip(1).cumsum(1).flip(1)[:, 1:]  # (N, 3)
    return torch.where(above.isnan(), answers, (1 - weight) * answers + weight * above)


def seed_of(*numbers):
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
