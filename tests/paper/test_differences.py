"""What was made here against what is published: every cell named, and publishing."""

import shutil

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from cardiov.errors import DataSetError
from cardiov.model import CardioV, CardioVConfig
from cardiov.paper.differences import differences
from cardiov.paper.publishing import publish
from cardiov.store import results
from cardiov.store.files import write_note, write_text

METRICS = pd.DataFrame({"objective": ["ordinal", "ordinal"], "statistic": ["mae", "auc_mean"], "estimate": [0.5, 12345.678],
                        "note": ["", None]})  # fmt: skip
FOLDERS = {"results": results.results_dir, "figures": results.figures_dir}


def write_all(folder, metrics=METRICS, n=1367):
    """A table, single numbers and a figure with what it plots, in the folders of their kind."""
    results.write_table(metrics, folder("results") / "table6.csv")
    results.write_table(pd.DataFrame({"ecg_id": [7, 8], "sex": ["male", "female"]}), folder("results") / "records.csv")
    write_note(folder("results") / "scalars/04_roc.json", {"n": n, "mae": 0.5, "nothing": None})
    results.write_table(pd.DataFrame({"fpr": [0.0, 0.1], "tpr": [0.0, 0.7]}), folder("figures") / "fig2_roc.csv")
    (folder("figures") / "fig2_roc.png").write_bytes(b"a picture")


def published(kind):
    return FOLDERS[kind]("some")


def made(kind):
    return results.made_dir("some", kind)


@pytest.fixture
def equal(root):
    """The same, published and made here."""
    write_all(published)
    write_all(made)
    return root


def cells():
    return differences("some").to_numpy().tolist()


def test_equal_results_have_no_differences(equal):
    assert cells() == [] and list(differences("some")) == ["table", "row", "statistic", "published", "made"]


@pytest.mark.parametrize(("row", "column", "value", "differs"), [
    (0, "estimate", 0.5 + 9e-7, False), (0, "estimate", 0.5 + 1.1e-6, True), (0, "estimate", -0.5, True),
    (1, "estimate", 12345.678 * (1 + 9e-7), False), (1, "estimate", 12345.678 * (1 + 1.1e-6), True),
    (0, "estimate", None, True), (0, "estimate", "undefined", True), (0, "note", "0.5", True), (1, "statistic", "auc_0", True),
])  # fmt: skip
def test_a_millionth_is_the_limit_below_one_absolute_and_above_relative(equal, row, column, value, differs):
    changed = METRICS.astype(object)
    changed.loc[row, column] = value
    write_all(made, metrics=changed)
    assert len(cells()) == differs


def test_a_cell_is_named_by_table_row_and_statistic_with_both_values(equal):
    write_all(made, metrics=METRICS.assign(estimate=[0.25, 12345.678]), n=1366)
    results.write_table(pd.DataFrame({"ecg_id": [7, 8], "sex": ["male", "male"]}), made("results") / "records.csv")
    results.write_table(pd.DataFrame({"fpr": [0.0, 0.1], "tpr": [0.0, 0.71]}), made("figures") / "fig2_roc.csv")
    assert cells() == [
        ["results/records.csv", "8 female", "sex", "female", "male"],
        ["results/scalars/04_roc.json", "", "n", "1367", "1366"],
        ["results/table6.csv", "ordinal mae", "estimate", "0.5", "0.25"],
        ["figures/fig2_roc.csv", "0.1", "tpr", "0.7", "0.71"],
    ]


@pytest.mark.parametrize(("changed", "cell"), [
    (METRICS[:1], ["", "number of rows", 2, 1]), (METRICS.drop(columns="note"), ["", "columns", "note", ""]),
    (METRICS.rename(columns={"note": "reason"}), ["", "columns", "note", "reason"]),
    (METRICS[["statistic", "objective", "estimate", "note"]],
     ["", "columns", "objective, statistic, estimate, note", "statistic, objective, estimate, note"]),
])  # fmt: skip
def test_rows_and_columns_must_be_the_same(equal, changed, cell):
    write_all(made, metrics=changed)
    assert cells() == [["results/table6.csv", *cell]]


def test_missing_and_further_files_are_named(equal):
    (made("results") / "table6.csv").unlink()
    (made("figures") / "fig2_roc.csv").unlink()
    results.save_scalars("some", "05_subgroups", {"n": 3})
    assert cells() == [
        ["results/scalars/05_subgroups.json", "", "the table", "missing", "present"],
        ["results/table6.csv", "", "the table", "present", "missing"],
        ["figures/fig2_roc.csv", "", "the table", "present", "missing"],
    ]


INPUTS = ("search.csv", "external_ludb.csv", "report.html", "runs/ordinal-0/predictions.csv", "runs/search/provenance.json",
          "reviews/a.csv")  # fmt: skip


def test_what_notebooks_read_and_pictures_are_not_compared(equal):
    for name in INPUTS:
        write_text(published("results") / name, "a\n1\n")
    (made("figures") / "fig2_roc.png").write_bytes(b"the picture of another version of matplotlib")
    assert cells() == []


def test_where_nothing_was_made_all_is_missing(root):
    write_all(published)
    assert set(differences("some")["made"]) == {"missing"} and len(cells()) == 4


# Publishing


@pytest.fixture
def page(root):
    return write_text(results.build_dir("some") / "report.html", "the report")


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_publishing_takes_all_that_was_made_and_leaves_what_notebooks_read(root, page):
    for name in INPUTS:
        write_text(published("results") / name, "a\n1\n")
    write_all(published)
    for folder, name in (("results", "old.csv"), ("results", "scalars/old.json"), ("figures", "old.csv"), ("figures", "old.png")):
        write_text(published(folder) / name, "{}")
    write_all(made, n=1366)
    results.save_figure(Figure(), pd.DataFrame({"y": [1]}), "some", "fig3")
    paths = publish("some")
    assert {path.relative_to(root).as_posix() for path in paths} == {
        "results/some/report.html", "results/some/table6.csv", "results/some/records.csv", "results/some/scalars/04_roc.json",
        "figures/some/fig2_roc.csv", "figures/some/fig2_roc.png", "figures/some/fig3.csv", "figures/some/fig3.png",
    }  # fmt: skip
    assert files(published("results")) == {*INPUTS, "records.csv", "table6.csv", "scalars/04_roc.json"}
    assert files(published("figures")) == {"fig2_roc.csv", "fig2_roc.png", "fig3.csv", "fig3.png"}
    assert (root / "results/some/report.html").read_text() == "the report"
    assert all((published("results") / name).read_text() == "a\n1\n" for name in INPUTS if name != "report.html")
    assert (published("figures") / "fig3.png").read_bytes() == (made("figures") / "fig3.png").read_bytes()
    assert cells() == []


def test_without_a_report_nothing_is_published_and_nothing_deleted(root):
    write_all(published)
    before = files(root)
    with pytest.raises(DataSetError, match=r"build/some/report.html is missing: run the notebooks and `python -m cardiov report` first"):
        publish("some")
    assert files(root) == before


def network(path, dropout=0.0, **metadata):
    torch.manual_seed(0)
    CardioV(CardioVConfig(stem_width=16, widths=(16,), depths=(1,), dropout=dropout)).save_pretrained(path, **metadata)


@pytest.fixture
def package(root, page, monkeypatch):
    """The package's folder of networks, with one of the data set."""
    monkeypatch.setattr("cardiov.store.pretrained.PRETRAINED", root / "package")
    network(root / "package/some.safetensors", name="some", run={"rate": 100})
    write_all(made)
    return root / "package"


@pytest.mark.parametrize("change", [{"run": {"rate": 125}}, {"dropout": 0.1}])
def test_another_network_and_its_card_go_into_the_package(package, change):
    network(results.shipped_path("some"), **{"name": "some", "run": {"rate": 100}} | change)
    for ending in (".md", ".onnx", "-heat.onnx"):
        write_text(results.shipped_path("some").with_name(f"shipped{ending}"), f"made: {ending}")
    publish("some")
    assert (package / "some.safetensors").read_bytes() == results.shipped_path("some").read_bytes()
    for ending in (".md", ".onnx", "-heat.onnx"):
        assert (package / f"some{ending}").read_text() == f"made: {ending}"


def test_the_same_network_leaves_its_file_as_it_is(package):
    before = (package / "some.safetensors").stat().st_mtime_ns
    network(results.shipped_path("some"), run={"rate": 100}, name="some")
    write_text(results.shipped_path("some").with_suffix(".md"), "another card")
    publish("some")
    assert (package / "some.safetensors").stat().st_mtime_ns == before and (package / "some.md").read_text() == "another card"


def test_only_the_network_of_a_data_set_that_has_one_in_the_package_is_taken(package):
    shutil.move(package / "some.safetensors", package / "other.safetensors")
    network(results.shipped_path("some"))
    publish("some")
    assert files(package) == {"other.safetensors"}
