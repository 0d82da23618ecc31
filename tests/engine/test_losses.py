import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.losses import MAX_SPANS, LossMap, Span, plain_spans, read_spans, reasons_of
from penstock.engine.outcomes import Reason

DISK, POLICY, NETWORK = Reason.DISK_FULL, Reason.POLICY_REFUSED, Reason.UNSENT_NETWORK
CAMERA = Reason.UNSENT_CAMERA


def test_what_nobody_has_read_lies_before_the_next_batch() -> None:
    """Frames refused unread are placed between the batches around them."""
    losses = LossMap()
    losses.note(NETWORK)  # before the first batch: nobody knows where
    losses.arrived(0, 900)
    losses.note(NETWORK)
    losses.arrived(5000, 5900)
    losses.arrived(6000, 6900)
    assert losses.spans == (Span(900, 5000, NETWORK),)


def test_what_a_client_tells_explains_the_gap_that_its_batch_holds() -> None:
    """Before the batch that tells, inside it, and behind it where it was sent amid a gap."""
    losses = LossMap()
    losses.tell(CAMERA)
    losses.arrived(0, 900)  # the first one: a gap in it
    losses.arrived(1000, 1900)
    losses.tell(CAMERA)
    losses.arrived(2000, 2300)  # sent while the camera was still blind
    losses.arrived(4000, 4900)
    losses.arrived(9000, 9900)  # nobody has told of this one
    gaps = [(100, 800), (2300, 4000), (4900, 9000)]
    assert reasons_of(losses.spans, gaps) == {100: "unsent_camera", 2300: "unsent_camera"}


def test_a_resumed_map_goes_on() -> None:
    """What is noted after a restart lies after the newest frame of before."""
    losses = LossMap((Span(0, 100, DISK),), newest_ms=900)
    losses.note(NETWORK)
    losses.arrived(3000, 3900)
    assert losses.spans == (Span(0, 100, DISK), Span(900, 3000, NETWORK))


def test_an_overlapping_batch_leaves_no_loss() -> None:
    """What was noted before a batch that begins in the past has come after all."""
    losses = LossMap()
    losses.arrived(0, 900)
    losses.note(POLICY)
    losses.arrived(500, 1900)
    assert losses.spans == ()


def test_neighbours_of_one_reason_are_one_span() -> None:
    """Batches lost in a row are one; another reason, or a time between them, is another."""
    losses = LossMap()
    for at in (0, 1000, 2000):
        losses.place(at, at + 900, DISK)
    losses.place(3000, 3900, POLICY)
    losses.place(9000, 9900, POLICY)
    assert losses.spans == (Span(0, 2900, DISK), Span(3000, 3900, POLICY), Span(9000, 9900, POLICY))


def test_the_shortest_gives_way() -> None:
    """The number is bounded, and the long losses, which make the gaps, stay."""
    losses = LossMap()
    for n in range(3 * MAX_SPANS):
        losses.place(10_000 * n, 10_000 * n + 1 + n, DISK)
    assert len(losses.spans) == MAX_SPANS
    assert losses.spans[0].start_ms == 10_000 * 2 * MAX_SPANS


def test_a_gap_has_the_reason_that_explains_most_of_it() -> None:
    """By shared time; a single frame counts; what does not reach into it explains nothing."""
    spans = (
        Span(0, 1000, DISK),  # sent again, and arrived: the gap begins where it ends
        Span(1200, 1300, POLICY),
        Span(1400, 2900, NETWORK),
        Span(5500, 5500, DISK),
        Span(9000, 9900, DISK),
    )
    gaps = [(1000, 3000), (5000, 6000), (7000, 9000)]
    assert reasons_of(spans, gaps) == {1000: "unsent_network", 5000: "disk_full"}


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**4), st.sampled_from(Reason))))
def test_any_map_is_bounded_and_survives_a_checkpoint(
    placed: list[tuple[int, int, Reason]],
) -> None:
    """Whatever is placed, in whatever order, it can be written and read, and stays small."""
    losses = LossMap()
    for start, length, reason in placed:
        losses.place(start, start + length, reason)
    assert len(losses.spans) <= MAX_SPANS
    assert all(span.start_ms <= span.end_ms for span in losses.spans)
    assert read_spans(plain_spans(losses.spans)) == losses.spans


@pytest.mark.parametrize("row", [[0, 1], [0, 1, "no reason"], [0, 1, "used", 4], 7])
def test_a_foreign_row_is_refused(row: object) -> None:
    """What is no span raises what the reader of checkpoints expects."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        read_spans([row])  # type: ignore[list-item]
