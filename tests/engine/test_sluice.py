from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.decisions import (
    ADMIT_CALM,
    ADMIT_MAKING_ROOM,
    ADMIT_PROMISED,
    Admit,
    Cause,
    Decision,
    Offer,
    Refuse,
    Thin,
)
from penstock.engine.ladder import Rung
from penstock.engine.loss import LossAccount
from penstock.engine.outcomes import Reason
from penstock.engine.policy import KNOBS
from sluice_rig import Rig, batch

OLD = 10**7  # frames that were due to a session whose budget no test uses up


class Case(NamedTuple):
    """A sluice under some pressure, an edit, and what the edit must change."""

    press: tuple[tuple[float, float], ...]
    edit: dict[str, Any]
    before: Callable[[Decision], bool]
    after: Callable[[Decision], bool]
    offer: Offer = batch()
    start: dict[str, Any] = {}  # noqa: RUF012 - never changed


def _calm(decision: Decision) -> bool:
    return decision is ADMIT_CALM


def _taken(decision: Decision) -> bool:
    return isinstance(decision, Admit)


def _thinned(decision: Decision) -> bool:
    return isinstance(decision, Thin)


def _refused(decision: Decision) -> bool:
    return isinstance(decision, Refuse) and decision.reason is Reason.POLICY_REFUSED


def _full(decision: Decision) -> bool:
    return isinstance(decision, Refuse) and decision.reason is Reason.INBOX_FULL


def _waits(seconds: float) -> Callable[[Decision], bool]:
    return lambda decision: isinstance(decision, Refuse) and decision.retry_after == seconds


def _keeps(frames: int) -> Callable[[Decision], bool]:
    return lambda decision: isinstance(decision, Thin) and decision.kept == frames


CASES = {
    "thin_at": Case(((45, 3),), {"thin_at": 40}, _calm, _thinned),
    "thin_until": Case(((60, 3), (45, 5)), {"thin_until": 48}, _thinned, _calm),
    "refuse_at": Case(((65, 3),), {"refuse_at": 60}, _thinned, _refused),
    "refuse_until": Case(((80, 3), (60, 5)), {"refuse_until": 65}, _refused, _thinned),
    "dwell_seconds": Case(((60, 3), (0, 3)), {"dwell_seconds": 1}, _thinned, _calm),
    "keep_every": Case(((60, 3),), {"keep_every": 5}, _keeps(5), _keeps(2)),
    "loss_percent": Case(((60, 3),), {"loss_percent": 0}, _thinned, _taken),
    "gap_seconds": Case(((80, 3),), {"gap_seconds": 0.5}, _refused, _thinned),
    "inbox_mode": Case(
        (), {"inbox_mode": "drop_oldest"}, _full, ADMIT_MAKING_ROOM.__eq__, batch(inbox=64)
    ),
    "inbox_soft_batches": Case((), {"inbox_soft_batches": 5}, _calm, _thinned, batch(inbox=5)),
    "inbox_batches": Case((), {"inbox_batches": 40}, _thinned, _full, batch(inbox=40)),
    "inbox_soft_bytes": Case(
        (), {"inbox_soft_bytes": 50_000}, _calm, _thinned, batch(waiting=50_000)
    ),
    "inbox_bytes": Case((), {"inbox_bytes": 1_200_000}, _thinned, _full, batch(waiting=1_200_000)),
    "retry_after_max_seconds": Case(
        ((80, 3),),
        {"retry_after_max_seconds": 5},
        _waits(30.0),
        _waits(5.0),
        start={"gap_seconds": 600},
    ),
}


def test_every_knob_that_decides_on_batches_has_its_case() -> None:
    """No knob is left out of the proof; those of bulk writes have a test of their own."""
    assert set(KNOBS) - set(CASES) == {"refuse_bulk_at", "refuse_bulk_until"}


@pytest.mark.parametrize("knob", CASES)
def test_an_edit_counts_for_the_very_next_batch(knob: str) -> None:
    """Of two alike sluices, the one whose knob was turned decides its next batch otherwise."""
    case = CASES[knob]
    decisions = []
    for edit in ({}, case.edit):
        rig = Rig(**case.start)
        place = rig.sluice.join("s", "o", LossAccount(OLD, 0))
        for level, seconds in case.press:
            rig.press(level, seconds)
        rig.edit(**edit)
        decisions.append(rig.sluice.decide(place, case.offer))
    assert case.before(decisions[0])
    assert case.after(decisions[1])


@pytest.mark.parametrize(
    ("press", "edit", "before"),
    [
        (((85, 3),), {"refuse_bulk_at": 80}, False),
        (((95, 3), (75, 5)), {"refuse_bulk_until": 80}, True),
    ],
)
def test_an_edit_counts_for_the_very_next_bulk_write(
    press: tuple[tuple[float, float], ...], edit: dict[str, Any], *, before: bool
) -> None:
    """Turning a knob of bulk writes changes at once whether they are refused."""
    rig = Rig()
    for level, seconds in press:
        rig.press(level, seconds)
    assert rig.sluice.refuses_bulk is before
    rig.edit(**edit)
    assert rig.sluice.refuses_bulk is not before


def test_the_narrowest_scope_decides_for_its_sessions_only() -> None:
    """An organisation's own edition holds for its sessions; the others go on as they were."""
    rig = Rig()
    mine = rig.sluice.join("a", "o", LossAccount(OLD, 0))
    other = rig.sluice.join("b", "p", LossAccount(OLD, 0))
    rig.press(60, 3)
    rig.edit("org:o", thin_at=70, thin_until=65)
    assert rig.sluice.decide(mine, batch()) is ADMIT_CALM
    assert isinstance(rig.sluice.decide(other, batch()), Thin)
    where = {works.scopes: (works.rung, works.sessions) for works in rig.sluice.in_force()}
    assert where == {("global",): (Rung.THIN, 1), ("global", "org:o"): (Rung.CALM, 1)}
    del rig.book.overlays["org:o"]
    rig.sluice.adopt()
    assert isinstance(rig.sluice.decide(mine, batch(1)), Thin)
    assert [works.sessions for works in rig.sluice.in_force()] == [2]


def test_works_go_on_from_where_they_are() -> None:
    """An edit that has nothing to do with the rung leaves the rung, the line and the promises."""
    rig = Rig()
    place = rig.sluice.join("s", "o", LossAccount(OLD, 0))
    rig.press(80, 3)
    refused = rig.sluice.decide(place, batch())
    assert isinstance(refused, Refuse)
    (before,) = rig.sluice.in_force()
    rig.edit(keep_every=4)
    (after,) = rig.sluice.in_force()
    assert after == before._replace(policy=after.policy)
    rig.clock.now += refused.retry_after
    assert rig.sluice.decide(place, batch(1)) is ADMIT_PROMISED


ways = st.lists(
    st.tuples(st.sampled_from([55.0, 75.0, 85.0, 100.0]), st.integers(1, 40), st.booleans()),
    min_size=1,
    max_size=25,
)


@given(
    ways,
    st.fixed_dictionaries(
        {
            "gap_seconds": st.sampled_from([1.0, 10.0, 600.0]),
            "loss_percent": st.sampled_from([1, 5, 60, 100]),
            "retry_after_max_seconds": st.sampled_from([1.0, 2.5, 30.0]),
            "dwell_seconds": st.sampled_from([0.1, 3.0]),
        }
    ),
    st.integers(0, 5000),
)
def test_a_client_that_waits_as_told_is_taken(
    series: list[tuple[float, int, bool]], knobs: dict[str, Any], due: int
) -> None:
    """Waiting the seconds of a refusal is enough, whatever comes meanwhile; they keep the knob."""
    rig = Rig(**knobs)
    place = rig.sluice.join("s", "o", LossAccount(due, 0))
    for number, (level, tenths, impatient) in enumerate(series):
        rig.press(level, tenths / 10)
        decision = rig.sluice.decide(place, batch(number))
        if not isinstance(decision, Refuse):
            continue
        assert 1.0 <= decision.retry_after <= knobs["retry_after_max_seconds"]
        told = rig.clock.now + decision.retry_after
        if impatient:  # and is told again, never to wait for longer than the first time
            rig.clock.now += decision.retry_after / 2
            again = rig.sluice.decide(place, batch(number))
            if not isinstance(again, Refuse):
                continue
            assert again.retry_after <= max(1.0, told - rig.clock.now) + 1e-6
            told = rig.clock.now + again.retry_after
        while rig.clock.now + 0.1 < told:
            rig.press(100.0)
        rig.clock.now = told
        assert rig.sluice.decide(place, batch(number + 1)) is ADMIT_PROMISED


def test_a_wait_foretells_when_the_next_batch_would_be_taken() -> None:
    """With stress as it is, batches that do not wait are refused until then, and then taken."""
    rig = Rig(gap_seconds=4.0, loss_percent=100)
    place = rig.sluice.join("s", "o", LossAccount(OLD, 0))
    rig.press(80, 3)
    first = rig.sluice.decide(place, batch(0))
    assert isinstance(first, Refuse)
    taken = next(
        second
        for second in range(1, 30)
        if not isinstance(rig.sluice.decide(place, batch(second)), Refuse)
    )
    assert first.retry_after == pytest.approx(taken, abs=0.3)


def test_the_hard_bound_is_stronger_than_a_promise() -> None:
    """An inbox that is full stays full, and says which knob, limit and value it was."""
    rig = Rig()
    place = rig.sluice.join("s", "o", LossAccount(OLD, 0))
    rig.press(80, 3)
    refused = rig.sluice.decide(place, batch())
    assert isinstance(refused, Refuse)
    rig.clock.now += refused.retry_after
    full = rig.sluice.decide(place, batch(1, inbox=64))
    assert isinstance(full, Refuse)
    assert (full.reason, full.knob, full.limit, full.seen) == (
        Reason.INBOX_FULL,
        "inbox_batches",
        64,
        65,
    )
    full = rig.sluice.decide(place, batch(1, waiting=2_097_152))
    assert isinstance(full, Refuse)
    assert (full.knob, full.limit, full.seen) == ("inbox_bytes", 2_097_152, 2_102_152)


@given(st.integers(2, 10), st.lists(st.integers(2, 40), min_size=1, max_size=30))
def test_thinning_goes_on_evenly_over_batches(every: int, sizes: list[int]) -> None:
    """Kept and dropped are all frames; no two kept frames are more than `keep_every` apart."""
    rig = Rig(keep_every=every, loss_percent=100)
    place = rig.sluice.join("s", "o", LossAccount(OLD, 0))
    rig.press(60, 3)
    kept, at = [-1], 0
    for number, frames in enumerate(sizes):
        decision = rig.sluice.decide(place, batch(number, frames=frames))
        if isinstance(decision, Thin):
            mine = range(decision.first, frames, decision.keep_every)
            assert (decision.kept, decision.kept + decision.dropped) == (len(mine), frames)
            assert decision.kept >= 1
            assert decision.dropped >= 1
        else:
            assert decision == Admit(Cause.WHOLE)
            mine = range(frames)
        kept += [at + index for index in mine]
        at += frames
    gaps = {after - before for before, after in pairwise(kept)}
    assert max(gaps) <= every
    assert at - kept[-1] <= every


def test_a_frame_alone_is_never_thinned_away() -> None:
    """A batch of one frame is taken whole on the THIN rung."""
    rig = Rig()
    place = rig.sluice.join("s", "o", LossAccount(OLD, 0))
    rig.press(60, 3)
    assert rig.sluice.decide(place, batch(frames=1)) == Admit(Cause.WHOLE)


def test_a_session_that_lost_elsewhere_is_spared() -> None:
    """Losses that the policy did not decide, and frames never sent, count against its giving."""
    rig = Rig()
    lost, unsent, whole = (rig.sluice.join(n, "o", LossAccount(1000, 0)) for n in ("a", "b", "c"))
    rig.sluice.lose(lost, 60, 0, 900)
    rig.sluice.leave_unsent(unsent, 60)
    rig.press(60, 5)
    rig.edit(thin_at=51)  # the rung is as before
    rig.press(60, 5)
    for number in range(3):
        rig.sluice.decide(whole, batch(number))
        rig.press(60, 1)
    assert isinstance(rig.sluice.decide(whole, batch(4)), Thin)
    assert rig.sluice.decide(lost, batch(4)) == Admit(Cause.SPARED)
    assert rig.sluice.decide(unsent, batch(4)) == Admit(Cause.SPARED)
    assert rig.sluice.sessions_over_budget() == 1


def test_what_only_a_client_says_alarms_nobody() -> None:
    """Unsent frames may take a session over a small budget, but not into the count of such."""
    rig = Rig(loss_percent=2)
    place = rig.sluice.join("s", "o", LossAccount(1000, 0))
    rig.sluice.leave_unsent(place, 1000)
    assert place.over_budget
    assert rig.sluice.sessions_over_budget() == 0
    rig.sluice.lose(place, 20, 0, 900)
    assert rig.sluice.sessions_over_budget() == 0
    rig.sluice.lose(place, 1, 1000, 1000)
    assert rig.sluice.sessions_over_budget() == 1


def test_the_soft_bound_respects_the_budget() -> None:
    """A backlog thins a session that has budget left, and takes whole batches of one without."""
    rig = Rig()
    rich = rig.sluice.join("a", "o", LossAccount(1000, 0))
    poor = rig.sluice.join("b", "o", LossAccount(1000, 50))
    decision = rig.sluice.decide(rich, batch(inbox=32))
    assert isinstance(decision, Thin)
    assert decision.cause is Cause.BACKLOG_THINNED
    assert rig.sluice.decide(poor, batch(inbox=32)) == Admit(Cause.SPARED)


def test_every_batch_is_counted_once_by_its_cause() -> None:
    """The counts by cause add up to all batches, and the lost frames to what decisions cost."""
    rig = Rig()
    place = rig.sluice.join("s", "o", LossAccount(OLD, 0))
    decisions = []
    for number, level in enumerate([0, 0, 60, 60, 80, 80, 80, 0]):
        rig.press(level, 3)
        decisions.append(rig.sluice.decide(place, batch(number, inbox=64 * (number == 7))))
    counted = rig.sluice.statistics()
    assert (counted.batches, counted.frames) == (8, 80)
    assert {cause: count.batches for cause, count in counted.by_cause.items() if count.batches} == {
        cause: sum(d.cause is cause for d in decisions) for cause in {d.cause for d in decisions}
    }
    assert (
        counted.frames_lost
        == place.loss.lost
        == sum(count.frames_lost for count in counted.by_cause.values())
    )


def test_who_leaves_is_forgotten() -> None:
    """A session that left has no place, and a works of its own ends with it."""
    rig = Rig()
    rig.edit("session:s", keep_every=3)
    place = rig.sluice.join("s", "o", LossAccount(0, 0))
    assert rig.sluice.place("s") is place
    assert len(rig.sluice.in_force()) == 2
    rig.sluice.leave(place)
    assert rig.sluice.place("s") is None
    assert [works.sessions for works in rig.sluice.in_force()] == [0]


def test_a_batch_that_is_taken_early_uses_the_promise_up() -> None:
    """Who was thinned before its moment has been taken, and is not taken whole for it as well."""
    rig = Rig()
    place = rig.sluice.join("s", "o", LossAccount(OLD, 0))
    rig.press(80, 3)
    refused = rig.sluice.decide(place, batch(0))
    assert isinstance(refused, Refuse)
    rig.clock.now += refused.retry_after / 2
    assert isinstance(rig.sluice.decide(place, batch(1)), Thin)
    rig.clock.now += refused.retry_after / 2
    assert isinstance(rig.sluice.decide(place, batch(2)), Refuse)


@pytest.mark.parametrize("second", [{"dwell_seconds": 2}, {"loss_percent": 10}, {"keep_every": 3}])
def test_a_second_edit_does_not_take_the_first_one_back(second: dict[str, Any]) -> None:
    """What an edit asks for at once, it asks for after another one before the next reading, too."""
    rig = Rig()
    first, other = (rig.sluice.join(name, "o", LossAccount(OLD, 0)) for name in "ab")
    rig.press(45, 3)
    rig.edit(thin_at=40)
    assert isinstance(rig.sluice.decide(first, batch()), Thin)
    rig.edit(**second)
    assert isinstance(rig.sluice.decide(first, batch(1)), Thin)
    assert isinstance(rig.sluice.decide(other, batch()), Thin)


def test_a_place_shows_until_when_its_client_was_told_to_wait() -> None:
    """From the refusal until a batch is taken; nothing before and after."""
    rig = Rig()
    place = rig.sluice.join("s", "o", LossAccount(OLD, 0))
    assert place.promised_at is None
    rig.press(80, 3)
    refused = rig.sluice.decide(place, batch())
    assert isinstance(refused, Refuse)
    assert place.promised_at == rig.clock.now + refused.retry_after
    rig.clock.now += refused.retry_after
    rig.sluice.decide(place, batch(1))
    assert place.promised_at is None


def test_a_refusal_that_an_operator_forced_does_not_speak_of_overload() -> None:
    """With `refuse_at` at 0 and no stress, its words name the stress and where the rung begins."""
    rig = Rig(thin_at=0, thin_until=0, refuse_at=0, refuse_until=0, loss_percent=100)
    place = rig.sluice.join("s", "o", LossAccount(OLD, 0))
    rig.sluice.follow("s")
    rig.press(0, 3)
    decision = rig.sluice.decide(place, batch())
    assert isinstance(decision, Refuse)
    (entry,) = rig.sluice.log.newest(1, "s")
    assert "overload" not in decision.cause.words + entry.words
    assert "stress has reached refuse_at" in entry.words
    assert "(stress 0, REFUSE from 0;" in entry.words
