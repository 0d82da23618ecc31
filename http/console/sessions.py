"""`/console/sessions`: all sessions, live and ended: looked for, filtered, sorted, page by page."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar
from urllib.parse import urlencode

from penstock.engine.session_list import (
    LEAST_LOOKED_FOR,
    Choice,
    FinalRows,
    SessionPage,
    SessionRow,
    Sort,
    Stage,
    Which,
    first_rows,
    page_of,
)
from penstock.engine.sessions import Sessions
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.console.frame import Frame
from penstock.http.console.visits import Visit
from penstock.http.core.cursors import cursor_of, row_mark
from penstock.http.core.keeping import Keeping
from penstock.http.core.requests import expect, misfit
from penstock.http.exchange import Answer
from penstock.http.uuids import is_uuid

Word = TypeVar("Word", Sort, Which)

PATH = "/console/sessions"
_PAGE_ROWS = 50
_LONGEST_ID = 36
_OF_IDS = frozenset("0123456789abcdef-")
_COLUMNS = (
    (Sort.STATE, "State"),
    (Sort.STARTED, "Started"),
    (Sort.FRAMES, "Frames"),
    (Sort.LOST, "Lost"),
)
STATES = (
    ("", "All"),
    (Which.LIVE.value, "Live: frames come in"),
    (Which.RESTING.value, "Resting: nothing for a while"),
    (Which.FAILED.value, "Failed: stopped by a fault"),
    (Which.PROVISIONAL.value, "Provisional: closed by the service"),
    (Which.ENDED.value, "Ended by the client"),
    (Which.UNDELIVERED.value, "In the outbox"),
    (Which.DEAD.value, "Dead in the outbox"),
)
KINDS = {
    Stage.LIVE: "ok",
    Stage.RESTING: "note",
    Stage.FAILED: "problem",
    Stage.PROVISIONAL: "warning",
    Stage.ENDED: "note",
}
DELIVERY_KINDS = {"pending": "warning", "dead": "problem", "done": "ok", "superseded": "note"}


@dataclass(slots=True, frozen=True)
class Column:
    """A column that the list can be sorted by. `sorted` is what aria-sort says, "" if it is not."""

    name: str
    link: str
    sorted: str
    number: bool


@dataclass(slots=True, frozen=True)
class Shown:
    """A row as the page shows it."""

    row: SessionRow
    kind: str
    delivery_kind: str

    @property
    def lost_percent(self) -> str:
        """Write the share of lost frames."""
        return f"{self.row.lost_basis_points / 100:.2f} %"


@dataclass(slots=True, frozen=True)
class SessionsPage:
    """The page."""

    frame: Frame
    sessions: Sessions
    keeping: Keeping

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give its route."""
        return (self.frame.page(PATH, self._show),)

    async def _show(self, visit: Visit, call: Call) -> Answer:
        expect(call, "q", "org", "state", "sort", "order", "cursor")
        choice, wrong, away, status = Choice(), {}, "", 200
        page = SessionPage((), None)
        try:
            choice = _choice(call.query)
            page, away = await self._page(choice, call)
        except RefusedError as refused:
            # What somebody has typed is told beside the field; other refusals are a page of theirs.
            field = refused.facts.get("field")
            if field not in {"q", "org"}:
                raise
            wrong, status = {field: (refused.detail or "").partition(": ")[2]}, 400
        return self.frame.pages.render(
            visit,
            "sessions.html",
            "Sessions",
            PATH,
            status=status,
            rows=[_shown(row) for row in page.rows],
            columns={column.name: column for column in _columns(choice)},
            typed={name: call.query.get(name, "") for name in ("q", "org", "state")},
            sort=choice.sort.value,
            order="desc" if choice.descending else "asc",
            states=STATES,
            wrong=wrong,
            away=away,
            counts=self.sessions.statistics(),
            ending=self.sessions.ends_under_way,
            filtered=bool(choice.looked_for or choice.org_id or choice.which),
            first=link(choice) if "cursor" in call.query else "",
            next="" if page.after is None else link(choice, cursor_of(*page.after)),
        )

    async def _page(self, choice: Choice, call: Call) -> tuple[SessionPage, str]:
        """Give a page, and what is wrong with the ledger where only memory can be told of."""
        after = row_mark(call)
        in_memory: list[SessionRow] = []
        stored: list[SessionRow] = []
        away = ""
        if choice.wants_memory:
            first = partial(first_rows, choice, _PAGE_ROWS, after)
            in_memory = await self.sessions.rows(choice.of, first)
        if choice.wants_ledger:
            try:
                stored = await self.keeping.read(FinalRows(choice, _PAGE_ROWS, after))
            except RefusedError as refused:
                away = refused.problem.meaning
        # Also of one that was in memory a moment ago, there is one row.
        known = {row.identity.session_id for row in in_memory}
        known.update(
            row.identity.session_id
            for row in stored
            if self.sessions.state(row.identity.session_id) is not None
        )
        return page_of(choice, _PAGE_ROWS, in_memory, stored, known), away


def link(choice: Choice, cursor: str = "") -> str:
    """Give the address of the list with a choice."""
    query = {
        "q": choice.looked_for,
        "org": choice.org_id or "",
        "state": "" if choice.which is None else choice.which.value,
        "sort": "" if choice.sort is Sort.STARTED else choice.sort.value,
        "order": "" if choice.descending else "asc",
        "cursor": cursor,
    }
    given = {name: value for name, value in query.items() if value}
    return f"{PATH}?{urlencode(given)}" if given else PATH


def _choice(query: Mapping[str, str]) -> Choice:
    looked_for = query.get("q", "").strip().lower()
    org_id = query.get("org", "").strip()
    if looked_for and not (
        LEAST_LOOKED_FOR <= len(looked_for) <= _LONGEST_ID and _OF_IDS.issuperset(looked_for)
    ):
        detail = (
            f"it must be the first {LEAST_LOOKED_FOR} or more characters of a session's id, or the "
            "whole id of a person"
        )
        raise misfit("q", detail, looked_for)
    if org_id and not is_uuid(org_id):
        raise misfit("org", "it must be the whole id of an organisation, a UUID", org_id)
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise misfit("order", "it must be asc or desc", order)
    state = query.get("state", "")
    return Choice(
        _word(Sort, "sort", query.get("sort", Sort.STARTED.value)),
        order == "desc",
        _word(Which, "state", state) if state else None,
        org_id.lower() or None,
        looked_for,
    )


def _word(words: type[Word], field: str, text: str) -> Word:
    try:
        return words(text)
    except ValueError:
        raise misfit(field, f"it must be one of {', '.join(words)}", text) from None


def _columns(choice: Choice) -> list[Column]:
    found = []
    for sort, name in _COLUMNS:
        ours = sort is choice.sort
        # Who clicks on what the list is sorted by turns it round.
        turned = replace(choice, sort=sort, descending=not choice.descending if ours else True)
        direction = "descending" if choice.descending else "ascending"
        number = sort in {Sort.FRAMES, Sort.LOST}
        found.append(Column(name, link(turned), direction if ours else "", number))
    return found


def _shown(row: SessionRow) -> Shown:
    return Shown(row, KINDS[row.stage], DELIVERY_KINDS.get(row.delivery, ""))
