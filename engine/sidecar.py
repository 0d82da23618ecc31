"""The small JSON beside a batch: what the client knows of its camera and its own work."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import orjson

from penstock.engine.reported import Reported, ReportedError

MAX_SIDECAR_BYTES = 2048
MAX_EXERCISE_CHARACTERS = 64
# What a webcam gives when nobody asks for more: 640 by 480.
ASSUMED_ASPECT = 4 / 3

_RESOLUTION = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


class Coordinates(StrEnum):
    """What the landmarks are measured in."""

    IMAGE = "image"
    WORLD = "world"


class SidecarError(ValueError):
    """A known key carries a value that it may not. Names the key."""

    def __init__(self, key: str, detail: str) -> None:
        super().__init__(detail)
        self.key = key


@dataclass(slots=True, frozen=True)
class BatchMeta:
    """The keys that Penstock knows. Unknown keys stay in the stored JSON."""

    pose_confidence: float | None = None
    camera_resolution: tuple[int, int] | None = None
    processing_time_ms: float | None = None
    coords: Coordinates = Coordinates.IMAGE
    exercise: str | None = None
    reported: Reported | None = None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Check the known keys of a parsed sidecar, or raise SidecarError."""
        coords = plain.get("coords")
        if coords is not None and coords not in tuple(Coordinates):
            raise SidecarError("coords", f"coords must be image or world, not {coords!r:.40}")
        return cls(
            _number(plain, "pose_confidence", 1.0),
            _resolution(plain),
            _number(plain, "processing_time_ms", math.inf),
            Coordinates.IMAGE if coords is None else Coordinates(coords),
            _exercise(plain),
            _reported(plain),
        )

    @classmethod
    def read(cls, sidecar: bytes) -> "BatchMeta":
        """Read a sidecar that was stored; one that is not sound says nothing."""
        try:
            return cls.from_plain(orjson.loads(sidecar))
        except (orjson.JSONDecodeError, AttributeError, SidecarError):
            return cls()

    @property
    def aspect(self) -> float:
        """Give the picture's width over its height."""
        if self.camera_resolution is None:
            return ASSUMED_ASPECT
        width, height = self.camera_resolution
        return width / height


NO_META = BatchMeta()


def _number(plain: Mapping[str, Any], key: str, highest: float) -> float | None:
    value = plain.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SidecarError(key, f"{key} must be a number, not {value!r:.40}")
    if not 0 <= value <= highest or not math.isfinite(value):
        bound = "at least 0" if math.isinf(highest) else f"between 0 and {highest:g}"
        raise SidecarError(key, f"{key} must be {bound}, not {value!r:.40}")
    return float(value)


def _resolution(plain: Mapping[str, Any]) -> tuple[int, int] | None:
    value = plain.get("camera_resolution")
    if value is None:
        return None
    match = _RESOLUTION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise SidecarError(
            "camera_resolution",
            f'camera_resolution must be like "640x480", not {value!r:.40}',
        )
    return int(match[1]), int(match[2])


def _reported(plain: Mapping[str, Any]) -> Reported | None:
    value = plain.get("client_reported")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise SidecarError("client_reported", "client_reported must be an object")
    try:
        return Reported.read(value)
    except ReportedError as error:
        raise SidecarError(error.key, str(error)) from None


def _exercise(plain: Mapping[str, Any]) -> str | None:
    value = plain.get("exercise")
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_EXERCISE_CHARACTERS:
        raise SidecarError(
            "exercise",
            f"exercise must be a text of 1 to {MAX_EXERCISE_CHARACTERS} characters, "
            f"not {value!r:.80}",
        )
    return value
