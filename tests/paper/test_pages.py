"""The blocks of the README and of docs/ that hold results: what they say, and that they are in step with what is stored."""

import pandas as pd
import pytest

from cardiov.paper import pages
from cardiov.store.files import ROOT, write_note
from cardiov.store.results import results_dir, write_table

FIGURES = [
    ("Table 1", "records", "21837", "21,837", "agrees"), ("Text", "records MI", "5486", "5,486", "agrees"),
    ("Text", "records CD", "4907", "4,907", "agrees"), ("Table 1", "lowest age", "0 years", "2", "contradicts"),
    ("Table 6", "mean AUC, ordinal - regression", "ordinal higher", "0.07 (0.06 to 0.08)", "agrees"),
    ("Table 6", "mean AUC, ordinal - classification", "ordinal higher", "0.00 (-0.01 to 0.01)", "cannot tell"),
    ("Fig. 2", "mean absolute error", "0.4984", "0.50 (0.42 to 0.59)", "not comparable on this data"),
    ("Fig. 2", "mean AUC", "0.8735", "0.87 (0.84 to 0.90)", "not comparable on this data"),
    ("Table 6", "mean AUC of regression", "not available", "0.75", "not available"),
    ("Agreement", "agreement of model and cardiologist", "53.56 %", "53.56", "recomputed"),
]  # fmt: skip


def interval(name, value):
    return {name: value, f"{name}_low": value - 0.1, f"{name}_high": value + 0.1}


@pytest.fixture
def stored(root):
    """Results of the sample that are few and round."""
    folder = results_dir("ptbxl-sample")
    table = pd.DataFrame(FIGURES, columns=["where", "quantity", "published", "reproduced", "verdict"])
    write_table(table, folder / "published.csv")
    scalars = {
        "04_roc": {"n": 1367},
        "16_external": {"n": 200, **interval("ludb_mae", 1), **interval("mae_network", 1), **interval("mae_always_2", 0.6)},
        "17_baselines": {"network_auc_mean_all_folds": 0.88, "boosting_auc_mean_all_folds": 0.9,
                         "n_all_folds": 4254,
                         **interval("taught_auc_mean_all_folds", 0.89), **interval("taught_mae_all_folds", 0.43),
                         **interval("taught_minus_taught_xresnet1d_auc_mean_all_folds", -0.2),
                         **interval("taught_xresnet1d_auc_mean_all_folds", 0.9),
                         **interval("taught_minus_boosting_auc_mean_all_folds", -0.01)},
        "18_dangers": {"called_0_all_folds": 20.0, "high_risk_all_folds": 80.0},
    }  # fmt: skip
    for name, values in scalars.items():
        write_note(folder / f"scalars/{name}.json", values)
    subsets = pd.DataFrame({"subset": ["likelihood 100", "likelihood below 100"], "statistic": "mae", "estimate": [0.4, 1.1]})
    write_table(subsets, folder / "label_subsets.csv")
    return folder


def test_verdicts_are_counted_and_what_disagrees_is_named(stored):
    lines = pages.verdicts().splitlines()
    assert lines[0] == "Of 6 published figures and claims that the ECGs here can judge, by 95 % intervals:"
    assert lines[2:] == [
        "- **4 agree**: 1 of Table 1, 2 of the text, 1 of Table 6.",
        "- **1 contradict**: lowest age (Table 1).",
        "- **1 cannot be told**: mean AUC, ordinal - classification (Table 6).",
        "- **2 more** need all of PTB-XL or cardiologists, such as the mean absolute error of Fig. 2: published 0.4984, here 0.50 (0.42 to 0.59).",
        "- **1 cells** of Table 6 are not available, and 1 figures follow from other published ones.",
    ]


def test_headlines_are_seven_with_intervals_and_a_verdict_where_there_is_one(stored):
    assert pages.headlines().splitlines()[2:] == [
        "| mean AUC, ordinal - regression (Table 6) | published: ordinal higher | 0.07 (0.06 to 0.08): agrees |",
        "| mean AUC, ordinal - classification (Table 6) | published: ordinal higher | 0.00 (-0.01 to 0.01): cannot tell |",
        "| mean absolute error (Fig. 2) | published: 0.4984 | 0.50 (0.42 to 0.59) |",
        "| mean AUC (Fig. 2) | published: 0.8735 | 0.87 (0.84 to 0.90) |",
        "| both in cross-validation, 4,254 records | published, with five times the records: 0.4984 and 0.8735 "
        "| 0.430 (0.330 to 0.530) and 0.890 (0.790 to 0.990) |",
        "| mean AUC, network - boosting on measured features | network 0.890, boosting 0.900 | -0.010 (-0.110 to 0.090) |",
        "| mean absolute error on LUDB, 200 ECGs of another hospital | calling every ECG a 2: 0.600 (0.500 to 0.700) "
        "| 1.000 (0.900 to 1.100) |",
    ]


def test_limits_are_said_in_numbers(stored):
    elsewhere, missed, boosting, other, uncertain = pages.limits().splitlines()
    assert "1.000 (0.900 to 1.100); a rule that calls every ECG a 2 has 0.600 (0.500 to 0.700)" in elsewhere
    assert "20 of 80 ECGs with high-risk labels (25%)" in missed
    assert "0.900 in cross-validation, the network, which it has taught, 0.890, and one that it has not 0.880." in boosting
    assert "is better in cross-validation: mean AUC 0.900 (0.800 to 1.000), the shipped recipe 0.890 (0.790 to 0.990)" in other
    assert "is 1.10, elsewhere 0.40 (fold 10)" in uncertain


def test_the_table_of_methods_has_a_row_for_each_and_gaps_where_it_was_not_tested(stored):
    rows = [("fold 10", "network", "auc_mean", 0.85, 0.83, 0.87), ("fold 10", "constant", "auc_mean", 0.5, 0.5, 0.5),
            ("all folds", "network", "mae", 0.52, 0.51, 0.53)]  # fmt: skip
    columns = ["tested", "method", "statistic", "estimate", "low", "high"]
    write_table(pd.DataFrame(rows, columns=columns), stored / "baselines.csv")
    assert pages.methods().splitlines() == [
        "| Method | mean AUC, fold 10 | mean absolute error, all folds |", "| --- | --- | --- |",
        "| network | 0.850 (0.830 to 0.870) | 0.520 (0.510 to 0.530) |", "| constant | 0.500 (0.500 to 0.500) |  |",
    ]  # fmt: skip


def test_the_table_of_figures_has_errors_and_aucs_that_are_published(stored):
    header, _, *rows = pages.figures().splitlines()
    assert header == "| Where | Quantity | Published | ptbxl-sample, n = 1,367 |" and len(rows) == 4
    assert "| Fig. 2 | mean absolute error | 0.4984 | 0.50 (0.42 to 0.59) |" in rows


def test_blocks_are_written_between_their_marks_and_only_there(root, monkeypatch):
    def some():
        return "new"

    monkeypatch.setattr(pages, "BLOCKS", {"README.md": (some,)})
    page = root / "README.md"
    page.write_text("before\n<!-- some: written by `make publish` -->\nold\n<!-- end of some -->\nafter\n")
    pages.update_pages()
    assert page.read_text() == "before\n<!-- some: written by `make publish` -->\nnew\n<!-- end of some -->\nafter\n"
    changed = page.stat().st_mtime_ns
    pages.update_pages()
    assert page.stat().st_mtime_ns == changed


@pytest.mark.parametrize(("name", "block"), [(name, block) for name, blocks in pages.BLOCKS.items() for block in blocks])
def test_pages_are_in_step_with_the_results(name, block):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert pages.with_block(text, block.__name__, block()) == text, "run `make publish`, which writes it"
    assert text.count(f"<!-- end of {block.__name__} -->") == 1


def test_the_gallery_shows_every_published_figure_with_notebook_and_numbers():
    shown = pages.gallery()
    for path in (ROOT / "figures/ptbxl-sample").glob("*.png"):
        assert f"({path.stem}.png)" in shown.replace("../figures/ptbxl-sample/", ""), path
        assert f"[numbers](../figures/ptbxl-sample/{path.stem}.csv)" in shown


@pytest.fixture
def processors(root):
    """What the benchmark of processors leaves, of two."""
    for name, seconds, status in (("with-AVX2", 61, 0), ("without-AVX", 1200, 2)):
        commands = {command: {"threads": "2", "status": status, "seconds": seconds, "changed_files": 0} for command in pages.COMMANDS}
        write_note(root / f"results/scale/processors/{name}.json", {"commands": commands})


def test_times_are_minutes_rounded_up(processors):
    assert pages.times().splitlines()[2:] == [f"| `{command}` | 2 minutes |" for command in pages.COMMANDS]


def test_a_processor_on_which_a_command_failed_is_named(processors):
    rows = pages.processors().splitlines()[2:]
    assert rows[0] == "| with AVX2 | `make paper` | 2 | passed |" and len(rows) == 6
    assert rows[-1] == "| without AVX | `make test` | 2 | failed |"
