"""A session's whole state as plain values, so that another process can go on with it."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

from penstock.engine.motion.reach import NO_REACH, Reach
from penstock.engine.outcomes import Tally
from penstock.engine.timeline import Timeline

CHECKPOINT_VERSION = 1


@dataclass(slots=True, frozen=True)
class SessionIdentity:
    """Whose session it is. The three ids of a session token, as canonical UUID strings."""

    session_id: str
    principal_id: str
    org_id: str


class Checkpoint(NamedTuple):
    """A session between two chunks of frames: everything settled, nothing pending.

    `accepted_frames` counts what clients were told was accepted; it is the basis of
    `buffer_position_bytes`.
    """

    identity: SessionIdentity
    started_unix_ms: int
    accepted_frames: int
    timeline: Timeline
    tally: Tally
    reach: Reach = NO_REACH

    def plain(self) -> dict[str, Any]:
        """Give JSON-ready values."""
        return {
            "v": CHECKPOINT_VERSION,
            **asdict(self.identity),
            "started_unix_ms": self.started_unix_ms,
            "accepted_frames": self.accepted_frames,
            "timeline": asdict(self.timeline),
            "tally": self.tally.plain(),
            "reach": self.reach.plain(),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Rebuild from `plain`; a foreign value raises KeyError, TypeError or ValueError."""
        if plain["v"] != CHECKPOINT_VERSION:
            raise ValueError(f"checkpoint version {plain['v']}, not {CHECKPOINT_VERSION}")
        return cls(
            SessionIdentity(plain["session_id"], plain["principal_id"], plain["org_id"]),
            plain["started_unix_ms"],
            plain["accepted_frames"],
            Timeline(**plain["timeline"]),
            Tally.from_plain(plain["tally"]),
            Reach.from_plain(plain["reach"]),
        )
