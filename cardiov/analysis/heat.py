"""What the stored heat maps (`cardiov.store.results.read_heat`) show: heat against chance, trained against random weights."""

import numpy as np
import pandas as pd

from cardiov.analysis.resampling import drawn_counts, intervals

# Stated before any map was computed: weights are held to decide the maps if, at every stage, the maps of trained and of
# random weights have a mean rank correlation nearer to 0 than this. The same is asked of the trained maps of another record,
# stated when those of an earlier network were known (0.80 at stage 7): a map that all records share is not about the record.
TOLERANCE = 0.5


def enrichment(shares: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """How much more heat windows hold than chance: mean share over mean coverage, of records whose map is not empty.

    Indexed by ``map`` ("trained"; "contrast", the same less its minimum; "random", of the first of the networks with random
    weights; "energy"; and "best", the most that the stage's cells allow), ``window`` and ``stage``, with ``estimate`` (1 is
    chance), ``low``, ``high`` and ``records``.
    """
    draws, records = _enrichment_draws(shares, resamples, seed)
    return intervals(draws, draws.columns.names).assign(records=records).sort_index()


def deepening(shares: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """`enrichment` of the deepest stage minus that of the first, on the same drawn patients, by ``map`` and ``window``."""
    draws, _ = _enrichment_draws(shares, resamples, seed)
    first, *_, deepest = sorted(draws.columns.unique("stage"))
    difference = draws.xs(deepest, axis=1, level="stage") - draws.xs(first, axis=1, level="stage")
    return intervals(difference, difference.columns.names).sort_index()


def _enrichment_draws(shares, resamples, seed):
    """Enrichment by map, window and stage (columns), a row per draw, and how many records each is of."""
    maps = ["trained", "contrast", "random", "energy", "best"]
    long = shares.melt(["ecg_id", "patient_id", "window", "stage", "coverage"], maps, "map", "share")
    long["coverage"] = long["coverage"].where(long["share"].notna())
    index, names = ["ecg_id", "patient_id"], ["map", "window", "stage"]
    share, coverage = (long.pivot(index=index, columns=names, values=value) for value in ("share", "coverage"))
    counts = drawn_counts(share.index.get_level_values("patient_id"), resamples, seed)
    return _means(share, counts) / _means(coverage, counts), share.notna().sum()


def correlations(sanity: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Mean rank correlation of the trained maps with those ``compared``, by ``stage``, of ``records`` where both vary.

    "random" is the mean over the networks with random weights; see `by_random_network` for each.
    """
    compared = ["random", "another_record", "energy"]
    sanity = sanity.assign(random=sanity[_random_networks(sanity)].mean(axis=1))
    wide = sanity.pivot(index=["ecg_id", "patient_id"], columns="stage", values=compared)
    counts = drawn_counts(wide.index.get_level_values("patient_id"), resamples, seed)
    return intervals(_means(wide, counts), ["compared", "stage"]).assign(records=wide.notna().sum()).sort_index()


def by_random_network(sanity: pd.DataFrame) -> pd.DataFrame:
    """Mean rank correlation of the trained maps with those of each network with random weights (columns), by ``stage``."""
    return sanity.groupby("stage")[_random_networks(sanity)].mean()


def _random_networks(sanity):
    return list(sanity.filter(regex=r"^random_\d+$"))


def _means(values, counts):
    """Means of the columns, without NaN, over records that count by `counts` (R, N): (R, columns)."""
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: no map was drawn
        means = counts @ values.fillna(0).to_numpy() / (counts @ values.notna().to_numpy())
    return pd.DataFrame(means, columns=values.columns)
