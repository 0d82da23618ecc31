"""Rows for the dashboard to show, put into a running service's ledger by its own writer."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from penstock.engine.ledger_port import Entry
from penstock.engine.media.events import MediaData, MediaEvent, MediaKind, MediaType
from penstock.engine.media.records import MediaEventEntry
from penstock.engine.platform.records import AnalyticsEntry, Circumstances, ErrorReportEntry
from penstock.engine.receipts import Committed, Lane
from penstock.engine.records import AuditEntry
from penstock.ledgers import LEDGER_FILE
from penstock.service import Service

ORG = str(UUID(int=8))
ACTOR = "680-00112233445566778899aabbccddeeff"
AROUND = Circumstances(ACTOR, "user", "RO", "mobile", "Chrome", "4g", "r-1")
# 2026-02-17T10:00:00Z
BEGAN_MS = 1_771_322_400_000


def event(number: int, **changes: Any) -> AnalyticsEntry:
    """Make the event of a second."""
    at = BEGAN_MS + number * 1000
    made = AnalyticsEntry(
        str(uuid4()), ORG, at, at, "page.view", "navigation", "page", "library", "/library", None,
        None, {"n": number}, AROUND,
    )  # fmt: skip
    return replace(made, **changes)


def report(number: int, **changes: Any) -> ErrorReportEntry:
    """Make the report of a second."""
    made = ErrorReportEntry(
        str(uuid4()), ORG, "f" * 32, BEGAN_MS + number * 1000, "video_error", "E1", "player",
        "it broke", "at x", {"cpu_usage_percent": 78.3}, AROUND,
    )  # fmt: skip
    return replace(made, **changes)


def audit(number: int, action: str = "patient.view", **detail: Any) -> AuditEntry:
    """Make the entry of a second."""
    return AuditEntry(BEGAN_MS + number * 1000, ACTOR, action, f"patient:{number}", detail)


def media(session: int, number: int = 0, **changes: Any) -> MediaEventEntry:
    """Make an event of a session."""
    at = BEGAN_MS + number * 1000
    made = MediaEvent(
        str(UUID(int=session)), "m-1", MediaType.VIDEO, MediaKind.PLAY, at, at,
        MediaData(position_seconds=1.5),
    )  # fmt: skip
    return MediaEventEntry(replace(made, **changes), ORG, str(UUID(int=7)))


async def keep(service: Service, *entries: Entry) -> None:
    """Have entries in the ledger on return."""
    receipts = [service.writer.enter_nowait(entry, Lane.DURABLE) for entry in entries]
    for receipt in receipts:
        told = await receipt.wait()
        assert isinstance(told, Committed), told


def past(service: Service, statement: str) -> None:
    """Do something to the ledger past the service, as an intruder would."""
    with closing(sqlite3.connect(service.settings.data_dir / LEDGER_FILE)) as db:
        for trigger in ("audit_entries_unchanged", "audit_entries_kept"):
            db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        db.execute(statement)
        db.commit()
