"""The page: its parts as HTML, and the whole in a real browser, if one is installed."""

import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
from ecg_files import simulated_signal, write_record
from matplotlib.colors import to_rgb

pytest.importorskip("anywidget", reason='pip install "cardiov[app]"')

from cardiov.app import sheet
from cardiov.app.page import SAMPLES, UNEXPECTED, Page, announcement, check_upload, result
from cardiov.app.server import MAX_MIB, OPTIONS, check_port
from cardiov.data.demo.dataset import example
from cardiov.data.demo.hospital import CASES
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.errors import ParameterError, SignalError
from cardiov.plots.style import LEVEL_COLOURS
from cardiov.scoring import record as scoring
from cardiov.scoring.record import NOT_A_DEVICE, Window
from cardiov.store.files import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = '<img src=x onerror="window.hacked = 1">'


def scored(**changes):
    """The reported window of a simulated ECG, with a changed score, and its HTML."""
    ecg = example("IMI ABQRS SR")
    window = sheet.reported_window(ecg, replace(scoring.score(ecg, heat=True), **changes))
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
    score, seen = window.score, text(html)
    assert score.critical_value == 3 and "3 of 3 high risk" in seen
    here = re.findall(r'<li class="here" aria-current="true">(.*?)</li>', html, re.S)
    assert [text(item) for item in here] == ["3 high risk ▲ this ECG"]
    assert score.meaning[1:] in seen and NOT_A_DEVICE in seen
    assert "scored by the network ptbxl-sample, which was trained on ptbxl-sample, of PTB-XL" in seen
    assert announcement(score) == "Scored: critical value 3 of 3, high risk; no warnings."
    assert announcement(replace(score, warnings=("one",))).endswith("high risk; 1 warning.")


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


def test_samples_are_simulated_cases():
    assert 5 <= len(SAMPLES) <= 8 and all(case in CASES for case in SAMPLES.values())


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
        {"ask": "heat", "stage": 1}, {"ask": "sample", "name": "normal"}, {"ask": "heat", "stage": 8},
        {"ask": "files", "names": ["a.csv"]}, {"ask": "heat", "stage": 1}, {"ask": "what"},
    ]  # fmt: skip
    for request, question in enumerate(questions):
        assert not capsys.readouterr().err
        page._answer(page, {**question, "request": request}, [memoryview(b"nothing")])
    assert "KeyError: 'what'" in capsys.readouterr().err
    assert [answer.pop("request") for answer in answers] == [0, 1, 2, 3, 4, 5]
    error, score, picture = {"error"}, {"html", "announcement"}, {"picture", "alt"}
    assert [set(answer) for answer in answers] == [error, score, error, error, picture, error]
    assert answers[5]["error"] == UNEXPECTED


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


# In a browser


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """The port of the running page."""
    if CHROMIUM is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cardiov", "app", "--no-browser", "--port", str(port)]
    log = tmp_path_factory.mktemp("app") / "log.txt"
    with log.open("w") as file, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file) as server:
        deadline = time.monotonic() + 60
        while not listens(port):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield port
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    assert "in _answer" not in log.read_text()  # a traceback of this package


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    api = pytest.importorskip("playwright.sync_api", reason='pip install "cardiov[test]"')
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with api.sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=CHROMIUM, args=arguments) as browser:
            yield browser


@pytest.fixture(scope="module")
def visit(browser, port):
    """Open the page as a new visitor; errors that any visitor's browser reports fail at the end."""
    errors, allowed = [], (f"http://127.0.0.1:{port}/", "data:", "blob:")

    def visit(**context):
        page = browser.new_context(viewport={"width": 1280, "height": 900}, **context).new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("requestfailed", lambda request: errors.append(request.url))
        page.on("request", lambda request: None if request.url.startswith(allowed) else errors.append(request.url))
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector(".cardiov form")
        return page

    yield visit
    assert errors == []


@pytest.fixture(scope="module")
def page(visit):
    """One visitor's page, which must stay usable through all tests."""
    return visit()


def part(page, name):
    return page.locator(f"[data-part={name}]")


def ready(page):
    page.wait_for_selector(".cardiov:not([aria-busy])")


def wait_for(page, name):
    """Wait for the score of an ECG of this name."""
    ready(page)
    assert part(page, "error").inner_text() == ""
    assert page.locator("[data-part=result] h2").inner_text() == name


def choose(page, sample):
    part(page, "sample").select_option(sample)
    wait_for(page, f"simulated: {sample}")


def upload(page, files):
    """Choose files, given as {name: content}."""
    part(page, "files").set_input_files([
        {"name": name, "mimeType": "application/octet-stream", "buffer": content} for name, content in files.items()
    ])  # fmt: skip


def refused(page):
    """The error, after a wait for it."""
    ready(page)
    assert not part(page, "result").is_visible() and part(page, "status").inner_text() == ""
    return part(page, "error").inner_text()


def downloaded(page, take=lambda link: link.click()):
    with page.expect_download() as download:
        take(page.locator(".download"))
    assert download.value.suggested_filename == "score.json"
    with open(download.value.path()) as file:
        return json.load(file)


def expected(ecg, name):
    score = json.loads(json.dumps(scoring.score(replace(ecg, meta={**ecg.meta, "record": name})).as_dict()))
    return score | {"probabilities": pytest.approx(score["probabilities"], abs=2e-6)}


def wfdb(folder, name="own", **record):
    """A WFDB record as an upload."""
    write_record(folder, name, **{"signal": simulated_signal(seed=5)} | record)
    return {path.name: path.read_bytes() for path in sorted(folder.glob(f"{name}.*"))}


def csv(scale=1.0, seed=6, first=",".join(LEADS)):
    """Twelve leads as a table without rate and unit."""
    table = io.StringIO()
    np.savetxt(table, simulated_signal(seed=seed).T * scale, fmt="%.4f", delimiter=",", header=first, comments="")
    return table.getvalue().encode()


def focused(page):
    """Name of the focused element, and the width of its outline."""
    return page.evaluate("""() => {
        const at = document.activeElement, style = getComputedStyle(at.closest('.drop') ?? at);
        const width = style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth);
        return [at.dataset.part || at.name || at.className, width];
    }""")


def tab_to(page, name):
    """Press Tab until an element has the focus; every element on the way must show its focus."""
    for _ in range(20):
        page.keyboard.press("Tab")
        place, width = focused(page)
        if place:
            assert width >= 2, place
        if place == name:
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_the_keyboard_alone_scores_a_sample(visit):
    page = visit()
    tab_to(page, "files")
    tab_to(page, "sample")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_for(page, "simulated: normal")
    assert part(page, "status").inner_text() == "Scored: critical value 0 of 3, no risk; no warnings."
    tab_to(page, "cardiov-heat")
    before = part(page, "picture").get_attribute("src")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => document.querySelector('[data-part=picture]').src !== before", arg=before)
    tab_to(page, "download")
    score = downloaded(page, lambda _: page.keyboard.press("Enter"))
    assert score == expected(example(SAMPLES["normal"]), "simulated: normal")
    assert score["critical_value"] == 0 and score["notice"] == NOT_A_DEVICE
    page.context.close()


def test_heat_is_switched_on_and_off_by_stage(page):
    choose(page, "premature ventricular beats")
    pictures = {}
    for stage in (1, 7, 0):
        page.check(f"[name=cardiov-heat][value='{stage}']")
        ready(page)
        caption = part(page, "caption").inner_text()
        assert caption == part(page, "picture").get_attribute("alt") and (f"stage {stage}" in caption) == (stage > 0)
        pictures[stage] = part(page, "picture").evaluate("image => [image.naturalWidth > 0, image.src]")
    assert all(loaded for loaded, _ in pictures.values()) and len({source for _, source in pictures.values()}) == 3


def test_every_control_has_a_label(page):
    """Also takes a screenshot of the page, in build/app."""
    choose(page, "infarction of the anterior wall")
    page.check("[name=cardiov-heat][value='3']")
    ready(page)
    (ROOT / "build/app").mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ROOT / "build/app/page.png", full_page=True)
    assert page.title() == "Score my ECG" and page.locator("h1").inner_text().startswith("Score my ECG")
    assert page.locator(".notice").inner_text() == NOT_A_DEVICE
    assert part(page, "error").get_attribute("role") == "alert"
    assert part(page, "status").get_attribute("aria-live") == "polite"
    labels = page.locator(".cardiov input, .cardiov select").evaluate_all("inputs => inputs.map(input => input.labels.length)")
    assert len(labels) == 12 and all(labels) and page.locator("img:not([alt])").count() == 0


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_down_only(page, width):
    choose(page, "left bundle branch block")
    page.set_viewport_size({"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.screenshot(path=ROOT / "build/app/phone.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})


def test_an_own_wfdb_record(page, tmp_path):
    upload(page, wfdb(tmp_path))
    wait_for(page, "own")
    assert downloaded(page) == expected(read_ecg(tmp_path / "own"), "own")


def test_an_own_archive_of_arrays(page):
    content = io.BytesIO()
    np.savez(content, signal=simulated_signal(seed=8), leads=LEADS, fs=500, unit="uV")
    upload(page, {"arrays.npz": content.getvalue()})
    wait_for(page, "arrays")
    assert downloaded(page) == expected(read_ecg({"arrays.npz": content.getvalue()}), "arrays")


def test_a_dropped_table_takes_rate_and_unit_from_the_form(page):
    content = csv()
    page.evaluate_handle("""content => {
        const files = new DataTransfer();
        files.items.add(new File([content], 'table.csv'));
        const target = document.querySelector('.drop');
        for (const type of ['dragover', 'drop']) {
            target.dispatchEvent(new DragEvent(type, {dataTransfer: files, bubbles: true, cancelable: true}));
        }
    }""", content.decode())  # fmt: skip
    assert "gives no sampling rate" in refused(page)
    part(page, "fs").fill("500")
    part(page, "fs").press("Tab")
    assert "gives no unit" in refused(page)
    part(page, "unit").select_option("µV")
    wait_for(page, "table")
    assert downloaded(page) == expected(read_ecg({"table.csv": content}, fs=500, unit="uV"), "table")
    part(page, "fs").fill("-3")
    part(page, "fs").press("Tab")
    assert "sampling rate is not a number of Hz" in refused(page)
    part(page, "fs").fill("")
    part(page, "unit").select_option("as in the file")


def bad_uploads(folder):
    """Files that people drop by mistake, and the error that they get."""
    record = wfdb(folder)
    yield {"notes.txt": b"Dear colleague,\n"}, r"notes.txt"
    yield {"holiday.jpg": b"\xff\xd8\xff\xe0" + bytes(5000)}, r"holiday.jpg is no ECG file of a known format: give WFDB"
    yield {"empty.csv": b""}, r"empty.csv"
    yield {"own.hea": record["own.hea"], "own.dat": record["own.dat"][:-5000]}, r"own\b.*truncated"
    yield {"own.dat": record["own.dat"]}, r"own"
    yield {"own.hea": record["own.hea"]}, r"own"
    yield wfdb(folder, "units", gain=1.0), r"units has a median lead amplitude of .* mV peak to peak, which no ECG has"
    yield {"three.csv": csv(first="I,II,V1")}, r"three.csv"
    yield {"object.npy": b"\x93NUMPY\x01\x00"}, r"object.npy"
    yield {f"{k}.csv": b"" for k in range(5)}, r"5 files are not one ECG: give 1 to 4 files"


def test_a_bad_upload_gets_an_error_and_the_page_stays_usable(page, tmp_path):
    for files, sentence in bad_uploads(tmp_path):
        upload(page, files)
        error = refused(page)
        assert re.search(sentence, error) and error.endswith(".") and "Traceback" not in error, error
        upload(page, wfdb(tmp_path))
        wait_for(page, "own")


def test_an_upload_that_is_too_large_is_not_sent(page):
    page.evaluate("""() => {
        const send = WebSocket.prototype.send;
        window.sent = [];
        WebSocket.prototype.send = function (data) {
            window.sent.push(data.byteLength ?? data.length);
            send.call(this, data);
        };
    }""")  # fmt: skip
    upload(page, {"big.jpg": b"\xff" * 17 * 2**20})
    assert refused(page) == "the upload has 17.0 MiB: give at most 16 MiB, or cut the record."
    assert page.evaluate("Math.max(0, ...window.sent)") < 2**16  # Voilà's own messages
    upload(page, {"just.jpg": b"\xff" * 16 * 2**20})
    assert "just.jpg is no ECG file" in refused(page)
    allowed = OPTIONS["Voila"]["tornado_settings"]["websocket_max_message_size"]
    assert 16 * 2**20 < page.evaluate("Math.max(...window.sent)") < allowed


def test_a_lost_electrode_is_a_warning(page, tmp_path):
    signal = simulated_signal(seed=5)
    signal[LEADS.index("V3")] = 12
    upload(page, wfdb(tmp_path, "lost", signal=signal))
    wait_for(page, "lost")
    assert "V3" in page.locator(".warnings").inner_text() and "warning" in part(page, "status").inner_text()


def test_a_long_record_lists_its_windows(page, tmp_path):
    upload(page, wfdb(tmp_path, "long", signal=simulated_signal(seconds=35)))
    wait_for(page, "long")
    score = downloaded(page)
    rows = page.locator(".windows tbody tr").all_inner_texts()
    assert len(rows) == len(score["windows"]) == 4 and score["prediction_set"] is None
    assert [k for k, row in enumerate(rows) if "◀ reported" in row] == [score["window"]]
    start = score["windows"][score["window"]]["start"]
    assert f"{start:.1f} to {start + 10:.1f} s" in part(page, "picture").get_attribute("alt")


def test_a_script_in_a_name_stays_text(page, tmp_path):
    files = wfdb(tmp_path)
    upload(page, {f"{HOSTILE}.csv": b"I,II\n1,2\n"})
    assert HOSTILE in refused(page)
    header = files["own.hea"].replace(b"own ", b"<script>window.hacked=1</script> ", 1)
    upload(page, {f"{HOSTILE}.hea": header, "own.dat": files["own.dat"]})
    ready(page)
    assert page.evaluate("window.hacked") is None
    assert page.locator(".cardiov script, .cardiov img[src=x]").count() == 0


def test_visitors_do_not_see_each_other(visit):
    names = ["normal", "infarction of the anterior wall"]
    pages = [visit() for _ in names]
    for page, name in zip(pages, names, strict=True):  # both questions are open at the same time
        part(page, "sample").select_option(name)
    for page, name in zip(pages, names, strict=True):
        wait_for(page, f"simulated: {name}")
        page.check("[name=cardiov-heat][value='5']")
    for page, name in zip(pages, names, strict=True):
        ready(page)
        assert downloaded(page) == expected(example(SAMPLES[name]), f"simulated: {name}")
    assert part(pages[0], "picture").get_attribute("src") != part(pages[1], "picture").get_attribute("src")
    for page in pages:
        page.context.close()


def get(port, path, host="127.0.0.1", **headers):
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", [
    "/app.ipynb", "/notebooks/app.ipynb", "/README.md", "/voila/files/app.ipynb", "/voila/files/conftest.py",
    "/voila/files/../README.md", "/voila/files/%2e%2e/README.md", "/voila/files/params/demo/training.yaml",
    "/voila/static/../../../../../README.md", "/voila/templates/cardiov/static/../../../../app.py", "/voila/tree",
    "/api/kernels", "/api/contents", "//etc/passwd", "/voila/files//etc/passwd",
])  # fmt: skip
def test_no_file_is_served(port, path):
    status, content = get(port, path)
    if status == 302:  # Voilà looks among its files for what is no page
        status, content = get(port, "/voila/files" + path)
    assert status >= 400 and not re.search(rb"from cardiov|# CardioV|root:|rate:", content)


def test_only_this_machine_is_answered(port):
    for address in {"127.0.0.2", *socket.gethostbyname_ex(socket.gethostname())[2]} - {"127.0.0.1"}:
        with pytest.raises(OSError):
            get(port, "/", host=address)
    assert get(port, "/voila/static/voila.js")[0] == 200
    assert get(port, "/", Host="somewhere.example")[0] == 403  # as in a DNS rebinding attack
