"""The page's parts as HTML, and its answers; test_browser.py tests the whole in a browser."""

import json
import re
import socket
import subprocess
import sys
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib.colors import to_rgb

pytest.importorskip("anywidget", reason='pip install "cardiov[app]"')

from cardiov.app import sheet
from cardiov.app.page import UNEXPECTED, Page, announcement, check_upload, result
from cardiov.app.server import MAX_MIB, OPTIONS, check_port
from cardiov.ecg.examples import examples, read_example
from cardiov.errors import ParameterError, SignalError
from cardiov.mapping import LEVELS
from cardiov.plots.style import LEVEL_COLOURS
from cardiov.scoring.record import NOT_A_DEVICE, Window, score
from cardiov.store.files import ROOT

HOSTILE = '<img src=x onerror="window.hacked = 1">'


def scored(**changes):
    """The reported window of an ECG, with a changed score, and its HTML."""
    ecg = read_example("inferolateral myocardial infarction")
    window = sheet.reported_window(ecg, replace(score(ecg, heat=True), **changes))
    return window, result(window)


def text(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_names_and_warnings_of_files_stay_text():
    _, html = scored(record=f"<script>{HOSTILE}", warnings=(HOSTILE, "flat lead: V1"))
    assert "<script" not in html and "<img src=x" not in html
    assert html.count("&lt;img src=x onerror=") == 2 and "&lt;script&gt;" in html
    assert "<li>flat lead: V1</li>" in html


def test_the_value_is_shown_in_words_number_and_place():
    window, html = scored()
    seen = text(html)
    assert window.score.critical_value == 3 and "3 of 3 high risk" in seen
    here = re.findall(r'<li class="here" aria-current="true">(.*?)</li>', html, re.S)
    assert [text(item) for item in here] == ["3 high risk ▲ this ECG"]
    assert window.score.meaning[1:] in seen and NOT_A_DEVICE in seen
    assert "scored by the network cardiov-1, which was trained on ptbxl-sample, of PTB-XL" in seen
    assert announcement(window.score) == "Scored: critical value 3 of 3, high risk; no warnings."
    assert announcement(replace(window.score, warnings=("one",))).endswith("high risk; 1 warning.")


def test_every_bar_has_a_word_and_a_number():
    _, html = scored(probabilities=np.array([0.1234, 0.5, 0.3766, -0.0]))
    rows = [text(row) for row in re.findall(r"<tr>(.*?)</tr>", html, re.S)]
    assert rows == ["0 no risk 12.3 %", "1 low risk 50.0 %", "2 medium risk 37.7 %", "3 high risk 0.0 %"]
    drawn = re.findall(r"width: (-?[\d.]+)%; background: (#\w+)", html)
    assert drawn[:2] == [("12.3", LEVEL_COLOURS[0]), ("50.0", LEVEL_COLOURS[1])]


def test_the_prediction_set_is_shown_if_the_score_has_one():
    for levels, words in (((1, 2), "1 (low risk) to 2 (medium risk). For 90 %"), ((0, 0), "0 (no risk). For 90 %")):
        assert f"Prediction set: {words}" in text(scored(prediction_set=levels)[1])
    assert "Prediction set" not in text(scored(prediction_set=None)[1])


def test_windows_are_listed_only_for_long_records():
    windows = tuple(Window(start, 10.0, k, tuple(np.eye(4)[k])) for k, start in enumerate((0.0, 7.5)))
    window, _ = scored()
    html = result(window._replace(score=replace(window.score, windows=windows, window=1)))
    assert "2 windows" in text(html) and "7.5 to 17.5 1 low risk 100.0 % ◀ reported" in text(html)
    assert text(html).count("reported") == 2 and "windows" not in text(scored()[1])  # once in the sentence above them


def test_the_download_is_the_score():
    window, html = scored(record=HOSTILE)
    address = re.search(r'href="data:application/json;charset=utf-8,([^"]*)" download="score.json"', html)[1]
    assert json.loads(unquote(address)) == json.loads(json.dumps(window.score.as_dict()))


def test_heat_is_described_in_words():
    window, _ = scored(heat=np.eye(7, 1000, 250, np.float32))
    assert sheet.alt_text(window).endswith("0.0 to 10.0 s.")
    assert all(sheet.alt_text(window, stage).endswith("strongest at 2.5 s.") for stage in (1, 2))
    assert sheet.picture(window) != sheet.picture(window, 1)
    window = window._replace(score=replace(window.score, heat=np.zeros((7, 1000), np.float32)))
    assert sheet.alt_text(window, 7).endswith("stage 7 finds no evidence anywhere.")


def contrast(one, other):
    """Contrast of two colours by WCAG 2."""
    channels = np.array([to_rgb(one), to_rgb(other)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ (0.2126, 0.7152, 0.0722) + 0.05)
    return light / dark


def test_text_has_the_contrast_of_wcag_aa():
    chips = re.findall(r'class="chip" style="background: (#\w+); color: (\w+)"', scored()[1])
    assert len(chips) >= 8 and all(contrast(*chip) >= 4.5 for chip in chips)
    css = (ROOT / "cardiov/app/web/app.css").read_text()
    colours = dict(re.findall(r"--(\w+): (#\w+)", css))
    panels = ["white", colours["panel"], *re.findall(r"background: (#\w+)", css)]
    assert all(contrast(colours[ink], panel) >= 4.5 for ink in ("ink", "quiet") for panel in panels)
    assert contrast(colours["focus"], "white") >= 4.5


def test_the_examples_are_offered_by_critical_value():
    groups = re.findall(r'<optgroup label="([^"]*)">(.*?)</optgroup>', Page().form, re.S)
    assert [label for label, _ in groups] == [f"critical value {k} ({level})" for k, level in enumerate(LEVELS)]
    offered = [re.findall("<option>(.*?)</option>", options) for _, options in groups]
    assert offered == [[name for name, example in examples().items() if example.critical_value == k] for k in range(4)]
    assert [len(names) for names in offered] == [3, 3, 3, 3]


def test_an_example_is_shown_with_its_label_and_source():
    example = examples()["ventricular premature complex"]  # CLBBB:100;PVC:100, critical value 2
    window, plain = scored(critical_value=2)
    agreed, wrong = result(window, example), result(window._replace(score=replace(window.score, critical_value=0)), example)
    words = "The cardiologists' statements: complete left bundle branch block (100 %), ventricular premature complex (100 %)."
    assert f"The cardiologists' label is 2 (medium risk). The network agrees. {words}" in text(agreed)
    assert f"The cardiologists' label is 2 (medium risk). The network is wrong: it says 0 (no risk). {words}" in text(wrong)
    assert "PTB-XL (Wagner et al. 2020, CC BY 4.0), record 14744" in text(agreed) and "cardiologists" not in plain
    assert announcement(window.score, example).endswith("no warnings. The cardiologists' label is 2.")


def test_a_statement_of_unknown_likelihood_is_shown_without_one():
    assert sheet.statements_in_words("LVH:35;SR:0") == "left ventricular hypertrophy (35 %), sinus rhythm"


@pytest.mark.parametrize(("contents", "sentence"), [
    ([], "0 files are not one ECG"), ([b""] * 5, "5 files are not one ECG: give 1 to 4 files"),
    ([bytes(9 * 2**20), bytes(8 * 2**20)], "the upload has 17.0 MiB: give at most 16 MiB"),
])  # fmt: skip
def test_python_checks_uploads_too(contents, sentence):
    with pytest.raises(SignalError, match=sentence):
        check_upload(["a"] * len(contents), contents)


def test_every_question_is_answered(capsys, monkeypatch):
    page, answers = Page(), []
    monkeypatch.setattr(page, "send", answers.append)
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    questions = [
        {"ask": "heat", "stage": 1}, {"ask": "example", "name": "normal ECG"}, {"ask": "heat", "stage": 8},
        {"ask": "files", "names": ["a.csv"]}, {"ask": "heat", "stage": 1}, {"ask": "example", "name": "flutter"},
        {"ask": "what"},
    ]  # fmt: skip
    for request, question in enumerate(questions):
        assert not capsys.readouterr().err
        page._answer(page, {**question, "request": request}, [memoryview(b"nothing")])
    assert "KeyError: 'what'" in capsys.readouterr().err
    assert [answer.pop("request") for answer in answers] == list(range(7))
    error, result, picture = {"error"}, {"html", "announcement"}, {"picture", "alt"}
    assert [set(answer) for answer in answers] == [error, result, error, error, picture, error, error]
    assert "there is no example 'flutter'" in answers[5]["error"] and answers[6]["error"] == UNEXPECTED


def test_the_server_serves_as_little_as_possible():
    voila, configuration = OPTIONS["Voila"], OPTIONS["VoilaConfiguration"]
    assert voila["ip"] == "127.0.0.1" and configuration["file_allowlist"] == [] and not configuration["show_tracebacks"]
    assert voila["tornado_settings"]["websocket_max_message_size"] > MAX_MIB * 2**20
    assert "://" not in (ROOT / "cardiov/app/web/voila/templates/cardiov/index.html.j2").read_text()


def test_an_unusable_port_is_an_error():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ParameterError, match=r"port \d+ cannot be used \(Address already in use\): give another"):
            check_port(other.getsockname()[1])
    with pytest.raises(ParameterError, match="there is no port 70000"):
        check_port(70000)


def test_without_voila_the_command_says_how_to_install_it():
    code = "import sys; sys.modules['voila'] = None; from cardiov.__main__ import main; sys.exit(main(['app']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == 'the page needs voila: run pip install "cardiov[app]".\n'
