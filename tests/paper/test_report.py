"""The report: one page that needs nothing else."""

from html.parser import HTMLParser

import pandas as pd
import pytest
from matplotlib.figure import Figure

from cardiov.errors import DataSetError
from cardiov.paper import report
from cardiov.store import results
from cardiov.store.files import write_note


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(root):
    """Write some results, and the page of them."""

    def write(dataset):
        results.save_table(pd.DataFrame({"quantity": ["records"], "some": [1268]}), dataset, "table1")
        results.save_table(pd.DataFrame({"name": ["<b>&"], "x": [0.123456]}), dataset, "table2")
        results.save_table(pd.DataFrame({"unknown": [1]}), dataset, "no_notebooks")
        results.save_table(pd.DataFrame({"stage": [1]}), dataset, "table3_network")
        results.save_table(pd.DataFrame({"ecg_id": [1]}), dataset, "records")
        figure = Figure()
        figure.subplots().plot([1, 2])
        results.save_figure(figure, pd.DataFrame({"y": [1, 2]}), dataset, "fig2_roc")
        run = results.run_dir(dataset, "ordinal-0")
        run.mkdir(parents=True, exist_ok=True)
        (run / "provenance.json").write_text('{"commit": "abc123", "run": {"config": {"seed": 7}}}')
        return report.write_report(dataset).read_text(encoding="utf-8")

    return write


def test_the_page_is_self_contained(page):
    tags = Page(page("demo")).tags
    assert not [tag for tag, _ in tags if tag in ("script", "link", "iframe", "object")]
    sources = [attributes["src"] for _, attributes in tags if "src" in attributes]
    assert len(sources) == 1 and sources[0].startswith("data:image/png;base64,iVBOR")
    assert all(attributes["href"].startswith("#") for _, attributes in tags if "href" in attributes)


def test_simulated_data_are_labelled_and_real_data_attributed(page):
    demo, real = page("demo"), page("ptbxl-sample")
    assert "(simulated)" in demo.split("<h1>")[1].split("</h1>")[0] and "Simulated data. A program" in demo
    assert "Data in the layout of PTB-XL" in real and "imulated" not in real
    for text in (demo, real):  # each shows the counts of PTB-XL
        assert "Wagner P" in text and "Version 1.0.1: doi:10.13026/x4td-x982, CC BY 4.0." in text
    assert all("not a medical device" in text for text in (demo, real))


def test_the_page_shows_tables_figures_and_what_made_them(page):
    text = page("demo")
    shown = Page(text).text
    assert "1,268" in shown and "0.1235" in shown
    assert "<b>&" in shown and "<b>" not in text  # escaped
    assert "Fig. 2. ROC curves" in shown and "Table 2. Statements" in shown and "unknown" not in shown
    assert "abc123" in shown and "run config seed" in shown and "torch" in shown
    assert "ecg_id" not in shown and "ecg id" not in shown  # one row a record is not for a page


def test_sections_follow_the_notebooks(page):
    text = page("demo")
    assert text.index("The data set (Tables 1 and 2)</h2>") < text.index("Table 1.") < text.index("Fig. 2.")
    assert "Case study" not in text  # nothing of it is there


def test_captions_say_what_is_simulated(page):
    text = Page(page("demo")).text
    assert "test split. Simulated data." in text and "Table 3. The network's stages.\n" in text
    assert "Table 1. Overall statistics of PTB-XL 1.0.1" in text and "the data set at hand. Simulated data." not in text
    assert "Simulated data" not in Page(page("ptbxl-sample")).text


def test_intervals_stand_beside_their_estimates_as_in_the_papers_tables(page):
    rows = [("ordinal", "mae", 0.5, 0.4, 0.6), ("ordinal", "auc_3", None, None, None),
            ("regression", "mae", 0.7, 0.61, 0.8), ("regression", "auc_3", 0.9, 0.85, 0.95)]  # fmt: skip
    results.save_table(pd.DataFrame(rows, columns=["objective", "statistic", "estimate", "low", "high"]), "demo", "table6")
    text = " ".join(Page(page("demo")).text.split())
    assert "statistic ordinal regression mean absolute error 0.500 (0.400 to 0.600) 0.700 (0.610 to 0.800)" in text
    assert "AUC of value 3 undefined 0.900 (0.850 to 0.950)" in text
    noted = pd.DataFrame([["female", "auc_3", None, None, None, "undefined: no record of class 3"]],
                         columns=["subgroup", "statistic", "estimate", "low", "high", "note"])  # fmt: skip
    results.save_table(noted, "demo", "table5")
    assert "statistic female AUC of value 3 undefined: no record of class 3" in " ".join(Page(page("demo")).text.split())


def test_figures_that_are_not_judged_are_folded_below_the_others(page):
    rows = [("MAE", "contradicts"), ("order", "agrees"), ("count", "not comparable on this data"), ("cell", "not available")]
    table = pd.DataFrame(rows, columns=["quantity", "verdict"]).assign(where="Text", published="1", reproduced="2")
    results.save_table(table, "demo", "published")
    text = page("demo")
    shown, _, folded = text.partition("<details><summary>2 figures that are not comparable")
    assert "<td>MAE</td>" in shown and '<td class="contradicts">contradicts</td>' in shown and "<td>count</td>" not in shown
    assert "<td>count</td>" in folded and "<td>cell</td>" in folded and "<td>MAE</td>" not in folded


def test_a_section_begins_with_its_answer_and_folds_what_is_not_seen_at_once(page):
    results.save_scalars("demo", "04_roc", {"answer": "The mean AUC is <high>.", "n": 3})
    results.save_table(pd.DataFrame({"ecg_id": [12345], "n": [12345]}), "demo", "cases")
    figure = Figure()
    figure.suptitle("A finding")
    results.save_figure(figure, pd.DataFrame({"y": [1]}), "demo", "confusion_matrix", caption="Labels.")
    text = page("demo")
    roc = text.split("Critical values estimated (Fig. 2)</h2>")[1]
    assert roc.lstrip().startswith('<p class="answer">The mean AUC is &lt;high&gt;.</p>')
    assert roc.index('<figure id="fig2_roc">') < roc.index("<details><summary>A finding</summary>") < roc.index('<figure id="confusion_matrix">')
    assert 'alt="A finding: Labels (rows)' in text  # the caption is the notebook's
    assert ">12345</td>" in text and ">12,345</td>" in text  # a record's number is a name


def test_the_first_screen_says_what_was_reproduced(page):
    rows = [("mean absolute error", "not comparable on this data"), ("order", "agrees"), ("age", "contradicts")]
    table = pd.DataFrame(rows, columns=["quantity", "verdict"]).assign(where="Fig. 2", published="1", reproduced="2")
    results.save_table(table, "demo", "published")
    figure = Figure()
    results.save_figure(figure, pd.DataFrame({"y": [1]}), "demo", "published_dots")
    header, _, rest = page("demo").partition("</header>")
    shown = " ".join(Page(header).text.split())
    assert "Of 2 published figures and claims that the ECGs here can judge, by 95 % intervals:" in shown
    assert "1 agree: 1 of Fig. 2." in shown and "1 contradict: age (Fig. 2)." in shown
    assert 'id="published_dots"' in header and 'id="published_dots"' not in rest


def test_runs_are_rows_with_what_differs_between_them(page):
    for run, rate in (("ordinal-1", 2), ("ordinal-fold3-0", 3)):
        folder = results.run_dir("demo", run)
        folder.mkdir(parents=True)
        (folder / "provenance.json").write_text(f'{{"commit": "abc123", "run": {{"rate": {rate}, "config": {{"seed": 7}}}}}}')
    made = " ".join(Page(page("demo").partition("How the 2 training runs were made")[2]).text.split())  # those of folds are left out
    assert "commit abc123" in made.replace("commitabc", "commit abc") and "run run rate ordinal network, seed 0 nan ordinal network, seed 1 2" in made


def test_without_tables_it_says_what_to_run(root):
    with pytest.raises(DataSetError, match="make paper"):
        report.write_report("nothing")


def outcome(dataset, step, **content):
    write_note(results.build_dir(dataset) / "outcomes" / f"{step}.json", content)


def test_the_page_shows_how_rebuilding_ended_and_both_columns_of_figures(page):
    page("ptbxl-sample")
    outcome("ptbxl-sample", "exact", passed=False, line="2 cells differ")
    outcome("ptbxl-sample", "retrained", passed=True, line="all as expected")
    figures = {"objective": "ordinal", "figure": "mean AUC", "published": 0.8412, "low": 0.8, "high": 0.88, "here": 0.83333}
    results.write_table(pd.DataFrame([figures]), results.build_dir("ptbxl-sample") / "retrained.csv")
    text = " ".join(Page(report.write_report("ptbxl-sample", ["exact", "retrained"]).read_text(encoding="utf-8")).text.split())
    assert "exact no 2 cells differ retrained yes all as expected" in text
    assert "objective figure published low high here ordinal mean AUC 0.8412 0.8000 0.8800 0.8333" in text
    assert text.index("2 cells differ") < text.index("Table 1.")
    only = Page(report.write_report("ptbxl-sample", ["exact"]).read_text(encoding="utf-8")).text
    assert "2 cells differ" in only and "all as expected" not in only and "0.8333" not in only
    assert "2 cells differ" not in page("ptbxl-sample")
    with pytest.raises(DataSetError, match="outcomes/replayed.json is missing: run `python -m cardiov replayed` first"):
        report.write_report("ptbxl-sample", ["replayed"])


def test_the_page_lies_beside_what_was_made_and_shows_that_alone(page, root):
    results.write_table(pd.DataFrame({"name": ["published"]}), results.results_dir("some-ecgs") / "table4_targets.csv")
    assert "Table 4" not in page("some-ecgs")
    assert (root / "build/some-ecgs/report.html").exists() and not (root / "results/some-ecgs/report.html").exists()
