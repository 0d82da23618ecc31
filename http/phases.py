"""What a connection is doing, and so how long it may take.

=========  ==========================================  ================================
phase      what happens                                at the deadline
=========  ==========================================  ================================
IDLE       waiting for a request's first byte          closed
RECEIVING  a request's head or body is incomplete      408, closed
WORKING    an answer is being made or sent             closed; three times what a request may take,
                                                       since its body and sending have limits, too
CLOSING    answered; the rest of the input is thrown   closed
           away, so that the answer is not lost to a
           reset
=========  ==========================================  ================================
"""

from enum import Enum


class Phase(Enum):
    """What the connection is doing."""

    IDLE = "idle"
    RECEIVING = "receiving"
    WORKING = "working"
    CLOSING = "closing"


BUSY = frozenset({Phase.RECEIVING, Phase.WORKING})
