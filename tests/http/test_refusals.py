"""Refusals that need a certain state of the service, on the lane and on Quart alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from penstock.engine import wire
from penstock.engine.grants import CachedGrants
from penstock.engine.outcomes import Reason
from penstock.engine.ports import ConsentUnknownError
from penstock.engine.sessions import Sessions

PATHS = pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])
SLOW_SPOOL = {"spool_flush_seconds": 60.0, "spool_flush_bytes": 64 << 20}

Asked = Callable[..., Any]


@pytest.fixture
def ask(dial: Callable[..., Any], make_request: Callable[..., bytes]) -> Asked:
    """Give the way to send requests, each on one connection, and get the last one's answer."""

    async def asked(service: Any, *requests: dict[str, Any]) -> Any:
        async with dial(service) as client:
            replies = []
            for request in requests:
                await client.send(make_request(**request))
                replies.append(await client.reply())
            assert await client.usable()
            return replies[-1]

    return asked


def _grants(folder: Path, *, consents: bool, rate: float | None = None) -> Path:
    org_id = str(UUID(int=8))
    who = {"principal_id": str(UUID(int=7)), "org_id": org_id, "purposes": ["biometric"]}
    document = {
        "consents": [who] if consents else [],
        "quotas": [] if rate is None else [{"org_id": org_id, "batches_per_second": rate}],
    }
    path = folder / "grants.json"
    path.write_bytes(orjson.dumps(document))
    return path


@PATHS
async def test_no_consent(serve: Any, ask: Asked, tmp_path: Path, *, express_lane: bool) -> None:
    """Without consent the answer is 403, says for what, and the frames are counted."""
    grants = _grants(tmp_path, consents=False)
    async with serve(express_lane=express_lane, grants_file=grants) as service:
        reply = await ask(service, {})
        assert (reply.status, reply.code) == (403, "consent_required")
        assert reply.json["purpose"] == "biometric"
        assert service.ledger.process.ended == {Reason.CONSENT_REQUIRED: 10}


@PATHS
async def test_unknown_consent(
    serve: Any, ask: Asked, monkeypatch: pytest.MonkeyPatch, *, express_lane: bool
) -> None:
    """Where nobody can say whether there is consent, the answer is 503 with Retry-After."""

    async def unknown(*_: object) -> bool:
        raise ConsentUnknownError("nobody answers", retry_after=1.5)

    monkeypatch.setattr(CachedGrants, "granted", unknown)
    monkeypatch.setattr(CachedGrants, "granted_nowait", lambda *_: None)
    async with serve(express_lane=express_lane) as service:
        reply = await ask(service, {})
        assert (reply.status, reply.code) == (503, "consent_unknown")
        assert reply.headers["retry-after"] == "2"
        assert reply.json["retry_after_ms"] == 1500
        assert service.ledger.process.ended == {Reason.CONSENT_UNKNOWN: 10}


@PATHS
async def test_session_rate(serve: Any, ask: Asked, *, express_lane: bool) -> None:
    """Beyond its burst a session gets 429 with the setting, its value and when to come back."""
    options = {"rate_batches_per_second": 0.01, "rate_burst": 2}
    async with serve(express_lane=express_lane, **options) as service:
        reply = await ask(service, {}, {}, {})
        assert (reply.status, reply.code) == (429, "rate_session_exceeded")
        assert reply.json["setting"] == "rate_batches_per_second"
        assert reply.json["limit"] == 0.01
        assert 90_000 < reply.json["retry_after_ms"] <= 100_000
        assert int(reply.headers["retry-after"]) * 1000 >= reply.json["retry_after_ms"]
        assert (await ask(service, {"session": 2})).status == 202


@PATHS
async def test_org_rate(serve: Any, ask: Asked, tmp_path: Path, *, express_lane: bool) -> None:
    """An organisation's quota holds over all its sessions."""
    grants = _grants(tmp_path, consents=True, rate=0.01)
    async with serve(express_lane=express_lane, grants_file=grants) as service:
        reply = await ask(service, {"session": 1}, {"session": 2})
        assert (reply.status, reply.code) == (429, "rate_org_exceeded")
        assert reply.json["limit"] == 0.01
        assert "retry-after" in reply.headers


@PATHS
async def test_full_inbox(serve: Any, ask: Asked, turn: Any, *, express_lane: bool) -> None:
    """A batch beyond the inbox's bound gets 429; what the inbox holds still reaches the disk."""
    async with serve(express_lane=express_lane, **SLOW_SPOOL) as service:
        await turn(service, inbox_soft_batches=1, inbox_batches=1, loss_percent=0)
        reply = await ask(service, {}, {})
        assert (reply.status, reply.code) == (429, "inbox_full")
        assert reply.json["setting"] == "inbox_batches"
        assert service.ledger.process.pending == 10
    assert service.ledger.process.ended == {Reason.INBOX_FULL: 10, Reason.USED: 10}


@PATHS
async def test_full_frame_memory(
    serve: Any, ask: Asked, make_batch: Callable[..., bytes], *, express_lane: bool
) -> None:
    """When waiting frames have used up the process's memory for them, the answer is 429."""
    large = make_batch(1900)
    options = {"frame_memory_bytes": 4 << 20, **SLOW_SPOOL}
    async with serve(express_lane=express_lane, **options) as service:
        reply = await ask(service, *({"body": large, "session": n} for n in range(1, 6)))
        assert (reply.status, reply.code) == (429, "frame_memory_full")
        assert reply.json["setting"] == "frame_memory_bytes"


@PATHS
async def test_too_many_sessions(serve: Any, ask: Asked, *, express_lane: bool) -> None:
    """A session beyond the number that may live gets 429; those that live go on."""
    async with serve(express_lane=express_lane, max_live_sessions=1) as service:
        reply = await ask(service, {"session": 1}, {"session": 2})
        assert (reply.status, reply.code) == (429, "sessions_full")
        assert (await ask(service, {"session": 1})).status == 202


@PATHS
async def test_draining(serve: Any, ask: Asked, *, express_lane: bool) -> None:
    """A batch that arrives once the sessions are brought to rest gets 503 and is counted."""
    async with serve(express_lane=express_lane) as service:
        service.sessions._draining = True
        reply = await ask(service, {})
        assert (reply.status, reply.code) == (503, "draining")
        assert "retry-after" in reply.headers
        assert service.ledger.process.ended == {Reason.DRAINING: 10}


@PATHS
async def test_unreadable_file(
    serve: Any, ask: Asked, tmp_path: Path, *, express_lane: bool
) -> None:
    """A session whose spool file cannot be read gets 503, and others are served."""
    spool = tmp_path / "data1" / "spool"
    spool.mkdir(parents=True)
    (spool / f"{UUID(int=1)}.bin.gz").mkdir()
    async with serve(errors=1, express_lane=express_lane) as service:
        reply = await ask(service, {})
        assert (reply.status, reply.code) == (503, "recovery_failed")
        assert str(tmp_path) not in reply.body.decode()
        assert (await ask(service, {"session": 2})).status == 202


@PATHS
async def test_another_owner(
    serve: Any, ask: Asked, make_token: Callable[..., str], *, express_lane: bool
) -> None:
    """A token of another principal for a known session gets 401, and changes nothing."""
    other = make_token(1, principal=99)
    async with serve(express_lane=express_lane) as service:
        foreign = {"changes": {"Authorization": f"Bearer {other}"}}
        reply = await ask(service, {}, foreign)
        assert (reply.status, reply.code) == (401, "token_wrong_session")
        assert reply.headers["www-authenticate"] == "Bearer"
        reply = await ask(service, {})
        assert reply.json["buffer_position_bytes"] == 20 * wire.LANDMARK_BYTES_PER_FRAME


@PATHS
async def test_a_fault_of_the_service(
    serve: Any, ask: Asked, monkeypatch: pytest.MonkeyPatch, *, express_lane: bool
) -> None:
    """A fault is 500 without internals; it is logged, and the connection lives on."""

    def broken(*_: object) -> None:
        raise LookupError("the words of an internal error")

    async with serve(errors=1, express_lane=express_lane) as service:
        with monkeypatch.context() as patch:
            patch.setattr(Sessions, "offer_nowait", broken)
            reply = await ask(service, {})
        assert (reply.status, reply.code) == (500, "internal_error")
        assert b"internal error" not in reply.body.replace(b"internal_error", b"")
        assert (await ask(service, {})).status == 202
