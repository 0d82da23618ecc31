"""`python -m penstock.bench.sessions_memory`: resident memory a live session, and a resting one.

Theory of operation
-------------------
::

    100 sessions, settled -> RSS        all N sessions, settled -> RSS
                          └-------- difference / (N - 100) --------┘

The first hundred take the memory that every process needs once. "Settled" means that no frame is
pending: the buffers are empty, and what is left is what a session costs while it only exists. It
includes what the allocator keeps from the load before, since that is resident too. Each phase has
a fresh server, because memory once taken is rarely given back.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from penstock.bench.closed_loop import ClosedLoop, LoadResult, NextRequest, ServerGoneError
from penstock.bench.machine import (
    TooFewFilesError,
    allow_open_files,
    choose_cores,
    machine_facts,
)
from penstock.bench.options import add_common, by_name, whole
from penstock.bench.scrape import Metrics, wait_settled, wait_until
from penstock.bench.servers import (
    SECRET,
    RunningServer,
    ServerFailedError,
    end_on_sigterm,
    penstock_spec,
    run_server,
)
from penstock.bench.tables import (
    complain,
    end_progress,
    facts,
    mebibytes,
    progress,
    say,
    table,
    write_json,
)
from penstock.bench.traffic import Own, Spread, Traffic, make_traffic

_FIRST = 100
_BATCHES_EACH = 3
# Of the resting phase; the default is a minute.
_REST_SECONDS = 5
# Defaults of the settings that a large run must raise, and files beside spool and connections.
_LIVE_LIMIT = 20_000
_CONNECTION_LIMIT = 20_000
_SPOOL_FILES = 4096
_OTHER_FILES = 256
# More than a batch costs while it waits, compressed and inflated.
_BATCH_BYTES = 16_384
_PATIENCE_SECONDS = 60.0


class NotAcceptedError(RuntimeError):
    """Batches were refused or lost, so the sessions are not what the figure is about."""


@dataclass(slots=True, frozen=True)
class Phase:
    """One way to hold the sessions."""

    name: str
    own_connections: bool = False
    resting: bool = False


@dataclass(slots=True, frozen=True)
class Reading:
    """What one phase found."""

    phase: str
    sessions: int
    first_bytes: int
    all_bytes: int
    settings: dict[str, str]

    @property
    def bytes_a_session(self) -> float:
        """Give the resident memory that each session beyond the first hundred added."""
        return (self.all_bytes - self.first_bytes) / (self.sessions - _FIRST)


def measure(
    phase: Phase, traffic: Traffic, connections: int, settings: dict[str, object]
) -> Reading:
    """Run one phase on a server of its own."""
    sessions = len(traffic.heads)
    raised = _needed_settings(phase, sessions) | settings
    with tempfile.TemporaryDirectory(prefix="penstock-memory-") as folder:
        spec = penstock_spec(Path(folder) / "penstock", sessions, **raised)
        progress(f"{phase.name}: starting")
        with run_server(spec, choose_cores().server) as server:
            rest = range(_FIRST, sessions)
            with ClosedLoop(server.address, min(connections, _FIRST)) as pooled:
                _send(pooled, Spread(traffic, range(_FIRST)), _FIRST, server)
                first = server.resident_bytes()
                progress(f"{phase.name}: {sessions:,} sessions send a batch a second")
                if not phase.own_connections:
                    _send(pooled, Spread(traffic, rest), len(rest), server)
                    return _read(phase, server, sessions, first, dict(spec.told))
            with ClosedLoop(server.address, len(rest)) as own:
                _send(own, Own(traffic, rest), len(rest), server)
                return _read(phase, server, sessions, first, dict(spec.told))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the phases and report; 0 when every batch was accepted."""
    options = _parser().parse_args(arguments)
    end_on_sigterm()
    phases = [Phase("live")]
    if options.own_connections:
        phases.append(Phase("live, a connection each", own_connections=True))
    phases.append(Phase("resting", resting=True))
    machine = machine_facts()
    try:
        most = options.sessions if options.own_connections else options.connections
        allow_open_files(_SPOOL_FILES + _OTHER_FILES + most)
        traffic = make_traffic(options.sessions, SECRET)
        readings = [
            measure(phase, traffic, options.connections, by_name(options.settings))
            for phase in phases
        ]
    except (ServerFailedError, ServerGoneError, TooFewFilesError, NotAcceptedError) as error:
        end_progress()
        complain("sessions_memory", str(error))
        return 1
    except KeyboardInterrupt:
        end_progress()
        return 130
    end_progress()
    say(render(readings))
    say("\n" + facts(machine))
    if options.json is not None:
        plain = [asdict(one) | {"bytes_a_session": one.bytes_a_session} for one in readings]
        write_json(options.json, {"machine": machine, "phases": plain})
    return 0


def render(readings: Sequence[Reading]) -> str:
    """Lay out the readings, with the settings that were not the defaults."""
    head = ("sessions are", "sessions", f"RSS with {_FIRST}", "RSS with all", "a session")
    rows = [
        (
            one.phase,
            f"{one.sessions:,}",
            mebibytes(one.first_bytes),
            mebibytes(one.all_bytes),
            f"{one.bytes_a_session / 1024:.1f} KiB",
        )
        for one in readings
    ]
    told = {
        f"settings, {one.phase}": ", ".join(
            f"{name} = {value}" for name, value in one.settings.items()
        )
        for one in readings
    }
    return f"{table(head, rows)}\n\n{facts(told)}"


def _send(loop: ClosedLoop, requests: NextRequest, sessions: int, server: RunningServer) -> None:
    # A batch a session and second, evenly spread. A slower server stretches it, and gets to disk
    # what it has before more comes: so no more is ever held than in a steady state.
    for _ in range(_BATCHES_EACH):
        load = loop.run(requests, requests=sessions, per_second=float(sessions))
        if load.by_status != {202: sessions}:
            raise NotAcceptedError(_not_accepted(load))
        wait_settled(server)


def _not_accepted(load: LoadResult) -> str:
    by_status = ", ".join(f"{status}: {count:,}" for status, count in load.by_status.items())
    return f"not every batch was accepted: {by_status or 'no answers'}; {load.failures:,} failed"


def _read(
    phase: Phase, server: RunningServer, sessions: int, first: int, settings: dict[str, str]
) -> Reading:
    state = "resting" if phase.resting else "live"

    def holds(metrics: Metrics) -> bool:
        settled = metrics["penstock_frames_pending"] == 0
        return settled and metrics[f'penstock_sessions{{state="{state}"}}'] == sessions

    progress(f"{phase.name}: waiting until all are {state} and no frame is pending")
    wait_until(server, f"{sessions:,} {state} sessions", holds, seconds=_PATIENCE_SECONDS)
    return Reading(phase.name, sessions, first, server.resident_bytes(), settings)


def _needed_settings(phase: Phase, sessions: int) -> dict[str, object]:
    needed: dict[str, object] = {}
    if sessions > _LIVE_LIMIT:
        needed["max_live_sessions"] = sessions
        needed["frame_memory_bytes"] = sessions * _BATCH_BYTES
    if phase.own_connections and sessions > _CONNECTION_LIMIT:
        needed["max_connections"] = sessions
    if phase.resting:
        needed["session_rest_seconds"] = _REST_SECONDS
    return needed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m penstock.bench.sessions_memory",
        description="Measure the resident memory that a session takes in Penstock.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--sessions",
        # One more than the first ones at least, or there is no difference to divide.
        type=whole(2 * _FIRST, 200_000),
        default=10_000,
        help="sessions that are brought to life (default: 10000)",
    )
    parser.add_argument(
        "--own-connections",
        action="store_true",
        help="also measure with a connection of its own for each session",
    )
    add_common(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
