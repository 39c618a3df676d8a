"""The page's parts as HTML, and its answers; test_browser.py tests the whole in a browser."""

import base64
import json
import re
import socket
import subprocess
import sys
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
from ecg_files import in_memory, write_record
from matplotlib.colors import to_rgb

pytest.importorskip("anywidget", reason='pip install "cardiov[app]"')

from cardiov.app import sheet
from cardiov.app.page import UNEXPECTED, Page, Row, announcement, downloads, result, samples
from cardiov.app.server import OPTIONS, check_port
from cardiov.app.uploads import MAX_MIB
from cardiov.ecg.examples import examples, read_example
from cardiov.ecg.leads import read_ecg
from cardiov.ecg.missed import NOT_CHECKED, missed
from cardiov.errors import ParameterError
from cardiov.mapping import FINDINGS
from cardiov.plots.style import LEVEL_COLOURS
from cardiov.scoring.network import load_model
from cardiov.scoring.outputs import FORMS
from cardiov.scoring.record import NOT_A_DEVICE, Window, score
from cardiov.store.files import ROOT

HOSTILE = '<img src=x onerror="window.hacked = 1">'


def scored(example=None, **changes):
    """The row of an ECG with a changed score, and its HTML."""
    ecg = read_example("inferolateral myocardial infarction")
    row = Row(0, "ecg.hea", sheet.reported_window(ecg, replace(score(ecg), **changes)))
    return row, result(row, example)


def text(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_names_and_warnings_of_files_stay_text():
    _, html = scored(record=f"<script>{HOSTILE}", warnings=(HOSTILE, "flat lead: V1"))
    assert "<script" not in html and "<img src=x" not in html
    assert html.count("&lt;img src=x onerror=") == 2 and "&lt;script&gt;" in html
    assert "<li>flat lead: V1</li>" in html


def test_the_value_is_shown_in_words_number_and_place():
    row, html = scored()
    seen = text(html)
    assert row.score.critical_value == 3 and "3 of 3: resembles ECGs with a finding of high risk" in seen
    here = re.findall(r'<li class="here" aria-current="true">(.*?)</li>', html, re.S)
    assert [text(item) for item in here] == ["3 with a finding of high risk ▲ this ECG"]
    assert row.score.meaning[1:] in seen and NOT_A_DEVICE in seen and "no risk" not in seen
    assert f"by cardiov {row.score.software} and the network cardiov-1, which was trained on ptbxl-sample, of PTB-XL" in seen
    assert f"scored {row.score.scored}" in seen and row.score.weights in seen
    said = "Scored: 3 of 3, resembles ECGs with a finding of high risk; no warnings."
    assert announcement(row.score) == said
    assert announcement(replace(row.score, warnings=("one",))).endswith("high risk; 1 warning.")


def test_a_value_is_shown_beside_the_errors_of_its_kind():
    confusion = np.array(load_model().metadata["tested"]["confusion"])
    for value in range(4):
        called = confusion[:, value]
        words = f"Of {called.sum()} ECGs that the network called {value} in a test on 367, cardiologists had labelled {called[0]} as 0, "
        assert words + f"{called[1]} as 1, {called[2]} as 2 and {called[3]} as 3." in text(scored(critical_value=value)[1])
    held = [f"{100 * n / of:.0f} % of those labelled {k}" for k, (n, of) in enumerate(zip(load_model().metadata["tested"]["held"],
            confusion.sum(axis=1), strict=True))]  # fmt: skip
    assert f"In the test, such a set held the label of {', '.join(held)}." in text(scored(prediction_set=(1, 2))[1])


def test_weights_without_a_test_say_nothing_of_errors(monkeypatch):
    monkeypatch.setattr(sheet, "origin", lambda network=None: ("unknown data", None))
    seen = text(scored(prediction_set=(1, 2))[1])
    assert "test" not in seen and "Prediction set: 1 to 2." in seen and "trained on unknown data" in seen


def test_intervals_are_shown_as_automatic_or_not_measurable():
    row, html = scored()
    seen = text(html)
    assert "Measured automatically heart rate 65 /min PR 169 ms QRS not measurable (94 ms or wider)" in seen
    assert "Patient: identifier not given · age not given · sex not given · recorded: time not given" in seen
    row.shown.meta |= {"patient": "P-7", "age": 61.0, "sex": "female", "recorded": "2024-05-06T07:08:09"}
    assert "Patient: P-7 · 61 years · female · recorded: 2024-05-06T07:08:09" in text(result(row))


def test_the_page_says_what_the_checks_miss():
    _, html = scored()
    seen = text(html)
    assert "Warnings about the signal None. What the checks miss" in seen and all(phrase in seen for phrase in missed())
    assert re.search(r"\d in 100 missed", seen) and f"Not checked: {'; '.join(NOT_CHECKED)}." in seen


def test_every_bar_has_a_word_and_a_number():
    _, html = scored(probabilities=np.array([0.1234, 0.5, 0.3766, -0.0]))
    rows = [text(row) for row in re.findall(r"<tr>(.*?)</tr>", html, re.S)]
    words = "without a finding of risk", "with a finding of low risk", "with a finding of medium risk", "with a finding of high risk"
    assert rows == [f"{k} {words[k]} {share} %" for k, share in enumerate(("12.3", "50.0", "37.7", "0.0"))]
    drawn = re.findall(r"width: (-?[\d.]+)%; background: (#\w+)", html)
    assert drawn[:2] == [("12.3", LEVEL_COLOURS[0]), ("50.0", LEVEL_COLOURS[1])]


def test_the_prediction_set_is_shown_if_the_score_has_one():
    for levels, words in (((1, 2), "1 to 2"), ((0, 0), "0")):
        assert f"Prediction set: {words}. It is meant to hold the label of 90 %" in text(scored(prediction_set=levels)[1])
    assert "Prediction set" not in text(scored(prediction_set=None)[1])


def test_windows_are_listed_only_for_long_records():
    windows = tuple(Window(start, 10.0, k, tuple(np.eye(4)[k])) for k, start in enumerate((0.0, 7.5)))
    row, short = scored()
    row.shown.score = replace(row.score, windows=windows, window=1)
    seen = text(result(row))
    assert "2 windows" in seen and "7.5 to 17.5 1 with a finding of low risk 100.0 % ◀ reported" in seen
    said = "The test was on ECGs of 10 s; how often the most severe of several windows is wrong was not tested."
    for html in (result(row), sheet.paper(row.shown)):
        assert said in text(html) and "cardiologists had labelled" not in html
    assert said not in text(short) and "cardiologists had labelled" in short
    assert "◀ reported" not in short and "the most severe of 2 windows" in sheet.paper(row.shown)


def test_the_downloads_are_the_scores():
    row, html = scored(record=HOSTILE)
    links = re.findall(r'href="(data:[^"]*)" download="(score\.\w+)"', html)
    files = {name: unquote(address.partition(",")[2]) for address, name in links}
    assert json.loads(files["score.json"]) == json.loads(json.dumps({"file": "ecg.hea", **row.score.as_dict()}))
    assert files["score.csv"] == FORMS["csv"][0] + FORMS["csv"][1]("ecg.hea", row.score)
    columns = files["score.csv"].partition("\n")[0].split(",")
    assert {"weights", "software", "scored"} <= {*columns} & {*json.loads(files["score.json"])}
    several = downloads({"a": row.score, "b": row.score})
    assert [one["file"] for one in json.loads(unquote(several["json"].partition(",")[2]))] == ["a", "b"]


def test_the_samples_are_one_ecg_in_two_formats():
    files = {name: base64.b64decode(address.partition(",")[2]) for name, address in samples()}
    (table,) = [name for name in files if name.endswith(".csv")]
    ecgs = read_ecg({table: files.pop(table)}), read_ecg(files), read_example("normal ECG")
    assert all(np.array_equal(ecg.signal, ecgs[2].signal) and ecg.fs == 500 for ecg in ecgs) and len(files) == 2
    assert all(f'download="{name}"' in Page().form for name, _ in samples())


def test_heat_is_described_in_words():
    row, _ = scored()
    row.shown.heat = np.eye(7, 1000, 250, np.float32)
    assert sheet.alt_text(row.shown).endswith("0.0 to 10.0 s.")
    for level in ("fine", "medium"):
        assert sheet.alt_text(row.shown, level).endswith(f"the {level} heat map, which is strongest at 2.5 s.")
    assert sheet.picture(row.shown) != sheet.picture(row.shown, "fine")
    row.shown.heat = np.zeros((7, 1000), np.float32)
    assert sheet.alt_text(row.shown, "coarse").endswith("the coarse heat map finds no evidence anywhere.")


def test_heat_is_that_of_the_whole_record():
    ecg = read_example("normal ECG")
    np.testing.assert_array_equal(sheet.reported_window(ecg, score(ecg)).heat, score(ecg, heat=True).heat)


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


def test_the_examples_are_offered_by_what_is_stated():
    groups = re.findall(r'<optgroup label="([^"]*)">(.*?)</optgroup>', Page().form, re.S)
    assert [label for label, _ in groups] == [f"stated: {k}, {finding}" for k, finding in enumerate(FINDINGS)]
    offered = [re.findall("<option>(.*?)</option>", options) for _, options in groups]
    assert offered == [[name for name, example in examples().items() if example.critical_value == k] for k in range(4)]
    assert [len(names) for names in offered] == [3, 3, 3, 3]


def test_an_example_is_shown_with_what_is_stated_and_its_source():
    example = examples()["ventricular premature complex"]  # CLBBB:100;PVC:100, critical value 2
    (row, agreed), (_, wrong), (_, plain) = (scored(example, critical_value=2), scored(example, critical_value=0), scored())
    stated = "Stated: 2 (complete left bundle branch block (100 %), ventricular premature complex (100 %)); scored:"
    assert f"{stated} 2." in text(agreed) and "The network is wrong." not in text(agreed)
    assert f"{stated} 0. The network is wrong." in text(wrong)
    assert "PTB-XL (Wagner et al. 2020, CC BY 4.0), record 14744" in text(agreed) and "Stated" not in plain
    assert announcement(row.score, example).endswith("no warnings. Stated: 2.")
    assert "record 14744; stated by cardiologists: 2" in text(sheet.paper(row.shown, example))


@pytest.fixture
def ask(monkeypatch):
    """A page, and what it answers."""
    page, answers = Page(), []
    monkeypatch.setattr(page, "send", answers.append)

    def ask(question, files=None):
        files = files or {}
        page._answer(page, {**question, "names": [*files]}, [memoryview(data) for data in files.values()])
        return answers.pop()

    return ask


def test_several_files_become_a_table_the_most_urgent_first(ask, tmp_path):
    for name, ecg in (("a", "normal ECG"), ("b", "inferolateral myocardial infarction"), ("c", "atrial fibrillation")):
        write_record(tmp_path, name, np.round(1000 * read_example(ecg).signal).astype(int))
    answer = ask({"ask": "files"}, {"bad.csv": b"I,II\n", **in_memory(tmp_path)})
    rows = [text(row) for row in re.findall(r"<tr>(.*?)</tr>", answer["table"], re.S)][1:]
    assert [row.split()[0] for row in rows] == ["3", "2", "0", "not"]
    assert [row.split()[-2] for row in rows[:3]] == ["b.hea", "c.hea", "a.hea"]
    assert "bad.csv" in rows[3] and 'download="scores.csv"' in answer["table"]
    assert answer["announcement"].startswith("3 of 4 ECGs are scored.")
    assert "3 of 3" in text(answer["html"]) and answer["sheets"].count('class="sheet"') == 1
    assert "0 of 3" in text(ask({"ask": "show", "number": int(re.search(r'data-show="(\d)">a.hea', answer["table"])[1])})["html"])
    printed = ask({"ask": "print"})
    assert re.findall(r"<h2>(\w)</h2>", printed["sheets"]) == ["b", "c", "a"] and printed["print"]
    answer = ask({"ask": "files"}, {"bad.csv": b"", "worse.csv": b""})
    assert answer["html"] == answer["sheets"] == "" and "download" not in answer["table"] and "error" not in answer
    assert "error" in ask({"ask": "heat", "level": "fine"})


def test_a_record_of_two_segments_is_one_ecg(ask, tmp_path):
    whole = np.round(1000 * read_example("normal ECG").signal).astype(int)
    for name, part in (("first", whole[:, :2000]), ("second", whole[:, 2000:])):
        write_record(tmp_path, name, part)
    (tmp_path / "whole.hea").write_text("whole/2 12 500 5000\nfirst 2000\nsecond 3000\n")
    answer = ask({"ask": "files"}, in_memory(tmp_path))
    assert answer["table"] == "" and "10.0 s at 500 Hz" in text(answer["html"]) and "<h2>whole</h2>" in answer["html"]
    assert "0 of 3" in text(answer["html"])
    (tmp_path / "second.hea").unlink()
    assert "lacks the segment &#39;second&#39;" in ask({"ask": "files"}, in_memory(tmp_path))["table"]


def test_every_question_is_answered(capsys, monkeypatch):
    page, answers = Page(), []
    monkeypatch.setattr(page, "send", answers.append)
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    questions = [
        {"ask": "heat", "level": "fine"}, {"ask": "example", "name": "normal ECG"}, {"ask": "heat", "level": "finest"},
        {"ask": "heat", "level": "fine"}, {"ask": "files", "names": ["a.csv"]}, {"ask": "heat", "level": "fine"},
        {"ask": "example", "name": "flutter"}, {"ask": "what"},
    ]  # fmt: skip
    for request, question in enumerate(questions):
        assert not capsys.readouterr().err
        page._answer(page, {**question, "request": request}, [memoryview(b"nothing")])
    assert "KeyError: 'what'" in capsys.readouterr().err
    assert [answer.pop("request") for answer in answers] == list(range(8))
    error, result, picture = {"error"}, {"html", "sheets", "table", "announcement"}, {"picture", "alt"}
    assert [set(answer) for answer in answers] == [error, result, error, picture, error, error, error, error]
    assert "there is no example 'flutter'" in answers[6]["error"] and answers[7]["error"] == UNEXPECTED


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
