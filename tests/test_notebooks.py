"""The notebooks: thin, with parameters, and those that nbval checks with outputs to check."""

import ast
import re
import subprocess
import sys

import nbformat
import pytest
import yaml

from cardiov.results import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECKED = re.search(r"^NBVAL := (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split()


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def parameters(path):
    """The cell tagged parameters, as a dict of its literals."""
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_cells_are_short_and_define_nothing(path):
    for cell in code_cells(path):
        limit = 20 if "parameters" in cell.metadata.get("tags", []) else 15
        assert len(cell.source.splitlines()) <= limit
        tree = ast.parse(re.sub(r"^%", "#", cell.source, flags=re.MULTILINE))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def test_parameters_and_kernel_are_standard(path):
    assert parameters(path)["dataset"] == "demo"
    assert nbformat.read(path, as_version=4).metadata.kernelspec.name == "python3"


def test_text_leads_through_the_notebook(path):
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    assert sum(cell.cell_type == "markdown" for cell in cells) >= 3


def test_only_checked_notebooks_have_stored_outputs(path):
    stored = [cell for cell in code_cells(path) if cell.outputs]
    if f"notebooks/{path.name}" in CHECKED:
        assert len(stored) >= 3  # else nbval would compare nothing
        assert not [output for cell in stored for output in cell.outputs if output.get("name") == "stderr"]
    else:
        assert not stored


@pytest.mark.parametrize("folder", sorted((ROOT / "notebooks/params").iterdir()), ids=lambda folder: folder.name)
def test_parameter_files_hold_what_their_notebooks_know(folder):
    training = yaml.safe_load((folder / "training.yaml").read_text())
    analysis = yaml.safe_load((folder / "analysis.yaml").read_text())
    assert set(training) == set(parameters(ROOT / "notebooks/03_training.ipynb")) - {"dataset", "data", "objective", "seed"}
    for name in ("04_roc", "06_ablation"):
        assert set(analysis) <= set(parameters(ROOT / f"notebooks/{name}.ipynb"))


def nbval(path):
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_nbval_notices_a_changed_number(tmp_path):
    """Of a notebook made here, so that the test is quick and touches no results."""
    cell = nbformat.v4.new_code_cell("print(round(2 / 3, 3))", execution_count=1)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    outcomes = []
    for stored in ("0.667\n", "0.668\n"):
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=stored)]
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), tmp_path / "some.ipynb")
        outcomes.append(nbval(tmp_path / "some.ipynb").returncode)
    assert outcomes == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKED)
def test_nbval_notices_a_changed_number_in_every_checked_notebook(tmp_path, name):
    notebook = nbformat.read(ROOT / name, as_version=4)
    printed = [output for cell in notebook.cells for output in cell.get("outputs", []) if output.get("name") == "stdout"]
    printed[0]["text"] = re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), printed[0]["text"], count=1)
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    assert nbval(tmp_path / "changed.ipynb").returncode == 1
