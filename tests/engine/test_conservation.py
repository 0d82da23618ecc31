import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from trio.testing import MockClock, wait_all_tasks_blocked

from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import Outcome, Reason
from penstock.engine.session import TRANSITIONS, Admitted, Refusal, SessionState
from penstock.engine.sessions import WrongOwner

MakeArrival = Callable[..., Arrival]

NUMBERS = range(1, 5)
numbers = st.sampled_from(NUMBERS)
frames = st.integers(1, 5)
times = st.integers(0, 20).map(lambda tenths: tenths * 100)


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
        self, open_world: Callable[..., Any], make_arrival: MakeArrival, spool: Any
    ) -> None:
        super().__init__()
        self.open_world, self.make_arrival, self.spool = open_world, make_arrival, spool
        self.start()

    # The process.

    def start(self) -> None:
        self.clock = MockClock()
        self.outcomes: list[tuple[int, Any]] = []
        self.offered = self.cancelled = 0
        ready = threading.Event()

        async def live() -> None:
            bounds: dict[str, Any] = {"inbox_batches": 3, "queue": 3, "live": 3, "resting": 2}
            async with (
                self.open_world(self.spool, rest_seconds=20.0, **bounds) as self.world,
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
        if not answered:
            self.cancelled += count

    @rule(
        number=numbers,
        count=frames,
        start=times,
        poisoned=st.integers(0, 7).map(lambda n: n == 0),
        principal=st.integers(0, 9).map(lambda n: 6 if n == 0 else 7),
        patience=st.sampled_from([0.0, 1.0, 1000.0, 1000.0]),
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
    ) -> None:
        arrival = self.make_arrival(count, start, poisoned=poisoned)

        async def begin() -> None:
            self.nursery.start_soon(
                self._offer, number, arrival, {"principal": principal}, patience
            )

        self.offered += count
        self.do(begin)

    @rule(number=numbers, count=frames, principal=st.sampled_from([6, 7]))
    def refuse_at_a_gate(self, number: int, count: int, principal: int) -> None:
        async def refuse() -> None:
            identity = self.world.identity(number, principal=principal)
            self.world.sessions.refuse(identity, Reason.RATE_SESSION, count)
            self.outcomes.append((count, Refusal(Reason.RATE_SESSION, "")))

        self.offered += count
        self.do(refuse)

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
        admitted = sum(n for n, outcome in self.outcomes if isinstance(outcome, Admitted))
        ended = process.seen - process.pending - refused.total()
        assert admitted == process.pending + ended
        watch = self.watch
        in_sessions = sum((watch.seen - watch.inherited).values()) + watch.forgotten.total()
        assert process.seen == in_sessions + self.world.ledger.unattributed.seen

    @invariant()
    def every_transition_is_in_the_table(self) -> None:
        assert all(now in TRANSITIONS[before] for before, now in self.watch.taken)


def test_frames_are_conserved_whatever_happens(
    open_world: Callable[..., Any], make_arrival: MakeArrival, make_spool: Callable[..., Any]
) -> None:
    """After every step the law holds, the books agree, and states change as the table says."""
    run_state_machine_as_test(
        cast("Any", lambda: Engine(open_world, make_arrival, make_spool())),
        settings=settings(max_examples=60, stateful_step_count=40, deadline=None),
    )
