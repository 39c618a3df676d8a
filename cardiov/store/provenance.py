"""What made a result: code version, packages, processor and time."""

import platform
import re
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from cardiov.store.files import ROOT


def git(*arguments: str) -> str | None:
    """What git prints, without its last line's end, or None outside a git repository and before the first commit."""
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


def processor() -> str:
    """Name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.*)", cpuinfo.read_text() if cpuinfo.exists() else "", re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def _package_versions() -> dict[str, str]:
    required = [line for line in metadata.requires("cardiov") or [] if re.search(r"^[^;]*$|extra == .(heat|paper)\b", line)]
    names = sorted({re.match(r"[\w.-]+", line)[0] for line in required} - {"cardiov"})
    return {name: metadata.version(name) for name in names}


def provenance() -> dict:
    """What made a result.

    ``commit`` is None outside a git repository; ``code_changed`` says whether anything but results and figures differs
    from it; ``time`` is UTC (ISO 8601).
    """
    changes = git("status", "--porcelain", "--", ".", ":!results", ":!figures")
    return {
        "commit": git("rev-parse", "HEAD"),
        "code_changed": bool(changes),
        "packages": _package_versions(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
