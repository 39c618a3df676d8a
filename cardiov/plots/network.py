"""The network from an ECG to four probabilities (Fig. 1), and its training."""

import numpy as np

from cardiov.mapping import LEVELS
from cardiov.plots.style import INK, LEVEL_COLOURS, legend_below, panels, styled

_SPLITS = {"train_loss": (LEVEL_COLOURS[0], "training records"), "validation_loss": (LEVEL_COLOURS[3], "fold 9, which chooses")}


@styled
def loss_curves(histories, title=None):
    """Draw the last phase of `cardiov.training.run.fit`'s histories: a panel for each objective, a line for each seed.

    ``histories`` are told apart by ``objective`` and ``seed``. A dot marks the epoch whose weights are kept.
    """
    objectives = histories["objective"].unique()
    figure, (row,) = panels(180, 75, columns=len(objectives), title=title)
    for axes, objective in zip(row, objectives, strict=True):
        ours = histories[histories["objective"] == objective]
        for _, run in ours[ours["phase"] == ours["phase"].iloc[-1]].groupby("seed"):
            _run_lines(axes, run.set_index("epoch"))
        axes.set(title=f"{objective} loss", xlabel="epoch", ylabel="mean loss per record" if axes is row[0] else "")
        axes.xaxis.get_major_locator().set_params(integer=True)
    legend_below(figure, row[0], 3)
    return figure


def _run_lines(axes, run):
    for column, (colour, label) in _SPLITS.items():
        axes.plot(run[column], color=colour, lw=1, label=label)
    kept = run["validation_loss"].idxmin()
    axes.plot(kept, run["validation_loss"][kept], "o", color=INK, label="epoch that is kept", zorder=3)


@styled
def ordinal_framework(lead, fs, stages, thresholds):
    """Draw how an ECG becomes four probabilities (Fig. 1 of the paper, Table 3, Eqs. 3 and 6).

    Parameters
    ----------
    lead : array, shape (n,), in mV
        One of the twelve leads, at `fs` Hz.
    stages : DataFrame
        The table of `cardiov.model.CardioV.stage_table`, indexed by stage, with ``channels`` and ``length``.
    thresholds : sequence of 3 float
        p1, p2, p3: the probabilities that the critical value is above 0, above 1 and above 2; not increasing.
    """
    figure, ((ecg, network, sigmoid, classes),) = panels(180, 72, columns=4, width_ratios=(0.9, 1.9, 1.2, 0.9))
    ecg.plot(np.arange(len(lead)) / fs, lead, color=INK, lw=0.6)
    ecg.set(title=f"12 leads × {len(lead):,} samples", xlabel="time (s); lead II is shown", yticks=[])
    _draw_stages(network, stages)
    _draw_sigmoid(sigmoid, thresholds)
    _draw_classes(classes, thresholds)
    for axes in (ecg, network, classes):
        axes.spines["left"].set_visible(False)
    return figure


def _draw_stages(axes, stages):
    """A block for each stage: as high as its signal is long, as dark as it has channels, both on a logarithmic scale."""
    height, shade = np.log2(stages["length"]), np.log2(stages["channels"])
    colours = [(0, 0.45, 0.7, alpha) for alpha in 0.15 + 0.75 * (shade - shade.min()) / np.ptp(shade)]
    bars = axes.bar(range(len(stages)), height, width=0.8, color=colours, bottom=-height / 2)
    axes.bar_label(bars, [f"{n:,}" for n in stages["length"]], padding=2)
    axes.set_xticks(range(len(stages)), [f"{name.removeprefix('s')}\n{n}" for name, n in stages["channels"].items()])
    axes.set(title="seven stages: samples halve", xlabel="stage and its channels", yticks=[], ylim=(-9, 11))


def _draw_sigmoid(axes, thresholds):
    """The three logits on one sigmoid."""
    z = np.linspace(-4, 4, 81)
    axes.plot(z, 1 / (1 + np.exp(-z)), color="grey")
    logits = np.log(thresholds) - np.log1p(-np.asarray(thresholds))
    for k, (logit, p) in enumerate(zip(logits, thresholds, strict=True)):
        axes.plot([logit, 4], [p, p], ":", color=INK, lw=0.8)
        axes.plot(logit, p, "o", color=INK)
        axes.annotate(f"p{k + 1} = Pr(> {k})", (logit, p), (-4, 4), textcoords="offset points", ha="right")
    axes.set(title="three logits, three sigmoids", xlabel="logit z", ylim=(0, 1), xlim=(-5.5, 4), yticks=[0, 0.5, 1])


def _draw_classes(axes, thresholds):
    """The four probabilities as pieces of the range from 0 to 1, which the thresholds cut."""
    edges = np.array([1, *thresholds, 0])
    for k, (low, high) in enumerate(zip(edges[1:], edges[:-1], strict=True)):
        axes.bar(0, high - low, bottom=low, width=0.7, color=LEVEL_COLOURS[k])
        axes.text(0.45, (low + high) / 2, f"{k} {LEVELS[k].removesuffix(' risk')}: {high - low:.2f}", va="center")
    axes.set(title="four probabilities", xlim=(-0.4, 1.6), ylim=(0, 1), xticks=[], yticks=[])
    axes.spines["bottom"].set_visible(False)


@styled
def threshold_cuts(p1, p2, p3):
    """Draw the four probabilities that Eq. 6 gives for three thresholds in any order; one below 0 is marked."""
    probabilities = np.round([1 - p1, p1 - p2, p2 - p3, p3], 6)
    broken = [f"Pr({k}) = {value:.2f}" for k, value in enumerate(probabilities) if value < 0]
    title = f"The thresholds are out of order: {', '.join(broken)}" if broken else "The thresholds fall: four probabilities"
    figure, ((axes,),) = panels(110, 60, title=title)
    bars = axes.bar([f"{k} {name.removesuffix(' risk')}" for k, name in enumerate(LEVELS)], probabilities, color=LEVEL_COLOURS)
    for bar in [bar for bar, value in zip(bars, probabilities, strict=True) if value < 0]:
        bar.set_hatch("//")
    axes.bar_label(bars, fmt="{:.2f}", padding=2)
    axes.axhline(0, color=INK, lw=0.8)
    axes.set(ylim=(-1, 1.1), ylabel="probability by Eq. 6")
    return figure
