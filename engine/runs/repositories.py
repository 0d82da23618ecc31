"""Web addresses of repositories and commits, from the remotes that git knows.

Three hosts are known, by their exact names: a repository elsewhere has no address that could be
told from its remote alone. Nothing of a remote but its path comes into an address, so a password
in it is never shown.
"""

import re
from urllib.parse import quote

# What follows the repository's address, up to the commit.
_COMMITS = {
    "github.com": "commit",
    "gitlab.com": "-/commit",
    "bitbucket.org": "commits",
}
# GitLab's groups can be nested.
_NESTED = frozenset({"gitlab.com"})

_BY_SCHEME = re.compile(
    r"(?:https?|ssh|git|git\+ssh)://(?:[^/@\s]*@)?(?P<host>[^/:@\s]+)(?::\d{1,5})?/(?P<path>\S+)",
    re.IGNORECASE,
)
# As scp writes it: no scheme, a colon before the path.
_BY_COLON = re.compile(r"(?:[^/@:\s]+@)?(?P<host>[^/:@\s]+):(?!//)(?P<path>\S+)")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]{1,255}")


def repository_url(remote: str | None) -> str | None:
    """Give the page of the repository that a remote names; None where that cannot be said."""
    place = _place(remote)
    return None if place is None else f"https://{place[0]}/{place[1]}"


def commit_url(remote: str | None, commit: str | None) -> str | None:
    """Give the page of a commit; None where that cannot be said."""
    place = _place(remote)
    commit = (commit or "").strip()
    if place is None or not commit:
        return None
    host, path = place
    return f"https://{host}/{path}/{_COMMITS[host]}/{quote(commit, safe='')}"


def _place(remote: str | None) -> tuple[str, str] | None:
    """Give host and path, as the host spells them."""
    text = (remote or "").strip()
    found = _BY_SCHEME.fullmatch(text) or _BY_COLON.fullmatch(text)
    if found is None:
        return None
    host = found["host"].lower()
    if host not in _COMMITS:
        return None
    path = found["path"].strip("/").removesuffix(".git")
    segments = path.split("/")
    plain = all(_SEGMENT.fullmatch(part) and part not in {".", ".."} for part in segments)
    enough = len(segments) >= 2 if host in _NESTED else len(segments) == 2
    return (host, path) if plain and enough else None
