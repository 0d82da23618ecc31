"""The book of policies, against an oracle that keeps lists and asks by brute force."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.engine.policy import DEFAULT_POLICY, KNOBS, InboxMode, Policy, PolicyFaultsError
from penstock.engine.policy_book import (
    HISTORY_KEPT,
    MAX_CANDIDATES,
    MAX_EDITIONS,
    PolicyBook,
    Signed,
)
from penstock.engine.policy_editions import (
    GLOBAL,
    Action,
    BookFault,
    BookFaultsError,
    BookFullError,
    DamagedBookError,
    NothingToRevertError,
    PolicyChange,
    ScopeError,
    StaleRevisionError,
    StoredBookError,
    UnknownCandidateError,
    org_scope,
    read_scope,
    session_scope,
)
from penstock.engine.policy_pages import Pages

ORGS = [str(UUID(int=n)) for n in (1, 2)]
SESSIONS = [str(UUID(int=n)) for n in (11, 12)]
SCOPES = [GLOBAL, *map(org_scope, ORGS), *map(session_scope, SESSIONS)]
NOW = 1_000.0


def _signed(book: PolicyBook, author: str = "ada", reason: str = "a test") -> Signed:
    return Signed(author, reason, book.revision)


def _edit(
    book: PolicyBook,
    scope: str = GLOBAL,
    *,
    now: float = NOW,
    until: float | None = None,
    clear: tuple[str, ...] = (),
    **put: Any,
) -> PolicyChange:
    draft = book.edit(scope, put, clear, _signed(book), now, until)
    book.adopt(draft)
    return draft.change


def _revert(book: PolicyBook, scope: str = GLOBAL, now: float = NOW) -> PolicyChange:
    draft = book.revert(scope, _signed(book), now)
    book.adopt(draft)
    return draft.change


def _propose(book: PolicyBook, name: str, **put: Any) -> None:
    book.adopt(book.propose(name, put, _signed(book), NOW))


def _policy(book: PolicyBook, org: str | None = None, session: str | None = None) -> Policy:
    return book.in_force(org, session).policy


def _faults(book: PolicyBook, scope: str = GLOBAL, **edit: Any) -> tuple[BookFault, ...]:
    before = book.plain()
    with pytest.raises(BookFaultsError) as refused:
        _edit(book, scope, **edit)
    assert book.plain() == before
    return refused.value.faults


def test_an_empty_book_is_the_defaults() -> None:
    """Before the first edit the defaults hold for everybody, as one value."""
    book = PolicyBook()
    assert (book.revision, book.changed_unix, book.history()) == (0, None, [])
    assert book.in_force(ORGS[0], SESSIONS[0]) == (DEFAULT_POLICY, (GLOBAL,))
    assert book.in_force(ORGS[0], SESSIONS[0]) is book.in_force("", "")


def test_the_narrowest_scope_wins_knob_by_knob() -> None:
    """An edition holds only the knobs it names; the others come from the wider scopes."""
    book = PolicyBook()
    _edit(book, loss_percent=1.0, gap_seconds=1.5, keep_every=3)
    _edit(book, org_scope(ORGS[0]), loss_percent=2.0, gap_seconds=2.5)
    _edit(book, session_scope(SESSIONS[0]), loss_percent=3.0)
    found = book.in_force(ORGS[0], SESSIONS[0])
    assert found.scopes == (GLOBAL, org_scope(ORGS[0]), session_scope(SESSIONS[0]))
    policy = found.policy
    assert (policy.loss_percent, policy.gap_seconds, policy.keep_every) == (3.0, 2.5, 3)
    assert _policy(book, ORGS[0], SESSIONS[1]).loss_percent == 2.0
    assert _policy(book, ORGS[1], SESSIONS[1]) == _policy(book)
    by_knob = book.sources(ORGS[0], SESSIONS[0])
    scopes = {name: edition and edition.scope for name, edition in by_knob.items()}
    assert scopes["loss_percent"] == session_scope(SESSIONS[0])
    assert scopes["gap_seconds"] == org_scope(ORGS[0])
    assert scopes["keep_every"] == GLOBAL
    assert scopes["thin_at"] is None
    assert list(scopes) == list(KNOBS)


def test_what_is_in_force_is_kept_until_the_next_edit() -> None:
    """Sessions with the same scopes are given one object, so that looking up is cheap."""
    book = PolicyBook()
    _edit(book, org_scope(ORGS[0]), keep_every=4)
    first = book.in_force(ORGS[0], SESSIONS[0])
    assert book.in_force(ORGS[0], SESSIONS[1]) is first
    assert hash(first) == hash(book.in_force(ORGS[0], None))
    _edit(book, org_scope(ORGS[0]), keep_every=5)
    assert book.in_force(ORGS[0], SESSIONS[0]).policy.keep_every == 5


def test_a_draft_changes_nothing() -> None:
    """Only adopting counts, and only on the book that the draft was made on."""
    book = PolicyBook()
    draft = book.edit(GLOBAL, {"keep_every": 3}, (), _signed(book), NOW)
    other = book.edit(GLOBAL, {"keep_every": 4}, (), _signed(book), NOW)
    assert (book.revision, _policy(book)) == (0, DEFAULT_POLICY)
    book.adopt(draft)
    assert _policy(book).keep_every == 3
    with pytest.raises(ValueError, match="the next is 2"):
        book.adopt(other)


def test_a_forsaken_revision_is_never_given_again() -> None:
    """Where nobody knows whether a change was stored, the next one has a higher number."""
    book = PolicyBook()
    book.forsake(book.edit(GLOBAL, {"keep_every": 3}, (), _signed(book), NOW))
    assert (book.revision, _policy(book)) == (0, DEFAULT_POLICY)
    assert _edit(book, keep_every=4).revision == 2
    assert book.revision == 2


def test_a_stale_revision_is_refused() -> None:
    """Every kind of change names the revision it was made on; both numbers are told."""
    book = PolicyBook()
    _edit(book, keep_every=3)
    old = Signed("ada", "too late", 0)
    for change in (
        lambda: book.edit(GLOBAL, {"keep_every": 4}, (), old, NOW),
        lambda: book.revert(GLOBAL, old, NOW),
        lambda: book.propose("gentle", {"keep_every": 4}, old, NOW),
        lambda: book.withdraw("gentle", old, NOW),
    ):
        with pytest.raises(StaleRevisionError) as stale:
            change()
        assert (stale.value.seen, stale.value.current) == (0, 1)


def test_a_change_says_everything() -> None:
    """Who, why, when, where, the knobs before and after; and it survives being stored."""
    book = PolicyBook()
    _edit(book, keep_every=3, inbox_mode="drop_oldest")
    change = _edit(book, keep_every=4, clear=("inbox_mode",), now=NOW + 5)
    assert change == PolicyChange(
        revision=2,
        action=Action.EDITED,
        scope=GLOBAL,
        before={"keep_every": 3, "inbox_mode": InboxMode.DROP_OLDEST},
        after={"keep_every": 4},
        author="ada",
        reason="a test",
        made_unix=NOW + 5,
    )
    assert PolicyChange.from_plain(orjson.loads(orjson.dumps(change.plain()))) == change
    assert book.changed_unix == NOW + 5


def test_a_revert_undoes_one_step() -> None:
    """It brings back what the scope had before its last edit, once, and touches no other scope."""
    book = PolicyBook()
    _edit(book, keep_every=3)
    _edit(book, keep_every=4, loss_percent=7.0)
    _edit(book, org_scope(ORGS[0]), keep_every=9)
    change = _revert(book)
    assert (change.action, change.after) == (Action.REVERTED, {"keep_every": 3})
    assert _policy(book) == DEFAULT_POLICY.changed({"keep_every": 3})
    assert _policy(book, ORGS[0]).keep_every == 9
    with pytest.raises(NothingToRevertError):
        _revert(book)
    _revert(book, org_scope(ORGS[0]))
    assert book.in_force(ORGS[0], None).scopes == (GLOBAL,)


def test_a_revert_can_be_refused() -> None:
    """What it would bring back must fit what narrower scopes have set meanwhile."""
    book = PolicyBook()
    _edit(book, refuse_at=80.0)
    _edit(book, org_scope(ORGS[0]), thin_at=75.0)
    with pytest.raises(BookFaultsError) as refused:
        _revert(book)
    (fault,) = refused.value.faults
    assert (fault.scope, fault.knob, fault.other) == (org_scope(ORGS[0]), "thin_at", "refuse_at")
    assert _policy(book).refuse_at == 80.0


def test_an_edition_expires() -> None:
    """At its time, not before, and as a change of its own; what is beneath shows again."""
    book = PolicyBook()
    _edit(book, keep_every=3)
    _edit(book, keep_every=4, gap_seconds=9.0, until=NOW + 60)
    assert (_policy(book).keep_every, _policy(book).gap_seconds) == (4, 9.0)
    assert book.expire(NOW + 59.9) is None
    draft = book.expire(NOW + 60)
    assert draft is not None
    book.adopt(draft)
    change = draft.change
    assert (change.action, change.author) == (Action.EXPIRED, "penstock")
    assert (change.before, change.after) == (
        {"keep_every": 4, "gap_seconds": 9.0},
        {"keep_every": 3},
    )
    assert "revision 2 by ada" in change.reason
    assert _policy(book) == DEFAULT_POLICY.changed({"keep_every": 3})
    assert book.expire(NOW + 60) is None


def test_what_has_ended_is_not_in_force_before_its_end_is_on_record() -> None:
    """It ends when the book is told the time; the editions still list it, as ended."""
    book, org = PolicyBook(), org_scope(ORGS[0])
    _edit(book, org, keep_every=4, until=NOW + 60)
    assert not book.end(NOW + 59)
    assert book.end(NOW + 60)
    assert not book.end(NOW + 61)
    assert book.in_force(ORGS[0], None) == (DEFAULT_POLICY, (GLOBAL,))
    assert book.sources(ORGS[0], None)["keep_every"] is None
    assert (book.revision, book.scopes()) == (1, (GLOBAL, org))
    (edition,) = book.editions(org)
    assert book.has_ended(edition)


def test_a_change_first_records_the_ends_that_are_due() -> None:
    """In one draft, each with its revision; it is checked against what is in force by then."""
    book = PolicyBook()
    _edit(book, refuse_at=85.0, until=NOW + 60)
    _edit(book, org_scope(ORGS[0]), keep_every=4, until=NOW + 61)
    draft = book.edit(GLOBAL, {"refuse_at": 60.0}, (), _signed(book), NOW + 70)
    assert [change.action for change in draft.changes] == ["expired", "expired", "edited"]
    assert [change.revision for change in draft.changes] == [3, 4, 5]
    assert draft.change.before == {}
    book.adopt(draft)
    assert (book.revision, len(book.history()), book.expire(NOW + 70)) == (5, 5, None)
    assert book.scopes() == (GLOBAL,)
    _revert(book, now=NOW + 70)
    assert _policy(book) == DEFAULT_POLICY


def test_all_that_are_due_expire_in_one_draft() -> None:
    """However many: the history tells of each."""
    book = PolicyBook()
    scopes = [org_scope(str(UUID(int=n))) for n in range(100)]
    for scope in scopes:
        _edit(book, scope, keep_every=4, until=NOW + 60)
    draft = book.expire(NOW + 60)
    assert draft is not None
    book.adopt(draft)
    assert [change.scope for change in book.history(limit=100)] == scopes[::-1]
    assert (book.revision, book.scopes()) == (200, (GLOBAL,))


def test_a_full_book_is_checked_without_a_policy_for_every_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an edit costs grows with the scopes, not with the pairs of them."""
    book = PolicyBook()
    for n in range(60):
        org, session = (kind(str(UUID(int=n))) for kind in (org_scope, session_scope))
        _edit(book, org, refuse_at=65.0, until=NOW + 60 + n)
        _edit(book, session, thin_at=60.0, until=NOW + 60 + n)
    made: list[object] = []
    merge = Pages.merge
    monkeypatch.setattr(Pages, "merge", lambda *given: made.append(1) or merge(*given))
    _edit(book, thin_until=30.0)
    _propose(book, "gentle", thin_at=45.0)
    assert len(made) < 60 * 6
    (fault,) = _faults(book, session_scope(SESSIONS[0]), thin_at=66.0)
    assert (fault.seen, fault.limit) == (66.0, 65.0)
    assert "in org:" in fault.detail


@pytest.mark.parametrize("signed", [("a\u202eda", "r"), ("ada", "r\x1b[2J"), ("ada", "a\nb")])
def test_nobody_signs_with_hidden_characters(signed: tuple[str, str]) -> None:
    """Neither an author nor a reason can change how a history reads."""
    book = PolicyBook()
    by = Signed(*signed, 0)
    with pytest.raises(BookFaultsError, match="hidden characters, as U"):
        book.propose("gentle", {"keep_every": 3}, by, NOW)
    with pytest.raises(BookFaultsError, match="hidden characters, as U"):
        book.edit(GLOBAL, {"keep_every": 3}, (), by, NOW)


def test_editions_that_expire_lie_upon_one_another() -> None:
    """Each ends at its own time, whichever was made first."""
    book = PolicyBook()
    _edit(book, keep_every=4, until=NOW + 60)
    _edit(book, keep_every=5, until=NOW + 30)
    seen = []
    for now in (NOW, NOW + 30, NOW + 60):
        while draft := book.expire(now):
            book.adopt(draft)
        seen.append(_policy(book).keep_every)
    assert seen == [5, 4, 2]


def test_what_was_said_last_without_an_end_holds() -> None:
    """Such an edit takes its knobs out of those that expire, and leaves them the others."""
    book = PolicyBook()
    _edit(book, keep_every=4, gap_seconds=9.0, until=NOW + 60)
    _edit(book, keep_every=3)
    assert (_policy(book).keep_every, _policy(book).gap_seconds) == (3, 9.0)
    _edit(book, clear=("gap_seconds",))
    assert book.expire(NOW + 60) is None
    assert _policy(book) == DEFAULT_POLICY.changed({"keep_every": 3})


def test_a_revert_never_brings_back_what_has_expired() -> None:
    """An edition whose time has passed since stays away."""
    book = PolicyBook()
    _edit(book, keep_every=4, until=NOW + 60)
    _edit(book, keep_every=3)
    with pytest.raises(NothingToRevertError):
        _edit_then_expire(book, until=NOW + 70)
    _edit(book, gap_seconds=2.0, now=NOW + 80)
    _revert(book, now=NOW + 80)
    assert _policy(book) == DEFAULT_POLICY.changed({"keep_every": 3})


def _edit_then_expire(book: PolicyBook, until: float) -> None:
    _edit(book, loss_percent=9.0, until=until)
    while draft := book.expire(until):
        book.adopt(draft)
    _revert(book, now=until)


def test_contradictions_name_both_knobs() -> None:
    """Values that are right one by one and wrong together: which, what was seen, which limit."""
    (fault,) = _faults(PolicyBook(), thin_at=71.0)
    assert (fault.scope, fault.knob, fault.other) == (GLOBAL, "thin_at", "refuse_at")
    assert (fault.seen, fault.limit) == (71.0, 70.0)
    assert "thin_at" in fault.detail
    assert "refuse_at" in fault.detail


@pytest.mark.parametrize(
    ("lower", "upper", "high", "between"),
    [
        ("thin_until", "thin_at", 65.0, 60.0),
        ("refuse_until", "refuse_at", 85.0, 75.0),
        ("refuse_bulk_until", "refuse_bulk_at", 99.0, 95.0),
        ("thin_at", "refuse_at", 85.0, 75.0),
        ("refuse_at", "refuse_bulk_at", 99.0, 95.0),
        ("inbox_soft_batches", "inbox_batches", 500, 100),
        ("inbox_soft_bytes", "inbox_bytes", 8 << 20, 4 << 20),
    ],
)
def test_a_wide_edit_may_not_contradict_a_narrow_one(
    lower: str, upper: str, high: float, between: float
) -> None:
    """The whole of what a scope reaches is checked, and the fault names the scope it shows in."""
    book, org = PolicyBook(), org_scope(ORGS[0])
    for scope, put in ((GLOBAL, {upper: high}), (org, {lower: between})):
        book.adopt(book.edit(scope, put, (), _signed(book), NOW))
    (fault,) = _faults(book, clear=(upper,))
    assert (fault.scope, fault.knob, fault.other) == (org, lower, upper)
    assert (fault.seen, fault.limit) == (between, getattr(DEFAULT_POLICY, upper))


def test_a_session_must_fit_every_organisation() -> None:
    """Nobody knows whose it will be; the fault names both, and setting both knobs helps."""
    book = PolicyBook()
    _edit(book, org_scope(ORGS[1]), refuse_at=60.0)
    session = session_scope(SESSIONS[0])
    (fault,) = _faults(book, session, thin_at=65.0)
    assert fault.scope == session
    assert org_scope(ORGS[1]) in fault.detail
    _edit(book, session, thin_at=65.0, refuse_at=66.0)
    assert _policy(book, ORGS[1], SESSIONS[0]).refuse_at == 66.0


def test_a_contradiction_that_an_expiry_would_make_is_refused() -> None:
    """So that an edition can always expire; the fault names the edition."""
    book = PolicyBook()
    _edit(book, refuse_at=85.0, until=NOW + 60)
    (fault,) = _faults(book, org_scope(ORGS[0]), thin_at=80.0)
    assert "once the edition of revision 1 has expired" in fault.detail
    _edit(book, org_scope(ORGS[0]), thin_at=80.0, until=NOW + 59)


@pytest.mark.parametrize(
    ("edit", "knob", "words"),
    [
        ({"moon": 1}, "moon", "no such knob"),
        ({"keep_every": 1}, "keep_every", "a whole number from 2 to 10"),
        ({"keep_every": True}, "keep_every", "a whole number"),
        ({"loss_percent": float("nan")}, "loss_percent", "a number from 0 to 100"),
        ({"inbox_mode": "explode"}, "inbox_mode", "refuse or drop_oldest"),
        ({"clear": ("keep_every",)}, "keep_every", "not set in global"),
        ({"clear": ("moon",)}, "moon", "no such knob"),
        ({"clear": ("thin_at",), "thin_at": 40}, "thin_at", "both set and cleared"),
        ({}, "set", "names no knob"),
        ({"keep_every": 3, "until": NOW}, "expires_at", "must lie ahead"),
        ({"keep_every": 3, "until": float("nan")}, "expires_at", "must lie ahead"),
        ({"keep_every": 3, "until": NOW + 367 * 86400}, "expires_at", "at most 366 days ahead"),
        (
            {"keep_every": 3, "until": NOW + 9, "clear": ("loss_percent",)},
            "loss_percent",
            "can only set",
        ),
    ],
)
def test_what_is_wrong_with_an_edit_is_named(edit: dict[str, Any], knob: str, words: str) -> None:
    """By its knob, in words; nothing has changed."""
    book = PolicyBook()
    _edit(book, loss_percent=4.0)
    (fault,) = _faults(book, **edit)
    assert (fault.scope, fault.knob) == (GLOBAL, knob)
    assert words in fault.detail


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Nobody finds the second mistake only after mending the first."""
    faults = _faults(PolicyBook(), moon=1, keep_every=99, clear=("gap_seconds",))
    assert [fault.knob for fault in faults] == ["moon", "keep_every", "gap_seconds"]


def test_candidates_lie_on_the_global_scope() -> None:
    """They show what an edit of it would do: narrower scopes still win, and nothing is in force."""
    book = PolicyBook()
    _edit(book, org_scope(ORGS[0]), keep_every=5)
    _propose(book, "gentle", keep_every=3, loss_percent=1.0)
    assert _policy(book, ORGS[0]) == DEFAULT_POLICY.changed({"keep_every": 5})
    shadow = book.candidate_in_force("gentle", ORGS[0], None)
    assert shadow.policy == DEFAULT_POLICY.changed({"keep_every": 5, "loss_percent": 1.0})
    assert shadow.scopes == book.in_force(ORGS[0], None).scopes
    assert book.candidate_in_force("gentle", None, None).policy.keep_every == 3


def test_a_proposal_is_itself_until_it_is_made_anew() -> None:
    """An equal value is the same proposal, going on; the same knobs proposed again are not."""
    book = PolicyBook()
    _propose(book, "gentle", keep_every=3)
    before = book.candidates["gentle"]
    _edit(book, loss_percent=2.0)
    assert book.candidates["gentle"] == before
    _propose(book, "gentle", keep_every=3)
    assert book.candidates["gentle"] != before


def test_candidates_are_bounded_and_named() -> None:
    """Three at most; one may replace another of its name; withdrawing makes room."""
    book = PolicyBook()
    for number in range(MAX_CANDIDATES):
        _propose(book, f"c{number}", keep_every=3)
    with pytest.raises(BookFullError, match="3 candidates"):
        _propose(book, "more", keep_every=3)
    _propose(book, "c0", keep_every=4)
    book.adopt(book.withdraw("c1", _signed(book), NOW))
    assert [change.action for change in book.history(limit=2)] == ["withdrawn", "proposed"]
    _propose(book, "more", keep_every=3)
    assert list(book.candidates) == ["c0", "c2", "more"]
    with pytest.raises(UnknownCandidateError):
        book.withdraw("c1", _signed(book), NOW)


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "a" * 33, "ä", "a/b"])
def test_a_candidate_has_a_plain_name(name: str) -> None:
    """It is part of a path and a label."""
    with pytest.raises(BookFaultsError) as refused:
        _propose(PolicyBook(), name, keep_every=3)
    assert [fault.knob for fault in refused.value.faults] == ["name"]


@pytest.mark.parametrize("put", [{}, {"moon": 1}, {"thin_at": 71.0}])
def test_a_candidate_must_be_a_policy(put: dict[str, Any]) -> None:
    """What could never be put into force is not proposed."""
    with pytest.raises(BookFaultsError):
        _propose(PolicyBook(), "odd", **put)


def test_a_candidate_is_no_reason_to_refuse_an_edit() -> None:
    """One that makes no policy any more rests, with the reason, and comes back when it does."""
    book = PolicyBook()
    _propose(book, "late", thin_at=65.0)
    _edit(book, refuse_at=60.0)
    assert dict(book.candidates) == {}
    candidate, (fault, *_) = book.resting["late"]
    assert candidate.knobs == {"thin_at": 65.0}
    assert (fault.knob, fault.other) == ("thin_at", "refuse_at")
    _revert(book)
    assert list(book.candidates) == ["late"]


def test_editions_are_bounded() -> None:
    """What is over the bound is refused; changing and clearing what is there is not."""
    book = PolicyBook()
    sessions = [str(UUID(int=n)) for n in range(MAX_EDITIONS)]
    for session in sessions:
        _edit(book, session_scope(session), keep_every=3)
    with pytest.raises(BookFullError, match=f"{MAX_EDITIONS} editions"):
        _edit(book, keep_every=3)
    _edit(book, session_scope(sessions[0]), keep_every=4)
    _edit(book, session_scope(sessions[0]), clear=("keep_every",))
    _edit(book, keep_every=3)


def test_history_is_bounded_and_newest_first() -> None:
    """A stated number of changes is kept, of all scopes or of one."""
    book = PolicyBook()
    for number in range(HISTORY_KEPT + 5):
        _edit(book, SCOPES[number % 2], loss_percent=number / 10)
    revisions = [change.revision for change in book.history()]
    assert revisions == list(range(HISTORY_KEPT + 5, 5, -1))
    assert {change.scope for change in book.history(SCOPES[1])} == {SCOPES[1]}
    assert len(book.history(SCOPES[1], limit=3)) == 3


@pytest.mark.parametrize(
    "text", ["", "globe", "org:", "org:1", f"user:{ORGS[0]}", f"org:{ORGS[0]}x"]
)
def test_a_scope_has_one_spelling(text: str) -> None:
    """Ids are canonical, and what is no scope is refused."""
    with pytest.raises(ScopeError):
        read_scope(text)
    assert read_scope(f"ORG:{ORGS[0].upper()}") == org_scope(ORGS[0])


def _stored(**changes: Any) -> dict[str, Any]:
    book = PolicyBook()
    _edit(book, keep_every=3, inbox_mode="drop_oldest")
    _edit(book, keep_every=4, until=NOW + 60)
    _propose(book, "gentle", inbox_mode="refuse")
    plain: dict[str, Any] = orjson.loads(orjson.dumps(book.plain()))
    return plain | changes


def test_a_stored_book_is_the_same_book() -> None:
    """Through JSON: revision, editions, expiry, candidates, what may be reverted."""
    book = PolicyBook.from_plain(_stored())
    assert book.plain() == _stored()
    assert _policy(book).inbox_mode is InboxMode.DROP_OLDEST
    assert book.candidate_in_force("gentle", "", "").policy.inbox_mode is InboxMode.REFUSE
    _revert(book)
    assert _policy(book).keep_every == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"editions": None},
        {"candidates": [{"name": "x"}]},
        {"editions": {GLOBAL: [{"knobs": {}}]}},
    ],
)
def test_a_book_that_is_not_understood_is_refused(changes: dict[str, Any]) -> None:
    """A service never starts with a policy that it only half understood."""
    with pytest.raises(StoredBookError):
        PolicyBook.from_plain(_stored(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": None},
        {"format": "1"},
        {"editions": [1]},
        {"revision": "1"},
        {"changed_unix": "yesterday"},
        {"undone": {GLOBAL: [{"knobs": {}}]}},
    ],
)
def test_a_damaged_book_is_told_from_a_newer_one(changes: dict[str, Any]) -> None:
    """Another version would not help where no version has written it so."""
    with pytest.raises(DamagedBookError):
        PolicyBook.from_plain(_stored(**changes))
    with pytest.raises(StoredBookError) as newer:
        PolicyBook.from_plain(_stored(format=2))
    assert not isinstance(newer.value, DamagedBookError)


@pytest.mark.parametrize("knobs", [{"moon": 1}, {"keep_every": 99}, {"thin_at": 99}])
def test_a_book_of_another_version_is_refused(knobs: dict[str, Any]) -> None:
    """A knob that this version does not have, a bound that it does, a new contradiction."""
    plain = _stored()
    plain["editions"][GLOBAL][0]["knobs"] = knobs
    with pytest.raises(StoredBookError, match=next(iter(knobs))):
        PolicyBook.from_plain(plain)


_VALUES: Mapping[str, list[Any]] = {
    "thin_at": [36.0, 60.0, 80.0],
    "refuse_at": [52.0, 62.0, 85.0],
    "refuse_bulk_at": [71.0, 99.0],
    "inbox_soft_batches": [4, 100],
    "inbox_batches": [8, 200],
    "keep_every": [3, 4],
}
_PUT = st.dictionaries(
    st.sampled_from(sorted(_VALUES)), st.integers(0, 2), min_size=1, max_size=3
).map(lambda drawn: {name: _VALUES[name][n % len(_VALUES[name])] for name, n in drawn.items()})
_CLEAR = st.sets(st.sampled_from(sorted(_VALUES)), max_size=1)


@dataclass
class _Scope:
    """The oracle's: standing knobs, and those that end, in the order in which they were set."""

    standing: dict[str, Any] = field(default_factory=dict)
    passing: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    # Which edit the standing knobs are from: one that sets the same again is an edit nevertheless.
    edit: int = 0

    def at(self, now: float) -> dict[str, Any]:
        knobs = dict(self.standing)
        for until, put in self.passing:
            if until > now:
                knobs |= put
        return knobs

    def copy(self) -> "_Scope":
        passing = [(until, dict(put)) for until, put in self.passing]
        return _Scope(dict(self.standing), passing, self.edit)


class _BookAndOracle(RuleBasedStateMachine):
    """Random edits, reverts, waits; whoever of the two accepts something, so does the other."""

    def __init__(self) -> None:
        super().__init__()
        self.book = PolicyBook()
        self.now = NOW
        self.scopes = {scope: _Scope() for scope in SCOPES}
        self.before: dict[str, _Scope] = {}
        self.revision = 0
        self.edits = 0

    def fits(self, scopes: dict[str, _Scope]) -> bool:
        """Ask whether every session has a policy, now and after each end."""
        times = {self.now} | {u for s in scopes.values() for u, _ in s.passing if u > self.now}
        chains = [
            (GLOBAL, *org, *session)
            for org in [(), *((name,) for name in SCOPES if name.startswith("org"))]
            for session in [(), *((name,) for name in SCOPES if name.startswith("session"))]
        ]
        for time in times:
            for chain in chains:
                knobs: dict[str, Any] = {}
                for scope in chain:
                    knobs |= scopes[scope].at(time)
                try:
                    DEFAULT_POLICY.changed(knobs)
                except PolicyFaultsError:
                    return False
        return True

    def accept(self, scope: str, changed: _Scope) -> bool:
        if not self.fits(self.scopes | {scope: changed}):
            return False
        self.scopes[scope] = changed
        self.revision += 1
        return True

    @rule(scope=st.sampled_from(SCOPES), put=_PUT, clear=_CLEAR)
    def edit(self, scope: str, put: dict[str, Any], clear: set[str]) -> None:
        held = self.scopes[scope].at(self.now)
        clear = {name for name in clear if name in held and name not in put}
        changed, before = self.scopes[scope].copy(), self.scopes[scope]
        for knobs in (changed.standing, *(knobs for _, knobs in changed.passing)):
            for name in (*put, *clear):
                knobs.pop(name, None)
        changed.standing |= put
        self.edits += 1
        changed.edit = self.edits
        if self.accept(scope, changed):
            self.before[scope] = before
            _edit(self.book, scope, now=self.now, clear=tuple(clear), **put)
        else:
            _faults(self.book, scope, now=self.now, clear=tuple(clear), **put)

    @rule(scope=st.sampled_from(SCOPES), put=_PUT, seconds=st.integers(1, 50))
    def edit_for_a_while(self, scope: str, put: dict[str, Any], seconds: int) -> None:
        self.edits += 1
        until = self.now + seconds + self.edits / 1024  # no two end at once
        changed, before = self.scopes[scope].copy(), self.scopes[scope]
        changed.passing.append((until, put))
        if self.accept(scope, changed):
            self.before[scope] = before
            _edit(self.book, scope, now=self.now, until=until, **put)
        else:
            _faults(self.book, scope, now=self.now, until=until, **put)

    @rule(scope=st.sampled_from(SCOPES))
    def revert(self, scope: str) -> None:
        before = self.before.get(scope)
        if before is None or self._same(before, self.scopes[scope]):
            with pytest.raises(NothingToRevertError):
                _revert(self.book, scope, self.now)
        elif self.accept(scope, before):
            del self.before[scope]
            _revert(self.book, scope, self.now)
        else:
            with pytest.raises(BookFaultsError):
                _revert(self.book, scope, self.now)

    def _same(self, one: _Scope, other: _Scope) -> bool:
        ahead = [[(u, put) for u, put in s.passing if u > self.now and put] for s in (one, other)]
        standing = [(s.standing, s.edit) if s.standing else None for s in (one, other)]
        return standing[0] == standing[1] and ahead[0] == ahead[1]

    @precondition(lambda self: self.revision > 0)
    @rule(scope=st.sampled_from(SCOPES), put=_PUT, late=st.integers(1, 3))
    def edit_too_late(self, scope: str, put: dict[str, Any], late: int) -> None:
        signed = Signed("ada", "late", self.book.revision - late)
        with pytest.raises(StaleRevisionError):
            self.book.edit(scope, put, (), signed, self.now)

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        ends = 0
        if draft := self.book.expire(self.now):
            assert {change.action for change in draft.changes} == {Action.EXPIRED}
            self.book.adopt(draft)
            ends = len(draft.changes)
        assert self.book.expire(self.now) is None
        self.revision += ends

    @rule()
    def restart(self) -> None:
        self.book = PolicyBook.from_plain(orjson.loads(orjson.dumps(self.book.plain())))

    @invariant()
    def same_policies(self) -> None:
        assert self.book.revision == self.revision
        for org in (None, *ORGS):
            for session in (None, *SESSIONS):
                knobs: dict[str, Any] = self.scopes[GLOBAL].at(self.now)
                if org is not None:
                    knobs |= self.scopes[org_scope(org)].at(self.now)
                if session is not None:
                    knobs |= self.scopes[session_scope(session)].at(self.now)
                policy = _policy(self.book, org, session)
                assert policy == DEFAULT_POLICY.changed(knobs)
                assert policy.faults() == ()


TestBookAndOracle = _BookAndOracle.TestCase
TestBookAndOracle.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
