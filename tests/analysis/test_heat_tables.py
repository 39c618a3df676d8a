"""Heat against chance, and correlations of maps."""

import numpy as np
import pandas as pd
import pytest

from cardiov.analysis.heat import by_random_network, correlations, deepening, enrichment


def shares(factor):
    index = pd.MultiIndex.from_product([range(6), ["s1", "s2"], ["QRS"]], names=["ecg_id", "stage", "window"])
    table = index.to_frame(index=False).assign(patient_id=lambda t: t["ecg_id"] // 2, coverage=0.1, best=0.8)
    return table.assign(trained=factor * 0.1, contrast=0.1, random=0.1, energy=0.4)


def test_enrichment_is_share_over_chance_and_leaves_empty_maps_out():
    table = shares(2.0)
    table.loc[(table["ecg_id"] == 5) & (table["stage"] == "s2"), ["trained", "coverage"]] = np.nan, 0.9
    ratios = enrichment(table, resamples=50)
    assert ratios.loc[("trained", "QRS", "s1"), ["estimate", "low", "high"]].tolist() == pytest.approx([2, 2, 2])
    assert ratios.loc[("trained", "QRS", "s2"), ["estimate", "records"]].tolist() == pytest.approx([2, 5])
    assert ratios.loc[("best", "QRS", "s1"), "estimate"] == pytest.approx(8)
    assert ratios.loc[("energy", "QRS", "s1"), ["estimate", "records"]].tolist() == pytest.approx([4, 6])


def test_deepening_is_the_last_stage_minus_the_first_on_the_same_patients():
    table = shares(2.0).assign(trained=lambda t: 0.05 * t["patient_id"] + 0.1 * (t["stage"] == "s2"))
    row = deepening(table, resamples=50).loc[("trained", "QRS")]
    assert row.tolist() == pytest.approx([1, 1, 1])  # though the heat itself varies from patient to patient
    assert enrichment(table, resamples=50).loc[("trained", "QRS", "s1"), ["low", "high"]].diff().iloc[1] > 0.1


def test_correlations_are_means_by_stage():
    table = pd.DataFrame({"ecg_id": [1, 1, 2, 2], "patient_id": [1, 1, 2, 2], "stage": ["s1", "s2"] * 2})
    table = table.assign(random_0=[0.1, np.nan, 0.5, 0.2], random_1=[0.3, np.nan, 0.3, 0.0], another_record=0.5, energy=-0.5)
    means = correlations(table, resamples=50)
    assert means.loc[("random", "s1"), ["estimate", "low", "high"]].tolist() == pytest.approx([0.3, 0.2, 0.4])
    assert means.loc[("random", "s2"), ["estimate", "records"]].tolist() == pytest.approx([0.1, 1])
    each = by_random_network(table)
    assert each.loc["s1"].tolist() == pytest.approx([0.3, 0.3]) and each.loc["s2"].tolist() == pytest.approx([0.2, 0])
