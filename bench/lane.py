"""`python -m penstock.bench.lane`: Penstock against a plain server on the same framework.

Theory of operation
-------------------
Both servers are started once, on one core, and take turns round by round, so that whatever else
the machine does meets both. They are kept rather than started anew because a fresh Penstock first
has to make every session, which no production process does all the time; the first turn warms each
of them up for that. The one that waits has nothing to do: Penstock's frames are on disk before the
other's turn begins, and what it used of the core meanwhile is measured and reported.

Penstock runs as in production: every gate, the sessions' actors, the buffers, the spool. The peer
does only what the route cannot do without.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from penstock.bench.closed_loop import ClosedLoop, ServerGoneError
from penstock.bench.lane_report import Round, faults, plain_load, render, summarize
from penstock.bench.machine import (
    TooFewFilesError,
    allow_open_files,
    choose_cores,
    machine_facts,
)
from penstock.bench.options import add_common, by_name, number, whole
from penstock.bench.scrape import wait_settled
from penstock.bench.servers import (
    SECRET,
    RunningServer,
    ServerFailedError,
    end_on_sigterm,
    penstock_spec,
    plain_spec,
    run_server,
)
from penstock.bench.tables import complain, end_progress, progress, say, write_json
from penstock.bench.traffic import Spread, Traffic, make_traffic

# The first warm-up sends one batch to every session; on a slow machine it is cut off here. Its
# frames are then brought to disk: a session's first append makes its file, which costs ten others.
_FIRST_WARM_UP_SECONDS = 20.0
# Longer than spool_flush_seconds: from then on as much is written as is taken in.
_WARM_UP_SECONDS = 1.25
# A server waits for its turn no longer than this, so that its sessions do not go to rest (after
# session_rest_seconds, a minute) and have to be woken in the measured time.
_MOST_SECONDS = 45.0


@dataclass(slots=True)
class _Contender:
    server: RunningServer
    generator: ClosedLoop
    requests: Spread
    settle: Callable[[], None]
    warm: bool = False

    def warm_up(self, sessions: int) -> None:
        """Bring it to the state in which it is measured."""
        if not self.warm:
            self.warm = True
            seconds = _FIRST_WARM_UP_SECONDS
            self.generator.run(self.requests, seconds=seconds, requests=sessions)
            self.settle()
        self.generator.run(self.requests, seconds=_WARM_UP_SECONDS)


def compare(
    traffic: Traffic,
    *,
    rounds: int,
    seconds: float,
    connections: int,
    settings: dict[str, object],
) -> tuple[list[Round], dict[str, str]]:
    """Run all rounds; give them, and what there is to say about how they were run."""
    sessions = len(traffic.heads)
    cores = choose_cores()
    found: list[Round] = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-lane-")))
        penstock = penstock_spec(scratch / "penstock", sessions, **settings)
        progress("starting the servers")
        contenders = []
        for spec in (penstock, plain_spec()):
            server = stack.enter_context(run_server(spec, cores.server))
            generator = stack.enter_context(ClosedLoop(server.address, connections))
            settle = _settle_penstock(server) if spec is penstock else _settled
            requests = Spread(traffic, range(sessions))
            contenders.append(_Contender(server, generator, requests, settle))
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        if cores.generator is not None:
            os.sched_setaffinity(0, {cores.generator})
        for at in range(1, rounds + 1):
            for contender in contenders:
                progress(f"round {at} of {rounds}: {contender.server.name}{_so_far(found)}")
                found.append(_turn(contender, contenders, sessions, seconds))
    told = ", ".join(f"{name} = {value}" for name, value in penstock.told.items())
    about = {
        "load": f"{connections} connections, {sessions:,} sessions, bodies of "
        f"{traffic.body_bytes:,.0f} bytes, {rounds} rounds of {seconds:g} s",
        "pinning": cores.told,
        "settings of penstock": f"defaults, but {told}",
    }
    return found, about


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; give 0 when its figures can be used."""
    options = _parser().parse_args(arguments)
    end_on_sigterm()
    machine = machine_facts()
    try:
        allow_open_files(2 * options.connections + 100)
        rounds, about = compare(
            make_traffic(options.sessions, SECRET),
            rounds=options.rounds,
            seconds=options.seconds,
            connections=options.connections,
            settings=by_name(options.settings),
        )
    except (ServerFailedError, ServerGoneError, TooFewFilesError) as error:
        end_progress()
        complain("lane", str(error))
        return 1
    except KeyboardInterrupt:
        end_progress()
        return 130
    names = dict.fromkeys(one.server for one in rounds)
    summaries = [summarize([one for one in rounds if one.server == name]) for name in names]
    end_progress()
    say(render(summaries, about | machine))
    wrong = faults(summaries)
    if options.json is not None:
        plain: dict[str, Any] = {
            "about": about,
            "machine": machine,
            "servers": [asdict(one) for one in summaries],
            "rounds": [_plain_round(one) for one in rounds],
            "faults": wrong,
        }
        write_json(options.json, plain)
    for line in wrong:
        complain("lane", line)
    return 1 if wrong else 0


def _turn(
    contender: _Contender, contenders: Sequence[_Contender], sessions: int, seconds: float
) -> Round:
    others = [one.server for one in contenders if one is not contender]
    contender.warm_up(sessions)
    used, used_elsewhere = contender.server.cpu_seconds(), _total_cpu(others)
    load = contender.generator.run(contender.requests, seconds=seconds)
    # Read before settling: frames still unwritten now stand for those unwritten at the start.
    cpu, elsewhere = contender.server.cpu_seconds() - used, _total_cpu(others) - used_elsewhere
    resident = contender.server.resident_bytes()
    contender.settle()
    return Round(contender.server.name, load, cpu, resident, elsewhere / load.seconds)


def _total_cpu(servers: Sequence[RunningServer]) -> float:
    return sum(server.cpu_seconds() for server in servers)


def _settle_penstock(server: RunningServer) -> Callable[[], None]:
    return lambda: wait_settled(server)


def _settled() -> None:
    """Do nothing: the peer has done its work when it answers."""


def _so_far(rounds: Sequence[Round]) -> str:
    return f" (before: {rounds[-1].server} {rounds[-1].load.rate:,.0f}/s)" if rounds else ""


def _plain_round(one: Round) -> dict[str, Any]:
    return {
        "server": one.server,
        "load": plain_load(one.load),
        "cpu_seconds": one.cpu_seconds,
        "cpu_microseconds_a_request": one.cpu_microseconds,
        "resident_bytes": one.resident_bytes,
        "idle_cpu_share": one.idle_cpu_share,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m penstock.bench.lane",
        description="Measure Penstock's pose route against the same route on plain Hypercorn and "
        "Quart-Trio, one core for the server and one for the generator.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--rounds", type=whole(1, 1000), default=3, help="turns of each server (default: 3)"
    )
    parser.add_argument(
        "--seconds",
        type=number(0.1, _MOST_SECONDS),
        default=4.0,
        help="measured time of a turn (default: 4)",
    )
    parser.add_argument(
        "--sessions",
        type=whole(1, 1_000_000),
        default=12_000,
        help="sessions that the requests are spread over; so many that each keeps within its rate "
        "limit (default: 12000)",
    )
    add_common(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
