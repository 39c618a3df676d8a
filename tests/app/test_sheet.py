"""The report of scored ECGs; test_page.py tests the page, which shares its parts."""

import base64
import re

import pytest
from ecg_files import simulated_signal, write_record

from cardiov.__main__ import main
from cardiov.app.sheet import MAX_ECGS, write_report
from cardiov.errors import ParameterError
from cardiov.mapping import LEVELS
from cardiov.scoring.record import NOT_A_DEVICE, score


@pytest.fixture
def files(tmp_path):
    signal = simulated_signal(25, seed=1)
    signal[6] = 0
    bases = write_record(tmp_path, "short"), write_record(tmp_path, "long", signal)
    (tmp_path / "bad.csv").write_text("<b>no ECG</b>\n")
    return [f"{base}.hea" for base in bases] + [str(tmp_path / "bad.csv")]


def test_a_report_shows_every_score_and_needs_no_other_file(files, tmp_path):
    write_report(files, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    for file in files[:2]:
        value, probabilities = score(file).critical_value, score(file).probabilities
        assert f'<span class="big">{value}</span> of 3 <strong>{LEVELS[value]}</strong>' in html
        assert all(f"{100 * p:.1f} %" in html for p in probabilities) and f"File: {file}" in html
    assert html.count(NOT_A_DEVICE) == 3 and "flat lead: V1" in html and "3 windows" in html
    assert "bad.csv" in html and "<b>no ECG" not in html
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html) and "url(" not in html and "<script" not in html


def test_a_report_draws_each_ecg_without_and_with_the_heat_of_every_stage(files, tmp_path):
    write_report(files[:1], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)"', html)
    assert len({content for content, _ in pictures}) == len(pictures) == 8
    assert all(base64.b64decode(content).startswith(b"\x89PNG") for content, _ in pictures)
    assert [re.findall(r"stage \d", alt) for _, alt in pictures] == [[], *([f"stage {k}"] for k in range(1, 8))]
    assert html.count('type="radio"') == 8 and html.count("checked>") == 1


def test_a_report_of_too_many_ecgs_is_an_error(tmp_path):
    with pytest.raises(ParameterError, match="a report of 11 ECGs"):
        write_report(["a"] * (MAX_ECGS + 1), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_command_writes_a_report_beside_its_table(files, tmp_path, capsys):
    assert main(["score", files[0], "--report", str(tmp_path / "report.html")]) == 0
    assert "short.hea" in capsys.readouterr().out and "Scored ECG</h1>" in (tmp_path / "report.html").read_text()
