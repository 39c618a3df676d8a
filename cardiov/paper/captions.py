"""What notebooks make, with the report's order and captions, read from their calls of `save_table` and `save_figure`."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import nbformat

from cardiov.errors import NotebookError
from cardiov.store.results import made_dir

_KINDS = {"save_table": ("table", 2), "save_figure": ("figure", 3)}  # kind, and position of the name
_ENDINGS = {"table": "csv", "figure": "png"}


class Saved(NamedTuple):
    """A call that saves a table or figure."""

    kind: str  # "table" or "figure"
    name: str  # regular expression; a group for each variable part, which holds no underscore
    caption: str | None  # format string of the name's groups


class Section(NamedTuple):
    """A notebook in the report."""

    name: str  # of its file
    heading: str
    reads_data: bool  # or is of the network alone
    saved: list[Saved]


def read_sections(folder: Path) -> list[Section]:
    """The notebooks of a folder that save tables or figures, by name.

    Raises
    ------
    NotebookError
        If there are none, or if a name or caption is neither a literal nor an f-string.
    """
    sections = [section for path in sorted(folder.glob("*.ipynb")) if (section := _read_section(path)).saved]
    if not sections:
        raise NotebookError(f"{folder} holds no notebook that saves a table or figure: run this from the repository.")
    return sections


def _read_section(path):
    cells = nbformat.read(path, as_version=4).cells
    heading = next(cell.source for cell in cells if cell.cell_type == "markdown").partition("\n")[0]
    code = re.sub(r"^%.*", "", "\n".join(cell.source for cell in cells if cell.cell_type == "code"), flags=re.MULTILINE)
    calls = sorted((node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)), key=lambda call: call.lineno)
    named = ((call, getattr(call.func, "attr", getattr(call.func, "id", None))) for call in calls)
    saved = [_saved(call, *_KINDS[name], path) for call, name in named if name in _KINDS]
    return Section(path.stem, re.sub(r"^# (\d+ · )?", "", heading), bool(re.search(r"\bread_(?!example)", code)), saved)


def _saved(call, kind, position, path):
    caption = next((keyword.value for keyword in call.keywords if keyword.arg == "caption"), None)
    try:
        name = "".join(_pattern(part) for part in _parts(call.args[position]))
        return Saved(kind, name, caption and "".join(_field(part) for part in _parts(caption)))
    except (AttributeError, IndexError, TypeError) as error:
        raise NotebookError(f"{path.name}: give name and caption as literals in {ast.unparse(call)}, for the report.") from error


def _parts(node):
    return node.values if isinstance(node, ast.JoinedStr) else [node]


def _pattern(part):
    if isinstance(part, ast.FormattedValue):
        return f"(?P<{part.value.id}>[^_]+)" if isinstance(part.value, ast.Name) else "[^_]+"
    return re.escape(part.value)


def _field(part):
    return f"{{{part.value.id}}}" if isinstance(part, ast.FormattedValue) else re.sub(r"([{}])", r"\1\1", part.value)


def shown(saved: Saved, folder: Path) -> list[tuple[Path, str]]:
    """Files of a data set's folder that a call has written, sorted, each with its caption."""
    named = ((path, re.fullmatch(saved.name, path.stem)) for path in sorted(folder.glob(f"*.{_ENDINGS[saved.kind]}")))
    return [(path, saved.caption.format(**match.groupdict())) for path, match in named if match and saved.caption]


def made_by(notebook: Path, dataset: str) -> list[Path]:
    """Files of a data set that a notebook has made: tables, figures with what they plot, and its single numbers."""
    folders = {"table": made_dir(dataset), "figure": made_dir(dataset, "figures")}
    named = [(saved.name, path) for saved in _read_section(notebook).saved for path in folders[saved.kind].glob("*.*")]
    numbers = made_dir(dataset) / "scalars" / f"{notebook.stem}.json"
    return sorted({path for name, path in named if re.fullmatch(name, path.stem)}) + [numbers] * numbers.exists()
