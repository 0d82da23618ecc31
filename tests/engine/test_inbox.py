from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.inbox import Arrival, Inbox
from penstock.engine.level import Level

MakeArrival = Callable[..., Arrival]


def test_batches_come_out_as_they_went_in(make_arrival: MakeArrival) -> None:
    """First in, first out, as many at a time as are asked for."""
    inbox = Inbox(Level(), Level())
    arrivals = [make_arrival(1) for _ in range(5)]
    for arrival in arrivals:
        inbox.put_nowait(arrival)
    assert inbox.take_nowait(2) == arrivals[:2]
    assert inbox.take_nowait(99) == arrivals[2:]
    assert inbox.take_nowait(99) == []


@given(st.lists(st.one_of(st.integers(1, 6), st.integers(-4, 0)), max_size=40))
def test_the_books_are_those_of_a_plain_list(make_arrival: MakeArrival, steps: list[int]) -> None:
    """Whatever is put and taken, the counts and the shared level are those of what is inside."""
    sizes = {frames: make_arrival(frames).batch.held_bytes for frames in range(1, 7)}
    total, waiting = Level(), Level()
    inbox, inside = Inbox(total, waiting), list[int]()
    for step in steps:
        if step > 0:
            inbox.put_nowait(make_arrival(step))
            inside.append(step)
        else:
            taken = [arrival.batch.frame_count for arrival in inbox.take_nowait(-step)]
            assert taken == inside[:-step]
            del inside[:-step]
        assert inbox.held_batches == waiting.held == len(inside)
        assert inbox.held_bytes == total.held == sum(sizes[n] for n in inside)
