"""Sessions for the tests of the console: a patient who really exercises, and what goes wrong."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import trio

from penstock.bench.patients import Recording, Traits, record
from penstock.engine import wire
from penstock.engine.policy_book import Signed
from penstock.service import Service

SECONDS = 30
FREE = {"loss_percent": 80, "gap_seconds": 600}


def name(session: int) -> str:
    """Give a session's id."""
    return str(UUID(int=session))


@cache
def recording() -> Recording:
    """Give half a minute of somebody's exercise."""
    return record(Traits(), seconds=SECONDS, seed=4)


def frames_in(*seconds: int) -> int:
    """Count the frames of some seconds."""
    return sum(int(at) // 1000 in seconds for at in recording().timestamps_ms)


@dataclass(slots=True)
class Patient:
    """A client of a service, on one connection: sends a session as the Portal does."""

    service: Service
    client: Any
    make_request: Callable[..., bytes]
    make_token: Callable[..., str]
    session: int = 1
    statuses: dict[int, int] = field(default_factory=dict)

    async def move(self, begin: float = 0, end: float = SECONDS, **more: Any) -> None:
        """Send the frames of these seconds, a batch a second."""
        found = recording()
        times = [int(at) for at in found.timestamps_ms]
        for second in range(int(begin), int(end)):
            which = [n for n, at in enumerate(times) if second * 1000 <= at < second * 1000 + 1000]
            points = np.asarray(found.landmarks[which], "<f4")
            body = wire.encode(points, [times[n] for n in which], level=1)
            await self.client.send(self.make_request(body, session=self.session, **more))
            self.statuses[second] = (await self.client.reply()).status
            # A second passes between two batches: what was accepted is in the file by then.
            with trio.fail_after(30):
                while True:
                    if not self.service.ledger.process.pending:
                        break
                    await trio.sleep(0.005)

    @property
    def refused(self) -> list[int]:
        """Give the seconds whose batches were refused."""
        return [second for second, status in self.statuses.items() if status == 429]

    async def ask(self, path: str, body: Any) -> Any:
        """Send JSON with the session's token."""
        content = orjson.dumps(body)
        raw = self.make_request(
            content,
            session=self.session,
            target=path,
            changes={"Content-Type": "application/json"},
        )
        await self.client.send(raw)
        return await self.client.reply()

    async def watch(self) -> None:
        """Tell of a video that stalls for two seconds."""
        began = time.time()
        events = (
            ("session_start", 0, {"elapsed_ms": 0, "total_duration_seconds": SECONDS}),
            ("play", 1, {"elapsed_ms": 1000}),
            ("buffering_start", 8, {"elapsed_ms": 8000}),
            ("buffering_end", 10, {"elapsed_ms": 10_000, "duration_ms": 2000}),
            ("heartbeat", 20, {"elapsed_ms": 20_000, "playing": True}),
        )
        for kind, after, data in events:
            told = {
                "event": kind,
                "session_id": name(self.session),
                "media_id": "squat",
                "media_type": "video",
                "timestamp": datetime.fromtimestamp(began + after, UTC).isoformat(),
                "data": data,
            }
            reply = await self.ask("/v1/media/events", told)
            assert reply.status == 202, reply

    async def end(self, **said: Any) -> Any:
        """End the session."""
        body = {"ended_at": "2026-05-07T10:30:00Z", "client_status": "completed", **said}
        reply = await self.ask(f"/v1/sessions/{name(self.session)}/end", body)
        assert reply.status == 200, reply
        return reply.json

    async def turn(self, scope: str = "global", **knobs: Any) -> None:
        """Turn the policy's knobs."""
        revision = self.service.policies.book.revision
        signed = Signed("a test", "to see what it does", revision)
        await self.service.policies.edit(scope, knobs, (), signed)

    async def live_through_everything(self) -> None:
        """Move on from second 1 to 30: a gap, thinned, refused and unsent frames, and a stall."""
        await self.move(1, 12)
        await self.move(15, 18, more=[("X-Client-Dropped", "3;reason=camera")])
        scope = f"session:{name(self.session)}"
        await self.turn(scope, thin_at=0, thin_until=0, dwell_seconds=0.1, **FREE)
        await self.move(18, 21)
        await self.turn(scope, refuse_at=0, refuse_until=0)
        await self.move(21, 24)
        await self.turn(scope, thin_at=50, thin_until=35, refuse_at=70, refuse_until=50)
        await self.move(24, SECONDS)
        await self.watch()
