"""Cases: the graver errors, what was annotated of their signals, and what disturbances and statements do to errors."""

import re

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter1d
from scipy.stats import fisher_exact
from scipy.stats.contingency import odds_ratio

from cardiov import mapping
from cardiov.analysis.metrics import SCORES, exact_share, holm, weighted_metrics
from cardiov.analysis.resampling import drawn_counts, intervals
from cardiov.ecg.leads import LEADS
from cardiov.errors import ParameterError

NOISE = ["baseline_drift", "static_noise", "burst_noise", "electrodes_problems"]
HIGH_FREQUENCY = ["static_noise", "burst_noise"]
FIGURE_4 = {"fig4_left": "IMI", "fig4_right": "PAC"}  # old inferior infarction, atrial premature complexes
STRETCH = 3  # s, of a record, that is boxed because the disturbance is greatest there
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


def annotated_leads(annotation: str) -> list[str]:
    """The leads that an annotation of PTB-XL names, such as "II,AVF", "I-AVR" or "v4-6"; all, if it names none ("alles")."""
    names = [lead.upper() for lead in LEADS]
    found = set()
    for first, last in re.findall(r"(AV[RLF]|V[1-6]|I{1,3})(?:\s*-\s*(AV[RLF]|V?[1-6]|I{1,3}))?", annotation.upper()):
        last = f"V{last}" if last.isdigit() else last or first
        found |= set(LEADS[names.index(first) : names.index(last) + 1])
    return [lead for lead in LEADS if lead in found] or list(LEADS)


def worst_stretch(signal: np.ndarray, fs: float, kind: str, leads: list[str]) -> tuple[str, float, float]:
    """Where drift or noise is greatest among some leads of a signal (12, n): the lead, the size in mV and the start in s.

    The size is of `STRETCH` seconds: of "drift" the range of the mean over 1 s, of "noise" the effective value of what exceeds the
    mean over 40 ms between the beats (the lower quartile of blocks of 0.1 s).
    """
    rows, block = [LEADS.index(lead) for lead in leads], round(0.1 * fs)
    if kind == "drift":
        blocks = uniform_filter1d(signal[rows], round(fs), axis=-1)[:, ::block]  # (leads, blocks)
        measure = np.ptp
    else:
        fast = np.square(signal[rows] - uniform_filter1d(signal[rows], max(3, round(0.04 * fs)), axis=-1))
        blocks = fast[:, : fast.shape[1] // block * block].reshape(len(rows), -1, block).mean(axis=-1)
        measure = _quiet_noise
    windows = np.lib.stride_tricks.sliding_window_view(blocks, min(round(STRETCH / 0.1), blocks.shape[1]), axis=-1)
    sizes = measure(windows, axis=-1)  # (leads, starts)
    row, start = np.unravel_index(sizes.argmax(), sizes.shape)
    return leads[row], float(sizes[row, start]), float(0.1 * start)


def _quiet_noise(power, axis):
    return np.sqrt(np.quantile(power, 0.25, axis=axis))


def annotated_errors(cases: pd.DataFrame) -> pd.DataFrame:
    """Wrongly predicted records (of a `case_table`) with noise: its ``kind`` and ``annotation``, by ``ecg_id``.

    The kind is "drift", or "noise" for static or burst noise without annotated drift.
    """
    wrong = cases[cases["error"] > 0].set_index("ecg_id")
    noise = wrong[HIGH_FREQUENCY].bfill(axis=1).iloc[:, 0]
    table = pd.DataFrame({"kind": wrong["baseline_drift"].notna().map({True: "drift", False: "noise"}),
                          "annotation": wrong["baseline_drift"].fillna(noise)})  # fmt: skip
    return table[table["annotation"].notna()]


def choose_cases(cases: pd.DataFrame, sizes: dict | None = None) -> pd.DataFrame:
    """The wrongly predicted records (of a `case_table`) that stand for those of Figs. 3 and 4, by rule.

    ``fig3_drift`` has annotated baseline drift; ``fig3_noise`` has annotated static or burst noise, but no drift. Of those the one
    with the greatest disturbance is taken, whose size is given by ``ecg_id``; without sizes, the gravest error. Fig. 4 has the
    gravest errors of 2 or more without an annotation that have, among the statements, IMI (``fig4_left``) and PAC
    (``fig4_right``). If no error has the statement, the gravest other one without an annotation takes its place.
    The rows are indexed by ``figure``, with ``why`` each was chosen; a figure without any such error is left out.
    """
    wrong = cases[cases["error"] > 0]
    kind, size = (wrong["ecg_id"].map(values) for values in (annotated_errors(cases)["kind"], sizes or {}))
    by_size = size.fillna(0).sort_values(ascending=False, kind="stable").index
    chosen = {f"fig3_{name}": wrong.loc[by_size][kind[by_size] == name][:1] for name in ("drift", "noise")}
    why = {"fig3_drift": "drift", "fig3_noise": "high-frequency noise, no drift"} | FIGURE_4
    unmarked = wrong[wrong[NOISE].isna().all(axis=1)]
    for figure, statement in FIGURE_4.items():
        stated = unmarked["statements"].str.contains(f"(?:^|;){statement}:")
        chosen[figure] = unmarked[stated & (unmarked["error"] >= 2)][:1]
        unmarked = unmarked.drop(chosen[figure].index)
    for figure, statement in FIGURE_4.items():
        if chosen[figure].empty:
            chosen[figure], why[figure] = unmarked[:1], f"no such error has {mapping.description(statement)}: the gravest other one"
            unmarked = unmarked[1:]
    table = pd.concat(chosen, names=["figure", None]).droplevel(1)
    return table.assign(why=table.index.map(why))


def case_title(case: pd.Series) -> str:
    """A record with its label, its prediction and its statements, in words."""
    return (
        f"Record {case['ecg_id']}, labelled {case['critical_value']}, predicted {case['predicted']}: "
        f"{mapping.in_words(case['statements'])}"
    )


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
