"""Cases: the graver errors, what was annotated of their signals, and what disturbances and statements do to errors."""

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact
from scipy.stats.contingency import odds_ratio

from cardiov import mapping
from cardiov.analysis.metrics import SCORES, exact_share, holm, weighted_metrics
from cardiov.analysis.resampling import drawn_counts, intervals
from cardiov.errors import ParameterError

NOISE = ["baseline_drift", "static_noise", "burst_noise", "electrodes_problems"]
HIGH_FREQUENCY = ["static_noise", "burst_noise"]
FIGURE_4 = {"fig4_left": "IMI", "fig4_right": "PAC"}  # old inferior infarction, atrial premature complexes
FEWEST = 5  # annotated records, below which an annotation has no row of its own
STRESS_METRICS = ["mae", "auc_mean"]


def case_table(predictions: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Predictions with ``error`` (absolute) and the records' ``statements`` and annotations (`NOISE`: where the noise is).

    The gravest error comes first; of equal errors the one that gives the label the lower score, then the lower ``ecg_id``.
    """
    noise = records[NOISE].astype(object).apply(lambda column: column.str.strip(" ,"))  # " , V1,  " in PTB-XL
    table = predictions.join(records[["statements"]].join(noise), on="ecg_id")
    table["error"] = (table["predicted"] - table["critical_value"]).abs()
    score = table[SCORES].to_numpy()[np.arange(len(table)), table["critical_value"]]
    table = table.assign(score=score).sort_values(["error", "score", "ecg_id"], ascending=[False, True, True])
    columns = ["ecg_id", "patient_id", "critical_value", "predicted", "error", "statements", *NOISE, *SCORES]
    return table[columns].reset_index(drop=True)


def choose_cases(cases: pd.DataFrame) -> pd.DataFrame:
    """The wrongly predicted records (of a `case_table`) that stand for those of Figs. 3 and 4, by rule.

    Always the gravest error of its kind: annotated baseline drift (``fig3_drift``); annotated static or burst noise,
    but no drift (``fig3_noise``); no annotation, an error of 2 or more and, among the statements, IMI (``fig4_left``)
    or PAC (``fig4_right``). If no error has the statement, the gravest other one without an annotation takes its place.
    The rows are indexed by ``figure``, with ``why`` each was chosen; a figure without any such error is left out.
    """
    wrong = cases[cases["error"] > 0]
    drift, noise = wrong["baseline_drift"].notna(), wrong[HIGH_FREQUENCY].notna().any(axis=1)
    chosen = {"fig3_drift": wrong[drift][:1], "fig3_noise": wrong[noise & ~drift][:1]}
    why = {"fig3_drift": "drift", "fig3_noise": "high-frequency noise, no drift"} | FIGURE_4
    unmarked = wrong[wrong[NOISE].isna().all(axis=1)]
    for figure, statement in FIGURE_4.items():
        stated = unmarked["statements"].str.contains(f"(?:^|;){statement}:")
        chosen[figure] = unmarked[stated & (unmarked["error"] >= 2)][:1]
        unmarked = unmarked.drop(chosen[figure].index)
    for figure, statement in FIGURE_4.items():
        if chosen[figure].empty:
            chosen[figure], why[figure] = unmarked[:1], f"no such error with {statement}: the gravest left"
            unmarked = unmarked[1:]
    table = pd.concat(chosen, names=["figure", None]).droplevel(1)
    return table.assign(why=table.index.map(why))


def case_title(case: pd.Series) -> str:
    """A row of `choose_cases` in two lines: record, label and prediction; statements and annotations of noise."""
    noise = [f"{column.replace('_', ' ')} {case[column]}" for column in NOISE if pd.notna(case[column])]
    first = f"record {case['ecg_id']}, labelled {case['critical_value']}, predicted {case['predicted']}"
    return f"{first}\n{case['statements']} · {', '.join(noise) or 'no noise annotated'}"


def error_odds(cases: pd.DataFrame) -> pd.DataFrame:
    """Are records with annotated noise predicted worse? Odds ratios of 2 x 2 counts, of all records of a `case_table`.

    Indexed by ``outcome`` ("wrong", "error of 2 or more") and ``annotation`` (`NOISE` with `FEWEST` records, and "any of them",
    which counts all): ``annotated_with`` and ``annotated_without`` the outcome, ``others_with`` and ``others_without``, the
    ``odds_ratio`` with its exact conditional 95 % interval ``low`` to ``high``, and ``p`` of Fisher's test (1935), which count
    records as independent; ``p_holm``, adjusted for all tests of this table. If nothing is annotated the odds ratio is NaN and
    the interval runs from 0 to infinity.
    """
    marks = cases[NOISE].notna().rename(columns=lambda name: name.replace("_", " "))
    marks = marks.loc[:, marks.sum() >= FEWEST].assign(**{"any of them": marks.any(axis=1)})
    outcomes = {"wrong": cases["error"] > 0, "error of 2 or more": cases["error"] >= 2}
    rows = {(outcome, name): _odds(marks[name], bad) for outcome, bad in outcomes.items() for name in marks}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["outcome", "annotation"])
    return table.assign(p_holm=holm(table["p"]))


def _odds(annotated, bad):
    counts = [[int((side & bad).sum()), int((side & ~bad).sum())] for side in (annotated, ~annotated)]
    ratio = odds_ratio(counts, kind="conditional")
    names = ("annotated_with", "annotated_without", "others_with", "others_without")
    row = dict(zip(names, sum(counts, []), strict=True)) | {"odds_ratio": ratio.statistic}
    return row | ratio.confidence_interval(0.95)._asdict() | {"p": fisher_exact(counts).pvalue}


def stress_metrics(stressed: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """MAE and mean AUC under each disturbance, and how much worse they are than undisturbed, on the same drawn patients.

    ``stressed`` is from `cardiov.store.results.read_stressed`, with ``patient_id`` and ``critical_value``; the undisturbed
    condition comes first. The result is indexed by ``disturbance``, ``strength`` and ``statistic`` ("mae", "auc_mean", and the
    "..._difference" of each, disturbed - undisturbed), with ``estimate``, ``low`` and ``high``.

    Raises
    ------
    ParameterError
        If there are no records, or not all of them under every condition.
    """
    names = ["disturbance", "strength"]
    groups = dict(iter(stressed.sort_values("ecg_id").groupby(names, sort=False)))
    order = list(stressed[names].drop_duplicates().itertuples(index=False, name=None))
    clean = groups[order[0]] if order else stressed
    if any(not np.array_equal(group["ecg_id"], clean["ecg_id"]) for group in groups.values()):
        raise ParameterError("some records lack some disturbances: run `python -m cardiov stress` again.")
    counts = drawn_counts(clean["patient_id"], resamples, seed)
    draws = {condition: weighted_metrics(groups[condition], counts, STRESS_METRICS) for condition in order}
    both = (drawn.join((drawn - draws[order[0]]).add_suffix("_difference")) for drawn in draws.values())
    return pd.concat([intervals(drawn) for drawn in both], keys=order, names=names)


def errors_by_statement(predictions: pd.DataFrame) -> pd.DataFrame:
    """How records (`cardiov.store.results.read_external`) with each statement of critical value 1 or more are predicted.

    Indexed by ``statement``, those of most records first: its own ``critical_value``; the ``records`` with it; their
    ``mean_error``, predicted - labelled; how many are ``under_called``, predicted below the statement's own critical
    value; and their share as ``estimate`` with its exact 95 % interval ``low`` to ``high`` (Clopper & Pearson 1934).
    """
    stated = predictions.assign(statement=predictions["statements"].str.split(";")).explode("statement")
    stated["own"] = stated["statement"].map(mapping.statements()["critical_value"])
    stated["error"], stated["below"] = stated["predicted"] - stated["critical_value"], stated["predicted"] < stated["own"]
    table = stated[stated["own"] > 0].groupby("statement").agg(
        critical_value=("own", "first"), records=("own", "size"), mean_error=("error", "mean"), under_called=("below", "sum"),
    )  # fmt: skip
    table[["estimate", "low", "high"]] = [exact_share(*counts) for counts in table[["under_called", "records"]].to_numpy()]
    return table.sort_values("records", ascending=False, kind="stable")
