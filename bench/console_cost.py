"""What consoles that are open cost the engine: batches a second with them and without, in turns.

Theory of operation
-------------------
::

    start -> sign in -> warm up -> round 1: none, open, open, none -> round 2 ... -> stop

One Penstock, on one core, that is asked as fast as it answers. In the turns that are called open,
so many streams of the flow page are listened to, as pages listen to them. The two kinds take turns
within a round, in an order that favours neither, so that whatever else the machine does meets both;
a round's ratio is that of its sums. What the listeners themselves take is on the generator's core.
Batches a second of the server's processor time say the same on a machine that does other things.
"""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import jwt

from penstock.bench.closed_loop import ClosedLoop
from penstock.bench.errors import BenchError
from penstock.bench.machine import allow_open_files, choose_cores
from penstock.bench.scrape import wait_settled
from penstock.bench.servers import SECRET, RunningServer, penstock_spec, run_server
from penstock.bench.traffic import Spread, make_traffic, org_id, principal_id

_WARM_UP_SECONDS = 1.25
_FIRST_WARM_UP_SECONDS = 5.0
_SIGN_IN_SECONDS = 10.0
_OTHER_FILES = 100
_READ_BYTES = 65_536
_TOKEN_SECONDS = 3600
_ORDER = (False, True, True, False)


@dataclass(slots=True, frozen=True)
class ConsoleCostPlan:
    """How much is measured."""

    consoles: int
    rounds: int
    seconds: float
    connections: int
    sessions: int


@dataclass(slots=True, frozen=True)
class Beside:
    """A figure without and with consoles, medians of the rounds, and the ratio with its range."""

    without: float
    with_open: float
    ratio: float
    ratio_low: float
    ratio_high: float


@dataclass(slots=True, frozen=True)
class ConsoleCost:
    """Batches a second and a processor second, with as many consoles open as without any."""

    consoles: int
    per_second: Beside
    per_cpu_second: Beside
    samples_heard: int
    pinning: str
    faults: tuple[str, ...]


@dataclass(slots=True)
class _Listeners:
    """Pages that listen to the flow, each on a connection of its own."""

    address: tuple[str, int]
    cookie: str
    heard: list[int] = field(default_factory=list[int])

    @contextmanager
    def listening(self, count: int) -> Iterator[None]:
        links = [self._open() for _ in range(count)]
        self.heard = [0] * count
        threads = [
            threading.Thread(target=self._listen, args=(number, link), daemon=True)
            for number, link in enumerate(links)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for link in links:
                link.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
            for link in links:
                link.close()

    def _open(self) -> socket.socket:
        link = socket.create_connection(self.address, _SIGN_IN_SECONDS)
        link.sendall(
            b"GET /console/flow/live HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n"
            b"Cookie: %b\r\n\r\n" % self.cookie.encode("ascii")
        )
        first = link.recv(_READ_BYTES)
        if not first.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"the console does not let listen: {first[:80]!r}")
        link.settimeout(None)
        return link

    def _listen(self, number: int, link: socket.socket) -> None:
        while True:
            try:
                data = link.recv(_READ_BYTES)
            except OSError:
                return
            if not data:
                return
            self.heard[number] += data.count(b"event: sample")


def measure_console_cost(plan: ConsoleCostPlan, progress: Callable[[str], None]) -> ConsoleCost:
    """Run all rounds. Raises BenchError when the server fails or the run cannot take place."""
    cores = choose_cores()
    allow_open_files(plan.connections + plan.consoles + _OTHER_FILES)
    traffic = make_traffic(plan.sessions, SECRET)
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="penstock-console-cost-") as folder:
        spec = penstock_spec(
            Path(folder) / "scratch",
            plan.sessions,
            # A closed loop asks as fast as it can: the limits would be all that is measured.
            rate_batches_per_second=1000,
            rate_burst=1000,
            # Those of the turn before may not all be gone yet.
            console_streams=2 * plan.consoles,
        )
        progress("starting penstock")
        with (
            run_server(spec, cores.server) as server,
            ClosedLoop(server.address, plan.connections) as generator,
        ):
            try:
                if cores.generator is not None:
                    os.sched_setaffinity(0, {cores.generator})
                requests = Spread(traffic, range(plan.sessions))
                listeners = _Listeners(server.address, _sign_in(server))
                progress("warming up")
                generator.run(requests, seconds=_FIRST_WARM_UP_SECONDS, requests=plan.sessions)
                wait_settled(server)
                turns = _Turns(plan, server, generator, requests, listeners)
                turns.run(progress)
            finally:
                os.sched_setaffinity(0, before)
    return turns.outcome(cores.told)


@dataclass(slots=True)
class _Sum:
    """Both turns of a kind in one round."""

    batches: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


@dataclass(slots=True)
class _Turns:
    """The rounds, and what they have shown so far."""

    plan: ConsoleCostPlan
    server: RunningServer
    generator: ClosedLoop
    requests: Spread
    listeners: _Listeners
    rounds: list[dict[bool, _Sum]] = field(default_factory=list["dict[bool, _Sum]"])
    heard: int = 0
    faults: list[str] = field(default_factory=list[str])

    def run(self, progress: Callable[[str], None]) -> None:
        for at in range(1, self.plan.rounds + 1):
            progress(f"round {at} of {self.plan.rounds}")
            sums = {False: _Sum(), True: _Sum()}
            for is_open in _ORDER:
                self._turn(sums[is_open], is_open=is_open)
            self.rounds.append(sums)

    def _turn(self, into: _Sum, *, is_open: bool) -> None:
        with self.listeners.listening(self.plan.consoles if is_open else 0):
            self.generator.run(self.requests, seconds=_WARM_UP_SECONDS)
            before = list(self.listeners.heard)
            used = self.server.cpu_seconds()
            load = self.generator.run(self.requests, seconds=self.plan.seconds)
            into.cpu_seconds += self.server.cpu_seconds() - used
            into.batches += load.requests
            into.seconds += load.seconds
            heard = [now - then for now, then in zip(self.listeners.heard, before, strict=True)]
        others = {status: n for status, n in load.by_status.items() if status != 202}
        if others or load.failures:
            self.faults.append(f"not all batches were taken: {others}, {load.failures} unanswered")
        self.heard += sum(heard)
        if any(count < self.plan.seconds / 2 for count in heard):
            self.faults.append(f"a page heard {min(heard)} samples in {self.plan.seconds:g} s")
        wait_settled(self.server)

    def outcome(self, pinning: str) -> ConsoleCost:
        return ConsoleCost(
            self.plan.consoles,
            self._beside(lambda found: found.batches / found.seconds),
            self._beside(lambda found: found.batches / max(found.cpu_seconds, 1e-9)),
            self.heard,
            pinning,
            tuple(dict.fromkeys(self.faults)),
        )

    def _beside(self, figure: Callable[[_Sum], float]) -> Beside:
        without = [figure(sums[False]) for sums in self.rounds]
        with_open = [figure(sums[True]) for sums in self.rounds]
        ratios = [more / less for less, more in zip(without, with_open, strict=True)]
        return Beside(median(without), median(with_open), median(ratios), min(ratios), max(ratios))


def _sign_in(server: RunningServer) -> str:
    """Sign in as a platform admin; give the cookie."""
    now = int(time.time())
    claims = {
        "iss": "penstock",
        "aud": "penstock",
        "sub": principal_id(0),
        "org_id": org_id(),
        "role": "platform_admin",
        "iat": now,
        "exp": now + _TOKEN_SECONDS,
    }
    # As `penstock_spec` gives it.
    token = jwt.encode(claims, "u" * 32, "HS256")
    connection = HTTPConnection(*server.address, timeout=_SIGN_IN_SECONDS)
    try:
        connection.request(
            "POST",
            "/console/sign-in",
            urlencode({"token": token}),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        answer = connection.getresponse()
        answer.read()
    except (OSError, HTTPException) as error:
        server.check()
        raise BenchError(f"{server.name} lets nobody sign in: {error}") from None
    finally:
        connection.close()
    cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
    if answer.status != 303 or not cookie:
        raise BenchError(f"{server.name} answered {answer.status} to the sign-in")
    return cookie
