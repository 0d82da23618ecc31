"""How far a session's figures can be trusted, in words that a clinician can read."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

HIGH: Final = "high"
MEDIUM: Final = "medium"
LOW: Final = "low"

# Completeness below which counts are still right but times suffer, and below which neither is safe:
# both from the error curves over lost frames.
_MUCH_LOST: Final = 0.95
_TOO_MUCH_LOST: Final = 0.75
_LONG_GAP_MS: Final = 2000
_POORLY_TRACKED: Final = (0.9, 0.6)
_SLOW_FPS: Final = 8.0
_UNLIKE: Final = (0.85, 0.7)
_UNSEEN: Final = (0.05, 0.2)
# Changes of a single camera's angle below this are noise.
NOISE_DEGREES: Final = 10


def confidence(
    figures: Mapping[str, Any], likeness: Sequence[float], partly: int = 0
) -> tuple[str, list[str]]:
    """Give the level and why it is not higher.

    `likeness` is each repetition's to the others; of `partly` many a gap hides how far they went.
    """
    serious: list[str] = []
    slight: list[str] = []

    def note(value: float | None, bounds: tuple[float, float], what: str) -> None:
        if value is not None and value < bounds[1]:
            serious.append(what)
        elif value is not None and value < bounds[0]:
            slight.append(what)

    complete = figures["completeness_ratio"]
    if complete is not None:
        lost = f"{1 - complete:.0%} of the frames are missing"
        note(complete, (_MUCH_LOST, _TOO_MUCH_LOST), lost)
    if (longest := figures["longest_gap_ms"] or 0) > _LONG_GAP_MS:
        slight.append(f"for {longest / 1000:.1f} seconds nothing was seen")
    tracked = figures["tracking_ratio"]
    if tracked is not None:
        note(tracked, _POORLY_TRACKED, f"the body was tracked in {tracked:.0%} of the frames only")
    count = figures["rep_count"]
    if count:
        unseen = figures["rep_count_unseen"] / count
        hidden = figures["rep_count_unseen"]
        told = f"{hidden} of {count} repetitions took place while frames were missing"
        note(1 - unseen, (1 - _UNSEEN[0], 1 - _UNSEEN[1]), told)
        note(
            median(likeness) if likeness else 0.0,
            _UNLIKE,
            "the repetitions differ from each other in how the body moved",
        )
        if partly:
            slight.append(f"how far {partly} of {count} repetitions went was not seen")
        middle = figures["rep_range_median_deg"]
        if middle is not None and middle < 2 * NOISE_DEGREES:
            slight.append(
                f"the movement is small ({middle:.0f} degrees), and one camera is only sure of "
                f"changes above {NOISE_DEGREES}"
            )
    else:
        serious.append("no repetition was recognised")
    more_serious, more_slight = _of_the_recording(figures)
    level = LOW if serious + more_serious else MEDIUM if slight + more_slight else HIGH
    return level, serious + more_serious + slight + more_slight


def _of_the_recording(figures: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    serious: list[str] = []
    slight: list[str] = []
    fps = figures["effective_fps"]
    if fps is not None and fps < _SLOW_FPS:
        slight.append(f"{fps:.1f} frames a second are few for times and speeds")
    if not figures["motion_from_start"]:
        serious.append(
            "the session's first part was stored by an older version and is not included"
        )
    if figures["exercise"] is None:
        slight.append(
            "the exercise was not named, so the working joint was chosen from the movement"
        )
    return serious, slight
