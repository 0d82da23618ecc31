"""The log of turns, kept within its bounds however long a session lasts.

Theory of operation
-------------------
When the log is full for the first time, the joints that can be the working one are known by what
they went through, and only those are followed from then on. When it is full again, the older
repetitions are settled: they are told once and for all, their turns are forgotten, and the working
joint is decided.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from penstock.engine.motion.counting import Counted, count
from penstock.engine.motion.exercises import WEIGHTS, guide
from penstock.engine.motion.repetition import STORED_BYTES, Repetition, repetitions, stored
from penstock.engine.motion.signals import SIDES, SIGNALS
from penstock.engine.motion.state import JOINTS, WIDTH, Folded, Settled
from penstock.engine.motion.track import Columns, Track
from penstock.engine.motion.turns import TAIL, Records

_MAX_TURNS: Final = 480
# From so many on, only the joints that can be the working one are followed.
_MANY_TURNS: Final = 340
_MAX_SETTLED: Final = 96
# Of more settled repetitions the first ones and the last ones are kept: fatigue compares those.
_FIRST_SETTLED: Final = 32
# Joints that are followed on when the log is full, and when the working one is decided.
_CANDIDATES: Final = 3
_DECIDED: Final = 2
# What stays in the log when repetitions are settled, so that the tempo stays known.
_LEFT_OPEN = 4
_BEFORE_MS = 500


def bounded(folded: Folded) -> Folded:
    """Give the state with no more turns than there is room for."""
    if folded.number <= _MANY_TURNS:
        return folded.compact()
    if folded.followed.bit_count() > len(SIDES) * _CANDIDATES:
        return _following(folded, _candidates(folded)[:_CANDIDATES])
    if folded.number <= _MAX_TURNS:
        return folded.compact()
    turns: Any = folded.log()
    followed = (folded.followed >> turns["signal"].astype(np.int64)) & 1 > 0
    if followed.all():
        return _settle(folded)
    return folded.with_log(turns[followed])


def _following(folded: Folded, joints: Sequence[str]) -> Folded:
    return folded._replace(
        followed=sum(1 << n for n, joint in enumerate(JOINTS) if joint in joints)
    )


def _candidates(folded: Folded) -> list[str]:
    """Give the joints that may be the working one, those with the most energy first."""
    told = guide(folded.exercise)
    names = told.signals if told else tuple(WEIGHTS)
    turns: Any = folded.log()
    order = np.argsort(turns["signal"], kind="stable")
    signal, value = turns["signal"][order], turns["value"][order].astype(np.float64)
    swing = np.where(signal[1:] == signal[:-1], np.diff(value) / 10, 0)
    energy = np.bincount(signal[1:], swing**2, minlength=WIDTH).tolist()
    best = dict.fromkeys(names, 0.0)
    for joint, own in zip(JOINTS, energy, strict=True):
        if joint in best:
            best[joint] = max(best[joint], own * WEIGHTS.get(joint, 0.5) ** 2)
    return sorted(best, key=lambda joint: -best[joint])


def _decided(folded: Folded, turns: Records) -> Folded:
    """Decide the working joint by the newest of the turns, where it is not decided yet.

    To count by every joint that may be it takes its time, and the newest turns tell them apart.
    """
    if folded.settled.joint is not None:
        return folded
    times: Any = turns["at_ms"]
    since = np.sort(times)[len(turns) // 2]
    counted = counted_in(folded.with_log(turns[times >= since]), last=None)
    if counted is None:
        return folded
    return folded._replace(settled=folded.settled._replace(joint=counted.joint))


def _settle(folded: Folded) -> Folded:
    turns: Any = folded.log()
    counted = counted_in(_decided(folded, turns), last=None)
    found = [] if counted is None else unsettled(folded, counted)
    if counted is None or len(found) <= _LEFT_OPEN:
        # Noise that hardly holds a repetition: the older half is let go.
        middle = np.sort(turns["at_ms"])[len(turns) // 2]
        return folded.with_log(turns[turns["at_ms"] >= middle])
    done, left = found[:-_LEFT_OPEN], found[-_LEFT_OPEN:]
    before = folded.settled
    told = before.told + stored(done)
    if len(told) > _MAX_SETTLED * STORED_BYTES:
        told = (
            told[: _FIRST_SETTLED * STORED_BYTES]
            + told[(_FIRST_SETTLED - _MAX_SETTLED) * STORED_BYTES :]
        )
    keep = turns["at_ms"] >= found[-min(len(found), 2 * _LEFT_OPEN)].start_ms - _BEFORE_MS
    others = [counted.angle, *_candidates(folded)]
    others = [joint for joint in others if joint != counted.joint]
    folded = folded.with_log(turns[keep])._replace(
        settled=Settled(
            counted.joint,
            counted.sign,
            (done[-1].turn_ms + left[0].turn_ms) // 2,
            before.number + len(done),
            before.cut + sum(one.cut for one in done),
            before.unseen + sum(not one.seen for one in done),
            told,
        ),
    )
    return _following(folded, [counted.joint, *others[: _DECIDED - 1]])


def unsettled(folded: Folded, counted: Counted) -> list[Repetition]:
    """Give the repetitions that are not told for good yet."""
    return repetitions(counted, folded.settled.until_ms)


def tracks(folded: Folded, last: Records | None) -> dict[str, Track]:
    """Give the tracks of all signals that turned, with the turns that are not final as the last."""
    turns: Any = folded.log()
    if last is not None:
        turns = np.concatenate((turns, last))
    tails: Any = np.frombuffer(folded.tails, TAIL)
    order = np.argsort(turns["signal"], kind="stable")
    turns = turns[order]
    bounds = np.searchsorted(turns["signal"], np.arange(WIDTH + 1)).tolist()
    columns, left = Columns(turns), tails["q_ms"].tolist()
    return {
        name: columns.track(
            bounds[n], bounds[n + 1], left[n], followed=bool(folded.followed >> n & 1)
        )
        for n, name in enumerate(SIGNALS)
        if bounds[n + 1] - bounds[n] > 1
    }


def counted_in(folded: Folded, last: Records | None) -> Counted | None:
    """Count what is in the log; `last` are the turns that are not final, where it ends there."""
    joint, sign = folded.settled.joint, folded.settled.sign
    return count(
        tracks(folded, last),
        guide(folded.exercise),
        None if joint is None else (joint, sign),
        whole=last is not None and joint is None,
    )
