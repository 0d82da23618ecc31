"""The report: one JSON document for every command, with a schema that outsiders can rely on.

`penstock schema bench-report` prints the schema. A report tells how it came to be (machine,
versions, settings, the command), what was measured, and what speaks against using it (`faults`).
Times are in the unit that a field's name ends with; a rate is per second.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Final = "penstock.bench.report/1"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Latency(_Part):
    """A distribution of latencies, counted from the moment that was intended for the request.

    `hdr` is the whole histogram in HdrHistogram's compressed form (V2, base64), in microseconds, so
    that reports can be added up and read by other tools.
    """

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    hdr: str


class Second(_Part):
    """One second of a load run. `outcomes` counts answers as `202` or `429 inbox_full`."""

    at: int
    planned: int
    sent: int
    answered: int
    outcomes: dict[str, int]
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    backlog: int = Field(description="requests that were due and had no free connection")
    lag_ms: float = Field(description="the latest that the harness itself was with a request")
    server_cpu_share: float | None
    server_rss_bytes: int | None
    harness_cpu_share: float


class Check(_Part):
    """One line of the reconciliation: what the harness knows against what the server says."""

    name: str
    expected: str
    seen: str
    holds: bool


class LoadPlan(_Part):
    """What the patients do. All that is random follows from `seed`."""

    sessions: int
    ramp_seconds: float
    seconds: float
    interval_seconds: float
    jitter: float = Field(description="of the interval, to both sides")
    frames_a_batch: int
    connections: int | None = Field(description="pooled connections; null is one a session")
    reconnect_share: float = Field(description="of the sessions, once each during the run")
    offline_seconds: float
    hostile_share: float = Field(description="hostile clients, as a share of the sessions")
    media: bool
    ends: bool
    processes: int
    seed: int


class LoadRun(_Part):
    """What `penstock bench load` saw. Keys of `latency` and `outcomes` are kinds of request.

    The latencies of `pose`, here and in the seconds, are those of accepted batches; refused ones,
    which are quick, are under `pose refused`. What was never answered is in none of them.
    """

    plan: LoadPlan
    seconds: list[Second]
    latency: dict[str, Latency]
    outcomes: dict[str, dict[str, int]]
    answered_a_second: float = Field(description="while all sessions were on, not in the ramp")
    frames_sent: int
    frames_accepted: int
    batches_unanswered: int
    cpu_us_a_batch: float | None
    rss_first_bytes: int | None
    rss_peak_bytes: int | None
    rss_last_bytes: int | None
    harness_cpu_share: float
    interrupted: bool
    reconciliation: list[Check]


class Trial(_Part):
    """One run at one rate, for the search of the capacity."""

    rate: float
    seconds: float
    answered_a_second: float
    p99_ms: float
    refusals: int
    failures: int
    cpu_us_a_batch: float
    passed: bool
    why: str


class CapacityRun(_Part):
    """What `penstock bench capacity` found: the rate held in half of all runs, and how sure."""

    bound_p99_ms: float
    precision: float | None = Field(
        default=None, description="half of the interval, as a share of the rate, that was asked for"
    )
    certainty: Literal["found", "at least", "below", "unknown"] = Field(
        default="found", description="what `rate` is: the capacity, or a bound of it"
    )
    trials: list[Trial]
    rate: float
    low: float = Field(description="lower end of the interval that holds the rate with 90 %")
    high: float
    safe_rate: float = Field(description="the rate that is held in nine of ten runs")
    at_80_percent: Trial | None


class PeerRound(_Part):
    """One turn of one server. Latencies are those of a closed loop."""

    rate: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_us_a_request: float
    resident_bytes: int
    generator_cpu_share: float
    idle_cpu_share: float
    by_status: dict[str, int]
    failures: int


class Peer(_Part):
    """One server in one form, over all rounds. `ratio` is its median rate over the base's.

    The three ratios are null where the base lacks the form, or answered nothing in it.
    """

    name: str
    form: Literal["accept", "full"]
    told: str
    rate: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    rounds: list[PeerRound]


class PeersRun(_Part):
    """What `penstock bench peers` saw, the servers taking turns."""

    base: str = Field(description="the peer that ratios refer to, within the same form")
    load: str
    peers: list[Peer]
    left_out: dict[str, str] = Field(description="peers that could not be run, and why")


class ScalePoint(_Part):
    """One measured point of a line."""

    x: float
    y: float
    note: str = ""


class ScaleLine(_Part):
    """Points and the straight line through them: y = intercept + slope * x."""

    name: str
    x_name: str
    y_name: str
    points: list[ScalePoint]
    slope: float
    intercept: float
    r_squared: float
    straight: bool
    told: str = Field(description="the slope in words, or why there is no straight line")


class ScaleRun(_Part):
    """What `penstock bench scale` saw."""

    lines: list[ScaleLine]


class Report(_Part):
    """The whole document; exactly one of the results is there."""

    schema_: Annotated[Literal["penstock.bench.report/1"], Field(alias="schema")] = SCHEMA
    kind: Literal["load", "capacity", "peers", "scale"]
    made_at: str = Field(description="ISO 8601, UTC")
    command: str
    machine: dict[str, str]
    server: dict[str, str] = Field(description="what was measured, its settings, its core")
    load: LoadRun | None = None
    capacity: CapacityRun | None = None
    peers: PeersRun | None = None
    scale: ScaleRun | None = None
    faults: list[str] = Field(description="what speaks against these figures; empty is good")
