"""Pages and texts from templates that lie beside the code that fills them in."""

import functools
from pathlib import Path

import jinja2


@functools.cache
def templates(folder: Path) -> jinja2.Environment:
    """The templates of a folder; those named ``.html`` escape what is filled in, for it may come from a file of others."""
    escape = jinja2.select_autoescape(["html"])
    return jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=escape, trim_blocks=True, lstrip_blocks=True)
