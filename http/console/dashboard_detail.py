"""`/dashboard/detail/<type>/<id>`: one row with everything that is kept of it.

The types are a table: a reader each, which gives a sheet or nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from penstock.engine.delivery_records import DeliveryOf
from penstock.engine.erasure_records import ErasureOf
from penstock.engine.media.events import RANKS, MediaKind
from penstock.engine.media.records import MediaEventsOf, StoredMediaEvent
from penstock.engine.media.rollup import Standing
from penstock.engine.platform.audit_chain import digest_of, link_hash
from penstock.engine.platform.records import AuditLink, AuditLinks, Circumstances
from penstock.engine.platform.security import kind_of
from penstock.engine.platform.viewing import (
    AnalyticsOf,
    AuditOf,
    ErrorReportOf,
    MediaSessionOf,
)
from penstock.engine.records import ErasedSession, FinalOf
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.console import dashboard_cells as cells
from penstock.http.console import dashboard_rows as rows
from penstock.http.console.dashboard_cells import Cell
from penstock.http.console.frame import Frame
from penstock.http.console.sessions import PATH as SESSIONS
from penstock.http.console.visits import Visit
from penstock.http.core.keeping import Keeping
from penstock.http.exchange import Answer
from penstock.http.problems import Problem

SHOWN_EVENTS = 500
_LONGEST_SHOWN = 80


@dataclass(slots=True, frozen=True)
class Table:
    """A table of a sheet."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(slots=True, frozen=True)
class Sheet:
    """What a page tells of one row: facts by name, texts as they are, a table, and where to go."""

    title: str
    section: str
    facts: Mapping[str, Cell]
    texts: Mapping[str, str]
    links: Mapping[str, str]
    table: Table | None = None


@dataclass(slots=True, frozen=True)
class DashboardDetail:
    """The pages."""

    frame: Frame
    keeping: Keeping

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the route of all types."""
        return (self.frame.page(f"{cells.DETAIL}/<kind>/<key>", self._show),)

    async def _show(self, visit: Visit, call: Call) -> Answer:
        readers: dict[str, Callable[[str], Awaitable[Sheet | None]]] = {
            "audit": self._audit,
            "analytics": self._analytics,
            "error": self._error,
            "media": self._media,
            "session": self._session,
            "erasure": self._erasure,
        }
        kind, key = call.parameters["kind"], call.parameters["key"]
        if kind not in readers:
            raise RefusedError(
                Problem.NOT_FOUND,
                f"there is no such type of entry; there are {', '.join(readers)}",
                field="type",
                seen=kind[:_LONGEST_SHOWN],
            )
        sheet = await readers[kind](key)
        if sheet is None:
            raise RefusedError(
                Problem.NOT_FOUND,
                f"there is no {kind} entry of this id, or none any more",
                field="id",
                seen=key[:_LONGEST_SHOWN],
            )
        return self.frame.pages.render(
            visit, "dashboard_detail.html", sheet.title, sheet.section, sheet=sheet
        )

    async def _audit(self, key: str) -> Sheet | None:
        found = await self.keeping.read(AuditOf(key))
        if found is None:
            return None
        entry, link = found.stored.entry, found.link
        kind = kind_of(entry.action, entry.detail)
        facts = {
            "When (UTC)": cells.moment(entry.at_unix_ms),
            "Action": cells.code(entry.action),
            "Actor": cells.code(entry.actor),
            "Subject": cells.code(entry.subject),
            "Security": cells.text(None if kind is None else kind.replace("_", " ")),
            "Id": cells.code(entry.entry_id),
            "Link of the chain": cells.number(None if link is None else link.link),
            "Chain": await self._holds(link),
            "Hash": cells.code(None if link is None else link.hash),
        }
        links = {
            "What this actor did": cells.listed(rows.AUDIT, actor=entry.actor),
            "Every such action": cells.listed(rows.AUDIT, action=entry.action),
            "What was done to this subject": cells.listed(rows.AUDIT, subject=entry.subject),
        }
        return Sheet(
            "Audit entry", rows.AUDIT, facts, {"Detail": cells.pretty(entry.detail)}, links
        )

    async def _holds(self, link: AuditLink | None) -> Cell:
        """Say whether an entry is as it was written, and made upon the one before it."""
        if link is None:
            return cells.badge("not linked yet", "warning")
        before = await self.keeping.read(AuditLinks(link.link - 2, 1)) if link.link > 1 else []
        made_upon = [one for one in before if one.link == link.link - 1]
        if any(link_hash(one.hash, link.link, link.digest) != link.hash for one in made_upon):
            return cells.badge("its hash does not follow from the one before", "problem")
        if link.redacted:
            return cells.badge("a person was taken out of it by an erasure", "note")
        if digest_of(link.content) != link.digest:
            return cells.badge("it is not what it was when it was written", "problem")
        return cells.badge("as it was written", "ok")

    async def _analytics(self, key: str) -> Sheet | None:
        event = await self.keeping.read(AnalyticsOf(key))
        if event is None:
            return None
        facts = {
            "Received (UTC)": cells.moment(event.received_unix_ms),
            "Happened (UTC)": cells.moment(event.at_unix_ms),
            "Event": cells.code(event.name),
            "Category": cells.code(event.category),
            "Resource type": cells.text(event.resource_type),
            "Resource": cells.code(event.resource_id),
            "Page": cells.text(event.page_url),
            "Came from": cells.text(event.referrer_url),
            "Value": cells.text(event.numeric_value),
            "Organisation": cells.code(event.org_id),
            "Id": cells.code(event.event_id),
            **_around(event.circumstances),
        }
        links = {
            "Every such event": cells.listed(rows.ANALYTICS, event=event.name),
            "Events of this actor": cells.listed(rows.ANALYTICS, actor=event.circumstances.actor),
            "Errors of this actor": cells.listed(rows.ERRORS, actor=event.circumstances.actor),
        }
        texts = {"Properties": cells.pretty(event.properties)}
        return Sheet("Analytics event", rows.ANALYTICS, facts, texts, links)

    async def _error(self, key: str) -> Sheet | None:
        report = await self.keeping.read(ErrorReportOf(key))
        if report is None:
            return None
        facts = {
            "Received (UTC)": cells.moment(report.received_unix_ms),
            "Type": cells.code(report.error_type),
            "Code": cells.code(report.error_code),
            "Feature": cells.text(report.feature),
            "Fingerprint": cells.code(report.fingerprint),
            "Organisation": cells.code(report.org_id),
            "Id": cells.code(report.report_id),
            **_around(report.circumstances),
        }
        texts = {
            "Message": report.message,
            "Stack": report.stack,
            "Measured": cells.pretty(report.detail),
        }
        links = {
            "Reports of this error": cells.listed(rows.ERRORS, fingerprint=report.fingerprint),
            "Errors of this actor": cells.listed(rows.ERRORS, actor=report.circumstances.actor),
        }
        return Sheet("Error report", rows.ERRORS, facts, texts, links)

    async def _media(self, key: str) -> Sheet | None:
        session = await self.keeping.read(MediaSessionOf(key.lower()))
        if session is None:
            return None
        events = await self.keeping.read(MediaEventsOf(session.session_id))
        facts = {
            "Begun (UTC)": cells.moment(session.first_received_unix_ms),
            "Newest event (UTC)": cells.moment(session.last_received_unix_ms),
            "Status": cells.badge(rows.status_of(session)),
            "Ended": cells.text("yes" if session.ended else "no"),
            "Session": cells.code(session.session_id),
            "Organisation": cells.code(session.org_id),
            "Country": cells.text(session.surroundings.country_code),
            "Device": cells.text(session.surroundings.device_type),
            "Browser": cells.text(session.surroundings.browser_family),
        }
        facts |= _standing(session.standing)
        events.sort(key=_when)
        shown = events[:SHOWN_EVENTS]
        caption = f"{len(shown)} of {len(events)} events, in the order of the client's clock"
        table = Table(
            caption,
            ("At (UTC)", "Event", "Medium", "Data"),
            tuple(
                (
                    cells.instant(one.at_ms),
                    cells.code(one.kind),
                    cells.code(one.media_id),
                    cells.code(one.data if one.data != "{}" else None),
                )
                for one in shown
            ),
        )
        links = {"The session": cells.detail("session", session.session_id)}
        return Sheet("Media session", rows.MEDIA, facts, {}, links, table)

    async def _session(self, key: str) -> Sheet | None:
        final = await self.keeping.read(FinalOf(key.lower()))
        if final is None:
            return None
        if isinstance(final, ErasedSession):
            facts = {
                "Session": cells.code(final.session_id),
                "State": cells.text("Erased: its person asked for it."),
            }
            return Sheet("Session", rows.PREFIX, facts, {}, {})
        facts = {
            "Session": cells.code(final.session_id),
            "Organisation": cells.code(final.org_id),
            "Status": cells.badge(final.status),
            "Ended (UTC)": cells.moment(final.ended_unix_ms),
            "Revision": cells.number(final.revision),
        }
        delivery = await self.keeping.read(DeliveryOf(final.session_id))
        if delivery is not None:
            progress = delivery.progress
            state = "dead" if progress.dead else "done" if progress.done else "pending"
            facts |= {
                "Delivery": cells.badge(state, "" if state != "pending" else "note"),
                "Published (UTC)": cells.moment(progress.published_unix_ms),
                "Attempts": cells.number(progress.attempts),
                "Why not yet": cells.text(progress.error),
            }
        links = {
            "In the console": f"{SESSIONS}/{final.session_id}",
            "Its media events": cells.detail("media", final.session_id),
            "Its audit": cells.listed(rows.AUDIT, subject=f"session:{final.session_id}"),
        }
        return Sheet("Session", rows.PREFIX, facts, {}, links)

    async def _erasure(self, key: str) -> Sheet | None:
        found = await self.keeping.read(ErasureOf(key))
        if found is None:
            return None
        facts = {
            "Asked (UTC)": cells.moment(found.asked_unix_ms),
            "Asked by": cells.code(found.asked_by),
            "Done (UTC)": cells.moment(found.done_unix_ms),
            "Rows removed": cells.number(found.rows),
            "Sessions removed": cells.number(found.sessions),
            "Replays removed": cells.number(found.blobs),
            "Files removed": cells.number(found.files),
            "Audit entries redacted": cells.number(found.audits),
            "Texts of others redacted": cells.number(found.texts),
            "Id": cells.code(found.erasure_id),
        }
        return Sheet("Erasure", rows.PREFIX, facts, {}, {})


def _standing(told: Standing | None) -> dict[str, Cell]:
    """Tell what a session counts for in the statistics."""
    if told is None:
        return {"Figures": cells.text("none yet: they follow the events within half a minute")}
    points = told.completion_basis_points
    return {
        "Medium": cells.code(told.media_id),
        "Watched": cells.number(told.watch_time_ms / 1000, "s"),
        "Completed": cells.number(None if points is None else points / 100, "%"),
        "Stalls": cells.number(told.buffering_count),
        "Stalled": cells.number(told.buffering_duration_ms, "ms"),
        "First byte": cells.number(told.ttfb_ms, "ms"),
        "Loaded": cells.number(told.load_time_ms, "ms"),
        "Bitrate": cells.number(told.bitrate_bps, "bit/s"),
        "Connection": cells.text(told.connection_type),
        "Errors": cells.text("yes" if told.errored else "no"),
    }


def _around(told: Circumstances) -> dict[str, Cell]:
    return {
        "Actor": cells.code(told.actor),
        "Kind of actor": cells.text(told.actor_type),
        "Country": cells.text(told.country_code),
        "Device": cells.text(told.device_type),
        "Browser": cells.text(told.browser_family),
        "Connection": cells.text(told.connection_type),
        "Request": cells.code(told.request_id),
    }


def _when(event: StoredMediaEvent) -> tuple[int, int]:
    known = event.kind in tuple(MediaKind)
    return event.at_ms, RANKS[MediaKind(event.kind)] if known else len(RANKS)
