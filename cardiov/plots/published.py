"""Published figures beside the reproduced ones."""

import numpy as np

from cardiov.plots.style import INK, LEVEL_COLOURS, legend_below, panels, styled

# verdict -> marker and colour: verdicts differ by more than colour; any other is drawn hollow
_LOOKS = {"agrees": ("o", LEVEL_COLOURS[0]), "contradicts": ("X", LEVEL_COLOURS[3]), "cannot tell": ("D", LEVEL_COLOURS[2])}
_SCALES = {  # scale -> limits and label of the axis
    "ratio": ((0.78, 1.22), "reproduced / published figure"),
    "difference": ((-0.26, 0.26), "reproduced difference"),
}
_SHORTER = {"mean absolute error": "MAE", r"subgroups by \w+: ": "", "AUC of class": "AUC of",
            "heat in QRS complexes against chance": "heat in QRS", " - ": " \N{MINUS SIGN} "}  # fmt: skip
_CLAIMED = "#DDDDDD"


@styled
def published_dots(points, title=None):
    """Draw what was reproduced over what is published, a panel for figures and one for claims.

    Parameters
    ----------
    points : DataFrame of `cardiov.paper.published.published_points`
        Counts that agree share one row. What lies outside the axes is an arrow at their edge.
    """
    points = points.assign(label=_labels(points))
    parts = [part for scale in _SCALES if len(part := points[points["scale"] == scale])]
    rows = [part["label"].nunique() for part in parts]
    figure, grid = panels(125, 40 + 4.6 * sum(rows), len(parts), title=title, height_ratios=rows)
    for axes, part in zip(grid.flat, parts, strict=True):
        _dots(axes, part)
    for verdict in dict.fromkeys(points["verdict"]):
        grid[0, 0].plot([], [], ls="", label=verdict, **_look(verdict))
    grid[0, 0].plot([], [], color=_CLAIMED, lw=5, label="what the paper says")
    legend_below(figure, grid[0, 0], 3)
    return figure


def _labels(points):
    """What a row is called: shorter than in the table, with the bound of a claim that is not 0."""
    bound = points["bound"].map(lambda text: "" if text in ("", "0") else f" - {text}")
    place = points["where"].map(lambda text: "" if text == "Text" else f" ({text})")
    named = (points["quantity"] + bound + place).replace(_SHORTER, regex=True)
    counts = (points["verdict"] == "agrees") & (points["scale"] == "ratio") & points["low"].isna()
    return named.mask(counts, f"{counts.sum()} numbers of the data set")


def _look(verdict):
    marker, colour = _LOOKS.get(verdict, ("o", INK))
    return {"marker": marker, "color": colour, "mfc": colour if verdict in _LOOKS else "white", "ms": 5}


def _dots(axes, part):
    limits, label = _SCALES[part["scale"].iloc[0]]
    names = list(dict.fromkeys(part["label"]))
    published = 1 if part["scale"].iloc[0] == "ratio" else 0
    for row in part.itertuples():
        _dot(axes, names.index(row.label), row, limits)
    axes.axvline(published, color=INK, lw=0.7, zorder=1)
    axes.set(xlim=limits, ylim=(len(names) - 0.4, -0.6), xlabel=label)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)


def _dot(axes, y, row, limits):
    """One figure or claim: grey is what agrees with it."""
    if np.isfinite(row.estimate):
        axes.plot(np.clip([row.least, row.most], *limits), [y, y], color=_CLAIMED, lw=6, solid_capstyle="butt", zorder=0)
    look = _look(row.verdict)
    axes.plot(np.clip([row.low, row.high], *limits), [y, y], color=look["color"], lw=1.2)
    x = np.clip(row.estimate, *limits)
    if x != row.estimate:
        look["marker"] = "<" if x == limits[0] else ">"
    axes.plot(x, y, ls="", clip_on=False, **look)
