"""`penstock.client`: its two forms against a service, and its plan against every kind of answer."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import trio

from penstock.client import (
    BatchSent,
    BlockingSessionClient,
    NotTakenError,
    RefusedError,
    SessionClient,
)
from penstock.client.frames import MAX_BATCH_FRAMES
from penstock.client.talk import EVENTS, POSE, Ask, Pause, Renew, Reply, SessionTalk, reply_of
from penstock.engine import wire
from penstock.engine.outcomes import Reason

SESSION = str(UUID(int=1))
FRAME = np.full((33, 4), 0.5)
OK = Reply(202, {})


def token_until(expires_unix: float, issued_unix: float = 0) -> str:
    claims = json.dumps({"iat": issued_unix, "exp": expires_unix}).encode()
    return f"v1.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.signature"


class Player:
    """Runs steps by a script of answers, on a clock that only pauses move."""

    def __init__(self, *answers: Reply | None, renews: bool = False, **given: Any) -> None:
        self.now = 100.0
        self.answers = list(answers)
        self.asked: list[Ask] = []
        self.renewed = 0
        token = given.pop("token", "v1.old.token")
        self.talk = SessionTalk(SESSION, token, now=lambda: self.now, renews=renews, **given)

    def add(self, frames: int, start_ms: int = 0) -> None:
        for number in range(frames):
            why = self.talk.full_because
            self.talk.frames.add(FRAME, start_ms + 100 * number, full_because=why)

    def play(self, steps: Any) -> Any:
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            if isinstance(step, Ask):
                self.asked.append(step)
                answer = self.answers.pop(0)
            elif isinstance(step, Renew):
                self.renewed += 1
                answer = f"v1.renewed.{self.renewed}"
            else:
                assert isinstance(step, Pause)
                self.now += step.seconds
                answer = None

    def send(self) -> BatchSent:
        sent: BatchSent = self.play(self.talk.send())
        return sent

    def tell(self, patience: float = 60.0) -> Any:
        return self.play(
            self.talk.tell("play", "m", {}, media_type="video", at_unix=None, patience=patience)
        )

    def end(self, patience: float = 60.0) -> Any:
        return self.play(
            self.talk.end("completed", exercise_id="squat", ended_unix=None, patience=patience)
        )

    def sent_times(self, at: int) -> list[int]:
        """Give the frames' times of the nth request."""
        return list(wire.decode(self.asked[at].body).timestamps_ms)


async def test_a_session_from_its_first_frame_to_its_end(
    serve: Any, make_token: Callable[..., str]
) -> None:
    """Frames, events, what was never made and the end arrive, and the answer counts them."""
    async with (
        serve() as service,
        SessionClient(
            service.address, SESSION, make_token(1), meta={"exercise": "squat"}
        ) as client,
    ):
        for number in range(25):
            client.add_frame(FRAME, 100 * number)
        client.drop_frames(5, "camera")
        assert await client.send() == BatchSent(accepted=25)
        assert client.waiting == 0
        assert await client.send() == BatchSent()
        event_id = await client.tell("play", "squat-front", {"startup_time_ms": 800})
        assert UUID(event_id)
        client.add_frame(FRAME, 2500)
        end = await client.end("completed", exercise_id="squat")
        assert (end.status, end.frames_received, end.frames_dropped) == ("completed", 26, 5)
        assert await client.end("completed") == end
        with pytest.raises(RefusedError) as conflict:
            await client.end("error")
        assert (conflict.value.status, conflict.value.code) == (409, "end_conflict")
        assert service.ledger.process.unsent == {Reason.UNSENT_CAMERA: 5}


async def test_the_blocking_form_does_the_same(serve: Any, make_token: Callable[..., str]) -> None:
    """A program without Trio has the same session, from a thread of its own."""

    def exercise(url: str) -> tuple[Any, str, Any]:
        with BlockingSessionClient(url, SESSION, make_token(1)) as client:
            for number in range(10):
                client.add_frame(FRAME, 100 * number)
            return client.send(), client.tell("play", "squat"), client.end("abandoned")

    async with serve() as service:
        sent, event_id, end = await trio.to_thread.run_sync(exercise, service.address)
    assert sent == BatchSent(accepted=10)
    assert UUID(event_id)
    assert (end.status, end.frames_received) == ("abandoned", 10)


async def test_a_task_sends_each_second(
    serve: Any, make_token: Callable[..., str], nursery: trio.Nursery
) -> None:
    """`run` brings frames to the service without being asked for each batch."""
    async with (
        serve() as service,
        SessionClient(service.address, SESSION, make_token(1)) as client,
    ):
        nursery.start_soon(client.run, 0.01)
        client.add_frame(FRAME, 0)
        while client.waiting:  # noqa: ASYNC110 - what a caller could do
            await trio.sleep(0.01)
        assert service.ledger.process.seen == 1
        nursery.cancel_scope.cancel()


async def test_a_token_is_renewed_where_it_was_refused(
    serve: Any, make_token: Callable[..., str]
) -> None:
    """The callback's token takes its place, and the batch that was refused is sent again."""
    asked = []

    async def renew() -> str:
        asked.append(1)
        return make_token(1)

    expired = make_token(1, age=4000, ttl=-10)
    async with (
        serve() as service,
        SessionClient(service.address, SESSION, expired, renew_token=renew) as client,
    ):
        client.add_frame(FRAME, 0)
        assert await client.send() == BatchSent(accepted=1)
        assert len(asked) == 1


async def test_nobody_is_there() -> None:
    """Frames stay and the next attempt is later; what must be answered is given up in the end."""
    async with SessionClient("http://127.0.0.1:9", SESSION, "v1.x.y") as client:
        client.add_frame(FRAME, 0)
        sent = await client.send()
        assert (sent.accepted, sent.wait_seconds) == (0, 1.0)
        assert client.waiting == 1
        with pytest.raises(NotTakenError, match="no answer came"):
            await client.tell("play", "m", patience_seconds=0)


@pytest.mark.parametrize(
    "reply",
    [None, Reply(503, {}), Reply(500, {}), Reply(408, {}), Reply(503, {}, 3.0)],
    ids=["nothing", "503", "500", "408", "503 with a wait"],
)
def test_the_next_batch_begins_with_what_failed(reply: Reply | None) -> None:
    """Frames that were not answered for are sent again with the newer ones, after the wait."""
    player = Player(reply, OK)
    player.add(3)
    wait = player.send().wait_seconds
    assert wait == (3.0 if reply is not None and reply.retry_after else 1.0)
    player.add(2, 300)
    assert player.send() == BatchSent(wait_seconds=wait)
    assert len(player.asked) == 1
    player.now += wait
    assert player.send() == BatchSent(accepted=5)
    assert player.sent_times(1) == [0, 100, 200, 300, 400]


def test_pauses_grow_and_begin_anew() -> None:
    """Each failure waits longer, up to a quarter of a minute; a success forgets them."""
    player = Player(*[None] * 6, OK, None)
    player.add(1)
    waits = []
    for _ in range(6):
        waits.append(player.send().wait_seconds)
        player.now += waits[-1]
    assert waits == [1, 2, 4, 8, 15, 15]
    player.send()
    player.add(1, 5)
    assert player.send().wait_seconds == 1


def test_refused_frames_are_gone() -> None:
    """A 429 has counted them; the wait that it names is kept."""
    player = Player(Reply(429, {}, 2.5), OK)
    player.add(3)
    assert player.send() == BatchSent(refused=3, wait_seconds=2.5)
    player.add(1, 900)
    player.now += 2.5
    assert player.send() == BatchSent(accepted=1)
    assert player.sent_times(1) == [900]
    assert "X-Client-Dropped" not in player.asked[1].headers


def test_what_has_no_room_is_told_until_it_is_heard() -> None:
    """The oldest frames go, under the reason of the time, and are told of until a 202."""
    player = Player(None, Reply(503, {}, 1.0), None, OK, OK, buffer_frames=4)
    player.add(4)
    player.send()
    player.add(2, 400)  # the network is gone
    player.now += 1
    player.send()
    player.add(1, 600)  # it was told to wait
    player.now += 1
    player.send()
    player.now += 30
    assert player.send() == BatchSent(accepted=4)
    told = [ask.headers.get("X-Client-Dropped") for ask in player.asked]
    assert told == [
        None,
        "2;reason=network",
        "2;reason=network, 1;reason=refused",
        "2;reason=network, 1;reason=refused",
    ]
    player.add(1, 700)
    player.send()
    assert "X-Client-Dropped" not in player.asked[-1].headers


def test_a_batch_holds_what_fits() -> None:
    """A long outage is caught up with in batches that the service takes, whatever they hold."""
    player = Player(OK, OK)
    rng = np.random.default_rng(1)
    for number in range(MAX_BATCH_FRAMES + 1):
        player.talk.frames.add(rng.random((33, 4)), number, full_because="network")
    assert player.send() == BatchSent(accepted=MAX_BATCH_FRAMES)
    assert player.send() == BatchSent(accepted=1)
    assert len(player.asked[0].body) <= wire.MAX_MEMBER_BYTES


@pytest.mark.parametrize(
    ("status", "stops"), [(400, False), (413, False), (403, True), (409, True)]
)
def test_a_refusal_is_told_to_the_caller(status: int, stops: bool) -> None:  # noqa: FBT001
    """Those frames are gone; where no more will be taken, the later ones are not sent either."""
    player = Player(Reply(status, {"code": "why", "detail": "because"}), OK)
    player.add(2)
    with pytest.raises(RefusedError, match="because") as refused:
        player.send()
    assert (refused.value.status, refused.value.code) == (status, "why")
    player.add(1, 500)
    if stops:
        with pytest.raises(RefusedError):
            player.send()
    else:
        assert player.send() == BatchSent(accepted=1)
    assert len(player.asked) == 2 - stops


def test_a_token_is_renewed_before_it_expires() -> None:
    """At a tenth of its life before the end, or five minutes; and never twice for one request."""
    now = time.time()
    for token, renewed in (
        (token_until(now + 3600, now - 3600), 0),
        (token_until(now + 299, now - 7000), 1),
        (token_until(now + 9, now - 91), 1),
        (token_until(now + 11, now - 89), 0),
        ("opaque", 0),
    ):
        player = Player(OK, renews=True, token=token)
        player.add(1)
        player.send()
        assert player.renewed == renewed, token
    refused = Reply(401, {"code": "token_expired"})
    player = Player(refused, refused, renews=True)
    player.add(1)
    with pytest.raises(RefusedError):
        player.send()
    assert (player.renewed, len(player.asked)) == (1, 2)
    assert player.asked[1].headers["Authorization"] == "Bearer v1.renewed.1"


def test_an_event_is_the_same_each_time_it_is_told() -> None:
    """So that one whose answer was lost counts once; and it is on the frames' clock."""
    player = Player(None, Reply(429, {}, 0.4), Reply(503, {}), Reply(202, {"event_id": "e"}))
    assert player.tell() == "e"
    assert len({ask.body for ask in player.asked}) == 1
    assert {ask.path for ask in player.asked} == {EVENTS}
    document = json.loads(player.asked[0].body)
    assert document["data"]["elapsed_ms"] >= 0
    assert player.now == 100 + 1 + 0.4 + 4


def test_patience_ends() -> None:
    """An event that cannot be stored in time is the caller's again, with the last answer."""
    player = Player(*[Reply(503, {"code": "ledger_disk_full"}, 5.0)] * 3)
    with pytest.raises(NotTakenError, match="503 ledger_disk_full"):
        player.tell(patience=12)
    assert player.now == 110


def test_an_end_brings_what_is_left() -> None:
    """Frames first, then the end until it is answered, with how many there were."""
    final = Reply(200, {"status": "completed", "frames_received": 3, "frames_dropped": 2})
    player = Player(None, OK, Reply(503, {}, 1.0), None, final)
    player.add(3)
    player.talk.frames.never_made(2, "cpu")
    end = player.end()
    assert (end.status, end.frames_received, end.frames_dropped) == ("completed", 3, 2)
    assert [ask.path for ask in player.asked[:2]] == [POSE, POSE]
    assert json.loads(player.asked[-1].body)["total_frames_attempted"] == 5
    assert len({ask.body for ask in player.asked[2:]}) == 1


def test_an_end_does_not_wait_for_frames_for_ever() -> None:
    """Those that cannot be sent in half of the time are given up, and the end says so."""
    player = Player(*[None] * 4, Reply(200, {"status": "completed"}))
    player.add(3)
    player.end(patience=20)
    assert player.asked[-1].path.endswith("/end")
    assert player.asked[-1].headers["X-Client-Dropped"] == "3;reason=network"


def test_what_is_no_frame_is_refused() -> None:
    """Here and now, with what is wrong, and not by the service a second later."""
    player = Player()
    frames = player.talk.frames
    frames.add(FRAME, 500, full_because="network")
    for landmarks, at in ((FRAME[:32], 600), (FRAME, -1), (FRAME, 499), (FRAME, 2**32)):
        with pytest.raises(ValueError, match=r"landmarks|timestamp_ms"):
            frames.add(landmarks, at, full_because="network")
    for count, reason in ((0, "cpu"), (1, "boredom")):
        with pytest.raises(ValueError, match=r"frames|reason"):
            frames.never_made(count, reason)
    assert frames.attempted == 1


@pytest.mark.parametrize(
    ("headers", "body", "after"),
    [
        ({"Retry-After": "3"}, b'{"retry_after_ms": 2500}', 2.5),
        ({"Retry-After": "3"}, b"no JSON", 3.0),
        ({"Retry-After": "Fri, 01 Jan 2027 00:00:00 GMT"}, b"[]", None),
        ({}, b'{"retry_after_ms": "soon"}', None),
    ],
)
def test_how_long_an_answer_says_to_wait(
    headers: dict[str, str], body: bytes, after: float | None
) -> None:
    """In milliseconds if it can, else in the header's seconds, else not at all."""
    assert reply_of(429, headers, body).retry_after == after
