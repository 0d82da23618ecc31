"""What a tuning found, as it is written to `result.json`. `SCHEMA` says which shape that is."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Final = "penstock.tuning/1"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Band(_Part):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


class Bounds(_Part):
    """What the operator allows; None allows any. Of errors the upper ends of the bands count."""

    range_degrees: float | None = None
    repetitions: float | None = None
    tempo_ms: float | None = None
    wait_seconds: float | None = Field(default=None, description="mean wait of a batch")


class SessionTold(_Part):
    """One session that policies were tried on, and its figures with all of its frames."""

    name: str
    frames: int
    seconds: float
    repetitions: int
    range_degrees: float | None
    tempo_ms: float | None


class Tried(_Part):
    """What the tuning was of. Equal values give equal results."""

    seeds: list[int]
    loads: list[float]
    places: int
    longest_seconds: float
    costs: dict[str, float] = Field(description="of a request, as shares of a whole batch's")
    digest: str = Field(description="of all this and of the sessions' batches")


class Point(_Part):
    """One policy at one load. Errors are against the same session with all of its frames.

    Shares are of the frames due, or of the batches where the name says so.
    """

    policy: int = Field(description="its place in `policies`")
    load: float
    lost_share: Band
    thinned_share: float
    refused_share: float
    withheld_share: float
    given_up_share: float
    batches_refused_share: float
    gap_median_ms: float = Field(description="over sessions and seeds, of each one's longest gap")
    gap_longest_ms: float
    exact_share: Band = Field(description="of the sessions, counted as with all of their frames")
    repetitions: Band
    range_degrees: Band | None
    tempo_ms: Band | None
    wait_seconds: float = Field(description="mean time that a batch waits for its turn")
    stress: float = Field(description="mean level, 0 to 100")


class Choice(_Part):
    """The policy that is recommended, and up to which load it keeps within the bounds."""

    policy: int
    load: float
    knobs: dict[str, Any] = Field(description="those that are to be set, from the one in force")
    line: str | None = Field(description="the command that sets it; null when nothing is to be set")


class TuningResult(_Part):
    """The whole."""

    schema_: Literal["penstock.tuning/1"] = Field(default=SCHEMA, alias="schema")
    made_at: str
    command: str
    version: str
    tried: Tried
    sessions: list[SessionTold]
    left_out: list[str] = Field(description="sources that could not be used, and why")
    policies: list[dict[str, Any]] = Field(description="whole policies; the first is in force")
    in_force_from: str = Field(description="where the policy in force was asked for")
    points: list[Point]
    bounds: Bounds
    choice: Choice | None
    notes: list[str]

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def point(self, policy: int, load: float) -> Point | None:
        """Find a policy's figures at a load."""
        return next((p for p in self.points if (p.policy, p.load) == (policy, load)), None)
