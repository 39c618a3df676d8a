"""What the figures draw: the plotted arrays and texts, not the pixels."""

import pandas as pd
import pytest

from cardiov.plots.agreement import agreement_bars, agreement_selection


def test_agreement_bars_have_exact_intervals_and_percentages():
    from cardiov.analysis.agreement import side_shares

    counts = pd.Series({"label": 259, "model": 361, "neither": 54}).rename_axis("side")
    shares = pd.concat({"published": side_shares(counts), "reader": side_shares(counts // 9)}, names=["reader"])
    figure = agreement_bars(shares, "counts")
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches][:2] == pytest.approx([100 * 259 / 674, 100 * 28 / 74])
    assert {"38.4 %", "53.6 %", "8.0 %"} <= {text.get_text() for text in axes.texts}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["published\n(674 records)", "reader\n(74 records)"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["sides with the label", "sides with the model", "sides with neither"]
    assert len({bar.get_hatch() for bar in axes.patches}) == 3  # sides differ by more than colour


def test_selection_draws_a_panel_a_scenario_and_kind_of_error():
    from cardiov.analysis.agreement import selection

    table = selection([0.4, 0.3, 0.2, 0.1], [0.5, 0.9], n=1000)
    figure = agreement_selection(table, {"label": 38.43, "model": 53.56}, "simulated")
    assert len(figure.axes) == 6 and all(len(axes.lines) == 6 for axes in figure.axes)
    first = table.query("errors == 'adjacent' and scenario == 'label better'")
    drawn = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert drawn["with the label, wrongly predicted records"] == pytest.approx((100 * first["label_wrong"]).tolist())
    assert drawn["with the model, all records"] == pytest.approx((100 * first["model_all"]).tolist())
    assert drawn["with the model, published"] == [53.56, 53.56]
    assert figure.axes[3].get_title() == "label better: label 90 %, model 75 %\nerrors to any value"
