"""A small server that keeps the contract, but for the faults that a test asks for."""

import json
import random
import selectors
import socket
import threading
import time
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from penstock.bench.load.plan import Assignment, Kind
from penstock.bench.load.worker import Tick, WorkerAccount, work
from penstock.bench.report.models import LoadPlan
from penstock.engine.wire import LANDMARK_BYTES_PER_FRAME, WireError, decode, encode

ROUTES = frozenset({Kind.MEDIA, Kind.END})


@dataclass
class Faults:
    """What the server does wrong. Batches are counted from 1."""

    stall_at: int = 0
    stall_seconds: float = 0.0
    drop_every: int = 0
    refuse_every: int = 0
    byte_by_byte: bool = False
    slow_after: float = 0.2
    # Chances for each batch.
    close_before: float = 0.0
    close_after: float = 0.0
    garbage: float = 0.0
    error_after: float = 0.0
    silent: float = 0.0
    forgives_malformed: bool = False
    misnames_every: int = 0
    # Until then, connections are refused.
    listens_after: float = 0.0
    # Accepts one frame fewer than were sent; takes a batch twice.
    short_every: int = 0
    twice_every: int = 0
    # Claims to have accepted none; keeps every second frame, as a service under stress does.
    empty_every: int = 0
    thin_every: int = 0
    # Seconds, told in every refusal.
    retry_after: int = 0
    host: str = "127.0.0.1"
    ends_after: int = 0


@dataclass
class Seen:
    """What the server knows that a test may compare."""

    address: tuple[str, int]
    position: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    events: list[dict[str, Any]] = field(default_factory=list)
    ends: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    dropped: int = 0
    connections: int = 0
    most_at_once: int = 0
    late_batches: int = 0


class _Server:
    """One thread, one request after the other, whatever the connection."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        family = socket.AF_INET6 if ":" in faults.host else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.bind((faults.host, 0))
        self.listener.settimeout(0)
        self.seen = Seen(self.listener.getsockname()[:2])
        self.selector = selectors.DefaultSelector()
        self.listens_at = time.monotonic() + faults.listens_after
        self.listening = False
        self.listen_in_time()
        self.wake, self.waker = socket.socketpair()
        self.selector.register(self.wake, selectors.EVENT_READ)
        self.held: dict[socket.socket, bytes] = {}
        self.since: dict[socket.socket, float] = {}
        self.chance = random.Random(seed)  # noqa: S311  it is to be repeatable
        self.pose = 0
        self.ended: set[str] = set()

    def listen_in_time(self) -> None:
        if not self.listening and time.monotonic() >= self.listens_at:
            self.listening = True
            self.listener.listen(512)
            self.selector.register(self.listener, selectors.EVENT_READ)

    def run(self) -> None:
        while not self.faults.ends_after or self.pose < self.faults.ends_after:
            self.listen_in_time()
            for key, _ in self.selector.select(0.05):
                link = key.fileobj
                if link is self.wake:
                    return
                if link is self.listener:
                    self.accept()
                elif isinstance(link, socket.socket) and link in self.held:
                    self.read(link)
            for link in [one for one, since in self.since.items() if self.too_slow(since)]:
                self.say(link, 408, {"code": "request_timeout"})
                self.drop(link)
        for gone in (self.listener, *self.held):
            gone.close()

    def too_slow(self, since: float) -> bool:
        return time.monotonic() - since > self.faults.slow_after

    def accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                link, _ = self.listener.accept()
                self.held[link] = b""
                self.selector.register(link, selectors.EVENT_READ)
                self.seen.connections += 1
                self.seen.most_at_once = max(self.seen.most_at_once, len(self.held))

    def read(self, link: socket.socket) -> None:
        try:
            data = link.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self.drop(link)
            return
        self.held[link] += data
        head, found, body = self.held[link].partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        self.seen.hosts.add(fields["host"])
        path = lines[0].split(" ")[1]
        signed = next((one for one in lines if one.startswith("Authorization")), None)
        if signed is None:
            # Whoever has no token learns which routes there are.
            self.held[link] = b""
            status = 401 if path == "/v1/pose/frames" else 404
            self.say(link, status, {"code": "not_for_you"})
            return
        fields["authorization"] = signed
        if told := fields.get("x-client-dropped"):
            self.seen.told.append(told)
        if "transfer-encoding" in fields:
            if len(body) > 65_536:
                self.say(link, 413, {"code": "body_too_large"})
                self.finish(link)
            return
        length = int(fields["content-length"])
        if length > 65_536:
            self.say(link, 413, {"code": "body_too_large"})
            self.finish(link)
            return
        if len(body) < length:
            self.since.setdefault(link, time.monotonic())
            return
        self.since.pop(link, None)
        self.held[link] = b""
        self.answer(link, path, fields["authorization"].rpartition(" ")[2], body)

    def finish(self, link: socket.socket) -> None:
        """Close after an early answer, reading on a little: a reset would destroy the answer."""
        self.selector.unregister(link)
        link.settimeout(0.05)
        with suppress(OSError):
            link.shutdown(socket.SHUT_WR)
            while link.recv(1 << 18):
                pass
        link.close()
        del self.held[link]
        self.since.pop(link, None)

    def drop(self, link: socket.socket) -> None:
        self.selector.unregister(link)
        del self.held[link]
        self.since.pop(link, None)
        link.close()

    def answer(self, link: socket.socket, path: str, token: str, body: bytes) -> None:
        part = token.split(".")[1]
        claims = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        session = claims["exercise_session_id"]
        if claims["exp"] <= time.time():
            self.say(link, 401, {"code": "token_expired"})
        elif path == "/v1/media/events":
            self.seen.events.append(json.loads(body))
            self.say(link, 202, {"status": "accepted", "session_id": session})
        elif path == f"/v1/sessions/{session}/end":
            self.ended.add(session)
            self.seen.ends.append((session, json.loads(body)))
            self.say(link, 200, {"session_id": session, "status": "completed"})
        elif path == "/v1/pose/frames":
            self.take(link, session, body)
        else:
            self.say(link, 404, {"code": "not_found"})

    def take(self, link: socket.socket, session: str, body: bytes) -> None:
        faults, seen = self.faults, self.seen
        self.pose += 1
        if self.pose == faults.stall_at:
            time.sleep(faults.stall_seconds)
        try:
            frames = decode(body).frame_count
        except WireError as error:
            if not faults.forgives_malformed:
                self.say(link, 400, {"code": error.fault.value})
                return
            frames = 1
        seen.late_batches += session in self.ended
        if self.chance.random() < faults.close_before:
            self.drop(link)
            return
        if faults.refuse_every and self.pose % faults.refuse_every == 0:
            self.say(link, 429, {"code": "rate_session"})
            return
        if faults.thin_every and self.pose % faults.thin_every == 0:
            frames = (frames + 1) // 2
        if faults.drop_every and self.pose % faults.drop_every == 0:
            seen.dropped += 1
        else:
            twice = faults.twice_every and self.pose % faults.twice_every == 0
            seen.batches[session] += 1
            seen.position[session] += (2 if twice else 1) * frames * LANDMARK_BYTES_PER_FRAME
        if faults.short_every and self.pose % faults.short_every == 0:
            frames -= 1
        if faults.empty_every and self.pose % faults.empty_every == 0:
            frames = 0
        self.conclude(link, session, frames)

    def conclude(self, link: socket.socket, session: str, frames: int) -> None:
        """Answer a batch that was taken, or fail to."""
        faults = self.faults
        if self.chance.random() < faults.close_after:
            self.drop(link)
        elif self.chance.random() < faults.garbage:
            link.sendall(b"no HTTP at all")
        elif self.chance.random() < faults.error_after:
            self.say(link, 500, {"code": "internal_error"})
        elif self.chance.random() >= faults.silent:
            position = self.seen.position[session]
            named = session
            if faults.misnames_every and self.pose % faults.misnames_every == 0:
                named = "another"
            reply = {"frames_accepted": frames, "session_id": named}
            self.say(link, 202, {**reply, "buffer_position_bytes": position})

    def say(self, link: socket.socket, status: int, body: dict[str, Any]) -> None:
        code = body.get("code", "")
        self.seen.statuses[f"{status} {code}".strip()] += 1
        text = json.dumps(body).encode()
        wait = b""
        if status == 429 and self.faults.retry_after:
            wait = b"retry-after: %d\r\n" % self.faults.retry_after
        head = b"HTTP/1.1 %d Some\r\n%bcontent-length: %d\r\n\r\n" % (status, wait, len(text))
        data = head + text
        with suppress(OSError):
            if not self.faults.byte_by_byte:
                link.sendall(data)
                return
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in data:
                link.sendall(bytes((byte,)))


@contextmanager
def serving(faults: Faults, seed: int = 0) -> Iterator[Seen]:
    """Run a server until the block ends."""
    server = _Server(faults, seed)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server.seen
    finally:
        server.waker.close()
        thread.join(5)
        server.selector.close()
        for link in (server.listener, server.wake, *server.held):
            link.close()


class _OneMember:
    """The same ten frames again and again: nobody here looks into them."""

    def __init__(self, frames: int) -> None:
        self._member = encode([[[0.0] * 4] * 33] * frames, range(frames))

    def member(self, session: int, number: int) -> bytes:
        assert session >= 0
        assert number >= 0
        return self._member


@dataclass
class Outcome:
    """A whole run."""

    account: WorkerAccount
    ticks: list[Tick]
    seconds: float


Load = Callable[..., Outcome]
Serve = Callable[..., Seen]


def make_plan(**changes: Any) -> LoadPlan:
    """Make a plan of a short run; half a second of 200 batches a second unless told otherwise."""
    usual: dict[str, Any] = {
        "sessions": 20, "ramp_seconds": 0.1, "seconds": 0.4, "interval_seconds": 0.1,
        "jitter": 0.2, "frames_a_batch": 10, "connections": 4, "reconnect_share": 0.0,
        "offline_seconds": 0.2, "hostile_share": 0.0, "media": False, "ends": False,
        "processes": 1, "seed": 7,
    }  # fmt: skip
    return LoadPlan(**(usual | changes))


def run_load(
    address: tuple[str, int],
    *,
    stopped: Callable[[], bool] = lambda: False,
    emit: Callable[[Tick], None] = lambda _: None,
    first_session: int = 0,
    first_batch: int = 0,
    worker: int = 0,
    routes: frozenset[Kind] = ROUTES,
    **changes: Any,
) -> Outcome:
    """Do a plan's work against a server, in this thread."""
    plan = make_plan(**changes)
    ticks: list[Tick] = []

    def take(tick: Tick) -> None:
        ticks.append(tick)
        emit(tick)

    begun = time.monotonic()
    account = work(
        Assignment(
            plan, worker, address, b"s" * 32, begun + 0.02, first_session, first_batch, routes
        ),
        take,
        stopped,
        _OneMember(plan.frames_a_batch),
    )
    return Outcome(account, ticks, time.monotonic() - begun)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Give the starter of servers; all are stopped at the end."""
    with ExitStack() as stack:
        yield lambda seed=0, **faults: stack.enter_context(serving(Faults(**faults), seed))


@pytest.fixture
def load() -> Load:
    """Give what runs a load."""
    return run_load


@pytest.fixture
def plan() -> Callable[..., LoadPlan]:
    """Give the maker of plans."""
    return make_plan
