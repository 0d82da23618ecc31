"""`/dashboard/…`: the lists of what the ledger holds, page by page or as a file.

A page is made of a few looks (see `engine/platform/viewing.py`); where those found little, it says
how far back they went, and the next page goes on from there. A file is made of many, and says in
its last line where the rest is, if it does not hold all. Every file is in the audit before its
first row is read.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from penstock.engine.platform.viewing import LOOKED_ROWS, Found, Look, Mark
from penstock.engine.records import AuditEntry
from penstock.http.cold_routes import Call, ColdRoute, RefusedError, StreamAnswer
from penstock.http.console import dashboard_export as export
from penstock.http.console.dashboard_detail import DashboardDetail
from penstock.http.console.dashboard_export import Format
from penstock.http.console.dashboard_filters import Asked, read_asked
from penstock.http.console.dashboard_home import DashboardHome, Outlook
from penstock.http.console.dashboard_lists import LISTINGS, Listing
from penstock.http.console.dashboard_rows import PREFIX
from penstock.http.console.door import see_other
from penstock.http.console.frame import Frame
from penstock.http.console.visits import Visit
from penstock.http.core.keeping import Keeping
from penstock.http.exchange import Answer
from penstock.http.instants import iso_instant
from penstock.http.problems import Problem

PAGE_ROWS = 50
# What a page looks at, at most, in looks.
PAGE_LOOKS = 10
# The bounds of a file: its rows, and the looks that it may take to find them.
EXPORT_ROWS = 100_000
EXPORT_LOOKS = 400
_EXPORT_STEP = 1000


def dashboard_routes(frame: Frame, keeping: Keeping, outlook: Outlook) -> tuple[ColdRoute, ...]:
    """Give every route below `/dashboard`."""

    async def enter(_visit: Visit, _call: Call) -> Answer:
        return see_other(f"{PREFIX}/")

    return (
        frame.page(PREFIX, enter),
        *DashboardHome(frame, keeping, outlook).routes(),
        *DashboardLists(frame, keeping).routes(),
        *DashboardDetail(frame, keeping).routes(),
    )


@dataclass(slots=True, frozen=True)
class DashboardLists:
    """The lists, as pages and as files."""

    frame: Frame
    keeping: Keeping

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes: three a list."""
        pages = (
            self.frame.page(listing.path, partial(self._show, listing)) for listing in LISTINGS
        )
        files = (
            self.frame.page(f"{listing.path}.{form}", partial(self._export, listing, form))
            for listing in LISTINGS
            for form in Format
        )
        return (*pages, *files)

    async def _show(self, listing: Listing[Any], visit: Visit, call: Call) -> Answer:
        asked = read_asked(call, listing.filters, listing.key)
        found: Found[Any] = Found((), None)
        if not asked.faults:
            found = await self._gather(_look(listing, asked, PAGE_ROWS))
        return self.frame.pages.render(
            visit,
            "dashboard_list.html",
            listing.title,
            listing.path,
            status=400 if asked.faults else 200,
            listing=listing,
            columns=[{"name": column.name, "class": column.css} for column in listing.columns],
            asked=asked,
            rows=[listing.cells(row) for row in found.rows],
            newest=asked.address(listing.path) if asked.after is not None else "",
            older="" if found.after is None else asked.address(listing.path, found.after),
            stopped_at=_stopped_at(found),
            exports={form.name: asked.address(f"{listing.path}.{form}") for form in Format},
            most_exported=EXPORT_ROWS,
        )

    async def _gather(self, look: Look[Any]) -> Found[Any]:
        """Fill a page by as many looks as it may take."""
        rows: tuple[Any, ...] = ()
        for _ in range(PAGE_LOOKS):
            found = await self.keeping.read(replace(look, limit=PAGE_ROWS - len(rows)))
            rows += found.rows
            if found.after is None or len(rows) == PAGE_ROWS:
                break
            look = replace(look, after=found.after)
        return Found(rows, found.after)

    async def _export(
        self, listing: Listing[Any], form: Format, visit: Visit, call: Call
    ) -> StreamAnswer:
        asked = read_asked(call, listing.filters, listing.key)
        for name, fault in asked.faults.items():
            raise RefusedError(Problem.PARAMETER_MALFORMED, f"{name}: {fault}", field=name)
        now = self.keeping.now_ms()
        audit = AuditEntry(
            now,
            f"user:{visit.principal_id}",
            "console.exported",
            listing.path,
            {"format": form.value, "filters": dict(asked.sent), "request_id": call.request_id},
        )
        await self.keeping.write(audit)
        # Before anything is answered: what cannot be read now is still a page that says so.
        first = await self.keeping.read(_look(listing, asked, min(_EXPORT_STEP, EXPORT_ROWS)))
        name = f"penstock-{listing.name}-{iso_instant(now)[:19].replace(':', '')}.{form}"
        return StreamAnswer(
            200,
            self._pieces(listing, asked, form, first),
            "ok",
            form.content_type,
            ((b"content-disposition", f'attachment; filename="{name}"'.encode()),),
        )

    async def _pieces(
        self, listing: Listing[Any], asked: Asked, form: Format, found: Found[Any]
    ) -> AsyncIterator[bytes]:
        # A fault from here on breaks the transfer off, which clients see.
        yield export.head(listing.fields, form)
        left, after = EXPORT_ROWS, None
        for _ in range(EXPORT_LOOKS):
            left -= len(found.rows)
            if found.rows:
                values = (listing.values(row) for row in found.rows)
                yield export.rows(listing.fields, values, form)
            after = found.after
            if after is None or not left:
                break
            look = replace(_look(listing, asked, min(_EXPORT_STEP, left)), after=after)
            found = await self.keeping.read(look)
        if after is not None:
            why = f"cut short at {EXPORT_ROWS} rows, or {EXPORT_LOOKS * LOOKED_ROWS} looked at"
            rest = asked.address(f"{listing.path}.{form}", after)
            yield export.cut_short(len(listing.fields), why, rest, form)


def _look(listing: Listing[Any], asked: Asked, limit: int) -> Look[Any]:
    return listing.look(limit=limit, after=asked.after, most=LOOKED_ROWS, **asked.arguments)


def _stopped_at(found: Found[Any]) -> float | None:
    """Say until when was looked, where a page is not full for that reason."""
    after: Mark | None = found.after
    return None if after is None or len(found.rows) == PAGE_ROWS else after.at_unix_ms / 1000
