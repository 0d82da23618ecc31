from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_session import any_session, few, told
from penstock.engine.media.clock import course_of
from penstock.engine.media.events import MediaEvent
from penstock.engine.media.playback import Playback, Stall, Stretch, Stretches, playback_of


def playback(*events: MediaEvent) -> Playback:
    """Find the playback of events, of which there are some."""
    course = course_of(events)
    assert course is not None
    return playback_of(course.placed)


def run(text: str, *, end: int = 100_000) -> Playback:
    """Play a session written as "play@0 buffering_start@5"; times are seconds."""
    events = []
    for word in text.split():
        kind, _, rest = word.partition("@")
        at, _, said = rest.partition("=")
        data: dict[str, Any] = {}
        if kind == "buffering_end" and said:
            data["duration_ms"] = 1000 * float(said)
        if kind == "heartbeat" and said:
            data["playing"] = said == "yes"
        if kind == "error" and said:
            data["fatal"] = said == "fatal"
        events.append(told(kind, round(1000 * float(at)), **data))
    return playback(told("session_start", 0), *events, told("session_end", end))


def seconds(stretches: tuple[Stretch, ...]) -> list[tuple[float, float]]:
    """Give stretches in seconds."""
    return [(start / 1000, end / 1000) for start, end in stretches]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("", []),
        ("play@1", [(1, 100)]),
        ("play@1 pause@9 play@20", [(1, 9), (20, 100)]),
        ("play@1 play@5 pause@9 pause@10", [(1, 9)]),
        ("pause@9", []),
        ("play@1 error@9", [(1, 9)]),
        ("play@1 error@9=mild", [(1, 100)]),
        # Nothing but heartbeats: the first shows that it plays. Then there are none for long.
        ("heartbeat@10 heartbeat@20", [(10, 30)]),
        ("heartbeat@10=no heartbeat@20=yes heartbeat@30=no", [(20, 30)]),
        # A late heartbeat that says nothing does not undo a pause.
        ("play@1 pause@9 heartbeat@10", [(1, 9)]),
        ("play@1 pause@9 heartbeat@10=yes heartbeat@20=no", [(1, 9), (10, 20)]),
    ],
)
def test_when_it_should_have_played(text: str, spans: list[tuple[float, float]]) -> None:
    """What plays and what stops is told by several kinds of events, some of them missing."""
    found = seconds(run(text).spans)
    # Zero-length rests after a silence say nothing.
    assert [span for span in found if span[0] < span[1]] == spans


@pytest.mark.parametrize(
    ("text", "stalls"),
    [
        ("buffering_start@5 buffering_end@7", [(5, 7, False)]),
        # Duplicates with another time: one stall.
        ("buffering_start@5 buffering_start@6 buffering_end@7", [(5, 7, False)]),
        ("buffering_start@5 buffering_end@7 buffering_end@8", [(5, 7, False)]),
        # Two stalls that follow each other at once.
        (
            "buffering_start@5 buffering_end@7 buffering_start@7 buffering_end@9",
            [(5, 7, False), (7, 9, False)],
        ),
        # A missing end: over with the next sign of life.
        ("buffering_start@5 milestone@8", [(5, 8, True)]),
        ("buffering_start@5 seek@8 heartbeat@9=yes", [(5, 9, True)]),
        ("buffering_start@5 pause@8", [(5, 8, True)]),
        (
            "buffering_start@5 milestone@8 buffering_start@10 buffering_end@11",
            [(5, 8, True), (10, 11, False)],
        ),
        ("buffering_start@5", [(5, 100, True)]),
        # A heartbeat within a stall does not end it, if its end was told.
        ("buffering_start@5 heartbeat@8=yes buffering_end@9", [(5, 9, False)]),
        # A missing start: the end tells how long it was.
        ("buffering_end@9=2.5", [(6.5, 9, True)]),
        ("buffering_start@5 buffering_end@8 buffering_end@9=3", [(5, 8, False), (8, 9, True)]),
        # An end and a start are missing between two that are not one stall's.
        (
            "buffering_start@5 heartbeat@8=yes buffering_end@20=3",
            [(5, 8, True), (17, 20, True)],
        ),
        # Before the first frame it starts up, and while it is paused nobody waits.
        ("buffering_start@0.2 buffering_end@1.5", [(1, 1.5, False)]),
        ("pause@6 buffering_start@7 buffering_end@8", []),
        ("buffering_start@5 pause@6 play@8 buffering_end@9", [(5, 6, False), (8, 9, False)]),
    ],
)
def test_when_it_stalled(text: str, stalls: list[tuple[float, float, bool]]) -> None:
    """Starts and ends are paired; what is missing is made up for, and says so."""
    found = run(f"play@1 {text}").stalls
    assert [(s.start_ms / 1000, s.end_ms / 1000, s.inferred) for s in found] == stalls


def test_a_stall_that_a_pause_splits_is_one() -> None:
    """What is counted are stalls, not their pieces."""
    found = run("play@1 buffering_start@5 pause@6 play@8 buffering_end@9")
    assert (len(found.stalls), found.stall_count) == (2, 1)


def test_an_end_that_says_nothing_is_counted_apart() -> None:
    """An end without a start and a duration is no stall, and is not forgotten."""
    found = run("play@1 buffering_end@9")
    assert (found.stalls, found.stall_count, found.unpaired) == ((), 0, 1)


def test_a_stall_within_one_millisecond_is_a_stall() -> None:
    """It lasted for no time, but it was told."""
    found = run("play@1 buffering_start@5 buffering_end@5")
    assert (found.stalls, found.stall_count) == ((Stall(5000, 5000, inferred=False),), 1)


def test_silence_is_not_watching() -> None:
    """A client that has gone, and comes back an hour later, has not watched in between."""
    found = run("play@0 heartbeat@10 heartbeat@20 heartbeat@3620 pause@3625", end=3_700_000)
    assert seconds(found.spans) == [(0, 30), (3620, 3625)]
    assert found.heartbeats_missed == 359


def test_a_long_stall_is_no_silence() -> None:
    """Between the ends that the client told nothing plays, but it should have."""
    found = run("play@0 heartbeat@10 buffering_start@12 buffering_end@92 pause@95")
    assert seconds(found.spans) == [(0, 95)]
    assert found.stalls == (Stall(12_000, 92_000, inferred=False),)


@pytest.mark.parametrize(
    ("text", "missed"),
    [
        ("play@0 heartbeat@10 heartbeat@20 heartbeat@30 pause@40", 0),
        ("play@0 heartbeat@10.4 heartbeat@20.9 heartbeat@31.4 pause@41", 0),  # it drifts
        ("play@0 heartbeat@10 heartbeat@30 pause@34", 1),
        ("play@0 heartbeat@10 heartbeat@29.6 pause@34", 1),  # the one after came early
        ("play@0 heartbeat@10 pause@24", 0),  # it may be late by half an interval
        ("play@0 heartbeat@10 pause@26", 1),
        ("play@0 heartbeat@10 heartbeat@20 pause@40", 1),
        ("play@0 heartbeat@10 pause@12 play@90 pause@99", 0),  # nobody expects any in a pause
        ("play@0 pause@90", None),  # this client sends none
    ],
)
def test_heartbeats_that_did_not_come(text: str, missed: int | None) -> None:
    """They are missed while it should have played, and only of clients that send them."""
    assert run(text).heartbeats_missed == missed


_TIMES = st.lists(st.integers(0, 60), unique=True, max_size=8).map(sorted)


@given(_TIMES, _TIMES)
def test_times_are_those_of_a_clock_that_looks_every_millisecond(
    switches: list[int], buffering: list[int]
) -> None:
    """With all events there, watched and stalled time are what counting milliseconds gives."""
    kinds = ("play", "pause"), ("buffering_start", "buffering_end")
    buffering = buffering[: len(buffering) // 2 * 2]
    events = [
        told(names[index % 2], at)
        for names, times in zip(kinds, (switches, buffering), strict=True)
        for index, at in enumerate(times)
    ]
    found = playback(told("session_start", 0), *events, told("session_end", 70))
    watched = stalled = 0
    for at in range(70):
        if sum(time <= at for time in switches) % 2:
            if sum(time <= at for time in buffering) % 2:
                stalled += 1
            else:
                watched += 1
    assert sum(end - start for start, end in found.watched) == watched
    assert sum(stall.end_ms - stall.start_ms for stall in found.stalls) == stalled


@few
@given(any_session)
def test_whatever_comes_the_parts_fit(events: list[MediaEvent]) -> None:
    """Spans do not overlap, stalls lie within them, and the watched time is all that is left."""
    found = playback(*events)
    for stretches in (found.spans, found.watched, found.stalls):
        assert all(stretch[0] <= stretch[1] for stretch in stretches)
        assert all(before[1] <= after[0] for before, after in pairwise(stretches))
    for stall in found.stalls:
        assert any(s.start_ms <= stall.start_ms and stall.end_ms <= s.end_ms for s in found.spans)
    length = sum(end - start for start, end in found.spans)
    parts = sum(end - start for start, end in found.watched)
    assert parts + sum(stall.end_ms - stall.start_ms for stall in found.stalls) == length
    assert found.stall_count <= len(found.stalls)


@given(_TIMES.map(lambda times: times[: len(times) // 2 * 2]), st.integers(-5, 70))
def test_stretches_know_the_time_before_a_moment(times: list[int], at: int) -> None:
    """The quick sum is the slow one."""
    stretches = [Stretch(*pair) for pair in zip(times[::2], times[1::2], strict=True)]
    slow = sum(start <= ms < end for start, end in stretches for ms in range(min(at, 70)))
    assert Stretches(stretches).before(at) == slow
