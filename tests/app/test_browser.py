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
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from ecg_files import in_memory, simulated_signal, write_csv, write_npz, write_record
from PIL import Image

pytest.importorskip("anywidget", reason='pip install "cardiov[app]"')
sync_api = pytest.importorskip("playwright.sync_api", reason='pip install "cardiov[test]"')

from cardiov.app.server import OPTIONS
from cardiov.app.sheet import write_report
from cardiov.ecg.examples import FOLDER, read_example
from cardiov.ecg.leads import LEADS, read_ecg
from cardiov.scoring.record import NOT_A_DEVICE, score
from cardiov.store.files import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 300  # s; only so that a hang ends
PRINTER = "() => { window.printed = false; window.print = () => { window.printed = true; }; }"
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


def draw(page, level):
    page.check(f"[name=cardiov-heat][value={level}]")
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


def saved(page, name, press=lambda link: link.click()):
    """Content of a file that the link of this name gives."""
    with page.expect_download() as download:
        press(page.locator(f"[download='{name}']"))
    return Path(download.value.path()).read_bytes()


def downloaded(page, press=lambda link: link.click()):
    return json.loads(saved(page, "score.json", press))


def expected(ecg, record, file=None):
    result = json.loads(json.dumps(score(replace(ecg, meta={**ecg.meta, "record": record})).as_dict()))
    return {"file": file or record, **result, "probabilities": pytest.approx(result["probabilities"], abs=2e-6), "scored": ANY}


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
            return [at.dataset.part || at.dataset.print || at.dataset.sort || at.download || at.name || at.className, width];
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
    said = "Scored: 0 of 3, resembles ECGs without a finding of risk; no warnings. Stated: 0."
    assert part(page, "status").inner_text() == said
    page.evaluate(PRINTER)
    tab_to(page, "one")
    page.keyboard.press("Enter")
    page.wait_for_function("window.printed")
    tab_to(page, "score.json")
    result = downloaded(page, lambda _: page.keyboard.press("Enter"))
    assert result == expected(read_example("normal ECG"), "normal ECG")
    assert result["critical_value"] == 0 and result["notice"] == NOT_A_DEVICE
    tab_to(page, "cardiov-heat")
    before = part(page, "picture").get_attribute("src")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => document.querySelector('[data-part=picture]').src !== before", arg=before)
    tab_to(page, "scrolls paper")


def test_a_wrong_score_of_an_example_is_called_wrong(page):
    choose(page, "inferior myocardial infarction")
    label = page.locator(".label").inner_text()
    assert label.startswith("Stated: 3 (inferior myocardial infarction (100 %), ")
    assert "; scored: 0. The network is wrong." in label
    assert "PTB-XL (Wagner et al. 2020, CC BY 4.0), record 12145" in part(page, "result").inner_text()
    upload(page, {path.name: path.read_bytes() for path in FOLDER.glob("12145_hr.*")}, "12145_hr")
    assert page.locator(".label").count() == 0


def test_heat_is_off_until_it_is_switched_on(page):
    choose(page, "ventricular premature complex")
    assert page.locator("[name=cardiov-heat]").evaluate_all("all => all.map(one => [one.value, one.checked])") == [
        ["off", True], ["fine", False], ["medium", False], ["coarse", False]]  # fmt: skip
    sources = {part(page, "picture").get_attribute("src")}
    for level in ("fine", "coarse"):
        draw(page, level)
        caption = part(page, "caption").inner_text()
        assert caption == part(page, "picture").get_attribute("alt") and f"{level} heat map" in caption
        width, source = part(page, "picture").evaluate("image => [image.naturalWidth, image.src]")
        assert width > 0 and source not in sources
        sources.add(source)
    draw(page, "off")
    assert "heat" not in part(page, "caption").inner_text()


def test_every_control_has_a_label(page):
    """Also takes a screenshot of the page, in build/app."""
    choose(page, "inferolateral myocardial infarction")
    page.screenshot(path=ROOT / "build/app/page.png", full_page=True)
    assert page.title() == "Score my ECG" and page.locator("h1").inner_text().startswith("Score my ECG")
    assert page.locator(".notice").inner_text() == NOT_A_DEVICE
    assert part(page, "error").get_attribute("role") == "alert"
    assert part(page, "status").get_attribute("aria-live") == "polite"
    labels = page.locator(".cardiov input, .cardiov select").evaluate_all("inputs => inputs.map(input => input.labels.length)")
    assert len(labels) == 8 and all(labels) and page.locator("img:not([alt])").count() == 0


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_down_only_and_says_that_there_is_more(page, width):
    choose(page, "inferior myocardial infarction")
    assert not page.locator(".more").is_visible()
    page.set_viewport_size({"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator(".more").inner_text() == "There is more to the right: scroll →"
    assert page.locator(".scrolls.paper").evaluate("box => box.scrollWidth > box.clientWidth")
    page.screenshot(path=ROOT / "build/app/phone.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})


def several(folder):
    """Files of three ECGs, and one that is none."""
    for name, example in (("a", "normal ECG"), ("b", "inferolateral myocardial infarction")):
        write_record(folder, name, np.round(1000 * read_example(example).signal).astype(int))
    write_npz(folder / "c.npz", np.round(1000 * read_example("atrial fibrillation").signal).astype(int))
    return {**in_memory(folder), "bad.csv": b"Dear colleague,\n"}


def names(page):
    return page.locator("[data-part=table] tbody tr").evaluate_all("rows => rows.map(row => row.cells[1].innerText)")


def test_several_files_are_sorted_by_urgency(page, tmp_path):
    upload(page, several(tmp_path), "b")
    assert names(page) == ["b.hea", "c.npz", "a.hea", "bad.csv"]
    assert part(page, "status").inner_text().startswith("3 of 4 ECGs are scored.")
    page.screenshot(path=ROOT / "build/app/several.png", full_page=True)
    page.locator("[data-show]", has_text="a.hea").click()
    wait_for(page, "a")
    part(page, "example").focus()
    tab_to(page, "1")
    page.keyboard.press("Enter")
    assert names(page) == ["c.npz", "bad.csv", "b.hea", "a.hea"]
    heads = page.locator("[aria-sort]").evaluate_all("heads => heads.map(head => [head.innerText, head.ariaSort])")
    assert heads == [["ECG", "descending"]]
    page.keyboard.press("Enter")
    assert names(page) == ["a.hea", "b.hea", "bad.csv", "c.npz"]
    files = [row["file"] for row in json.loads(saved(page, "scores.json"))]
    assert files == ["b.hea", "c.npz", "a.hea"]
    rows = saved(page, "scores.csv").decode().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["file", *files] and rows[0].endswith("weights,software,scored")
    choose(page, "normal ECG")
    assert not part(page, "table").is_visible()


def test_files_to_try_are_scored_alike(page):
    content = {name: saved(page, name) for name in ("00303_hr.hea", "00303_hr.dat", "00303_hr.csv")}
    table = content.pop("00303_hr.csv")
    upload(page, content, "00303_hr")
    score_of_record = downloaded(page)
    upload(page, {"00303_hr.csv": table}, "00303_hr")
    assert downloaded(page) | {"file": "00303_hr.hea", "scored": score_of_record["scored"]} == score_of_record


RESOLUTION = 10  # pixels per mm of a printed page that is measured


def spikes():
    """An ECG of spikes of 1 mV, one a second, in µV."""
    signal = np.zeros((12, 5000), int)
    for k in range(-5, 6):
        signal[:, 250 + k :: 500] = 1000 - 200 * abs(k)
    return signal


def printed(page, folder):
    """The pages of the print as arrays (height, width, 3)."""
    page.pdf(path=folder / "print.pdf", prefer_css_page_size=True, print_background=True)
    for old in folder.glob("page*"):
        old.unlink()
    command = ["pdftoppm", "-r", str(25.4 * RESOLUTION), "-png", str(folder / "print.pdf"), str(folder / "page")]
    subprocess.run(command, check=True)
    return [np.asarray(Image.open(path).convert("RGB"), int) for path in sorted(folder.glob("page*"))]


def extent(mask, axis):
    """First and last place along an axis at which a mask holds, in mm."""
    places = np.flatnonzero(mask.any(axis=1 - axis))
    return places[[0, -1]] / RESOLUTION


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="poppler-utils is not installed")
def test_the_print_is_at_true_scale(page, tmp_path):
    upload(page, wfdb(tmp_path, "spikes", signal=spikes(), comments=["<age>: 61  <sex>: F"]), "spikes")
    (sheet,) = printed(page, tmp_path)
    shutil.copy(tmp_path / "page-1.png", ROOT / "build/app/print.png")
    assert np.array(sheet.shape[:2]) / RESOLUTION == pytest.approx([210, 297], abs=0.2)  # A4 across
    grid = (sheet[..., 0] > 220) & (sheet[..., 0] - sheet[..., 1] > 40)
    (top, bottom), (left, right) = extent(grid, 0), extent(grid, 1)
    assert (right - left, bottom - top) == pytest.approx((270, 142), rel=0.01)
    ink, baseline = sheet.max(axis=-1) < 100, bottom - 6 - 16  # mm, of the strip, the lowest row of 32 mm
    pixels = lambda start, ends: slice(*(int(RESOLUTION * (start + end)) for end in ends))  # noqa: E731
    part_of = lambda x, y: ink[pixels(baseline, y), pixels(left, x)]  # noqa: E731
    beats = extent(part_of((14, 264), (-5.5, -4.5)), 1)  # at half their height
    assert np.ptp(beats) == pytest.approx(9 * 25, rel=0.01)  # 9 s
    foot, top = (extent(part_of(x, (-12, 2)), 0).mean() for x in ((5.2, 6.2), (7.5, 10.5)))  # of the calibration pulse
    assert foot - top == pytest.approx(10, rel=0.01)  # 1 mV
    assert np.ptp(extent(part_of((20, 264), (-12, 2)), 0)) == pytest.approx(10.2, abs=0.2)  # 1 mV, and the width of a line


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="poppler-utils is not installed")
def test_all_ecgs_are_printed_on_a_page_each(page, tmp_path):
    upload(page, several(tmp_path / "files"), "b")
    page.evaluate(PRINTER)
    page.locator("[data-print=all]").click()
    page.wait_for_function("window.printed")
    assert page.locator("[data-part=sheets] h2").all_text_contents() == ["b", "c", "a"]
    assert len(printed(page, tmp_path)) == 3
    page.evaluate("window.printed = false")
    page.locator("[data-print=one]").click()
    page.wait_for_function("window.printed")
    assert len(printed(page, tmp_path)) == 1


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="poppler-utils is not installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_captions_of_the_papers_report_stand_over_their_tables(browser, width):
    """A caption in the table's first column would make that wide, and its text would wrap there."""
    page = browser.new_page(viewport={"width": width, "height": 740})
    page.goto((ROOT / "results/ptbxl-sample/report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = page.locator("caption").evaluate_all("""captions => captions.map(caption => {
        const [box, table] = [caption, caption.parentNode].map(element => element.getBoundingClientRect());
        return [table.width - box.width, caption.querySelector("span").getBoundingClientRect().width];
    })""")
    assert len(found) > 20 and all(less < 1 and text <= width for less, text in found)


def test_a_report_is_printed_on_a_page_each(browser, tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / ("long" * 20))  # a name without a place to break
    write_report([str(path) for path in sorted(folder.glob("*.hea"))[:2]], tmp_path / "report.html")
    page = browser.new_page(viewport={"width": 390, "height": 740})
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert len(printed(page, tmp_path)) == 2
    page.close()


def test_own_files_are_scored(page, tmp_path):
    write_npz(tmp_path / "arrays.npz", simulated_signal(seed=8))
    uploads = {"own": wfdb(tmp_path / "own"), "arrays": {"arrays.npz": (tmp_path / "arrays.npz").read_bytes()}}
    for (name, files), file in zip(uploads.items(), ("own.hea", "arrays.npz"), strict=True):
        upload(page, files, name)
        assert downloaded(page) == expected(read_ecg(files), name, file)


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
    assert downloaded(page) == expected(read_ecg({"table.csv": content}, fs=500, unit="uV"), "table", "table.csv")
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
    yield {f"{k}.csv": b"" for k in range(201)}, r"these are 201 files: give 1 to 200"


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
    rows = page.locator("[data-part=result] .listed tbody tr").all_inner_texts()
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
        page.check("[name=cardiov-heat][value=medium]")
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
