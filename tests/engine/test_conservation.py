"""The conservation law, whatever comes together: clients, disk, ledger, operators, restarts."""

import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock.engine.endings import EndConflict, EndDelayed, Ended, SessionUnknown, WrongOwner
from penstock.engine.finals import Final
from penstock.engine.inbox import Arrival
from penstock.engine.ledger_port import LedgerReason
from penstock.engine.outcomes import Outcome, Reason, Tally
from penstock.engine.policy import InboxMode
from penstock.engine.session import TRANSITIONS, Admitted, Refusal, SessionState
from penstock.engine.stress import WRITER_LAG_FULL_SECONDS, Readings
from penstock.engine.unsent import Unsent
from penstock.engine.wire import LANDMARK_BYTES_PER_FRAME

MakeArrival = Callable[..., Arrival]

NUMBERS = range(1, 5)
numbers = st.sampled_from(NUMBERS)
frames = st.integers(1, 5)
times = st.integers(0, 20).map(lambda tenths: tenths * 100)
principals = st.integers(0, 9).map(lambda n: 6 if n == 0 else 7)
statuses = st.sampled_from(["completed", "completed", "cancelled"])
reports = st.dictionaries(
    st.sampled_from([Reason.UNSENT_NETWORK, Reason.UNSENT_CPU]), st.integers(1, 9), max_size=2
).map(lambda told: tuple(Unsent(frames, reason) for reason, frames in told.items()))
rising = st.lists(st.sampled_from([0.0, 20.0, 50.0, 80.0, 100.0]), min_size=4, max_size=4).map(
    sorted
)
bounds = st.lists(st.integers(1, 6), min_size=2, max_size=2).map(sorted)

# Accepted and not in a file: what a client was told was taken, and then was visibly given up.
GIVEN_UP = (
    Reason.INBOX_DROPPED_OLDEST,
    Reason.DISK_FULL,
    Reason.SPOOL_UNWRITABLE,
    Reason.ACTOR_CRASHED,
)


class Watch(trio.abc.Instrument):
    """Looks at every session after every step of every task: its state, and what it has seen."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.states: dict[int, SessionState | None] = dict.fromkeys(NUMBERS)
        self.taken: set[tuple[SessionState | None, SessionState | None]] = set()
        self.inherited = Counter[int]()
        self.forgotten = Counter[int]()
        self.seen = Counter[int]()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        for number, before in self.states.items():
            now = self.world.state(number)
            if now is not before:
                self.taken.add((before, now))
                self.states[number] = now
                if now is None or before is None:
                    self.forgotten[number] += self.seen[number] - self.inherited[number]
                    self.inherited[number] = self.seen[number] = 0
                if (before, now) == (SessionState.RECOVERING, SessionState.RESTING):
                    self.inherited[number] = self.look(number)
            self.seen[number] = self.look(number)

    def look(self, number: int) -> int:
        """Give what a session's own tally has seen, in this process and before."""
        sessions, name = self.world.sessions, self.world.name(number)
        if name in sessions._live:
            return int(sessions._live[name].tally.seen)
        if name in sessions._dormant:
            return int(sessions._dormant[name].checkpoint.tally.seen)
        return 0


class Engine(RuleBasedStateMachine):
    """One engine after another over the same spool, in a thread whose clock the rules turn."""

    world: Any
    watch: Watch
    nursery: trio.Nursery
    token: trio.lowlevel.TrioToken
    stop: trio.Event

    def __init__(
        self, open_world: Callable[..., Any], make_arrival: MakeArrival, spool: Any, finals: Any
    ) -> None:
        super().__init__()
        self.open_world, self.make_arrival = open_world, make_arrival
        self.spool, self.finals = spool, finals
        # The finals of sessions that have ended, as they were answered.
        self.ended: dict[int, Final] = {}
        # Those among them that a file tells of. Of the others nothing ever reached the disk.
        self.sealed: set[int] = set()
        # What each request for an end reported as unsent, by the time that it names.
        self.requests: list[tuple[Unsent, ...]] = []
        self.start()

    # The process.

    def start(self) -> None:
        self.clock = MockClock()
        self.outcomes: list[tuple[int, Any]] = []
        self.offered = self.cancelled = 0
        self.unsent = Counter[Reason]()
        # How many frames each session's client was last told have been accepted.
        self.told: dict[int, int] = {}
        self.ended_before = set(self.finals.rows)
        self.before_on_disk = sum(map(self.spool.frames, self.spool.names()))
        ready = threading.Event()

        async def live() -> None:
            limits: dict[str, Any] = {"inbox_batches": 3, "queue": 3, "live": 3, "resting": 2}
            async with (
                self.open_world(self.spool, self.finals, rest_seconds=20.0, **limits) as self.world,
                trio.open_nursery() as self.nursery,
            ):
                self.watch = Watch(self.world)
                trio.lowlevel.add_instrument(self.watch)
                self.token = trio.lowlevel.current_trio_token()
                self.stop = trio.Event()
                ready.set()
                await self.stop.wait()
                self.nursery.cancel_scope.cancel()

        self.thread = threading.Thread(target=lambda: trio.run(live, clock=self.clock))
        self.thread.start()
        assert ready.wait(10)

    def do(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        async def until_still() -> Any:
            result = await work(*arguments)
            await wait_all_tasks_blocked()
            return result

        return trio.from_thread.run(until_still, trio_token=self.token)

    async def sleep(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.clock.jump(0.25)
            await wait_all_tasks_blocked()

    def end(self) -> None:
        async def stop() -> None:
            self.stop.set()
            # A thread cannot be cancelled: what it does still takes its time.
            self.clock.rate = 1e6

        trio.from_thread.run(stop, trio_token=self.token)
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.world.settled_exactly()

    def teardown(self) -> None:
        self.end()

    # What happens.

    async def _offer(
        self, number: int, arrival: Arrival, who: dict[str, int], patience: float
    ) -> None:
        count = arrival.batch.frame_count
        answered = False
        with trio.move_on_after(patience):
            outcome = await self.world.offer(arrival, number, **who)
            answered = True
            self.outcomes.append((count, outcome))
            if isinstance(outcome, Admitted):
                assert number not in self.sealed, "a session that has ended took frames"
                self.told[number] = outcome.position_bytes // LANDMARK_BYTES_PER_FRAME
                for frames, reason in arrival.unsent:
                    self.unsent[reason] += frames
        if not answered:
            self.cancelled += count

    @rule(
        number=numbers,
        count=frames,
        start=times,
        poisoned=st.integers(0, 7).map(lambda n: n == 0),
        principal=principals,
        patience=st.sampled_from([0.0, 1.0, 1000.0, 1000.0]),
        unsent=reports,
    )
    def offer(
        self,
        number: int,
        count: int,
        start: int,
        *,
        poisoned: bool,
        principal: int,
        patience: float,
        unsent: tuple[Unsent, ...],
    ) -> None:
        if number in self.sealed and self.finals.broken is not None:
            # While the ledger is away nobody knows that it has ended: without a file it counts as
            # new, which is another test's.
            return
        arrival = self.make_arrival(count, start, poisoned=poisoned)._replace(unsent=unsent)

        async def begin() -> None:
            self.nursery.start_soon(
                self._offer, number, arrival, {"principal": principal}, patience
            )

        self.offered += count
        self.do(begin)

    @rule(number=numbers, start=times, batches=st.integers(2, 8))
    def offer_many(self, number: int, start: int, batches: int) -> None:
        for batch in range(batches):
            self.offer(
                number,
                3,
                start + 300 * batch,
                poisoned=False,
                principal=7,
                patience=1000.0,
                unsent=(),
            )

    @rule(number=numbers, count=frames, principal=st.sampled_from([6, 7]))
    def refuse_at_a_gate(self, number: int, count: int, principal: int) -> None:
        async def refuse() -> None:
            identity = self.world.identity(number, principal=principal)
            self.world.sessions.refuse(identity, Reason.RATE_SESSION, count)
            self.outcomes.append((count, Refusal(Reason.RATE_SESSION, "")))

        self.offered += count
        self.do(refuse)

    @rule(
        number=numbers,
        principal=principals,
        status=statuses,
        attempted=st.none() | st.integers(0, 50),
        unsent=reports,
    )
    def end_a_session(
        self,
        number: int,
        principal: int,
        status: str,
        attempted: int | None,
        unsent: tuple[Unsent, ...],
    ) -> None:
        self.requests.append(unsent)
        named = len(self.requests)

        async def end() -> None:
            outcome = await self.world.end(
                number,
                status,
                ended=named,
                principal=principal,
                frames_attempted=attempted,
                unsent=unsent,
            )
            self.hear(number, named, outcome)

        async def begin() -> None:
            self.nursery.start_soon(end)

        self.do(begin)

    def hear(self, number: int, named: int, outcome: Any) -> None:
        """Compare the answer to an end with those before it and with what clients were told."""
        assert isinstance(outcome, Ended | EndConflict | EndDelayed | SessionUnknown | WrongOwner)
        if isinstance(outcome, Ended | EndConflict):
            final = outcome.final
            assert self.ended.setdefault(number, final) == final
            if final.ended_unix_ms == named and number in self.told:
                assert final.frames_received == self.told[number]
            if self.spool.chunks(self.world.name(number)):
                self.sealed.add(number)
        elif isinstance(outcome, SessionUnknown):
            assert number not in self.ended

    @rule(
        broken=st.sampled_from([None, None, LedgerReason.DISK_FULL, LedgerReason.LOCKED]),
        commit=st.sampled_from([0.0, 0.0, 1.0, 20.0]),
    )
    def change_the_ledger(self, broken: LedgerReason | None, commit: float) -> None:
        self.finals.broken, self.finals.commit_seconds = broken, commit

    @rule(
        inbox=bounds,
        mode=st.sampled_from(InboxMode),
        levels=rising,
        until=st.sampled_from([0.0, 0.5, 1.0]),
        dwell=st.sampled_from([0.1, 3.0]),
        keep_every=st.integers(2, 4),
        budget=st.sampled_from([(0.0, 0.0), (5.0, 1.0), (50.0, 10.0), (100.0, 600.0)]),
    )
    def turn_the_knobs(
        self,
        inbox: list[int],
        mode: InboxMode,
        levels: list[float],
        until: float,
        dwell: float,
        keep_every: int,
        budget: tuple[float, float],
    ) -> None:
        knobs: dict[str, Any] = {
            "inbox_soft_batches": inbox[0],
            "inbox_batches": inbox[1],
            "inbox_mode": mode,
            "dwell_seconds": dwell,
            "keep_every": keep_every,
            "loss_percent": budget[0],
            "gap_seconds": budget[1],
        }
        for name, level in zip(("thin", "refuse", "refuse_bulk"), levels, strict=False):
            knobs |= {f"{name}_at": level, f"{name}_until": level * until}

        async def turn() -> None:
            self.world.turn(**knobs)

        self.do(turn)

    @rule(level=st.sampled_from([0.0, 30.0, 60.0, 85.0, 100.0]), seconds=st.sampled_from([0.5, 5]))
    def press(self, level: float, seconds: float) -> None:
        lag = WRITER_LAG_FULL_SECONDS * level / 100

        async def sense() -> None:
            for _ in range(round(seconds / 0.25)):
                await self.sleep(0.25)
                readings = Readings(0, 1, 0, 1, lag, 0.0)
                self.world.plant.sluice.sense(readings, trio.current_time(), 0.0)

        self.do(sense)

    @rule(
        shed=st.sampled_from([None, None, Reason.DISK_FULL, Reason.SPOOL_UNWRITABLE]),
        append=st.sampled_from([0.0, 0.0, 1.0, 10.0]),
        recover=st.sampled_from([0.0, 0.0, 3.0]),
        unreadable=st.sets(numbers, max_size=1),
    )
    def change_the_disk(
        self, shed: Reason | None, append: float, recover: float, unreadable: set[int]
    ) -> None:
        self.spool.shed, self.spool.append_seconds = shed, append
        self.spool.recover_seconds = recover
        self.spool.unreadable = {self.world.name(number) for number in unreadable}

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 30.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.do(self.sleep, seconds)

    @rule()
    def lay_all_to_rest(self) -> None:
        async def rest() -> None:
            self.world.rest_everybody()

        self.do(rest)

    @rule(drained=st.booleans())
    def begin_the_next_process(self, *, drained: bool) -> None:
        async def drain() -> None:
            self.nursery.start_soon(self.world.sessions.drain)
            await self.sleep(60)

        if drained:
            self.do(drain)
            assert self.world.ledger.process.pending == 0
            assert self.world.sessions.statistics().live == 0
        self.end()
        assert not (drained and self.world.ended(Reason.SHUTDOWN))
        self.spool.next_process()
        self.start()

    # What always holds.

    @invariant()
    def the_law_holds_and_the_books_agree(self) -> None:
        trio.from_thread.run(self._check, trio_token=self.token)

    async def _check(self) -> None:
        self.world.check()
        process = self.world.ledger.process
        answered = sum(count for count, _ in self.outcomes)
        waiting = self.offered - answered - self.cancelled
        assert waiting >= 0
        # Every frame that was answered is somewhere; one whose client left may be, too.
        foreign = sum(n for n, outcome in self.outcomes if isinstance(outcome, WrongOwner))
        assert process.seen == answered - foreign
        refused = Counter[Reason]()
        for count, outcome in self.outcomes:
            if isinstance(outcome, Refusal):
                refused[outcome.reason] += count
        assert process.count(Outcome.REFUSED) == refused.total()
        assert all(process.ended[reason] == n for reason, n in refused.items())
        accepted = sum(
            outcome.frame_count for _, outcome in self.outcomes if isinstance(outcome, Admitted)
        )
        ended = process.seen - process.pending - refused.total()
        assert accepted + process.frames(Reason.POLICY_THINNED) == process.pending + ended
        assert process.unsent == self.unsent + self._unsent_at_ends()
        watch = self.watch
        in_sessions = sum((watch.seen - watch.inherited).values()) + watch.forgotten.total()
        assert process.seen == in_sessions + self.world.ledger.unattributed.seen

    def _unsent_at_ends(self) -> Counter[Reason]:
        """Count what the requests reported that have ended a session in this process."""
        counted = Counter[Reason]()
        for name, row in self.finals.rows.items():
            if name not in self.ended_before:
                for frames, reason in self.requests[row.ended_unix_ms - 1]:
                    counted[reason] += frames
        return counted

    @invariant()
    def what_was_accepted_is_on_disk_or_visibly_given_up(self) -> None:
        process, name_of = self.world.ledger.process, self.world.name
        on_disk = sum(map(self.spool.frames, self.spool.names())) - self.before_on_disk
        self._agree(process, on_disk)
        sessions = self.world.sessions
        for number in NUMBERS:
            name = name_of(number)
            if name in sessions._live:
                actor = sessions._live[name]
                self._account(actor.tally, actor.accepted_frames, name)
            elif name in sessions._dormant:
                checkpoint = sessions._dormant[name].checkpoint
                self._account(checkpoint.tally, checkpoint.accepted_frames, name)

    def _account(self, tally: Tally, accepted: int, name: str) -> None:
        """Check that a session's accepted frames are where its own counts say."""
        assert tally.conserved
        given_up = sum(tally.frames(reason) for reason in GIVEN_UP)
        assert accepted == tally.pending + tally.count(Outcome.AGGREGATED) + given_up
        self._agree(tally, self.spool.frames(name))

    @staticmethod
    def _agree(tally: Tally, on_disk: int) -> None:
        """Compare counts with files. What crashed an actor may have been written before."""
        aggregated = tally.count(Outcome.AGGREGATED)
        assert aggregated <= on_disk <= aggregated + tally.frames(Reason.ACTOR_CRASHED)

    @invariant()
    def what_has_ended_is_in_its_final(self) -> None:
        for number, answered in self.ended.items():
            name = self.world.name(number)
            final = Final.from_plain(dict(self.finals.rows[name].body))
            assert final == answered
            if number in self.sealed:
                tally = Tally.from_plain(final.tally)
                self._account(tally, final.frames_received, name)

    @invariant()
    def every_transition_is_in_the_table(self) -> None:
        assert all(now in TRANSITIONS[before] for before, now in self.watch.taken)


def test_frames_are_conserved_whatever_happens(
    open_world: Callable[..., Any],
    make_arrival: MakeArrival,
    make_spool: Callable[..., Any],
    make_finals: Callable[..., Any],
) -> None:
    """After every step the law holds, the books agree, and states change as the table says."""
    run_state_machine_as_test(
        cast("Any", lambda: Engine(open_world, make_arrival, make_spool(), make_finals())),
        settings=settings(max_examples=100, stateful_step_count=40, deadline=None),
    )


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope after so many steps, of whichever task."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self.scope, self.left = scope, steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self.left -= 1
        if not self.left:
            self.scope.cancel()


def _check_whole(world: Any) -> None:
    """Check that a session's final, if there is one, tells of all that its client was told of."""
    for name, row in world.finals.rows.items():
        final = Final.from_plain(dict(row.body))
        assert final.tally == {"used": 6}
        assert final.frames_received == world.spool.frames(name) == 6


async def _end_while_cut(world: Any, cut: CancelAfter, whose: str) -> None:
    """Have the session ended; whoever it is, is cut off meanwhile."""
    trio.lowlevel.add_instrument(cut)
    try:
        if whose == "the client":
            with cut.scope:
                await world.end()
        elif whose == "the engine":
            await world.end()
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_writer, world, cut.scope)
                with trio.move_on_after(5):
                    await world.end()
                nursery.cancel_scope.cancel()
    finally:
        trio.lowlevel.remove_instrument(cut)


async def _stop_writer(world: Any, scope: trio.CancelScope) -> None:
    with scope:
        await trio.sleep_forever()
    world.writer_scope.cancel()


async def _check_goes_on(world: Any, arrival: Arrival) -> None:
    """Check that a session has ended whole or takes frames; what has begun needs no client."""
    await trio.sleep(1)
    _check_whole(world)
    if not world.finals.rows:
        assert isinstance(await world.offer(arrival), Admitted)


async def _check_next_process(open_world: Callable[..., Any], spool: Any, finals: Any) -> None:
    """Check that the next process gives the final there is, or makes one of what is on disk."""
    before = dict(finals.rows)
    spool.next_process()
    async with open_world(spool, finals) as world:
        outcome = await world.end()
        if spool.names():
            assert isinstance(outcome, Ended)
            assert outcome.final.frames_received == spool.frames(world.name(1))
        else:
            assert isinstance(outcome, SessionUnknown)
    assert finals.rows == before or not before


@pytest.mark.parametrize("whose", ["the client", "the engine", "the writer"])
async def test_an_end_that_is_cut_off_anywhere_is_whole_or_never_was(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes its clock from the arguments
    open_world: Callable[..., Any],
    make_arrival: MakeArrival,
    make_spool: Callable[..., Any],
    make_finals: Callable[..., Any],
    whose: str,
) -> None:
    """Whoever is cut off at whichever step, every frame is in the final, or the session goes on."""
    ended = Counter[bool]()
    scope = trio.CancelScope()
    scope.cancel()
    while scope.cancel_called:
        scope = trio.CancelScope()
        spool, finals = make_spool(append_seconds=0.02), make_finals(commit_seconds=0.02)
        cut = CancelAfter(scope, ended.total() + 1)
        engine = scope if whose == "the engine" else trio.CancelScope()
        async with AsyncExitStack() as stack:
            stack.enter_context(engine)
            world = await stack.enter_async_context(open_world(spool, finals))
            for start in (0, 300):
                assert isinstance(await world.offer(make_arrival(3, start)), Admitted)
            await _end_while_cut(world, cut, whose)
            world.check()
            if whose == "the client":
                await _check_goes_on(world, make_arrival(1, 900))
        world.settled_exactly()
        _check_whole(world)
        ended[bool(finals.rows)] += 1
        await _check_next_process(open_world, spool, finals)
    assert ended.total() > 10
    assert ended[True]
    assert ended[False] or whose == "the client"


@pytest.mark.parametrize("because", ["it had counts to save", "it had crashed"])
async def test_an_actor_that_was_given_up_does_nothing_more(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes its clock from the arguments
    open_world: Callable[..., Any],
    make_arrival: MakeArrival,
    because: str,
) -> None:
    """What the deadline counted as lost gets into no file, although the actor had been woken."""
    async with open_world() as world:
        await world.offer(make_arrival(3))
        await trio.sleep(2)
        crashes = because == "it had crashed"
        await world.offer(make_arrival(4, 600, poisoned=crashes))
        actor = world.actor()
        if crashes:
            actor._begin_chunk()
            actor._fail(ZeroDivisionError())
        else:
            actor.refuse_nowait(Refusal(Reason.RATE_SESSION, ""), 7)
            actor.rest()
        # The block is left before the actor's task has had its turn.
    world.settled_exactly()
    assert world.ended(Reason.SHUTDOWN) == 4
    for chunk in world.spool.chunks(world.name(1)):
        assert Reason.SHUTDOWN not in chunk.before.tally.ended
    assert world.state() is None
