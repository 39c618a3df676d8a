"""The one style of all figures: fonts by role, colours, panels, legends and titles."""

from textwrap import fill

import matplotlib
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from cardiov.store.results import simulated

_LABEL, _NOTE, _FOOTER = 8, 7, 6  # points
STYLE = {
    **dict.fromkeys(("figure.titlesize", "figure.labelsize", "axes.titlesize", "axes.labelsize"), _LABEL),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), _LABEL),
    **dict.fromkeys(("font.size", "legend.fontsize", "legend.title_fontsize"), _NOTE),
    "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False,
    "figure.facecolor": "white", "lines.linewidth": 1.5, "lines.markersize": 4,
}  # fmt: skip
styled = matplotlib.rc_context(STYLE)  # decorates what draws

INK = "black"
REFERENCE = {"color": "grey", "lw": 0.8, "ls": ":", "zorder": 0}  # a line to compare with
# from the palette of Okabe & Ito, which colour-blind readers can tell apart, ordered from cold to warm
LEVEL_COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#D55E00")
HEAT = LinearSegmentedColormap.from_list("heat", ["white", "#F0E442", LEVEL_COLOURS[2], LEVEL_COLOURS[3]])

# What seaborn is to draw of three values: the first, with a bar from the second to the third.
INTERVAL = {"estimator": lambda values: values.iloc[0], "errorbar": lambda values: values.iloc[1:]}


def interval_values(table):
    """Rows with ``estimate``, ``low`` and ``high`` as three rows each, in this order, for seaborn with `INTERVAL`."""
    known = table.loc[table["estimate"].notna(), ["estimate", "low", "high"]]
    return known.rename_axis(columns="end").stack().rename("value").reset_index()


def panels(width, height, rows=1, columns=1, title=None, **layout):
    """A figure of `width` x `height` mm and its axes, shape (rows, columns)."""
    figure = Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **layout)
    for axes in grid.flat:
        axes.tick_params(which="both", labelsize=_LABEL)  # matplotlib makes the ticks later, outside `styled`
    if title:
        lines = 1 + int(len(title) * 1.5 / width)  # mm per letter
        figure.suptitle(fill(title, len(title) // lines + 10, break_on_hyphens=False))  # of about equal length
    return figure, grid


def with_source(figure, source):
    """A figure, now laid out, with the source of its data as a small grey footer below the page."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for legend in figure.legends:  # else they would move to the bottom of the larger page
        legend.set_bbox_to_anchor((0, 0, 1, 1), transform=figure.transSubfigure)
    width = figure.get_size_inches()[0] * 25.4
    figure.text(0, -0.01, fill(source, int(1.2 * width)), color="#666666", size=_FOOTER, va="top")
    return figure


def legend_below(figure, handles, columns, title=None):
    """One legend below all panels, of handles with labels, or of what axes name; of equal labels the first."""
    if hasattr(handles, "get_legend_handles_labels"):
        handles = handles.get_legend_handles_labels()[0]
    once = {handle.get_label(): handle for handle in reversed(handles)}
    figure.legend(handles=[*once.values()][::-1], loc="outside lower center", ncols=columns, title=title)


def data_title(dataset, detail=""):
    """Title that says what data a figure shows: simulated, or PTB-XL with its attribution."""
    origin = ""
    if simulated(dataset):
        origin = " (simulated)"
    elif "ptbxl" in dataset.lower().replace("-", ""):
        origin = " (PTB-XL, Wagner et al. 2020, CC BY 4.0)"
    return f"{dataset}{origin}{detail and ': '}{detail}"


_RECIPES = {
    **{name: f"{name} network" for name in ("ordinal", "classification", "regression")},
    "paper": "paper's network and protocol",
    "idea-windows-5": "five windows",
    "distilled": "taught network",
    "idea-taught": "taught network with dropout",
    "idea-likelihoods": "statements by likelihood",
    "idea-statements-kept-likelihoods": "statements kept, by likelihood",
    "idea-ensemble-distilled": "network taught by an ensemble",
    "idea-contrast": "self-supervised first",
    "idea-ribeiro": "narrow Ribeiro's ResNet",
    "idea-xresnet1d": "narrow xresnet1d",
    "idea-xresnet1d-distilled": "taught narrow xresnet1d",
    "idea-s4d": "state spaces (S4D)",
}


def recipe_title(name):
    """What readers call the runs of a name: those of "paper" are the "paper's network and protocol"."""
    return _RECIPES.get(name, name.removeprefix("idea-").replace("-", " "))


def run_title(run):
    """What readers call a run: "ordinal-3" is the "ordinal network, seed 3"."""
    name, _, seed = run.rpartition("-")
    return f"{recipe_title(name)}, seed {seed}"
