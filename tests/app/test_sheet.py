"""The report of scored ECGs on paper; test_page.py tests the page, which shares its parts, test_browser.py measures the print."""

import base64
import re

import pytest
from ecg_files import simulated_signal, write_record

from cardiov.__main__ import main
from cardiov.app.sheet import MAX_ECGS, write_report
from cardiov.errors import ParameterError
from cardiov.mapping import FINDINGS
from cardiov.scoring.record import NOT_A_DEVICE, score


@pytest.fixture
def files(tmp_path):
    signal = simulated_signal(25, seed=1)
    signal[6] = 0
    comments = ["<age>: 61  <sex>: F"]
    bases = write_record(tmp_path, "short", comments=comments), write_record(tmp_path, "long", signal)
    (tmp_path / "bad.csv").write_text("<b>no ECG</b>\n")
    return [f"{base}.hea" for base in bases] + [str(tmp_path / "bad.csv")]


def text(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_a_report_shows_every_score_and_needs_no_other_file(files, tmp_path):
    write_report(files, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    seen = text(html)
    for file in files[:2]:
        result = score(file)
        assert f"{result.critical_value} of 3: resembles ECGs {FINDINGS[result.critical_value]}" in seen and f"File: {file}" in seen
        shares = ", ".join(f"{100 * p:.1f} %" for p in result.probabilities)
        assert f"Probability of 0 to 3: {shares}" in seen and result.weights in seen
        assert f"by cardiov {result.software} and the network cardiov-1" in seen
    assert html.count(NOT_A_DEVICE) == 3 and "flat lead: V1" in html and "the most severe of 3 windows" in html
    assert "61 years · female" in seen and seen.count("Read by Date Signature") == 2
    assert "bad.csv" in html and "<b>no ECG" not in html
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html) and "url(" not in html and "<script" not in html


def test_a_report_draws_each_ecg_in_its_true_size(files, tmp_path):
    write_report(files[:1], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    ((content, alt),) = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)" alt="([^"]+)"', html)
    width, height = re.search(rb'<svg [^>]*width="([\d.]+)pt" height="([\d.]+)pt"|$', base64.b64decode(content)[:2000]).groups()
    assert float(width) * 25.4 / 72 == pytest.approx(270, abs=0.01) and float(height) * 25.4 / 72 == pytest.approx(142, abs=0.01)
    assert alt == "Twelve-lead ECG on paper, 25 mm/s and 10 mm/mV, 0.0 to 10.0 s."


def test_a_report_of_too_many_ecgs_is_an_error(tmp_path):
    with pytest.raises(ParameterError, match="a report of 51 ECGs"):
        write_report(["a"] * (MAX_ECGS + 1), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_command_writes_a_report_beside_its_table(files, tmp_path, capsys):
    assert main(["score", files[0], "--report", str(tmp_path / "report.html")]) == 0
    assert "short.hea" in capsys.readouterr().out and "Scored ECG</h1>" in (tmp_path / "report.html").read_text()
