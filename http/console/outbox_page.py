"""`/console/outbox`: the finals that are not delivered yet, and another try for those given up.

It is what `penstock outbox` and `/v1/admin/outbox` show and do, by the same functions.
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from penstock.engine.delivery_records import OutboxPage as Page
from penstock.engine.delivery_records import OutboxRow
from penstock.http.cold_routes import Call, ColdRoute
from penstock.http.console import dashboard_cells as cells
from penstock.http.console.dashboard_cells import Cell
from penstock.http.console.door import Form, see_other
from penstock.http.console.frame import Frame
from penstock.http.console.visits import Visit
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import expect, id_in_query, misfit
from penstock.http.exchange import Answer
from penstock.http.operations.outbox import look_into, retry
from penstock.http.uuids import is_uuid

PATH = "/console/outbox"
RETRY = f"{PATH}/retry"
PAGE_ROWS = 50
_STATES = ("", "dead")
_MOST_TOLD = 10**9


@dataclass(slots=True, frozen=True)
class Waiting:
    """One row of the page. `dead` says that it can be tried again by hand."""

    session: Cell
    state: Cell
    dead: bool
    cells: tuple[Cell, ...]


@dataclass(slots=True, frozen=True)
class OutboxPage:
    """The page and its form."""

    frame: Frame
    keeping: Keeping

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        return (self.frame.page(PATH, self._show), self.frame.form(RETRY, self._retry))

    async def _show(self, visit: Visit, call: Call) -> Answer:
        expect(call, "state", "after", "retried")
        state = call.query.get("state", "")
        if state not in _STATES:
            raise misfit("state", "it must be dead, or left out", state)
        after = id_in_query(call, "after") if "after" in call.query else ""
        found = await look_into(self.keeping, Page(PAGE_ROWS, after, only_dead=state == "dead"))
        now = self.keeping.now_ms()
        oldest = found.state.oldest_unix_ms
        return self.frame.pages.render(
            visit,
            "outbox.html",
            "Outbox",
            PATH,
            outbox=found.state,
            oldest="" if oldest is None else _lasted(now - oldest),
            rows=[_waiting(row, now) for row in found.rows],
            state=state,
            first=_address(state) if after else "",
            next="" if found.after is None else _address(state, found.after),
            retried=_retried(call),
        )

    async def _retry(self, visit: Visit, form: Form, _call: Call) -> Answer:
        session_id = form.get("session_id", "")
        if session_id and not is_uuid(session_id):
            raise misfit("session_id", "it must be a UUID", session_id)
        everything = form.get("all", "")
        if bool(session_id) == bool(everything) or everything not in {"", "yes"}:
            raise misfit("all", "send session_id, or all as yes", everything)
        count = await retry(self.keeping, visit.principal_id, session_id.lower() or None)
        return see_other(f"{PATH}?{urlencode({'retried': count})}")


def _waiting(row: OutboxRow, now_ms: int) -> Waiting:
    progress = row.progress
    return Waiting(
        cells.ident(row.session_id, cells.detail("session", row.session_id)),
        cells.badge("dead" if progress.dead else "pending"),
        progress.dead,
        (
            Cell(_lasted(now_ms - row.created_unix_ms), kind="number"),
            cells.number(progress.attempts),
            _next(row, now_ms),
            cells.text("Core" if progress.stored else "the replay's store"),
            cells.prose(progress.error),
        ),
    )


def _next(row: OutboxRow, now_ms: int) -> Cell:
    """Say when it is tried again by itself; what is dead is not."""
    wait = row.progress.next_unix_ms - now_ms
    return Cell("" if row.progress.dead else f"in {_lasted(wait)}", kind="number")


def _lasted(milliseconds: int) -> str:
    """Say how long something has lasted, in its largest unit that is not nothing."""
    seconds = max(0, milliseconds) // 1000
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _address(state: str, after: str = "") -> str:
    query = {name: value for name, value in (("state", state), ("after", after)) if value}
    return f"{PATH}?{urlencode(query)}" if query else PATH


def _retried(call: Call) -> int | None:
    """Read how many a form has just had tried again, for the page that it leads to."""
    told = call.query.get("retried")
    if told is None:
        return None
    if not (told.isascii() and told.isdigit() and len(told) < 10):
        raise misfit("retried", f"it must be a whole number below {_MOST_TOLD}", told)
    return int(told)
