"""What the ledger keeps of media events, and what it is asked for.

A session's first event makes it known; its rows are the event's own and the session's. The session
says when its figures are due to be made anew (see `folder`), and what it counts for now.
"""

from dataclasses import dataclass
from typing import NamedTuple

import orjson

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.ledger_port import Entry, Query
from penstock.engine.media.events import MediaData, MediaEvent, MediaKind, MediaType
from penstock.engine.media.metrics import MediaStatus
from penstock.engine.media.rollup import ALL_MEDIA, NOWHERE, Cell, Dimension, Standing, Surroundings

# So long after its first new event a session's figures are made anew, however many follow. An end
# is told at once.
FOLD_AFTER_MS = 30_000
# A session that nothing has been heard of for so long is over, as far as statistics go; an event
# that comes later changes that.
IDLE_AFTER_MS = 30 * 60 * 1000


@dataclass(slots=True, frozen=True)
class MediaEventEntry(Entry):
    """One event. Its key is the session, the kind and the client's time: the first one stays.

    CONFLICT: the session is another's. FULL: it has as many events as it may.
    """

    event: MediaEvent
    org_id: str
    principal_id: str
    surroundings: Surroundings = NOWHERE

    @property
    def due_unix_ms(self) -> int:
        """Say by when the session's figures are due."""
        wait = 0 if self.event.kind is MediaKind.SESSION_END else FOLD_AFTER_MS
        return self.event.received_ms + wait


@dataclass(slots=True, frozen=True)
class MediaEndedEntry(Entry):
    """The session has ended. It goes with the final; a session without events leaves no trace."""

    session_id: str
    at_unix_ms: int


@dataclass(slots=True, frozen=True)
class MediaFoldEntry(Entry):
    """What a session counts for from now on, made of so many events.

    One made of fewer events than the last changes nothing. Without a standing, the last one stays,
    and the session is not due before its next event.
    """

    session_id: str
    events: int
    standing: Standing | None
    closed: bool
    at_unix_ms: int


class StoredMediaEvent(NamedTuple):
    """An event as it is kept, whoever wrote it."""

    kind: str
    at_ms: int
    received_ms: int
    media_id: str
    media_type: str
    data: str

    def event(self, session_id: str) -> MediaEvent:
        """Read it; what no version of ours has written raises ValueError or TypeError."""
        return MediaEvent(
            session_id,
            self.media_id,
            MediaType(self.media_type),
            MediaKind(self.kind),
            self.at_ms,
            self.received_ms,
            MediaData.from_plain(orjson.loads(self.data)),
        )


class DueMediaSession(NamedTuple):
    """A session whose figures are to be made anew. `ended` once it has a final."""

    session_id: str
    ended: bool
    last_received_unix_ms: int
    surroundings: Surroundings


@dataclass(slots=True, frozen=True)
class MediaOwnerOf(Query[SessionIdentity | None]):
    """Whose session it is that has events; None where none has come."""

    session_id: str


@dataclass(slots=True, frozen=True)
class MediaEventsOf(Query[list[StoredMediaEvent]]):
    """All events of a session, in no order that matters."""

    session_id: str


@dataclass(slots=True, frozen=True)
class DueMediaSessions(Query[list[DueMediaSession]]):
    """The sessions that are due at a time, those that have waited longest first."""

    now_unix_ms: int
    limit: int


@dataclass(slots=True, frozen=True)
class MediaStandingOf(Query[Standing | None]):
    """What a session counts for now."""

    session_id: str


@dataclass(slots=True, frozen=True)
class DimensionCells(Query[list[tuple[str, Cell]]]):
    """The sums of one dimension since an hour, by its values; of one medium or of all."""

    since_unix: int
    dimension: Dimension
    media_id: str = ALL_MEDIA


@dataclass(slots=True, frozen=True)
class StatusCells(Query[list[tuple[MediaStatus, Cell]]]):
    """The sums and sketches since an hour, by status: of all, or of one only."""

    since_unix: int
    status: MediaStatus | None = None
