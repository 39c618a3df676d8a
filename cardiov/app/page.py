"""The page "Score my ECG": drop a file or pick a sample, and see what `cardiov.scoring.record` says about it.

Voilà runs notebooks/app.ipynb, whose page is one widget: ``app.html`` is what it shows, ``app.js`` sends what the
visitor does as messages, and Python answers each by a message of HTML. An upload comes as bytes in memory and is only
ever read by `cardiov.read_ecg`. Every visitor has a kernel of their own.
"""

import json
import os
import socket
import sys
import threading
import traceback
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from cardiov.errors import CardioVError, ParameterError, SignalError
from cardiov.mapping import LEVELS
from cardiov.store.files import ROOT

if missing := [name for name in ("anywidget", "voila") if find_spec(name) is None]:
    raise ParameterError(f'the page needs {" and ".join(missing)}: run pip install "cardiov[app]".')

import anywidget
import traitlets

WEB = Path(__file__).with_name("web")
LIMIT = 16  # MiB, of an upload: an hour of twelve leads at 200 Hz
FILES = 4  # of one ECG; WFDB has two
SAMPLES = {  # name: a case of `cardiov.data.demo.dataset.example`, of which the first patient is taken, however it is scored
    "normal": "NORM SR",
    "atrial fibrillation": "AFIB",
    "premature ventricular beats": "PVC NDT SR",
    "left bundle branch block": "CLBBB SR",
    "infarction of the anterior wall": "AMI SR",
}
OPTIONS = {
    "Voila": {
        "ip": "127.0.0.1",  # only this machine is answered
        "port_retries": 0,
        "log_level": "ERROR",
        "tornado_settings": {
            "websocket_max_message_size": 2 * LIMIT * 2**20,  # a larger message would cut the connection
            "allow_remote_access": False,  # under no other name than this machine's
            "ws_ping_timeout": 30000,  # ms, as long as the interval, or tornado complains of it
            "headers": {  # the browser fetches nothing from, and sends nothing to, any other server
                "Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; "
                "frame-ancestors 'none'",
            },
        },
    },
    "VoilaConfiguration": {
        "template": "cardiov",
        "allow_template_override": "NO",
        "allow_theme_override": "NO",
        "show_tracebacks": False,
        "strip_sources": True,
        "file_allowlist": [],
        "file_denylist": [".*"],
        "preheat_kernel": True,  # the page of the next visitor is there before they come
        "default_pool_size": 1,
    },
    "MappingKernelManager": {"cull_idle_timeout": 1800, "cull_interval": 300},  # s, once nobody is connected
    # without ports that another program may take first; elsewhere the sockets' names would be too long
    "KernelManager": {"transport": "ipc" if sys.platform == "linux" else "tcp"},
}
UNEXPECTED = "Something went wrong that should not: the program's terminal says what, and another ECG can be tried."


class Page(anywidget.AnyWidget):
    """The page as a widget. Every message of the browser is answered, also where something goes wrong."""

    _esm = WEB / "app.js"
    _css = WEB / "app.css"
    form = traitlets.Unicode().tag(sync=True)
    limit = traitlets.Int(LIMIT * 2**20).tag(sync=True)  # bytes
    files = traitlets.Int(FILES).tag(sync=True)

    def __init__(self):
        from cardiov.app import sheet

        super().__init__(form=sheet.html("app.html", "form", list(SAMPLES), LIMIT))
        self.shown = None
        self.on_msg(self._answer)

    def __repr__(self):
        return "the page, as a widget"

    def _answer(self, _, message, buffers):
        try:
            reply = {"sample": self._sample, "files": self._files, "heat": self._heat}[message["ask"]]
            answer = reply(message, buffers)
        except CardioVError as error:
            answer = {"error": str(error)}
        except Exception:  # of which the visitor would never hear
            traceback.print_exc(file=sys.__stderr__)
            answer = {"error": UNEXPECTED}
        self.send({**answer, "request": message.get("request")})

    def _sample(self, message, _):
        from cardiov.data.demo.dataset import example

        ecg = example(SAMPLES[message["name"]])
        return self._scored(replace(ecg, meta={**ecg.meta, "record": f"simulated: {message['name']}"}))

    def _files(self, message, buffers):
        from cardiov.ecg.leads import read_ecg

        check_upload(message["names"], buffers)
        files = {name: bytes(content) for name, content in zip(message["names"], buffers, strict=True)}
        return self._scored(read_ecg(files, fs=message.get("fs"), unit=message.get("unit")))

    def _scored(self, ecg):
        from cardiov.app import sheet
        from cardiov.scoring.record import score

        self.shown = None  # should this one not be scored
        self.shown = sheet.shown(ecg, score(ecg, heat=True))
        return {"html": result(self.shown), "said": said(self.shown.score)}

    def _heat(self, message, _):
        from cardiov.app import sheet

        stage = message["stage"]
        if self.shown is None or stage not in range(8):
            raise ParameterError("there is no ECG to draw: choose one first.")
        return {"picture": sheet.picture(self.shown, stage), "alt": sheet.words(self.shown, stage)}


def page() -> Page:
    """The page of one visitor; torch and the network are loaded meanwhile, for the first score not to wait for them."""
    threading.Thread(target=_load, daemon=True).start()
    return Page()


def _load():
    from cardiov.scoring import gradcam, record  # noqa: F401

    record.load_model()


def check_upload(names, contents) -> None:
    """Refuse what the browser should have refused.

    Raises
    ------
    SignalError
        If there are no files, too many or too large ones.
    """
    size = sum(memoryview(content).nbytes for content in contents)
    if not 0 < len(names) <= FILES:
        raise SignalError(f"{len(names)} files are not one ECG: give the 1 to {FILES} files of one.")
    if size > LIMIT * 2**20:
        raise SignalError(f"the upload has {size / 2**20:.1f} MiB: give at most {LIMIT} MiB, or cut the record.")


def said(score) -> str:
    """A score in one sentence, for those who hear the page."""
    warnings = {0: "no warnings", 1: "1 warning"}.get(len(score.warnings), f"{len(score.warnings)} warnings")
    return f"Scored: critical value {score.critical_value} of 3, {LEVELS[score.critical_value]}; {warnings}."


def result(shown) -> str:
    """HTML of a score and its ECG, which `cardiov.app.sheet.shown` gives."""
    from cardiov.app import sheet
    from cardiov.scoring.record import load_model

    data = load_model().metadata.get("data", "unknown data")
    json_address = "data:application/json;charset=utf-8," + quote(json.dumps(shown.score.as_dict(), indent=1))
    return sheet.html("app.html", "result", shown.score, sheet.picture(shown), sheet.words(shown), data, json_address)


# The server


def serve(port=8866, browser=True) -> None:
    """Run the page on this machine's own address, until it is interrupted.

    Raises
    ------
    ParameterError
        If the port is in use or cannot be used.
    """
    from traitlets.config import Config
    from voila.app import Voila

    _check_port(port)
    # where Voilà finds the template
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(WEB), os.environ.get("JUPYTER_PATH")]))
    app = Voila(
        config=Config(OPTIONS), config_file_paths=[], notebook_path=str(ROOT / "notebooks/app.ipynb"), port=port,
        open_browser=browser,
    )  # fmt: skip
    app.initialize([])
    print(f"Score my ECG: http://{OPTIONS['Voila']['ip']}:{port}/ (Ctrl+C ends it)", flush=True)
    app.start()


def _check_port(port):
    if not 0 < port < 65536:
        raise ParameterError(f"there is no port {port}: give one from 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((OPTIONS["Voila"]["ip"], port))
        except OSError as error:
            raise ParameterError(f"port {port} cannot be used ({error.strerror}): give another by --port.") from error
