"""The drop policy turned over HTTP on a whole service, while batches are accepted and wait."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from kept_files import kept_file
from penstock.engine.outcomes import Reason
from penstock.http.admin_policy import PREFIX
from penstock.http.roles import Role
from penstock.jwts import mint_user_jwt
from penstock.storage.members import Window, walk, whole_batches
from penstock.storage.replay import read_replay

LANES = pytest.mark.parametrize("express_lane", [True, False], ids=["lane", "quart"])
ENDED = json.dumps({"ended_at": "2026-05-07T10:30:00Z", "client_status": "completed"}).encode()
# What was accepted waits for as long as a test takes, unless it is asked for.
SLOW_FLUSH = 30.0
# The drop policy at its widest: whoever may be made to give, gives.
FREE = {"loss_percent": 80, "gap_seconds": 600}
Make = Callable[..., bytes]


@dataclass(eq=False)
class Talk:
    """A patient's client and an operator's, on one connection to one service."""

    service: Any
    client: Any
    make_request: Make
    make_batch: Make
    clock_ms: int = 0

    async def post(self, frames: int = 10, *, session: int = 1, **more: Any) -> Any:
        """Send a batch that follows the one before it."""
        body = self.make_batch(frames, self.clock_ms)
        self.clock_ms += 100 * frames
        await self.client.send(self.make_request(body, session=session, **more))
        return await self.client.reply()

    async def turn(self, scope: str = "global", **knobs: Any) -> int:
        """Edit the policy as an operator does, and give the new revision."""
        said = {
            "revision": self.service.policies.book.revision,
            "scope": scope,
            "reason": "to see what it does",
            "set": knobs,
        }
        body = json.dumps(said).encode()
        head = (
            f"PATCH {PREFIX} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._admin()}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await self.client.send(head.encode() + body)
        reply = await self.client.reply("PATCH")
        assert reply.status == 200, reply.body
        return int(reply.json["revision"])

    async def end(self, session: int = 1) -> Any:
        """End a session, which brings all that waits to disk."""
        raw = self.make_request(
            ENDED,
            session=session,
            target=f"/v1/sessions/{UUID(int=session)}/end",
            changes={"Content-Type": "application/json"},
        )
        await self.client.send(raw)
        reply = await self.client.reply()
        assert reply.status == 200, reply.body
        return reply.json

    def path(self, session: int = 1) -> Path:
        """Give the path of a session's file."""
        return kept_file(self.service.settings.data_dir, str(UUID(int=session)))

    def times(self, session: int = 1) -> list[int]:
        """Give the times of all frames on disk, in their order there."""
        window = Window.over(self.path(session).read_bytes())
        return [
            time_ms
            for span in walk(window)
            for arrival in whole_batches(window, span)
            for time_ms in arrival.batch.timestamps_ms
        ]

    def _admin(self) -> str:
        settings = self.service.settings
        return mint_user_jwt(
            settings.user_jwt_secret.get_secret_value().encode(),
            principal_id=str(UUID(int=70)),
            org_id=str(UUID(int=80)),
            role=Role.PLATFORM_ADMIN,
            consent_level=3,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            issued_unix=int(time.time()) - 10,
            expires_unix=int(time.time()) + 3600,
        )


@pytest.fixture
def talk(
    serve: Any,
    dial: Any,
    make_request: Make,
    make_batch: Make,
    express_lane: bool,  # noqa: FBT001
) -> Any:
    """Open a service that flushes late, and a client of it."""

    @asynccontextmanager
    async def opened(**changes: Any) -> AsyncIterator[Talk]:
        plain = {"spool_flush_seconds": SLOW_FLUSH, "express_lane": express_lane}
        async with serve(**plain | changes) as service, dial(service) as client:
            yield Talk(service, client, make_request, make_batch)

    return opened


@LANES
async def test_thinning_keeps_every_other_frame_from_the_first_answer_on(talk: Any) -> None:
    """202 says what was kept; the file holds exactly that, evenly, with the sidecars."""
    async with talk() as one:
        assert (await one.post(9)).json["frames_accepted"] == 9
        await one.turn(thin_at=0, thin_until=0, inbox_soft_batches=1, **FREE)
        kept = 9
        for number in range(8):
            reply = await one.post(7, more=[("X-Batch-Meta", f'{{"exercise":"squat {number}"}}')])
            assert reply.status == 202
            assert reply.json["frames_accepted"] in {3, 4}
            kept += reply.json["frames_accepted"]
            assert reply.json["buffer_position_bytes"] == 528 * kept
        told = await one.end()
        assert (told["frames_received"], told["frames_shed"]) == (kept, 65 - kept)
        assert told["completeness"] == round(kept / 65, 4)
        process = one.service.ledger.process
        assert process.ended == {Reason.USED: kept, Reason.POLICY_THINNED: 65 - kept}
    report = read_replay(one.path())
    assert report.verified, report.damage
    assert (report.frames, report.used, report.repeated) == (kept, kept, 0)
    assert report.sidecars.batches == 8
    assert report.sidecars.values["exercise"] == {f"squat {n}": 1 for n in range(8)}
    times = one.times()
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert steps == [100] * 8 + [200] * (kept - 9)


@LANES
async def test_drop_oldest_turned_on_over_http(talk: Any) -> None:
    """The batch that was refused a moment ago is taken, and the oldest give way, counted."""
    async with talk() as one:
        await one.turn(inbox_soft_batches=3, inbox_batches=3, loss_percent=0)
        for _ in range(3):
            assert (await one.post()).status == 202
        refused = await one.post()
        assert (refused.status, refused.code) == (429, "inbox_full")
        assert refused.json["setting"] == "inbox_batches"
        await one.turn(inbox_mode="drop_oldest")
        for _ in range(4):
            assert (await one.post()).json["frames_accepted"] == 10
        told = await one.end()
        assert (told["frames_received"], told["frames_shed"]) == (70, 40)
        process = one.service.ledger.process
        expected = {Reason.USED: 30, Reason.INBOX_DROPPED_OLDEST: 40, Reason.INBOX_FULL: 10}
        assert process.ended == expected
    assert one.times() == list(range(5000, 8000, 100))


@LANES
async def test_a_bound_lowered_over_http_loses_nothing_that_was_accepted(talk: Any) -> None:
    """Six batches wait, the bound becomes two: the next is refused by it, the six get to disk."""
    async with talk() as one:
        for _ in range(6):
            assert (await one.post()).status == 202
        await one.turn(inbox_soft_batches=2, inbox_batches=2, loss_percent=0)
        refused = await one.post()
        assert (refused.status, refused.code) == (429, "inbox_full")
        assert (refused.json["limit"], refused.json["seen"]) == (2, 7)
        assert (await one.end())["frames_received"] == 60
        assert one.service.ledger.process.ended == {Reason.USED: 60, Reason.INBOX_FULL: 10}
    assert one.times() == list(range(0, 6000, 100))


@LANES
async def test_an_edit_of_one_session_or_organisation_is_felt_there_only(talk: Any) -> None:
    """The very next batch of that session is decided anew, its neighbour's is as it was."""
    async with talk() as one:
        for number in (1, 2):
            assert (await one.post(session=number)).json["frames_accepted"] == 10
        await one.turn(f"session:{UUID(int=1)}", inbox_soft_batches=1, keep_every=5, **FREE)
        assert (await one.post(session=1)).json["frames_accepted"] == 2
        assert (await one.post(session=2)).json["frames_accepted"] == 10
        await one.turn(f"org:{UUID(int=8)}", inbox_soft_batches=1, keep_every=2, **FREE)
        assert (await one.post(session=1)).json["frames_accepted"] == 2
        assert (await one.post(session=2)).json["frames_accepted"] == 5
        for number, frames in ((1, 14), (2, 25)):
            assert (await one.end(number))["frames_received"] == frames


@LANES
async def test_refusing_over_http_and_being_taken_again(talk: Any) -> None:
    """With REFUSE for everybody a batch gets 429 and a wait; with that undone the next is taken."""
    calm = {"thin_at": 50, "thin_until": 35, "refuse_at": 70, "refuse_until": 50}
    async with talk() as one:
        assert (await one.post()).status == 202
        taken = 10
        refused = None
        # An edit that raises the rung lets everybody give, but the next look at the stress may
        # come first: then it is made again.
        for _ in range(20):
            await one.turn(**dict.fromkeys(calm, 0), loss_percent=100, gap_seconds=600)
            reply = await one.post()
            if reply.status == 429:
                refused = reply
                break
            taken += reply.json["frames_accepted"]
            await one.turn(**calm)
        assert refused is not None
        assert refused.code == "policy_refused"
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        await one.turn(**calm)
        assert (await one.post()).json["frames_accepted"] == 10
        taken += 10
        assert (await one.end())["frames_received"] == taken
        assert one.service.ledger.process.ended[Reason.POLICY_REFUSED] == 10
    assert read_replay(one.path()).frames == taken
