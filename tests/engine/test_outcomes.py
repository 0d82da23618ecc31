import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.engine.outcomes import FrameLedger, Outcome, Reason, Tally

refusals = [reason for reason in Reason if reason.outcome is Outcome.REFUSED]
unsent = [reason for reason in Reason if reason.outcome is Outcome.UNSENT]
endings = [reason for reason in Reason if reason not in (*refusals, *unsent)]
sessions = st.sampled_from(["a", "b", "c"])
frames = st.integers(0, 30)


class Conservation(RuleBasedStateMachine):
    """Frames of three sessions go every way there is, next to a plain list of where each is."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = FrameLedger()
        self.tallies = {name: Tally() for name in "abc"}
        self.waiting = dict.fromkeys("abc", 0)
        self.ended: list[tuple[str | None, Reason]] = []
        self.unsent: list[tuple[str, Reason]] = []

    @rule(name=sessions, count=frames)
    def admit(self, name: str, count: int) -> None:
        self.ledger.admit(self.tallies[name], count)
        self.waiting[name] += count

    @rule(name=st.none() | sessions, reason=st.sampled_from(refusals), count=frames)
    def refuse(self, name: str | None, reason: Reason, count: int) -> None:
        self.ledger.refuse(None if name is None else self.tallies[name], reason, count)
        self.ended += [(name, reason)] * count

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data(), reason=st.sampled_from(endings))
    def settle(self, data: st.DataObject, reason: Reason) -> None:
        name = data.draw(st.sampled_from([n for n, count in self.waiting.items() if count]))
        count = data.draw(st.integers(0, self.waiting[name]))
        self.ledger.settle(self.tallies[name], reason, count)
        self.waiting[name] -= count
        self.ended += [(name, reason)] * count

    @rule(name=sessions, reason=st.sampled_from(unsent), count=frames)
    def leave_unsent(self, name: str, reason: Reason, count: int) -> None:
        self.ledger.leave_unsent(self.tallies[name], reason, count)
        self.unsent += [(name, reason)] * count

    @rule(name=sessions)
    def resume_from_a_checkpoint(self, name: str) -> None:
        tally = self.tallies[name]
        settled = tally.settled()
        assert settled.pending == 0
        assert settled.conserved
        again = Tally.from_plain(settled.plain())
        assert (again.seen, again.pending) == (settled.seen, 0)
        assert {r: again.frames(r) for r in Reason} == {r: tally.frames(r) for r in Reason}

    @invariant()
    def the_law_holds_everywhere(self) -> None:
        for name, tally in self.tallies.items():
            mine = [reason for owner, reason in self.ended if owner == name]
            unsent = [reason for owner, reason in self.unsent if owner == name]
            self._matches(tally, mine, unsent, self.waiting[name])
        everything = [reason for _, reason in self.ended]
        unsent = [reason for _, reason in self.unsent]
        self._matches(self.ledger.process, everything, unsent, sum(self.waiting.values()))

    @staticmethod
    def _matches(tally: Tally, ended: list[Reason], unsent: list[Reason], waiting: int) -> None:
        assert tally.conserved
        assert tally.pending == waiting
        assert tally.seen == len(ended) + waiting
        for outcome in Outcome:
            assert tally.count(outcome) == sum(
                reason.outcome is outcome for reason in (*ended, *unsent)
            )
        for reason in Reason:
            assert tally.frames(reason) == (*ended, *unsent).count(reason)


class TestConservation(Conservation.TestCase):
    """For each session and the process: seen = ended by reason + pending, after every step."""


@pytest.mark.parametrize(
    "broken", [Tally(seen=1), Tally(pending=-1, seen=-1), Tally(ended={Reason.USED: 1})]
)
def test_a_broken_tally_is_noticed(broken: Tally) -> None:
    """`conserved` is false where a frame is missing or doubled, or fewer than none wait."""
    assert not broken.conserved


def test_reasons_say_their_outcome_and_meaning() -> None:
    """Each reason is its code, belongs to one outcome and is explained in a sentence."""
    for reason in Reason:
        assert Reason(reason.value) is reason
        assert f"{reason}" == reason.value
        assert reason.outcome in Outcome
        assert reason.meaning.endswith(".")
    assert len({reason.meaning for reason in Reason}) == len(Reason)


def test_a_settled_copy_is_its_own() -> None:
    """Counting on after a checkpoint does not change what the checkpoint says."""
    ledger, tally = FrameLedger(), Tally()
    ledger.admit(tally, 5)
    ledger.settle(tally, Reason.USED, 3)
    settled = tally.settled()
    ledger.settle(tally, Reason.USED, 2)
    assert settled == Tally(3, 0, {Reason.USED: 3})


def test_an_unknown_reason_is_an_error() -> None:
    """A checkpoint with a reason that this version does not know is not half understood."""
    with pytest.raises(KeyError, match="no such reason"):
        Tally.from_plain({"no such reason": 1})
