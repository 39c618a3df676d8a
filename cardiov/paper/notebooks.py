"""Run a notebook by papermill, so that its result appears only when the whole of it has run."""

import os
import shutil
import tempfile
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from cardiov.errors import NotebookError, ParameterError
from cardiov.plots.playing import STATIC
from cardiov.store.files import ROOT, replacing, shown


def run_notebook(source, target, parameters: dict, shared: dict | None = None) -> Path:
    """Execute a notebook. Equal results are equal files.

    Of the values that are shared by all notebooks, it takes those that its cell tagged ``parameters`` has a name for.

    Raises
    ------
    ParameterError
        If a parameter is not in that cell.
    NotebookError
        If the notebook is missing or a cell fails; ``<target>.failed.ipynb`` keeps what has run.
    """
    source, target = Path(source), Path(target)
    if target.is_dir():
        raise NotebookError(f"{shown(target)} is a folder: give the name of the executed notebook.")
    try:
        known = papermill.inspect_notebook(source)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise NotebookError(f"{shown(source)} is not a readable notebook ({error}): check the path.") from error
    if unknown := sorted(set(parameters) - set(known)):
        raise ParameterError(f"{shown(source)} has no parameter {', '.join(unknown)}: correct the name, it knows {', '.join(known)}.")
    parameters = {name: value for name, value in (shared or {}).items() if name in known} | parameters
    failed = target.with_suffix(".failed.ipynb")
    with replacing(target) as temporary, tempfile.TemporaryDirectory(prefix="cardiov-") as scratch:
        failed.unlink(missing_ok=True)
        executed = Path(scratch) / source.name
        try:
            _execute(source, executed, parameters)
        except NotebookError as error:
            if not executed.exists():  # nothing has run
                raise
            with replacing(failed) as kept:
                shutil.copyfile(executed, kept)
            raise NotebookError(f"{str(error).rstrip('.')} (what has run is kept in {shown(failed)}).") from error
        temporary.write_text(nbformat.writes(_cleaned(nbformat.read(executed, as_version=4))) + "\n", encoding="utf-8")
    return target


def _execute(source, executed, parameters):
    # the paths in the notebooks are anchored on the package, but a kernel should not depend on the caller's folder
    settings = {"cwd": str(ROOT), "progress_bar": False}
    # else each kernel warns that it listens on this machine's own address without encryption, and some that they are stopped
    settings["extra_arguments"] = ["--IPKernelApp.log_level=CRITICAL"]
    os.environ[STATIC] = "yes"  # kernels inherit it
    try:
        _started(str(source), str(executed), parameters, **settings)
    except PapermillExecutionError as error:
        reason = f"{error.ename}: {error.evalue}".strip().rstrip(".")
        raise NotebookError(f"{shown(source)} stopped in cell [{error.exec_count}] with {reason}.") from error
    except (NoSuchKernel, ValueError) as error:
        raise NotebookError(f"{shown(source)} cannot be executed ({error}): save it with a kernel that is installed here.") from error
    except RuntimeError as error:  # a DeadKernelError is one, too
        raise NotebookError(
            f"{shown(source)} stopped because its kernel died: it was killed, or memory ran out; run it again with "
            "more memory free."
        ) from error


def _started(*arguments, **settings):
    """Execute by papermill; once more if the kernel dies before it answers, as where another process has taken its ports."""
    try:
        papermill.execute_notebook(*arguments, **settings)
    except DeadKernelError:  # it had answered
        raise
    except RuntimeError:
        papermill.execute_notebook(*arguments, **settings)


def _cleaned(notebook):
    """The notebook without what differs from run to run: times, versions, progress on stderr and widgets."""
    for name in ("papermill", "widgets"):
        notebook.metadata.pop(name, None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"  # papermill draws a new one each time
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)  # papermill adds an empty list to every cell
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:  # a widget's view has a new name each time, and is nothing without its kernel
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    return notebook
