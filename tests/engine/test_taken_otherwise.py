from penstock.engine.decisions import Offer
from penstock.engine.ports import MAX_CHUNK_BATCHES
from penstock.engine.taken_otherwise import TakenOtherwise


def _batch(number: int, waiting: int = 0) -> Offer:
    return Offer(10, number * 1000, number * 1000 + 900, 5_000, waiting, 0)


def test_a_batch_is_found_by_its_times_or_by_those_of_a_part_of_it() -> None:
    """Thinning takes frames from both ends; between two batches there is nothing."""
    seen = TakenOtherwise()
    seen.note(_batch(1), 5)
    seen.note(_batch(2), 0)
    assert seen.find(1000, 1900) == 5
    assert seen.find(1100, 1700) == 5
    assert seen.find(2100, 2900) == 0
    assert seen.find(1900, 2000) is None
    assert seen.find(3000, 3900) is None


def test_the_newest_is_found_when_a_client_s_clock_began_anew() -> None:
    """Of two batches of the same time, it is the later one."""
    seen = TakenOtherwise()
    seen.note(_batch(1), 5)
    seen.note(_batch(1), 2)
    assert seen.find(1000, 1900) == 2


def test_what_can_wait_is_remembered_and_no_more() -> None:
    """As many as are in the inbox and with the writer, and the newest."""
    seen = TakenOtherwise()
    for number in range(100):
        seen.note(_batch(number, waiting=4), 1)
    oldest = 100 - (4 + MAX_CHUNK_BATCHES + 1)
    assert seen.find(oldest * 1000, oldest * 1000 + 900) == 1
    assert seen.find((oldest - 1) * 1000, (oldest - 1) * 1000 + 900) is None
