"""What the figures draw: the plotted arrays and texts, not the pixels."""

import pandas as pd

from cardiov.plots.network import learning_curves


def test_learning_curves_have_a_panel_for_each_step_and_a_line_for_each_seed():
    rows = [
        (seed, phase, epoch, 0.5 + seed / 10 - epoch / 100, 0.6 + seed / 10)
        for seed in (0, 3) for phase in ("statements", "ordinal") for epoch in (1, 2)
    ]  # fmt: skip
    figure = learning_curves(pd.DataFrame(rows, columns=["seed", "phase", "epoch", "train_loss", "validation_loss"]), "two seeds")
    assert figure.get_suptitle() == "two seeds"
    assert [axes.get_title() for axes in figure.axes] == ["statements loss", "ordinal loss"]
    for axes in figure.axes:
        lines = sorted(line.get_ydata().round(2).tolist() for line in axes.lines if len(line.get_xdata()))
        assert lines == [[0.49, 0.48], [0.6, 0.6], [0.79, 0.78], [0.9, 0.9]]
        assert all(line.get_xdata().tolist() == [1, 2] for line in axes.lines if len(line.get_xdata()))
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["train", "validation"]
