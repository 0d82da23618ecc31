"""One process of the load: keeps to the schedule, whatever the server does.

Theory of operation
-------------------
Open loop: what comes due is counted as late from then on, whether or not it can be sent. A turn is

    what is due, the earliest first -> the second's tick, once all that was due in it has begun
    -> what the sockets have, waiting for it no longer than until the next request is due

A patient has one batch under way; a batch that comes due meanwhile waits for it, as in a client
that awaits its answers, and so does the end. That is what makes the server's positions comparable:
batches of one session never overtake each other.

The run is over when nothing is due any more and every answer is in, or `GRACE_SECONDS` later. When
it is stopped, nothing more is sent, and answers have `STOP_SECONDS`. Slow clients are not waited
for: they are there to be slow.

All times within are seconds since second 0, but where a name says `monotonic`.
"""

import gc
import heapq
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf

from penstock.bench.load import hostile
from penstock.bench.load.account import Account, Tick, WorkerAccount
from penstock.bench.load.batches import batches_for
from penstock.bench.load.connections import Connection, Network, Pool
from penstock.bench.load.plan import Assignment, Kind, connections_of
from penstock.bench.load.replies import Reply
from penstock.bench.load.requests import (
    HostileClient,
    Members,
    Patient,
    Renderer,
    Request,
    bearer,
)
from penstock.bench.load.schedule import Due, Schedule

__all__ = ["GRACE_SECONDS", "STOP_SECONDS", "Tick", "WorkerAccount", "work"]

GRACE_SECONDS = 10.0
STOP_SECONDS = 5.0

_STOP_POLL_SECONDS = 0.1
# So many requests are begun before the sockets are looked at again.
_MOST_AT_ONCE = 64
_TOKEN_SPARE_SECONDS = 600


def work(
    assignment: Assignment,
    emit: Callable[[Tick], None],
    stopped: Callable[[], bool],
    members: Members | None = None,
) -> WorkerAccount:
    """Do one worker's part, and tell of every second that passed and then of the whole.

    Batches are encoded for the plan unless `members` are given, as they are when several workers
    share them. All that can be made beforehand is made before `begin_at`, if there is time.
    """
    with _no_collections():
        worker = _Worker(assignment, emit, stopped, members)
        with worker.network:
            return worker.run()


class _Worker:
    """The schedule's merged queue, the patients, and what becomes of their requests."""

    def __init__(
        self,
        assignment: Assignment,
        emit: Callable[[Tick], None],
        stopped: Callable[[], bool],
        members: Members | None,
    ) -> None:
        plan = assignment.plan
        self._assignment = assignment
        self._emit = emit
        self._stopped = stopped
        self._begin_monotonic = assignment.begin_at
        self._account = Account()
        self._schedule = Schedule(plan, assignment.routes)
        self.network: Network[Request] = Network(assignment.address, self)
        self._renderer = Renderer(
            assignment.address,
            members if members is not None else batches_for(plan),
            unix_begin=time.time() + assignment.begin_at - time.monotonic(),
            first_batch=assignment.first_batch,
            frames_a_batch=plan.frames_a_batch,
        )
        most = connections_of(plan, assignment.worker)
        self._shared = None if most is None else Pool(self.network, most)
        self._pools: list[Pool[Request]] = [] if self._shared is None else [self._shared]
        self._owners: dict[int, Patient | HostileClient] = {}
        self._moments: dict[int, Iterator[Due]] = {}
        self._queue: list[Due] = []
        self._fill()
        # How many requests have no outcome yet; the slow ones, which nobody waits for, apart.
        self._undecided = 0
        self._slow: dict[Request, Pool[Request]] = {}
        self._stopping = False
        self._cpu = time.thread_time()
        self._cpu_since = time.monotonic()

    def _fill(self) -> None:
        task = self._assignment
        plan, now_unix = task.plan, int(time.time())
        lasting = int(self._schedule.stop) + _TOKEN_SPARE_SECONDS
        for session in range(task.worker, plan.sessions, plan.processes):
            number = task.first_session + session
            pool = self._shared or self._own_pool()
            line = bearer(task.secret, number, now_unix, lasting)
            self._owners[session] = Patient(number, line, pool, fresh=task.first_batch == 0)
            self._moments[session] = self._schedule.moments(session)
        for client in range(task.worker, self._schedule.hostile_clients, plan.processes):
            number = hostile.FIRST_SESSION + task.first_session + client
            long_ago = now_unix - hostile.EXPIRED_AGO_SECONDS
            self._owners[-1 - client] = HostileClient(
                number,
                bearer(task.secret, number, now_unix, lasting),
                bearer(task.secret, number, long_ago, hostile.EXPIRED_AGO_SECONDS // 2),
                self._own_pool(),
            )
            self._moments[-1 - client] = self._schedule.hostile(client)
        firsts = (next(moments, None) for moments in self._moments.values())
        self._queue = [due for due in firsts if due is not None]
        heapq.heapify(self._queue)

    def _own_pool(self) -> Pool[Request]:
        pool: Pool[Request] = Pool(self.network, 1)
        self._pools.append(pool)
        return pool

    # The run.

    def run(self) -> WorkerAccount:
        """Keep to the schedule until it is done or the run is stopped."""
        deadline = inf
        next_poll = self._now()
        while True:
            now = self._now()
            if now >= next_poll and not self._stopping:
                next_poll = now + _STOP_POLL_SECONDS
                if self._stopped():
                    self._stop()
                    deadline = now + STOP_SECONDS
            self._begin_due(now)
            self._pass_seconds(now)
            if not self._queue:
                deadline = min(deadline, now + GRACE_SECONDS)
                if not self._undecided or now >= deadline:
                    return self._finish()
            self.network.turn(self._pause())

    def _now(self) -> float:
        return time.monotonic() - self._begin_monotonic

    def _pause(self) -> float:
        now = self._now()
        until = min(now + _STOP_POLL_SECONDS, self._account.tick.at + 1)
        if self._queue:
            until = min(until, self._queue[0].at)
        return until - now

    def _begin_due(self, now: float) -> None:
        """Begin what is due, but nothing of the next second before this one's tick is out."""
        queue = self._queue
        boundary = self._account.tick.at + 1
        for _ in range(_MOST_AT_ONCE):
            if not queue or queue[0].at > now or queue[0].at >= boundary:
                return
            due = queue[0]
            following = next(self._moments[due.session], None)
            if following is None:
                heapq.heappop(queue)
            else:
                heapq.heapreplace(queue, following)
            self._begin(due)

    def _pass_seconds(self, now: float) -> None:
        boundary = self._account.tick.at + 1
        if now >= boundary and not (self._queue and self._queue[0].at < boundary):
            self._emit_tick()

    def _emit_tick(self) -> None:
        cpu, wall = time.thread_time(), time.monotonic()
        tick = self._account.next_tick()
        tick.cpu_share = (cpu - self._cpu) / max(wall - self._cpu_since, 1e-9)
        tick.open_connections = self.network.open_connections
        self._cpu, self._cpu_since = cpu, wall
        self._emit(tick)

    def _stop(self) -> None:
        self._stopping = True
        self._queue.clear()
        self._drop_unsent()

    def _finish(self) -> WorkerAccount:
        self._drop_unsent()
        for connection in self.network.busy:
            slow = connection.request in self._slow
            connection.abandon("unfinished" if slow else "unanswered")
        self._emit_tick()
        return self._account.finish(self.network.refused)

    def _drop_unsent(self) -> None:
        """Give up what waits for a connection, or for a batch that does."""
        queues = [pool.waiting for pool in (*self._pools, *self._slow.values())]
        queues += [one.queue for one in self._owners.values() if isinstance(one, Patient)]
        for queue in queues:
            while queue:
                request = queue.popleft()
                if isinstance(request.owner, Patient):
                    self._account.backlog -= 1
                self._conclude(request, "unsent", None)

    # Requests.

    def _begin(self, due: Due) -> None:
        owner = self._owners[due.session]
        if isinstance(owner, HostileClient):
            self._begin_hostile(due, owner)
            return
        if due.kind is None:
            if owner.pool is not self._shared:
                owner.pool.rest()
            return
        request = Request(due, due.kind, owner)
        self._undecided += 1
        self._account.came_due(int((self._now() - due.at) * 1e6))
        if due.kind is Kind.MEDIA:
            owner.pool.submit(request)
            return
        if due.kind is Kind.POSE:
            request.frames = self._assignment.plan.frames_a_batch
            if not owner.begun:
                owner.begun = True
                self._account.session_started()
        if owner.busy:
            owner.queue.append(request)
            return
        owner.busy = True
        owner.pool.submit(request)

    def _begin_hostile(self, due: Due, client: HostileClient) -> None:
        if due.kind is None:
            return
        request = Request(due, due.kind, client)
        if due.kind is not Kind.HOSTILE_SLOW:
            self._undecided += 1
            client.pool.submit(request)
            return
        # Slow ones come more often than they end: each has a connection for itself alone.
        pool: Pool[Request] = Pool(self.network, 1)
        self._slow[request] = pool
        pool.submit(request)
        pool.rest()

    def render(self, request: Request, connection: Connection[Request]) -> bytes:
        """Give a request's bytes to the network, and count it as sent."""
        owner = request.owner
        if isinstance(owner, Patient):
            self._account.was_sent()
            if request.kind is Kind.POSE:
                self._account.pose_sent(owner.ledger, request.frames)
        elif request.kind is Kind.HOSTILE_MALFORMED:
            request.frames = self._renderer.claimed_frames(request.due)
        elif request.kind is Kind.HOSTILE_SLOW:
            until = time.monotonic() + hostile.SLOW_SECONDS
            self.network.later(hostile.DRIP_SECONDS, partial(self._drip, connection, until))
        return self._renderer.render(request)

    def _drip(self, connection: Connection[Request], until: float) -> None:
        """Send one more byte of a slow request, or give it up."""
        if time.monotonic() >= until:
            connection.abandon("held")
            return
        connection.push(b"\x1f")
        if connection.request is not None:
            self.network.later(hostile.DRIP_SECONDS, partial(self._drip, connection, until))

    def answered(self, request: Request, reply: Reply, now: float) -> None:
        """Take an answer from the network."""
        outcome = reply.outcome
        owner = request.owner
        if request.kind is Kind.POSE and isinstance(owner, Patient):
            outcome = self._account.pose_answered(
                owner.ledger, owner.session_id, request.frames, reply
            )
        late = max(0, int((now - self._begin_monotonic - request.due.at) * 1e6))
        self._conclude(request, outcome, late if outcome != "unreadable" else None)
        self._go_on(request)

    def lost(self, request: Request, how: str) -> None:
        """Learn from the network that a request has no answer."""
        owner = request.owner
        if request.kind is Kind.POSE and isinstance(owner, Patient):
            self._account.pose_lost(owner.ledger, request.frames, how)
        self._conclude(request, how, None)
        self._go_on(request)

    def _conclude(self, request: Request, outcome: str, latency_us: int | None) -> None:
        owner = request.owner
        if isinstance(owner, HostileClient):
            if self._slow.pop(request, None) is None:
                self._undecided -= 1
            self._account.hostile_concluded(request.kind, outcome, latency_us, request.frames)
            return
        self._undecided -= 1
        self._account.concluded(request.kind, outcome, latency_us)

    def _go_on(self, request: Request) -> None:
        """Send what waited for this batch."""
        owner = request.owner
        if isinstance(owner, HostileClient) or request.kind is Kind.MEDIA:
            return
        if owner.queue:
            owner.pool.submit(owner.queue.popleft())
        else:
            owner.busy = False


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the collector of cycles from stopping the load; the load makes no cycles."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
