"""`penstock bench console-cost`: what open consoles cost the engine."""

from typing import Annotated

import typer

from penstock.commands.bench.options import Quiet, teller, telling_errors
from penstock.commands.options import Json
from penstock.commands.output import print_json, print_table


def console_cost(
    *,
    consoles: Annotated[
        int, typer.Option(min=1, max=1000, help="Pages that listen to the flow.")
    ] = 10,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Each two turns of a kind.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Measured time of a turn.")] = 3.0,
    connections: Annotated[
        int, typer.Option(min=1, max=10_000, help="Each with a batch under way.")
    ] = 64,
    sessions: Annotated[int, typer.Option(min=1, max=20_000, help="Live sessions.")] = 2000,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare batches a second with consoles that listen to the flow and without, in turns.

    Exit code 1 when something speaks against the figures. Takes about two minutes.
    """
    with telling_errors():
        from penstock.bench.console_cost import (  # noqa: PLC0415
            ConsoleCostPlan,
            measure_console_cost,
        )

        plan = ConsoleCostPlan(consoles, rounds, seconds, connections, sessions)
        found = measure_console_cost(plan, teller(quiet=quiet))
    if as_json:
        print_json(found)
    else:
        rows = (("a second", found.per_second), ("a processor second", found.per_cpu_second))
        print_table(
            ("Batches", "No console", f"{consoles} open", "Ratio"),
            (
                (
                    name,
                    f"{row.without:,.0f}",
                    f"{row.with_open:,.0f}",
                    f"{row.ratio:.3f} ({row.ratio_low:.3f} to {row.ratio_high:.3f})",
                )
                for name, row in rows
            ),
        )
        for fault in found.faults:
            typer.echo(f"fault: {fault}", err=True)
    if found.faults:
        raise typer.Exit(1)
