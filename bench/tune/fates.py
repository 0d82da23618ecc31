"""What became of each batch of a session, in one byte, and which of its frames that left.

The byte is one of `Fate`, or, for a batch that was thinned, `keep_every` times 16 plus the index of
the first frame that was kept. Both are at most 10, so nothing else has such a number.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]
Kept = npt.NDArray[np.bool_]

_SHIFT = 16
_THINNED = 2 * _SHIFT


class Fate(IntEnum):
    """What became of a batch that was not thinned."""

    WHOLE = 0
    # Turned away by the policy.
    REFUSED = 1
    # Not sent, because the client had been told to wait.
    WITHHELD = 2
    # Not sent, because an answer took so long that newer batches took its place.
    GIVEN_UP = 3


def thinned(keep_every: int, first: int) -> int:
    """Give the byte of a batch of which every so-manieth frame was kept, from `first` on."""
    return keep_every * _SHIFT + first


def is_thinned(codes: Codes) -> Kept:
    """Mark the batches that were thinned."""
    return np.asarray(codes >= _THINNED)


def kept_frames(sizes: tuple[int, ...], codes: Codes) -> Kept:
    """Mark the frames that are left of a session whose batches are so large, and fared so."""
    own = np.repeat(codes, sizes).astype(np.int64)
    ends = np.cumsum(sizes)
    place = np.arange(own.size) - np.repeat(ends - sizes, sizes)
    every, first = np.maximum(own // _SHIFT, 1), own % _SHIFT
    left = (own >= _THINNED) & (place >= first) & ((place - first) % every == 0)
    return np.asarray(left | (own == Fate.WHOLE))
