"""A git repository of its own for a test."""

import subprocess


def git_repository(root):
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *identity, *command], cwd=root, check=True, capture_output=True)
