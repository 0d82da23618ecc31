"""What one worker is to do: the kinds of request, and its part of the plan."""

from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from penstock.bench.errors import BenchError
from penstock.bench.report.models import LoadPlan


class Kind(StrEnum):
    """The kinds of request. The first four are honest patients'.

    Where live clients' ends close the run, they are of a kind of their own.
    """

    POSE = "pose"
    MEDIA = "media"
    END = "end"
    CLOSING = "closing end"
    HOSTILE_MALFORMED = "hostile_malformed"
    HOSTILE_OVERSIZED = "hostile_oversized"
    HOSTILE_SLOW = "hostile_slow"
    HOSTILE_EXPIRED = "hostile_expired"


ENDS = frozenset({Kind.END, Kind.CLOSING})
HOSTILE = (
    Kind.HOSTILE_MALFORMED,
    Kind.HOSTILE_OVERSIZED,
    Kind.HOSTILE_SLOW,
    Kind.HOSTILE_EXPIRED,
)
# What a hostile client may have open at once: one connection for its quick requests, and one for
# each slow one, of which it begins one in four seconds and gives each twenty.
HOSTILE_CONNECTIONS = 6
# For so long an ended session's connection may stay, until the whole run is over.
_END_SECONDS = 60.0
# Live clients' ends that close the run are so many a second, and each may stay so long.
CLOSING_ENDS_PER_SECOND = 200.0
_CLOSING_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Assignment:
    """One worker's part; picklable.

    The worker handles the sessions `worker`, `worker + processes` and so on. `begin_at` is the
    `time.monotonic()` at which second 0 begins; on Linux all processes share that clock.
    `first_session` is added to the number of every session, so that repeated runs against one
    server use fresh sessions, or go on with old ones from the batch `first_batch` on. `routes`
    tells which of media and end the server serves; others are not sent.
    """

    plan: LoadPlan
    worker: int
    address: tuple[str, int]
    secret: bytes
    begin_at: float
    first_session: int
    first_batch: int
    routes: frozenset[Kind]


def check_plan(plan: LoadPlan) -> None:
    """Raise BenchError when there is no such load."""
    if not 0 <= plan.jitter <= 0.5:
        # Beyond a half, a batch could come due before the one ahead of it.
        raise BenchError(f"the jitter is between 0 and 0.5 of the interval, not {plan.jitter}")
    if plan.interval_seconds <= 0 or plan.seconds < 0 or plan.ramp_seconds < 0:
        raise BenchError("the interval must be above 0 seconds, ramp and run not below 0")
    if plan.sessions < 1 or plan.frames_a_batch < 1 or plan.processes < 1:
        raise BenchError("a load has at least one session, one frame a batch and one process")
    if plan.connections is not None and plan.connections < plan.processes:
        raise BenchError(
            f"{plan.processes} processes need at least as many connections, not {plan.connections}"
        )
    if not (0 <= plan.reconnect_share <= 1 and plan.hostile_share >= 0):
        raise BenchError("the share of reconnecting sessions is between 0 and 1, of hostile >= 0")
    if plan.ends_per_second < 0 or (plan.ends_per_second and plan.reconnect_share):
        # A session that ends while it is offline would tell its end before its last batches.
        raise BenchError("ends a second are 0 or more, and none with sessions that reconnect")
    if plan.live_clients and (plan.connections is not None or plan.reconnect_share):
        raise BenchError("live clients have connections of their own, and do not reconnect")
    if plan.orgs < 1 or not 0 <= plan.noisy_sessions < plan.sessions:
        raise BenchError("there is an organisation at least, and not all sessions are too many")


def authority(address: tuple[str, int]) -> str:
    """Write an address as URLs and the Host header do, an IPv6 one in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def hostile_clients(plan: LoadPlan) -> int:
    """Give how many hostile clients there are, beside the sessions."""
    return round(plan.hostile_share * plan.sessions)


def org_of(plan: LoadPlan, session: int) -> int:
    """Give a session's organisation: each in turn, and the first one's beyond its part last."""
    return 0 if is_noisy(plan, session) else session % plan.orgs


def is_noisy(plan: LoadPlan, session: int) -> bool:
    """Say whether a session is one of those that the first organisation has too many."""
    return session >= plan.sessions - plan.noisy_sessions


def numbers_used(plan: LoadPlan) -> int:
    """Give how many sessions there will have been, those that take ended ones' place included."""
    lives = 1 + ceil(plan.ends_per_second * plan.seconds / plan.sessions)
    return lives * plan.sessions


def most_connections(plan: LoadPlan) -> int:
    """Give how many connections may be open at once, over all workers."""
    pool = plan.sessions if plan.connections is None else plan.connections
    if plan.connections is None:
        # A new session connects while the one before it still waits for the answer to its end.
        pool += ceil(plan.ends_per_second * _END_SECONDS)
        if plan.live_clients and plan.ends:
            # Each end has a connection beside that of its session, whose batch may be under way.
            pool += ceil(plan.ends_per_second * _END_SECONDS)
            pool += min(plan.sessions, ceil(CLOSING_ENDS_PER_SECOND * _CLOSING_SECONDS))
    elif plan.noisy_sessions:
        pool *= 2
    return pool + HOSTILE_CONNECTIONS * hostile_clients(plan)


def connections_of(plan: LoadPlan, worker: int) -> int | None:
    """Give how many pooled connections a worker may have; None is one a session."""
    if plan.connections is None:
        return None
    share, over = divmod(plan.connections, plan.processes)
    return share + (worker < over)
