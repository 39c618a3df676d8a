"""Widgets for those who read a notebook in JupyterLab."""

import os

from ipywidgets import interact

STATIC = "CARDIOV_STATIC"  # in the environment of kernels that execute a notebook from end to end


def play(draw, **controls):
    """`ipywidgets.interact` for a reader; nothing where a notebook is executed from end to end.

    There nobody plays, and nbclient's answers to a widget made one execution in seven wait for ever (ipykernel 7.4, nbclient 0.11).
    """
    if STATIC not in os.environ:
        interact(draw, **controls)
