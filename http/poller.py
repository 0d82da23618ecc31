"""Tells connections that bytes have come, at one registration a connection.

Theory of operation
-------------------
`trio.lowlevel.wait_readable` arms the kernel anew for each wait: a system call, and several layers
of bookkeeping, for every request. Here a socket is registered once, edge-triggered, with an epoll
of our own; one task waits for that epoll (with Trio, like for any descriptor) and wakes the
connections whose sockets have news. A connection that has nothing to wait for but its client may
leave word how to serve it right here (`News.serve_nowait`): its task then sleeps on, and a request
costs no switch to it.

Edges ask for care, because news comes once. A connection therefore reads on without waiting while
a read filled its buffer, and once the client has closed its side (`News.ended`), until it has read
the end. A wake-up that comes before its waiter is kept (see `WakeUp`), so none is lost.
"""

import select
from collections.abc import Callable

import trio

from penstock.engine.wakeup import WakeUp

# Of the requests that are there at once, so many are answered before other tasks have their turn.
_MOST_AT_ONCE = 256


ServeNowait = Callable[[], bool]


class News(WakeUp):
    """What is known of one socket between two reads."""

    __slots__ = ("ended", "fd", "serve_nowait")

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.fd = fd
        self.ended = False
        # Takes the news by itself while the connection's task sleeps; False wakes the task.
        self.serve_nowait: ServeNowait | None = None


class Poller:
    """One epoll and the connections that it wakes. Linux only."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._news: dict[int, News] = {}

    def register(self, fd: int) -> News:
        """Begin to watch a socket."""
        news = self._news[fd] = News(fd)
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        return news

    def forget(self, news: News) -> None:
        """Stop watching. Call it before the socket is closed: its number will be used again."""
        del self._news[news.fd]
        self._epoll.unregister(news.fd)

    async def run(self) -> None:
        """Wake connections until cancelled."""
        over = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for fd, events in self._epoll.poll(0, _MOST_AT_ONCE):
                news = self._news.get(fd)
                if news is None:  # forgotten since the poll
                    continue
                if events & over:
                    news.ended = True
                serve = news.serve_nowait
                if serve is None or news.ended or not news.waiting or not serve():
                    news.set()

    def close(self) -> None:
        """Give the epoll back. Call it when no connection is left."""
        self._epoll.close()


class _TriosNews(News):
    """Asks Trio each time."""

    async def wait(self) -> None:
        await trio.lowlevel.wait_readable(self.fd)


class TriosPoller(Poller):
    """The same for systems without epoll, at Trio's price."""

    def __init__(self) -> None:
        """Need nothing."""

    def register(self, fd: int) -> News:
        """Begin to watch a socket."""
        return _TriosNews(fd)

    def forget(self, news: News) -> None:
        """Have nothing to stop."""

    async def run(self) -> None:
        """Have nothing to do: Trio wakes them."""

    def close(self) -> None:
        """Have nothing to give back."""


def make_poller() -> Poller:
    """Make the best poller of this system."""
    return Poller() if hasattr(select, "epoll") else TriosPoller()
