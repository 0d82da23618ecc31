"""`/v1/admin/policy`: the drop policy as operators see and change it. For platform admins only.

Changes name the revision that they were made on, and say why. An answer to a change comes after it
has been saved and put into force: the next batch is decided by it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from penstock.engine.decision_log import FOLLOWED_ENTRIES, SAMPLED_ENTRIES, Entry
from penstock.engine.ladder import Ladder, Rung
from penstock.engine.policy_book import HISTORY_KEPT
from penstock.engine.policy_desk import PolicyDesk, StoreUnavailableError
from penstock.engine.policy_editions import (
    BookFaultsError,
    BookFullError,
    NothingToRevertError,
    PolicyChange,
    StaleRevisionError,
    UnknownCandidateError,
)
from penstock.engine.ports import Clock
from penstock.engine.sluice import Place
from penstock.engine.stress import Stress
from penstock.engine.weir import WeirStatistics
from penstock.http import policy_documents as documents
from penstock.http.cold_routes import Call, ColdRoute, ColdSurface
from penstock.http.exchange import Answer, json_answer, unkept
from penstock.http.policy_documents import Document
from penstock.http.policy_requests import (
    AdminCall,
    CandidateBody,
    EditBody,
    RequestRefusedError,
    RevertBody,
    scope_of,
    uuid_of,
)
from penstock.http.problems import BY_CODE, Problem, problem_answer
from penstock.http.roles import Role
from penstock.http.user_tokens import UserClaims, UserTokenRefusedError, UserTokenVerifier

PREFIX = "/v1/admin/policy"
MAX_BODY_BYTES = 64 * 1024
ROLE = Role.PLATFORM_ADMIN
_SHOWN_CHANGES = 20
_SHOWN_DECISIONS = 50
_SHOWN_FAULTS = 20
_LONGEST_DETAIL = 2000


class Decisions(Protocol):
    """What was decided, newest first: about a session, or a sample of the unusual ones."""

    def newest(self, limit: int, session_id: str | None = None) -> list[Entry]:
        """Give so many entries."""
        ...


class PolicyView(Protocol):
    """What the handlers want to know of the policy at work. `Sluice` is one."""

    @property
    def log(self) -> Decisions:
        """Give the decisions."""
        ...

    @property
    def stress(self) -> Stress:
        """Give the stress as it was last sensed."""
        ...

    @property
    def rung(self) -> Rung:
        """Give the rung of the global policy."""
        ...

    def statistics(self) -> WeirStatistics:
        """Give what was decided so far."""
        ...

    def candidates(self) -> Mapping[str, WeirStatistics]:
        """Give what each candidate would have decided since it was proposed."""
        ...

    def sessions_over_budget(self) -> int:
        """Count the live sessions that have lost more than their budget."""
        ...

    def place(self, session_id: str) -> Place | None:
        """Find a live session's place."""
        ...

    def follow(self, session_id: str) -> bool:
        """Keep every decision about a session for a while; false when too many are followed."""
        ...


Handler = Callable[[AdminCall], Awaitable[Answer]]


@dataclass(slots=True, frozen=True)
class PolicyAdmin:
    """The surface: `check` first, then one of the `routes` by `answer`."""

    tokens: UserTokenVerifier
    desk: PolicyDesk
    view: PolicyView
    clock: Clock

    def check(self, authorization: bytes) -> UserClaims | Answer:
        """Let platform admins in, before a byte of the body is read."""
        try:
            claims = self.tokens.verify(authorization, self.clock.unix())
        except UserTokenRefusedError as refused:
            return unkept(problem_answer(refused.problem, refused.detail))
        if claims.role is not ROLE:
            detail = f"this needs the role {ROLE}; the token's is {claims.role}"
            return unkept(
                problem_answer(Problem.ROLE_REQUIRED, detail, limit=ROLE, seen=claims.role)
            )
        return claims

    def routes(self) -> Mapping[tuple[str, str], Handler]:
        """Give every handler by its method and its path; `<name>` is a path's variable part."""
        return {
            ("GET", PREFIX): self._show,
            ("PATCH", PREFIX): self._edit,
            ("POST", f"{PREFIX}/revert"): self._revert,
            ("GET", f"{PREFIX}/history"): self._history,
            ("PUT", f"{PREFIX}/candidates/<name>"): self._propose,
            ("DELETE", f"{PREFIX}/candidates/<name>"): self._withdraw,
            ("GET", f"{PREFIX}/decisions"): self._decisions,
            ("GET", f"{PREFIX}/sessions/<name>"): self._explain,
        }

    def surface(self) -> ColdSurface:
        """Give the routes as the application serves them."""
        return ColdSurface(
            tuple(
                ColdRoute(method, rule, partial(self._serve, handler))
                for (method, rule), handler in self.routes().items()
            )
        )

    async def _serve(self, handler: Handler, call: Call) -> Answer:
        await self.tokens.prepare(call.authorization)
        claims = self.check(call.authorization)
        if isinstance(claims, Answer):
            return claims
        body = await call.read(MAX_BODY_BYTES)
        content_type = call.headers.get("Content-Type", "").encode("latin1")
        asked = AdminCall(claims, call.query, content_type, body, call.parameters.get("name", ""))
        return await self.answer(handler, asked)

    async def answer(self, handler: Handler, call: AdminCall) -> Answer:
        """Answer a request that `check` let in."""
        try:
            answer = await handler(call)
        except RequestRefusedError as refused:
            answer = refused.answer
        except StaleRevisionError as stale:
            answer = self._stale(stale)
        except BookFaultsError as wrong:
            answer = _invalid(wrong)
        except NothingToRevertError as error:
            answer = problem_answer(Problem.POLICY_NOTHING_TO_REVERT, str(error))
        except UnknownCandidateError as error:
            answer = problem_answer(Problem.CANDIDATE_UNKNOWN, str(error))
        except BookFullError as full:
            answer = problem_answer(
                Problem.POLICY_FULL, str(full), limit=full.limit, setting=full.what
            )
        except StoreUnavailableError as error:
            answer = problem_answer(
                BY_CODE.get(error.reason, Problem.INTERNAL),
                error.detail,
                retry_after=error.retry_after,
            )
        return unkept(answer)

    async def _show(self, call: AdminCall) -> Answer:
        call.expect("session_id", "org_id")
        session_id, org_id = call.uuid("session_id"), call.uuid("org_id")
        if session_id is None and org_id is None:
            return json_answer(200, self._state())
        place = None if session_id is None else self.view.place(session_id)
        if place is not None and org_id is None:
            org_id = place.org_id
        book = self.desk.book
        document = {"revision": book.revision, "session_id": session_id, "org_id": org_id}
        return json_answer(200, document | documents.in_force(book, org_id, session_id))

    async def _edit(self, call: AdminCall) -> Answer:
        body = call.read(EditBody)
        change = await self.desk.edit(
            scope_of(body),
            body.put,
            body.clear,
            call.signed(body),
            body.expires_unix(self.clock.unix()),
        )
        return self._made(change)

    async def preview(self, call: AdminCall) -> Answer:
        """Tell what an edit would change, or what is wrong with it; nothing is changed.

        For `answer`. The edit is drafted by the same code that makes it.
        """
        body = call.read(EditBody)
        scope, now = scope_of(body), self.clock.unix()
        book = self.desk.book
        ends = body.expires_unix(now)
        draft = book.edit(scope, body.put, body.clear, call.signed(body), now, ends)
        org_id, session_id = self.ids_of(scope)
        before = book.in_force(org_id, session_id).policy
        after = book.would_be(draft, org_id, session_id).policy
        level, instant = self.view.stress.level, self.clock.monotonic()
        return json_answer(
            200,
            {
                "revision": book.revision,
                "change": documents.change(draft.change),
                "turned": documents.turned(book, scope, before, after),
                "stress": round(level, 1),
                "rung_now": Ladder(before).climb(level, instant).name.lower(),
                "rung_then": Ladder(after).climb(level, instant).name.lower(),
            },
        )

    def ids_of(self, scope: str) -> tuple[str | None, str | None]:
        """Give organisation and session of a scope; of a live session, both are known."""
        kind, _, narrow_id = scope.partition(":")
        if kind == "org":
            return narrow_id, None
        if kind != "session":
            return None, None
        place = self.view.place(narrow_id)
        return None if place is None else place.org_id, narrow_id

    async def _revert(self, call: AdminCall) -> Answer:
        body = call.read(RevertBody)
        return self._made(await self.desk.revert(scope_of(body), call.signed(body)))

    async def _propose(self, call: AdminCall) -> Answer:
        body = call.read(CandidateBody)
        return self._made(await self.desk.propose(call.name, body.put, call.signed(body)))

    async def _withdraw(self, call: AdminCall) -> Answer:
        return self._made(await self.desk.withdraw(call.name, call.signed_in_query()))

    async def _history(self, call: AdminCall) -> Answer:
        call.expect("scope", "limit")
        book = self.desk.book
        found = book.history(call.scope(), call.limit(_SHOWN_CHANGES, HISTORY_KEPT))
        changes = [documents.change(change) for change in found]
        return json_answer(200, {"revision": book.revision, "changes": changes})

    async def _decisions(self, call: AdminCall) -> Answer:
        call.expect("session_id", "limit")
        limit = call.limit(_SHOWN_DECISIONS, SAMPLED_ENTRIES)
        found = self.view.log.newest(limit, call.uuid("session_id"))
        return json_answer(200, {"decisions": [documents.decision(entry) for entry in found]})

    async def _explain(self, call: AdminCall) -> Answer:
        call.expect("limit")
        limit = call.limit(_SHOWN_DECISIONS, FOLLOWED_ENTRIES)
        session_id = uuid_of("session_id", call.name)
        book, view = self.desk.book, self.view
        place = view.place(session_id)
        # Only few can be followed: an id that nobody has must not take a place among them.
        followed = place is not None and view.follow(session_id)
        org_id = None if place is None else place.org_id
        policy = book.in_force(org_id, session_id).policy
        document = {
            "session_id": session_id,
            "org_id": org_id,
            "live": place is not None,
            "followed": followed,
            "not_followed_because": None if followed else _why_not(place),
            "revision": book.revision,
            "policy": documents.in_force(book, org_id, session_id),
            "budget": None if place is None else documents.budget(place.loss, policy),
            "works": None if place is None else documents.works(place.works),
            **documents.pressure(view.stress, view.rung),
            "decisions": [
                documents.decision(entry) for entry in view.log.newest(limit, session_id)
            ],
        }
        return json_answer(200, document)

    def _made(self, change: PolicyChange) -> Answer:
        return json_answer(200, {"change": documents.change(change), **self._state()})

    def _state(self) -> Document:
        book, view = self.desk.book, self.view
        changed, counts = book.changed_unix, view.candidates()
        candidates = {
            name: documents.candidate(found, counts.get(name), ())
            for name, found in book.candidates.items()
        }
        candidates |= {
            name: documents.candidate(found, None, why)
            for name, (found, why) in book.resting.items()
        }
        return {
            "revision": book.revision,
            "changed_at": documents.moment(changed),
            "seconds_since_change": None if changed is None else self.clock.unix() - changed,
            "scopes": {scope: self._scope(scope) for scope in book.scopes()},
            "candidates": candidates,
            **documents.pressure(view.stress, view.rung),
            "decided": documents.decided(view.statistics()),
            "sessions_over_budget": view.sessions_over_budget(),
            "knobs": documents.knobs_reference(),
        }

    def _scope(self, scope: str) -> Document:
        kind, _, narrow_id = scope.partition(":")
        book = self.desk.book
        org_id = narrow_id if kind == "org" else None
        session_id = narrow_id if kind == "session" else None
        editions = [
            documents.edition(found, ended=book.has_ended(found)) for found in book.editions(scope)
        ]
        return {"editions": editions, **documents.in_force(book, org_id, session_id)}

    def _stale(self, stale: StaleRevisionError) -> Answer:
        since = [
            documents.change(change)
            for change in self.desk.book.history(limit=_SHOWN_CHANGES)
            if change.revision > stale.seen
        ]
        return problem_answer(
            Problem.POLICY_REVISION_STALE,
            f"the request was made on revision {stale.seen}; the policy is at {stale.current}",
            seen=stale.seen,
            current=stale.current,
            changes=since,
        )


def _invalid(wrong: BookFaultsError) -> Answer:
    faults = [documents.fault(fault) for fault in wrong.faults[:_SHOWN_FAULTS]]
    more = len(wrong.faults) - len(faults)
    detail = str(BookFaultsError(wrong.faults[:_SHOWN_FAULTS]))[:_LONGEST_DETAIL]
    if more:
        detail += f"; and {more} more"
    return problem_answer(Problem.POLICY_INVALID, detail, faults=faults, more_faults=more)


def _why_not(place: Place | None) -> str:
    return "it is not live" if place is None else "as many are followed as can be"
