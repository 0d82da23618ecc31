"""`penstock bench pressure`: what is dropped, and from whom, at and above the capacity."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.commands.bench.options import (
    HtmlFile,
    JsonFile,
    Quiet,
    Seed,
    Set,
    check_writable,
    finish,
    made_now,
    settings_given,
    teller,
    telling_errors,
)
from penstock.commands.policy import read_knobs

if TYPE_CHECKING:
    from penstock.bench.pressure import PressurePlan

# Beyond it no process of this kind can send, and a mistyped number would run for nothing.
_MOST_TIMES = 50.0
_MOST_LOADS = 12
# A session's batches are at least so far apart, or its connection is all that is measured.
_LEAST_INTERVAL = 0.01
# The search for the capacity is a means here: less sure than `bench capacity` itself.
_PRECISION, _TRIALS, _TRIAL_SECONDS, _START = 0.15, 8, 4.0, 2000.0
_BOUND_MS = 50.0
_MOST_SESSIONS = 20_000


def pressure(
    *,
    at: Annotated[
        str, typer.Option(metavar="LIST", help="Loads, as multiples of the capacity.")
    ] = "0.5,1,2,5",
    capacity: Annotated[
        float | None,
        typer.Option(min=1, help="Batches a second that it is. Default: it is searched for."),
    ] = None,
    sessions: Annotated[
        int, typer.Option(min=1, max=20_000, help="Patients, each with its own connection.")
    ] = 2000,
    ramp: Annotated[
        float, typer.Option(min=0, max=600, help="Seconds until all patients have begun.")
    ] = 5.0,
    duration: Annotated[
        float, typer.Option(min=2, max=3600, help="Seconds that all of them then go on, a load.")
    ] = 20.0,
    frames: Annotated[int, typer.Option(min=1, max=60, help="Frames a batch.")] = 10,
    ends_per_second: Annotated[
        float,
        typer.Option(min=0, max=1000, help="Sessions that end, each replaced by a new one."),
    ] = 20.0,
    honour_retry_after: Annotated[
        bool,
        typer.Option(
            "--honour-retry-after/--ignore-retry-after",
            help="Refused clients send nothing until the time told, and tell what they left out; "
            "or go on as if nothing had been said.",
        ),
    ] = True,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that send; as many as cores are left to them."),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KNOB=VALUE",
            help="Set this knob of the drop policy before each load. May be repeated.",
        ),
    ] = None,
    settings: Set = None,
    seed: Seed = 1,
    json: JsonFile = None,
    html: HtmlFile = None,
    quiet: Quiet = False,
) -> None:
    """Load a fresh Penstock for each multiple of its capacity, while sessions end and begin.

    Says how much is lost, for which reasons, how evenly over the sessions, with which gaps, and
    whether ends are still served. Ctrl-C ends it early, with a report.
    """
    times = _loads(at)
    knobs = read_knobs(policy or ())
    given = settings_given(settings)
    check_writable(json, html)
    made_at, command = made_now()
    with telling_errors():
        from penstock.bench.load.interrupt import stopping_on_signals  # noqa: PLC0415
        from penstock.bench.load.progress import show_progress  # noqa: PLC0415
        from penstock.bench.load.target import start_penstock  # noqa: PLC0415
        from penstock.bench.machine import (  # noqa: PLC0415
            check_local_ports,
            choose_cores,
            machine_facts,
        )
        from penstock.bench.pressure import PressurePlan, run_pressure  # noqa: PLC0415
        from penstock.bench.report.models import Report  # noqa: PLC0415
        from penstock.commands.bench.policied import with_policy  # noqa: PLC0415

        check_local_ports(sessions)
        machine = machine_facts()
        tell = teller(quiet=quiet)
        senders = processes or max(1, _cores_left(choose_cores().server))
        with stopping_on_signals() as stopped:
            found = capacity or _search(given, frames, senders, seed, stopped, tell)
            plan = PressurePlan(
                capacity=found,
                capacity_found=capacity is None,
                times=times,
                sessions=sessions,
                ramp_seconds=ramp,
                seconds=duration,
                frames=frames,
                ends_per_second=ends_per_second,
                honour_retry_after=honour_retry_after,
                processes=senders,
                seed=seed,
                settings=given,
            )
            _check_interval(plan)
            outcome = run_pressure(
                plan,
                start=with_policy(start_penstock, knobs),
                show=lambda one: show_progress(one, quiet=quiet),
                stopped=stopped,
                tell=tell,
            )
    finish(
        Report(
            kind="pressure",
            made_at=made_at,
            command=command,
            machine=machine,
            server=dict(outcome.server),
            pressure=outcome.run,
            faults=outcome.faults,
        ),
        json=json,
        html=html,
    )


def _loads(text: str) -> tuple[float, ...]:
    """Read a list of different multiples, in the order in which they are to be run."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    right = all(math.isfinite(one) and 0 < one <= _MOST_TIMES for one in numbers)
    if not numbers or not right or len(set(numbers)) < len(numbers) or len(numbers) > _MOST_LOADS:
        raise typer.BadParameter(
            f"{text!r}; it must be {_MOST_LOADS} different numbers at most, above 0 and up to "
            f"{_MOST_TIMES:g}, with commas between",
            param_hint="'--at'",
        )
    return numbers


def _check_interval(plan: "PressurePlan") -> None:
    from penstock.bench.errors import BenchError  # noqa: PLC0415

    for times in plan.times:
        interval = plan.load(times).interval_seconds
        if interval < _LEAST_INTERVAL:
            raise BenchError(
                f"at {times:g} times {plan.capacity:,.0f}/s each of {plan.sessions:,} sessions "
                f"would send every {1000 * interval:.2g} ms; take more --sessions"
            )


def _cores_left(server: int | None) -> int:
    import os  # noqa: PLC0415  nothing else of this module needs it

    return len(os.sched_getaffinity(0) - {server})


def _search(
    settings: dict[str, object],
    frames: int,
    processes: int,
    seed: int,
    stopped: Callable[[], bool],
    tell: Callable[[str], None],
) -> float:
    from penstock.bench.capacity import CapacityPlan, Trials, find_capacity  # noqa: PLC0415
    from penstock.bench.errors import BenchError  # noqa: PLC0415
    from penstock.bench.load.target import start_penstock  # noqa: PLC0415

    plan = CapacityPlan(
        bound_ms=_BOUND_MS,
        precision=_PRECISION,
        most_trials=_TRIALS,
        seconds=_TRIAL_SECONDS,
        start=_START,
        interval_seconds=1.0,
        frames=frames,
        connections=256,
        processes=processes,
        seed=seed,
    )
    tell("searching for the capacity; --capacity gives one that is known")
    with start_penstock(
        sessions=_MOST_SESSIONS, connections=plan.connections, settings=settings
    ) as target:
        found = find_capacity(plan, Trials(plan, target, stopped).run, tell).run
    if stopped():
        raise BenchError("interrupted before the capacity was known; there is nothing to report")
    if found.certainty in {"unknown", "below"}:
        raise BenchError("no rate was held, so there is no capacity to go by; give --capacity")
    return found.rate
