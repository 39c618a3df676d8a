"""The report: one page that needs nothing else, and a README that is in step with the results."""

from html.parser import HTMLParser

import pandas as pd
import pytest
from matplotlib.figure import Figure

from cardiov.errors import DataSetError
from cardiov.paper import report
from cardiov.store import results
from cardiov.store.files import ROOT


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
        run = root / f"results/{dataset}/runs/ordinal-0"
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


def test_without_tables_it_says_what_to_run(root):
    with pytest.raises(DataSetError, match="make paper"):
        report.write_report("nothing")


def test_the_readme_table_is_written_between_its_marks_and_only_there(root):
    row = {"where": "Fig. 2", "quantity": "mean AUC", "published": "0.8735", "reproduced": "0.8000", "verdict": "fail"}
    results.save_table(pd.DataFrame([row]), "ptbxl-sample", "published")
    results.save_table(pd.DataFrame([row | {"verdict": "not comparable on this data"}]), "demo", "published")
    start, end = report.README_MARKS
    (root / "README.md").write_text(f"before\n{start}\nold\n{end}\nafter\n")
    report.update_readme()
    text = (root / "README.md").read_text()
    assert text.startswith(f"before\n{start}\n| Where |") and text.endswith(f"|\n{end}\nafter\n") and "old" not in text
    assert "| Fig. 2 | mean AUC | 0.8735 | 0.8000: fail | 0.8000 |" in text
    assert "demo (simulated)" in text
    best = {"n": 202, "chosen_auc_mean": 0.86, "chosen_auc_mean_low": 0.8, "chosen_auc_mean_high": 0.9}
    results.save_scalars("ptbxl-sample", "11_best", best)
    report.update_readme()
    text = (root / "README.md").read_text()
    assert "| ptbxl-sample, best recipe, n = 202 |" in text
    assert "| 0.8735 | 0.8000: fail | 0.8600 (0.8000 to 0.9000) | 0.8000 |" in text
    changed = (root / "README.md").stat().st_mtime_ns
    report.update_readme()
    assert (root / "README.md").stat().st_mtime_ns == changed


def test_the_readme_is_in_step_with_the_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    start, end = report.README_MARKS
    assert f"{start}\n{report.readme_table()}\n{end}" in text
