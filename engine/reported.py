"""What a client says of the exercise itself, kept beside what we find: the newest word on each."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

LONGEST_PHASE = 64
_MOST_REPETITIONS = 1_000_000


class ReportedError(ValueError):
    """A key carries a value that it may not. Names the key."""

    def __init__(self, key: str, detail: str) -> None:
        super().__init__(f"client_reported.{key} {detail}")
        self.key = f"client_reported.{key}"


class Reported(NamedTuple):
    """A client's own figures. None is what it did not say."""

    rep_count: int | None = None
    form_score: float | None = None
    rom_degrees: float | None = None
    active_exercise_phase: str | None = None

    def then(self, newer: "Reported") -> "Reported":
        """Give what is known after another word: what it does not say stays."""
        return self._replace(**newer.plain())

    def plain(self) -> dict[str, Any]:
        """Give what was said, JSON-ready."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Reported":
        """Check what a client, or a stored session, says; ReportedError names the key."""
        return cls(
            _count(plain),
            _number(plain, "form_score", 100.0),
            _number(plain, "rom_degrees", 360.0),
            _phase(plain),
        )


NOTHING_REPORTED = Reported()


def _count(plain: Mapping[str, Any]) -> int | None:
    value = plain.get("rep_count")
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= _MOST_REPETITIONS:
        raise ReportedError("rep_count", f"must be 0 to {_MOST_REPETITIONS}, not {value!r:.40}")
    return value


def _number(plain: Mapping[str, Any], key: str, highest: float) -> float | None:
    value = plain.get(key)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= highest:
        raise ReportedError(key, f"must be a number from 0 to {highest:g}, not {value!r:.40}")
    return float(value)


def _phase(plain: Mapping[str, Any]) -> str | None:
    value = plain.get("active_exercise_phase")
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_PHASE:
        raise ReportedError(
            "active_exercise_phase",
            f"must be a text of 1 to {LONGEST_PHASE} characters, not {value!r:.80}",
        )
    return value
