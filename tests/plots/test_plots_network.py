"""What the figures draw: the plotted arrays and texts, not the pixels."""

import numpy as np
import pandas as pd
import pytest

from cardiov.plots.network import loss_curves, ordinal_framework, threshold_cuts


def test_training_has_a_panel_for_each_objective_and_marks_the_kept_epoch_of_each_seed():
    rows = [
        (objective, seed, phase, epoch, 0.5 + seed / 10 - epoch / 100, 0.6 + seed / 10 + (epoch - 2) ** 2 / 100)
        for objective in ("ordinal", "regression") for seed in (0, 3) for phase in ("statements", objective) for epoch in (1, 2, 3)
    ]  # fmt: skip
    columns = ["objective", "seed", "phase", "epoch", "train_loss", "validation_loss"]
    figure = loss_curves(pd.DataFrame(rows, columns=columns), "two objectives")
    assert figure.get_suptitle() == "two objectives"
    assert [axes.get_title() for axes in figure.axes] == ["ordinal loss", "regression loss"]
    for axes in figure.axes:
        lines = [line.get_ydata().round(2).tolist() for line in axes.lines if len(line.get_xdata()) == 3]
        assert sorted(lines) == [[0.49, 0.48, 0.47], [0.61, 0.6, 0.61], [0.79, 0.78, 0.77], [0.91, 0.9, 0.91]]
        kept = [line.get_xydata().round(2).tolist() for line in axes.lines if line.get_marker() == "o"]
        assert kept == [[[2, 0.6]], [[2, 0.9]]]
    assert len(figure.legends[0].get_texts()) == 3


def test_framework_leads_from_an_ecg_to_four_probabilities_that_share_one_axis():
    stages = pd.DataFrame({"length": [1250, 625], "channels": [64, 160]}, index=["s1", "s2"])
    figure = ordinal_framework(np.sin(np.arange(50)), 100, stages, [0.9, 0.6, 0.2])
    ecg, network, sigmoid, classes = figure.axes
    assert ecg.lines[0].get_xdata()[-1] == 0.49 and ecg.get_title() == "12 leads × 50 samples"
    assert [bar.get_height() for bar in network.patches] == pytest.approx(np.log2([1250, 625]))
    assert [text.get_text() for text in network.get_xticklabels()] == ["1\n64", "2\n160"]
    logits = [line.get_xydata()[0].tolist() for line in sigmoid.lines if line.get_marker() == "o"]
    assert [1 / (1 + np.exp(-z)) for z, _ in logits] == pytest.approx([0.9, 0.6, 0.2]) == [p for _, p in logits]
    pieces = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in classes.patches]
    assert np.ravel(pieces) == pytest.approx([0.9, 1, 0.6, 0.9, 0.2, 0.6, 0, 0.2])
    assert [text.get_text() for text in classes.texts] == ["0 no: 0.10", "1 low: 0.30", "2 medium: 0.40", "3 high: 0.20"]
    assert sigmoid.get_ylim() == classes.get_ylim() == (0, 1)


def test_thresholds_out_of_order_are_shown_to_give_a_negative_probability():
    figure = threshold_cuts(0.55, 0.82, 0.27)
    assert [bar.get_height() for bar in figure.axes[0].patches] == pytest.approx([0.45, -0.27, 0.55, 0.27])
    assert figure.get_suptitle().replace("\n", " ") == "The thresholds are out of order: Pr(1) = -0.27"
    assert [bar.get_hatch() for bar in figure.axes[0].patches] == [None, "//", None, None]
    assert threshold_cuts(0.9, 0.6, 0.2).get_suptitle() == "The thresholds fall: four probabilities"
