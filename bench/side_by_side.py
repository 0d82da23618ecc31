"""Penstock and peers that do the same work, side by side in one run.

Theory of operation
-------------------
::

    start all -> warm each of them up -> round 1: every server's turn -> round 2 ... -> stop all

All servers are started once, on one core, and take turns round by round, so that whatever else the
machine does meets all of them. They are kept rather than started anew because a fresh server first
has to verify every token and make every session and its file, which no production process does all
the time. Whoever waits is stopped (SIGSTOP), so that neither timers nor what is left to be written
take of the core; what waiting servers used of it is measured all the same. Penstock is warmed up
last and its turn is first, so that its sessions, which go to rest after `session_rest_seconds`,
never wait for longer than a round.

A turn is a short warm-up and the measured time; then it is settled. A server that keeps frames
writes them about a second after they came: its warm-up is longer than that, so that as much is
written as is taken in, and settling brings the rest to disk, so that every turn begins alike.

The first warm-up sends a batch to every session. A slow server does not get to all of them in the
time it has; its turns are then spread over those it has met, and the report says how many.
"""

import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from penstock.bench.closed_loop import ClosedLoop
from penstock.bench.errors import BenchError
from penstock.bench.machine import allow_open_files, choose_cores
from penstock.bench.peer_figures import Turns, choose_base, compare, faults, round_of
from penstock.bench.peers.catalogue import KINDS, PENSTOCK, Entry, Form, entries
from penstock.bench.report.models import PeerRound, PeersRun
from penstock.bench.scrape import wait_settled
from penstock.bench.servers import SECRET, RunningServer, ServerFailedError, run_server
from penstock.bench.traffic import Spread, Traffic, make_traffic

FORMS: tuple[Form, ...] = ("accept", "full")

# Longer where files are made: with few sessions, several batches of one would share a write.
_FIRST_WARM_UP_SECONDS = {"accept": 4.0, "full": 10.0}
_WARM_UP_SECONDS = {"accept": 0.25, "full": 1.25}
# A round takes no longer than this, so that no session goes to rest (after session_rest_seconds, a
# minute) and has to be woken in the measured time.
_MOST_ROUND_SECONDS = 45.0
_SETTLE_SECONDS = 30.0
_OTHER_FILES = 100


@dataclass(slots=True, frozen=True)
class Plan:
    """What is compared, and how."""

    rounds: int
    seconds: float
    connections: int
    sessions: int
    names: Collection[str] = tuple(KINDS)
    forms: Collection[Form] = FORMS
    settings: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(slots=True, frozen=True)
class Outcome:
    """What was found, what was measured with, and what speaks against the figures."""

    run: PeersRun
    server: dict[str, str]
    faults: list[str]


@dataclass(slots=True)
class _Contender:
    entry: Entry
    server: RunningServer
    generator: ClosedLoop
    requests: Spread
    met_sessions: int = 0
    turns: list[PeerRound] = field(default_factory=list[PeerRound])

    @property
    def name(self) -> str:
        return f"{self.entry.name} {self.entry.form}"

    def first_warm_up(self, traffic: Traffic) -> None:
        """Send a batch to every session, or to as many as there is time for."""
        sessions = len(traffic.heads)
        with self.server.awake():
            limit = _FIRST_WARM_UP_SECONDS[self.entry.form]
            seen = self.generator.run(self.requests, seconds=limit, requests=sessions)
            self.settle()
        self.met_sessions = min(sessions, max(1, seen.requests))
        self.requests = Spread(traffic, range(self.met_sessions))
        for connection in range(self.met_sessions):  # go on with every session's second batch
            self.requests(connection)

    def take_turn(self, seconds: float, others: Sequence[RunningServer]) -> None:
        """Measure it once."""
        with self.server.awake():
            self.generator.run(self.requests, seconds=_WARM_UP_SECONDS[self.entry.form])
            used, used_elsewhere = self.server.cpu_seconds(), _total_cpu(others)
            load = self.generator.run(self.requests, seconds=seconds)
            # Read before settling: frames still unwritten now stand for those at the start.
            cpu = self.server.cpu_seconds() - used
            elsewhere = _total_cpu(others) - used_elsewhere
            resident = self.server.resident_bytes()
            self.settle()
        self.turns.append(
            round_of(
                load,
                cpu_seconds=cpu,
                resident_bytes=resident,
                idle_cpu_share=elsewhere / load.seconds,
            )
        )

    def settle(self) -> None:
        """Wait until nothing that was accepted is still on its way to disk."""
        if self.entry.name == PENSTOCK:
            wait_settled(self.server)
        elif self.entry.folder is not None:
            ask_to_settle(self.server)


def run_side_by_side(plan: Plan, progress: Callable[[str], None]) -> Outcome:
    """Run all rounds. Raises BenchError when a server fails or the run cannot take place."""
    _check_round(plan)
    cores = choose_cores()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-peers-")))
        progress("preparing the servers and the load")
        wanted, left_out = entries(plan.names, plan.forms, scratch, plan.sessions, plan.settings)
        if not wanted:
            why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
            raise BenchError(f"nothing is left to be compared {why}".rstrip())
        allow_open_files(plan.connections * len(wanted) + _OTHER_FILES)
        traffic = make_traffic(plan.sessions, SECRET)
        contenders: list[_Contender] = []
        for entry in wanted:
            progress(f"starting {entry.name} {entry.form}")
            server = stack.enter_context(run_server(entry.spec, cores.server))
            generator = stack.enter_context(ClosedLoop(server.address, plan.connections))
            requests = Spread(traffic, range(plan.sessions))
            contenders.append(_Contender(entry, server, generator, requests))
            server.sleep()
        contenders.sort(key=lambda one: one.entry.name != PENSTOCK)
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        if cores.generator is not None:
            os.sched_setaffinity(0, {cores.generator})
        _run_rounds(plan, contenders, traffic, progress)
    told = next((one.spec.told for one in wanted if one.name == PENSTOCK), {})
    server_facts = {"pinning": cores.told}
    if told:
        settings = ", ".join(f"{name} = {value}" for name, value in told.items())
        server_facts["settings of penstock"] = f"defaults, but {settings}"
    load = (
        f"{plan.connections} connections, {plan.sessions:,} sessions, bodies of "
        f"{traffic.body_bytes:,.0f} bytes, {plan.rounds} rounds of {plan.seconds:g} s"
    )
    return _outcome(contenders, plan.sessions, load, server_facts, left_out)


def ask_to_settle(server: RunningServer, session: str = "") -> bytes:
    """Have a peer bring everything to its files; give what it tells of that session."""
    connection = HTTPConnection(*server.address, timeout=_SETTLE_SECONDS)
    try:
        connection.request("POST", f"/settle?session={session}", headers={"Content-Length": "0"})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, HTTPException) as error:
        server.check()
        raise ServerFailedError(f"{server.name} does not settle: {error}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise ServerFailedError(f"{server.name} answered {response.status} to POST /settle")
    return answer


def _check_round(plan: Plan) -> None:
    kinds = [KINDS[name] for name in plan.names]
    turns = [form for kind in kinds for form in kind.forms if form in plan.forms]
    seconds = sum(plan.seconds + _WARM_UP_SECONDS[form] for form in turns)
    if seconds > _MOST_ROUND_SECONDS:
        raise BenchError(
            f"a round of {len(turns)} turns would take {seconds:.0f} s, and sessions go to rest "
            f"when they wait so long; with {_MOST_ROUND_SECONDS:.0f} s at most, take shorter turns "
            "and more rounds"
        )


def _run_rounds(
    plan: Plan,
    contenders: Sequence[_Contender],
    traffic: Traffic,
    progress: Callable[[str], None],
) -> None:
    for contender in reversed(contenders):
        progress(f"warming up {contender.name}")
        contender.first_warm_up(traffic)
    last = ""
    for at in range(1, plan.rounds + 1):
        for contender in contenders:
            progress(f"round {at} of {plan.rounds}: {contender.name}{last}")
            others = [one.server for one in contenders if one is not contender]
            contender.take_turn(plan.seconds, others)
            last = f" (before: {contender.name} {contender.turns[-1].rate:,.0f}/s)"


def _outcome(
    contenders: Sequence[_Contender],
    sessions: int,
    load: str,
    server_facts: dict[str, str],
    left_out: dict[str, str],
) -> Outcome:
    turns = [
        Turns(one.entry.name, one.entry.form, _told(one, sessions), one.turns) for one in contenders
    ]
    names = dict.fromkeys(one.name for one in turns)
    base = choose_base(
        {name: frozenset(one.form for one in turns if one.name == name) for name in names}
    )
    peers = compare(turns, base)
    run = PeersRun(base=base, load=load, peers=peers, left_out=left_out)
    return Outcome(run, server_facts, faults(peers))


def _told(one: _Contender, sessions: int) -> str:
    if one.met_sessions == sessions:
        return one.entry.told
    return f"{one.entry.told}; with {one.met_sessions:,} of the sessions"


def _total_cpu(servers: Sequence[RunningServer]) -> float:
    return sum(server.cpu_seconds() for server in servers)
