from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.inbox import Arrival, Inbox, InboxFullError
from penstock.engine.level import Level

MakeArrival = Callable[..., Arrival]


def test_batches_come_out_as_they_went_in(make_arrival: MakeArrival) -> None:
    """First in, first out, as many at a time as are asked for."""
    inbox = Inbox(10, 1 << 20, Level())
    arrivals = [make_arrival(1) for _ in range(5)]
    for arrival in arrivals:
        inbox.put_nowait(arrival)
    assert inbox.take_nowait(2) == arrivals[:2]
    assert inbox.take_nowait(99) == arrivals[2:]
    assert inbox.take_nowait(99) == []


def test_one_batch_too_many_is_refused_and_nothing_changes(make_arrival: MakeArrival) -> None:
    """The bound in batches names its setting, its limit and what was seen; the rest stays."""
    level = Level()
    inbox = Inbox(2, 1 << 20, level)
    kept = [make_arrival(1), make_arrival(2)]
    for arrival in kept:
        inbox.put_nowait(arrival)
    before = (inbox.held_batches, inbox.held_bytes, level.held)
    with pytest.raises(InboxFullError) as full:
        inbox.put_nowait(make_arrival(3))
    assert (full.value.setting, full.value.limit, full.value.seen) == ("inbox_batches", 2, 3)
    assert (inbox.held_batches, inbox.held_bytes, level.held) == before
    assert inbox.take_nowait(9) == kept


def test_one_byte_too_many_is_refused_and_nothing_changes(make_arrival: MakeArrival) -> None:
    """The bound in bytes is met exactly and not passed, however few batches there are."""
    first, second = make_arrival(3), make_arrival(3)
    size = first.batch.held_bytes
    level = Level()
    inbox = Inbox(10, 2 * size - 1, level)
    inbox.put_nowait(first)
    with pytest.raises(InboxFullError) as full:
        inbox.put_nowait(second)
    assert (full.value.setting, full.value.limit, full.value.seen) == (
        "inbox_bytes",
        2 * size - 1,
        2 * size,
    )
    assert (inbox.held_batches, inbox.held_bytes, level.held) == (1, size, size)
    Inbox(10, size, level).put_nowait(second)


@given(st.lists(st.one_of(st.integers(1, 6), st.integers(-4, 0)), max_size=40))
def test_the_books_are_those_of_a_plain_list(make_arrival: MakeArrival, steps: list[int]) -> None:
    """Whatever is put and taken, the counts and the shared level are those of what is inside."""
    sizes = {frames: make_arrival(frames).batch.held_bytes for frames in range(1, 7)}
    most = sizes[6] * 2
    level = Level()
    inbox, inside = Inbox(4, most, level), list[int]()
    for step in steps:
        if step > 0:
            fits = len(inside) < 4 and sum(sizes[n] for n in inside) + sizes[step] <= most
            try:
                inbox.put_nowait(make_arrival(step))
            except InboxFullError:
                assert not fits
            else:
                assert fits
                inside.append(step)
        else:
            taken = [arrival.batch.frame_count for arrival in inbox.take_nowait(-step)]
            assert taken == inside[:-step]
            del inside[:-step]
        assert inbox.held_batches == len(inside)
        assert inbox.held_bytes == level.held == sum(sizes[n] for n in inside)
