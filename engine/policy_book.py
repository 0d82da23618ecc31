"""The book of policies: which knobs are turned where, and every change of them.

Theory of operation
-------------------
An edition holds only the knobs that it names. What is in force for a session is the defaults, and
upon them the editions of the global scope, of its organisation and of the session itself; the
narrowest scope wins, knob by knob.

An edit without an end becomes part of its scope's standing edition, and takes the knobs that it
names out of the editions that expire: what was said last holds. An edit with an end lies on top
until it expires; then what is beneath shows again. Such an edit only sets knobs: where nothing is
said about a knob there is nothing that could end.

A change is a draft first::

    draft = book.edit(...)      # nothing has changed; raises what is wrong with it
    await store.save(draft)     # elsewhere, see `policy_desk`
    book.adopt(draft)           # in force

An edition ends in force when `end` is told that its time has passed, whether that can be saved
then or not. On record it ends with the next draft: `expire` makes one of nothing else, and every
other draft begins with the ends that are due, as changes of their own. So what is stored never
has an edition in it that had ended before the change was made; and over a restart it ends again
by itself, since its time has passed.

Every change names the revision that it was made on and makes the next one. It is refused where it
would make a contradiction in any scope that it reaches, at once or when an edition expires later:
so an expiry never has to be refused, and what is in force is a policy always. A candidate is no
reason to refuse an edit: one that makes no policy any more rests until it does again.

`revert` undoes the last edit of a scope, once: who wants to go back further says to what. It never
brings back what has expired meanwhile.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Self

from penstock.engine.policy import KNOBS, check_knobs
from penstock.engine.policy_editions import (
    CANDIDATE_NAME_RULE,
    GLOBAL,
    Action,
    BookFault,
    BookFaultsError,
    BookFullError,
    Candidate,
    Edition,
    InForce,
    NothingToRevertError,
    PolicyChange,
    StaleRevisionError,
    UnknownCandidateError,
    hidden_in,
    is_candidate_name,
    org_scope,
    session_scope,
)
from penstock.engine.policy_pages import Pages

MAX_EDITIONS = 128
MAX_CANDIDATES = 3
# The ledger keeps all of them.
HISTORY_KEPT = 200
CLOCK_AUTHOR = "penstock"
LONGEST_EXPIRY_SECONDS = 366 * 86400.0


class Signed(NamedTuple):
    """Who changes the book, why, and which revision they had before them."""

    author: str
    reason: str
    revision: int


class Draft(NamedTuple):
    """Changes that may be adopted, all of them or none, and the book that they make."""

    changes: tuple[PolicyChange, ...]
    pages: Pages

    @property
    def change(self) -> PolicyChange:
        """Give the last change: the one that was asked for, after the ends that were due."""
        return self.changes[-1]

    def plain_book(self) -> dict[str, Any]:
        """Give the whole book that the changes make, JSON-ready."""
        return self.pages.plain()


class _Desk(NamedTuple):
    """What a draft is made of: the ends that are due, and the pages that they leave."""

    ends: tuple[PolicyChange, ...]
    pages: Pages
    revision: int


class PolicyBook:
    """The policies in force, by scope. Only `adopt`, `end` and `forsake` change anything."""

    def __init__(self, pages: Pages | None = None, history: Iterable[PolicyChange] = ()) -> None:
        # On record, and in force: what has ended may wait for being saved.
        self._pages = self._live = pages or Pages()
        self._now = float("-inf")
        self._history = deque(history, HISTORY_KEPT)
        self._highest = self._pages.revision
        self._in_force: dict[tuple[str | None, ...], InForce] = {}
        self._unfit: dict[str, tuple[BookFault, ...]] = {}
        self._turn()

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], history: Iterable[PolicyChange] = ()) -> Self:
        """Open a stored book with the newest of its changes, oldest first; or StoredBookError."""
        return cls(Pages.from_plain(plain), history)

    def plain(self) -> dict[str, Any]:
        """Give the whole book but its history, JSON-ready."""
        return self._pages.plain()

    @property
    def revision(self) -> int:
        """Give the number of the newest change."""
        return self._pages.revision

    @property
    def changed_unix(self) -> float | None:
        """Say when the newest change was made; None before the first."""
        return self._pages.changed_unix

    @property
    def candidates(self) -> Mapping[str, Candidate]:
        """Give the candidates that make a policy everywhere, by name."""
        found = self._pages.candidates.items()
        return {name: candidate for name, candidate in found if name not in self._unfit}

    @property
    def resting(self) -> Mapping[str, tuple[Candidate, tuple[BookFault, ...]]]:
        """Give the candidates that make no policy with the book as it is, and why not."""
        return {name: (self._pages.candidates[name], why) for name, why in self._unfit.items()}

    def scopes(self) -> tuple[str, ...]:
        """Name the scopes that have editions, and the global one in any case."""
        return (GLOBAL, *sorted(scope for scope in self._pages.editions if scope != GLOBAL))

    def editions(self, scope: str) -> tuple[Edition, ...]:
        """Give a scope's editions, the lowest first, with those whose end is not saved yet."""
        return self._pages.editions.get(scope, ())

    def has_ended(self, edition: Edition) -> bool:
        """Say whether an edition of `editions` is not in force any more."""
        return edition.has_ended(self._now)

    def in_force(self, org_id: str | None, session_id: str | None) -> InForce:
        """Give the policy of one session; without ids, of a session that has no edition."""
        return self._in_force_with(None, org_id, session_id)

    def candidate_in_force(self, name: str, org_id: str | None, session_id: str | None) -> InForce:
        """Give what the policy of one session would be with a candidate of `candidates`."""
        return self._in_force_with(self._pages.candidates[name], org_id, session_id)

    def _in_force_with(
        self, candidate: Candidate | None, org_id: str | None, session_id: str | None
    ) -> InForce:
        org, session = self._narrow(org_id, session_id)
        key = (org, session, None if candidate is None else candidate.name)
        found = self._in_force.get(key)
        if found is None:
            chain = (scope for scope in (GLOBAL, org, session) if scope is not None)
            # As many as there are pairs of editions, not as many as there are sessions.
            found = self._in_force[key] = self._live.merge(chain, candidate)
        return found

    def sources(self, org_id: str | None, session_id: str | None) -> Mapping[str, Edition | None]:
        """Give the edition that each knob of a session comes from; None where it is the default."""
        found: dict[str, Edition | None] = dict.fromkeys(KNOBS)
        for scope in (GLOBAL, *self._narrow(org_id, session_id)):
            if scope is not None:
                found |= self._live.sources(scope)
        return found

    def history(self, scope: str | None = None, limit: int = HISTORY_KEPT) -> list[PolicyChange]:
        """Give the newest changes, newest first."""
        newest = reversed(self._history)
        return [change for change in newest if scope in {None, change.scope}][:limit]

    def can_revert(self, scope: str) -> bool:
        """Say whether the scope has an edit that `revert` would undo."""
        before = self._live.undone.get(scope)
        return before is not None and before != self._live.editions.get(scope, ())

    def would_be(self, draft: Draft, org_id: str | None, session_id: str | None) -> InForce:
        """Give what the policy of one session would be if the draft were adopted."""
        narrow = (
            *(() if org_id is None else (org_scope(org_id),)),
            *(() if session_id is None else (session_scope(session_id),)),
        )
        there = draft.pages.editions
        return draft.pages.merge((GLOBAL, *(scope for scope in narrow if scope in there)))

    def edit(
        self,
        scope: str,
        put: Mapping[str, Any],
        clear: Collection[str],
        signed: Signed,
        now_unix: float,
        expires_unix: float | None = None,
    ) -> Draft:
        """Draft the turning of some knobs of a scope, and the giving up of others."""
        self._check(signed)
        desk = self._clear_desk(now_unix)
        checked, wrong = check_knobs(put)
        faults = [BookFault.of(scope, fault) for fault in wrong]
        faults += _clear_faults(desk.pages, scope, put, clear, expires_unix)
        if expires_unix is not None:
            faults += _end_faults(scope, expires_unix, now_unix)
        if not put and not clear:
            faults.append(BookFault(scope, "set", "the edit names no knob"))
        if faults:
            raise BookFaultsError(tuple(faults))
        edition = Edition(scope, checked, *signed[:2], now_unix, expires_unix, desk.revision)
        held = desk.pages.editions.get(scope, ())
        editions = desk.pages.stand(edition, clear) if expires_unix is None else (*held, edition)
        undone = {name: kept for name, kept in desk.pages.undone.items() if name != scope}
        while len(undone) >= MAX_EDITIONS:
            del undone[next(iter(undone))]
        change = _scope_change(desk, Action.EDITED, scope, signed, now_unix)
        return self._draft_scope(
            desk, replace(change, expires_unix=expires_unix), editions, {**undone, scope: held}
        )

    def revert(self, scope: str, signed: Signed, now_unix: float) -> Draft:
        """Draft the undoing of the scope's last edit."""
        self._check(signed)
        desk = self._clear_desk(now_unix)
        undone = dict(desk.pages.undone)
        before = undone.pop(scope, None)
        if before is None or before == desk.pages.editions.get(scope, ()):
            raise NothingToRevertError(f"{scope} has no edit that could be undone")
        change = _scope_change(desk, Action.REVERTED, scope, signed, now_unix)
        return self._draft_scope(desk, change, before, undone)

    def expire(self, now_unix: float) -> Draft | None:
        """Draft the end on record of the editions whose time has passed, if any has."""
        desk = self._clear_desk(now_unix)
        return _draft(desk.ends, desk.pages) if desk.ends else None

    def propose(self, name: str, put: Mapping[str, Any], signed: Signed, now_unix: float) -> Draft:
        """Draft a candidate, in the place of the one that has its name."""
        self._check(signed)
        desk = self._clear_desk(now_unix)
        checked, wrong = check_knobs(put)
        faults = [BookFault.of(GLOBAL, fault) for fault in wrong]
        if not is_candidate_name(name):
            faults.append(BookFault(GLOBAL, "name", f"it must be {CANDIDATE_NAME_RULE}", name))
        if not put:
            faults.append(BookFault(GLOBAL, "set", "the candidate names no knob"))
        if faults:
            raise BookFaultsError(tuple(faults))
        candidates = desk.pages.candidates
        if name not in candidates and len(candidates) >= MAX_CANDIDATES:
            raise BookFullError("candidates", MAX_CANDIDATES)
        candidate = Candidate(name, checked, *signed[:2], now_unix, desk.revision)
        if clashes := desk.pages.candidate_faults(candidate):
            raise BookFaultsError(clashes)
        pages = replace(desk.pages, candidates={**candidates, name: candidate})
        return _draft_candidate(desk, name, Action.PROPOSED, pages, signed, now_unix)

    def withdraw(self, name: str, signed: Signed, now_unix: float) -> Draft:
        """Draft the end of a candidate."""
        self._check(signed)
        desk = self._clear_desk(now_unix)
        candidates = dict(desk.pages.candidates)
        if candidates.pop(name, None) is None:
            raise UnknownCandidateError(f"there is no candidate {name[:40]!r}")
        pages = replace(desk.pages, candidates=candidates)
        return _draft_candidate(desk, name, Action.WITHDRAWN, pages, signed, now_unix)

    def adopt(self, draft: Draft) -> None:
        """Put a draft into force. It must have been made on the book as it is."""
        first = draft.changes[0].revision
        if first != self._next:
            raise ValueError(f"a draft of {first}; the next is {self._next}")
        self._pages = draft.pages
        self._live = draft.pages.at(self._now)
        self._highest = draft.pages.revision
        self._history.extend(draft.changes)
        self._turn()

    def end(self, now_unix: float) -> bool:
        """Let editions whose time has passed end in force; say whether that made a difference."""
        self._now = now_unix
        live, before = self._pages.at(now_unix), self._live
        self._live = live
        if live.editions == before.editions:
            return False
        self._turn()
        return True

    def forsake(self, draft: Draft) -> None:
        """Never give the draft's revisions again: nobody knows whether they have been stored."""
        self._highest = max(self._highest, draft.change.revision)

    @property
    def _next(self) -> int:
        return self._highest + 1

    def _turn(self) -> None:
        self._in_force.clear()
        found = self._pages.candidates.values()
        wrong = {candidate.name: self._live.candidate_faults(candidate) for candidate in found}
        self._unfit = {name: faults for name, faults in wrong.items() if faults}

    def _narrow(self, org_id: str | None, session_id: str | None) -> tuple[str | None, str | None]:
        """Name the scopes of a session that have editions."""
        org = None if org_id is None else org_scope(org_id)
        session = None if session_id is None else session_scope(session_id)
        there = self._live.editions
        return org if org in there else None, session if session in there else None

    def _check(self, signed: Signed) -> None:
        if signed.revision != self.revision:
            raise StaleRevisionError(signed.revision, self.revision)
        faults = tuple(
            BookFault(GLOBAL, name, f"it must not hold hidden characters, as {found} is")
            for name, text in (("author", signed.author), ("reason", signed.reason))
            if (found := hidden_in(text)) is not None
        )
        if faults:
            raise BookFaultsError(faults)

    def _clear_desk(self, now_unix: float) -> _Desk:
        ends: list[PolicyChange] = []
        pages = self._pages
        for edition in pages.passing():
            if not edition.has_ended(now_unix):
                break
            before, pages = pages.overlay(edition.scope), pages.without(edition)
            ends.append(
                PolicyChange(
                    self._next + len(ends),
                    Action.EXPIRED,
                    edition.scope,
                    before,
                    pages.overlay(edition.scope),
                    CLOCK_AUTHOR,
                    f"the edition of revision {edition.revision} by {edition.author} has expired",
                    now_unix,
                )
            )
        return _Desk(tuple(ends), pages.at(now_unix), self._next + len(ends))

    def _draft_scope(
        self,
        desk: _Desk,
        change: PolicyChange,
        editions: tuple[Edition, ...],
        undone: Mapping[str, tuple[Edition, ...]],
    ) -> Draft:
        pages = replace(desk.pages.with_scope(change.scope, editions), undone=undone)
        if pages.size > max(MAX_EDITIONS, desk.pages.size):
            raise BookFullError("editions", MAX_EDITIONS)
        if faults := pages.faults(change.scope):
            raise BookFaultsError(faults)
        change = replace(change, after=pages.overlay(change.scope))
        return _draft((*desk.ends, change), pages)


def _draft(changes: tuple[PolicyChange, ...], pages: Pages) -> Draft:
    last = changes[-1]
    return Draft(changes, replace(pages, revision=last.revision, changed_unix=last.made_unix))


def _draft_candidate(
    desk: _Desk, name: str, action: Action, pages: Pages, signed: Signed, now_unix: float
) -> Draft:
    before, after = (
        None if there is None else there.knobs
        for there in (desk.pages.candidates.get(name), pages.candidates.get(name))
    )
    change = PolicyChange(
        desk.revision, action, GLOBAL, before, after, *signed[:2], now_unix, candidate=name
    )
    return _draft((*desk.ends, change), pages)


def _scope_change(
    desk: _Desk, action: Action, scope: str, signed: Signed, now_unix: float
) -> PolicyChange:
    before = desk.pages.overlay(scope)
    return PolicyChange(desk.revision, action, scope, before, None, *signed[:2], now_unix)


def _end_faults(scope: str, expires_unix: float, now_unix: float) -> list[BookFault]:
    latest = now_unix + LONGEST_EXPIRY_SECONDS
    if not now_unix < expires_unix:
        return [BookFault(scope, "expires_at", "it must lie ahead", expires_unix, now_unix)]
    if expires_unix > latest:
        days = LONGEST_EXPIRY_SECONDS / 86400
        detail = f"it must lie at most {days:.0f} days ahead"
        return [BookFault(scope, "expires_at", detail, expires_unix, latest)]
    return []


def _clear_faults(
    pages: Pages,
    scope: str,
    put: Mapping[str, Any],
    clear: Collection[str],
    expires: float | None,
) -> list[BookFault]:
    held = pages.overlay(scope)
    faults = []
    for name in clear:
        if name not in KNOBS:
            detail = f"there is no such knob; there are {', '.join(KNOBS)}"
        elif name in put:
            detail = "it is both set and cleared"
        elif expires is not None:
            detail = "an edit that expires can only set knobs"
        elif name not in held:
            detail = f"it is not set in {scope}"
        else:
            continue
        faults.append(BookFault(scope, name, detail))
    return faults
