"""What the report shows is what the notebooks say: names, captions and their order."""

import re

import nbformat
import pytest

from cardiov.errors import NotebookError
from cardiov.paper.captions import made_by, read_sections, shown
from cardiov.paper.report import NOTEBOOKS
from cardiov.store import results
from cardiov.store.files import ROOT, write_text

# drawn as a figure of the same name, or one row a record
UNCAPTIONED = {"agreement", "heat_shares", "heat_shares_ludb", "heat_sanity"}
OF_COMMANDS = {"records", "search", "external_ludb", "external_ludb_most_likely", "external_ludb_highest_risk"}  # no notebook saves them


def notebook(folder, name, *cells):
    title, *code = cells
    cells = [nbformat.v4.new_markdown_cell(title), *map(nbformat.v4.new_code_cell, code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")


@pytest.fixture
def sections(tmp_path):
    notebook(tmp_path, "02_second", "# 02 · The second (Fig. 2)\n\nText", "%matplotlib inline\nx = read_records()",
             'for run in "ab":\n    save_figure(figure, data, dataset, f"roc_{run}", caption=f"ROC of {run} in {{}}.")',
             'results.save_table(table, dataset, "last", caption="The " "last.")\nsave_table(table, dataset, "hidden")')  # fmt: skip
    notebook(tmp_path, "01_first", "# The first", 'save_table(table, dataset, "roc", caption="Of no data.")')
    notebook(tmp_path, "app", "# Saves nothing", "page()")
    return read_sections(tmp_path)


def test_sections_are_the_notebooks_that_save_in_their_order(sections):
    assert [section.heading for section in sections] == ["The first", "The second (Fig. 2)"]
    assert [section.reads_data for section in sections] == [False, True]
    assert [(saved.kind, saved.caption) for saved in sections[1].saved] == [
        ("figure", "ROC of {run} in {{}}."), ("table", "The last."), ("table", None),
    ]  # fmt: skip


def test_variable_parts_of_a_name_are_found_in_the_files_and_filled_into_the_caption(sections, tmp_path):
    for name in ("roc_b.png", "roc_a.png", "roc_a_stages.png", "roc_a.csv", "hidden.csv"):
        (tmp_path / name).touch()
    figure, _, hidden = sections[1].saved
    assert shown(figure, tmp_path) == [(tmp_path / "roc_a.png", "ROC of a in {}."), (tmp_path / "roc_b.png", "ROC of b in {}.")]
    assert shown(hidden, tmp_path) == []


def test_what_a_notebook_has_made_is_found_with_pictures_and_numbers(root):
    notebook(root, "04_roc", "# The ROC", 'save_table(table, dataset, "roc")\nsave_figure(figure, data, dataset, f"roc_{run}")')
    figures, tables = results.made_dir("some", "figures"), results.made_dir("some")
    expected = [figures / "roc_a.csv", figures / "roc_a.png", tables / "roc.csv", tables / "scalars/04_roc.json"]
    for path in (*expected, figures / "roc.png", figures / "roc_a_b.png", tables / "roc_a.csv", tables / "scalars/05.json"):
        write_text(path, "")
    assert made_by(root / "04_roc.ipynb", "some") == expected
    assert made_by(root / "04_roc.ipynb", "other") == []


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_a_notebooks_numbers_have_its_name(path):
    names = re.findall(r'save_scalars\(dataset, \\"(\w+)', path.read_text(encoding="utf-8"))
    assert names == [path.stem] * path.read_text(encoding="utf-8").count("save_scalars(")


@pytest.mark.parametrize("call", [
    "save_table(table, dataset, name)", 'save_table(table, dataset, "name", caption=words)',
    'save_table(table, dataset, "name", caption=f"of {run.upper()}")', 'save_table(table, dataset)',
])  # fmt: skip
def test_a_name_or_caption_that_cannot_be_read_off_is_refused(tmp_path, call):
    notebook(tmp_path, "some", "# Some", call)
    with pytest.raises(NotebookError, match=r"some\.ipynb: give name and caption as literals in save_table"):
        read_sections(tmp_path)


def test_without_notebooks_it_says_so(tmp_path):
    with pytest.raises(NotebookError, match="no notebook"):
        read_sections(tmp_path)


def test_every_saved_table_and_figure_has_a_caption_or_is_known_to_have_none():
    saved = [saved for section in read_sections(NOTEBOOKS) for saved in section.saved]
    assert {one.name for one in saved if not one.caption} == UNCAPTIONED
    captions = [one.caption for one in saved if one.caption]
    assert len(set(captions)) == len(captions) and all(re.match(r"[A-Z].+[.?]$", caption) for caption in captions)
    assert [section.heading.split(" (")[0] for section in read_sections(NOTEBOOKS) if not section.reads_data] == [
        "Network and ordinal targets"
    ]


def test_every_published_table_and_figure_is_shown_once_or_known_to_be_hidden():
    folders = {"table": ROOT / "results/ptbxl-sample", "figure": ROOT / "figures/ptbxl-sample"}
    saved = [saved for section in read_sections(NOTEBOOKS) for saved in section.saved]
    paths = [path for one in saved for path, _ in shown(one, folders[one.kind])]
    published = {*folders["table"].glob("*.csv"), *folders["figure"].glob("*.png")}
    assert len(set(paths)) == len(paths) > 50
    assert {path.stem for path in published - set(paths)} <= UNCAPTIONED | OF_COMMANDS
