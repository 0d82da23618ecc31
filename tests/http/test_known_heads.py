"""A head is known again only where every byte but the length's digits is the same."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine.checkpoint import SessionIdentity
from penstock.http.exchange import Head
from penstock.http.known_heads import KnownHeads
from penstock.http.session_tokens import SessionClaims

CLAIMS = SessionClaims(SessionIdentity("s", "p", "o"), 0, 100)
HEAD = (
    b"POST /v1/pose/frames HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n"
    b"Content-Length: %b\r\nContent-Type: application/octet-stream\r\n\r\n"
)


def _known() -> KnownHeads:
    heads = KnownHeads(4)
    key, found = heads.find(HEAD % b"7")
    assert found is None
    heads.remember(Head(content_type=b"t", origin=b"o", key=key), CLAIMS)
    return heads


def test_a_head_is_known_whatever_its_length_is() -> None:
    """The same head with another Content-Length is found, with that length."""
    _, head = _known().find(HEAD % b"4711")
    assert head is not None
    assert (head.content_length, head.content_type, head.origin) == (4711, b"t", b"o")
    assert head.claims is CLAIMS


@given(st.integers(0, len(HEAD) + 1), st.binary(max_size=2), st.integers(0, 2))
@settings(max_examples=400, deadline=None)
def test_any_other_head_is_not_known(at: int, inserted: bytes, removed: int) -> None:
    """A head with other bytes anywhere but in the length's digits is not taken for a known one."""
    original = HEAD % b"42"
    changed = original[:at] + inserted + original[at + removed :]
    _, head = _known().find(changed)
    if head is not None:
        digits = b"%d" % (head.content_length or 0)
        begin = original.index(b"42")
        assert changed[:begin] == original[:begin]
        assert changed[begin:].lstrip(b"0").startswith(digits.lstrip(b"0"))
        assert changed.endswith(original[begin + 2 :])
        assert changed[begin : -len(original[begin + 2 :])].isdigit()


@pytest.mark.parametrize("length", [b"", b" 5", b"5 ", b"+5", b"-5", b"0x5", b"5,5", b"1" * 19])
def test_a_strange_length_has_no_key(length: bytes) -> None:
    """What is not a plain number is the parser's to judge, each time."""
    assert _known().find(HEAD % length) == (b"", None)


def test_a_head_without_the_field_has_no_key() -> None:
    """In another spelling the field is the parser's, too."""
    assert _known().find((HEAD % b"5").replace(b"Content-Length", b"content-length")) == (b"", None)


@pytest.mark.parametrize("field", ["query", "sidecar", "request_id"])
def test_what_differs_each_time_is_not_kept(field: str) -> None:
    """Heads with a sidecar or an id of their own would only push others out."""
    heads = KnownHeads(4)
    changes: dict[str, Any] = {field: b"x"}
    heads.remember(Head(key=b"k", **changes), CLAIMS)
    assert len(heads) == 0


def test_the_oldest_heads_go_first() -> None:
    """No more are kept than may be."""
    heads = KnownHeads(2)
    keys = [heads.find((HEAD % b"1").replace(b"Host: x", b"Host: %d" % n))[0] for n in range(3)]
    for key in keys:
        heads.remember(Head(key=key), CLAIMS)
    assert len(heads) == 2
    found = [heads.find((HEAD % b"1").replace(b"Host: x", b"Host: %d" % n))[1] for n in range(3)]
    assert [head is not None for head in found] == [False, True, True]
