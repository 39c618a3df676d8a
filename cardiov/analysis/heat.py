"""What the stored heat maps show: heat against chance, and trained against random weights."""

import pandas as pd

from cardiov.analysis.resampling import bootstrap


def enrichment(shares, resamples=1000, seed=0) -> pd.DataFrame:
    """How much more heat windows hold than chance: mean share over mean coverage, with intervals over patients.

    Parameters
    ----------
    shares : DataFrame
        ``heat_shares`` or ``heat_shares_ludb`` of `read_heat`.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Indexed by ``map`` ("trained"; "contrast", the same less its minimum; "random"; "energy"; and "best", the most
        that the stage's cells allow), ``window`` and ``stage``, with ``estimate`` (1 is chance), ``low``, ``high`` and
        ``records``. A record whose map is empty is left out, both of share and of coverage.
    """
    maps = ["trained", "contrast", "random", "energy", "best"]
    long = shares.melt(["ecg_id", "patient_id", "window", "stage", "coverage"], maps, "map", "share")
    long["coverage"] = long["coverage"].where(long["share"].notna())
    long["key"] = long["map"] + "|" + long["window"] + "|" + long["stage"]
    wide = long.pivot(index=["ecg_id", "patient_id"], columns="key", values=["share", "coverage"])
    keys = wide["share"].columns
    wide = wide.set_axis([f"{value}|{key}" for value, key in wide.columns], axis=1).reset_index("patient_id")

    def ratio(rows):
        means = rows.mean()
        parts = [means[[f"{value}|{key}" for key in keys]].to_numpy() for value in ("share", "coverage")]
        return pd.Series(parts[0] / parts[1], keys)

    table = bootstrap(wide, ratio, resamples, seed)
    table["records"] = [int(wide[f"share|{key}"].notna().sum()) for key in table.index]
    table.index = pd.MultiIndex.from_tuples([key.split("|") for key in table.index], names=["map", "window", "stage"])
    return table.sort_index()


def correlations(sanity, resamples=1000, seed=0) -> pd.DataFrame:
    """Mean rank correlation of the trained maps with others, by stage, with intervals over patients.

    Returns
    -------
    DataFrame
        Indexed by ``compared`` ("random", "another_record", "energy") and ``stage``, with ``estimate``, ``low``,
        ``high`` and ``records`` (whose two maps both vary).
    """
    names = ["random", "another_record", "energy"]
    wide = sanity.pivot(index=["ecg_id", "patient_id"], columns="stage", values=names)
    wide = wide.set_axis(["|".join(key) for key in wide.columns], axis=1).reset_index("patient_id")
    table = bootstrap(wide, lambda rows: rows.drop(columns="patient_id").mean(), resamples, seed)
    table["records"] = wide.drop(columns="patient_id").notna().sum()
    table.index = pd.MultiIndex.from_tuples([key.split("|") for key in table.index], names=["compared", "stage"])
    return table.sort_index()
