"""`/console/policy`: what is in force and why, what others would do, and how it came to be so.

All changes go through `policy_forms`, and so through the admin API's own code. What is sent is
answered by a redirect to what it made, so that loading the page again sends nothing again; what is
refused is the same page with what was typed, and what is wrong with it beside the knob.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson

from penstock.engine.policy import DEFAULT_POLICY, KNOBS
from penstock.engine.policy_book import HISTORY_KEPT
from penstock.engine.policy_editions import (
    GLOBAL,
    Action,
    BookFault,
    Candidate,
    PolicyChange,
    ScopeError,
    read_scope,
)
from penstock.engine.weir import WeirStatistics
from penstock.http.cold_routes import Call, ColdRoute, RefusedError
from penstock.http.console.door import PREFIX, Form, see_other
from penstock.http.console.flow_log import FlowLog
from penstock.http.console.flow_page import LIVE
from penstock.http.console.flow_sampler import shown_value, words_of
from penstock.http.console.frame import Frame
from penstock.http.console.policy_forms import ENFORCED_FOR, EXPIRIES, PolicyForms
from penstock.http.console.visits import Visit
from penstock.http.exchange import Answer, json_answer
from penstock.http.problems import Problem

PATH = f"{PREFIX}/policy"
COMPARED_SECONDS = 300
_SHOWN_CHANGES = 20
_LONGEST_SHOWN = 80


@dataclass(slots=True, frozen=True)
class KnobRow:
    """One knob: what it is, where its value comes from, and what was typed for it."""

    name: str
    meaning: str
    unit: str
    allowed: str
    default: str
    value: str
    source: str
    until: float | None
    set_here: bool
    typed: str
    cleared: bool
    error: str


@dataclass(slots=True, frozen=True)
class Compared:
    """What a candidate would have made of the same frames, in the last minutes."""

    seconds: int
    frames: float
    lost: float
    would_lose: float

    @property
    def lost_percent(self) -> float:
        """Give what the policy in force cost."""
        return 100 * self.lost / self.frames if self.frames else 0.0

    @property
    def would_lose_percent(self) -> float:
        """Give what the candidate would have cost."""
        return 100 * self.would_lose / self.frames if self.frames else 0.0


@dataclass(slots=True, frozen=True)
class CandidateCard:
    """One candidate beside the policy in force."""

    found: Candidate
    turns: tuple[tuple[str, str, str], ...]
    rests: tuple[BookFault, ...]
    total: WeirStatistics | None
    compared: Compared | None

    @property
    def is_in_force(self) -> bool:
        """Say whether enforcing it would change nothing."""
        return not self.rests and all(now == then for _, now, then in self.turns)


@dataclass(slots=True, frozen=True)
class ChangeRow:
    """One change of the history."""

    change: PolicyChange
    words: str
    revertible: bool


Act = Callable[[Visit, Form], Awaitable[Answer]]


@dataclass(slots=True, frozen=True)
class PolicyPage:
    """The page and its forms."""

    frame: Frame
    forms: PolicyForms
    log: FlowLog

    def routes(self) -> tuple[ColdRoute, ...]:
        """Give the routes."""
        forms, form = self.forms, self.frame.form
        return (
            self.frame.page(PATH, self._show),
            form(PATH, self._acting(forms.edit)),
            form(f"{PATH}/propose", self._acting(forms.propose)),
            form(f"{PATH}/enforce", self._acting(forms.enforce)),
            form(f"{PATH}/withdraw", self._acting(forms.withdraw)),
            form(f"{PATH}/revert", self._acting(forms.revert)),
            form(f"{PATH}/preview", self._preview),
        )

    async def _show(self, visit: Visit, call: Call) -> Answer:
        scope = _scope(call.query.get("scope", GLOBAL))
        # Another page may lead here with the form filled in; nothing is changed until it is sent.
        typed = {
            name: text
            for name, text in call.query.items()
            if name.startswith("set.") or name in {"reason", "name"}
        }
        return self._page(visit, scope, call.query, typed, None)

    async def _preview(self, visit: Visit, form: Form, _call: Call) -> Answer:
        answer = await self.forms.preview(visit, form)
        document = orjson.loads(answer.body)
        # That an edit would be refused is an answer to what it would do, and no failure.
        return json_answer(200, document if answer.status == 200 else {"problem": document})

    def _acting(self, act: Act) -> Callable[[Visit, Form, Call], Awaitable[Answer]]:
        async def serve(visit: Visit, form: Form, call: Call) -> Answer:
            answer = await act(visit, form)
            document = orjson.loads(answer.body)
            if answer.status == 200:
                change = document["change"]
                query = {"scope": change["scope"], "done": change["revision"]}
                return see_other(f"{PATH}?{urlencode(query)}")
            try:
                scope = read_scope(form.get("scope", GLOBAL))
            except ScopeError:
                scope = GLOBAL
            page = self._page(visit, scope, call.query, form, document)
            return page._replace(
                status=answer.status, code=answer.code, retry_after=answer.retry_after
            )

        return serve

    def _page(
        self,
        visit: Visit,
        scope: str,
        query: Mapping[str, str],
        typed: Form,
        problem: dict[str, Any] | None,
    ) -> Answer:
        view, book = self.forms.admin.view, self.forms.book
        statistics = view.statistics()
        history = HISTORY_KEPT if query.get("history") == "all" else _SHOWN_CHANGES
        done = query.get("done", "")
        return self.frame.pages.render(
            visit,
            "policy.html",
            "Policy",
            PATH,
            live=LIVE,
            revision=book.revision,
            changed=book.changed_unix,
            stress=view.stress,
            rung=view.rung.name.lower().replace("_", " "),
            over_budget=view.sessions_over_budget(),
            decided=statistics,
            scope=scope,
            scopes=book.scopes(),
            knobs=self._knobs(scope, typed, problem),
            editions=[held for held in book.editions(scope) if not book.has_ended(held)],
            candidates=self._candidates(),
            history=self._history(history),
            more_history=history < len(book.history()),
            expiries=EXPIRIES,
            enforced_for=ENFORCED_FOR,
            compared_minutes=COMPARED_SECONDS // 60,
            done=self._done(done),
            problem=problem,
            typed=typed,
        )

    def _knobs(
        self, scope: str, typed: Form, problem: dict[str, Any] | None
    ) -> tuple[KnobRow, ...]:
        book = self.forms.book
        org_id, session_id = self.forms.admin.ids_of(scope)
        policy = book.in_force(org_id, session_id).policy
        sources = book.sources(org_id, session_id)
        errors: dict[str, str] = {}
        for fault in (problem or {}).get("faults", ()):
            for name in (fault["knob"], fault["other"]):
                errors.setdefault(str(name), f"{fault['scope']}: {fault['detail']}")
        return tuple(
            KnobRow(
                name,
                knob.meaning,
                knob.unit,
                knob.allowed,
                shown_value(getattr(DEFAULT_POLICY, name)),
                shown_value(getattr(policy, name)),
                "default" if (source := sources[name]) is None else source.scope,
                None if source is None else source.expires_unix,
                source is not None and source.scope == scope,
                typed.get(f"set.{name}", "")[:_LONGEST_SHOWN],
                bool(typed.get(f"clear.{name}")),
                errors.get(name, ""),
            )
            for name, knob in KNOBS.items()
        )

    def _candidates(self) -> list[CandidateCard]:
        book, counts = self.forms.book, self.forms.admin.view.candidates()
        policy = book.in_force(None, None).policy
        found = [(candidate, ()) for candidate in book.candidates.values()]
        return [
            CandidateCard(
                candidate,
                tuple(
                    (name, shown_value(getattr(policy, name)), shown_value(value))
                    for name, value in candidate.knobs.items()
                ),
                why,
                counts.get(candidate.name),
                None if why else self._compared(candidate.name),
            )
            for candidate, why in (*found, *book.resting.values())
        ]

    def _compared(self, name: str) -> Compared | None:
        lost, would_lose, frames = "policy.lost", f"candidate.{name}.lost", "policy.frames"
        seconds, sums = self.log.shared((lost, would_lose, frames), COMPARED_SECONDS)
        if seconds == 0:
            return None
        return Compared(seconds, sums[frames], sums[lost], sums[would_lose])

    def _history(self, limit: int) -> list[ChangeRow]:
        book = self.forms.book
        newest: set[str] = set()
        rows = []
        for change in book.history(limit=limit):
            # What a revert undoes is the scope's newest edit, and nothing older.
            own = change.candidate is None and change.action is not Action.EXPIRED
            first = own and change.scope not in newest
            if own:
                newest.add(change.scope)
            edited = change.action is Action.EDITED
            revertible = first and edited and book.can_revert(change.scope)
            rows.append(ChangeRow(change, words_of(change), revertible))
        return rows

    def _done(self, revision: str) -> ChangeRow | None:
        made = self.forms.book.history(limit=_SHOWN_CHANGES)
        found = (change for change in made if str(change.revision) == revision)
        return next(
            (ChangeRow(change, words_of(change), revertible=False) for change in found), None
        )


def _scope(text: str) -> str:
    try:
        return read_scope(text.strip() or GLOBAL)
    except ScopeError as error:
        raise RefusedError(
            Problem.PARAMETER_MALFORMED, f"scope: {error}", field="scope", seen=text[:80]
        ) from None
