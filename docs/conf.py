"""The site of README, docs/ and notebooks: `make docs`. Its source is the repository, so that links work here and on the site."""

import shutil
from importlib import metadata
from pathlib import Path

project = "CardioV companion"
author = "CardioV companion developers"
release = metadata.version("cardiov")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = [
    "README.md", "CONTRIBUTING.md", "docs/*.md", "notebooks/[0-9]*.ipynb", "notebooks/solutions/*.ipynb",
    "cardiov/examples/README.md", "cardiov/pretrained/*.md", "data/*/README.md", "results/scale/cost.md",
]  # fmt: skip
exclude_patterns = [".git", ".venv", "build", "data/*/records*"]  # large folders that need not be walked through
nb_execution_mode = "off"  # the stored outputs are shown, which nbval compares
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2
napoleon_google_docstring = False
autodoc_typehints = "signature"
html_theme = "furo"
html_title = project

CONTENTS = """
```{{toctree}}
:hidden:
:glob:
:caption: {caption}

{pages}
```
"""
PARTS = {
    "Use": ["docs/scoring", "docs/[aftw]*"],  # archives, formats, teaching, warnings
    "Reproduce": ["docs/reproduce", "docs/data", "docs/gpus", "docs/results", "docs/gallery", "docs/rereading"],
    "Notebooks": ["notebooks/*"],
    "Solutions": ["notebooks/solutions/*"],
    "Develop": ["docs/development", "CONTRIBUTING", "docs/reference"],
    "Data and network": ["data/*/README", "cardiov/*/*", "results/scale/cost"],
}


def _add_contents(app, page, source):
    """Give the README, which is read on its own elsewhere, the site's contents."""
    if page == root_doc:
        parts = (CONTENTS.format(caption=caption, pages="\n".join(pages)) for caption, pages in PARTS.items())
        source[0] += "".join(parts)


def _add_index(app, error):
    """Let the site open at its address."""
    if not error:
        shutil.copyfile(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def setup(app):
    """Connect what the settings above cannot say."""
    app.connect("source-read", _add_contents)
    app.connect("build-finished", _add_index)
