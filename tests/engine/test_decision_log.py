from itertools import groupby

from penstock.engine.decision_log import (
    FOLLOWED_ENTRIES,
    FOLLOWED_SECONDS,
    MAX_FOLLOWED,
    SAMPLED_ENTRIES,
    runs_of,
)
from penstock.engine.decisions import Cause, Verdict
from penstock.engine.ladder import Rung
from penstock.engine.loss import LossAccount
from sluice_rig import Rig, batch


def test_a_followed_session_keeps_every_decision_with_what_it_was_made_upon() -> None:
    """Each entry has the cause, the stress, the line, and the account as it was before."""
    rig = Rig()
    place = rig.sluice.join("s", "o", LossAccount(10**6, 10))
    assert rig.sluice.follow("s")
    rig.sluice.decide(place, batch())
    rig.press(80, 3)
    rig.sluice.decide(place, batch(1))
    newest, oldest = rig.sluice.log.newest(10, "s")
    assert (oldest.cause, oldest.inputs.rung, oldest.frames_lost) == (Cause.CALM, Rung.CALM, 0)
    assert (newest.verdict, newest.cause) == (Verdict.REFUSE, Cause.OVERLOAD_REFUSED)
    assert (newest.frames_lost, newest.retry_after) == (10, 1.0)
    inputs = newest.inputs
    assert (inputs.due, inputs.lost, inputs.stretch_ms) == (10**6 + 10, 10, 0)
    assert (inputs.rung, inputs.scopes) == (Rung.REFUSE, ("global",))
    assert inputs.stress == rig.sluice.stress
    assert inputs.waterline == rig.sluice.in_force()[0].waterline > 0
    assert newest.offer == batch(1)
    assert newest.unix == rig.clock.unix()
    assert newest.words.startswith("refused: stress has reached refuse_at")
    assert oldest.words.startswith("taken: nothing is under pressure (stress 0, CALM; lost 0.0 %")


def test_the_sample_is_of_what_was_not_simply_taken_and_is_bounded() -> None:
    """Calm batches leave no trace; of an overload, some entries a reading and never too many."""
    rig = Rig()
    places = [rig.sluice.join(str(n), "o", LossAccount(10**7, 0)) for n in range(50)]
    for place in places:
        rig.sluice.decide(place, batch())
    assert rig.sluice.log.newest(10) == []
    for number in range(1, 200):
        rig.press(80)
        for place in places:
            rig.sluice.decide(place, batch(number))
        assert len(rig.sluice.log.newest(10_000)) <= 5 * number
    entries = rig.sluice.log.newest(10_000)
    assert len(entries) == SAMPLED_ENTRIES
    assert all(entry.verdict is not Verdict.ADMIT for entry in entries)
    assert entries[0].unix > entries[-1].unix


def test_so_many_sessions_are_followed_and_for_so_long() -> None:
    """The seventeenth is turned away until the first ones expire; asking again renews."""
    rig = Rig()
    for number in range(MAX_FOLLOWED):
        assert rig.sluice.follow(str(number))
    assert not rig.sluice.follow("late")
    rig.clock.now += FOLLOWED_SECONDS / 2
    assert rig.sluice.follow("0")
    rig.clock.now += FOLLOWED_SECONDS / 2
    rig.press(0)
    assert rig.sluice.log.follows("0")
    assert not rig.sluice.log.follows("1")
    assert rig.sluice.follow("late")


def test_a_followed_session_keeps_so_many_entries() -> None:
    """The oldest entry gives way, and a limit gives the newest."""
    rig = Rig()
    rig.sluice.follow("s")
    place = rig.sluice.join("s", "o", LossAccount(0, 0))
    for number in range(FOLLOWED_ENTRIES + 5):
        rig.sluice.decide(place, batch(number))
    entries = rig.sluice.log.newest(10_000, "s")
    assert len(entries) == FOLLOWED_ENTRIES
    assert entries[-1].offer == batch(5)
    assert rig.sluice.log.newest(1, "s") == entries[:1]


def test_a_session_that_nobody_follows_any_more_is_decided_on_as_before() -> None:
    """When the following ends, nothing more is written down for calm batches."""
    rig = Rig()
    place = rig.sluice.join("s", "o", LossAccount(0, 0))
    rig.sluice.follow("s")
    rig.sluice.decide(place, batch())
    rig.clock.now += FOLLOWED_SECONDS
    rig.press(0)
    rig.sluice.decide(place, batch(1))
    assert rig.sluice.log.newest(10, "s") == []
    assert place.loss.due == 20


def test_a_session_that_is_not_followed_has_its_part_of_the_sample() -> None:
    """Asked for a session that nobody followed, the log gives what the sample has of it."""
    rig = Rig()
    a, b = (rig.sluice.join(name, "o", LossAccount(10**7, 0)) for name in "ab")
    rig.press(80, 3)
    for number in range(5):
        rig.sluice.decide(a, batch(number))
        rig.sluice.decide(b, batch(number))
        rig.press(80, 1)
    entries = rig.sluice.log.newest(10, "b")
    assert entries
    assert {entry.session_id for entry in entries} == {"b"}


def test_decisions_of_one_cause_in_a_row_are_one_run() -> None:
    """The oldest first, with their times, frames and losses together, and the newest words."""
    rig = Rig()
    place = rig.sluice.join("s", "o", LossAccount(10**6, 10))
    assert rig.sluice.follow("s")
    for number in range(3):
        rig.sluice.decide(place, batch(number))
    rig.press(60, 3)
    for number in range(3, 9):
        rig.sluice.decide(place, batch(number))
        rig.press(60, 1)
    entries = rig.sluice.log.newest(20, "s")
    runs = runs_of(entries)
    groups = [list(group) for _, group in groupby(entries[::-1], lambda entry: entry.cause)]
    assert len(groups) > 1
    for run, group in zip(runs, groups, strict=True):
        assert (run.cause, run.batches) == (group[0].cause, len(group))
        assert run.frames == 10 * len(group)
        assert run.frames_lost == sum(entry.frames_lost for entry in group)
        assert (run.from_ms, run.until_ms) == (group[0].offer.first_ms, group[-1].offer.last_ms)
        assert (run.first_unix, run.last_unix) == (group[0].unix, group[-1].unix)
        assert run.words == group[-1].words
        assert run.costs is bool(run.frames_lost)
    assert runs_of([]) == []
