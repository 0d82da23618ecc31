from typing import Any

import pytest

from media_session import told
from penstock.engine.media.clock import course_of
from penstock.engine.media.events import MediaEvent
from penstock.engine.media.playback import Stretch
from penstock.engine.media.renditions import Renditions, height_of, renditions_of


def renditions(*events: MediaEvent, watched: tuple[tuple[int, int], ...] = ()) -> Renditions:
    """Follow the renditions of events over some watched time."""
    course = course_of(events)
    assert course is not None
    return renditions_of(course.placed, [Stretch(*pair) for pair in watched])


def change(at: int, **data: Any) -> MediaEvent:
    """Make a change of quality."""
    return told("quality_change", at, **data)


def test_a_bitrate_weighs_as_long_as_it_was_watched() -> None:
    """What was shown in a pause weighs nothing, and the mean of the choices is another number."""
    found = renditions(
        told("session_start", 0, initial_bitrate=1000.0),
        change(100, to_bitrate=4000.0),
        change(200, to_bitrate=7000.0),
        watched=((0, 100), (100, 150), (200, 250)),
    )
    assert found.average_bps == 4000.0
    assert found.time_weighted_bps == (1000 * 100 + 4000 * 50 + 7000 * 50) / 200


def test_time_before_the_first_known_bitrate_weighs_nothing() -> None:
    """Nobody knows what was shown then."""
    found = renditions(told("play", 0), change(50, to_bitrate=8.0), watched=((0, 100),))
    assert found.time_weighted_bps == 8.0


def test_the_first_change_tells_what_was_before() -> None:
    """`from_bitrate` is what was shown since the beginning."""
    event = change(50, from_bitrate=2.0, to_bitrate=8.0)
    found = renditions(told("play", 0), event, watched=((0, 100),))
    assert found.time_weighted_bps == 5.0


def test_without_choices_the_heartbeats_tell() -> None:
    """A client that tells what is shown, but never why, has an average all the same."""
    beats = [told("heartbeat", at, bitrate=rate) for at, rate in ((0, 1.0), (50, 3.0))]
    assert renditions(*beats, watched=((0, 100),)) == Renditions(2.0, 2.0, None, 0, 0)


def test_heartbeats_do_not_count_as_choices() -> None:
    """What they see weighs with time, but a rendition is no better for being looked at often."""
    beats = [told("heartbeat", at, bitrate=3.0) for at in (50, 60, 70)]
    found = renditions(told("session_start", 0, initial_bitrate=1.0), *beats, watched=((0, 100),))
    assert (found.average_bps, found.time_weighted_bps) == (1.0, 2.0)


def test_what_nobody_told_is_none() -> None:
    """No bitrate is not a bitrate of 0, and what was never watched has no weight."""
    assert renditions(told("play", 0)) == Renditions(None, None, None, 0, 0)
    assert renditions(told("session_start", 0, initial_bitrate=5.0)).time_weighted_bps is None


@pytest.mark.parametrize(
    ("data", "up", "down"),
    [
        ({"to_bitrate": 9.0}, 1, 0),
        ({"to_bitrate": 1.0}, 0, 1),
        ({"to_bitrate": 5.0}, 0, 0),
        ({"from_bitrate": 20.0, "to_bitrate": 9.0}, 0, 1),
        ({"to_resolution": "1080p"}, 1, 0),
        ({"to_resolution": "640x360"}, 0, 1),
        ({"from_resolution": "1080p", "to_resolution": "720p"}, 0, 1),
        ({"to_resolution": "720p"}, 0, 0),
        ({}, 0, 0),
    ],
)
def test_which_way_a_switch_goes(data: dict[str, Any], up: int, down: int) -> None:
    """By bitrate, else by height; from what the event says, else from what was shown."""
    start = told("session_start", 0, initial_bitrate=5.0, initial_resolution="720p")
    found = renditions(start, change(10, **data))
    assert (found.switches_up, found.switches_down) == (up, down)


def test_a_switch_to_an_unknown_bitrate_ends_the_known_one() -> None:
    """Once only the height is known, the old bitrate is not taken for the new one."""
    found = renditions(
        told("session_start", 0, initial_bitrate=5.0, initial_resolution="720p"),
        change(50, to_resolution="360p"),
        change(60, to_bitrate=4.0),
        watched=((0, 100),),
    )
    assert (found.switches_up, found.switches_down) == (0, 1)
    assert found.time_weighted_bps == (5.0 * 50 + 4.0 * 40) / 90


def test_the_top_is_the_highest_that_was_told() -> None:
    """A later manifest may know more."""
    events = [change(at, top_bitrate=top) for at, top in ((0, 3.0), (1, 9.0), (2, 4.0))]
    assert renditions(*events).top_bps == 9.0


@pytest.mark.parametrize(
    ("text", "height"),
    [("720p", 720), ("1280x720", 720), ("720", 720), ("0p", None), ("hd", None), ("x720", None)],
)
def test_resolutions_are_read(text: str, height: int | None) -> None:
    """Both usual spellings give the lines of the picture."""
    assert height_of(text) == height
