"""Links that hold for one blob and one time, and the ranges that are asked of it."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.http.replay_links import (
    LinkVerdict,
    NoSuchPart,
    PartOfBlob,
    WholeBlob,
    plan_range,
    sign_link,
    verify_link,
)

SECRET, OLD = b"s" * 32, b"o" * 32


def _key(session: int) -> str:
    return f"{UUID(int=8)}/{UUID(int=session)}.bin.gz"


@pytest.fixture
def key() -> str:
    """Give a blob's key."""
    return _key(1)


@pytest.fixture(scope="session")
def key_of() -> Callable[[int], str]:
    """Give the maker of keys, by a session's number."""
    return _key


def test_a_link_holds_for_its_blob_until_its_time(key: str) -> None:
    """To the second it is valid, then expired; a token is safe in a URL as it is."""
    token = sign_link(key, 1000, SECRET)
    assert verify_link(key, token, [SECRET], now_unix=999.9) is LinkVerdict.VALID
    assert verify_link(key, token, [SECRET], now_unix=1000) is LinkVerdict.EXPIRED
    assert token.replace(".", "").replace("-", "").replace("_", "").isalnum()


def test_a_rotated_secret_still_holds(key: str) -> None:
    """A link signed with the previous secret is valid while that one is given."""
    token = sign_link(key, 1000, OLD)
    assert verify_link(key, token, [SECRET, OLD], now_unix=0) is LinkVerdict.VALID
    assert verify_link(key, token, [SECRET], now_unix=0) is LinkVerdict.FORGED
    assert verify_link(key, token, [], now_unix=0) is LinkVerdict.FORGED


def test_no_part_of_a_link_can_be_altered(key: str, key_of: Any) -> None:
    """Another key, another time, any other character: forged, also when it has expired."""
    token = sign_link(key, 1000, SECRET)
    assert verify_link(key_of(2), token, [SECRET], now_unix=0) is LinkVerdict.FORGED
    longer = token.replace("1000.", "9000.")
    assert verify_link(key, longer, [SECRET], now_unix=0) is LinkVerdict.FORGED
    for at in range(5, len(token)):
        other = "A" if token[at] != "A" else "B"
        # The last character carries four bits only; what differs in the others is another text.
        altered = token[:at] + other + token[at + 1 :]
        assert verify_link(key, altered, [SECRET], now_unix=5000) is LinkVerdict.FORGED


@pytest.mark.parametrize(
    "token", ["", ".", "1000", "1000.", "01000." + "A" * 43, "-1." + "A" * 43, "\u0661." + "A" * 43]
)
def test_what_is_no_token_is_malformed(key: str, token: str) -> None:
    """Nothing is computed for what cannot be a token."""
    assert verify_link(key, token, [SECRET], now_unix=0) is LinkVerdict.MALFORMED


@given(st.text(max_size=80))
def test_no_text_breaks_the_verification(token: str) -> None:
    """Any text is a verdict, and never a valid one."""
    assert verify_link("key", token, [SECRET], now_unix=0) is not LinkVerdict.VALID


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=10-", 10, 100),
        ("bytes=90-1000", 90, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-1000", 0, 100),
        ("BYTES=5-6", 5, 7),
        (" bytes= 5-6 , ", 5, 7),
        ("bytes=0-" + "9" * 5000, 0, 100),
        ("bytes=-" + "9" * 5000, 0, 100),
        ("bytes=" + "0" * 5000 + "7-", 7, 100),
    ],
)
def test_one_range_is_served(header: str, start: int, end: int) -> None:
    """What lies inside the blob is given, and the header says what that is."""
    plan = plan_range(header, 100)
    assert plan == PartOfBlob(start, end, 100)
    assert isinstance(plan, PartOfBlob)
    assert plan.content_range == f"bytes {start}-{end - 1}/100"


@pytest.mark.parametrize(
    "header",
    [
        None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=1-2,4-5",
        "bytes=--1", "bytes=1-2-3", "lines=1-2", "bytes=+1-2", "bytes =1-2", "bytes=\u0661-\u0662",
        "1-2",
    ],
)  # fmt: skip
def test_anything_else_is_answered_with_the_whole(header: str | None) -> None:
    """No header, a malformed one, another unit and several ranges are as if there were none."""
    assert plan_range(header, 100) == WholeBlob(100)


@pytest.mark.parametrize(
    "header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=" + "9" * 99 + "-"]
)
def test_a_range_outside_is_told_with_the_size(header: str) -> None:
    """It is 416, and the client learns how long the blob is."""
    plan = plan_range(header, 100)
    assert plan == NoSuchPart(100)
    assert isinstance(plan, NoSuchPart)
    assert plan.content_range == "bytes */100"


def test_an_empty_blob_has_no_part() -> None:
    """Of no bytes nothing can be a part."""
    assert plan_range("bytes=0-", 0) == NoSuchPart(0)
    assert plan_range("bytes=-5", 0) == NoSuchPart(0)


@pytest.mark.parametrize(
    ("if_range", "etag", "part"),
    [
        ('"a"', '"a"', True),
        ('"a"', '"b"', False),
        ('W/"a"', 'W/"a"', False),
        ("Sat, 21 Nov 2026 15:00:00 GMT", '"a"', False),
        ('"a"', None, False),
    ],
)
def test_a_range_of_another_version_is_not_served(
    if_range: str, etag: str | None, *, part: bool
) -> None:
    """With If-Range the part comes only of exactly that version, else the whole of the new one."""
    plan = plan_range("bytes=0-4", 100, if_range=if_range, etag=etag)
    assert plan == (PartOfBlob(0, 5, 100) if part else WholeBlob(100))


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_part_is_what_slicing_gives(size: int, first: int, last: int) -> None:
    """Against Python's own slices: a part is that slice, and 416 exactly where it is empty."""
    content = bytes(range(size))
    plan = plan_range(f"bytes={first}-{last}", size)
    wanted = content[first : last + 1]
    match plan:
        case PartOfBlob(start, end):
            assert content[start:end] == wanted
            assert wanted
        case NoSuchPart():
            assert first >= size
            assert first <= last
        case WholeBlob():
            assert last < first
    suffix = plan_range(f"bytes=-{first}", size)
    if isinstance(suffix, PartOfBlob):
        assert content[suffix.start : suffix.end] == content[-first:]
    else:
        assert suffix == NoSuchPart(size)
        assert not (first and size)
