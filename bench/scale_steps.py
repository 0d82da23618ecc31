"""The steps that the measurements of `penstock bench scale` are made of."""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock.bench.closed_loop import ClosedLoop, NextRequest
from penstock.bench.errors import BenchError
from penstock.bench.machine import choose_cores
from penstock.bench.scrape import Metrics, wait_settled, wait_until
from penstock.bench.servers import RunningServer, penstock_spec, run_server

CONNECTIONS = 32
# Batches by which a new session is brought to its usual state.
BATCHES_EACH = 3
# Each of them: a session's usual pace.
BRING_UP_SECONDS = 1.0
# Longer than spool_flush_seconds: from then on as much is written as is taken in.
WARM_UP_SECONDS = 1.25

# A run that takes this much longer than planned was not one at the planned rate.
_STRETCHED = 1.1
_PATIENCE_SECONDS = 60.0
# No server takes longer than a second for a batch of each, so waiting would only take time.
_FEW = 1000


@dataclass(slots=True, frozen=True)
class Cost:
    """What a number of batches took of the server, and the rate that was asked for."""

    asked: float
    batches: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Give batches a second."""
        return self.batches / self.seconds

    @property
    def stretched(self) -> bool:
        """Say whether the server or the generator could not keep up with the rate asked for."""
        return self.rate * _STRETCHED < self.asked

    @property
    def point(self) -> tuple[float, float]:
        """Give the rate and the processor's microseconds a second at it.

        Repeats have the same rate, the one asked for, unless that was not reached.
        """
        rate = self.rate if self.stretched else self.asked
        return rate, self.us_a_batch * rate

    @property
    def us_a_batch(self) -> float:
        """Give the processor's microseconds for a batch, with all that runs beside it."""
        return self.cpu_seconds * 1e6 / self.batches


@contextmanager
def fresh_server(settings: Mapping[str, object], sessions: int) -> Iterator[RunningServer]:
    """Run a Penstock around the block, on a core of its own and in a folder that goes away.

    Within the block this process, which sends, keeps to the other core.
    """
    cores, before = choose_cores(), os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="penstock-scale-") as folder:
        spec = penstock_spec(Path(folder) / "penstock", sessions, **settings)
        with run_server(spec, cores.server) as server:
            if cores.generator is not None:
                os.sched_setaffinity(0, {cores.generator})
            try:
                yield server
            finally:
                os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """Give the processor time of a process to the nanosecond, that of its ended threads included.

    It is the clock that clock_getcpuclockid(3) names, which Python has for threads only: the
    complement of the process id above three bits, of which 2 stands for the scheduler's account.
    """
    return time.clock_gettime((~pid << 3) | 2)


def send(loop: ClosedLoop, requests: NextRequest, count: int, rate: float | None = None) -> None:
    """Send so many batches, evenly at a rate or as fast as they are taken; all are accepted."""
    load = loop.run(requests, requests=count, per_second=rate)
    if load.by_status != {202: count}:
        found = ", ".join(f"{status}: {number:,}" for status, number in load.by_status.items())
        raise BenchError(
            f"not every batch was accepted: {found or 'no answers'}; {load.failures:,} failed"
        )


def bring_up(loop: ClosedLoop, requests: NextRequest, count: int, server: RunningServer) -> None:
    """Bring so many new sessions to their usual state: a batch a second each, then settled.

    Many are settled after each of their batches.
    """
    for left in reversed(range(BATCHES_EACH)):
        send(loop, requests, count, count / BRING_UP_SECONDS)
        if not left or count > _FEW:
            wait_settled(server)


def paced(
    loop: ClosedLoop, requests: NextRequest, rate: float, seconds: float, server: RunningServer
) -> Cost:
    """Warm up at a rate, then measure what batches at that rate take; settled afterwards."""
    server.check()
    send(loop, requests, batches_in(rate, WARM_UP_SECONDS), rate)
    count, pid = batches_in(rate, seconds), server.process.pid
    # Read before settling: frames still unwritten now stand for those unwritten at the start.
    begun, used = time.perf_counter(), cpu_seconds(pid)
    send(loop, requests, count, rate)
    cost = Cost(rate, count, time.perf_counter() - begun, cpu_seconds(pid) - used)
    wait_settled(server)
    return cost


def batches_in(rate: float, seconds: float) -> int:
    """Give how many batches are due within a time."""
    return max(1, round(rate * seconds))


def resident_kib(server: RunningServer, sessions: int, state: str) -> float:
    """Give the memory in RAM once so many sessions are all in a state and no frame is pending."""

    def holds(metrics: Metrics) -> bool:
        settled = metrics["penstock_frames_pending"] == 0
        return settled and metrics[f'penstock_sessions{{state="{state}"}}'] == sessions

    wait_until(server, f"{sessions:,} {state} sessions", holds, seconds=_PATIENCE_SECONDS)
    return server.resident_bytes() / 1024
