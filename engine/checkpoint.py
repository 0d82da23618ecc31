"""A session's whole state as plain values, so that another process can go on with it."""

import binascii
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

from penstock.engine.losses import Span, plain_spans, read_spans
from penstock.engine.motion.motion import BEGUN_ANEW, NO_MOTION, Motion, dumped, loaded
from penstock.engine.outcomes import Tally
from penstock.engine.reported import NOTHING_REPORTED, Reported
from penstock.engine.timeline import Timeline

CHECKPOINT_VERSION = 2
# Its checkpoints tell how far each joint went and nothing else of the motion.
_WITHOUT_MOTION = 1


@dataclass(slots=True, frozen=True)
class SessionIdentity:
    """Whose session it is. The three ids of a session token, as canonical UUID strings."""

    session_id: str
    principal_id: str
    org_id: str


class Checkpoint(NamedTuple):
    """A session between two chunks of frames: everything settled, nothing pending.

    `accepted_frames` counts what clients were told was accepted; it is the basis of
    `buffer_position_bytes`. `motion_due` says that the motion is to be written as well: it is far
    larger than the rest, so most checkpoints in a file leave it out, and recovery folds the frames
    since the one that has it.
    """

    identity: SessionIdentity
    started_unix_ms: int
    accepted_frames: int
    timeline: Timeline
    tally: Tally
    motion: Motion = NO_MOTION
    motion_due: bool = True
    losses: tuple[Span, ...] = ()
    reported: Reported = NOTHING_REPORTED

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        return {
            "v": CHECKPOINT_VERSION,
            **asdict(self.identity),
            "started_unix_ms": self.started_unix_ms,
            "accepted_frames": self.accepted_frames,
            "timeline": asdict(self.timeline),
            "tally": self.tally.plain(),
            "motion": written_motion(self),
            **({"losses": plain_spans(self.losses)} if self.losses else {}),
            **({"reported": said} if (said := self.reported.plain()) else {}),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Rebuild from `plain`; a foreign value raises KeyError, TypeError or ValueError."""
        version = plain["v"]
        if version not in (_WITHOUT_MOTION, CHECKPOINT_VERSION):
            raise ValueError(f"checkpoint version {version}, not {CHECKPOINT_VERSION}")
        motion = plain["motion"] if version == CHECKPOINT_VERSION else None
        # Of a session without frames there was nothing to write.
        none = NO_MOTION if plain["accepted_frames"] == 0 else BEGUN_ANEW
        return cls(
            SessionIdentity(plain["session_id"], plain["principal_id"], plain["org_id"]),
            plain["started_unix_ms"],
            plain["accepted_frames"],
            Timeline(**plain["timeline"]),
            Tally.from_plain(plain["tally"]),
            none if motion is None else _read_motion(motion),
            motion_due=motion is not None or none is NO_MOTION,
            losses=read_spans(plain.get("losses", [])),
            reported=_read_reported(plain.get("reported", {})),
        )


def written_motion(checkpoint: Checkpoint) -> str | None:
    """Give the motion as text, where it is due and not empty."""
    if not checkpoint.motion_due:
        return None
    if checkpoint.motion is NO_MOTION and not checkpoint.accepted_frames:
        return None
    return binascii.b2a_base64(dumped(checkpoint.motion), newline=False).decode()


def _read_reported(plain: object) -> Reported:
    if not isinstance(plain, dict):
        raise TypeError("what a client reported is an object")
    return Reported.read(plain)


def _read_motion(text: object) -> Motion:
    if not isinstance(text, str):
        raise TypeError("a motion is a text")
    return loaded(binascii.a2b_base64(text, strict_mode=True))
