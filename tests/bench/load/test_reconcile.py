"""The reconciliation holds for every honest account, and breaks when any one number is wrong."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bench.load.reconcile import ClientSide, reason_of, reconcile
from penstock.engine.outcomes import Outcome, Reason
from penstock.http.problems import Problem

Metrics = dict[str, float]

_COUNTS = st.integers(0, 10_000)
_SOME = st.integers(1, 10_000)
_REFUSALS = ("inbox_full", "rate_session_exceeded", "draining", "gzip_corrupt")
_COUNTED_HOSTILE = ("400 timestamps_backwards", "429 frame_memory_full")
_UNCOUNTED_HOSTILE = ("401 token_expired", "413 body_too_large", "400 several_members")
_AFTER_ACCEPTANCE = (Outcome.AGGREGATED, Outcome.SHED, Outcome.LOST)
_SEEN = "penstock_frames_seen_total"
_PENDING = "penstock_frames_pending"


def _sample(reason: Reason) -> str:
    outcome = reason.outcome.value
    return f'penstock_frames_total{{outcome="{outcome}",reason="{reason.value}"}}'


_TOLD = {"refused": Reason.UNSENT_REFUSED, "network": Reason.UNSENT_NETWORK}
# What no client of the harness tells of is not the harness's to check.
_NOT_TOLD = {
    _sample(reason)
    for reason in Reason
    if reason.outcome is Outcome.UNSENT and reason not in _TOLD.values()
}


@dataclass(frozen=True)
class World:
    client: ClientSide
    before: Metrics
    after: Metrics


def _grow(metrics: Metrics, reason: Reason, frames: int) -> None:
    if reason.outcome is not Outcome.UNSENT:
        metrics[_SEEN] += frames
    metrics[_sample(reason)] += frames


@st.composite
def worlds(draw: st.DrawFn, *, unanswered: st.SearchStrategy[int]) -> World:
    """Make what both sides know of a run in which nobody miscounted."""
    before: Metrics = {_SEEN: 0.0, _PENDING: 0.0} | {_sample(reason): 0.0 for reason in Reason}
    for reason in Reason:
        _grow(before, reason, draw(_COUNTS))
    after = dict(before)
    settled = draw(
        st.dictionaries(
            st.sampled_from([r for r in Reason if r.outcome in _AFTER_ACCEPTANCE]), _COUNTS
        )
    )
    for reason, frames in settled.items():
        _grow(after, reason, frames)
    refused: dict[str, int] = {**draw(st.dictionaries(st.sampled_from(_REFUSALS), _SOME))}
    hostile = {name: draw(_SOME) for name in (*_COUNTED_HOSTILE, *_UNCOUNTED_HOSTILE)}
    for outcome, frames in [*refused.items(), *hostile.items()]:
        if (label := reason_of(outcome)) is not None:
            _grow(after, Reason(label), frames)
    lost = draw(unanswered)
    # Of what went unanswered, some arrived.
    _grow(after, Reason.USED, draw(st.integers(0, lost)))
    thinned = settled.pop(Reason.POLICY_THINNED, 0)
    accepted = sum(settled.values())
    sent = accepted + thinned + sum(refused.values()) + lost
    told = {word: draw(_COUNTS) for word in _TOLD}
    perhaps = {word: draw(unanswered) for word in _TOLD}
    for word, reason in _TOLD.items():
        _grow(after, reason, told[word] + draw(st.integers(0, perhaps[word])))
    client = ClientSide(sent, accepted, refused, lost, hostile, frames_thinned=thinned)
    client = replace(client, frames_told=told, frames_told_perhaps=perhaps)
    return World(client, before, after)


def _holds(world: World) -> bool:
    return all(check.holds for check in reconcile(world.client, world.before, world.after))


@given(worlds(unanswered=_COUNTS))
def test_an_honest_account_adds_up(world: World) -> None:
    """Whatever was accepted, refused or went unanswered: two right counts agree on every line."""
    assert _holds(world)


@given(worlds(unanswered=st.just(0)), st.data())
def test_any_wrong_number_is_found(world: World, data: st.DataObject) -> None:
    """With every batch answered, one number that is off, by whatever little, breaks some line."""
    off = data.draw(st.sampled_from([-3, -1, 1, 2]))
    client = world.client
    names = ["sent", "accepted", "unanswered", "mismatches", "wrong_hostile", "before", "after"]
    names += list(_COUNTED_HOSTILE) + list(client.frames_refused)
    what = data.draw(st.sampled_from(names))
    before, after = dict(world.before), dict(world.after)
    if what == "sent":
        client = replace(client, frames_sent=client.frames_sent + off)
    elif what == "accepted":
        client = replace(client, frames_accepted=client.frames_accepted + off)
    elif what == "unanswered":
        client = replace(client, frames_unanswered=abs(off))
    elif what == "mismatches":
        client = replace(client, mismatches=abs(off))
    elif what == "wrong_hostile":
        client = replace(client, wrong_hostile={"hostile_slow 202": abs(off)})
    elif what == "before":
        before[data.draw(st.sampled_from(sorted(before.keys() - {_PENDING} - _NOT_TOLD)))] += off
    elif what == "after":
        after[data.draw(st.sampled_from(sorted(after.keys() - _NOT_TOLD)))] += off
    elif what in _COUNTED_HOSTILE:
        hostile = {**client.hostile_frames, what: client.hostile_frames[what] + off}
        client = replace(client, hostile_frames=hostile)
    else:
        refused = {**client.frames_refused, what: client.frames_refused[what] + off}
        client = replace(client, frames_refused=refused)
    assert not _holds(World(client, before, after))


@given(worlds(unanswered=st.integers(1, 100)), st.integers(1, 100))
def test_unanswered_frames_excuse_no_more_than_themselves(world: World, more: int) -> None:
    """A server that counts more than what was answered and what may have arrived is wrong."""
    after = dict(world.after)
    _grow(after, Reason.USED, world.client.frames_unanswered + more)
    assert not _holds(replace(world, after=after))


@given(worlds(unanswered=st.integers(0, 100)), st.integers(1, 100))
def test_unanswered_frames_excuse_nothing_missing(world: World, missing: int) -> None:
    """Frames that were answered 202 and that the server does not have are found nonetheless."""
    client = world.client
    arrived = client.frames_accepted + client.frames_unanswered + missing
    more = replace(
        client,
        frames_accepted=arrived,
        frames_sent=client.frames_sent - client.frames_accepted + arrived,
    )
    assert not _holds(replace(world, client=more))


@pytest.mark.parametrize("how", ["internal_error", "500", "502"])
def test_a_failed_request_may_have_been_counted(how: str) -> None:
    """After a 5xx nobody knows whether the frames were taken; both is allowed, more is not."""
    before: Metrics = {_SEEN: 0.0, _PENDING: 0.0, _sample(Reason.USED): 0.0}
    client = ClientSide(5, 0, {how: 5}, 0)
    for counted, holds in ((0, True), (5, True), (6, False)):
        after = dict(before)
        _grow(after, Reason.USED, counted)
        assert _holds(World(client, before, after)) is holds


def test_without_metrics_the_lines_say_so() -> None:
    """A service that has no metrics is checked as far as it can be, and the rest is named."""
    client = ClientSide(30, 20, {"inbox_full": 10}, 0)
    checks = reconcile(client, None, None)
    assert all(check.holds for check in checks)
    unchecked = {check.name for check in checks if check.seen.startswith("not checked")}
    assert "frames seen (server)" in unchecked
    assert "frames refused, inbox_full (server)" in unchecked
    assert not all(check.holds for check in reconcile(replace(client, frames_sent=31), None, None))


def test_an_unknown_reason_is_a_line_of_its_own() -> None:
    """Frames that the server refused for a reason that no client was told do not go unnoticed."""
    empty: Metrics = {_SEEN: 0.0, _PENDING: 0.0}
    after = dict(empty) | {_sample(Reason.SESSIONS_FULL): 7.0, _SEEN: 7.0}
    (line,) = [
        check
        for check in reconcile(ClientSide(0, 0, {}, 0), empty, after)
        if "sessions_full" in check.name
    ]
    assert (line.expected, line.seen, line.holds) == ("0", "7", False)


def test_examples_are_shown() -> None:
    """A wrong position or a wrong answer is shown, not only counted."""
    client = ClientSide(
        0, 0, {}, 0, mismatches=2, mismatch_examples=("position 5",), wrong_hostile={"a 202": 3}
    )
    seen = [check.seen for check in reconcile(client, None, None) if not check.holds]
    assert seen == ["2 (position 5)", "3 (a 202: 3)"]


@pytest.mark.parametrize("reason", [r for r in Reason if r.outcome is Outcome.REFUSED])
def test_every_refusal_of_the_service_has_a_reason_here(reason: Reason) -> None:
    """The harness knows each reason under which the service counts refused frames."""
    codes = {problem.code for problem in Problem}
    answers = [code for code in sorted(codes) if reason_of(f"400 {code}") == reason.value]
    assert answers
    if reason is not Reason.MALFORMED:
        assert answers == [reason.value]
