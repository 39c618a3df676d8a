"""Telling records apart, without labels, before everything else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import BEYOND, CONFIG, make_data, run

from cardiov.errors import ParameterError
from cardiov.training.config import TrainingConfig
from cardiov.training.phase import contrast

TOLD_APART = replace(CONFIG, **BEYOND, contrast_epochs=3)


def test_the_loss_is_that_of_finding_the_partner_among_all_others():
    records = torch.eye(3, 5)
    # each of six rows: its partner has the cosine 1, the four others 0, and itself does not count
    expected = np.log(np.exp(10) + 4) - 10
    assert contrast(torch.cat([2 * records, 5 * records])).item() == pytest.approx(expected, rel=1e-3)  # directions alone count
    wrong = np.log(np.exp(10) + 4)  # the row that is alike is of another record
    assert contrast(torch.cat([records, records.roll(1, 0)])).item() == pytest.approx(wrong, rel=1e-3)


def test_records_are_told_apart_without_any_label(tmp_path):
    cache, metadata = make_data(tmp_path / "data")
    losses = []
    for name in ("as they are", "others"):
        run(TOLD_APART, (cache, metadata), tmp_path / name)
        history = pd.read_csv(tmp_path / name / "run/history.csv")
        losses.append(history.query("phase == 'contrast'")["train_loss"])
        assert list(history["phase"].unique()) == ["contrast", "statements", "classification", "ordinal"]
        metadata = metadata.assign(critical_value=3 - metadata["critical_value"], scp_codes=metadata["scp_codes"].to_numpy()[::-1])
    assert len(losses[0]) == 3 and losses[0].equals(losses[1]) and losses[0].iloc[-1] < losses[0].iloc[0]


def test_what_was_learned_is_where_the_next_task_starts(tmp_path):
    data = make_data(tmp_path / "data")
    first = {}
    for epochs in (0, 3):
        run(replace(TOLD_APART, contrast_epochs=epochs), data, tmp_path / str(epochs))
        first[epochs] = pd.read_csv(tmp_path / str(epochs) / "run/history.csv").query("phase == 'statements'")["train_loss"].iloc[0]
    assert first[0] != first[3]


def test_without_stretches_there_is_nothing_to_tell_apart():
    with pytest.raises(ParameterError, match="told apart by two stretches of each: set crop above 0, or contrast_epochs to 0"):
        TrainingConfig(contrast_epochs=1)
