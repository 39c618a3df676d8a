"""A long record's scores over time."""

import numpy as np

from cardiov.plots.style import LEVEL_COLOURS, panels, styled

BINS = 96  # quarters of an hour in a day


@styled
def scores_over_time(windows, title=None):
    """Draw which share of a record's windows has each critical value, and each window's expected value.

    Parameters
    ----------
    windows : sequence of `cardiov.scoring.record.Window`
    """
    figure, grid = panels(180, 90, rows=2, title=title, sharex=True)
    (shares,), (expected,) = grid
    starts = np.array([window.start for window in windows]) / 3600
    middles = starts + np.array([window.seconds for window in windows]) / 7200
    values = np.array([window.critical_value for window in windows])
    edges = np.linspace(0, starts[-1] + windows[-1].seconds / 3600, min(BINS, len(windows)) + 1)
    counts = np.array([np.histogram(middles[values == value], edges)[0] for value in range(len(LEVEL_COLOURS))])  # (values, bins)
    heights = counts / np.maximum(counts.sum(axis=0), 1)
    for value, colour in enumerate(LEVEL_COLOURS):
        shares.bar(edges[:-1], heights[value], np.diff(edges), heights[:value].sum(axis=0), align="edge", color=colour, label=str(value))
    shares.set(ylabel="share of windows", ylim=(0, 1))
    shares.legend(title="critical value", loc="upper left", bbox_to_anchor=(1, 1))
    probabilities = np.array([window.probabilities for window in windows])
    expected.plot(starts, probabilities @ np.arange(probabilities.shape[1]), ".", markersize=2, color="black")
    expected.set(xlabel="hours from the start", ylabel="expected value", ylim=(-0.05, 3.05), xlim=(0, edges[-1]))
    return figure
