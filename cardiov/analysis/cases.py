"""Cases: the graver errors, what was annotated of their signals, and what disturbances and statements do to errors."""

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact
from scipy.stats.contingency import odds_ratio

from cardiov import mapping
from cardiov.analysis.metrics import SCORES, auc, exact_share
from cardiov.analysis.resampling import draw_by_draw, drawn_counts, intervals
from cardiov.errors import ParameterError
from cardiov.mapping import CLASSES

NOISE = ["baseline_drift", "static_noise", "burst_noise", "electrodes_problems"]
HIGH_FREQUENCY = ["static_noise", "burst_noise"]
FIGURE_4 = {"fig4_left": "IMI", "fig4_right": "PAC"}  # old inferior infarction, atrial premature complexes
STRESS_METRICS = ["mae", "auc_mean"]


def case_table(predictions: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Predictions with the records' statements and annotations of noise, the gravest error first.

    Returns
    -------
    DataFrame
        ``ecg_id``, ``patient_id``, ``critical_value``, ``predicted``, ``error`` (absolute), ``statements`` with their
        likelihoods, the columns of `NOISE` (where the noise is, as annotated), and ``p0`` to ``p3``. Of equal errors,
        the one that gives the label the lower score comes first, then the lower ``ecg_id``.
    """
    noted = records[NOISE].astype(object).apply(lambda column: column.str.strip(" ,"))  # " , V1,  " in PTB-XL
    table = predictions.join(records[["statements"]].join(noted), on="ecg_id")
    table["error"] = (table["predicted"] - table["critical_value"]).abs()
    score = table[SCORES].to_numpy()[np.arange(len(table)), table["critical_value"]]
    table = table.assign(score=score).sort_values(["error", "score", "ecg_id"], ascending=[False, True, True])
    columns = ["ecg_id", "patient_id", "critical_value", "predicted", "error", "statements", *NOISE, *SCORES]
    return table[columns].reset_index(drop=True)


def choose_cases(cases: pd.DataFrame) -> pd.DataFrame:
    """The wrongly predicted records that stand for those of Figs. 3 and 4, by rule.

    Always the gravest error of its kind: annotated baseline drift (``fig3_drift``); annotated static or burst noise,
    but no drift (``fig3_noise``); no annotation, an error of 2 or more and, among the statements, IMI (``fig4_left``)
    or PAC (``fig4_right``). Where there is none with that statement, the gravest of those left without an annotation
    takes its place.

    Parameters
    ----------
    cases : DataFrame
        From `case_table`.

    Returns
    -------
    DataFrame
        Its rows, indexed by ``figure``, and ``why`` each was chosen; a figure for which there is no error at all is
        left out.
    """
    wrong = cases[cases["error"] > 0]
    drift, noise = wrong["baseline_drift"].notna(), wrong[HIGH_FREQUENCY].notna().any(axis=1)
    chosen = {"fig3_drift": wrong[drift][:1], "fig3_noise": wrong[noise & ~drift][:1]}
    left = wrong[wrong[NOISE].isna().all(axis=1)]
    for figure, statement in FIGURE_4.items():
        stated = left["statements"].str.contains(f"(?:^|;){statement}:")
        chosen[figure] = left[stated & (left["error"] >= 2)][:1]
        left = left.drop(chosen[figure].index)
    why = {"fig3_drift": "drift", "fig3_noise": "high-frequency noise, no drift"} | FIGURE_4
    for figure, statement in FIGURE_4.items():
        if chosen[figure].empty:
            chosen[figure], why[figure] = left[:1], f"no such error with {statement}: the gravest left"
            left = left.drop(chosen[figure].index)
    table = pd.concat(chosen, names=["figure", None]).droplevel(1)
    return table.assign(why=table.index.map(why))


def case_title(case: pd.Series) -> str:
    """A row of `choose_cases` in two lines: record, label and prediction; statements and annotations of noise."""
    noise = [f"{column.replace('_', ' ')} {case[column]}" for column in NOISE if pd.notna(case[column])]
    first = f"record {case['ecg_id']}, labelled {case['critical_value']}, predicted {case['predicted']}"
    return f"{first}\n{case['statements']} · {', '.join(noise) or 'no noise annotated'}"


def error_odds(cases: pd.DataFrame) -> pd.DataFrame:
    """Are records with annotated noise predicted worse? Odds ratios of 2 x 2 counts.

    Exact conditional intervals and Fisher's test (Fisher 1935), so that a count of zero gives an odds ratio of 0 or
    infinity with an honest interval, not a correction. Records count as independent; those of one patient are not,
    so with several records a patient the intervals are somewhat too narrow.

    Parameters
    ----------
    cases : DataFrame
        From `case_table`, all records: also the rightly predicted ones.

    Returns
    -------
    DataFrame
        Indexed by ``outcome`` ("wrong", "error of 2 or more") and ``annotation`` (`NOISE`, or "any of them"):
        ``annotated_with`` and ``annotated_without`` the outcome, ``others_with`` and ``others_without``, the
        ``odds_ratio`` with its 95 % interval ``low`` to ``high``, and ``p``. Where nothing is annotated the odds ratio
        is NaN and the interval runs from 0 to infinity.
    """
    marks = cases[NOISE].notna().rename(columns=lambda name: name.replace("_", " "))
    marks["any of them"] = marks.any(axis=1)
    outcomes = {"wrong": cases["error"] > 0, "error of 2 or more": cases["error"] >= 2}
    rows = {(outcome, name): _odds(marks[name], bad) for outcome, bad in outcomes.items() for name in marks}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["outcome", "annotation"])


def _odds(annotated, bad):
    counts = [[int((side & bad).sum()), int((side & ~bad).sum())] for side in (annotated, ~annotated)]
    ratio = odds_ratio(counts, kind="conditional")
    names = ("annotated_with", "annotated_without", "others_with", "others_without")
    found = dict(zip(names, sum(counts, []), strict=True)) | {"odds_ratio": ratio.statistic}
    return found | ratio.confidence_interval(0.95)._asdict() | {"p": fisher_exact(counts).pvalue}


def stress_metrics(stressed: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """MAE and mean AUC under each disturbance, and how much worse they are than undisturbed.

    All conditions are evaluated on the same resampled patients, so the differences are paired.

    Parameters
    ----------
    stressed : DataFrame
        From `cardiov.store.results.read_stressed`, with ``patient_id`` and ``critical_value`` of each record; every record
        under every condition, the undisturbed one first.
    resamples, seed : int
        As in `bootstrap`.

    Returns
    -------
    DataFrame
        Indexed by ``disturbance``, ``strength`` and ``statistic`` ("mae", "auc_mean", "mae_difference" and
        "auc_mean_difference", disturbed - undisturbed), with ``estimate``, ``low`` and ``high``.

    Raises
    ------
    ParameterError
        If there are no records, or not all of them under every condition.
    """
    groups = dict(iter(stressed.sort_values("ecg_id").groupby(["disturbance", "strength"], sort=False)))
    order = list(stressed[["disturbance", "strength"]].drop_duplicates().itertuples(index=False, name=None))
    first = groups[order[0]] if order else stressed
    if any(not np.array_equal(group["ecg_id"], first["ecg_id"]) for group in groups.values()):
        raise ParameterError("some records lack some disturbances: run `python -m cardiov stress` again.")
    label = first["critical_value"].to_numpy()
    predicted = np.array([groups[key]["predicted"] for key in order])  # (conditions, N)
    scores = np.array([groups[key][SCORES].T for key in order])  # (conditions, 4, N)

    def statistic(rows):
        return pd.Series(_under_conditions(label[rows], predicted[:, rows], scores[..., rows]).ravel())

    table = intervals(draw_by_draw(statistic)(drawn_counts(first["patient_id"], resamples, seed)))
    names = [*STRESS_METRICS, *(f"{name}_difference" for name in STRESS_METRICS)]
    index = pd.MultiIndex.from_tuples([(*key, name) for key in order for name in names])
    return table.set_axis(index.rename(["disturbance", "strength", "statistic"]))


def _under_conditions(label, predicted, scores):
    """MAE and mean AUC of each condition, and their differences to the first: (conditions, 4)."""
    mae = np.abs(predicted - label).mean(axis=1)
    aucs = np.broadcast_arrays(*(auc(label == k, scores[:, k]) for k in CLASSES))
    found = np.stack([mae, np.mean(aucs, axis=0)], axis=1)
    return np.hstack([found, found - found[0]])


def errors_by_statement(predictions: pd.DataFrame) -> pd.DataFrame:
    """How the records with each statement are predicted; which findings are called less urgent than they are?

    Parameters
    ----------
    predictions : DataFrame
        From `read_external`.

    Returns
    -------
    DataFrame
        Indexed by ``statement``, those of most records first: its own ``critical_value``; the number of ``records``
        with it; their ``mean_error``, predicted - labelled; how many are ``under_called``, predicted below the
        statement's own critical value, whatever else they have; and their share as ``estimate`` with its exact 95 %
        interval ``low`` to ``high`` (Clopper & Pearson 1934). Statements of critical value 0, below which nothing can
        be predicted, are left out.
    """
    values = mapping.statements()["critical_value"]
    stated = predictions.assign(statement=predictions["statements"].str.split(";")).explode("statement")
    stated["own"] = stated["statement"].map(values)
    groups = stated[stated["own"] > 0].groupby("statement")
    rows = {statement: _under_called(group) for statement, group in groups}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("statement")
    return table.sort_values("records", ascending=False, kind="stable")


def _under_called(group):
    own, records = int(group["own"].iloc[0]), len(group)
    below = int((group["predicted"] < own).sum())
    mean_error = (group["predicted"] - group["critical_value"]).mean()
    found = {"critical_value": own, "records": records, "mean_error": mean_error, "under_called": below}
    return found | dict(zip(("estimate", "low", "high"), exact_share(below, records), strict=True))
