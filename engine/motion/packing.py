"""Turns packed to a third: most of a log only waits until somebody asks.

A session is live for half an hour and its log is read once in some minutes, so its older turns are
kept compressed, a chunk at a time. Column by column, as neighbours differ little in most fields.
"""

import zlib
from typing import Final

import numpy as np

from penstock.engine.motion.turns import TURN

# The lowest takes a third of the time and gives nine tenths of what the highest does.
_LEVEL: Final = 1
_LENGTH_BYTES: Final = 4


def packed(turns: bytes) -> bytes:
    """Give turns as one chunk; chunks behind one another are their turns behind one another."""
    columns = np.frombuffer(turns, np.uint8).reshape(-1, TURN.itemsize).T.tobytes()
    body = zlib.compress(columns, _LEVEL)
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def unpacked(chunks: bytes) -> bytes:
    """Give the turns of chunks; ValueError for what is none."""
    found, at = [], 0
    while at < len(chunks):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(chunks[at:begin], "little")
        try:
            columns = zlib.decompress(chunks[begin:at])
        except zlib.error as error:
            raise ValueError(f"not packed turns: {error}") from None
        if len(columns) % TURN.itemsize:
            raise ValueError(f"not packed turns: {len(columns)} bytes")
        found.append(np.frombuffer(columns, np.uint8).reshape(TURN.itemsize, -1).T.tobytes())
    return b"".join(found)
