"""Replays: who gets a link, what the link opens and for how long, and parts of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from penstock.engine.blob_port import BlobReason, BlobUnavailableError, replay_key
from penstock.engine.records import AuditPage
from penstock.http.replay_links import sign_link
from penstock.http.roles import Role
from penstock.storage.blobs.store import Blobs
from penstock.storage.ledger import open_sqlite_ledger

PATIENT, SPECIALIST, CLINIC, _ = Role
ORG, OTHER_ORG, ANN, BOB, STAFF = (str(UUID(int=n)) for n in (8, 9, 7, 11, 20))
CONTENT = bytes(range(256)) * 20
REPLAY = f"/v1/exercise-sessions/{UUID(int=1)}/replay"


@pytest.fixture
def stored(core: Any, make_event: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Give the opener of services that hold the replay of Ann's session."""

    @asynccontextmanager
    async def opened(**changes: Any) -> AsyncIterator[Any]:
        async with core(**changes) as api:
            await api.publish(make_event(1))
            await api.store_replay(1, CONTENT)
            yield api

    return opened


async def test_a_link_gives_the_whole_replay_without_a_token(
    stored: Any, make_user: Callable[..., str]
) -> None:
    """To the owner and to specialists of his organisation; bytes as they were stored."""
    async with stored() as api:
        for who in (make_user(PATIENT, ANN), make_user(SPECIALIST)):
            link = await api.get(REPLAY, who)
            assert link.status == 200
            assert link.headers["cache-control"] == "no-store"
            assert set(link.json) == {"url", "expires_at"}
            assert link.json["url"].startswith("/v1/replays/")
            reply = await api.get(link.json["url"])
            assert (reply.status, reply.body) == (200, CONTENT)
            assert reply.headers["content-type"] == "application/gzip"
            assert reply.headers["content-length"] == str(len(CONTENT))
            assert reply.headers["accept-ranges"] == "bytes"
            assert reply.headers["cache-control"] == "private, no-store"


async def test_to_others_there_is_no_replay(stored: Any, make_user: Callable[..., str]) -> None:
    """Another organisation's specialist and another patient learn nothing of it."""
    async with stored() as api:
        for who in (
            make_user(SPECIALIST, org_id=OTHER_ORG),
            make_user(PATIENT, BOB),
            make_user(PATIENT, ANN, OTHER_ORG),
        ):
            reply = await api.get(REPLAY, who)
            assert (reply.status, reply.code) == (404, "exercise_session_unknown")


async def test_a_session_without_a_replay_says_so(
    core: Any, make_user: Callable[..., str], make_event: Callable[..., dict[str, Any]]
) -> None:
    """Not stored yet, or never: 404 of its own code, and no link is made."""
    async with core() as api:
        await api.publish(make_event(1))
        reply = await api.get(REPLAY, make_user(SPECIALIST))
        assert (reply.status, reply.code) == (404, "replay_missing")


async def test_the_audit_knows_who_got_a_link(stored: Any, make_user: Callable[..., str]) -> None:
    """It is written down before the link is given."""
    async with stored() as api:
        await api.get(REPLAY, make_user(SPECIALIST))
        folder = api.service.settings.data_dir
    async with open_sqlite_ledger(folder / "ledger.sqlite3") as ledger:
        (row,) = await ledger.read(AuditPage(10))
    assert (row.entry.actor, row.entry.action) == (STAFF, "replay.linked")
    assert row.entry.subject == f"session:{UUID(int=1)}"


async def test_a_link_holds_for_its_time_and_its_session(
    stored: Any, make_user: Callable[..., str]
) -> None:
    """Expired, altered, or for another session: 403 that says which, and nothing is read."""
    async with stored(session_secret_previous="o" * 40) as api:
        url = (await api.get(REPLAY, make_user(SPECIALIST))).json["url"]
        secrets = api.service.settings.session_secret.get_secret_value().encode()
        base, _, token = url.rpartition("/")
        key = replay_key(ORG, str(UUID(int=1)))
        old = sign_link(key, 1000, secrets)
        other_session = base.replace(str(UUID(int=1)), str(UUID(int=2)))
        for wrong, why in (
            (f"{base}/{old}", "expired"),
            (f"{base}/{token[:-5]}AAAAA", "forged"),
            (f"{other_session}/{token}", "forged"),
            (f"{base}/x", "malformed"),
        ):
            reply = await api.get(wrong)
            assert (reply.status, reply.code) == (403, "replay_link_refused")
            assert why in reply.json["detail"]
        previous = sign_link(key, 4_000_000_000, b"o" * 40)
        assert (await api.get(f"{base}/{previous}")).status == 200


async def test_parts_are_served_so_that_a_download_can_go_on(
    stored: Any, make_user: Callable[..., str]
) -> None:
    """206 with exactly the bytes asked for, 416 with the size, the whole where it has changed."""
    size = len(CONTENT)
    async with stored() as api:
        url = (await api.get(REPLAY, make_user(SPECIALIST))).json["url"]
        tag = (await api.get(url)).headers["etag"]
        for asked, part in (
            ("bytes=0-99", CONTENT[:100]),
            (f"bytes={size - 7}-", CONTENT[-7:]),
            ("bytes=-9", CONTENT[-9:]),
        ):
            reply = await api.get(url, Range=asked, **{"If-Range": tag})
            start = CONTENT.rindex(part) if len(part) < 100 else 0
            assert (reply.status, reply.body) == (206, part)
            told = f"bytes {start}-{start + len(part) - 1}/{size}"
            assert reply.headers["content-range"] == told
            assert reply.headers["content-length"] == str(len(part))
        past = await api.get(url, Range=f"bytes={size}-")
        assert (past.status, past.code) == (416, "range_unsatisfiable")
        assert past.headers["content-range"] == f"bytes */{size}"
        changed = await api.get(url, Range="bytes=0-9", **{"If-Range": '"another"'})
        assert (changed.status, changed.body) == (200, CONTENT)


async def test_a_link_begins_with_the_services_public_address(
    stored: Any, make_user: Callable[..., str]
) -> None:
    """Where it is set, whatever Host the request named."""
    async with stored(public_url="https://telemetry.example/x/") as api:
        link = await api.get(REPLAY, make_user(SPECIALIST))
        assert link.json["url"].startswith("https://telemetry.example/x/v1/replays/")


async def test_a_store_that_signs_links_of_its_own_is_asked_to(
    stored: Any, make_user: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link of an object store is handed on as it is, for as long as the setting says."""

    async def sign(_: Blobs, key: str, expires_seconds: int) -> str:
        return f"https://store.example/{key}?expires={expires_seconds}"

    async with stored(replay_url_seconds=77) as api:
        monkeypatch.setattr(Blobs, "sign", sign)
        link = await api.get(REPLAY, make_user(SPECIALIST))
        assert link.json["url"].endswith(f"{UUID(int=1)}.bin.gz?expires=77")


async def test_a_store_that_is_down_is_503(
    stored: Any, make_user: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With when to come back, and without what the store said of itself."""

    async def head(*_: object) -> None:
        raise BlobUnavailableError(BlobReason.UNREACHABLE, "the words of the store")

    async with stored() as api:
        monkeypatch.setattr(Blobs, "head", head)
        reply = await api.get(REPLAY, make_user(SPECIALIST))
        assert (reply.status, reply.code) == (503, "replay_unavailable")
        assert reply.headers["retry-after"] == "5"
        assert b"words of the store" not in reply.body


async def test_a_download_that_breaks_off_is_seen_to_be_short(
    stored: Any, make_user: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends before the length that was announced; the service goes on."""

    async def broken(*_: object) -> AsyncIterator[bytes]:
        yield CONTENT[:100]
        raise BlobUnavailableError(BlobReason.CHANGED, "replaced meanwhile")

    async with stored(errors=1) as api:
        url = (await api.get(REPLAY, make_user(SPECIALIST))).json["url"]
        with monkeypatch.context() as patch:
            patch.setattr(Blobs, "get_range", broken)
            async with api.dial(api.service) as client:
                await client.send(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                received = await client.leftover()
        assert b"content-length: %d" % len(CONTENT) in received.lower()
        assert received.endswith(CONTENT[:100])
        assert (await api.get(url)).body == CONTENT
