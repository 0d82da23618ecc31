from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.media.score import (
    WEIGHTS,
    Experience,
    Parts,
    Watching,
    combined,
    experience_of,
)

shares = st.floats(0, 100)
parts = st.builds(Parts, *(st.none() | shares for _ in WEIGHTS))
watchings = st.builds(
    Watching,
    failed=st.booleans(),
    errors=st.integers(0, 20),
    exited_before_start=st.booleans(),
    started=st.booleans(),
    startup_ms=st.none() | st.floats(0, 86_400_000),
    watched_ms=st.integers(0, 10**7),
    stalled_ms=st.integers(0, 10**7),
    stalls=st.integers(0, 1000),
    bitrate_bps=st.none() | st.floats(0, 1e10),
    top_bitrate_bps=st.none() | st.floats(0, 1e10),
    switches_down=st.integers(0, 1000),
)


@pytest.mark.parametrize("name", WEIGHTS)
@given(parts, shares, shares)
def test_no_part_that_rises_lowers_the_score(
    name: str, others: Parts, one: float, another: float
) -> None:
    """The score is monotone in each of its parts."""
    lower = combined(replace(others, **{name: min(one, another)}))
    higher = combined(replace(others, **{name: max(one, another)}))
    assert lower is not None
    assert higher is not None
    assert 0 <= lower <= higher + 1e-9 <= 100 + 1e-9


_WORSE = {
    "errors": st.integers(0, 50),
    "startup_ms": st.floats(0, 1e6),
    "stalls": st.integers(0, 500),
    "switches_down": st.integers(0, 500),
}


@given(watchings, st.data())
def test_nothing_that_gets_worse_raises_the_score(watching: Watching, data: st.DataObject) -> None:
    """More errors, a longer startup, more stalls and more drops never help."""
    name = data.draw(st.sampled_from(sorted(_WORSE)))
    less, more = sorted((data.draw(_WORSE[name]), data.draw(_WORSE[name])))
    better = experience_of(replace(watching, **{name: less})).score
    worse = experience_of(replace(watching, **{name: more})).score
    assert (better is None) == (worse is None)
    if better is not None and worse is not None:
        assert worse <= better


@given(watchings, st.integers(0, 10**6))
def test_time_that_stalls_instead_of_playing_lowers_it(watching: Watching, by: int) -> None:
    """Of the same time, the more of it stalled the worse."""
    by = min(by, watching.watched_ms)
    stalled = replace(
        watching, watched_ms=watching.watched_ms - by, stalled_ms=watching.stalled_ms + by
    )
    better, worse = experience_of(watching).score, experience_of(stalled).score
    assert (better is None) == (worse is None)
    if better is not None and worse is not None:
        assert worse <= better


@given(watchings)
def test_it_is_a_number_from_0_to_100_or_none(watching: Watching) -> None:
    """Whatever was watched, the score and its parts are on their scale."""
    found = experience_of(watching)
    values = [found.score, *(getattr(found.parts, name) for name in WEIGHTS)]
    assert all(value is None or 0 <= value <= 100 for value in values)


def test_what_nothing_is_known_of_has_no_score() -> None:
    """A session that has not begun is not a bad one."""
    unknown = experience_of(Watching(started=False))
    assert unknown == Experience(None, Parts(None, None, None, None))


def test_the_best_is_100_and_a_failure_is_0() -> None:
    """The ends of the scale are reached, and a failure cannot be made up for."""
    best = Watching(startup_ms=0, watched_ms=60_000, bitrate_bps=4e6, top_bitrate_bps=4e6)
    assert experience_of(best).score == 100.0
    assert experience_of(replace(best, failed=True)).score == 0.0


@pytest.mark.parametrize(
    ("watching", "name", "part"),
    [
        (Watching(errors=4), "success", 50.0),
        (Watching(started=False, exited_before_start=True), "success", 50.0),
        (Watching(startup_ms=400), "startup", 95.2),
        (Watching(startup_ms=2000), "startup", 80.0),
        (Watching(startup_ms=8000), "startup", 50.0),
        (Watching(watched_ms=570_000, stalled_ms=30_000), "smoothness", 50.0),
        (Watching(watched_ms=570_000, stalled_ms=30_000, stalls=1), "smoothness", 47.6),
        (Watching(watched_ms=60_000), "smoothness", 100.0),
        (Watching(watched_ms=60_000, stalls=2), "smoothness", 50.0),
        (Watching(watched_ms=2000, stalls=2), "smoothness", 50.0),
        (Watching(watched_ms=1, bitrate_bps=1e6, top_bitrate_bps=4e6), "quality", 50.0),
        (
            Watching(watched_ms=60_000, bitrate_bps=4e6, top_bitrate_bps=4e6, switches_down=4),
            "quality",
            50.0,
        ),
        (Watching(bitrate_bps=1e6), "quality", None),
    ],
)
def test_the_published_examples(watching: Watching, name: str, part: float | None) -> None:
    """The values that the documentation gives are those that come out."""
    assert getattr(experience_of(watching).parts, name) == part


def test_the_weights_are_shares() -> None:
    """They make a whole, and each part has one."""
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert set(WEIGHTS) == set(Parts.__dataclass_fields__)
