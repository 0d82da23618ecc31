"""`penstock bench load`: patients on a schedule, and what became of every frame they sent."""

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
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
    telling_errors,
)
from penstock.commands.options import Config, DataDir, Dev, settings_in_force
from penstock.dev import read_dev_secrets
from penstock.settings import secret_bytes

if TYPE_CHECKING:
    from penstock.bench.report.models import LoadPlan

# Consents are per principal, and the harness's sessions go round as many of them: a target's
# sessions begin at a multiple, so that one grants file serves every run.
_PRINCIPALS = 40_000
# A day; more than that is no measurement but operation.
_LONGEST_SECONDS = 86_400.0


def load(
    *,
    sessions: Annotated[int, typer.Option(min=1, max=200_000, help="Patients.")] = 1000,
    ramp: Annotated[
        float, typer.Option(metavar="SECONDS", help="All patients have begun after this time.")
    ] = 5.0,
    duration: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long all of them then go on.")
    ] = 30.0,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", help="From one batch of a patient to the next.")
    ] = 1.0,
    jitter: Annotated[float, typer.Option(help="Of the interval, to both sides: 0 to 0.5.")] = 0.1,
    frames: Annotated[int, typer.Option(min=1, max=1000, help="Frames a batch.")] = 10,
    connections: Annotated[
        int, typer.Option(min=1, max=100_000, help="Connections that all patients share.")
    ] = 256,
    own_connections: Annotated[
        bool, typer.Option("--own-connections", help="A connection for each patient instead.")
    ] = False,
    reconnect_share: Annotated[
        float, typer.Option(help="Of the patients, who go offline once and flush afterwards.")
    ] = 0.0,
    offline_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long those are offline.")
    ] = 5.0,
    hostile_share: Annotated[
        float,
        typer.Option(help="Clients that send what is malformed, oversized, slow or expired."),
    ] = 0.0,
    media: Annotated[
        bool | None,
        typer.Option("--media/--no-media", help="Media events. Default: if they are served."),
    ] = None,
    ends: Annotated[
        bool | None,
        typer.Option("--ends/--no-ends", help="Sessions' ends. Default: if they are served."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="Worker processes; each fills a core at most.")
    ] = 1,
    seed: Seed = 1,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A service that runs on this machine, such as http://127.0.0.1:8080. "
            "Default: a Penstock that is started for this run.",
        ),
    ] = None,
    pid: Annotated[
        int | None, typer.Option(min=1, help="The target's process, for its CPU and memory.")
    ] = None,
    dev: Dev = False,
    data_dir: DataDir = None,
    config: Config = None,
    settings: Set = None,
    json: JsonFile = None,
    html: HtmlFile = None,
    quiet: Quiet = False,
) -> None:
    """Send as many patients would, on a schedule that a slow server does not slow down.

    Latencies count from the moment a request was due. Ctrl-C ends the run early, with a report.
    At the end every frame is accounted for on both sides; exit code 1 means that something does
    not add up or speaks against the figures. With --target, tokens are signed with the session
    secret of these settings (PENSTOCK_SESSION_SECRET, --config, or --dev with --data-dir).
    """
    _check_number("--ramp", ramp, 0, _LONGEST_SECONDS)
    _check_number("--duration", duration, 1, _LONGEST_SECONDS)
    _check_number("--interval", interval, 0.01, 600)
    _check_number("--jitter", jitter, 0, 0.5)
    _check_number("--reconnect-share", reconnect_share, 0, 1)
    _check_number("--offline-seconds", offline_seconds, 0, _LONGEST_SECONDS)
    _check_number("--hostile-share", hostile_share, 0, 1)
    _check_number("--ramp and --duration together", ramp + duration, 1, _LONGEST_SECONDS)
    if math.ceil(ramp) + 1 > ramp + duration:
        raise typer.BadParameter(
            "no whole second is left after the ramp, so there is nothing to measure",
            param_hint="'--duration'",
        )
    if not own_connections and connections < processes:
        raise typer.BadParameter(
            f"{connections}; each of the {processes} processes needs a connection",
            param_hint="'--connections'",
        )
    _check_share("--reconnect-share", reconnect_share, sessions)
    _check_share("--hostile-share", hostile_share, sessions)
    _check_offline(reconnect_share, offline_seconds, duration, interval, jitter)
    given = settings_given(settings)
    only_with_target = {"--pid": pid, "--dev": dev, "--data-dir": data_dir, "--config": config}
    _check_options_of(target, only_with_target, given)
    check_writable(json, html)
    made_at, command = made_now()

    with telling_errors():
        from penstock.bench.load.batches import batches_for  # noqa: PLC0415
        from penstock.bench.load.faults import load_faults  # noqa: PLC0415
        from penstock.bench.load.interrupt import stopping_on_signals  # noqa: PLC0415
        from penstock.bench.load.plan import Kind, most_connections  # noqa: PLC0415
        from penstock.bench.load.progress import show_progress  # noqa: PLC0415
        from penstock.bench.load.run import run_load  # noqa: PLC0415
        from penstock.bench.load.target import join_running, start_penstock  # noqa: PLC0415
        from penstock.bench.machine import check_local_ports, machine_facts  # noqa: PLC0415
        from penstock.bench.report.models import LoadPlan, Report  # noqa: PLC0415

        plan = LoadPlan(
            sessions=sessions,
            ramp_seconds=ramp,
            seconds=duration,
            interval_seconds=interval,
            jitter=jitter,
            frames_a_batch=frames,
            connections=None if own_connections else connections,
            reconnect_share=reconnect_share,
            offline_seconds=offline_seconds,
            hostile_share=hostile_share,
            media=False,
            ends=False,
            processes=processes,
            seed=seed,
        )
        # What cannot be is found before anything starts; the batches are kept for the run.
        check_local_ports(most_connections(plan))
        batches_for(plan)
        facts = machine_facts()
        with ExitStack() as stack:
            first_session = 0
            if target is None:
                most = most_connections(plan)
                served = stack.enter_context(
                    start_penstock(sessions=sessions, connections=most, settings=given)
                )
            else:
                secret = _secret(dev=dev, data_dir=data_dir, config=config)
                served = join_running(target, secret=secret, pid=pid)
                # Others' runs have left their sessions there, and positions with them.
                first_session = _PRINCIPALS * int(time.time())
            plan = plan.model_copy(
                update={
                    "media": _wanted("--media", media, served=Kind.MEDIA in served.routes),
                    "ends": _wanted("--ends", ends, served=Kind.END in served.routes),
                }
            )
            with show_progress(plan, quiet=quiet) as watch, stopping_on_signals() as stopped:
                run = run_load(
                    plan, served, watch=watch, stopped=stopped, first_session=first_session
                )
    report = Report(
        kind="load",
        made_at=made_at,
        command=command,
        machine=facts,
        server=dict(served.facts) | _left_out(plan, media=media, ends=ends),
        load=run,
        faults=load_faults(run),
    )
    finish(report, json=json, html=html)


def _check_number(name: str, value: float, least: float, most: float) -> None:
    if not (math.isfinite(value) and least <= value <= most):
        raise typer.BadParameter(
            f"{value:g}; it must be from {least:g} to {most:g}", param_hint=f"'{name}'"
        )


def _check_share(name: str, share: float, sessions: int) -> None:
    if share > 0 and round(share * sessions) == 0:
        raise typer.BadParameter(
            f"{share:g}; of {sessions} sessions that is nobody", param_hint=f"'{name}'"
        )


def _check_offline(
    share: float, offline: float, duration: float, interval: float, jitter: float
) -> None:
    longest = duration - interval * (2 + 2 * jitter)
    if share > 0 and offline > longest:
        raise typer.BadParameter(
            f"{offline:g}; with batches before and after, a run of {duration:g} s leaves "
            f"{max(0.0, longest):g} s at most",
            param_hint="'--offline-seconds'",
        )


def _check_options_of(
    target: str | None, only_with_target: Mapping[str, object], settings: Mapping[str, object]
) -> None:
    if target is not None and settings:
        raise typer.BadParameter(
            "a service that runs already has its settings; leave it out with --target",
            param_hint="'--set'",
        )
    for name, value in only_with_target.items():
        if target is None and value:
            raise typer.BadParameter(
                "the Penstock that is started for the run has its own; give --target as well",
                param_hint=f"'{name}'",
            )


def _wanted(option: str, wished: bool | None, *, served: bool) -> bool:  # noqa: FBT001  None is no wish
    from penstock.bench.errors import BenchError  # noqa: PLC0415

    if wished and not served:
        raise BenchError(f"{option}: the service has no such route; leave the option out")
    return served if wished is None else wished


def _left_out(plan: "LoadPlan", *, media: bool | None, ends: bool | None) -> dict[str, str]:
    parts = {"media events": (media, plan.media), "session ends": (ends, plan.ends)}
    names = [name for name, (wished, sent) in parts.items() if wished is None and not sent]
    return {"left out": " and ".join(names) + ", which are not served"} if names else {}


def _secret(*, dev: bool, data_dir: str | None, config: str | None) -> bytes:
    from penstock.bench.errors import BenchError  # noqa: PLC0415

    # Those of a service that has run: secrets made now would open nothing.
    settings, _ = settings_in_force(
        {"data_dir": data_dir, "config": config},
        dev=dev,
        required=("session_secret",),
        dev_secrets=read_dev_secrets,
    )
    if settings.session_secret is None:
        raise BenchError(
            f"no service has run with --dev in {settings.data_dir}, so its secret is not known"
        )
    return secret_bytes(settings.session_secret)
