"""The report of one data set: a single self-contained page of its tables and figures, and the README's table."""

import base64
import json

import jinja2
import pandas as pd

from cardiov.data.ptbxl import VERSIONS
from cardiov.errors import DataSetError
from cardiov.paper.published import with_interval
from cardiov.store.files import ROOT, replacing
from cardiov.store.provenance import provenance
from cardiov.store.results import figures_dir, read_scalars, results_dir, simulated

# of the network alone, whatever the data set
WITHOUT_DATA = {"table3_network", "table4_targets", "fig1_framework", "eq6_erratum", "agreement_bounds", "agreement_selection"}
# (heading, [(table or figure, caption)]) in the paper's order; what is not there yet is left out
SECTIONS = [
    ("The data set", [
        ("table1", "Table 1. Overall statistics, beside what the published versions of PTB-XL hold in full."),
        ("label_distribution", "Records by critical value and split, under both label rules."),
        ("label_rules", "Critical value by the most likely statement (rows) and by the highest risk (columns)."),
        ("label_decisions", "How far details of the label rule decide."),
        ("table2", "Table 2. Statements and their critical values: how many records state each, and for how many it "
                   "decides the label."),
    ]),
    ("Network and ordinal targets", [
        ("table3_network", "Table 3. The network's stages."),
        ("fig1_framework", "Fig. 1. From three thresholds to four probabilities."),
        ("table4_targets", "Table 4. Ordinal targets of each critical value."),
        ("eq6_erratum", "Eq. 6 as printed and as meant."),
        ("training_ordinal-0", "Losses of the ordinal run: cross-entropy first, then the ordinal loss."),
        ("training_classification-0", "Losses of the classification run."),
        ("training_regression-0", "Losses of the regression run."),
    ]),
    ("Critical values estimated", [
        ("fig2_roc", "Fig. 2. ROC curves of each critical value against the rest, test split."),
        ("roc_metrics", "Metrics on the test split with 95 % intervals from resampled patients."),
        ("confusion_matrix", "Labels (rows) and predictions (columns), test split."),
        ("decoders", "The paper's decoder and the monotone one, with paired differences."),
    ]),
    ("The best run", [
        ("ideas_forest", "Each idea against the recipe to start from, validation split (fold 9), with 95 % intervals."),
        ("ideas", "The ideas: what each changes, whether the final recipe has it, and its differences on fold 9."),
        ("best_forest", "The paper's protocol and the final recipe on the test split (fold 10), reported once."),
        ("best_roc", "ROC curves of the chosen network, test split."),
        ("best_metrics", "All metrics on the test split with 95 % intervals over patients and seeds."),
        ("best_difference", "Final recipe - paper's protocol, paired by patients, test split."),
    ]),
    ("Ordinal methods", [
        ("methods_forest", "Seven objectives on one backbone and budget, test split, with 95 % intervals."),
        ("methods_differences_forest", "Their differences to the paper's loss, paired by patients."),
        ("methods", "All metrics of the methods, means over seeds, with 95 % intervals over patients and seeds."),
        ("methods_differences", "All differences to the paper's loss."),
    ]),
    ("Subgroups", [
        ("table5_subgroups", "Table 5 drawn: metrics by sex and age with 95 % intervals; dotted: all records."),
        ("table5_counts", "Records, patients and critical values by subgroup; ages of 90 and over, and unknown ages."),
        ("table5", "Table 5. Metrics by sex and age with 95 % intervals from resampled patients."),
        ("table5_differences", "Differences by sex and by age: 95 % intervals, permutation tests (p_holm: adjusted for "
                               "their number), the largest difference not excluded, and the detectable one."),
    ]),
    ("Agreement with cardiologists", [
        ("agreement", "With whom a further reader sides on wrongly predicted records, with exact 95 % intervals."),
        ("agreement_statistics", "Does the reader prefer the model (exact McNemar test)? Weighted kappas."),
        ("agreement_bounds", "What the published counts allow on all records."),
        ("agreement_selection", "Simulated: a reader's agreement with label and model on all records, and on the wrongly "
                                "predicted ones alone, which were the only ones reread."),
    ]),
    ("Ablation of the objective", [
        ("table6", "Table 6. Three objectives, test split, with 95 % intervals."),
        ("table6_differences", "Paired differences between the objectives, with 95 % intervals."),
    ]),
    ("Case study", [
        ("cases", "Records with an absolute error of 3 or 2, with their statements and annotations of noise."),
        ("fig3_drift", "Fig. 3, left. A case with annotated baseline drift."),
        ("fig3_noise", "Fig. 3, right. A case with annotated high-frequency noise."),
        ("fig4_left", "Fig. 4, left. A grave error without annotated noise."),
        ("fig4_right", "Fig. 4, right. A grave error without annotated noise."),
        ("error_noise_forest", "Errors and annotated noise: odds ratios with exact 95 % intervals."),
        ("error_noise", "The counts behind them, with Fisher's exact test."),
        ("stress", "Stress test: error and AUC when disturbances are added to the signals."),
        ("stress_metrics", "The same in numbers, and paired differences to the signals as recorded."),
    ]),
    ("What the network looks at", [
        ("fig5a_af", "Fig. 5a. Atrial fibrillation over the heat of the deepest stage (Grad-CAM)."),
        ("fig5b_pvc", "Fig. 5b. Premature ventricular complexes over the heat of the deepest stage."),
        ("fig5c_af_stages", "Fig. 5c. The heat of each stage for a, the deepest at the bottom."),
        ("fig5d_pvc_stages", "Fig. 5d. The heat of each stage for b; ectopic beats are framed."),
        ("heat_shares", "Heat inside true waves against chance, by stage."),
        ("heat_shares_ludb", "Heat inside the waves that cardiologists marked in LUDB (Kalyakulina et al. 2020, ODC-BY 1.0) "
                             "against chance, by stage."),
        ("heat_sanity", "Rank correlation of the maps with those of random weights, of another record and with the "
                        "signal's energy; and while the weights are randomised from the head down."),
    ]),
    ("External check on LUDB", [
        ("external_labels", "Records by critical value: LUDB (Kalyakulina et al. 2020, ODC-BY 1.0), its diagnoses being "
                            "taken to the nearest statements, and this data set under both label rules."),
        ("external_metrics", "Metrics on LUDB and on the test split (under both label rules), with 95 % intervals."),
        ("external_confusion", "Labels (rows), predictions (columns) on LUDB (Kalyakulina et al. 2020, ODC-BY 1.0)."),
        ("external_roc", "ROC curves on LUDB (Kalyakulina et al. 2020, ODC-BY 1.0): each value against the rest."),
        ("external_by_statement", "Mean error, predicted - labelled, of LUDB's records with each statement, and the "
                                  "share predicted below the statement's own critical value (exact 95 % interval)."),
        ("external_readings", "The same predictions against other readings of LUDB's diagnoses, with 95 % intervals."),
    ]),
    ("Architecture search", [
        ("search_edf", "Error distributions of networks sampled from two design spaces, and with and without "
                       "squeeze-excitation; the paper's network with its seeds."),
        ("search_models", "Each sampled network's error against its cost; the paper's network is marked."),
        ("search_spaces", "Errors by design space, and the share of networks below the paper's, with its 95 % interval."),
        ("search_comparisons", "Differences of median errors with 95 % intervals, and tests."),
        ("search", "All networks of the search; the paper's is the reference."),
    ]),
    ("Trustworthy probabilities", [
        ("temperature", "Before and after temperature scaling, test split: 95 % intervals, and paired differences."),
        ("reliability_diagram", "How often what is called so likely comes true, before and after temperature scaling, "
                                "with exact 95 % intervals; the larger a dot, the more records."),
        ("reliability", "The same in numbers."),
        ("coverage_forest", "How often a range of critical values holds the label, against the stated coverage "
                            "(dotted), with exact 95 % intervals, and how many values a range has."),
        ("coverage", "The same in numbers, also for other stated coverages."),
    ]),
    ("What the labels are worth", [
        ("label_rule_metrics", "Trained under either label rule and judged by either, means over the seeds with 95 % "
                               "intervals over patients and seeds; and paired differences of the training."),
        ("label_forest", "Results by whether a tie decides the label and by the likelihood of the statement that does, "
                         "with 95 % intervals; dotted: all records."),
        ("label_subsets", "The same in numbers, with differences between the subsets."),
    ]),
    ("Learning curve", [
        ("learning_curve", "Mean AUC and mean absolute error against the number of training records, with 95 % intervals "
                           "over patients and seeds. What lies beyond the largest number is a forecast of fitted power "
                           "laws; published figures are stars."),
        ("learning_curve_sizes", "Means over the seeds for each number of training records."),
        ("learning_curve_forecast", "Forecast for the training records of the whole PTB-XL beside the published figures, "
                                    "by a law with a floor (the main one) and without; exponent and floor of the error, "
                                    "all with 95 % intervals."),
    ]),
    ("Published and reproduced", [
        ("published", "Every published figure beside the reproduced one, by tolerances fixed beforehand."),
    ]),
]  # fmt: skip
STATISTICS = {  # as a reader names them
    "mae": "mean absolute error", "macro_mae": "MAE, mean of the values' own", "kappa": "kappa, quadratic weights",
    "f1_macro": "F1, mean", "auc_mean": "AUC, mean", "model_preferred": "model's share where either is sided with",
    "kappa_label": "kappa with the label", "kappa_model": "kappa with the model",
    "kappa_model_minus_label": "kappa, model - label",
    "error_2_or_more": "error of 2 or more", "violation_rate": "thresholds out of order",
    "rps": "ranked probability score", "ece": "expected calibration error", "nll": "negative log-likelihood",
} | {f"{n.lower()}_{k}": f"{n} of value {k}" for n in ("AUC", "F1") for k in range(4)} | {f"error_{k}": f"error of {k}" for k in (1, 2, 3)}
STATISTICS |= {f"auc_above_{k}": f"AUC of above {k}" for k in range(3)}
UNSHOWN = {"records", "external_ludb"}  # one row a record: too long for a page
README_DATA_SETS = ("ptbxl-sample", "demo")
README_ROWS = "mean absolute error.*|mean AUC.*|AUC of class ."
README_MARKS = ("<!-- results: written by `make paper` -->", "<!-- end of results -->")


def write_report(dataset: str):
    """Write ``results/<dataset>/report.html``: images inside, no scripts, nothing loaded from elsewhere.

    Returns
    -------
    Path

    Raises
    ------
    DataSetError
        If there is no table of the data set.
    """
    if not any(results_dir(dataset).glob("*.csv")):
        raise DataSetError(f"results/{dataset} has no tables: run `make paper` for this data set first.")
    environment = jinja2.Environment(loader=jinja2.PackageLoader("cardiov.paper", "."), autoescape=True, trim_blocks=True)
    page = environment.get_template("report.html").render(
        dataset=dataset,
        simulated=simulated(dataset),
        source=VERSIONS["1.0.3"],
        made=provenance(),
        runs=_runs(dataset),
        sections=_sections(dataset),
    )
    path = results_dir(dataset) / "report.html"
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _runs(dataset):
    """What made each run: columns, and a row of texts for each entry of their provenance."""
    files = sorted((results_dir(dataset) / "runs").glob("*/provenance.json"))
    runs = {path.parent.name: _flat(json.loads(path.read_text(encoding="utf-8"))) for path in files}
    names = dict.fromkeys(name for run in runs.values() for name in run if not name.startswith("packages "))
    rows = [[name.replace("_", " "), *(run.get(name, "") for run in runs.values())] for name in names]
    return {"columns": ["", *runs], "rows": rows, "numeric": [False] * (len(runs) + 1)}


def _flat(content):
    """Nested entries side by side, as a page shows them."""
    flat = {}
    for name, value in content.items():
        flat |= {f"{name} {key}": text for key, text in _flat(value).items()} if isinstance(value, dict) else {name: value}
    return flat


def _sections(dataset):
    listed = {name for _, items in SECTIONS for name, _ in items}
    found = {path.stem for path in (*results_dir(dataset).glob("*.csv"), *figures_dir(dataset).glob("*.png"))}
    further = [(name, name.replace("_", " ").capitalize() + ".") for name in sorted(found - listed - UNSHOWN)]
    shown = [(heading, [_item(dataset, *item) for item in items]) for heading, items in (*SECTIONS, ("Further", further))]
    shown = [("At a glance", [_headline(dataset)]), *shown]
    return [(heading, [item for item in items if item]) for heading, items in shown if any(items)]


def _headline(dataset):
    """The headline figures, published and reproduced, which the README shows too."""
    path = results_dir(dataset) / "published.csv"
    if not path.exists():
        return None
    table = _headline_rows(pd.read_csv(path, dtype=str, keep_default_na=False))
    caption = "The headline figures, published and reproduced. The last section has all, with tolerances and reasons."
    return {"name": "headline", "caption": caption, **_cells(table[["where", "quantity", "published", "reproduced", "verdict"]])}


def _headline_rows(table):
    return table[table["quantity"].str.fullmatch(README_ROWS) & (table["published"] != "not available")]


def _item(dataset, name, caption):
    if simulated(dataset) and name not in WITHOUT_DATA:
        caption += " Simulated data."
    figure, table = figures_dir(dataset) / f"{name}.png", results_dir(dataset) / f"{name}.csv"
    if figure.exists():
        return {"name": name, "caption": caption, "image": base64.b64encode(figure.read_bytes()).decode()}
    if table.exists():
        return {"name": name, "caption": caption, **_table(table)}
    return None


def _table(path):
    """Columns, rows and which columns hold numbers; floats to four places."""
    frame = pd.read_csv(path)
    if {"estimate", "low", "high"} <= set(frame):
        frame = _as_printed(frame)
    if "statistic" in frame:
        frame["statistic"] = frame["statistic"].replace(STATISTICS)
    return _cells(frame)


def _cells(frame):
    numeric = [pd.api.types.is_numeric_dtype(frame[column]) for column in frame]
    texts = frame.astype(object).map(_text)
    return {"columns": list(frame), "rows": texts.to_numpy().tolist(), "numeric": numeric}


def _as_printed(frame):
    """Each estimate with its interval in one cell; where two columns say what it is of, the first goes across the page."""
    keys = list(frame.columns[: frame.columns.get_loc("estimate")])
    texts = [_estimate(*row) for row in frame[["estimate", "low", "high"]].to_numpy(float)]
    if "note" in frame:  # why there is no estimate
        texts = [text if pd.isna(note) else note for text, note in zip(texts, frame["note"], strict=True)]
    frame = frame.drop(columns=["low", "high", "note"], errors="ignore").assign(estimate=texts)
    if len(keys) != 2 or list(frame) != [*keys, "estimate"]:
        return frame.rename(columns={"estimate": "estimate (95 % interval)"})
    across, down = (frame[key].unique() for key in keys)
    return frame.pivot(index=keys[1], columns=keys[0], values="estimate").loc[down, across].reset_index()


def _estimate(value, low, high):
    return "undefined" if pd.isna(value) else f"{value:.3f}" + ("" if pd.isna(low) else f" ({low:.3f} to {high:.3f})")


def _text(value):
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def readme_table() -> str:
    """The results that the README shows: published figures beside the reproduced ones of each committed data set."""
    columns = {}
    for dataset in README_DATA_SETS:
        if (results_dir(dataset) / "published.csv").exists():
            columns |= _readme_columns(dataset)
    if not columns:
        return "No results yet."
    lines = [["Where", "Quantity", "Published", *columns], ["---"] * (3 + len(columns))]
    for row in _headline_rows(pd.read_csv(ROOT / "results" / "published.csv", dtype=str)).itertuples():
        cells = (column.get((row.where, row.quantity), "") for column in columns.values())
        lines.append([row.where, row.quantity, row.published, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _readme_columns(dataset):
    """Cells by where and quantity: of the paper's protocol and, on real ECGs, of the network that is shipped."""
    table = pd.read_csv(results_dir(dataset) / "published.csv", dtype=str, keep_default_na=False)
    table, scalars = table.set_index(["where", "quantity"]), read_scalars(dataset)
    n = f"n = {scalars.get('04_roc.n', 0):,}"
    if simulated(dataset):
        return {f"{dataset} (simulated), {n}": table.apply(_readme_cell, axis=1)}
    columns = {f"{dataset}, paper's protocol, {n}": table.apply(_readme_cell, axis=1)}
    if "11_best.n" not in scalars:
        return columns
    keys = pd.read_csv(ROOT / "results" / "published.csv", dtype=str).set_index(["where", "quantity"])["scalar"]
    best = keys[keys.str.startswith("04_roc.", na=False)].str.replace("04_roc.", "11_best.chosen_")
    return columns | {f"{dataset}, best recipe, n = {scalars['11_best.n']:,}": best.map(lambda key: with_interval(key, scalars))}


def _readme_cell(figure):
    judged = figure["verdict"] in ("pass", "fail")
    return f"{figure['reproduced']}: {figure['verdict']}" if judged else figure["reproduced"]


def update_readme() -> None:
    """Write `readme_table` between the README's marks; leave the file alone where nothing changes."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(README_MARKS[0])
    _, _, after = rest.partition(README_MARKS[1])
    new = f"{before}{README_MARKS[0]}\n{readme_table()}\n{README_MARKS[1]}{after}"
    if new != text:
        with replacing(path) as temporary:
            temporary.write_text(new, encoding="utf-8")
