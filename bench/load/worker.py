"""One process of the load: keeps to the schedule, whatever the server does.

Theory of operation
-------------------
Open loop: what comes due is counted as late from then on, whether or not it can be sent. A turn is

    what is due, the earliest first -> the second's tick, once all that was due in it has begun
    -> what the sockets have, waiting for it no longer than until the next request is due

A patient has one batch under way; a batch that comes due meanwhile waits for it, as in a client
that awaits its answers, and so does the end. That is what makes the server's positions comparable:
batches of one session never overtake each other.

Patients of a plan in which Retry-After is honoured send no batch, once one was refused with it,
until that time has passed. What they would have sent is *withheld*: concluded without being sent,
and told of in the header of their next request. Ends never wait for that.

A session whose end is due before the run's leaves its place to a new one, with a client of its own.

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
from penstock.bench.load.losses import LossTable
from penstock.bench.load.plan import Assignment, Kind, connections_of, is_noisy, org_of
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
        # A noisy neighbour brings its own connections: it must not take those of the others.
        self._noisy = None
        if plan.noisy_sessions and most is not None:
            self._noisy = self._new_pool(most)
        self._owners: dict[int, Patient | HostileClient] = {}
        # All there ever were: those whose place is taken still have answers to come.
        self._patients: list[Patient] = []
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
            self._owners[session] = self._patient(session, number, fresh=task.first_batch == 0)
            self._moments[session] = self._schedule.moments(session)
        for client in range(task.worker, self._schedule.hostile_clients, plan.processes):
            number = hostile.FIRST_SESSION + task.first_session + client
            long_ago = now_unix - hostile.EXPIRED_AGO_SECONDS
            self._owners[-1 - client] = HostileClient(
                number,
                bearer(task.secret, number, now_unix, lasting),
                bearer(task.secret, number, long_ago, hostile.EXPIRED_AGO_SECONDS // 2),
                self._new_pool(1),
            )
            self._moments[-1 - client] = self._schedule.hostile(client)
        firsts = (next(moments, None) for moments in self._moments.values())
        self._queue = [due for due in firsts if due is not None]
        heapq.heapify(self._queue)

    def _patient(self, session: int, number: int, *, fresh: bool) -> Patient:
        task = self._assignment
        plan, lasting = task.plan, int(self._schedule.stop) + _TOKEN_SPARE_SECONDS
        org = org_of(plan, session)
        shared = self._noisy if is_noisy(plan, session) else self._shared
        line = bearer(task.secret, number, int(time.time()), lasting, org=org)
        patient = Patient(number, line, shared or self._new_pool(1), fresh=fresh, org=org)
        self._patients.append(patient)
        return patient

    def _new_pool(self, most: int) -> Pool[Request]:
        pool: Pool[Request] = Pool(self.network, most)
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
        losses = LossTable.of(patient.loss for patient in self._patients)
        return self._account.finish(self.network.refused, losses)

    def _drop_unsent(self) -> None:
        """Give up what waits for a connection, or for a batch that does."""
        queues = [pool.waiting for pool in (*self._pools, *self._slow.values())]
        queues += [one.queue for one in self._patients]
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
            if self._now() < owner.until:
                self._withhold(request, owner)
                return
        elif due.last:
            self._replace(due.session, owner)
        if owner.busy:
            owner.queue.append(request)
            return
        owner.busy = True
        owner.pool.submit(request)

    def _withhold(self, request: Request, owner: Patient) -> None:
        owner.withheld += request.frames
        self._account.withheld(request.frames)
        self._conclude(request, "withheld", None)

    def _replace(self, session: int, ended: Patient) -> None:
        """Let a new session go on in the place of one whose end is due."""
        ended.retired = True
        number = ended.number + self._assignment.plan.sessions
        self._owners[session] = self._patient(session, number, fresh=True)

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
            if request.kind is not Kind.MEDIA:
                owner.telling, owner.withheld = owner.withheld, 0
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
        kept = 0
        if isinstance(owner, Patient):
            if request.kind is Kind.POSE:
                kept = -owner.ledger.accepted
                outcome = self._account.pose_answered(
                    owner.ledger, owner.session_id, request.frames, reply
                )
                kept += owner.ledger.accepted
            self._count_told(request, owner, taken=outcome[:1] == "2")
        late = max(0, int((now - self._begin_monotonic - request.due.at) * 1e6))
        self._conclude(request, outcome, late if outcome != "unreadable" else None, kept)
        if reply.retry_after is not None and self._assignment.plan.honour_retry_after:
            self._hold_back(request, now + reply.retry_after)
        self._go_on(request)

    def lost(self, request: Request, how: str) -> None:
        """Learn from the network that a request has no answer."""
        owner = request.owner
        if request.kind is Kind.POSE and isinstance(owner, Patient):
            self._account.pose_lost(owner.ledger, request.frames, how)
        if isinstance(owner, Patient):
            self._count_told(request, owner, taken=False)
        self._conclude(request, how, None)
        self._go_on(request)

    def _count_told(self, request: Request, owner: Patient, *, taken: bool) -> None:
        if owner.telling and request.kind is not Kind.MEDIA:
            self._account.told(owner.telling, taken=taken)
            owner.telling = 0

    def _hold_back(self, request: Request, until_monotonic: float) -> None:
        """Let a refused patient send no batch until then, those that wait included."""
        owner = request.owner
        if request.kind is not Kind.POSE or not isinstance(owner, Patient):
            return
        owner.until = until_monotonic - self._begin_monotonic
        waiting = [*owner.queue]
        owner.queue.clear()
        for one in waiting:
            if one.kind is Kind.POSE:
                self._withhold(one, owner)
            else:
                owner.queue.append(one)

    def _conclude(
        self, request: Request, outcome: str, latency_us: int | None, kept: int = 0
    ) -> None:
        owner = request.owner
        if isinstance(owner, HostileClient):
            if self._slow.pop(request, None) is None:
                self._undecided -= 1
            self._account.hostile_concluded(request.kind, outcome, latency_us, request.frames)
            return
        self._undecided -= 1
        if request.kind is Kind.POSE:
            owner.loss.conclude(request.frames, kept)
        self._account.concluded(request.kind, outcome, latency_us, others=owner.loss.org > 0)

    def _go_on(self, request: Request) -> None:
        """Send what waited for this batch."""
        owner = request.owner
        if isinstance(owner, HostileClient) or request.kind is Kind.MEDIA:
            return
        if owner.queue:
            owner.pool.submit(owner.queue.popleft())
        else:
            owner.busy = False
            if owner.retired and owner.pool not in (self._shared, self._noisy):
                owner.pool.rest()


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
