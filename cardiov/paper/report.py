"""The report of one data set, a single self-contained page of its tables and figures."""

import base64
import io
import json
from pathlib import Path

import pandas as pd
from PIL import Image

from cardiov.analysis.sentences import written
from cardiov.data.ptbxl import VERSIONS
from cardiov.errors import DataSetError
from cardiov.paper.captions import read_sections, shown
from cardiov.paper.published import NOT_AVAILABLE, NOT_COMPARABLE, summary
from cardiov.paper.reproduction import LEVEL, read_outcomes
from cardiov.plots.style import recipe_title, run_title
from cardiov.store.files import write_text
from cardiov.store.provenance import provenance
from cardiov.store.results import build_dir, made_dir, read_scalars, results_dir, simulated
from cardiov.store.templates import templates

STATISTICS = {  # as a reader names them
    "mae": "mean absolute error", "macro_mae": "MAE, mean of the values' own", "kappa": "kappa, quadratic weights",
    "f1_macro": "F1, mean", "auc_mean": "AUC, mean", "model_preferred": "model's share where either is sided with",
    "kappa_label": "kappa with the label", "kappa_model": "kappa with the model", "kappa_model_minus_label": "kappa, model - label",
    "error_2_or_more": "error of 2 or more", "violation_rate": "thresholds out of order", "rps": "ranked probability score",
    "ece": "expected calibration error",
    "ece_by_chance": "the same of perfect probabilities", "nll": "negative log-likelihood",
    **{f"{n.lower()}_{k}": f"{n} of value {k}" for n in ("AUC", "F1") for k in range(4)},
    **{f"error_{k}": f"error of {k}" for k in (1, 2, 3)}, **{f"auc_above_{k}": f"AUC of above {k}" for k in range(3)},
    "auc_above_mean": "AUC of above 0, 1 and 2, mean",
}  # fmt: skip
RETRAINED = (
    f"Networks that were trained here with a new seed. published: mean of the stored seeds; low to high: {100 * LEVEL:g} % prediction "
    "interval for one more seed, outside of which 1 in 100 figures of a sound reproduction lies; here: the new network."
)
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
NOT_JUDGED = (NOT_COMPARABLE, NOT_AVAILABLE)
ORIGINS = ("Published counts:", "Simulated:", "PTB-XL 1.0.1")  # a caption with one of them says where its numbers come from
DOTS = "published_dots"  # the figure of the first screen
OPEN = (DOTS, "fig1_framework", "fig2_roc", "table5_adjusted", "table6_forest", "fig4_left", "stress", "fig5d_pvc_stages",
        "heat_shares_ludb", "baselines_forest", "external_forest", "dangers_confusion")  # fmt: skip  # seen without a click
WIDTH, COLOURS = 1100, 32  # px and palette of an image in the page, which is to stay small
HEADLINES = "mean absolute error.*|mean AUC.*|AUC of class ."


def write_report(dataset: str, steps=()):
    """Write ``build/<dataset>/report.html``: images inside, no scripts, nothing loaded from elsewhere; its path.

    ``steps`` are those of rebuilding what is published (`cardiov.paper.reproduction`), whose outcomes it shows.
    """
    if not any(made_dir(dataset).glob("*.csv")):
        raise DataSetError(f"build/{dataset}/results has no tables: run `make paper` for this data set first.")
    sections = _here(dataset, steps) + _sections(dataset)
    first = [item for section in sections for item in section["items"] if item["name"] == DOTS]
    page = templates(Path(__file__).parent).get_template("report.html").render(
        dataset=dataset, simulated=simulated(dataset), versions=VERSIONS, made=provenance(), summary=_summary(dataset), first=first,
        open=OPEN, runs=_runs(dataset), sections=sections,
    )  # fmt: skip
    return write_text(build_dir(dataset) / "report.html", page)


def _summary(dataset):
    path = made_dir(dataset) / "published.csv"
    return summary(pd.read_csv(path, dtype=str, keep_default_na=False)) if path.exists() else []


def _runs(dataset):
    """What the runs have in common, and a table of what differs: a row for each run, but for those of single folds."""
    files = sorted(path for path in (results_dir(dataset) / "runs").glob("*/provenance.json") if "-fold" not in path.parent.name)
    contents = {run_title(path.parent.name): pd.json_normalize(json.loads(path.read_text(encoding="utf-8")), sep=" ").iloc[0] for path in files}
    table = pd.DataFrame(contents).T.rename(columns=lambda name: name.replace("_", " "))
    table = table.loc[:, ~table.columns.str.startswith("packages ")].map(str)
    same = table.nunique() == 1
    differing = table.loc[:, ~same].rename_axis("run").reset_index()
    common = table.loc[:, same].iloc[0].to_dict() if len(table) else {}
    return {"common": common, "count": len(table), "caption": "What differs between the runs.", **_cells(differing)}


def _sections(dataset):
    """Heading, answer and items of each notebook that has left something."""
    sections = [{"heading": "At a glance", "items": [_headline(dataset)]}]
    folders = {"table": made_dir(dataset), "figure": made_dir(dataset, "figures")}
    scalars = read_scalars(dataset)
    for section in read_sections(NOTEBOOKS):
        files = [file for saved in section.saved for file in shown(saved, folders[saved.kind])]
        origin = " Simulated data." if section.reads_data and simulated(dataset) else ""
        texts = (caption if any(name in caption for name in ORIGINS) else caption + origin for _, caption in files)
        items = [_item(path, text) for (path, _), text in zip(files, texts, strict=True)]
        sections.append({"heading": section.heading, "answer": scalars.get(f"{section.name}.answer", ""), "items": items})
    return [section for section in sections if any(section["items"])]


def _here(dataset, steps):
    """The section that shows how rebuilding ended on this machine; none if nothing was rebuilt."""
    if not steps:
        return []
    outcomes = read_outcomes(dataset, steps)
    outcomes["passed"] = outcomes["passed"].map({True: "yes", False: "no"})
    items = [{"name": "outcomes", "caption": "How rebuilding what is published ended on this machine.", **_cells(outcomes)}]
    if "retrained" in steps:
        items.append({"name": "retrained", "caption": RETRAINED, **_cells(pd.read_csv(build_dir(dataset) / "retrained.csv"))})
    return [{"heading": "On this machine", "items": items}]


def _headline(dataset):
    path = made_dir(dataset) / "published.csv"
    if not path.exists():
        return None
    table = headline_rows(pd.read_csv(path, dtype=str, keep_default_na=False))
    caption = (
        "The headline figures, published and reproduced; the published ones may have been chosen on the test fold. The last "
        "section has all, with tolerances and reasons."
    )
    return {"name": "headline", "caption": caption, **_cells(table[["where", "quantity", "published", "reproduced", "verdict"]])}


def headline_rows(table):
    """Of a table of published figures, the errors and AUCs."""
    return table[table["quantity"].str.fullmatch(HEADLINES) & (table["published"] != NOT_AVAILABLE)]


def _item(path, caption):
    """A figure with its image, or a table with its columns, rows and which columns hold numbers."""
    item = {"name": path.stem, "caption": caption}
    if path.suffix == ".png":
        return item | _image(path)
    frame = pd.read_csv(path)
    if {"estimate", "low", "high"} <= set(frame):
        frame = as_printed(frame)
    if "statistic" in frame:
        frame["statistic"] = frame["statistic"].replace(STATISTICS)
    if "idea" in frame:
        frame["idea"] = frame["idea"].map(recipe_title)
    if path.stem == "published":
        folded = frame["verdict"].isin(NOT_JUDGED)
        return item | _cells(frame[~folded]) | {"folded": _cells(frame[folded])["rows"]}
    return item | _cells(frame)


def _image(path):
    """A figure's title, and its picture in few colours."""
    with Image.open(path) as picture:
        title = picture.info.get("Title", "")
        picture = picture.convert("RGB")
    picture.thumbnail((WIDTH, 2 * WIDTH))
    small = io.BytesIO()
    picture.quantize(COLOURS).save(small, "png", optimize=True)
    return {"title": title, "image": base64.b64encode(small.getvalue()).decode()}


def _cells(frame):
    frame = frame.astype({name: str for name in ("ecg_id", "patient_id") if name in frame})  # names, and no quantities
    numeric = [pd.api.types.is_numeric_dtype(frame[column]) for column in frame]
    return {"columns": list(frame), "rows": frame.astype(object).map(_text).to_numpy().tolist(), "numeric": numeric}


def as_printed(frame):
    """Each estimate with its interval in one cell; if two columns say what it is of, the first goes across the page."""
    keys = list(frame.columns[: frame.columns.get_loc("estimate")])
    texts = [written(row) for row in frame[["estimate", "low", "high"]].astype(float).to_dict("records")]
    if "note" in frame:  # why there is no estimate
        texts = frame["note"].where(frame["note"].notna(), texts)
    frame = frame.drop(columns=["low", "high", "note"], errors="ignore").assign(estimate=texts)
    if len(keys) != 2 or list(frame) != [*keys, "estimate"]:
        return frame.rename(columns={"estimate": "estimate (95 % interval)"})
    return frame.set_index(keys)["estimate"].unstack(keys[0], sort=False).reset_index()


def _text(value):
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
