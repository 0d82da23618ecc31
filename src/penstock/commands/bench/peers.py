"""`penstock bench peers`: Penstock and peers that do the same work, side by side."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

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
    telling_errors,
)

if TYPE_CHECKING:
    from penstock.bench.peers.catalogue import Form


class Forms(StrEnum):
    """Which work is compared."""

    ACCEPT = "accept"
    FULL = "full"
    BOTH = "both"


def peers(
    *,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Turns of each server.")] = 3,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=40, help="Measured time of a turn.")
    ] = 1.25,
    connections: Annotated[
        int,
        typer.Option(
            min=1, max=10_000, help="Connections to a server, each with one request under way."
        ),
    ] = 32,
    sessions: Annotated[
        int,
        typer.Option(
            min=1,
            max=1_000_000,
            help="Sessions that the requests are spread over; so many that each keeps within its "
            "rate limit.",
        ),
    ] = 12_000,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Compare this one: penstock, express, plain, fastapi or go. May be repeated; "
            "without it, all.",
        ),
    ] = None,
    form: Annotated[
        Forms,
        typer.Option(
            help="accept: check token and batch, and answer. full: also keep every batch in its "
            "session's file and compute the joints' angles."
        ),
    ] = Forms.BOTH,
    settings: Set = None,
    json: JsonFile = None,
    html: HtmlFile = None,
    quiet: Quiet = False,
) -> None:
    """Compare Penstock with peers that do the same work, turn by turn on one core.

    Ratios are to plain, the peer on the same framework. A peer that cannot run on this machine is
    named as left out. With the defaults it takes about a minute and a half.
    """
    # Here and not above: other commands need none of this.
    from penstock.bench.machine import machine_facts  # noqa: PLC0415
    from penstock.bench.peers.catalogue import KINDS, versions_of  # noqa: PLC0415
    from penstock.bench.report.models import Report  # noqa: PLC0415
    from penstock.bench.side_by_side import FORMS, Plan, run_side_by_side  # noqa: PLC0415
    from penstock.bench.tables import end_progress, progress  # noqa: PLC0415

    unknown = sorted(set(only or ()) - KINDS.keys())
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: no such server; there are {', '.join(KINDS)}",
            param_hint="'--only'",
        )
    check_writable(json, html)
    chosen: tuple[Form, ...] = tuple(one for one in FORMS if form in (Forms.BOTH, one))
    plan = Plan(
        rounds,
        seconds,
        connections,
        sessions,
        tuple(name for name in KINDS if not only or name in only),
        chosen,
        settings_given(settings),
    )
    made_at, command = made_now()
    machine = machine_facts()
    with telling_errors():
        try:
            found = run_side_by_side(plan, (lambda _: None) if quiet else progress)
        finally:
            if not quiet:
                end_progress()
    report = Report(
        kind="peers",
        made_at=made_at,
        command=command,
        machine=machine | versions_of({one.name for one in found.run.peers}),
        server=found.server,
        peers=found.run,
        faults=found.faults,
    )
    finish(report, json=json, html=html)
