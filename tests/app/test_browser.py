"""The page in a real browser, and what its server gives away."""

import http.client
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
from unittest.mock import ANY

import pytest
from ecg_files import in_memory, simulated_signal, write_csv, write_npz, write_record

pytest.importorskip("anywidget", reason='pip install "cardiov[app]"')
sync_api = pytest.importorskip("playwright.sync_api", reason='pip install "cardiov[test]"')

from cardiov.app.server import OPTIONS
from cardiov.ecg.examples import FOLDER, read_example
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.scoring.record import NOT_A_DEVICE, score
from cardiov.store.files import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 300  # s; only so that a hang ends
HOSTILE = '<img src=x onerror="window.hacked = 1">'
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="neither chromium nor google-chrome is installed")


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """The port of the running page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cardiov", "app", "--no-browser", "--port", str(port)]
    log = tmp_path_factory.mktemp("app") / "log.txt"
    with log.open("w") as file, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file) as server:
        deadline = time.monotonic() + PATIENCE
        while not listens(port):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield port
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)
    assert "in _answer" not in log.read_text()  # a traceback of this package


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def browser():
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=CHROMIUM, args=arguments) as browser:
            yield browser


@pytest.fixture(scope="module")
def visit(browser, port):
    """Open the page as a new visitor; errors that any visitor's browser reports fail at the end."""
    errors, allowed = [], (f"http://127.0.0.1:{port}/", "data:", "blob:")

    def visit():
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(1000 * PATIENCE)
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


def choose(page, example):
    part(page, "example").select_option(example)
    wait_for(page, example)


def draw(page, stage):
    page.check(f"[name=cardiov-heat][value='{stage}']")
    ready(page)


def upload(page, files, record=None):
    """Choose files, given as {name: content}; wait for the score of a record of this name, if one is given."""
    part(page, "files").set_input_files([
        {"name": name, "mimeType": "application/octet-stream", "buffer": content} for name, content in files.items()
    ])  # fmt: skip
    if record:
        wait_for(page, record)


def refused(page):
    """The error, after a wait for it."""
    ready(page)
    assert not part(page, "result").is_visible() and part(page, "status").inner_text() == ""
    return part(page, "error").inner_text()


def downloaded(page, press=lambda link: link.click()):
    with page.expect_download() as download:
        press(page.locator(".download"))
    assert download.value.suggested_filename == "score.json"
    with open(download.value.path()) as file:
        return json.load(file)


def expected(ecg, name):
    result = json.loads(json.dumps(score(replace(ecg, meta={**ecg.meta, "record": name})).as_dict()))
    return result | {"probabilities": pytest.approx(result["probabilities"], abs=2e-6), "scored": ANY}


def wfdb(folder, name="own", **record):
    """A WFDB record as an upload."""
    write_record(folder / name, name, **{"signal": simulated_signal(seed=5)} | record)
    return in_memory(folder / name)


def table(folder, leads=LEADS):
    """Content of a CSV file without rate and unit."""
    write_csv(folder / "table.csv", simulated_signal(seed=6), leads=leads, before="")
    return (folder / "table.csv").read_bytes()


def tab_to(page, name):
    """Press Tab until an element has the focus; every element on the way must have an outline."""
    for _ in range(20):
        page.keyboard.press("Tab")
        focused, outline = page.evaluate("""() => {
            const at = document.activeElement, style = getComputedStyle(at.closest('.drop') ?? at);
            const width = style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth);
            return [at.dataset.part || at.name || at.className, width];
        }""")
        assert outline >= 2 or not focused, focused
        if focused == name:
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_the_keyboard_alone_scores_an_example(page):
    """The first test, on a page that nobody has touched."""
    tab_to(page, "files")
    tab_to(page, "example")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_for(page, "normal ECG")
    said = "Scored: critical value 0 of 3, no risk; no warnings. The cardiologists' label is 0."
    assert part(page, "status").inner_text() == said
    tab_to(page, "cardiov-heat")
    before = part(page, "picture").get_attribute("src")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => document.querySelector('[data-part=picture]').src !== before", arg=before)
    tab_to(page, "download")
    result = downloaded(page, lambda _: page.keyboard.press("Enter"))
    assert result == expected(read_example("normal ECG"), "normal ECG")
    assert result["critical_value"] == 0 and result["notice"] == NOT_A_DEVICE


def test_a_wrong_score_of_an_example_is_called_wrong(page):
    choose(page, "inferior myocardial infarction")
    label = page.locator(".label").inner_text()
    assert "The cardiologists' label is 3 (high risk). The network is wrong: it says 0 (no risk)." in label
    assert "PTB-XL (Wagner et al. 2020, CC BY 4.0), record 12145" in part(page, "result").inner_text()
    upload(page, {path.name: path.read_bytes() for path in FOLDER.glob("12145_hr.*")}, "12145_hr")
    assert page.locator(".label").count() == 0


def test_heat_is_switched_on_and_off_by_stage(page):
    choose(page, "ventricular premature complex")
    sources = set()
    for stage in (1, 7, 0):
        draw(page, stage)
        caption = part(page, "caption").inner_text()
        assert caption == part(page, "picture").get_attribute("alt") and (f"stage {stage}" in caption) == (stage > 0)
        width, source = part(page, "picture").evaluate("image => [image.naturalWidth, image.src]")
        assert width > 0 and source not in sources
        sources.add(source)


def test_every_control_has_a_label(page):
    """Also takes a screenshot of the page, in build/app."""
    choose(page, "inferolateral myocardial infarction")
    draw(page, 3)
    page.screenshot(path=ROOT / "build/app/page.png", full_page=True)
    assert page.title() == "Score my ECG" and page.locator("h1").inner_text().startswith("Score my ECG")
    assert page.locator(".notice").inner_text() == NOT_A_DEVICE
    assert part(page, "error").get_attribute("role") == "alert"
    assert part(page, "status").get_attribute("aria-live") == "polite"
    labels = page.locator(".cardiov input, .cardiov select").evaluate_all("inputs => inputs.map(input => input.labels.length)")
    assert len(labels) == 12 and all(labels) and page.locator("img:not([alt])").count() == 0


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_down_only(page, width):
    choose(page, "inferior myocardial infarction")
    page.set_viewport_size({"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.screenshot(path=ROOT / "build/app/phone.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})


def test_own_files_are_scored(page, tmp_path):
    write_npz(tmp_path / "arrays.npz", simulated_signal(seed=8))
    for name, files in {"own": wfdb(tmp_path), "arrays": {"arrays.npz": (tmp_path / "arrays.npz").read_bytes()}}.items():
        upload(page, files, name)
        assert downloaded(page) == expected(read_ecg(files), name)


def test_a_dropped_table_takes_rate_and_unit_from_the_form(page, tmp_path):
    content = table(tmp_path)
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
    own = wfdb(folder)
    yield {"notes.txt": b"Dear colleague,\n"}, r"notes.txt"
    yield {"holiday.jpg": b"\xff\xd8\xff\xe0" + bytes(5000)}, r"holiday.jpg is no ECG file of a known format: give WFDB"
    yield {"empty.csv": b""}, r"empty.csv"
    yield {"own.hea": own["own.hea"], "own.dat": own["own.dat"][:-5000]}, r"own\b.*truncated"
    yield {"own.dat": own["own.dat"]}, r"own"
    yield {"own.hea": own["own.hea"]}, r"own"
    yield wfdb(folder, "units", gain=1.0), r"units has a median lead amplitude of .* mV peak to peak, which no ECG has"
    yield {"three.csv": table(folder, LEADS[:3])}, r"three.csv"
    yield {"object.npy": b"\x93NUMPY\x01\x00"}, r"object.npy"
    yield {f"{k}.csv": b"" for k in range(5)}, r"5 files are not one ECG: give 1 to 4 files"


def test_a_bad_upload_gets_an_error_and_the_page_stays_usable(page, tmp_path):
    for files, sentence in bad_uploads(tmp_path):
        upload(page, files)
        error = refused(page)
        assert re.search(sentence, error) and error.endswith(".") and "Traceback" not in error, error
        upload(page, wfdb(tmp_path), "own")


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
    upload(page, wfdb(tmp_path, "lost", signal=signal), "lost")
    assert "V3" in page.locator(".warnings").inner_text() and "warning" in part(page, "status").inner_text()


def test_a_long_record_lists_its_windows(page, tmp_path):
    upload(page, wfdb(tmp_path, "long", signal=simulated_signal(seconds=35)), "long")
    result = downloaded(page)
    rows = page.locator(".windows tbody tr").all_inner_texts()
    assert len(rows) == len(result["windows"]) == 4 and result["prediction_set"] is None
    assert [k for k, row in enumerate(rows) if "◀ reported" in row] == [result["window"]]
    start = result["windows"][result["window"]]["start"]
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


def test_visitors_do_not_see_each_other(page, visit):
    pages = {"normal ECG": page, "atrial fibrillation": visit()}
    for name, page in pages.items():  # both questions are open at the same time
        part(page, "example").select_option(name)
    for name, page in pages.items():
        wait_for(page, name)
        page.check("[name=cardiov-heat][value='5']")
    for name, page in pages.items():
        ready(page)
        assert downloaded(page) == expected(read_example(name), name)
    assert len({part(page, "picture").get_attribute("src") for page in pages.values()}) == 2
    pages["atrial fibrillation"].context.close()


def get(port, path, host="127.0.0.1", **headers):
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
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
