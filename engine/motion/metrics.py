"""A session's figures, and those of its repetitions, in the shape of the aggregation event.

Every figure has its unit in its name, and is None where the data does not carry it. What only the
session's ledger knows comes in as `Account`; nothing here asks anybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, pstdev
from typing import Any, Final

import numpy as np

from penstock.engine.motion.confidence import confidence
from penstock.engine.motion.exercises import guide
from penstock.engine.motion.motion import Concluded, Folded, Motion, conclude, gaps
from penstock.engine.motion.repetition import Repetition
from penstock.engine.motion.signals import LEAN, REPORTED, SIDES, SIGNALS
from penstock.engine.motion.turns import TAIL

# Fatigue compares the first third with the last one; of fewer there are no thirds.
_LEAST_FOR_THIRDS: Final = 6
_LEAST_FOR_VARIATION: Final = 3
# One side worked alone when the other one took part in less than this share of the repetitions.
_BOTH_SHARE: Final = 0.5


@dataclass(slots=True, frozen=True)
class Account:
    """What the ledger knows of a session's frames, None where nobody does.

    `gap_reasons` names a reason for gaps by their beginning in milliseconds. `reported` is what the
    client says of itself; it is passed on beside the figures.
    """

    received: int | None = None
    used: int | None = None
    shed: int | None = None
    lost: int | None = None
    gap_reasons: Mapping[int, str] = field(default_factory=dict)
    reported: Mapping[str, Any] = field(default_factory=dict)


NO_ACCOUNT: Final = Account()


def metrics(motion: Motion, account: Account = NO_ACCOUNT) -> dict[str, Any]:
    """Give `session_metrics` and `rep_metrics`."""
    concluded = conclude(motion)
    return {
        "session_metrics": session_metrics(concluded, account),
        "rep_metrics": rep_metrics(concluded),
    }


def session_metrics(found: Concluded, account: Account = NO_ACCOUNT) -> dict[str, Any]:
    """Give the session's figures."""
    folded, counted = found.folded, found.counted
    settled = folded.settled
    open_ones = [one for one in found.repetitions if one.turn_ms > settled.until_ms]
    number = settled.number + len(open_ones)
    joint = counted.angle if counted is not None and number else None
    whole = [one for one in found.repetitions if one.seen and not one.cut]
    duration = None
    if folded.first_ms is not None and found.newest_ms is not None:
        duration = found.newest_ms - folded.first_ms
    seconds = [(one.end_ms - one.start_ms) / 1000 for one in whole]
    ranges = _filled([one for one in found.repetitions if not one.cut])
    tracked = _tracked(folded)
    gap_list = _gaps(found, account)
    longest = max((one["length_ms"] for one in gap_list), default=0)
    completeness = _share(account.used, account.received)
    working_side = _side(found.repetitions)
    result: dict[str, Any] = {
        "duration_s": None if duration is None else round(duration / 1000, 3),
        "frames_received": account.received,
        "frames_used": account.used if account.used is not None else folded.frames,
        "frames_shed": account.shed,
        "frames_lost": account.lost,
        "completeness_ratio": completeness,
        "longest_gap_ms": longest if folded.frames else None,
        "gap_count": folded.gap_number,
        "gaps": gap_list,
        "effective_fps": _fps(account.used or folded.frames, duration),
        "tracking_ratio": tracked,
        "exercise": folded.exercise,
        "rep_count": number,
        "rep_count_partial": settled.cut + sum(one.cut for one in open_ones),
        "rep_count_unseen": settled.unseen + sum(not one.seen for one in open_ones),
        "working_joint": joint,
        "counted_by": counted.joint if counted is not None and number else None,
        "working_side": working_side,
        "range_deg": _ranges(folded.tails),
        "rep_range_median_deg": _rounded(median(ranges), 1) if ranges else None,
        "rep_seconds_mean": _rounded(fmean(seconds), 2) if seconds else None,
        "rep_seconds_cv": (
            _rounded(pstdev(seconds) / fmean(seconds), 3)
            if len(seconds) >= _LEAST_FOR_VARIATION and fmean(seconds)
            else None
        ),
        "fatigue_range_change_pct": _trend(ranges),
        "fatigue_seconds_change_pct": _trend(seconds),
        "symmetry_index_pct": _symmetry(whole) if working_side == "both" else None,
        "sparc": _median([one.sparc for one in whole], 3),
        "ldlj": _median([one.ldlj for one in whole], 3),
        "motion_from_start": not folded.anew,
        "client_reported": dict(account.reported) or None,
    }
    likeness = [one.likeness for one in found.repetitions if one.seen]
    level, reasons = confidence(result, likeness, sum(one.partly for one in found.repetitions))
    result["confidence"], result["confidence_reasons"] = level, reasons
    return result


def reach(found: Concluded) -> dict[str, tuple[float, float]]:
    """Give least and greatest degrees of each joint that was seen."""
    rows: Any = np.frombuffer(found.folded.tails, TAIL)
    return {
        signal: (round(float(rows["least"][n]), 1), round(float(rows["greatest"][n]), 1))
        for n, signal in enumerate(SIGNALS)
        if signal.rpartition("_")[0] in REPORTED and not np.isnan(rows["least"][n])
    }


def rep_metrics(found: Concluded) -> list[dict[str, Any]]:
    """Give the figures of each repetition that is still told; long sessions tell the outer ones."""
    told = guide(found.folded.exercise)
    lowers = told.lowers if told else None
    total = found.folded.settled.number
    older = sum(one.turn_ms <= found.folded.settled.until_ms for one in found.repetitions)
    return [
        _repetition(one, place, lowers=lowers)
        for place, one in zip(
            _places(total, older, len(found.repetitions)), found.repetitions, strict=True
        )
    ]


def _places(settled: int, told: int, count: int) -> list[int]:
    # Of many settled ones the middle is missing.
    first = min(told, 32) if told < settled else told
    return [*range(first), *range(settled - (told - first), settled + count - told)]


def _repetition(one: Repetition, place: int, *, lowers: bool | None) -> dict[str, Any]:
    out, back = _seconds(one.out_ms), _seconds(one.back_ms)
    eccentric, concentric = (out, back) if lowers else (back, out)
    both = one.left is not None and one.right is not None and one.side == "both"
    return {
        "rep_number": place + 1,
        "start_ms": one.start_ms,
        "turn_ms": one.turn_ms,
        "end_ms": one.end_ms,
        "duration_s": _seconds(one.end_ms - one.start_ms),
        "side": None if one.side == "middle" else one.side,
        "range_deg": None if one.partly else _rounded(one.degrees, 1),
        "out_s": out,
        "hold_s": _seconds(one.hold_ms),
        "back_s": back,
        "eccentric_s": None if lowers is None else eccentric,
        "concentric_s": None if lowers is None else concentric,
        "peak_speed_deg_per_s": _rounded(one.speed, 0),
        "sparc": _rounded(one.sparc, 3),
        "ldlj": _rounded(one.ldlj, 3),
        "symmetry_index_pct": _index(one.left, one.right) if both else None,
        "unseen_ratio": _rounded(one.unseen, 3),
        "partial": one.cut,
        "seen": one.seen,
        "confidence": _certainty(one),
    }


def _certainty(one: Repetition) -> str:
    if not one.seen or one.unseen > 0.5 or one.likeness < 0.7:
        return "low"
    return "high" if one.unseen < 0.1 and one.likeness > 0.85 and not one.cut else "medium"


def _fps(frames: int, duration_ms: int | None) -> float | None:
    return round((frames - 1) * 1000 / duration_ms, 2) if duration_ms else None


def _tracked(folded: Folded) -> float | None:
    """Give how much was seen of the better half of the signals that are followed."""
    if not folded.frames:
        return None
    rows: Any = np.frombuffer(folded.tails, TAIL)
    followed = [n for n in range(len(SIGNALS)) if folded.followed >> n & 1]
    seen = np.sort(rows["seen"][followed])
    share = float(seen[len(seen) // 2 :].mean()) / folded.frames
    return _rounded(min(1.0, share), 3)


def _ranges(tails: bytes) -> dict[str, Any]:
    rows: Any = np.frombuffer(tails, TAIL)
    found: dict[str, Any] = {}
    for n, signal in enumerate(SIGNALS):
        name, _, side = signal.rpartition("_")
        if signal == LEAN:
            name, side = LEAN, ""
        elif name not in REPORTED or side not in SIDES:
            continue
        low, high = float(rows["least"][n]), float(rows["greatest"][n])
        value = (
            None
            if np.isnan(low)
            else {
                "least": round(low, 1),
                "greatest": round(high, 1),
                "range": round(high - low, 1),
            }
        )
        if side:
            found.setdefault(name, {})[side] = value
        else:
            found[name] = value
    return found


def _gaps(found: Concluded, account: Account) -> list[dict[str, Any]]:
    return [
        {
            "start_ms": start,
            "end_ms": end,
            "length_ms": end - start,
            "reason": account.gap_reasons.get(start, "unknown"),
        }
        for start, end in gaps(found.folded)
    ]


def _side(found: Sequence[Repetition]) -> str | None:
    seen = [one.side for one in found if one.seen and one.side != "middle"]
    if not seen:
        return None
    if seen.count("both") >= _BOTH_SHARE * len(seen):
        return "both"
    left, right = seen.count("left"), seen.count("right")
    if min(left, right) > len(seen) / 4:
        return "alternating"
    return "left" if left > right else "right"


def _symmetry(whole: Sequence[Repetition]) -> float | None:
    found = [
        index
        for one in whole
        if one.side == "both" and (index := _index(one.left, one.right)) is not None
    ]
    return _rounded(median(found), 1) if found else None


def _index(left: float | None, right: float | None) -> float | None:
    if left is None or right is None or left + right <= 0:
        return None
    return _rounded((right - left) / (0.5 * (right + left)) * 100, 1)


def _filled(whole: Sequence[Repetition]) -> list[float]:
    """Give every repetition's range; what was not seen is taken as the mean of its neighbours'.

    Where depth changes through a set, leaving such repetitions out would move the median by more
    than they can differ from their neighbours. What was seen of them is the least it can be.
    """
    places = [n for n, one in enumerate(whole) if one.degrees is not None and not one.partly]
    if not places:
        return []
    known = [whole[n].degrees or 0.0 for n in places]
    between = np.interp(np.arange(len(whole)), places, known).tolist()
    return [max(value, one.degrees or 0.0) for value, one in zip(between, whole, strict=True)]


def _trend(values: Sequence[float]) -> float | None:
    """Give the last third's mean against the first third's, as a change in percent."""
    if len(values) < _LEAST_FOR_THIRDS:
        return None
    third = len(values) // 3
    first, last = fmean(values[:third]), fmean(values[-third:])
    return _rounded((last - first) / first * 100, 1) if first else None


def _median(values: Sequence[float | None], digits: int) -> float | None:
    known = [value for value in values if value is not None]
    return _rounded(median(known), digits) if known else None


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else round(part / whole, 4)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else round(milliseconds / 1000, 3)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
