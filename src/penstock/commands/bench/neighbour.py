"""`penstock bench neighbour`: whether one organisation's excess costs the others anything."""

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


def neighbour(
    *,
    orgs: Annotated[int, typer.Option(min=2, max=1000, help="Organisations.")] = 20,
    quota: Annotated[int, typer.Option(min=1, max=1000, help="Of each, in batches a second.")] = 40,
    times: Annotated[
        float, typer.Option(min=1.1, max=1000, help="Of its quota, what the noisy one sends.")
    ] = 50.0,
    rounds: Annotated[
        int, typer.Option(min=1, max=50, help="Each a run without it and one with it.")
    ] = 3,
    ramp: Annotated[
        float, typer.Option(min=0, max=600, help="Seconds until all patients have begun.")
    ] = 4.0,
    duration: Annotated[
        float, typer.Option(min=2, max=3600, help="Seconds that all of them then go on, a run.")
    ] = 12.0,
    frames: Annotated[int, typer.Option(min=1, max=60, help="Frames a batch.")] = 10,
    connections: Annotated[
        int, typer.Option(min=1, max=10_000, help="That the patients share; the noisy has more.")
    ] = 256,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="Worker processes; each fills a core at most.")
    ] = 1,
    settings: Set = None,
    seed: Seed = 1,
    json: JsonFile = None,
    html: HtmlFile = None,
    quiet: Quiet = False,
) -> None:
    """Compare runs in which every organisation keeps its quota with runs in which one does not.

    Loss and latency of the other organisations, in turns; what differs by no more than the quiet
    runs among themselves is not measurable. Ctrl-C ends it early, with a report.
    """
    given = settings_given(settings)
    check_writable(json, html)
    if connections < processes:
        raise typer.BadParameter(
            f"{connections}; each of the {processes} processes needs a connection",
            param_hint="'--connections'",
        )
    made_at, command = made_now()
    with telling_errors():
        from penstock.bench.load.interrupt import stopping_on_signals  # noqa: PLC0415
        from penstock.bench.load.progress import show_progress  # noqa: PLC0415
        from penstock.bench.load.target import start_penstock  # noqa: PLC0415
        from penstock.bench.machine import machine_facts  # noqa: PLC0415
        from penstock.bench.neighbour import NeighbourPlan, run_neighbour  # noqa: PLC0415
        from penstock.bench.report.models import Report  # noqa: PLC0415

        machine = machine_facts()
        plan = NeighbourPlan(
            orgs=orgs,
            quota=quota,
            times=times,
            rounds=rounds,
            ramp_seconds=ramp,
            seconds=duration,
            frames=frames,
            connections=connections,
            processes=processes,
            seed=seed,
            settings=given,
        )
        with stopping_on_signals() as stopped:
            outcome = run_neighbour(
                plan,
                start=start_penstock,
                show=lambda one: show_progress(one, quiet=quiet),
                stopped=stopped,
                tell=teller(quiet=quiet),
            )
    finish(
        Report(
            kind="neighbour",
            made_at=made_at,
            command=command,
            machine=machine,
            server=dict(outcome.server),
            neighbour=outcome.run,
            faults=outcome.faults,
        ),
        json=json,
        html=html,
    )
