"""What all figures share: sizes, colours and titles.

Every function of this wing returns a :class:`matplotlib.figure.Figure` that belongs to nobody's pyplot state.
"""

from textwrap import fill

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from cardiov.store.results import simulated

INK, _GRID, _GRID_5MM = "black", "#f7cfcf", "#ea9a9a"
# from the palette of Okabe & Ito, which colour-blind readers can tell apart, ordered from cold to warm
LEVEL_COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#D55E00")
MM = 1 / 25.4
SMALL, USUAL = 7, 8  # points
LETTER = 1.6  # mm, wide enough for most letters of the usual size


def statistics_axes(width, height, columns=1, title=None):
    """A figure of `width` x `height` mm with axes beside each other, which share their y axis."""
    figure = Figure(figsize=(width * MM, height * MM), layout="constrained", facecolor="white")
    axes = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
    for one in axes:
        one.tick_params(labelsize=USUAL)
        one.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(fill(title, int(width / LETTER)), fontsize=USUAL)
    return figure, axes


def data_title(dataset, detail=""):
    """Title that says what data a figure shows: simulated, or PTB-XL with its attribution."""
    origin = ""
    if simulated(dataset):
        origin = " (simulated)"
    elif "ptbxl" in dataset.lower().replace("-", ""):
        origin = " (PTB-XL, Wagner et al. 2020, CC BY 4.0)"
    return f"{dataset}{origin}{detail and ': '}{detail}"


HEAT = LinearSegmentedColormap.from_list("heat", ["white", "#F0E442", LEVEL_COLOURS[2], LEVEL_COLOURS[3]])
