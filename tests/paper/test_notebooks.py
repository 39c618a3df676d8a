"""The notebooks: thin, with parameters, exercises and solutions, and with outputs that nbval checks."""

import ast
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml

from cardiov.store.files import ROOT

APP = ROOT / "cardiov/app/web/app.ipynb"  # the page, which Voilà serves
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks/solutions").glob("*.ipynb"))
NOTEBOOKS = LESSONS + SOLUTIONS
SAMPLE = {"dataset": "ptbxl-sample", "data": "data/ptbxl-sample", "run": ""}  # the real ECGs, and the network that is shipped
FOLDED = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}  # closed in JupyterLab, and on the site (MyST-NB)
IN_WORDS = {"07_agreement", "10_search"}  # what the paper has neither an equation nor a table nor a figure of


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def parameters(path):
    """The cell tagged parameters, as a dict of its literals."""
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}


def named(path):
    """A notebook's name in the folder, without its ending."""
    return str(path.relative_to(ROOT / "notebooks").with_suffix(""))


@pytest.fixture(params=NOTEBOOKS, ids=named)
def path(request):
    return request.param


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    """A notebook that shows something and sets exercises."""
    return request.param


@pytest.fixture
def solution(lesson):
    """The cells that answer a notebook's exercises, by the exercise's number."""
    answered, number = {}, None
    for cell in nbformat.read(ROOT / "notebooks/solutions" / lesson.name, as_version=4).cells:
        if title := re.match(r"## Exercise (\d)\n", cell.source):
            number = int(title[1])
        if number:
            answered.setdefault(number, []).append(cell)
    return answered


def test_cells_are_short_and_define_nothing(path):
    """A folded cell, which saves, may be longer: who reads the notebook does not see it."""
    for cell in code_cells(path):
        tags = cell.metadata.get("tags", [])
        limit = 20 if "parameters" in tags else 80 if "hide-input" in tags else 12
        assert sum(not re.match("import |from ", line) for line in cell.source.splitlines()) <= limit
        tree = ast.parse(re.sub(r"^%", "#", cell.source, flags=re.MULTILINE))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def test_lines_are_short(path):
    cells = nbformat.read(path, as_version=4).cells
    lines = [line for cell in cells for line in cell.source.splitlines()]
    assert max(map(len, lines)) <= 130


def test_saving_is_left_to_the_last_cell_which_is_folded(lesson):
    *cells, last = code_cells(lesson)
    assert last.metadata == FOLDED and "results.save_" in last.source
    assert not [cell.source for cell in cells if "hide-input" in cell.metadata.get("tags", []) or "results.save_" in cell.source]


def test_widgets_are_for_readers_alone(lesson):
    """`interact` itself would wait for ever now and then where a notebook is executed."""
    assert not [cell.source for cell in code_cells(lesson) if re.search(r"\binteract(ive)?\(", cell.source)]
    assert not [output for cell in code_cells(lesson) if re.search(r"\bplay\(", cell.source) for output in cell.outputs]


def test_the_page_is_a_title_and_one_call():
    title, cell = nbformat.read(APP, as_version=4).cells
    assert title.source.startswith("# Score my ECG\n") and nbformat.read(APP, as_version=4).metadata.title == "Score my ECG"
    assert cell.source.splitlines() == ["# NBVAL_IGNORE_OUTPUT", "from cardiov.app.page import page", "", "page()"]
    assert [output.data for output in cell.outputs] == [{"text/plain": "the page, as a widget"}]  # of no one kernel


def test_the_real_sample_is_the_default_everywhere(lesson):
    chosen = {name: value for name, value in parameters(lesson).items() if name in SAMPLE}
    assert "dataset" in chosen and chosen.items() <= SAMPLE.items()


def test_kernel_is_the_standard_one(path):
    assert nbformat.read(path, as_version=4).metadata.kernelspec.name == "python3"


def test_text_leads_through_the_notebook(path):
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    assert sum(cell.cell_type == "markdown" for cell in cells) >= 3


def test_first_cell_names_the_place_in_the_paper(lesson):
    text = nbformat.read(lesson, as_version=4).cells[0].source
    assert re.match(rf"# {lesson.stem[:2]} · .+ \(.+\)$", text, flags=re.MULTILINE)
    assert lesson.stem in IN_WORDS or re.search(r"\b(Eqs?\.|Tables?|Figs?\.) \d", text)


def test_a_question_opens_and_an_answer_from_its_numbers_ends_a_notebook(lesson):
    first, *cells = nbformat.read(lesson, as_version=4).cells
    assert re.match(r"# .*\n\n\*\*[^*]+\?\*\*\n", first.source)
    (place,) = [i for i, cell in enumerate(cells) if cell.source == "## Answer"]
    (output,) = cells[place + 1].outputs
    assert "print(" in cells[place + 1].source and len(output.text) > 80


def exercises(path):
    """The questions that the last cell of a notebook asks, by number, on one line each."""
    last = nbformat.read(path, as_version=4).cells[-1]
    assert last.cell_type == "markdown" and last.source.startswith("## Exercises\n")
    assert last.source.endswith(f"\n\nHints and solutions are in [solutions/{path.name}](solutions/{path.name}).")
    asked = re.findall(r"^(\d)\. (\S(?:.|\n(?!\d\. |\n))*)", last.source, flags=re.MULTILINE)
    return {int(number): " ".join(question.split()) for number, question in asked}


def test_two_or_three_exercises_end_a_notebook(lesson):
    assert list(exercises(lesson)) in ([1, 2], [1, 2, 3])


def test_every_notebook_has_its_solutions():
    assert [path.name for path in SOLUTIONS] == [path.name for path in LESSONS]


def test_a_solution_repeats_the_question_and_hides_a_hint_before_the_answer(lesson, solution):
    questions = {number: re.sub(r"^> |^## .*", "", cells[0].source, flags=re.MULTILINE) for number, cells in solution.items()}
    assert {number: " ".join(question.split()) for number, question in questions.items()} == exercises(lesson)
    for _, hint, answer, *code in solution.values():
        (text,) = re.findall(r"^<details><summary>Hint</summary>\n\n(.+)\n\n</details>$", hint.source, flags=re.DOTALL)
        assert len(text.split()) < 50 and answer.source.startswith("**Answer.** ")
        assert any(cell.cell_type == "code" and cell.outputs for cell in code)


def test_no_notebook_trains(lesson):
    assert not [cell.source for cell in code_cells(lesson) if re.search(r"\b(fit|train\w*|search_networks|prepare)\(", cell.source)]


def test_every_cell_was_executed_in_order_and_left_something_to_check(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert len([cell for cell in cells if cell.outputs]) >= (2 if path in SOLUTIONS else 3)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert not [output for output in outputs if str(ROOT) in str(output)]  # a path of one machine


@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/params/*/analysis.yaml")), ids=lambda path: path.parent.name)
def test_parameters_of_the_analysis_are_what_its_notebooks_know(path):
    analysis = set(yaml.safe_load(path.read_text()))
    known = {path.stem[:2]: set(parameters(path)) for path in LESSONS}
    assert all(analysis - {"permutations"} <= known[number] for number in set(known) - {"01", "02", "03", "10", "99"})
    assert "permutations" in analysis & known["05"]


def nbval(folder, notebook, *options):
    """Exit status of nbval on a notebook, in a folder that has the notebooks' conftest."""
    shutil.copy(ROOT / "notebooks/conftest.py", folder)
    nbformat.write(notebook, folder / "some.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "some.ipynb", *options]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def texts(notebook):
    """Every output that has a text, as (dictionary, key)."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    streams = [(output, "text") for output in outputs if "text" in output]
    return streams + [(output.data, "text/plain") for output in outputs if "text/plain" in output.get("data", {})]


def test_a_notebook_without_outputs_fails(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    done = nbval(tmp_path, notebook)
    assert done.returncode != 0 and "no outputs to compare" in done.stdout + done.stderr


@pytest.mark.parametrize("options", [[], ["--numprocesses", "1"]])  # a process beside, as `make test` has for each core
def test_a_figure_that_plots_other_numbers_fails(tmp_path, options):
    """Also where every output is as before, since pictures are not compared; what is not made is not missed."""
    cell = nbformat.v4.new_code_cell("""from cardiov.store import results
published, made = (folder / "fig2_roc.csv" for folder in (results.figures_dir("ptbxl-sample"), results.made_dir("ptbxl-sample", "figures")))
made.parent.mkdir(parents=True)
print(made.write_text(published.read_text().replace("1,1", "1,0.999", 1)) > 0)""", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="True\n")]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    done = nbval(tmp_path, notebook, *options)
    assert done.returncode == 1 and "FAILED ptbxl-sample" in done.stdout, done.stdout + done.stderr
    assert re.search(r"figures/fig2_roc\.csv .* true_positive_rate +1(\.0)? +0\.999\n", done.stdout), done.stdout
    cell.source = cell.source.replace("0.999", "1")
    done = nbval(tmp_path, notebook, *options)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["10_search", *(pytest.param(named(path), marks=pytest.mark.slow) for path in NOTEBOOKS)])
def test_nbval_notices_a_changed_number(tmp_path, name):
    notebook = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)
    output, key = next((output, key) for output, key in texts(notebook)[::-1] if re.search(r"\d\.\d", output[key]))
    output[key] = re.sub(r"(\d)\.(\d)", lambda found: f"{found[1]}.{(int(found[2]) + 1) % 10}", output[key], count=1)
    done = nbval(tmp_path, notebook)
    assert done.returncode == 1 and done.stdout.count("FAILED") == 1, done.stdout
