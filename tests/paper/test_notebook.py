"""Running notebooks: the target is there only when every cell has run."""

import errno

import nbformat
import pytest

from cardiov.errors import NotebookError, ParameterError, StorageError
from cardiov.paper import notebooks
from cardiov.paper.notebooks import run_notebook

PARAMETERS = 'dataset = "demo"\nk = 1'


@pytest.fixture
def notebook(root):
    """Make a notebook of a parameters cell and one cell of the given code."""

    def make(code):
        cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(code)]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), root / "some.ipynb")
        return root / "some.ipynb"

    return make


def left(root):
    return sorted(path.name for path in (root / "out").iterdir())


def test_parameters_reach_the_cells_and_nothing_the_screen(notebook, root, capfd):
    source = notebook("import sys\nprint('k is', k)\nprint('half way', file=sys.stderr)")
    target = root / "out" / "some.ipynb"
    first, second = (run_notebook(source, target, {"k": 3}).read_bytes() for _ in range(2))
    assert first == second  # no times, no random ids
    cells = nbformat.read(target, as_version=4).cells
    assert [output["text"] for output in cells[-1].outputs] == ["k is 3\n"]
    assert "".join(capfd.readouterr()) == ""  # several run at once beside a training, whose progress is shown
    assert left(root) == ["some.ipynb"]


def test_a_widget_leaves_its_text_alone(notebook, root):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "of this kernel"}, "text/plain": "a widget"}
    source = notebook(f"from IPython.display import display\ndisplay({view}, raw=True)")
    target = run_notebook(source, root / "out" / "some.ipynb", {})
    assert [output.data for output in nbformat.read(target, as_version=4).cells[-1].outputs] == [{"text/plain": "a widget"}]


def test_an_unknown_parameter_is_named_with_the_known_ones(notebook, root):
    with pytest.raises(ParameterError, match="some.ipynb has no parameter kk: .* dataset, k"):
        run_notebook(notebook("k"), root / "out" / "some.ipynb", {"kk": 3})
    assert not (root / "out").exists()


def test_a_failing_cell_keeps_a_copy_to_read_and_no_target(notebook, root):
    source = notebook("from cardiov.errors import DataSetError\nraise DataSetError('no record 7: unpack it.')")
    with pytest.raises(NotebookError, match=r"some.ipynb stopped in cell \[2\] with DataSetError: no record 7: unpack it"):
        run_notebook(source, root / "out" / "some.ipynb", {})
    assert left(root) == ["some.failed.ipynb"]


def test_an_older_target_survives_a_killed_kernel(notebook, root):
    target = root / "out" / "some.ipynb"
    target.parent.mkdir()
    target.write_text("old")
    with pytest.raises(NotebookError, match="kernel died"):
        run_notebook(notebook("import os\nos.kill(os.getpid(), 9)"), target, {})
    assert target.read_text() == "old"
    assert left(root) == ["some.failed.ipynb", "some.ipynb"]


def test_a_kernel_that_dies_before_it_answers_is_started_once_more(notebook, root, monkeypatch):
    starts, execute = [], notebooks.papermill.execute_notebook

    def first_dies(*arguments, **settings):
        starts.append(1)
        if len(starts) in dying:
            raise RuntimeError("Kernel died before replying to kernel_info")
        execute(*arguments, **settings)

    monkeypatch.setattr(notebooks.papermill, "execute_notebook", first_dies)
    dying = {1}
    run_notebook(notebook("print(k)"), root / "out" / "some.ipynb", {})
    assert len(starts) == 2 and left(root) == ["some.ipynb"]
    dying = {3, 4}
    with pytest.raises(NotebookError, match="its kernel died"):
        run_notebook(notebook("print(k)"), root / "out" / "other.ipynb", {})
    assert len(starts) == 4 and left(root) == ["some.ipynb"]


def test_a_full_device_is_one_sentence_and_leaves_no_notebook(notebook, root, monkeypatch):
    def fill(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(notebooks, "_cleaned", fill)
    with pytest.raises(StorageError, match="no space left to write out/some.ipynb: free some space and run"):
        run_notebook(notebook("k"), root / "out" / "some.ipynb", {})
    monkeypatch.setattr(notebooks.shutil, "copyfile", fill)
    with pytest.raises(StorageError, match="no space left to write out/some.failed.ipynb"):
        run_notebook(notebook("1 / 0"), root / "out" / "some.ipynb", {})
    assert left(root) == []


@pytest.mark.parametrize("content", [None, "no notebook"])
def test_what_is_no_notebook_is_said(root, content):
    if content:
        (root / "some.ipynb").write_text(content)
    with pytest.raises(NotebookError, match="some.ipynb is not a readable notebook"):
        run_notebook(root / "some.ipynb", root / "out" / "some.ipynb", {})


def test_kernels_know_that_nobody_plays_with_widgets(notebook, root, monkeypatch):
    monkeypatch.setenv("CARDIOV_STATIC", "yes"), monkeypatch.delenv("CARDIOV_STATIC")  # what the run sets is gone after the test
    source = notebook("from cardiov.plots.playing import play\nplay(print, p=(0, 1))")
    cells = nbformat.read(run_notebook(source, root / "out" / "some.ipynb", {}), as_version=4).cells
    assert cells[-1].outputs == []
