"""Accepts connections, all that are there at once.

Trio's own loop accepts one connection each time that the scheduler comes round to it. Under load a
round is some twenty milliseconds, so new connections would come in at fifty a second and wait for
seconds, with a session's end in one of them.
"""

import errno
import logging
import socket
from collections.abc import Callable
from typing import NoReturn

import trio

logger = logging.getLogger(__name__)

# More than these wait for the next round, so that a flood of connections is no standstill.
_MOST_AT_ONCE = 64
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_NO_ROOM_SECONDS = 0.1
# Of the listener itself. Any other error is of the one connection, which is gone already.
_BROKEN = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})


async def accept_forever(
    listening: socket.socket, take: Callable[[trio.SocketStream], None]
) -> NoReturn:
    """Give every new connection to `take`, until cancelled; then listen no more."""
    listening.settimeout(0)
    with listening:
        while True:
            await trio.lowlevel.wait_readable(listening)
            if not _accept_some(listening, take):
                await trio.sleep(_NO_ROOM_SECONDS)


def _accept_some(listening: socket.socket, take: Callable[[trio.SocketStream], None]) -> bool:
    """Accept what is there; False when the process has no room for more."""
    for _ in range(_MOST_AT_ONCE):
        try:
            accepted, _ = listening.accept()
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno in _BROKEN:
                raise
            if error.errno in _NO_ROOM:
                logger.error(  # noqa: TRY400 - the message says it all
                    "front.no_room_to_accept", extra={"error": str(error)}
                )
                return False
            continue
        take(trio.SocketStream(trio.socket.from_stdlib_socket(accepted)))
    return True
