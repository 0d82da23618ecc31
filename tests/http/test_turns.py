"""Who goes first when much is ready at once: the poller alone, with connections that are not real.

Each "connection" here is an eventfd, which is one descriptor instead of two. What it would answer
is noted in a log.
"""

import os
import resource
import select
import socket
from collections.abc import Callable, Iterator

import pytest
import trio
import trio.testing

from penstock.http.poller import News, Poller, PollerStatistics

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="this system has no epoll")

SLICE = 16
IDLE = PollerStatistics(0, 0, 0.0, 0.0)


class Clock:
    """Goes on only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Peer:
    """A connection as the poller sees it."""

    def __init__(self, bench: "Bench", name: object, *, waits: bool) -> None:
        self._bench = bench
        self._waits = waits
        self.name = name
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.news = bench.poller.register(self.fd)
        self.news.server = self
        self.when_served: Callable[[], None] = lambda: None

    def may_wait(self) -> bool:
        if not self._waits:
            self._bench.log.append(("seen", self.name))
        return self._waits

    def serve_nowait(self) -> bool:
        self._bench.log.append(self.name)
        self._bench.clock.now += 0.001
        os.eventfd_read(self.fd)
        self.when_served()
        return True

    async def sleep(self) -> None:
        """Wait as its task does; note when it is woken."""
        await self.news.wait()
        self._bench.log.append(("woken", self.name))

    def send(self) -> None:
        """Let bytes arrive."""
        os.eventfd_write(self.fd, 1)


class Bench:
    """A poller, a clock, and a log."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.poller = Poller(self.clock)
        self.log: list[object] = []
        self.peers: list[Peer] = []
        self.turns: list[int] = []
        self.others_took = 0.0
        self._take_turn = self.poller._take_turn
        self.poller._take_turn = self._note_turn  # type: ignore[method-assign]

    def _note_turn(self, until: float) -> None:
        before = len(self.served())
        self._take_turn(until)
        self.turns.append(len(self.served()) - before)

    def peer(self, name: object, *, waits: bool = True) -> Peer:
        peer = Peer(self, name, waits=waits)
        self.peers.append(peer)
        return peer

    def batches(self, count: int) -> list[Peer]:
        return [self.peer(number) for number in range(count)]

    async def keep_busy(self, seconds: float) -> None:
        """Take so much of each round of the loop."""
        while True:
            await trio.lowlevel.checkpoint()
            if self.poller.statistics().queued:
                self.clock.now += seconds
                self.others_took += seconds

    def served(self) -> list[int]:
        return [name for name in self.log if isinstance(name, int)]

    async def run(
        self, until: int, *, others_take: float = 0.0, first: tuple[Peer, ...] = ()
    ) -> None:
        """Let all tasks sleep, then all bytes come at once, those of `first` before the others."""
        async with trio.open_nursery() as nursery:
            for peer in self.peers:
                nursery.start_soon(peer.sleep)
            await trio.testing.wait_all_tasks_blocked()
            for peer in (*first, *(peer for peer in self.peers if peer not in first)):
                peer.send()
            nursery.start_soon(self.keep_busy, others_take)
            nursery.start_soon(self.poller.run)
            with trio.fail_after(10):
                while len(self.served()) < until:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


@pytest.fixture
def bench() -> Iterator[Bench]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    made = Bench()
    yield made
    for peer in made.peers:
        os.close(peer.fd)
    made.poller.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_what_is_urgent_is_dispatched_before_any_batch(bench: Bench) -> None:
    """Behind a thousand ready batches, an urgent request's task is woken before the first of them.

    The loop may run the poller once more before that task: so two slices go first at most.
    """
    bench.batches(1000)
    bench.peer("end", waits=False)
    await bench.run(1000)
    assert bench.log[0] == ("seen", "end")
    assert bench.log.index(("woken", "end")) <= 1 + 2 * SLICE
    assert bench.poller.statistics().urgent == 1  # until it says that it is done


async def test_what_becomes_urgent_meanwhile_waits_for_one_slice(bench: Bench) -> None:
    """A request that comes in the midst of a long turn ends it with the slice being served."""
    peers = bench.batches(200)
    end = bench.peer("end", waits=False)
    async with trio.open_nursery() as nursery:
        for peer in bench.peers:
            nursery.start_soon(peer.sleep)
        await trio.testing.wait_all_tasks_blocked()
        for peer in peers:
            peer.send()
        peers[19].when_served = end.send
        nursery.start_soon(bench.poller.run)
        with trio.fail_after(10):
            await end_woken(bench)
        nursery.cancel_scope.cancel()
    assert bench.log.index(("seen", "end")) == 2 * SLICE  # it came with the twentieth batch
    assert bench.log.index(("woken", "end")) <= 1 + 3 * SLICE


async def end_woken(bench: Bench) -> None:
    while ("woken", "end") not in bench.log:
        await trio.lowlevel.checkpoint()


async def test_batches_are_answered_in_the_order_in_which_they_came(bench: Bench) -> None:
    """First come, first served, also over many turns, and for those that come again."""
    peers = bench.batches(100)
    again = peers[90]
    once: list[None] = []

    def send_again() -> None:
        if not once:
            once.append(None)
            again.send()

    peers[40].when_served = send_again
    bench.poller.hurry(peers[0].news)
    order = tuple(reversed(peers))
    await bench.run(101, first=order)
    assert bench.served() == [*(peer.name for peer in order), again.name]


async def test_turns_are_long_when_nothing_is_urgent(bench: Bench) -> None:
    """Without urgent requests a turn takes up to 256 batches."""
    bench.batches(600)
    await bench.run(600)
    assert bench.turns == [256, 256, 88]


async def test_turns_are_short_while_something_is_urgent(bench: Bench) -> None:
    """From the beginning of an urgent request to its end, others have their turn each slice."""
    peers = bench.batches(600)
    peers[99].when_served = lambda: bench.poller.calm(peers[0].news)
    bench.poller.hurry(peers[0].news)
    bench.poller.hurry(peers[0].news)  # once more makes no difference
    assert bench.poller.statistics().urgent == 1
    await bench.run(600)
    assert bench.turns[:6] == [SLICE] * 6
    assert bench.turns[6] == 256
    assert bench.poller.statistics() == PollerStatistics(
        0, 0, 0.0, bench.poller.statistics().delay_peak_seconds
    )


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.4])
async def test_batches_have_a_fifth_of_the_time_whatever_is_urgent(
    bench: Bench, seconds: float
) -> None:
    """A turn lasts at least a quarter of what the others took before it."""
    peers = bench.batches(900)
    bench.poller.hurry(peers[0].news)
    await bench.run(900, others_take=seconds)
    here = 0.001 * len(bench.served())  # what a batch takes here
    # The last round's part may be owed yet; and no turn is shorter than a slice.
    assert here >= (bench.others_took - 2 * seconds) / 4
    assert here <= bench.others_took / 4 + 0.001 * 2 * SLICE * len(bench.turns)


async def test_one_stall_does_not_make_a_turn_without_end(bench: Bench) -> None:
    """However long the others took, urgent requests do not wait for more than 256 batches."""
    peers = bench.batches(900)
    bench.poller.hurry(peers[0].news)
    await bench.run(900, others_take=60.0)
    assert max(bench.turns) == 256


async def test_a_flood_of_urgent_requests_leaves_batches_their_share(bench: Bench) -> None:
    """With more urgent requests than 256, a turn may take as many batches as there are of them."""
    peers = bench.batches(900)
    for peer in peers[:400]:
        bench.poller.hurry(peer.news)
    await bench.run(900, others_take=60.0)
    assert max(bench.turns) == 400


async def test_the_delay_is_that_of_the_one_that_is_next(bench: Bench) -> None:
    """While requests wait it is told since when the oldest has; else there is no delay."""
    assert bench.poller.statistics() == IDLE
    peers = bench.batches(100)
    seen: list[PollerStatistics] = []
    peers[50].when_served = lambda: seen.append(bench.poller.statistics())
    await bench.run(100)
    [during] = seen
    assert (during.queued, during.urgent) == (49, 0)
    assert during.delay_seconds == pytest.approx(0.051)
    assert during.delay_peak_seconds == pytest.approx(0.051)
    after = bench.poller.statistics()
    assert (after.queued, after.delay_seconds) == (0, 0.0)
    assert after.delay_peak_seconds == pytest.approx(0.096)  # when the last slice began
    bench.poller.reset_peak()
    assert bench.poller.statistics() == IDLE


async def test_a_handful_is_not_looked_at(bench: Bench) -> None:
    """Few requests are answered as they come: looking first would cost more than it gains."""
    asked = [bench.peer(number, waits=False) for number in range(8)]
    await bench.run(8)
    assert bench.served() == [peer.name for peer in asked]
    assert bench.poller.statistics().urgent == 0


async def test_a_connection_that_closes_while_it_waits_is_passed_over(bench: Bench) -> None:
    """It is served no more, also when its number has been given to another by then."""
    peers = bench.batches(100)
    gone, fresh = peers[60], socket.socketpair()

    def close() -> None:
        bench.poller.forget(gone.news)
        os.dup2(fresh[0].fileno(), gone.fd)  # the number's next owner
        news.append(bench.poller.register(gone.fd))

    news: list[News] = []
    peers[10].when_served = close
    with fresh[0], fresh[1]:
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(peer.sleep)
            await trio.testing.wait_all_tasks_blocked()
            for peer in peers:
                peer.send()
            nursery.start_soon(bench.poller.run)
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(bench.served()) == [n for n in range(100) if n != gone.name]
            assert bench.poller.statistics().queued == 0
            fresh[1].send(b"x")
            with trio.fail_after(5):
                await news[0].wait()
            nursery.cancel_scope.cancel()


async def test_a_task_that_is_cancelled_while_it_waits_holds_up_nobody(bench: Bench) -> None:
    """When a connection's task is on its way out, its request is left to it; others are served."""
    peers = bench.batches(100)
    leaving = peers[60]
    scope = trio.CancelScope()

    async def sleep_until_cancelled() -> None:
        with scope:
            await leaving.news.wait()
        bench.poller.forget(leaving.news)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleep_until_cancelled)
        for peer in peers:
            if peer is not leaving:
                nursery.start_soon(peer.sleep)
        await trio.testing.wait_all_tasks_blocked()
        bench.poller.hurry(leaving.news)  # short turns, so that it is cancelled while it waits
        for peer in peers:
            peer.send()
        peers[0].when_served = scope.cancel
        nursery.start_soon(bench.poller.run)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(bench.served()) == [n for n in range(100) if n != leaving.name]
        assert bench.poller.statistics().urgent == 0
        nursery.cancel_scope.cancel()


async def test_a_hang_up_while_it_waits_wakes_the_task_in_its_turn(bench: Bench) -> None:
    """A client that leaves while its request waits is left to the connection's task, once."""
    peers = bench.batches(100)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = bench.peer("leaving")
        bench.poller.forget(peer.news)
        news = peer.news = bench.poller.register(ours.fileno())
        news.server = peer
        peers[5].when_served = theirs.close
        async with trio.open_nursery() as nursery:
            for sleeper in bench.peers:
                nursery.start_soon(sleeper.sleep)
            await trio.testing.wait_all_tasks_blocked()
            for sender in peers:
                sender.send()
            theirs.send(b"x")
            nursery.start_soon(bench.poller.run)
            await trio.testing.wait_all_tasks_blocked()
            assert news.ended
            assert bench.log.count(("woken", "leaving")) == 1
            assert "leaving" not in bench.log  # never served in the poller's task
            assert len(bench.served()) == 100
            nursery.cancel_scope.cancel()
        bench.poller.forget(news)


async def test_a_poller_that_is_cancelled_leaves_what_waits_where_it_is(bench: Bench) -> None:
    """Stopping in the midst of it serves nobody more and loses nobody's bytes."""
    peers = bench.batches(300)
    async with trio.open_nursery() as nursery:
        for peer in peers:
            nursery.start_soon(peer.sleep)
        await trio.testing.wait_all_tasks_blocked()
        for peer in peers:
            peer.send()
        scope = trio.CancelScope()
        peers[20].when_served = scope.cancel
        bench.poller.hurry(peers[0].news)
        with scope:
            await bench.poller.run()
        served = len(bench.served())
        assert SLICE < served <= 3 * SLICE
        assert bench.poller.statistics().queued == 300 - served
        nursery.start_soon(bench.poller.run)  # and another one goes on from there
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(bench.served()) == list(range(300))
        nursery.cancel_scope.cancel()
