"""The blocks of the README and of docs/ that hold results, written between marks by `make publish`."""

import pandas as pd

from cardiov.analysis.sentences import decided, written
from cardiov.paper.captions import read_sections, shown
from cardiov.paper.published import JUDGED, summary
from cardiov.paper.report import NOTEBOOKS, as_printed, headline_rows
from cardiov.store.files import ROOT, read_note, write_text
from cardiov.store.results import figures_dir, results_dir

DATA_SET = "ptbxl-sample"
MARKS = ("<!-- {}: written by `make publish` -->", "<!-- end of {} -->")
STATISTICS = {"auc_mean": "mean AUC", "mae": "mean absolute error"}
HEADLINES = (
    ("Table 6", "mean AUC, ordinal - regression"), ("Table 6", "mean AUC, ordinal - classification"),
    ("Fig. 2", "mean absolute error"), ("Fig. 2", "mean AUC"),
)  # fmt: skip
COMMANDS = "make paper", "make paper STEPS=exact", "make test"


def verdicts() -> str:
    """Five lines on what of the paper was reproduced."""
    judged, *lines = summary(_published())
    return "\n".join([f"{', '.join(judged)}:\n", *(f"- **{strong}**{text}" for strong, text in lines)])


def headlines() -> str:
    """Seven results with their intervals, of which the last is of another hospital."""
    table = _published().set_index(["where", "quantity"]).loc[list(HEADLINES)].reset_index()
    rows = [[f"{row.quantity} ({row.where})", f"published: {row.published}", _with_verdict(row)] for row in table.itertuples()]
    both = " and ".join(_scalar("17_baselines", f"taught_{name}_all_folds") for name in ("mae", "auc_mean"))
    rows.append([f"both in cross-validation, {_note('17_baselines')['n_all_folds']:,} records",
                 f"published, with five times the records: {' and '.join(table['published'].iloc[-2:])}", both])  # fmt: skip
    network, boosting = (f"{_note('17_baselines')[f'{name}_auc_mean_all_folds']:.3f}" for name in ("taught", "boosting"))
    difference = _scalar("17_baselines", "taught_minus_boosting_auc_mean_all_folds")
    rows.append(["mean AUC, network - boosting on measured features", f"network {network}, boosting {boosting}", difference])
    rows.append([f"mean absolute error on LUDB, {_note('16_external')['n']} ECGs of another hospital",
                 f"calling every ECG a 2: {_scalar('16_external', 'mae_always_2')}",
                 _scalar("16_external", "ludb_mae")])  # fmt: skip
    return _markdown(["Result", "To compare with", "Here (95 % interval)"], rows)


def limits() -> str:
    """What the network does badly, in numbers."""
    baselines, dangers = _note("17_baselines"), _note("18_dangers")
    difference = _interval("17_baselines", "taught_minus_taught_xresnet1d_auc_mean_all_folds")
    other = decided(difference, "is worse", "is better", "cannot be told from it")
    missed, dangerous = (dangers[f"{name}_all_folds"] for name in ("called_0", "high_risk"))
    errors = pd.read_csv(results_dir(DATA_SET) / "label_subsets.csv").query("statistic == 'mae'").set_index("subset")["estimate"]
    return "\n".join([
        "- On ECGs of another hospital (LUDB) its mean absolute error is "
        f"{_scalar('16_external', 'mae_network')}; a rule that calls every ECG a 2 has {_scalar('16_external', 'mae_always_2')}.",
        f"- It calls {missed:.0f} of {dangerous:.0f} ECGs with high-risk labels ({missed / dangerous:.0%}) *no risk* in "
        "cross-validation.",
        f"- Boosting on measured features has a mean AUC of {baselines['boosting_auc_mean_all_folds']:.3f} in cross-validation, "
        f"the network, which it has taught, {baselines['taught_auc_mean_all_folds']:.3f}, and one that it has not "
        f"{baselines['network_auc_mean_all_folds']:.3f}.",
        f"- Another network of the same cost (xresnet1d), taught alike, {other} in cross-validation: mean AUC "
        f"{_scalar('17_baselines', 'taught_xresnet1d_auc_mean_all_folds')}, the shipped recipe "
        f"{_scalar('17_baselines', 'taught_auc_mean_all_folds')}. It is not shipped, because the paper's heat maps are of its own network's stages.",
        f"- Where the cardiologists' label is uncertain (likelihood below 100), its mean absolute error is "
        f"{errors['likelihood below 100']:.2f}, elsewhere {errors['likelihood 100']:.2f} (fold 10).",
    ])  # fmt: skip


def figures() -> str:
    """Table of the errors and AUCs that the paper gives, and of its claims about them."""
    rows = [[row.where, row.quantity, row.published, _with_verdict(row)] for row in headline_rows(_published()).itertuples()]
    return _markdown(["Where", "Quantity", "Published", f"{DATA_SET}, n = {_note('04_roc')['n']:,}"], rows)


def _with_verdict(figure):
    return figure.reproduced + (f": {figure.verdict}" if figure.verdict in JUDGED else "")


def methods() -> str:
    """Table of the network beside simpler methods, as notebook 17 leaves it."""
    table = pd.read_csv(results_dir(DATA_SET) / "baselines.csv")
    table = table.assign(of=table["statistic"].map(STATISTICS) + ", " + table["tested"])
    texts = as_printed(table[["of", "method", "estimate", "low", "high"]]).fillna("")
    return _markdown(["Method", *texts.columns[1:]], texts.to_numpy())


def notebooks() -> str:
    """Table of the notebooks: what each is about, how long a core works on it, and about how long it takes to read."""
    measured = read_note(ROOT / "results/benchmarks/notebooks.json")["notebooks"]
    headings = {section.name: section.heading for section in read_sections(NOTEBOOKS)}
    rows = [[f"[{name[:2]}](../notebooks/{name}.ipynb)", headings[name], f"{one['seconds']} s", f"{one['reading_minutes']} min"]
            for name, one in measured.items()]  # fmt: skip
    return _markdown(["", "Notebook", "Time of a core", "Reading and exercises (estimate)"], rows)


def times() -> str:
    """How long the main commands take where nothing multiplies bfloat16, as `processors` was measured with AVX2."""
    measured = _processors()["with-AVX2"]["commands"]
    rows = [[f"`{name}`", f"{-(-measured[name]['seconds'] // 60)} minutes"] for name in COMMANDS if name in measured]
    return _markdown(["On two cores without bfloat16, one of them busy with something else", "Time"], rows)


def processors() -> str:
    """Table of both commands on a processor as it is and as on older ones: with how many threads, and how each ended."""
    rows = [[name.replace("-", " "), f"`{command}`", one["threads"], "failed" if one["status"] or one["changed_files"] else "passed"]
            for name, note in _processors().items() for command, one in note["commands"].items()]  # fmt: skip
    return _markdown(["Processor", "Command", "Threads", "Ended"], rows)


def _processors():
    return {path.stem: read_note(path) for path in sorted((ROOT / "results/scale/processors").glob("*.json"))}


def gallery() -> str:
    """Every published figure with its caption, the notebook that draws it and the numbers that it plots."""
    lines = []
    for section in read_sections(NOTEBOOKS):
        figures = [one for saved in section.saved if saved.kind == "figure" for one in shown(saved, figures_dir(DATA_SET))]
        lines += [f"## {section.heading}"] * bool(figures)
        for path, caption in figures:
            address = f"../figures/{DATA_SET}/{path.stem}"
            links = f"[Notebook](../notebooks/{section.name}.ipynb) · [numbers]({address}.csv)"
            lines += [f"![{caption}]({address}.png)", f"{caption} {links}"]
    return "\n\n".join(lines)


BLOCKS = {
    "README.md": (verdicts, headlines, limits, times),
    "docs/gallery.md": (gallery,),
    "docs/reproduce.md": (processors,),
    "docs/results.md": (figures, methods),
    "docs/teaching.md": (notebooks,),
}


def update_pages() -> None:
    """Write every block between its marks; an unchanged file is left alone."""
    for name, blocks in BLOCKS.items():
        old = new = (ROOT / name).read_text(encoding="utf-8")
        for block in blocks:
            new = with_block(new, block.__name__, block())
        if new != old:
            write_text(ROOT / name, new)


def with_block(text: str, name: str, block: str) -> str:
    """A page's text with a block between the marks of its name."""
    start, end = (mark.format(name) for mark in MARKS)
    before, _, rest = text.partition(start)
    return f"{before}{start}\n{block}\n{end}{rest.partition(end)[2]}"


def _published():
    return pd.read_csv(results_dir(DATA_SET) / "published.csv", dtype=str, keep_default_na=False)


def _note(name):
    return read_note(results_dir(DATA_SET) / f"scalars/{name}.json")


def _interval(name, key):
    note = _note(name)
    return {name: note[key + end] for name, end in (("estimate", ""), ("low", "_low"), ("high", "_high"))}


def _scalar(name, key):
    return written(_interval(name, key))


def _markdown(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
