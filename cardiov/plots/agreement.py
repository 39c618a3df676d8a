"""Agreement of readers with label and model."""

from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from cardiov.plots.style import LETTER, LEVEL_COLOURS, MM, SMALL, USUAL, statistics_axes

_SIDE_LOOKS = {"label": (LEVEL_COLOURS[0], ""), "model": (LEVEL_COLOURS[2], "//"), "neither": ("#bbbbbb", "..")}


def agreement_bars(shares, title=None):
    """Draw with whom readers side on wrongly predicted records, with exact 95 % intervals.

    Parameters
    ----------
    shares : DataFrame
        From :func:`cardiov.analysis.agreement.side_shares`, indexed by ``reader`` and ``side``.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    readers = shares.index.unique("reader")
    figure, (axes,) = statistics_axes(120, 80, title=title)
    for k, (side, (colour, hatch)) in enumerate(_SIDE_LOOKS.items()):
        rows = 100 * shares.xs(side, level="side").loc[readers, ["share", "low", "high"]]
        x = np.arange(len(readers)) + 0.27 * (k - 1)
        ends = [rows["share"] - rows["low"], rows["high"] - rows["share"]]
        looks = {"color": colour, "hatch": hatch, "edgecolor": "white"}
        label = f"sides with {'' if side == 'neither' else 'the '}{side}"
        axes.bar(x, rows["share"], 0.25, yerr=ends, ecolor="black", capsize=2, error_kw={"lw": 1}, label=label, **looks)
        for at, share, high in zip(x, rows["share"], rows["high"], strict=True):
            axes.text(at, high + 1.5, f"{share:.1f} %", ha="center", size=SMALL)
    totals = shares["records"].groupby("reader").sum()
    axes.set_xticks(range(len(readers)), [f"{reader}\n({totals[reader]:,} records)" for reader in readers])
    axes.set_xlim(-0.6, len(readers) - 0.4)
    axes.set_ylim(0, 100)
    axes.set_ylabel("share of the reread records (%)", fontsize=USUAL)
    figure.legend(loc="outside lower center", ncols=3, fontsize=USUAL, frameon=False)
    return figure


_ERROR_KINDS = {"adjacent": "errors to neighbouring values", "any": "errors to any value"}


def agreement_selection(table, published=None, title=None):
    """Draw a simulated reader's agreement on all records and on the wrongly predicted ones.

    Parameters
    ----------
    table : DataFrame
        From :func:`cardiov.analysis.agreement.selection`.
    published : dict, optional
        Published agreement on the wrongly predicted records in percent, "label" and "model", drawn as dotted lines.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
        A row of panels a kind of reading error, a column a scenario.
    """
    kinds, scenarios = table["errors"].unique(), table["scenario"].unique()
    figure = Figure(figsize=(180 * MM, 125 * MM), layout="constrained", facecolor="white")
    panels = figure.subplots(len(kinds), len(scenarios), sharex=True, sharey=True, squeeze=False)
    for (row, column), axes in np.ndenumerate(panels):
        lines = table[(table["errors"] == kinds[row]) & (table["scenario"] == scenarios[column])]
        _selection_lines(axes, lines, published or {})
        label, model = (f"{100 * lines[f'{name}_accuracy'].iloc[0]:.0f} %" for name in ("label", "model"))
        heading = f"{scenarios[column]}: label {label}, model {model}\n{_ERROR_KINDS[kinds[row]]}"
        axes.set_title(heading, fontsize=USUAL)
    for axes in panels[:, 0]:
        axes.set_ylabel("reader's agreement (%)", fontsize=USUAL)
    for axes in panels[-1]:
        axes.set_xlabel("reader's accuracy (%)", fontsize=USUAL)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=USUAL, frameon=False)
    if title:
        figure.suptitle(fill(title, int(180 / LETTER)), fontsize=USUAL)
    return figure


def _selection_lines(axes, lines, published):
    x = 100 * lines["reader_accuracy"]
    for side, marker, size, face in (("label", "o", 5, "none"), ("model", "s", 2.5, None)):  # equal curves stay visible
        colour = _SIDE_LOOKS[side][0]
        for subset, style, name in (("all", "--", "all records"), ("wrong", "-", "wrongly predicted records")):
            looks = {"marker": marker, "ms": size, "mfc": face, "color": colour, "lw": 1.2}
            axes.plot(x, 100 * lines[f"{side}_{subset}"], style, label=f"with the {side}, {name}", **looks)
        if side in published:
            axes.axhline(published[side], color=colour, lw=0.8, ls=":", label=f"with the {side}, published")
    axes.set(ylim=(0, 100))
    axes.tick_params(labelsize=USUAL)
    axes.spines[["top", "right"]].set_visible(False)
