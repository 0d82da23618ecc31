"""Addresses of repositories and commits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.runs.repositories import commit_url, repository_url

GITHUB = "https://github.com/owner/repo"
GITLAB = "https://gitlab.com/group/sub/repo"
BITBUCKET = "https://bitbucket.org/team/repo"


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://github.com/owner/repo", GITHUB),
        ("https://github.com/owner/repo.git", GITHUB),
        ("https://github.com/owner/repo/", GITHUB),
        ("http://github.com/owner/repo", GITHUB),
        ("https://GitHub.com/owner/repo", GITHUB),
        ("https://user:secret@github.com/owner/repo.git", GITHUB),
        ("git@github.com:owner/repo.git", GITHUB),
        ("github.com:owner/repo", GITHUB),
        ("ssh://git@github.com/owner/repo.git", GITHUB),
        ("ssh://git@github.com:22/owner/repo", GITHUB),
        ("git://github.com/owner/repo.git", GITHUB),
        ("  https://github.com/owner/repo\n", GITHUB),
        ("git@gitlab.com:group/sub/repo.git", GITLAB),
        ("https://gitlab.com/group/sub/repo", GITLAB),
        ("git@bitbucket.org:team/repo.git", BITBUCKET),
        ("https://me@bitbucket.org/team/repo.git", BITBUCKET),
    ],
)
def test_every_way_to_write_a_remote_gives_the_page(remote: str, page: str) -> None:
    """https, ssh and scp forms of the three hosts come to the same address, without passwords."""
    assert repository_url(remote) == page


@pytest.mark.parametrize(
    "remote",
    [
        None,
        "",
        "repo",
        "https://github.com.evil.example/owner/repo",
        "https://evil.example/github.com/owner/repo",
        "https://github.com@evil.example/owner/repo",
        "https://www.github.com/owner/repo",
        "https://notgithub.com/owner/repo",
        "git@github.com.evil.example:owner/repo",
        "https://git.example.org/owner/repo",
        "https://github.com/owner",
        "https://github.com/owner/repo/tree/main",
        "https://github.com/owner/../repo",
        "https://github.com/owner/re po",
        'https://github.com/owner/re"po',
        "javascript://github.com/owner/repo",
        "file:///srv/repo",
        "/srv/git/repo.git",
    ],
)
def test_anything_else_has_no_page(remote: str | None) -> None:
    """Hosts are compared whole; what is no repository of theirs is None, never a guess."""
    assert repository_url(remote) is None
    assert commit_url(remote, "abc1234") is None


def test_commits_are_where_each_host_has_them() -> None:
    """The three hosts have three paths."""
    assert commit_url(GITHUB, "abc1234") == f"{GITHUB}/commit/abc1234"
    assert commit_url(GITLAB, "abc1234") == f"{GITLAB}/-/commit/abc1234"
    assert commit_url(BITBUCKET, "abc1234") == f"{BITBUCKET}/commits/abc1234"
    assert commit_url(GITHUB, None) is None
    assert commit_url(GITHUB, " ") is None
    assert commit_url(GITHUB, "a/../../b") == f"{GITHUB}/commit/a%2F..%2F..%2Fb"


@given(st.text(max_size=80))
def test_no_remote_leads_elsewhere(remote: str) -> None:
    """Whatever is given, an address is one of the three hosts', or none."""
    url = repository_url(remote)
    hosts = ("https://github.com/", "https://gitlab.com/", "https://bitbucket.org/")
    assert url is None or url.startswith(hosts)
