"""The log's turns and a session's tails: what is kept of a signal, field by field.

A turn is a place where a signal turned for good. A tail is what the next block needs to go on: a
signal's last final turn `a` and its provisional one `b`, the last moment near b (`q`), and running
sums.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.signals import SIGNALS, Floats

Records = npt.NDArray[np.void]
Times = npt.NDArray[np.int64]
Column = npt.NDArray[Any]

TURN: Final = np.dtype(
    [
        ("signal", "u1"),
        ("at_ms", "<u4"),
        ("value", "<i2"),  # tenths
        ("leave", "<u2"),  # how long before `at_ms`, in hundredths of a second; so all below
        ("arrive", "<u2"),
        ("blind_before", "<u2"),
        ("blind_moving", "<u2"),
        ("blind_after", "<u2"),
        ("gap", "<u2"),
        ("speed", "<u2"),  # degrees a second
        ("sparc", "<i2"),  # thousandths; UNKNOWN where it was not measured
        ("ldlj", "<i2"),
    ]
)
UNKNOWN: Final = -32768
# Changes of a joint's angle in one camera's picture below about this are noise.
FLOOR_DEGREES: Final = 10.0
# Nearer than this to a turn's value the signal has not left it, or has arrived.
NEAR_DEGREES: Final = FLOOR_DEGREES / 2
# Or than this share of the swing, as larger ones are noisier in what comes before and after.
NEAR_SHARE: Final = 0.1
TAIL: Final = np.dtype(
    [
        ("points", "u1"),
        ("final", "u1"),
        ("a_ms", "<u4"),
        ("a", "<f4"),
        ("a_blind", "<u4"),
        ("b_ms", "<u4"),
        ("b", "<f4"),
        ("b_leave", "<u4"),
        ("b_arrive", "<u4"),
        ("b_leave_blind", "<u4"),
        ("b_arrive_blind", "<u4"),
        ("b_blind", "<u4"),
        ("b_speed", "<f4"),
        ("b_gap", "<u4"),
        ("q_ms", "<u4"),
        ("q_blind", "<u4"),
        ("open_speed", "<f4"),
        ("newest_ms", "<i8"),
        ("blind", "<u4"),
        ("least", "<f4"),
        ("greatest", "<f4"),
        ("noise", "<f8"),
        ("noises", "<u4"),
        ("seen", "<u4"),
        ("path", "<f4"),
    ]
)
_SPANS = ("leave", "arrive", "blind_before", "blind_moving", "blind_after", "gap")
_HUNDREDTHS = 10
_MOST = 65_535


def new_tails() -> Records:
    """Give the tails of a session without frames."""
    tails = np.zeros(len(SIGNALS), TAIL)
    tails["newest_ms"] = -1
    tails["least"] = tails["greatest"] = np.nan
    return tails


def records(
    signal: Column,
    at: Times,
    value: Floats,
    leave: Times,
    arrive: Times,
    leave_blind: Times,
    arrive_blind: Times,
    blind: Times,
    blind_before: Times,
    gap: Times,
    speed: Floats,
) -> Records:
    """Give turns of the log, from what is known of them in full."""
    turns: Any = np.empty(len(at), TURN)
    turns["signal"], turns["at_ms"] = signal, at
    turns["value"] = np.rint(value * 10)
    spans = np.array(
        (
            at - leave,
            at - arrive,
            leave_blind - blind_before,
            arrive_blind - leave_blind,
            blind - arrive_blind,
            gap,
        )
    )
    spans //= _HUNDREDTHS
    for name, span in zip(_SPANS, spans.clip(0, _MOST), strict=True):
        turns[name] = span
    turns["speed"] = np.clip(np.rint(speed), 0, _MOST)
    turns["sparc"] = turns["ldlj"] = UNKNOWN
    found: Records = turns
    return found


def last_turns(tails: Records) -> Records:
    """Give the turns that are not final yet of one session's tails, as if nothing came after."""
    rows: Any = np.asarray(tails)
    first = np.flatnonzero((rows["points"] > 1) & (rows["final"] == 0))
    begun = rows[first]
    at = begun["a_ms"].astype(np.int64)
    nothing = np.zeros(len(first), np.int64)
    still = np.zeros(len(first), np.float32)
    unsettled = records(
        first, at, begun["a"], at, at, nothing, nothing, nothing, nothing, nothing, still
    )
    last = np.flatnonzero(rows["points"])
    own = rows[last]
    wide = {name: own[name].astype(np.int64) for name in _MOMENTS}
    leave_blind = wide["b_leave_blind"]
    newest = records(
        last,
        wide["b_ms"],
        own["b"],
        wide["b_leave"],
        wide["b_arrive"],
        leave_blind,
        wide["b_arrive_blind"],
        wide["b_blind"],
        np.where(own["points"] > 1, wide["a_blind"], leave_blind),
        wide["b_gap"],
        own["b_speed"],
    )
    return np.concatenate((unsettled, newest))


_MOMENTS = (
    "b_ms",
    "b_leave",
    "b_arrive",
    "b_leave_blind",
    "b_arrive_blind",
    "b_blind",
    "a_blind",
    "b_gap",
)
