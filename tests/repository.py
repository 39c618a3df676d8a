"""Git repositories for tests."""

import shutil
import subprocess
from pathlib import Path

from cardiov.store import files
from cardiov.store.provenance import git


def git_repository(root):
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *identity, *command], cwd=root, check=True, capture_output=True)


def copy_committed(folder: Path) -> None:
    """Make a folder that can stand in for the repository (``CARDIOV_ROOT``): committed results, figures, and a link to the data.

    Results and figures are as git has them staged, whatever a run on this machine has made since; outside git as they are.
    """
    names = git("ls-files", "--", "results", "figures")
    if names:
        git("checkout-index", f"--prefix={folder}/", "--", *names.splitlines())
    else:
        for name in ("results", "figures"):
            shutil.copytree(files.ROOT / name, folder / name)
    folder.mkdir(parents=True, exist_ok=True)  # git makes none where nothing is staged
    (folder / "data").symlink_to(files.ROOT / "data")
