"""What the figures draw: the plotted arrays and texts, not the pixels."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rcParams

from cardiov.plots import style
from cardiov.plots.style import (
    INTERVAL, STYLE, data_title, interval_values, legend_below, panels, recipe_title, run_title, styled, with_source,
)


def test_titles_say_where_the_data_come_from():
    assert data_title("demo", "test split") == "demo (simulated): test split"
    assert data_title("ptbxl-sample") == "ptbxl-sample (PTB-XL, Wagner et al. 2020, CC BY 4.0)"
    assert data_title("clinic", "test split") == "clinic: test split"


def test_titles_name_runs_as_readers_do():
    assert run_title("ordinal-3") == "ordinal network, seed 3" and run_title("paper-12") == "paper's network and protocol, seed 12"
    assert recipe_title("idea-windows-5") == "five windows" and recipe_title("idea-no-averaging") == "no averaging"


def test_style_holds_within_a_figure_and_nowhere_else():
    before = rcParams["font.size"]
    figure, ((axes,),) = styled(panels)(100, 50, title="a title that is so long that it does not fit into one line of a small figure")
    figure.draw_without_rendering()  # ticks come only now, outside the style
    sizes = {label.get_size() for label in [*axes.get_xticklabels(), axes.xaxis.label, axes.title, figure._suptitle]}
    assert sizes == {8} and not axes.spines["top"].get_visible() and "\n" in figure.get_suptitle()
    assert rcParams["font.size"] == before != STYLE["font.size"]


def test_no_figure_sets_a_font_size_of_its_own():
    for path in {*Path(style.__file__).parent.glob("*.py")} - {Path(style.__file__)}:
        assert not re.search(r"fontsize|\bsize=\d", path.read_text(encoding="utf-8")), path


def test_interval_values_come_in_the_order_that_seaborn_is_to_draw():
    table = pd.DataFrame({"estimate": [0.9, np.nan], "low": [0.1, np.nan], "high": [0.5, np.nan]}, index=pd.Index(["a", "b"], name="group"))
    values = interval_values(table)  # an estimate may lie outside its interval
    assert values["group"].tolist() == ["a"] * 3 and values["value"].tolist() == [0.9, 0.1, 0.5]
    assert INTERVAL["estimator"](values["value"]) == 0.9 and list(INTERVAL["errorbar"](values["value"])) == [0.1, 0.5]


def test_the_source_of_the_data_is_a_footer_below_all_else():
    figure, ((axes,),) = styled(panels)(100, 50, title="a finding")
    axes.plot([0, 1], label="a line")
    legend_below(figure, axes, 1)
    assert with_source(figure, "PTB-XL, CC BY 4.0") is figure
    figure.draw_without_rendering()
    footer, legend = figure.texts[-1].get_window_extent(), figure.legends[0].get_window_extent()
    assert figure.texts[-1].get_text() == "PTB-XL, CC BY 4.0" and footer.y1 <= 0 <= legend.y0 and legend.y1 < axes.get_window_extent().y0


def test_legends_name_each_thing_once():
    figure, ((axes,),) = styled(panels)(100, 50)
    for colour in ("red", "blue"):
        axes.plot([0, 1], color=colour, label="one")
    axes.plot([1, 0], label="two")
    legend_below(figure, axes, 2)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    assert figure.legends[0].get_lines()[0].get_color() == "red"
