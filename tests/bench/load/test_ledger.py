from hypothesis import given
from hypothesis import strategies as st

from penstock.bench.load.ledger import SessionLedger
from penstock.engine.wire import LANDMARK_BYTES_PER_FRAME

# What becomes of a batch: the answer that comes, and whether the server took the frames.
FATES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "accepted",
                "thinned",
                "refused",
                "lost",
                "lost but taken",
                "failed",
                "failed but taken",
            ]
        ),
        st.integers(1, 30),
    )
)


def _send(ledger: SessionLedger, fate: str, frames: int, position: int) -> tuple[int, str | None]:
    """Let one batch meet its fate; give the server's position after it, and what is told."""
    taken = frames if fate == "accepted" or fate.endswith("taken") else 0
    if fate == "thinned":
        taken = (frames + 1) // 2
    position += taken * LANDMARK_BYTES_PER_FRAME
    ledger.count_sent(frames)
    if fate == "accepted":
        return position, ledger.count_accepted(frames, frames, position)
    if fate == "thinned":
        return position, ledger.count_accepted(frames, taken, position)
    if fate.startswith("lost"):
        ledger.count_unanswered(frames)
    else:
        ledger.count_refused(frames, certain=fate == "refused")
    return position, None


@given(FATES, st.booleans(), st.integers(0, 1000))
def test_a_server_that_keeps_its_word_is_never_blamed(
    fates: list[tuple[str, int]],
    fresh: bool,  # noqa: FBT001  hypothesis gives it
    before: int,
) -> None:
    """Whatever is lost on the way, a position that counts what was taken is right."""
    ledger = SessionLedger(fresh=fresh)
    position = 0 if fresh else before * LANDMARK_BYTES_PER_FRAME
    for fate, frames in fates:
        position, told = _send(ledger, fate, frames, position)
        assert told is None


@given(FATES)
def test_frames_are_conserved(fates: list[tuple[str, int]]) -> None:
    """Every frame sent is accepted, thinned, refused or unanswered."""
    ledger = SessionLedger(fresh=True)
    position = 0
    for fate, frames in fates:
        position, _ = _send(ledger, fate, frames, position)
    settled = ledger.accepted + ledger.thinned + ledger.refused + ledger.unanswered
    assert ledger.sent == settled
    assert ledger.sent == sum(frames for _, frames in fates)


@given(
    st.lists(st.tuples(st.sampled_from(["accepted", "refused"]), st.integers(1, 30))),
    st.lists(st.integers(1, 30), min_size=1, max_size=5),
    st.booleans(),
)
def test_each_silent_drop_is_told_once(
    before: list[tuple[str, int]],
    drops: list[int],
    fresh: bool,  # noqa: FBT001  hypothesis gives it
) -> None:
    """A 202 whose frames the position does not show is told; batches after it are right again."""
    ledger = SessionLedger(fresh=fresh)
    position, _ = _send(ledger, "accepted", 10, 0)
    for fate, frames in before:
        position, _ = _send(ledger, fate, frames, position)
    for frames in drops:
        ledger.count_sent(frames)
        told = ledger.count_accepted(frames, frames, position)
        assert told is not None
        assert str(position) in told
        position, after = _send(ledger, "accepted", 10, position)
        assert after is None


@given(st.integers(1, 20), st.integers(1, 30))
def test_a_drop_is_told_although_an_earlier_batch_is_in_doubt(lost: int, dropped: int) -> None:
    """Doubt that a position has settled excuses nothing that is dropped afterwards."""
    ledger = SessionLedger(fresh=True)
    position, _ = _send(ledger, "lost but taken", lost, 0)
    position, _ = _send(ledger, "accepted", 10, position)
    ledger.count_sent(dropped)
    assert ledger.count_accepted(dropped, dropped, position) is not None


@given(st.integers(1, 527))
def test_a_position_between_frames_is_wrong(odd: int) -> None:
    """No doubt about whole frames explains a part of one."""
    ledger = SessionLedger(fresh=True)
    _send(ledger, "lost", 10, 0)
    ledger.count_sent(10)
    told = ledger.count_accepted(10, 10, 10 * LANDMARK_BYTES_PER_FRAME + odd)
    assert told is not None


@given(st.integers(1, 20), st.integers(-5, 40))
def test_a_claim_of_other_frames_is_told(sent: int, claimed: int) -> None:
    """An answer for more frames than were sent, or for none, is told; what it lacks is thinned."""
    ledger = SessionLedger(fresh=True)
    ledger.count_sent(sent)
    told = ledger.count_accepted(sent, claimed, claimed * LANDMARK_BYTES_PER_FRAME)
    assert (told is None) == (0 < claimed <= sent)
    assert ledger.sent == ledger.accepted + ledger.thinned
    assert 0 <= ledger.accepted <= sent
