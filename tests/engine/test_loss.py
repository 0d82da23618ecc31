from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.loss import LossAccount
from penstock.engine.outcomes import FrameLedger, Outcome, Reason, Tally
from penstock.engine.policy import DEFAULT_POLICY

CLIENTS_OWN = {
    Reason.CONSENT_REQUIRED,
    Reason.CONSENT_UNKNOWN,
    Reason.RATE_SESSION,
    Reason.RATE_ORG,
    Reason.MALFORMED,
}
events = st.lists(st.tuples(st.sampled_from("tdmlu"), st.integers(1, 30)), max_size=40)


@given(events)
def test_the_account_is_the_sum_of_what_was_entered(series: list[tuple[str, int]]) -> None:
    """Due and lost frames, and the open stretch, are those of a plain list of every frame."""
    account, fates, now = LossAccount(), list[bool](), 0
    told = unsent = 0
    stretch: tuple[int, int] | None = None
    for what, frames in series:
        first, last = now, now + frames - 1
        now += frames
        match what:
            case "t":
                account.take(frames)
                fates += [False] * frames
                stretch = None
            case "d":
                account.take(frames, frames // 2)
                fates += [False] * (frames - frames // 2) + [True] * (frames // 2)
                stretch = None
            case "u":
                account.leave_unsent(frames)
                told += frames
                unsent = max(unsent, min(told, len(fates) // 19))
            case _:
                if what == "m":
                    account.miss(frames, first, last)
                else:  # taken before, lost after all
                    account.due += frames
                    account.lose(frames, first, last)
                fates += [True] * frames
                stretch = (first if stretch is None else stretch[0], last)
        assert account.stretch_ms == (0 if stretch is None else stretch[1] - stretch[0])
    fates += [True] * unsent
    assert (account.due, account.lost) == (len(fates), sum(fates))
    assert (account.unsent, account.came) == (unsent, len(fates) - unsent)
    assert account.share == (sum(fates) / len(fates) if fates else 0.0)


@given(st.dictionaries(st.sampled_from(list(Reason)), st.integers(1, 50)))
def test_a_session_that_goes_on_keeps_its_account(ended: dict[Reason, int]) -> None:
    """From its counts: all that is due but the client's own faults, and all that did not arrive.

    Of what was not sent, as much as the client's word counts for.
    """
    ledger, tally = FrameLedger(), Tally()
    due = lost = told = 0
    for reason, frames in ended.items():
        match reason.outcome:
            case Outcome.REFUSED:
                ledger.refuse(tally, reason, frames)
            case Outcome.UNSENT:
                ledger.leave_unsent(tally, reason, frames)
                told += frames
                continue
            case _:
                ledger.admit(tally, frames)
                ledger.settle(tally, reason, frames)
        if reason not in CLIENTS_OWN:
            due += frames
            lost += 0 if reason.outcome is Outcome.AGGREGATED else frames
    account = LossAccount.of_tally(tally)
    unsent = min(told, due // 19)
    assert (account.due, account.lost) == (due + unsent, lost + unsent)
    assert tally.conserved


@given(st.dictionaries(st.sampled_from(list(Reason)), st.integers(1, 50)))
def test_unsent_frames_travel_in_a_checkpoint_and_break_no_law(ended: dict[Reason, int]) -> None:
    """What a client could not send is kept beside what was seen, and never counted as seen."""
    names = {reason.value: frames for reason, frames in ended.items()}
    tally = Tally.from_plain(names)
    assert tally.conserved
    assert tally.seen + tally.count(Outcome.UNSENT) == sum(ended.values())
    assert {r: tally.frames(r) for r in Reason if tally.frames(r)} == ended
    assert tally.settled().plain() == names


def test_the_budget_is_kept_up_to_its_bound() -> None:
    """5 in 100 and exactly one second are within; one frame or one millisecond more is not."""
    account = LossAccount(100, 5)
    assert not account.over(DEFAULT_POLICY)
    assert LossAccount(100, 6).over(DEFAULT_POLICY)
    account = LossAccount(10_000, 0)
    account.miss(1, 0, 1000)
    assert not account.over(DEFAULT_POLICY)
    account.miss(1, 1001, 1001)
    assert account.over(DEFAULT_POLICY)
    account.take(1)
    assert not account.over(DEFAULT_POLICY)


def test_a_clock_that_begins_anew_hides_no_stretch() -> None:
    """Lost frames before and after a client's clock was reset are one stretch."""
    account = LossAccount()
    account.miss(10, 9_000, 9_900)
    assert account.stretch_with(0, 900) == 9_900


def test_a_copy_is_its_own() -> None:
    """A candidate's account goes its own way."""
    account = LossAccount(10, 1)
    account.lose(1, 5, 9)
    other = account.copy()
    other.take(5)
    assert (account.due, account.lost, account.stretch_ms) == (10, 2, 4)
    assert (other.due, other.lost, other.stretch_ms) == (15, 2, 0)


@given(st.integers(0, 10**5), st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_a_client_s_word_takes_no_session_over_the_default_budget(
    came: int, told: list[int]
) -> None:
    """However often it lies, and however much: a twentieth of what is due, and never over."""
    account = LossAccount(came)
    for frames in told:
        account.leave_unsent(frames)
    assert account.unsent == min(sum(told), came // 19)
    assert account.unsent * 20 <= account.due
    assert not account.over(DEFAULT_POLICY)
    assert account.came == came


def test_what_was_told_too_early_counts_when_enough_has_come() -> None:
    """A copy knows of it too."""
    account = LossAccount(19)
    account.leave_unsent(10)
    assert account.unsent == 1
    other = account.copy()
    other.take(1900)
    other.leave_unsent(1)
    assert (account.unsent, other.unsent) == (1, 11)


def test_no_account_loses_more_than_was_due() -> None:
    """What is reported lost twice over is not more than everything."""
    account = LossAccount(10)
    account.lose(8, 0, 900)
    account.lose(8, 0, 900)
    assert (account.due, account.lost) == (10, 10)


def test_over_by_the_service_leaves_out_what_was_not_sent() -> None:
    """The stretch and the frames that came still count."""
    account = LossAccount(950, 47)
    account.leave_unsent(50)
    assert account.over(DEFAULT_POLICY)
    assert not account.over_by_service(DEFAULT_POLICY)
    account.lose(1, 0, 0)
    assert account.over_by_service(DEFAULT_POLICY)
    gap = LossAccount(10_000)
    gap.miss(1, 0, 1001)
    assert gap.over_by_service(DEFAULT_POLICY)
