"""Tells connections that bytes have come, answers pose batches in turn, and lets all else go first.

Theory of operation
-------------------
`trio.lowlevel.wait_readable` arms the kernel anew for each wait: a system call, and several layers
of bookkeeping, for every request. Here a socket is registered once, edge-triggered, with an epoll
of our own; one task waits for that epoll (with Trio, like for any descriptor) and wakes the
connections whose sockets have news. A connection that has nothing to wait for but its client may
leave itself to be served right here (`News.server`): its task then sleeps on, and a request costs
no switch to it.

::

    epoll -> may it wait? -yes-> ready, first come first served -> answered here, a slice at a time
                └-no--> urgent: its task is woken at once

Under overload thousands of sockets are ready with a pose batch each, and a session's end or a
health check is somewhere among them. So all that epoll has is taken at once, and when that is more
than a handful, the first bytes of each are looked at (without taking them). What is no pose batch
is *urgent*: its connection is woken before any batch is answered. What may wait is noted in `ready`
with the time, its bytes left in the kernel: one entry a connection, gone with the connection.

Batches are answered in slices, and epoll is asked again between two of them, so that what is urgent
waits for one slice at most until it is seen. From then on, until the last urgent request is
answered (`hurry`, `calm`), the poller leaves the loop to others after each slice. Otherwise a turn
is longer, so that what others do once a round of Trio's loop is shared by more batches.

Nor may urgent requests starve the batches: a turn goes on until it has lasted a quarter of what the
others took since the last one (and has not served more batches than there are urgent requests, or
256). So however many urgent requests there are, a fifth of the time is for pose batches, as long as
there are any.

Edges ask for care, because news comes once. A connection therefore reads on without waiting while
a read filled its buffer, and once the client has closed its side (`News.ended`), until it has read
the end. A wake-up that comes before its waiter is kept (see `WakeUp`), so none is lost.
"""

import select
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import trio

from penstock.engine.wakeup import WakeUp

# So few are answered as they come, whatever they are: that takes less than a millisecond.
_HANDFUL = 8
_SLICE = 16
# A turn's length in requests when nothing is urgent.
_MOST_AT_ONCE = 256
# How long a turn may be made by its length in time, compared with what the others have taken.
_SHARE = 0.25
_MOST_EVENTS = 1024


class Server(Protocol):
    """A connection, as far as the poller may act for it."""

    def may_wait(self) -> bool:
        """Say whether what has come may wait its turn. Takes nothing of it."""
        ...

    def serve_nowait(self) -> bool:
        """Take the news while the connection's task sleeps; False wakes the task."""
        ...


class News(WakeUp):
    """What is known of one socket between two reads."""

    __slots__ = ("ended", "fd", "server", "urgent")

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.fd = fd
        self.ended = False
        self.urgent = False
        self.server: Server | None = None


@dataclass(slots=True, frozen=True)
class PollerStatistics:
    """How many requests wait and are urgent, and how long the one has waited that is next.

    The delay counts from the moment at which the poller found the request's bytes.
    """

    queued: int
    urgent: int
    delay_seconds: float
    delay_peak_seconds: float


class Poller:
    """One epoll and the connections that it wakes. Linux only."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._epoll = select.epoll()
        self._news: dict[int, News] = {}
        self._ready: OrderedDict[News, float] = OrderedDict()
        self._urgent = 0
        self._delay_peak = 0.0

    def register(self, fd: int) -> News:
        """Begin to watch a socket."""
        news = self._news[fd] = News(fd)
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        return news

    def forget(self, news: News) -> None:
        """Stop watching. Call it before the socket is closed: its number will be used again."""
        del self._news[news.fd]
        self._epoll.unregister(news.fd)
        self._ready.pop(news, None)
        self.calm(news)

    def queued(self, news: News) -> bool:
        """Say whether a request of this socket waits its turn."""
        return news in self._ready

    def hurry(self, news: News) -> None:
        """Note that an urgent request is under way, until `calm`."""
        if not news.urgent:
            news.urgent = True
            self._urgent += 1

    def calm(self, news: News) -> None:
        """Note that none is under way any more."""
        if news.urgent:
            news.urgent = False
            self._urgent -= 1

    def statistics(self) -> PollerStatistics:
        """Count what waits. Nothing does when idle, and there is no delay then."""
        delay = 0.0
        if self._ready:
            delay = self._clock() - next(iter(self._ready.values()))
        peak = max(self._delay_peak, delay)
        return PollerStatistics(len(self._ready), self._urgent, delay, peak)

    def reset_peak(self) -> None:
        """Begin a new interval for the peak."""
        self._delay_peak = 0.0

    async def run(self) -> None:
        """Wake and serve connections until cancelled."""
        clock = self._clock
        while True:
            if self._ready:
                left = clock()
                await trio.lowlevel.checkpoint()
                began = clock()
                self._take_turn(began + (began - left) * _SHARE)
            else:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self._take_turn(0.0)

    def _take_turn(self, until: float) -> None:
        """Serve what is ready; leave when it has been enough, and the rest for the next turn."""
        self._collect()
        served = 0
        while True:
            served += self._serve_slice()
            if not self._ready:
                return
            self._collect()
            if served >= max(_MOST_AT_ONCE, self._urgent):
                return
            if self._urgent and served >= _SLICE and self._clock() >= until:
                return

    def _collect(self) -> None:
        """Take all that epoll has; wake what does not wait its turn."""
        over = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        ready = self._ready
        while True:
            events = self._epoll.poll(0, _MOST_EVENTS)
            if not events:
                return
            now = self._clock()
            many = len(ready) + len(events) > _HANDFUL
            for fd, flags in events:
                news = self._news[fd]
                if flags & over:
                    news.ended = True
                if news in ready:
                    continue
                server = news.server
                if server is None or not news.waiting:
                    news.set()
                elif many and not server.may_wait():
                    self.hurry(news)
                    news.set()
                else:
                    ready[news] = now
            if len(events) < _MOST_EVENTS:
                return

    def _serve_slice(self) -> int:
        """Serve the oldest that are ready; say how many."""
        ready = self._ready
        if not ready:
            return 0
        self._delay_peak = max(self._delay_peak, self._clock() - next(iter(ready.values())))
        served = 0
        while ready and served < _SLICE:
            news, _ = ready.popitem(last=False)
            served += 1
            server = news.server
            if server is None or news.ended or not news.waiting or not server.serve_nowait():
                news.set()
        return served

    def close(self) -> None:
        """Give the epoll back. Call it when no connection is left."""
        self._epoll.close()


class _TriosNews(News):
    """Asks Trio each time."""

    async def wait(self) -> None:
        await trio.lowlevel.wait_readable(self.fd)


class TriosPoller(Poller):
    """The same for systems without epoll, at Trio's price. It keeps no queue, so has no delay."""

    def __init__(self) -> None:
        """Need nothing."""

    def register(self, fd: int) -> News:
        """Begin to watch a socket."""
        return _TriosNews(fd)

    def forget(self, news: News) -> None:
        """Have nothing to stop."""

    def queued(self, news: News) -> bool:  # noqa: ARG002 - the same for all
        """Have no queue."""
        return False

    def hurry(self, news: News) -> None:
        """Have nobody to hold back."""

    def calm(self, news: News) -> None:
        """Have nobody to let go on."""

    def statistics(self) -> PollerStatistics:
        """Know of no delay; the scheduler's is all there is."""
        return PollerStatistics(0, 0, 0.0, 0.0)

    def reset_peak(self) -> None:
        """Have no peak."""

    async def run(self) -> None:
        """Have nothing to do: Trio wakes them."""

    def close(self) -> None:
        """Have nothing to give back."""


def make_poller() -> Poller:
    """Make the best poller of this system."""
    return Poller() if hasattr(select, "epoll") else TriosPoller()
