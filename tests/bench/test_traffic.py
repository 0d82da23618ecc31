from pathlib import Path
from uuid import UUID

import pytest

from penstock.bench.servers import SECRET
from penstock.bench.traffic import (
    Own,
    Spread,
    make_traffic,
    mint_token,
    org_id,
    principal_id,
    session_id,
    write_grants,
)
from penstock.engine.ports import Purpose
from penstock.engine.wire import decode
from penstock.http.problems import Problem
from penstock.http.session_tokens import TokenRefusedError, TokenVerifier
from penstock.service import SystemClock
from penstock.storage.grants import FileGrants


async def test_penstock_accepts_what_is_made(tmp_path: Path) -> None:
    """The tokens hold, their principals consent, and the batches are batches of a usual size."""
    traffic = make_traffic(3, SECRET)
    write_grants(tmp_path / "grants.json", 3)
    clock = SystemClock()
    grants = FileGrants(tmp_path / "grants.json", clock)
    verifier = TokenVerifier([SECRET], cache_entries=8, leeway_seconds=5)
    sessions = set()
    for head in traffic.heads:
        authorization = head.partition(b"Authorization: ")[2].strip()
        who = verifier.verify(authorization, clock.unix()).identity
        for purpose in (Purpose.BIOMETRIC, Purpose.ANALYTICS):
            assert await grants.granted(who.principal_id, who.org_id, purpose)
        sessions.add(who.session_id)
    assert len(sessions) == 3
    assert 4500 < traffic.body_bytes < 4900
    assert len(traffic.batches) == 64
    ends = [-1]
    for part in traffic.batches:
        length, _, member = part.partition(b"\r\n\r\n")
        assert length == b"Content-Length: %d" % len(member)
        batch = decode(member)
        assert batch.frame_count == 10
        assert batch.timestamps_ms[0] > ends[-1]
        ends.append(batch.timestamps_ms[-1])


def test_batches_can_have_another_size() -> None:
    """The caller chooses the frames of a batch and the length of the cycle."""
    traffic = make_traffic(1, SECRET, frames_a_batch=30, batches=2)
    members = [part.partition(b"\r\n\r\n")[2] for part in traffic.batches]
    assert [decode(member).frame_count for member in members] == [30, 30]


@pytest.mark.parametrize("number", [0, 7, 40_001])
@pytest.mark.parametrize("org", [0, 19])
def test_the_ids_are_those_of_the_tokens(number: int, org: int) -> None:
    """Who asks for a session's ids gets, in the canonical form, what its token says."""
    verifier = TokenVerifier([SECRET], cache_entries=8, leeway_seconds=5)
    token = mint_token(SECRET, number, 1000, org=org)
    who = verifier.verify(f"Bearer {token}".encode(), 1000).identity
    ids = (session_id(number), principal_id(number), org_id(org))
    assert (who.session_id, who.principal_id, who.org_id) == ids
    assert tuple(str(UUID(told)) for told in ids) == ids
    assert (org_id() == org_id(org)) == (org == 0)


async def test_organisations_have_their_quotas(tmp_path: Path) -> None:
    """Sessions of several organisations are granted in their own, and quotas are what was told."""
    path = tmp_path / "grants.json"
    write_grants(path, 4, org_of=lambda number: number % 2, quotas={0: 2.5})
    grants = FileGrants(path, SystemClock())
    for number in range(4):
        for org in range(2):
            granted = await grants.granted(principal_id(number), org_id(org), Purpose.BIOMETRIC)
            assert granted == (org == number % 2)
    assert (await grants.of_org(org_id(0))).batches_per_second == 2.5
    assert (await grants.of_org(org_id(1))).batches_per_second is None


@pytest.mark.parametrize("ttl_seconds", [0, -60])
def test_a_token_can_be_minted_expired(ttl_seconds: int) -> None:
    """A client whose token is past its time is refused for that, and for nothing else."""
    verifier = TokenVerifier([SECRET], cache_entries=8, leeway_seconds=5)
    token = mint_token(SECRET, 0, 10_000, ttl_seconds=ttl_seconds)
    with pytest.raises(TokenRefusedError) as refused:
        verifier.verify(f"Bearer {token}".encode(), 10_000)
    assert refused.value.problem is Problem.TOKEN_EXPIRED
    # Before it expired, it held.
    assert verifier.verify(f"Bearer {token}".encode(), 9_000).issued_unix < 9_000


def test_a_token_lasts_as_long_as_it_is_told() -> None:
    """A time to live is counted from now."""
    verifier = TokenVerifier([SECRET], cache_entries=8, leeway_seconds=5)
    token = mint_token(SECRET, 0, 10_000, ttl_seconds=30)
    claims = verifier.verify(f"Bearer {token}".encode(), 10_029)
    assert (claims.issued_unix, claims.expires_unix) == (10_000, 10_030)


def test_requests_go_round() -> None:
    """Spread requests visit each session in turn and then send the next batch of the cycle."""
    traffic = make_traffic(4, SECRET)
    spread = Spread(traffic, range(1, 4))
    sent = [spread(0) for _ in range(7)]
    batches = (0, 0, 0, 1, 1, 1, 2)
    heads = (1, 2, 3, 1, 2, 3, 1)
    assert sent == [
        traffic.heads[h] + traffic.batches[b] for h, b in zip(heads, batches, strict=True)
    ]


def test_a_connection_can_speak_for_one_session() -> None:
    """With own connections, each one sends its session's batches in order."""
    traffic = make_traffic(3, SECRET)
    own = Own(traffic, range(1, 3))
    assert [own(1), own(1), own(0)] == [
        traffic.heads[2] + traffic.batches[0],
        traffic.heads[2] + traffic.batches[1],
        traffic.heads[1] + traffic.batches[0],
    ]
