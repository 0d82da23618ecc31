"""How the cost of ingest grows: with sessions, with frames a batch, with the age of a session.

Theory of operation
-------------------
Each repeat of each question has a fresh server, because memory once taken is rarely given back::

    sessions   the first 100 -> settled -> RSS -> a batch every 2 s each -> CPU a second
               up to 1,000   -> …          up to 10,000 -> …
    resting,   the same without the CPU: settled and laid to rest -> RSS
    own conn.  the same without the CPU, over a connection each -> RSS
    frames     for each size of batch: 1,000 new sessions, warm -> CPU a batch
    age        50 sessions sent through their minutes as fast as they are taken;
               at each age: settled -> RSS, then paced -> CPU a batch

"Settled" means that no frame is pending. What is left is what a session costs while it exists,
and what the allocator keeps from the load before, since that is resident too. New sessions send a
batch each second until three; a slower server stretches that, and with many sessions gets to disk
what it has before more comes, so no more is ever held than in a steady state. In a line through
the points, what the process and its first sessions take once is the intercept, not the slope.

A session's batches go forward in time through all phases, as a camera's do; one that began again
would be counted as repeated, and cost something else. Every batch must be accepted. Where
fewer a second were taken than were due, the point stands at the rate that there was, and the
report says so.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from penstock.bench import scale_lines
from penstock.bench.closed_loop import ClosedLoop
from penstock.bench.machine import allow_open_files, check_local_ports
from penstock.bench.report.models import ScaleRun
from penstock.bench.scale_lines import Points
from penstock.bench.scale_plan import ScalePlan
from penstock.bench.scale_steps import (
    BATCHES_EACH,
    CONNECTIONS,
    WARM_UP_SECONDS,
    Cost,
    batches_in,
    bring_up,
    fresh_server,
    paced,
    resident_kib,
    send,
)
from penstock.bench.scale_traffic import Patients, encode_batches
from penstock.bench.scrape import wait_settled
from penstock.bench.servers import SECRET
from penstock.bench.traffic import make_traffic

_INTERVAL_SECONDS = 2.0
_USUAL_FRAMES = 10
_FRAMES_SESSIONS = 1000
_AGE_SESSIONS = 50
# Sent by other sessions first, so that what the process takes once for such a load is taken.
_AGE_WARM_BATCHES = 120
_AGE_A_SECOND = 500.0
_BATCHES_A_MINUTE = 60
# Beside the connections.
_OTHER_FILES = 1024

Tell = Callable[[str], None]


@dataclass(slots=True)
class Progress:
    """Tells what was measured, and keeps what speaks against it."""

    tell: Tell
    faults: list[str] = field(default_factory=list[str])

    def say(self, turn: str, where: str, cost: Cost | None = None, more: str = "") -> None:
        """Tell a point, and note when it was not measured at the rate that was asked for."""
        parts = [where]
        if cost is not None:
            parts.append(f"{cost.us_a_batch:.1f} µs a batch")
            if cost.stretched:
                self.faults.append(
                    f"{where}, {turn}: of {cost.asked:,.0f} batches a second {cost.rate:,.0f} "
                    "were taken"
                )
        self.tell(f"{turn}: {', '.join([*parts, more] if more else parts)}")


def measure_scale(plan: ScalePlan, tell: Tell) -> tuple[ScaleRun, list[str]]:
    """Measure all that is asked and put lines through it; give them, and what speaks against them.

    Raises BenchError when a server fails or a batch is not accepted.
    """
    progress = Progress(tell)
    lines: list[Points] = []
    if "sessions" in plan.what:
        most = max(plan.sessions)
        connections = most if plan.own_connections else CONNECTIONS
        allow_open_files(_OTHER_FILES + connections)
        check_local_ports(connections)
        heads = make_traffic(most, SECRET).heads
        lines += _by_sessions(plan, heads, progress)
        lines.append(_memory_at_rest(plan, heads, progress))
        if plan.own_connections:
            lines.append(_memory_with_connections(plan, heads, progress))
    if "frames" in plan.what:
        lines += _by_frames(plan, progress)
    if "age" in plan.what:
        lines += _by_age(plan, progress)
    return ScaleRun(lines=[points.line() for points in lines]), progress.faults


def _by_sessions(plan: ScalePlan, heads: Sequence[bytes], progress: Progress) -> list[Points]:
    cpu = Points(scale_lines.cpu_by_rate())
    memory = Points(scale_lines.memory_by_sessions("live"))
    most = max(plan.sessions)
    batches = encode_batches(_USUAL_FRAMES, plan.most_batches(len(plan.sessions)))
    for turn in plan.turns:
        patients = Patients(heads, batches)
        with (
            fresh_server(plan.live_settings(), most) as server,
            ClosedLoop(server.address, CONNECTIONS) as loop,
        ):
            for new in plan.steps:
                bring_up(loop, patients.over(new), len(new), server)
                kib = resident_kib(server, new.stop, "live")
                memory.add(new.stop, kib, turn)
                every = patients.over(range(new.stop))
                cost = paced(loop, every, new.stop / _INTERVAL_SECONDS, plan.seconds, server)
                where = f"{new.stop:,} sessions"
                note = f"{turn}: {where}, {cost.us_a_batch:.1f} µs a batch"
                cpu.add(*cost.point, note)
                progress.say(turn, where, cost, f"{kib / 1024:.1f} MiB")
    return [cpu, memory]


def _memory_at_rest(plan: ScalePlan, heads: Sequence[bytes], progress: Progress) -> Points:
    memory = Points(scale_lines.memory_by_sessions("resting"))
    most = max(plan.sessions)
    batches = encode_batches(_USUAL_FRAMES, BATCHES_EACH)
    for turn in plan.turns:
        patients = Patients(heads, batches)
        with (
            fresh_server(plan.resting_settings(), most) as server,
            ClosedLoop(server.address, CONNECTIONS) as loop,
        ):
            for new in plan.steps:
                bring_up(loop, patients.over(new), len(new), server)
                kib = resident_kib(server, new.stop, "resting")
                memory.add(new.stop, kib, turn)
                progress.say(turn, f"{new.stop:,} sessions at rest", more=f"{kib / 1024:.1f} MiB")
    return memory


def _memory_with_connections(plan: ScalePlan, heads: Sequence[bytes], progress: Progress) -> Points:
    memory = Points(scale_lines.memory_by_sessions("live, a connection each"))
    most = max(plan.sessions)
    batches = encode_batches(_USUAL_FRAMES, BATCHES_EACH)
    for turn in plan.turns:
        patients = Patients(heads, batches)
        with fresh_server(plan.connected_settings(), most) as server, ExitStack() as loops:
            for new in plan.steps:
                loop = loops.enter_context(ClosedLoop(server.address, len(new)))
                bring_up(loop, patients.each_on_its_own(new), len(new), server)
                kib = resident_kib(server, new.stop, "live")
                memory.add(new.stop, kib, turn)
                where = f"{new.stop:,} sessions and connections"
                progress.say(turn, where, more=f"{kib / 1024:.1f} MiB")
    return memory


def _by_frames(plan: ScalePlan, progress: Progress) -> list[Points]:
    by_frames = Points(scale_lines.cpu_by_frames(_FRAMES_SESSIONS))
    by_bytes = Points(scale_lines.cpu_by_bytes(_FRAMES_SESSIONS))
    sessions = _FRAMES_SESSIONS * len(plan.frames)
    heads = make_traffic(sessions, SECRET).heads
    batches = {size: encode_batches(size, plan.most_batches(1)) for size in plan.frames}
    for at, turn in enumerate(plan.turns):
        patients = {size: Patients(heads, batches[size]) for size in plan.frames}
        # The other way round in every other turn: what drifts does not become a slope.
        sizes = sorted(plan.frames, reverse=bool(at % 2))
        with (
            fresh_server(plan.settings, sessions) as server,
            ClosedLoop(server.address, CONNECTIONS) as loop,
        ):
            for place, size in enumerate(sizes):
                requests = patients[size].over(
                    range(place * _FRAMES_SESSIONS, (place + 1) * _FRAMES_SESSIONS)
                )
                bring_up(loop, requests, _FRAMES_SESSIONS, server)
                cost = paced(loop, requests, float(_FRAMES_SESSIONS), plan.seconds, server)
                kib = patients[size].body_bytes / 1024
                by_frames.add(size, cost.us_a_batch, f"{turn}: {kib:.1f} KiB a batch")
                by_bytes.add(kib, cost.us_a_batch, f"{turn}: {size} frames a batch")
                progress.say(turn, f"{size} frames a batch", cost)
    return [by_frames, by_bytes]


def _by_age(plan: ScalePlan, progress: Progress) -> list[Points]:
    cpu = Points(scale_lines.cpu_by_age(_AGE_SESSIONS))
    memory = Points(scale_lines.memory_by_age(_AGE_SESSIONS))
    heads = make_traffic(2 * _AGE_SESSIONS, SECRET).heads
    warm, measured = (
        -(-batches_in(_AGE_A_SECOND, seconds) // _AGE_SESSIONS)
        for seconds in (WARM_UP_SECONDS, plan.seconds)
    )
    batches = encode_batches(
        _USUAL_FRAMES,
        max(plan.minutes) * _BATCHES_A_MINUTE + len(plan.minutes) * (warm + measured),
    )
    first, others = range(_AGE_SESSIONS), range(_AGE_SESSIONS, 2 * _AGE_SESSIONS)
    for turn in plan.turns:
        patients = Patients(heads, batches)
        with (
            fresh_server(plan.age_settings(), len(heads)) as server,
            ClosedLoop(server.address, CONNECTIONS) as loop,
        ):
            send(loop, patients.over(others), _AGE_WARM_BATCHES * len(others))
            wait_settled(server)
            before = server.resident_bytes()
            for minutes in sorted(plan.minutes):
                # The warm-up ages, too; the age is that of the middle of what is measured.
                until = minutes * _BATCHES_A_MINUTE - warm - measured // 2
                more = max(1, until - patients.sent(0))
                send(loop, patients.over(first), more * len(first))
                wait_settled(server)
                kib = (server.resident_bytes() - before) / 1024 / len(first)
                memory.add(patients.sent(0) / _BATCHES_A_MINUTE, kib, turn)
                cost = paced(loop, patients.over(first), _AGE_A_SECOND, plan.seconds, server)
                age = (patients.sent(0) - measured / 2) / _BATCHES_A_MINUTE
                cpu.add(age, cost.us_a_batch, turn)
                progress.say(turn, f"{age:.1f} minutes old", cost, f"{kib:.1f} KiB a session")
    return [cpu, memory]
