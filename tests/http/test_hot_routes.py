"""Which requests the lane takes for its own, by their first bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.http.hot_routes import (
    POSE,
    TELLING_BYTES,
    HotRoutes,
    Route,
    Target,
    is_pose,
    may_be_pose,
)

END = Route("/v1/sessions/{id}/end", 16_384)
EVENTS = Route("/v1/sessions/{id}/events", 16_384)
PLAIN = Route("/v1/sync", 16_384)
ROUTES = HotRoutes([END, EVENTS, PLAIN])

HOT = {
    b"POST /v1/pose/frames HTTP/1.1": Target(POSE),
    b"POST /v1/pose/frames?meta={} HTTP/1.1": Target(POSE),
    b"POST /v1/sessions/0000-aB_9/end HTTP/1.1": Target(END, "0000-aB_9"),
    b"POST /v1/sessions/7/end?a=b HTTP/1.1": Target(END, "7"),
    b"POST /v1/sessions/%b/end " % (b"x" * 64): Target(END, "x" * 64),
    b"POST /v1/sessions/7/events HTTP/1.1": Target(EVENTS, "7"),
    b"POST /v1/sync HTTP/1.1": Target(PLAIN),
}
COLD = (
    b"GET /v1/pose/frames",
    b"POST /v1/pose/framez",
    b"POST /v1/pose/frames/",
    b"POST  /v1/pose/frames",
    b"GET /v1/sessions/7/end ",
    b"POST /v1/sessions//end",
    b"POST /v1/sessions/ ",
    b"POST /v1/sessions/7/7/end",
    b"POST /v1/sessions/7/end/",
    b"POST /v1/sessions/7/ends",
    b"POST /v1/sessions/7/end#",
    b"POST /v1/sessions/7%2f/end",
    b"POST /v1/sessions/../end",
    b"POST /v1/sessions/%b" % (b"x" * 65),
    b"POST /v1/sessions/7 ",
    b"POST /v1/syncs",
    b"post /v1/sync ",
    b"\x16\x03\x01",
)


@pytest.mark.parametrize("raw", HOT)
def test_a_hot_request_is_told_as_soon_as_it_can_be(raw: bytes) -> None:
    """Up to the end of its path a request may become hot; from there on it is, with its route."""
    end = min(raw.index(mark, len("POST ")) for mark in (b" ", b"?") if mark in raw[5:])
    for length in range(end + 1):
        assert ROUTES.find(raw[:length]) is None
        assert ROUTES.may_become(raw[:length])
    for length in range(end + 1, len(raw) + 1):
        assert ROUTES.find(raw[:length]) == HOT[raw]


@pytest.mark.parametrize("raw", COLD)
def test_what_is_not_hot_is_told_at_its_last_byte(raw: bytes) -> None:
    """A path that is not in the table, to the letter, is nobody's guess."""
    for more in (b"", b" HTTP/1.1\r\n", b"x" * 100):
        assert ROUTES.find(raw + more) is None
        assert not ROUTES.may_become(raw + more)


@given(st.binary(max_size=80) | st.sampled_from([*HOT, *COLD]), st.binary(max_size=20))
def test_more_bytes_never_change_what_was_told(raw: bytes, more: bytes) -> None:
    """What has been found stays, and what cannot become hot does not."""
    found = ROUTES.find(raw)
    if found is not None:
        assert ROUTES.find(raw + more) == found
    elif not ROUTES.may_become(raw):
        assert ROUTES.find(raw + more) is None


def test_only_pose_batches_wait_their_turn() -> None:
    """The first bytes tell a pose batch; too few of them count as one, and none at all do not."""
    for raw in (*HOT, *COLD):
        first = raw[:TELLING_BYTES]
        assert may_be_pose(first) is is_pose(raw) is (HOT.get(raw) == Target(POSE))
    assert may_be_pose(b"POST /v1/")
    assert not may_be_pose(b"GET /v")
    assert not may_be_pose(b"")
