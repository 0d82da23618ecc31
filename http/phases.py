"""What a connection is doing, and so how long it may take.

=========  ==========================================  ================================
phase      what happens                                at the deadline
=========  ==========================================  ================================
IDLE       waiting for a request's first byte          closed
RECEIVING  a request's head or body is incomplete      408, closed
WORKING    an answer is being made or sent             closed; three times what a request may take,
                                                       since its body and sending have limits, too
LISTENING  an answer goes on for as long as    none; what is sent at once has its own limit
           its client listens, a little at a
           time: server-sent events
CLOSING    answered; the rest of the input is thrown   closed
           away, so that the answer is not lost to a
           reset
=========  ==========================================  ================================
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from hypercorn.events import Event

EVENT_STREAM = b"text/event-stream"


class Phase(Enum):
    """What the connection is doing."""

    IDLE = "idle"
    RECEIVING = "receiving"
    WORKING = "working"
    LISTENING = "listening"
    CLOSING = "closing"


BUSY = frozenset({Phase.RECEIVING, Phase.WORKING})


@dataclass(frozen=True)
class Listening(Event):
    """All that a connection's requests have under way are answers that are listened to."""


def is_listened_to(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Say whether an answer with these headers is a stream of events."""
    return any(
        name.lower() == b"content-type" and value.startswith(EVENT_STREAM)
        for name, value in headers
    )
