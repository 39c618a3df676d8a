"""Agreement of readers with label and model."""

import seaborn

from cardiov.plots.style import INTERVAL, LEVEL_COLOURS, interval_values, legend_below, panels, styled

_SIDES = {"label": LEVEL_COLOURS[0], "model": LEVEL_COLOURS[2], "neither": "#bbbbbb"}


@styled
def agreement_bars(shares, title=None):
    """Draw the shares of `cardiov.analysis.agreement.side_shares`, indexed by ``reader`` and ``side``, with their intervals."""
    figure, ((axes,),) = panels(120, 80, title=title)
    percents = interval_values(100 * shares[["share", "low", "high"]].rename(columns={"share": "estimate"}))
    look = {"palette": _SIDES, "saturation": 1, "edgecolor": "white", "capsize": 0.05, "err_kws": {"color": "black", "lw": 1}}
    seaborn.barplot(percents, x="reader", y="value", hue="side", hue_order=_SIDES, legend=False, **INTERVAL, **look, ax=axes)
    readers = shares.index.unique("reader")
    for bars, side, hatch in zip(axes.containers, _SIDES, ("", "//", ".."), strict=True):
        bars.set_label(f"sides with {side}" if side == "neither" else f"sides with the {side}")
        for bar, row in zip(bars, shares.xs(side, level="side").loc[readers].itertuples(), strict=True):
            bar.set_hatch(hatch)
            axes.text(bar.get_x() + bar.get_width() / 2, 100 * row.high + 1.5, f"{100 * row.share:.1f} %", ha="center")
    totals = shares["records"].groupby("reader").sum()
    axes.set_xticks(range(len(readers)), [f"{reader}\n({totals[reader]:,} records)" for reader in readers])
    axes.set(xlabel="", ylabel="share of the reread records (%)", ylim=(0, 100))
    legend_below(figure, axes, 3)
    return figure


_ERRORS = {"adjacent": "errors to neighbouring values", "any": "errors to any value"}


@styled
def agreement_selection(table, published=None, title=None):
    """Draw a simulated reader's agreement on all records and on the wrongly predicted ones, by scenario and kind of error.

    Parameters
    ----------
    table : DataFrame of `cardiov.analysis.agreement.selection`
    published : dict, optional
        Published agreement on the wrongly predicted records in percent, "label" and "model", drawn as dotted lines.
    """
    groups = table.groupby(["errors", "scenario"], sort=False)
    figure, (row,) = panels(180, 95, columns=groups.ngroups, title=title, sharey=True)
    for axes, ((errors, scenario), lines) in zip(row, groups, strict=True):
        percents = 100 * lines.drop(columns=["errors", "scenario"])
        _selection_lines(axes, percents, published or {})
        label, model = (f"{percents[f'{side}_accuracy'].iloc[0]:.0f} %" for side in ("label", "model"))
        axes.set(title=f"{scenario}: label {label}, model {model}\n{_ERRORS[errors]}", ylim=(0, 100))
        axes.set(xlabel="reader's accuracy (%)", ylabel="reader's agreement (%)")
        axes.label_outer()
    legend_below(figure, axes, 2)
    return figure


def _selection_lines(axes, percents, published):
    for side, marker, size, face in (("label", "o", 5, "none"), ("model", "s", 2.5, None)):  # equal curves stay visible
        look = {"color": _SIDES[side], "marker": marker, "ms": size, "mfc": face, "lw": 1.2}
        for subset, style, name in (("all", "--", "all records"), ("wrong", "-", "wrongly predicted records")):
            axes.plot("reader_accuracy", f"{side}_{subset}", style, data=percents, label=f"with the {side}, {name}", **look)
        if side in published:
            axes.axhline(published[side], color=_SIDES[side], lw=0.8, ls=":", label=f"with the {side}, published")
