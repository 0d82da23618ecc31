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
    ends_per_second: float = Field(
        default=0.0, description="sessions that end during the run, each replaced by a new one"
    )
    honour_retry_after: bool = Field(
        default=False, description="refused clients send nothing until the time they were told"
    )
    live_clients: bool = Field(
        default=False,
        description="a client keeps two batches waiting at most, gives up older ones, and sends "
        "its end at once on a connection of its own; else all wait for their turn",
    )
    real_time: bool = Field(
        default=False, description="a batch's frames fill its interval; else they are 10 a second"
    )
    orgs: int = Field(default=1, description="organisations over which the sessions are spread")
    noisy_sessions: int = Field(
        default=0, description="of the sessions, those that the first organisation has too many"
    )


class SessionLosses(_Part):
    """What sessions lost, as their clients know it: frames that were due and no 202 has kept.

    Shares are of a session's own frames. Gaps are in session time, around the longest run of lost
    frames, 0 for a session that lost none.
    """

    sessions: int
    frames_due: int
    frames_lost: int
    unfair_share: float = Field(
        description="of all lost frames, those that would have to be other sessions' for all to "
        "have lost the same share: 0 is the fairest there is"
    )
    share_min: float
    share_median: float
    share_p95: float
    share_max: float
    gap_median_ms: float
    gap_p95_ms: float
    gap_max_ms: float
    shares: list[float] = Field(
        description="the sessions' shares in ascending order, at evenly spaced places, 201 at most"
    )


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
    frames_thinned: int = Field(default=0, description="of accepted batches, not kept")
    frames_withheld: int = Field(
        default=0, description="due while the client had been told to wait"
    )
    frames_given_up: int = Field(
        default=0, description="due, but never sent, since they waited in their client too long"
    )
    batches_unanswered: int
    cpu_us_a_batch: float | None
    rss_first_bytes: int | None
    rss_peak_bytes: int | None
    rss_last_bytes: int | None
    harness_cpu_share: float
    interrupted: bool
    reconciliation: list[Check]
    server_frames: dict[str, int] = Field(
        default_factory=dict,
        description="frames that ended during the run, by outcome and reason, as the server says",
    )
    retry_after: dict[str, int] = Field(
        default_factory=dict, description="refusals of batches by the seconds they told to wait"
    )
    scheduler_delay_peak_ms: float | None = None
    losses: SessionLosses | None = None
    losses_of_others: SessionLosses | None = Field(
        default=None, description="of all organisations but the first, where there are several"
    )


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


class PressureStep(_Part):
    """One load, as a multiple of the capacity."""

    times: float
    batches_a_second: float = Field(description="due, whether or not they were sent")
    run: LoadRun


class PressureRun(_Part):
    """What `penstock bench pressure` saw, each load with a service of its own."""

    capacity: float = Field(description="batches a second that the multiples refer to")
    capacity_found: bool = Field(description="searched for first; else it was given")
    steps: list[PressureStep]


class NeighbourSide(_Part):
    """One run of a round: the figures of all organisations but the first."""

    p50_ms: float
    p99_ms: float
    loss_share: float
    frames_due: int
    first_due_a_second: float = Field(description="batches of the first organisation")
    first_taken_a_second: float


class NeighbourRound(_Part):
    """Two runs in turn: every organisation at its quota, and the first far above it."""

    quiet: NeighbourSide
    noisy: NeighbourSide


class Ratio(_Part):
    """A figure with the noisy neighbour and without it: medians of the rounds.

    It is within the spread when the median with the neighbour is no higher than the highest of the
    rounds without.
    """

    name: str
    quiet: float
    quiet_low: float
    quiet_high: float
    noisy: float
    ratio: float | None = Field(description="of the medians; null where the quiet one is 0")
    within_spread: bool


class NeighbourRun(_Part):
    """What `penstock bench neighbour` saw."""

    orgs: int
    quota: float = Field(description="batches a second of each organisation")
    times: float = Field(description="of its quota, what the first organisation sends")
    rounds: list[NeighbourRound]
    ratios: list[Ratio]


class PolicyCost(_Part):
    """What the drop policy takes of a batch, in one state. One repeat a value."""

    state: Literal["calm", "thinning", "refusing"]
    candidates: int
    us_a_batch: float = Field(description="median of the repeats, the empty loop taken off")
    repeats_us: list[float]
    outcomes: dict[str, int] = Field(description="what the decisions were, so that it is known")


class PolicyCostRun(_Part):
    """What `penstock bench policy-cost` measured."""

    batches: int = Field(description="decisions a repeat")
    sessions: int
    empty_loop_us: float
    costs: list[PolicyCost]


class Report(_Part):
    """The whole document; exactly one of the results is there."""

    schema_: Annotated[Literal["penstock.bench.report/1"], Field(alias="schema")] = SCHEMA
    kind: Literal["load", "capacity", "peers", "scale", "pressure", "neighbour", "policy-cost"]
    made_at: str = Field(description="ISO 8601, UTC")
    command: str
    machine: dict[str, str]
    server: dict[str, str] = Field(description="what was measured, its settings, its core")
    load: LoadRun | None = None
    capacity: CapacityRun | None = None
    peers: PeersRun | None = None
    scale: ScaleRun | None = None
    pressure: PressureRun | None = None
    neighbour: NeighbourRun | None = None
    policy_cost: PolicyCostRun | None = None
    faults: list[str] = Field(description="what speaks against these figures; empty is good")
