"""A session's events, read back from the ledger: its figures, and whose session it is."""

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

import trio

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.ledger_port import Ledger
from penstock.engine.media.events import MediaEvent
from penstock.engine.media.metrics import MediaMetrics, media_metrics
from penstock.engine.media.records import MediaEventsOf, MediaOwnerOf, StoredMediaEvent

logger = logging.getLogger(__name__)


class MediaRecall:
    """What an end asks about a session's media. Every method raises LedgerUnavailableError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def owner_of(self, session_id: str) -> SessionIdentity | None:
        """Say whose session it is that has media events; None where none was ever stored."""
        return await self._ledger.read(MediaOwnerOf(session_id))

    async def metrics_of(self, session_id: str) -> dict[str, Any] | None:
        """Give the `media_metrics` of a session that ends now; None of one without events."""
        _, metrics = await recalled(self._ledger, session_id, closed=True)
        return None if metrics is None else metrics.plain()


async def recalled(
    ledger: Ledger, session_id: str, *, closed: bool
) -> tuple[int, MediaMetrics | None]:
    """Count a session's events, and make its figures of them."""
    stored = await ledger.read(MediaEventsOf(session_id))
    if not stored:
        return 0, None
    # Of thousands of events it takes long enough to be felt.
    metrics = await trio.to_thread.run_sync(partial(_metrics, session_id, stored, closed=closed))
    return len(stored), metrics


def _metrics(
    session_id: str, stored: Iterable[StoredMediaEvent], *, closed: bool
) -> MediaMetrics | None:
    return media_metrics(_readable(session_id, stored), closed=closed)


def _readable(session_id: str, stored: Iterable[StoredMediaEvent]) -> Iterable[MediaEvent]:
    """Read what can be read: one event from elsewhere must not keep a session from ending."""
    for one in stored:
        try:
            yield one.event(session_id)
        except (TypeError, ValueError) as error:
            where = {"session_id": session_id, "kind": one.kind, "at_unix_ms": one.at_ms}
            logger.warning("media.event_unreadable", extra={**where, "error": str(error)})
