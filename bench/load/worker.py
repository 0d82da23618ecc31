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
until that time has passed. What comes due meanwhile is *withheld*: concluded without being sent,
and told of in the header of their next request. What was already waiting is *given up*, and told of
likewise, with another reason. Ends never wait for that.

Live clients keep `MOST_WAITING` batches behind the one under way, and give up the oldest when one
more comes due. Their end goes out when it is due, on a connection of its own, and tells of all that
was still waiting, which is given up. Of a batch under way the service decides.

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
from penstock.bench.load.plan import ENDS, Assignment, Kind, connections_of, is_noisy, org_of
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

__all__ = ["GRACE_SECONDS", "MOST_WAITING", "STOP_SECONDS", "Tick", "WorkerAccount", "work"]

GRACE_SECONDS = 10.0
STOP_SECONDS = 5.0

# A browser's client: what it shows is of now, so older batches are of little use to anybody.
MOST_WAITING = 2

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
            if due.at < owner.until:
                self._keep_back(request, owner)
                return
        else:
            if due.last:
                self._replace(due.session, owner)
            if self._assignment.plan.live_clients:
                self._end_at_once(request, owner)
                return
        self._submit(request, owner)

    def _submit(self, request: Request, owner: Patient) -> None:
        """Send a request in its patient's turn."""
        if not owner.busy:
            owner.busy = True
            owner.pool.submit(request)
            return
        owner.queue.append(request)
        if self._assignment.plan.live_clients and len(owner.queue) > MOST_WAITING:
            self._give_up(owner.queue.popleft(), owner, behind=True)

    def _keep_back(self, request: Request, owner: Patient) -> None:
        """Do not send a batch of a patient that was told to wait."""
        if request.due.at < owner.since:
            # Only the worker was late: in time, it would have been waiting at the refusal.
            self._give_up(request, owner, behind=False)
            return
        _to_tell(owner, "refused", request.frames)
        self._account.withheld(request.frames)
        self._conclude(request, "withheld", None)

    def _give_up(self, request: Request, owner: Patient, *, behind: bool) -> None:
        """Do not send a batch any more; `behind` says that the one ahead of it is under way."""
        _to_tell(owner, "network", request.frames)
        self._account.given_up(request.frames)
        if behind:
            owner.loss.pass_over(request.frames)
        else:
            owner.loss.conclude(request.frames, 0)
        self._undecided -= 1
        self._account.concluded(Kind.POSE, "given up", None)

    def _end_at_once(self, request: Request, owner: Patient) -> None:
        """Send a live client's end, whatever else it waits for."""
        owner.retired = True
        waiting = owner.pool.waiting
        for one in [one for one in waiting if one.kind is Kind.POSE]:
            # It is under way as far as its client knows, but has no connection yet.
            waiting.remove(one)
            owner.busy = False
            self._give_up(one, owner, behind=False)
        while owner.queue:
            self._give_up(owner.queue.popleft(), owner, behind=owner.busy)
        if not owner.busy:
            owner.pool.rest()
        pool = self._new_pool(1)
        pool.submit(request)
        pool.rest()

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
                request.tells, owner.to_tell = owner.to_tell, {}
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
            self._account.told(request.tells, taken=outcome[:1] == "2")
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
            self._account.told(request.tells, taken=False)
        self._conclude(request, how, None)
        self._go_on(request)

    def _hold_back(self, request: Request, until_monotonic: float) -> None:
        """Let a refused patient send no batch until then, nor ever those that wait."""
        owner = request.owner
        if request.kind is not Kind.POSE or not isinstance(owner, Patient):
            return
        owner.since = self._now()
        owner.until = until_monotonic - self._begin_monotonic
        waiting = [*owner.queue]
        owner.queue.clear()
        for one in waiting:
            if one.kind is Kind.POSE:
                self._give_up(one, owner, behind=False)
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
        if request.kind in ENDS and self._assignment.plan.live_clients:
            # It went beside the batches.
            return
        if owner.queue:
            owner.pool.submit(owner.queue.popleft())
        else:
            owner.busy = False
            if owner.retired and owner.pool not in (self._shared, self._noisy):
                owner.pool.rest()


def _to_tell(patient: Patient, reason: str, frames: int) -> None:
    patient.to_tell[reason] = patient.to_tell.get(reason, 0) + frames


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
