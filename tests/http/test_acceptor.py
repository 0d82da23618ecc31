"""The accept loop: all that is there at once, and nothing more after the stop."""

import errno
import socket
from typing import Any, Self

import pytest
import trio
import trio.testing

from penstock.http.acceptor import accept_forever


class Taken(list[trio.SocketStream]):
    """What was accepted; `enough` is set once there are so many."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self.enough = trio.Event()

    def take(self, stream: trio.SocketStream) -> None:
        self.append(stream)
        if len(self) >= self._count:
            self.enough.set()


def _listening() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.listen(200)
    return listening


async def test_all_that_wait_are_accepted_in_one_round() -> None:
    """Fifty connections that are there need one wake-up, not one each."""
    listening = _listening()
    clients = [socket.create_connection(listening.getsockname()) for _ in range(50)]
    taken = Taken(50)
    rounds: list[int] = []

    class Rounds(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if task.name.endswith("accept_forever"):
                rounds.append(len(taken))

    instrument = Rounds()
    trio.lowlevel.add_instrument(instrument)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept_forever, listening, taken.take)
        with trio.fail_after(10):
            await taken.enough.wait()
        nursery.cancel_scope.cancel()
    trio.lowlevel.remove_instrument(instrument)
    assert len({count for count in rounds if count}) == 1
    for closing in clients:
        closing.close()
    for stream in taken:
        await stream.aclose()


async def test_the_stop_closes_the_listener() -> None:
    """Once cancelled it listens no more: the next client is told at once."""
    listening = _listening()
    address = listening.getsockname()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept_forever, listening, lambda _: None)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


class _Failing:
    """A listener whose accept fails as told, and then works."""

    def __init__(self, listening: socket.socket, *errors: int) -> None:
        self._listening = listening
        self._errors = list(errors)

    def accept(self) -> Any:
        if self._errors:
            raise OSError(self._errors.pop(0), "as the test wishes")
        return self._listening.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listening, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()


@pytest.mark.parametrize("error", [errno.ECONNABORTED, errno.EMFILE, errno.ENFILE])
async def test_a_failing_accept_is_not_the_end(error: int) -> None:
    """A client that has hung up, and a lack of descriptors, pass; the next client is served."""
    listening = _listening()
    with socket.create_connection(listening.getsockname()):
        taken = Taken(1)
        async with trio.open_nursery() as nursery:
            failing: Any = _Failing(listening, error)
            nursery.start_soon(accept_forever, failing, taken.take)
            with trio.fail_after(10):
                await taken.enough.wait()
            nursery.cancel_scope.cancel()
        await taken[0].aclose()
