"""The promise of a kill -9 to ends and policies: what was answered is there, the rest is whole.

`PENSTOCK_KILLS` says how many.
"""

import hashlib
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import trio

from penstock.engine.core.records import ExerciseSessionOf
from penstock.engine.delivery_records import DeliveryOf
from penstock.engine.finals import Final
from penstock.engine.outcomes import Outcome, Reason, Tally
from penstock.engine.records import FinalEntry, FinalOf
from penstock.http.admin_policy import PREFIX
from penstock.http.roles import Role
from penstock.jwts import mint_user_jwt
from penstock.storage.ledger import open_sqlite_ledger
from penstock.storage.members import Window, walk, whole_batches

KILLS = int(os.environ.get("PENSTOCK_KILLS", "5"))
CLIENTS = 16
QUICK = {
    "spool_flush_seconds": "0.1",
    "rate_batches_per_second": "1000",
    "rate_burst": "1000",
    "shutdown_notice_seconds": "0",
}
Serve = Callable[..., Any]
Encode = Callable[..., bytes]


@dataclass(slots=True, eq=False)
class Story:
    """One session as its client knows it: frames that were acknowledged, the end that was sent."""

    number: int
    acknowledged: int = 0
    sent: int = 0
    asked_to_end: bool = False
    answer: bytes | None = None

    @property
    def session_id(self) -> str:
        return str(UUID(int=self.number))

    def told(self, answer: bytes) -> None:
        """Compare an answer with the last one. Only its publication may have come since."""
        if self.answer is None:
            self.answer = answer
            return
        before, now = json.loads(self.answer), json.loads(answer)
        if before["aggregates_published_at"] is None:
            assert before["status"] == "publication_pending"
            for key in ("status", "aggregates_published_at"):
                before[key] = now[key]
        assert before == now
        self.answer = answer

    async def send(self, service: Any, link: Any, member: bytes, frames: int) -> None:
        self.sent += frames
        status, answer = await link.post(service.token(self.number), member)
        assert status == 202, answer
        self.acknowledged += frames

    async def end(self, service: Any, link: Any) -> tuple[int, bytes]:
        self.asked_to_end = True
        body = json.dumps(
            {
                "ended_at": "2026-05-07T10:30:00Z",
                "client_status": "completed",
                "total_frames_attempted": self.sent,
            }
        ).encode()
        head = (
            f"POST /v1/sessions/{self.session_id}/end HTTP/1.1\r\nHost: test\r\n"
            f"Authorization: Bearer {service.token(self.number)}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        answered: tuple[int, bytes] = await link.ask(head.encode() + body)
        return answered


@dataclass(slots=True, eq=False)
class Crowd:
    """Clients that begin, feed and end session after session until the service dies."""

    encode: Encode
    stories: list[Story] = field(default_factory=list)

    async def patient(self, service: Any, chance: random.Random) -> None:
        try:
            link = await service.connect()
        except OSError:  # killed before it had accepted anybody
            return
        async with link.stream:
            while True:
                story = Story(len(self.stories) + 1)
                self.stories.append(story)
                try:
                    for batch in range(chance.randint(1, 4)):
                        frames = chance.randint(1, 5)
                        member = self.encode(frames, 1000 * batch)
                        await story.send(service, link, member, frames)
                        await trio.sleep(chance.uniform(0.0, 0.03))
                    for _ in range(chance.randint(1, 2)):
                        status, answer = await story.end(service, link)
                        assert status == 200, answer
                        story.told(answer)
                except trio.BrokenResourceError:
                    return


@dataclass(slots=True, eq=False)
class Operator:
    """Edits the policy without a pause, and remembers what was confirmed and what was asked."""

    confirmed: tuple[int, float] = (0, 3.0)
    asked: float = 3.0

    async def ask(self, service: Any, method: str = "GET", said: Any = None) -> tuple[int, Any]:
        secrets = json.loads((service.data_dir / "dev-secrets.json").read_bytes())
        now = int(time.time())
        token = mint_user_jwt(
            secrets["user_jwt_secret"].encode(),
            principal_id=str(UUID(int=70)),
            org_id=str(UUID(int=80)),
            role=Role.PLATFORM_ADMIN,
            consent_level=3,
            issuer="penstock",
            audience="penstock",
            issued_unix=now - 10,
            expires_unix=now + 3600,
        )
        body = b"" if said is None else json.dumps(said).encode()
        head = (
            f"{method} {PREFIX} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        link = await service.connect()
        async with link.stream:
            status, answer = await link.ask(head.encode() + body)
        return status, json.loads(answer)

    async def edit(self, service: Any, revision: int, knobs: Any, **more: Any) -> int:
        said = {"revision": revision, "scope": "global", "reason": "a test", "set": knobs}
        status, answer = await self.ask(service, "PATCH", said | more)
        assert status == 200, answer
        return int(answer["revision"])

    async def work(self, service: Any) -> None:
        """Turn a knob that changes nothing for anybody, again and again."""
        revision, value = self.confirmed
        try:
            while True:
                self.asked = value = round(value + 0.1, 1)
                revision = await self.edit(service, revision, {"dwell_seconds": value})
                self.confirmed = revision, value
        except (trio.BrokenResourceError, OSError):
            return

    async def look(self, service: Any) -> None:
        """Check that what was confirmed before the kill is in force, or what was asked last."""
        status, state = await self.ask(service)
        assert status == 200
        knob = state["scopes"]["global"]["knobs"]["dwell_seconds"]
        found = state["revision"], knob["value"]
        revision, value = self.confirmed
        assert found in {(revision, value), (revision + 1, self.asked)}
        self.confirmed = found


def _on_disk(path: Path) -> int:
    """Count the frames of a file, up to where it may be torn."""
    if not path.exists():
        return 0
    window = Window.over(path.read_bytes())
    batches = [batch for span in walk(window) for batch in whole_batches(window, span)]
    return sum(batch.frame_count for batch in batches)


async def _look(stories: list[Story], service: Any) -> None:
    """Compare the ledger and the files of a dead process with what its clients were told."""
    async with open_sqlite_ledger(service.data_dir / "ledger.sqlite3") as ledger:
        for story in stories:
            entry = await ledger.read(FinalOf(story.session_id))
            if entry is None:
                assert story.answer is None, "an end was answered and is not in the ledger"
                continue
            assert story.asked_to_end
            assert isinstance(entry, FinalEntry)
            final = Final.from_plain(dict(entry.body))
            # Whole: everything acknowledged before the end is in it, and on disk.
            assert final.frames_received == story.acknowledged == story.sent
            assert _on_disk(service.file(story.number)) == story.acknowledged
            tally = Tally.from_plain(final.tally)
            assert tally.conserved
            assert tally.count(Outcome.AGGREGATED) == story.acknowledged
            if story.answer is not None:
                assert json.loads(story.answer)["frames_received"] == story.acknowledged


async def _end_again(stories: list[Story], service: Any, encode: Encode) -> None:
    """Ask the next process for all ends: it answers as the last one did, or ends what goes on."""
    link = await service.connect()
    async with link.stream:
        for story in stories:
            status, answer = await story.end(service, link)
            if story.answer is not None:
                assert status == 200, answer
                story.told(answer)
            elif status == 404:
                assert _on_disk(service.file(story.number)) == 0
                continue
            else:
                assert status == 200, answer
                told = json.loads(answer)
                held = _on_disk(service.file(story.number))
                assert told["frames_received"] == held <= story.sent
                story.told(answer)
            status, again = await story.end(service, link)
            assert status == 200
            story.told(again)
            status, late = await link.post(service.token(story.number), encode(1, 90_000))
            assert (status, late["code"]) == (409, "session_finalized")


async def _wait_delivered(service: Any) -> None:
    """Wait until the outbox is empty, and the files are gone whose blobs are stored."""
    with trio.fail_after(60):
        while True:
            metrics = await service.metrics()
            states = [
                metrics[f'penstock_outbox_finals{{state="{s}"}}'] for s in ("pending", "dead")
            ]
            if states == [0, 0] and not list((service.data_dir / "spool").glob("*.bin.gz")):
                return
            await trio.sleep(0.1)


async def _look_everywhere(stories: list[Story], service: Any) -> None:
    """Check that each end is in the ledger, in its blob and in Core, once and with its figures."""
    async with open_sqlite_ledger(service.data_dir / "ledger.sqlite3") as ledger:
        for story in stories:
            if story.answer is None:
                assert await ledger.read(DeliveryOf(story.session_id)) is None
                continue
            told = json.loads(story.answer)
            delivery = await ledger.read(DeliveryOf(story.session_id))
            assert delivery is not None
            assert (delivery.progress.done, delivery.final.revision) == (True, told["revision"])
            blob = service.file(story.number)
            assert blob.parent.parent.name == "blobs"
            assert _on_disk(blob) == told["frames_received"]
            replay = delivery.progress.replay
            assert replay is not None
            assert replay.sha256 == hashlib.sha256(blob.read_bytes()).hexdigest()
            known = await ledger.read(ExerciseSessionOf(delivery.final.org_id, story.session_id))
            assert known is not None
            assert (known.revision, known.status) == (told["revision"], told["client_status"])
            assert known.session_metrics == delivery.final.body["session_metrics"]


async def test_every_end_that_was_answered_survives_a_kill(
    tmp_path: Path, serve: Serve, encode_member: Encode
) -> None:
    """Amid ends and edits: what got 200 is in ledger, blob and Core, the rest whole or absent."""
    chance = random.Random(10)  # noqa: S311
    crowd, operator = Crowd(encode_member), Operator()
    answered = unanswered = 0
    before: list[Story] = []
    for _ in range(KILLS):
        async with serve(tmp_path / "data", **QUICK) as service:
            await operator.look(service)
            await _end_again(before, service, encode_member)
            first = len(crowd.stories)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(operator.work, service)
                for _ in range(CLIENTS):
                    nursery.start_soon(crowd.patient, service, random.Random(chance.random()))  # noqa: S311
                await trio.sleep(chance.uniform(0.1, 0.6))
                service.kill()
                # Every connection is gone now, so every client returns.
            before = crowd.stories[first:]
        answered += sum(story.answer is not None for story in before)
        unanswered += sum(story.asked_to_end and story.answer is None for story in before)
        await _look(before, service)
    # A file that a dead process left is looked at once it has been idle.
    async with serve(tmp_path / "data", session_idle_seconds="2", **QUICK) as service:
        await operator.look(service)
        await _end_again(before, service, encode_member)
        assert (await service.frames()).get(Reason.ACTOR_CRASHED, 0) == 0
        await _wait_delivered(service)
        assert await service.stop() == 0
    await _look_everywhere(crowd.stories, service)
    print(f"{KILLS} kills: {answered} ends answered before one, {unanswered} not")  # noqa: T201
    # Or the kills came at moments that prove nothing.
    assert answered > 10 * KILLS
    assert unanswered > KILLS


async def test_a_policy_with_an_end_ends_although_the_process_died(
    tmp_path: Path, serve: Serve, encode_member: Encode
) -> None:
    """After a kill the edition that lasts is in force, and the one that passes passes."""
    operator = Operator()
    async with serve(tmp_path / "data", **QUICK) as service:
        knobs = {"inbox_soft_batches": 7}
        revision = await operator.edit(service, 0, knobs, expires_in_seconds=86_400)
        knobs = {"keep_every": 5}
        await operator.edit(service, revision, knobs, expires_in_seconds=1)
        service.kill()
    async with serve(tmp_path / "data", **QUICK) as service:
        with trio.fail_after(30):
            while True:
                _, state = await operator.ask(service)
                if state["revision"] > revision + 1:
                    break
                await trio.sleep(0.1)
        knobs = state["scopes"]["global"]["knobs"]
        assert (knobs["keep_every"]["value"], knobs["keep_every"]["from"]) == (2, "default")
        assert knobs["inbox_soft_batches"]["value"] == 7
        assert knobs["inbox_soft_batches"]["expires_at"]
        assert (await service.post(1, encode_member(5, 0)))[0] == 202
        assert await service.stop() == 0
