"""In which quality the medium was shown: bitrates, and switches between renditions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.engine.media.clock import Placed
from penstock.engine.media.events import MediaData, MediaKind
from penstock.engine.media.playback import Stretch, Stretches

_HEIGHT = re.compile(r"(?:[1-9][0-9]{0,4}x)?([1-9][0-9]{0,4})p?")


@dataclass(slots=True, frozen=True)
class Renditions:
    """The bitrates of a session. What nobody told, or what was never watched, is None.

    `average_bps` is the mean of the renditions that were chosen, however long each was shown (of
    the bitrates that heartbeats saw, where no choice was told); `time_weighted_bps` weighs each
    bitrate with the time for which it was watched.
    """

    average_bps: float | None
    time_weighted_bps: float | None
    top_bps: float | None
    switches_up: int
    switches_down: int


def height_of(resolution: str) -> int | None:
    """Read the lines of a picture from "720p" or "1280x720"."""
    match = _HEIGHT.fullmatch(resolution)
    return None if match is None else int(match[1])


def renditions_of(placed: Sequence[Placed], watched: Sequence[Stretch]) -> Renditions:
    """Follow a session's renditions over the time that was watched."""
    chosen: list[float] = []
    seen: list[float] = []
    shown: list[tuple[int, float | None]] = []
    bitrate: float | None = None
    height: int | None = None
    top: float | None = None
    up = down = 0
    for at, event in placed:
        data = event.data
        if data.top_bitrate is not None:
            top = data.top_bitrate if top is None else max(top, data.top_bitrate)
        if event.kind is MediaKind.QUALITY_CHANGE:
            if not shown and data.from_bitrate is not None:
                # The rendition that it left was the one since the beginning.
                shown.append((placed[0].at_ms, data.from_bitrate))
            direction = _direction(data, bitrate, height)
            up += direction > 0
            down += direction < 0
            height = _height(data.to_resolution)
            now = data.to_bitrate
            if now is None and direction:
                # Another rendition than before, and nobody says of which bitrate.
                bitrate = None
                shown.append((at, None))
        elif event.kind is MediaKind.SESSION_START:
            height = _height(data.initial_resolution)
            now = data.initial_bitrate
        else:
            now = data.bitrate
        if now is None:
            continue
        bitrate = now
        shown.append((at, now))
        told = event.kind in {MediaKind.QUALITY_CHANGE, MediaKind.SESSION_START}
        (chosen if told else seen).append(now)
    reports = chosen or seen
    average = sum(reports) / len(reports) if reports else None
    return Renditions(average, _weighted(shown, watched), top, up, down)


def _height(resolution: str | None) -> int | None:
    return None if resolution is None else height_of(resolution)


def _direction(data: MediaData, bitrate: float | None, height: int | None) -> int:
    """Say whether a change went up (1) or down (-1), or that nobody can tell (0)."""
    before = bitrate if data.from_bitrate is None else data.from_bitrate
    if before is not None and data.to_bitrate is not None and before != data.to_bitrate:
        return 1 if data.to_bitrate > before else -1
    lower = height if data.from_resolution is None else height_of(data.from_resolution)
    upper = _height(data.to_resolution)
    if lower is None or upper is None or lower == upper:
        return 0
    return 1 if upper > lower else -1


def _weighted(
    shown: Sequence[tuple[int, float | None]], watched: Sequence[Stretch]
) -> float | None:
    """Weigh each bitrate with the watched time until the next one."""
    time = Stretches(watched)
    bits = 0.0
    weight = 0
    for index, (at, bitrate) in enumerate(shown):
        if bitrate is None:
            continue
        until = shown[index + 1][0] if index + 1 < len(shown) else None
        length = (time.total_ms if until is None else time.before(until)) - time.before(at)
        bits += bitrate * length
        weight += length
    return bits / weight if weight else None
