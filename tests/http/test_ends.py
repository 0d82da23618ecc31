"""`POST /v1/sessions/{id}/end`, over both lanes alike."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import trio

from penstock.engine.figures import figures
from penstock.engine.outcomes import Reason
from penstock.engine.records import FinalEntry, FinalOf
from penstock.kept_replays import kept_replay
from penstock.ledgers import open_ledger
from penstock.storage.replay import read_replay

LANES = pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])
ENDED: dict[str, Any] = {"ended_at": "2026-05-07T10:30:00.000Z", "client_status": "completed"}
Make = Callable[..., bytes]


class Talk:
    """One client of one service, speaking for whichever session it is told."""

    def __init__(self, client: Any, make_request: Make) -> None:
        self.client = client
        self._make = make_request

    async def send(self, **options: Any) -> Any:
        """Post a batch."""
        await self.client.send(self._make(**options))
        return await self.client.reply()

    async def end(
        self, said: Any = ENDED, *, session: int = 1, path: str | None = None, **more: Any
    ) -> Any:
        """End a session; `said` is the body, as it is or as JSON."""
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        changes = {"Content-Type": "application/json"} | more.pop("changes", {})
        target = f"/v1/sessions/{path or UUID(int=session)}/end"
        raw = self._make(body, session=session, target=target, changes=changes, **more)
        await self.client.send(raw)
        return await self.client.reply()


@pytest.fixture
def talk(serve: Any, dial: Any, make_request: Make, express_lane: bool) -> Any:  # noqa: FBT001
    """Open a service and a client of it."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[tuple[Any, Talk]]:
        async with (
            serve(express_lane=express_lane, **settings) as service,
            dial(service) as client,
        ):
            yield service, Talk(client, make_request)

    return opened


@LANES
async def test_an_end_is_answered_with_the_count(talk: Any) -> None:
    """Every field that the contract and this project name is there, with its figure."""
    async with talk() as (_, client):
        for start in (0, 1000):
            assert (await client.send(session=1)).status == 202 or start
        reply = await client.end(ENDED | {"total_frames_attempted": 25, "exercise_id": "squat"})
        assert reply.status == 200
        told = reply.json
        assert told.pop("replay_blob").endswith(f"/blobs/{UUID(int=8)}/{UUID(int=1)}.bin.gz")
        assert datetime.fromisoformat(told.pop("aggregates_published_at")).tzinfo is UTC
        assert told == {
            "session_id": str(UUID(int=1)),
            "status": "completed",
            "client_status": "completed",
            "revision": 1,
            "frames_received": 20,
            "frames_dropped": 5,
            "frames_shed": 0,
            "frames_lost": 0,
            "suspicious_gap": False,
            "completeness": 0.4,
        }


@LANES
async def test_ending_again(talk: Any) -> None:
    """The same status gets the same bytes, another one 409 that names both; frames get 409."""
    async with talk() as (service, client):
        await client.send()
        first = await client.end()
        assert first.status == 200
        again = await client.end(ENDED | {"ended_at": "2026-05-07T11:00:00Z"})
        assert (again.status, again.body) == (200, first.body)
        other = await client.end(ENDED | {"client_status": "cancelled"})
        assert (other.status, other.code) == (409, "end_conflict")
        assert (other.json["limit"], other.json["seen"]) == ("completed", "cancelled")
        late = await client.send()
        assert (late.status, late.code) == (409, "session_finalized")
        assert service.ledger.process.ended[Reason.SESSION_FINALIZED] == 10


@LANES
async def test_an_unknown_session(talk: Any) -> None:
    """Without a frame there is nothing to end: 404."""
    async with talk() as (_, client):
        reply = await client.end()
        assert (reply.status, reply.code) == (404, "session_unknown")


@LANES
async def test_the_token_must_be_the_sessions(talk: Any) -> None:
    """A token ends its own session only, and none ends nothing."""
    async with talk() as (_, client):
        await client.send()
        wrong = await client.end(path=str(UUID(int=2)))
        assert (wrong.status, wrong.code) == (401, "token_wrong_session")
        none = await client.end(changes={"Authorization": None})
        assert (none.status, none.code) == (401, "token_missing")
        upper = await client.end(path=str(UUID(int=1)).upper())
        assert upper.status == 200


BAD = {
    "no JSON": (b"{", "", None),
    "no object": (b"[]", "", None),
    "no status": ({"ended_at": "2026-05-07T10:30:00Z"}, "client_status", None),
    "no time": ({"client_status": "completed"}, "ended_at", None),
    "a time without a zone": (ENDED | {"ended_at": "2026-05-07T10:30:00"}, "ended_at", None),
    "a time that is a number": (ENDED | {"ended_at": "1777777777"}, "ended_at", None),
    "a time before all time": (
        ENDED | {"ended_at": "0001-01-01T00:00:00Z"},
        "ended_at",
        None,
    ),
    "another status": (ENDED | {"client_status": "done"}, "client_status", "'done'"),
    "a negative count": (
        ENDED | {"total_frames_attempted": -1},
        "total_frames_attempted",
        "-1",
    ),
    "a count in a string": (
        ENDED | {"total_frames_attempted": "7"},
        "total_frames_attempted",
        "'7'",
    ),
    "a bool for a count": (
        ENDED | {"total_frames_attempted": True},
        "total_frames_attempted",
        "True",
    ),
    "an exercise that is a number": (ENDED | {"exercise_id": 7}, "exercise_id", "7"),
}


@LANES
async def test_a_bad_body_names_the_field(talk: Any) -> None:
    """400 with the field and what was seen in it; the session goes on."""
    async with talk() as (_, client):
        for name, (said, field, seen) in BAD.items():
            await client.send()
            reply = await client.end(said)
            assert (reply.status, reply.code) == (400, "body_malformed"), name
            assert reply.json.get("field", "") == field, name
            if seen is not None:
                assert reply.json["seen"] == seen, name
        assert (await client.send()).status == 202
        assert (await client.end()).status == 200


@LANES
async def test_type_and_size(talk: Any) -> None:
    """Another type is 415, more than 16 KiB is 413; both name what was seen."""
    async with talk() as (_, client):
        reply = await client.end(changes={"Content-Type": "text/plain"})
        assert (reply.status, reply.json["seen"]) == (415, "text/plain")
        fits = await client.end(changes={"Content-Type": "application/json; charset=utf-8"})
        assert fits.status == 404
    async with talk() as (_, client):
        reply = await client.end(ENDED | {"more": "x" * 17_000})
        assert (reply.status, reply.json["limit"]) == (413, 16_384)


@LANES
async def test_frames_never_sent_are_told(talk: Any) -> None:
    """`X-Client-Dropped` on a batch and on the end counts once each, and only when it is taken."""
    async with talk(rate_burst=1, rate_batches_per_second=0.01) as (service, client):
        told = [("X-Client-Dropped", "30;reason=network, 2;reason=cpu")]
        assert (await client.send(more=told)).status == 202
        assert (await client.send(more=told)).status == 429
        assert service.ledger.process.unsent == {Reason.UNSENT_NETWORK: 30, Reason.UNSENT_CPU: 2}
        reply = await client.end(more=[("X-Client-Dropped", "8;reason=hidden")])
        assert reply.status == 200
        assert reply.json["completeness"] == round(10 / 60, 4)


@LANES
@pytest.mark.parametrize("told", ["x", "0;reason=cpu", "3;reason=laziness", "1;reason=cpu," * 30])
async def test_a_report_that_says_nothing(talk: Any, told: str) -> None:
    """It is refused by name, and its batch with it: the client must know of it."""
    async with talk() as (service, client):
        more = [("X-Client-Dropped", told)]
        reply = await client.send(more=more)
        assert (reply.status, reply.code) == (400, "client_dropped_malformed")
        assert reply.json["field"].startswith("X-Client-Dropped")
        assert service.ledger.process.ended == {Reason.MALFORMED: 10}
        assert (await client.end(more=more)).status == 400


async def test_an_end_survives_a_restart(
    serve: Any, dial: Any, make_request: Make, tmp_path: Any
) -> None:
    """The next process gives the same answer, and no frame brings the session back."""
    answers = []
    for _ in range(2):
        async with serve(data_dir=tmp_path / "kept") as service, dial(service) as client:
            talk = Talk(client, make_request)
            if not answers:
                await talk.send()
            else:
                assert (await talk.send()).code == "session_finalized"
            answers.append(await talk.end())
    assert [reply.status for reply in answers] == [200, 200]
    assert answers[0].body == answers[1].body


@LANES
async def test_an_ended_session_is_replayed_from_its_blob(talk: Any) -> None:
    """Its spool file is gone, and `penstock replay` by its id gives the figures of the final."""
    async with talk() as (service, client):
        await client.send()
        end = await client.end()
        assert end.status == 200
        path = service.settings.data_dir / "spool" / f"{UUID(int=1)}.bin.gz"
        with trio.fail_after(5):
            while path.exists():
                await trio.lowlevel.checkpoint()

        def told() -> Any:
            with kept_replay(service.settings, str(UUID(int=1))) as kept:
                report = read_replay(kept)
                tally = report.tally
                assert tally is not None
                return figures(report.motion, report.accepted_frames, tally, report.losses)

        found = await trio.to_thread.run_sync(told)
        async with open_ledger(service.settings) as ledger:
            final = await ledger.read(FinalOf(str(UUID(int=1))))
        assert isinstance(final, FinalEntry)
        assert final.body["session_metrics"] == found.session_metrics
        assert final.body["rep_metrics"] == found.rep_metrics
