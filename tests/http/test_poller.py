import select
import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from penstock.http.poller import Poller, TriosPoller

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="this system has no epoll")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - socket's own signature
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("kind", [Poller, TriosPoller])
async def test_news_come_for_each_arrival(
    kind: type[Poller], pair: tuple[socket.socket, socket.socket]
) -> None:
    """A connection is woken for bytes that came before it waited and for those that come after."""
    ours, theirs = pair
    poller = kind()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            news = poller.register(ours.fileno())
            for text in (b"before", b"again"):
                theirs.send(text)
                await news.wait()
                assert ours.recv(100) == text
            nursery.start_soon(trio.to_thread.run_sync, theirs.send, b"after")
            await news.wait()
            assert ours.recv(100) == b"after"
            poller.forget(news)
            nursery.cancel_scope.cancel()
    poller.close()


async def test_the_end_is_told_with_the_last_bytes(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """When bytes and the end come together there is one edge, and it says both."""
    ours, theirs = pair
    poller = Poller()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            news = poller.register(ours.fileno())
            theirs.send(b"last")
            theirs.shutdown(socket.SHUT_WR)
            await news.wait()
            assert news.ended
            assert (ours.recv(100), ours.recv(100)) == (b"last", b"")
            poller.forget(news)
            nursery.cancel_scope.cancel()
    poller.close()


async def test_a_forgotten_socket_wakes_nobody(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """A number that is used again belongs to the new socket alone."""
    ours, theirs = pair
    poller = Poller()
    old = poller.register(ours.fileno())
    poller.forget(old)
    new = poller.register(ours.fileno())
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            theirs.send(b"x")
            await new.wait()
            nursery.start_soon(old.wait)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    poller.close()
