"""`penstock bench scale`: how the cost of ingest grows, and whether along a straight line."""

from enum import StrEnum
from typing import Annotated

import typer

from penstock.commands.bench.options import (
    HtmlFile,
    JsonFile,
    Quiet,
    Set,
    check_writable,
    finish,
    made_now,
    settings_given,
    teller,
    telling_errors,
)


class _What(StrEnum):
    SESSIONS = "sessions"
    FRAMES = "frames"
    AGE = "age"


def scale(
    *,
    what: Annotated[
        list[_What] | None, typer.Option(help="Measure only this; may be repeated.")
    ] = None,
    sessions: Annotated[
        str, typer.Option(metavar="LIST", help="Live sessions, three numbers or more.")
    ] = "100,1000,10000",
    frames: Annotated[
        str, typer.Option(metavar="LIST", help="Frames a batch, three numbers or more.")
    ] = "1,10,30",
    minutes: Annotated[
        str, typer.Option(metavar="LIST", help="Age of sessions, three numbers or more.")
    ] = "1,10,30",
    seconds: Annotated[float, typer.Option(min=1, max=40, help="Measured time of a point.")] = 3.0,
    repeats: Annotated[
        int, typer.Option(min=1, max=20, help="Of every point; without any, noise is not known.")
    ] = 2,
    own_connections: Annotated[
        bool,
        typer.Option("--own-connections", help="Also the memory with a connection each."),
    ] = False,
    set_: Set = None,
    json: JsonFile = None,
    html: HtmlFile = None,
    quiet: Quiet = False,
) -> None:
    """Measure CPU a batch and memory a session as sessions, frames a batch and age grow.

    Each is put on a straight line and told by its slope, or it is told why there is none.
    """
    from penstock.bench.machine import choose_cores, machine_facts  # noqa: PLC0415
    from penstock.bench.report.models import Report  # noqa: PLC0415
    from penstock.bench.scale import measure_scale  # noqa: PLC0415
    from penstock.bench.scale_plan import WHAT, ScalePlan  # noqa: PLC0415

    plan = ScalePlan(
        sessions=_places(sessions, "--sessions", 200_000),
        frames=_places(frames, "--frames", 60),
        minutes=_places(minutes, "--minutes", 120),
        seconds=seconds,
        repeats=repeats,
        what=tuple(one.value for one in what) if what else WHAT,
        own_connections=own_connections,
        settings=settings_given(set_),
    )
    check_writable(json, html)
    made_at, command = made_now()
    machine = machine_facts()
    with telling_errors():
        run, faults = measure_scale(plan, teller(quiet=quiet))
    finish(
        Report(
            kind="scale",
            made_at=made_at,
            command=command,
            machine=machine,
            server={
                "server": "Penstock, a fresh one for each repeat of each question",
                "cores": choose_cores().told,
                **plan.told(),
            },
            scale=run,
            faults=faults,
        ),
        json=json,
        html=html,
    )


def _places(text: str, option: str, most: int) -> tuple[int, ...]:
    """Read a list of different whole numbers; two would lie on a line whatever they are."""
    parts = [part.strip() for part in text.split(",")]
    numbers = {int(part) for part in parts if part.isdecimal() and 1 <= int(part) <= most}
    if len(numbers) != len(parts) or len(numbers) < 3:
        raise typer.BadParameter(
            f"{text!r}; it must be three or more different whole numbers from 1 to {most}, "
            "with commas between",
            param_hint=f"'{option}'",
        )
    return tuple(sorted(numbers))
