"""What git says of the folder that an agent works in."""

import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

_SECONDS = 2.0


def git_facts(folder: Path, seconds: float = _SECONDS) -> dict[str, str]:
    """Give `git_repo`, `git_branch` and `git_commit_hash`, as far as git can tell them in time."""
    share = seconds / 3
    remote = _git(folder, share, "config", "--get", "remote.origin.url")
    branch = _git(folder, share, "symbolic-ref", "--quiet", "--short", "HEAD")
    commit = _git(folder, share, "rev-parse", "--verify", "--quiet", "HEAD")
    found = {
        "git_repo": _without_password(remote),
        "git_branch": branch,
        "git_commit_hash": commit,
    }
    return {name: value for name, value in found.items() if value}


def _git(folder: Path, seconds: float, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git the agent uses
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def _without_password(remote: str) -> str:
    """Leave out who logs in where that stands in a URL: tokens are written there."""
    parts = urlsplit(remote)
    if parts.scheme not in {"http", "https"} or "@" not in parts.netloc:
        return remote
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
