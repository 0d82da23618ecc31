"""`/console/sessions/<id>`: one session, live or ended: what came of its frames, when, and why.

The page tells everything in words and tables; its script draws the same over time, of a document
that it fetches (`session_timeline`). While the session goes on, the script fetches the page again
every few seconds and puts the new parts in the place of the old ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.engine.decision_log import FOLLOWED_ENTRIES, Entry, runs_of
from penstock.engine.ledger_port import LedgerUnavailableError
from penstock.engine.policy_desk import PolicyDesk
from penstock.engine.records import ErasedSession
from penstock.engine.session_picture import PictureError, Pictures
from penstock.engine.session_story import SessionStory, story_of
from penstock.engine.sessions import Sessions
from penstock.http.admin_policy import PolicyView
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.console.frame import Frame
from penstock.http.console.session_timeline import timeline
from penstock.http.console.session_words import (
    angle_rows,
    delivery_words,
    gap_rows,
    knob_rows,
    metric_rows,
    stall_rows,
)
from penstock.http.console.sessions import DELIVERY_KINDS, KINDS
from penstock.http.console.sessions import PATH as SESSIONS
from penstock.http.console.visits import Visit
from penstock.http.core.keeping import Keeping, unavailable
from penstock.http.core.requests import expect
from penstock.http.exchange import Answer, json_answer, unkept
from penstock.http.problems import Problem
from penstock.http.uuids import is_uuid

REFRESH_SECONDS = 5.0


@dataclass(slots=True, frozen=True)
class SessionPage:
    """The page, and the document that it draws."""

    frame: Frame
    sessions: Sessions
    keeping: Keeping
    pictures: Pictures
    desk: PolicyDesk
    view: PolicyView

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give its routes."""
        return (
            self.frame.page(f"{SESSIONS}/<session_id>", self._show),
            self.frame.data(f"{SESSIONS}/<session_id>/timeline.json", self._timeline),
        )

    async def _show(self, visit: Visit, call: Call) -> Answer:
        expect(call)
        story = await self._story(call)
        identity = story.identity
        session_id = identity.session_id
        place = self.view.place(session_id)
        # Only few can be followed; from now on every decision about this one is kept for a while.
        followed = place is not None and self.view.follow(session_id)
        book = self.desk.book
        in_force = book.in_force(identity.org_id, session_id)
        return self.frame.pages.render(
            visit,
            "session.html",
            f"Session {session_id[:8]}",
            SESSIONS,
            story=story,
            kind=KINDS[story.stage],
            metrics=story.session_metrics,
            metric_rows=metric_rows(story.session_metrics),
            angle_rows=angle_rows(story.session_metrics),
            gap_rows=gap_rows(story.session_metrics),
            stall_rows=stall_rows(story.media_metrics),
            delivery=delivery_words(story.progress),
            delivery_kinds=DELIVERY_KINDS,
            followed=followed,
            loss_account=None if place is None else place.loss,
            loss_budget=in_force.policy.loss_percent,
            runs=runs_of(self._decisions(session_id))[::-1],
            scopes=in_force.scopes,
            knobs=knob_rows(book, identity),
            looked_unix=self.keeping.clock.unix(),
            refresh_seconds=REFRESH_SECONDS,
        )

    async def _timeline(self, _visit: Visit, call: Call) -> Answer:
        expect(call)
        story = await self._story(call)
        decisions = self._decisions(story.identity.session_id)
        made, why, later = None, "", False
        try:
            made = await self.pictures.of(story.now, older_will_do=story.goes_on)
        except PictureError as error:
            why, later = error.detail, error.later
        again = REFRESH_SECONDS if story.goes_on or later else None
        return unkept(json_answer(200, timeline(story, made, why, decisions, again)))

    async def _story(self, call: Call) -> SessionStory:
        session_id = call.parameters["session_id"].lower()
        if not is_uuid(session_id):
            raise RefusedError(
                Problem.SESSION_UNKNOWN, "a session's id is a UUID", seen=session_id[:80]
            )
        try:
            found = await story_of(self.sessions, self.keeping.ledger, session_id)
        except LedgerUnavailableError as error:
            raise unavailable(error) from error
        if isinstance(found, ErasedSession):
            raise RefusedError(
                Problem.SESSION_UNKNOWN, "it was erased, with everything of it", seen=session_id
            )
        if found is None:
            raise RefusedError(Problem.SESSION_UNKNOWN, seen=session_id)
        return found

    def _decisions(self, session_id: str) -> Sequence[Entry]:
        return self.view.log.newest(FOLLOWED_ENTRIES, session_id)
