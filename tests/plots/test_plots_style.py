"""What the figures draw: the plotted arrays and texts, not the pixels."""

from cardiov.plots.style import data_title


def test_titles_say_where_the_data_come_from():
    assert data_title("demo", "test split") == "demo (simulated): test split"
    assert data_title("ptbxl-sample") == "ptbxl-sample (PTB-XL, Wagner et al. 2020, CC BY 4.0)"
    assert data_title("clinic", "test split") == "clinic: test split"
