"""The document that a session's charts are drawn from. Times are the session's own, in ms."""

from collections.abc import Sequence
from typing import Any

from penstock.engine.decision_log import Entry, runs_of
from penstock.engine.frame_bins import Fate, FrameBins
from penstock.engine.media.clock import Anchor
from penstock.engine.outcomes import REASONS
from penstock.engine.session_picture import Made, SessionPicture
from penstock.engine.session_story import SessionStory
from penstock.http.instants import iso_instant

Document = dict[str, Any]

# More labels than these do not fit beside one another.
_MOST_MARKS = 40


def timeline(
    story: SessionStory,
    made: Made | None,
    why: str,
    decisions: Sequence[Entry],
    again: float | None,
) -> Document:
    """Put it together. Without a picture `why` says so; `again` is when to ask for it next."""
    drawn = None if made is None else _picture(made.picture)
    media = story.media_metrics or {}
    stalls = media.get("stalls", [])
    ends = [] if drawn is None else [drawn["from_ms"], drawn["until_ms"]]
    moments = ends or [at for stall in stalls for at in (stall["start_ms"], stall["end_ms"])]
    return {
        "session_id": story.identity.session_id,
        "state": story.stage.value,
        "goes_on": story.goes_on,
        "again_after_seconds": again,
        "from_ms": min(moments, default=0),
        "until_ms": max(moments, default=0),
        "picture": drawn,
        "made_at": None if made is None else iso_instant(int(made.made_unix * 1000)),
        "why": why,
        "stalls": stalls,
        # Another zero than the frames' may lie some seconds beside it.
        "stalls_placed_surely": media.get("clock_anchor") in (None, Anchor.ELAPSED),
        "decisions": [
            {
                "verdict": run.cause.verdict.value,
                "cause": run.cause.value,
                "words": run.cause.words,
                "from_ms": run.from_ms,
                "until_ms": run.until_ms,
                "batches": run.batches,
                "frames_lost": run.frames_lost,
            }
            for run in runs_of(decisions)
            if run.costs
        ][-_MOST_MARKS:],
    }


def _picture(picture: SessionPicture) -> Document:
    bins, curve = picture.bins, picture.curve
    starts = [_start_ms(bins, number) for number in range(len(bins.counts[Fate.TAKEN]))]
    return {
        "from_ms": starts[0] if starts else 0,
        "until_ms": starts[-1] + 1000 * bins.bin_seconds if starts else 0,
        "frames": picture.frames,
        "file_bytes": picture.file_bytes,
        "damage_count": picture.damage_count,
        "bins": {
            "bin_seconds": bins.bin_seconds,
            "starts_ms": starts,
            **{fate.value: bins.counts[fate] for fate in Fate},
        },
        "gaps": [{**gap._asdict(), "words": meaning_of(gap.reason)} for gap in picture.gaps],
        "gap_count": picture.gap_count,
        "curve": {
            "joint": curve.joint,
            "counted": curve.counted,
            "unit": curve.unit,
            "times_ms": curve.times_ms,
            "lines": dict(curve.lines),
        },
        "repetitions": [one._asdict() for one in picture.repetitions],
    }


def _start_ms(bins: FrameBins, number: int) -> int:
    return 1000 * (bins.first_second + number * bins.bin_seconds)


def meaning_of(reason: str) -> str:
    """Say what a gap's reason means; "" and "unknown" are those that nobody knows of."""
    known = REASONS.get(reason)
    return "no frame came, and nobody said why" if known is None else known.meaning
