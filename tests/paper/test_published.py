"""Verdicts on reproduced figures."""

import numpy as np
import pandas as pd
import pytest

from cardiov.errors import DataSetError
from cardiov.paper.published import JUDGED, compare_with_published, published_points
from cardiov.store import results
from cardiov.store.files import ROOT


def interval(name, low, high):
    return {name: (low + high) / 2, f"{name}_low": low, f"{name}_high": high}


PAPER = {  # PTB-XL 1.0.1 as published, but for one count, the lowest age and the misprinted number of training records
    "01_dataset": {"records": 21837, "whole_records": 21837, "whole_patients": 18885, "whole_male_share": 0.5111,
                   "whole_male_record_share": 0.5211, "whole_age_min": 2, "whole_age_max": 95, "whole_NORM": 9528,
                   "whole_MI": 5486, "whole_STTC": 5250, "whole_CD": 4908, "whole_HYP": 2655, "whole_train": 17441,
                   "whole_validation": 2193, "whole_test": 2203},
    "04_roc": {**interval("mae", 0.48, 0.54), **interval("auc_mean", 0.80, 0.82), **interval("auc_0", 0.88, 0.92),
               **interval("auc_1", 0.78, 0.81), **interval("auc_2", 0.70, 0.79), **interval("auc_3", 0.79, 0.87),
               **interval("auc_0_minus_auc_1", 0.08, 0.14), **interval("auc_0_minus_auc_2", -0.01, 0.1),
               **interval("auc_3_minus_auc_1", -0.2, -0.1), **interval("auc_3_minus_auc_2", 0, 0.1),
               **interval("accuracy", 0.66, 0.72), **interval("n_wrong", 560, 700), **interval("n_error_1", 376, 390),
               **interval("n_error_2", 270, 380), **interval("n_error_3", 1, 29)},
    "06_ablation": {**interval("ordinal_minus_classification_mae", 0.01, 0.03), **interval("ordinal_minus_regression_mae", -0.2, -0.1),
                    **interval("ordinal_minus_classification_auc_mean", -0.01, 0.03), "regression_auc_mean": 0.7,
                    **interval("ordinal_minus_regression_auc_mean", 0.1, 0.2)},
    "05_subgroups": {**interval("sex_mae", -0.12, 0.02), **interval("sex_auc_mean", -0.049, 0.03),
                     **interval("age_mae", -0.3, -0.1), **interval("age_auc_mean", -0.06, -0.01), "sex_mae_p": 0.9},
    "07_agreement": {**interval("published_label_percent", 34, 42), **interval("published_model_percent", 49, 57)} |
                    {"published_label_percent": 38.4273, "published_model_percent": 53.5608},
}  # fmt: skip


def judged(dataset="some-ecgs", **changes):
    for name, scalars in PAPER.items():
        results.save_scalars(dataset, name, scalars | changes)
    return compare_with_published(dataset).set_index("quantity")


@pytest.mark.parametrize(
    ("quantity", "verdict"),
    [
        ("records", "agrees"),
        ("mean absolute error", "agrees"),  # all of the interval is within 0.1 of 0.4984
        ("mean AUC", "contradicts"),
        ("AUC of class 0", "agrees"),
        ("AUC of class 1", "cannot tell"),
        ("AUC of class 2", "contradicts"),
        ("AUC of class 0 - AUC of class 1", "agrees"),
        ("AUC of class 0 - AUC of class 2", "cannot tell"),  # the estimate is above 0, and its interval is not
        ("AUC of class 3 - AUC of class 1", "contradicts"),
        ("AUC of class 3 - AUC of class 2", "cannot tell"),  # an end at 0 is no order
        ("mean absolute error, ordinal - classification", "contradicts"),
        ("mean AUC, ordinal - classification", "cannot tell"),
        ("mean AUC, ordinal - regression", "agrees"),
        ("mean AUC of regression", "not available"),
        ("subgroups by sex: mean absolute error, male - female", "cannot tell"),  # 0 is inside, and so is -0.12
        ("subgroups by sex: mean AUC, male - female", "agrees"),
        ("subgroups by age: mean absolute error, under 65 - 65 and over", "agrees"),
        ("subgroups by age: mean AUC, under 65 - 65 and over", "contradicts"),
        ("a further cardiologist sides with the model", "not comparable on this data"),
        ("agreement of model and cardiologist", "recomputed"),
        ("heat in QRS complexes against chance, deepest stage", "not comparable on this data"),
        ("test records predicted wrongly", "cannot tell"),
        ("accuracy", "agrees"),
        ("records with an absolute error of 1", "contradicts"),
        ("records with an absolute error of 2", "cannot tell"),
        ("records with an absolute error of 3", "agrees"),
    ],
)
def test_verdicts_on_the_whole_of_ptbxl(root, quantity, verdict):
    assert judged().loc[quantity, "verdict"] == verdict


COUNTED = {  # what the paper says of its data set, by its verdict
    "agrees": ["records", "patients", "share of men among the records", "highest age", "records NORM", "records MI", "records STTC",
             "records HYP", "validation records", "test records"],
    "contradicts": ["lowest age", "share of men among the patients", "records CD", "training records"],
}  # fmt: skip


@pytest.mark.parametrize("dataset", ["some-ecgs", "demo"])
@pytest.mark.parametrize("records", [21837, 21799, 2877])
def test_what_the_paper_says_of_its_data_is_judged_by_the_metadata_whatever_the_data_set(root, dataset, records):
    table = judged(dataset, records=records)
    assert {verdict: list(table.index[table.index.isin(sum(COUNTED.values(), [])) & (table["verdict"] == verdict)])
            for verdict in COUNTED} == COUNTED  # fmt: skip
    assert table.loc["records CD", ["published", "reproduced", "tolerance"]].tolist() == ["4907", "4,908", "exact"]
    assert table.loc["lowest age", "reason"].startswith("Of all records of PTB-XL 1.0.1, by their metadata. The paper has")
    assert "misprint" in table.loc["training records", "reason"]


def test_published_counts_that_notebook_01_has_not_left_are_not_judged(root):
    assert judged(whole_CD=float("nan")).loc["records CD", "verdict"] == "not comparable on this data"


def test_cells_show_intervals_tolerances_and_both_sides(root):
    table = judged()
    assert table.loc["mean absolute error", "reproduced"] == "0.5100 (0.4800 to 0.5400)"
    assert table.loc["mean absolute error", "tolerance"] == "± 0.1"
    assert table.loc["records", ["reproduced", "tolerance"]].tolist() == ["21,837", "exact"]
    assert table.loc["highest age", "tolerance"] == "exact"
    assert table.loc["AUC of class 0 - AUC of class 1", ["reproduced", "tolerance"]].tolist() == ["0.1100 (0.0800 to 0.1400)", ""]
    assert table.loc["subgroups by sex: mean AUC, male - female", "tolerance"] == "± 0.05"
    assert table.loc["records with an absolute error of 1", "reproduced"] == "383 (376 to 390)"


def test_a_sample_stands_for_orders_only(root):
    table = judged(records=2877)
    assert table.loc["mean AUC", ["verdict", "reproduced"]].tolist() == ["not comparable on this data", "0.8100 (0.8000 to 0.8200)"]
    assert "13% of the paper's records" in table.loc["mean AUC", "reason"]
    assert table.loc["AUC of class 0 - AUC of class 1", "verdict"] == "agrees"
    assert table.loc["subgroups by sex: mean AUC, male - female", "verdict"] == "agrees"


def test_claims_are_judged_on_all_folds_where_they_are_stored_and_figures_on_the_test_fold(root):
    folds = interval("auc_0_minus_auc_2_all_folds", 0.02, 0.06) | interval("sex_mae_all_folds", -0.02, 0.04) | interval("mae_all_folds", 9, 9)
    table = judged(**folds)
    claim = table.loc["AUC of class 0 - AUC of class 2"]  # which the test fold cannot tell
    assert claim[["verdict", "reproduced"]].tolist() == ["agrees", "0.0400 (0.0200 to 0.0600)"]
    assert claim["reason"] == "Cross-validated on all folds."
    assert table.loc["subgroups by sex: mean absolute error, male - female", ["verdict", "tolerance"]].tolist() == ["agrees", "± 0.1"]
    assert table.loc["mean absolute error", "reproduced"] == "0.5100 (0.4800 to 0.5400)"
    assert not table.loc["AUC of class 0 - AUC of class 1", "reason"]


def test_simulated_data_stand_for_nothing(root):
    verdicts = judged("demo")["verdict"].drop(sum(COUNTED.values(), []))
    arithmetic = ["agreement of cardiologist and cardiologist", "agreement of model and cardiologist"]
    assert set(verdicts[arithmetic]) == {"recomputed"}  # of published figures alone
    others = set(verdicts.drop(arithmetic))
    assert others <= {"not comparable on this data", "not available"}


def test_counts_of_a_rereading_are_judged_where_someone_has_reread(root):
    sides = [f"a further cardiologist sides with {side}" for side in ("the label", "the model", "neither")]
    readings = {"reader_label": 259, "reader_model": 200, "reader_neither": 54}
    without, read = judged().loc[sides], judged(**readings).loc[sides]
    assert set(without["verdict"]) == {"not comparable on this data"} and "readings" in without["reason"].iloc[0]
    assert read["verdict"].tolist() == ["agrees", "contradicts", "agrees"]
    assert set(judged(records=2877, **readings).loc[sides, "verdict"]) == {"not comparable on this data"}
    assert "simulated" in judged("demo", **readings).loc[sides[0], "reason"]


def test_a_figure_that_the_data_do_not_give_contradicts_nothing(root):
    table = judged(auc_1=float("nan"), auc_1_low=float("nan"), auc_0_minus_auc_1_low=float("nan"))
    for quantity in ("AUC of class 1", "AUC of class 0 - AUC of class 1"):  # an order is not judged by its estimate
        assert table.loc[quantity, "verdict"] == "not comparable on this data"


@pytest.mark.parametrize(("low", "high", "verdict"), [
    (-0.09, 0.09, "agrees"), (0.01, 0.02, "agrees"), (-0.1, 0.3, "cannot tell"), (0.11, 0.3, "contradicts"), (-0.3, -0.11, "contradicts"),
])  # fmt: skip
def test_groups_are_alike_if_the_whole_interval_is_within_the_margin(root, low, high, verdict):
    table = judged(**interval("sex_mae", low, high))
    assert table.loc["subgroups by sex: mean absolute error, male - female", "verdict"] == verdict


def test_an_arithmetic_that_does_not_agree_contradicts(root):
    assert judged(published_label_percent=39.4).loc["agreement of cardiologist and cardiologist", "verdict"] == "contradicts"


def test_rows_are_sorted_by_verdict_and_else_as_the_paper_has_them(root):
    order = judged()["verdict"].map(["contradicts", "cannot tell", "agrees", "recomputed", "not comparable on this data",
                                     "not available"].index)  # fmt: skip
    assert order.is_monotonic_increasing and set(order) == set(range(6))
    contradictions = judged().query("verdict == 'contradicts'").index.tolist()
    assert contradictions[:3] == ["lowest age", "share of men among the patients", "records CD"]


NUMBERS = ["estimate", "low", "high", "least", "most"]


def test_points_are_ratios_to_figures_and_differences_from_bounds(root):
    judged()
    points = published_points("some-ecgs").set_index("quantity")
    assert points.loc["training records", NUMBERS].tolist() == pytest.approx([17441 / 17741, np.nan, np.nan, 1, 1], nan_ok=True)
    error = points.loc["mean absolute error", NUMBERS].tolist()
    assert error == pytest.approx([0.51 / 0.4984, 0.48 / 0.4984, 0.54 / 0.4984, 0.3984 / 0.4984, 0.5984 / 0.4984])
    assert points.loc["AUC of class 2", NUMBERS].tolist() == pytest.approx([-0.055, -0.1, -0.01, 0, np.inf])
    alike = points.loc["subgroups by sex: mean absolute error, male - female", NUMBERS].tolist()
    assert alike == pytest.approx([-0.05, -0.12, 0.02, -0.1, 0.1])
    assert points.loc["lowest age", "estimate"] == np.inf  # published as 0
    assert set(points["verdict"]) == set(JUDGED)


def test_points_have_what_is_judged_and_of_the_rest_the_figures_of_fig_2(root):
    table = judged(records=2877).reset_index()
    points = published_points("some-ecgs")
    assert points["quantity"].tolist() == table.loc[table["verdict"].isin(JUDGED) | (table["where"] == "Fig. 2"), "quantity"].tolist()
    unjudged = points[~points["verdict"].isin(JUDGED)]
    assert unjudged["quantity"].tolist() == ["mean absolute error", "mean AUC", *(f"AUC of class {k}" for k in range(4))]


def test_without_counts_it_says_what_to_run(root):
    with pytest.raises(DataSetError, match="make paper"):
        compare_with_published("nothing")


def test_every_published_number_has_a_tolerance_and_every_tolerance_a_number():
    published = pd.read_csv(ROOT / "results/published.csv", dtype=str, keep_default_na=False)
    judged = published[published["relation"].isin(["=", "alike"]) & (published["published"] != "not available")]
    tolerances = pd.read_csv(ROOT / "results/tolerances.csv")
    assert set(zip(judged["where"], judged["quantity"])) == set(zip(tolerances["table"], tolerances["quantity"]))
    assert not published.duplicated(["where", "quantity"]).any() and not tolerances.duplicated(["table", "quantity"]).any()
