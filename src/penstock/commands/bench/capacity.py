"""`penstock bench capacity`: the highest rate that one server holds, and how sure that is."""

from typing import Annotated

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

# As many as a server with default settings takes. More are refused, and the trial says so.
_MOST_SESSIONS = 20_000
# What bounds a rate by decision, not by lack of time; told also where it is the default.
_LIMITS = (
    "rate_batches_per_second",
    "rate_burst",
    "max_live_sessions",
    "max_connections",
    "frame_memory_bytes",
)


def capacity(
    *,
    bound_ms: Annotated[
        float, typer.Option(min=0.1, help="A rate is held while p99 is within this.")
    ] = 50.0,
    precision: Annotated[
        float, typer.Option(min=0.005, max=0.5, help="Stop when this sure, as a share.")
    ] = 0.05,
    trials: Annotated[int, typer.Option(min=1, max=200, help="Stop after so many.")] = 16,
    seconds: Annotated[float, typer.Option(min=1, max=40, help="Measured time of a trial.")] = 6.0,
    start: Annotated[float, typer.Option(min=1, help="Batches a second to begin with.")] = 2000.0,
    interval: Annotated[
        float, typer.Option(min=0.1, max=30, help="Seconds between a session's batches.")
    ] = 1.0,
    frames: Annotated[int, typer.Option(min=1, max=60, help="Frames a batch.")] = 10,
    connections: Annotated[
        int, typer.Option(min=1, max=10_000, help="Connections that the sessions share.")
    ] = 256,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that send; as many as cores are left to them."),
    ] = None,
    set_: Set = None,
    seed: Seed = 1,
    json: JsonFile = None,
    html: HtmlFile = None,
    quiet: Quiet = False,
) -> None:
    """Find the highest rate with p99 within a bound, no refusal and no failure.

    Trials of some seconds each; the next rate is the one that is expected to tell most. Stops when
    the interval that holds the rate with 90 % is narrow enough.
    """
    from penstock.bench.capacity import CapacityPlan, Trials, find_capacity  # noqa: PLC0415
    from penstock.bench.load.interrupt import stopping_on_signals  # noqa: PLC0415
    from penstock.bench.load.target import start_penstock  # noqa: PLC0415
    from penstock.bench.machine import machine_facts  # noqa: PLC0415
    from penstock.bench.report.models import Report  # noqa: PLC0415
    from penstock.setting_fields import Settings  # noqa: PLC0415

    settings = settings_given(set_)
    check_writable(json, html)
    made_at, command = made_now()
    machine = machine_facts()
    with (
        telling_errors(),
        start_penstock(
            sessions=_MOST_SESSIONS, connections=connections, settings=settings
        ) as target,
        stopping_on_signals() as stopped,
    ):
        plan = CapacityPlan(
            bound_ms=bound_ms,
            precision=precision,
            most_trials=trials,
            seconds=seconds,
            start=start,
            interval_seconds=interval,
            frames=frames,
            connections=connections,
            processes=processes or max(1, len(target.cores)),
            seed=seed,
        )
        outcome = find_capacity(plan, Trials(plan, target, stopped).run, teller(quiet=quiet))
        limits = {
            f"limit {name}": str(settings.get(name, Settings.model_fields[name].default))
            for name in _LIMITS
        }
        load = (
            f"a batch of {frames} frames each {interval:g} s from each session, {connections} "
            f"connections, {plan.processes} processes"
        )
    finish(
        Report(
            kind="capacity",
            made_at=made_at,
            command=command,
            machine=machine,
            server={**target.facts, **limits, "load": load},
            capacity=outcome.run,
            faults=outcome.faults,
        ),
        json=json,
        html=html,
    )
