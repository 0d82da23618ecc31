"""What `penstock bench scale` is to measure, and the settings that each question's server needs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.bench.limits import needed_settings
from penstock.bench.scale_steps import BATCHES_EACH, CONNECTIONS, WARM_UP_SECONDS

WHAT = ("sessions", "frames", "age")

# Of the resting phase; the default is a minute. A new session sends each second, and settles.
_REST_SECONDS = 3
# A session that is to be many minutes old within seconds sends far more often than a camera.
_AGE_SETTINGS: Mapping[str, object] = {"rate_batches_per_second": 1000, "rate_burst": 1000}


@dataclass(slots=True, frozen=True)
class ScalePlan:
    """What is asked, at which places, how long and how often."""

    sessions: tuple[int, ...]
    frames: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: float
    repeats: int
    what: tuple[str, ...] = WHAT
    own_connections: bool = False
    settings: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def turns(self) -> list[str]:
        """Give a name to each repeat."""
        return [f"run {turn + 1} of {self.repeats}" for turn in range(self.repeats)]

    @property
    def steps(self) -> list[range]:
        """Give the sessions that are new at each place."""
        counts = sorted(self.sessions)
        return [range(begun, count) for begun, count in zip([0, *counts], counts, strict=False)]

    def most_batches(self, places: int) -> int:
        """Give how many batches a session sends at most, at each place one a second."""
        return BATCHES_EACH + places * (math.ceil(WARM_UP_SECONDS) + math.ceil(self.seconds) + 2)

    def live_settings(self) -> dict[str, object]:
        """Give the settings for sessions that share a few connections."""
        return {**needed_settings(max(self.sessions), CONNECTIONS), **self.settings}

    def resting_settings(self) -> dict[str, object]:
        """Give the settings for sessions that are soon laid to rest."""
        needed = needed_settings(max(self.sessions), CONNECTIONS)
        return {**needed, "session_rest_seconds": _REST_SECONDS, **self.settings}

    def connected_settings(self) -> dict[str, object]:
        """Give the settings for sessions with a connection each."""
        most = max(self.sessions)
        return {**needed_settings(most, most), **self.settings}

    def age_settings(self) -> dict[str, object]:
        """Give the settings for sessions that age fast."""
        return {**_AGE_SETTINGS, **self.settings}

    def told(self) -> dict[str, str]:
        """Say, for the report, which settings each question's server has besides the defaults."""
        by_question: dict[str, Mapping[str, object]] = {}
        if "sessions" in self.what:
            by_question["sessions"] = self.live_settings()
            by_question["resting"] = self.resting_settings()
            if self.own_connections:
                by_question["own connections"] = self.connected_settings()
        if "frames" in self.what:
            by_question["frames"] = self.settings
        if "age" in self.what:
            by_question["age"] = self.age_settings()
        return {
            f"settings, {question}": ", ".join(f"{name} = {value}" for name, value in some.items())
            or "defaults"
            for question, some in by_question.items()
        }
