"""A session's figures: what the motion says, beside what is known of its frames."""

from typing import Any, NamedTuple

from penstock.engine.losses import Span, reasons_of
from penstock.engine.motion.metrics import Account, rep_metrics, session_metrics
from penstock.engine.motion.motion import Motion, conclude, gaps
from penstock.engine.outcomes import Outcome, Reason, Tally
from penstock.engine.reported import NOTHING_REPORTED, Reported


class Figures(NamedTuple):
    """The two halves, JSON-ready."""

    session_metrics: dict[str, Any]
    rep_metrics: list[dict[str, Any]]


def figures(
    motion: Motion,
    accepted_frames: int,
    tally: Tally,
    losses: tuple[Span, ...],
    reported: Reported = NOTHING_REPORTED,
) -> Figures:
    """Give the figures of a session of which so many frames were accepted."""
    concluded = conclude(motion)
    account = Account(
        received=accepted_frames,
        used=tally.frames(Reason.USED),
        shed=tally.count(Outcome.SHED),
        lost=tally.count(Outcome.LOST),
        gap_reasons=reasons_of(losses, gaps(concluded.folded)),
        reported=reported.plain(),
    )
    return Figures(session_metrics(concluded, account), rep_metrics(concluded))
