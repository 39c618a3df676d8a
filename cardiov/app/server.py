"""The web server of the page "Score my ECG": Voilà, which runs web/app.ipynb for every visitor."""

import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from cardiov.app.uploads import MAX_MIB
from cardiov.errors import ParameterError

if missing := [name for name in ("anywidget", "neurokit2", "voila") if find_spec(name) is None]:
    raise ParameterError(f'the page needs {" and ".join(missing)}: run pip install "cardiov[app]".')

WEB = Path(__file__).with_name("web")
ADDRESS = "127.0.0.1"  # answers only this machine
OPTIONS = {
    "Voila": {
        "ip": ADDRESS, "port_retries": 0, "log_level": "ERROR",
        "tornado_settings": {
            "websocket_max_message_size": 2 * MAX_MIB * 2**20,  # a larger message would cut the connection
            "allow_remote_access": False,  # refuses requests for any other host name
            "ws_ping_timeout": 30000,  # ms, as long as the interval, or tornado warns
            "headers": {  # the browser exchanges data with no other server
                "Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; "
                "frame-ancestors 'none'",
            },
        },
    },
    "VoilaConfiguration": {
        "template": "cardiov", "allow_template_override": "NO", "allow_theme_override": "NO", "show_tracebacks": False,
        "strip_sources": True, "file_allowlist": [], "file_denylist": [".*"],
        "preheat_kernel": True, "default_pool_size": 1,  # prepares the next visitor's page in advance
    },
    "MappingKernelManager": {"cull_idle_timeout": 1800, "cull_interval": 300},  # s, once nobody is connected
    # sockets in files instead of ports, which other programs may take; outside Linux their names would be too long
    "KernelManager": {"transport": "ipc" if sys.platform == "linux" else "tcp"},
}  # fmt: skip


def serve(port=8866, browser=True) -> None:
    """Run the page at this machine's own address until it is interrupted.

    Raises
    ------
    ParameterError
        If the port cannot be used.
    """
    from traitlets.config import Config
    from voila.app import Voila

    check_port(port)
    # Voilà looks there for the template
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(WEB), os.environ.get("JUPYTER_PATH")]))
    notebook = str(WEB / "app.ipynb")
    app = Voila(config=Config(OPTIONS), config_file_paths=[], notebook_path=notebook, port=port, open_browser=browser)
    app.initialize([])
    print(f"Score my ECG: http://{ADDRESS}:{port}/ (Ctrl+C ends it)", flush=True)
    app.start()


def check_port(port) -> None:
    if not 0 < port < 65536:
        raise ParameterError(f"there is no port {port}: give one from 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise ParameterError(f"port {port} cannot be used ({error.strerror}): give another with --port.") from error
