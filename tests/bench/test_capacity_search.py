import math
from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bench.capacity_search import CapacitySearch, Certainty, Found

# Whether a trial at a rate passes.
Server = Callable[[float], bool]


def _search(
    server: Server, *, start: float = 1000, precision: float = 0.05, trials: int = 16
) -> tuple[Found, list[float]]:
    search = CapacitySearch(start=start, precision=precision, most_trials=trials)
    tried: list[float] = []
    while (rate := search.next_rate()) is not None:
        tried.append(rate)
        search.tell(rate, passed=server(rate))
    return search.result(), tried


def _noisy(random: Random, capacity: Callable[[], float], spread: float) -> Server:
    def passes(rate: float) -> bool:
        if random.random() < 0.02:
            return random.random() < 0.5
        return random.random() < 1 / (1 + math.exp((math.log(rate / capacity())) / spread))

    return passes


def test_the_interval_holds_the_true_capacity() -> None:
    """What is called 90 % sure is right in at least 85 % of searches of noisy servers."""
    random = Random(7)  # noqa: S311  noise, not secrets
    right = trials = 0
    for _ in range(200):
        capacity = math.exp(random.uniform(math.log(300), math.log(60_000)))
        spread = random.choice([0.01, 0.02, 0.05, 0.1])
        found, tried = _search(_noisy(random, lambda: capacity, spread))  # noqa: B023  used in this turn only
        right += found.low <= capacity <= found.high
        trials += len(tried)
    assert right >= 170
    assert trials < 200 * 16


def test_the_safe_rate_is_held_in_nine_of_ten_runs() -> None:
    """Over many noisy servers the safe rate is held about as often as it says."""
    random = Random(11)  # noqa: S311  noise, not secrets
    held = 0
    for _ in range(200):
        capacity = math.exp(random.uniform(math.log(2000), math.log(20_000)))
        server = _noisy(random, lambda: capacity, random.choice([0.01, 0.04, 0.1]))  # noqa: B023
        found, _ = _search(server)
        held += server(found.safe_rate)
    assert held >= 170


@given(st.floats(2, 1e6), st.floats(10, 1e5))
def test_a_server_without_noise_is_found_precisely(capacity: float, start: float) -> None:
    """A server that always holds what is below its capacity is found within the precision."""
    found, tried = _search(lambda rate: rate <= capacity, start=start, trials=60)
    assert found.certainty is Certainty.FOUND
    assert found.precise
    assert found.low <= capacity <= found.high
    assert found.rate == pytest.approx(capacity, rel=0.06)
    assert len(tried) < 40


def test_more_noise_is_less_sure_of_what_is_safe() -> None:
    """Outcomes that contradict each other widen the interval and lower the safe rate."""
    steady, shaky = (CapacitySearch(start=1000, precision=0.05, most_trials=99) for _ in range(2))
    for search in (steady, shaky):
        for rate in (1000, 1400, 1500):
            search.tell(rate, passed=True)
        for rate in (1700, 1800, 2000):
            search.tell(rate, passed=False)
    shaky.tell(1500, passed=False)
    shaky.tell(1700, passed=True)
    sure, unsure = steady.result(), shaky.result()
    assert unsure.high - unsure.low > sure.high - sure.low
    assert unsure.safe_rate < sure.safe_rate < sure.rate


def test_one_lapse_does_not_decide() -> None:
    """A pass far above the capacity, once, is outvoted by the trials that follow."""
    lapses = iter([True])

    def server(rate: float) -> bool:
        return next(lapses, False) if rate > 6000 else rate <= 3000

    found, _ = _search(server, trials=24)
    assert found.rate == pytest.approx(3000, rel=0.1)


def test_a_server_that_drifts_is_found_where_it_was() -> None:
    """A capacity that falls by a tenth during the search gives a rate from within its range."""
    random = Random(3)  # noqa: S311  noise, not secrets

    def falling() -> Iterator[float]:
        for turn in range(1000):
            yield 10_000 * max(0.9, 1 - turn / 160)

    within = 0
    for _ in range(50):
        course = falling()
        found, _ = _search(_noisy(random, lambda: next(course), 0.02))  # noqa: B023
        within += 0.95 * 9000 <= found.rate <= 1.05 * 10_000
    assert within >= 43


def test_a_server_that_holds_everything_is_bounded_by_the_harness() -> None:
    """When only the harness gives out, the answer is "at least", close to what it could try."""
    search = CapacitySearch(start=1000, precision=0.05, most_trials=16)
    while (rate := search.next_rate()) is not None:
        if rate > 30_000:
            search.void(rate)
        else:
            search.tell(rate, passed=True)
    found = search.result()
    assert found.certainty is Certainty.AT_LEAST
    assert 0.85 * 30_000 < found.rate == found.low == found.safe_rate <= 30_000
    assert found.high == search.limit > 30_000


def test_a_server_that_always_holds_ends_the_search() -> None:
    """Without any failure the trials run out, and the highest rate held is the answer."""
    found, tried = _search(lambda _: True, trials=5)
    assert tried == [1000, 2000, 4000, 8000, 16_000]
    assert (found.certainty, found.rate) == (Certainty.AT_LEAST, 16_000)


def test_a_server_that_never_holds_ends_the_search() -> None:
    """Without any pass the rate falls until it means nothing, and the answer is "below"."""
    found, tried = _search(lambda _: False, start=8, trials=99)
    assert tried == [8, 4, 2, 1]
    assert (found.certainty, found.rate, found.low) == (Certainty.BELOW, 1, 0)


def test_nothing_is_known_without_a_trial() -> None:
    """A harness that cannot try anything leaves the capacity unknown."""
    search = CapacitySearch(start=4, precision=0.05, most_trials=10)
    while (rate := search.next_rate()) is not None:
        search.void(rate)
    assert search.result().certainty is Certainty.UNKNOWN


def test_a_limit_of_the_harness_is_kept() -> None:
    """After a void trial no rate as high is asked for, also when the search closes in."""
    search = CapacitySearch(start=1000, precision=0.01, most_trials=30)
    search.tell(1000, passed=True)
    search.void(1300)
    while (rate := search.next_rate()) is not None:
        assert rate < 1300
        search.tell(rate, passed=rate < 1200)
    assert search.result().rate == pytest.approx(1200, rel=0.03)


def test_an_accident_of_the_harness_is_no_limit() -> None:
    """A void trial below a rate that the harness has managed is tried again."""
    search = CapacitySearch(start=1000, precision=0.05, most_trials=30)
    search.tell(1000, passed=True)
    search.tell(2000, passed=False)
    rate = search.next_rate()
    assert rate is not None
    search.void(rate)
    assert search.next_rate() == rate
    assert search.limit == math.inf


@pytest.mark.parametrize(
    "wrong", [{"start": 0.5}, {"precision": 0.0}, {"precision": 1.0}, {"most_trials": 0}]
)
def test_a_search_needs_sensible_arguments(wrong: dict[str, float]) -> None:
    """A search that could never end or find anything is refused when it is made."""
    arguments = {"start": 100.0, "precision": 0.05, "most_trials": 5} | wrong
    with pytest.raises(ValueError, match="a search needs"):
        CapacitySearch(**arguments)  # type: ignore[arg-type]
