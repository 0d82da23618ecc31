from pathlib import Path

from penstock.bench.servers import SECRET
from penstock.bench.traffic import Own, Spread, make_traffic, write_grants
from penstock.engine.ports import Purpose
from penstock.engine.wire import decode
from penstock.http.session_tokens import TokenVerifier
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
        assert await grants.granted(who.principal_id, who.org_id, Purpose.BIOMETRIC)
        sessions.add(who.session_id)
    assert len(sessions) == 3
    assert 4500 < traffic.body_bytes < 4900
    ends = [-1]
    for part in traffic.batches:
        length, _, member = part.partition(b"\r\n\r\n")
        assert length == b"Content-Length: %d" % len(member)
        batch = decode(member)
        assert batch.frame_count == 10
        assert batch.timestamps_ms[0] > ends[-1]
        ends.append(batch.timestamps_ms[-1])


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
