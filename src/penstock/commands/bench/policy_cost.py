"""`penstock bench policy-cost`: the microseconds that the drop policy takes of a batch."""

from typing import Annotated

import typer

from penstock.commands.bench.options import (
    HtmlFile,
    JsonFile,
    Quiet,
    check_writable,
    finish,
    made_now,
    teller,
    telling_errors,
)


def policy_cost(
    *,
    sessions: Annotated[int, typer.Option(min=1, max=100_000, help="Live sessions.")] = 2000,
    seconds: Annotated[
        int, typer.Option(min=1, max=1000, help="Batches of each session in a repeat.")
    ] = 10,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Of everything, in turns.")] = 7,
    json: JsonFile = None,
    html: HtmlFile = None,
    quiet: Quiet = False,
) -> None:
    """Measure deciding about a batch and counting it: calm, thinning, refusing.

    In process, with and without three candidates beside the policy in force. Takes about half a
    minute.
    """
    check_writable(json, html)
    made_at, command = made_now()
    with telling_errors():
        from penstock.bench.machine import machine_facts  # noqa: PLC0415
        from penstock.bench.policy_cost import measure_policy_cost  # noqa: PLC0415
        from penstock.bench.report.models import Report  # noqa: PLC0415

        machine = machine_facts()
        run = measure_policy_cost(
            sessions=sessions, seconds=seconds, repeats=repeats, tell=teller(quiet=quiet)
        )
    finish(
        Report(
            kind="policy-cost",
            made_at=made_at,
            command=command,
            machine=machine,
            server={"what": "the policy's own code, in this process; no server, no HTTP"},
            policy_cost=run,
            faults=[],
        ),
        json=json,
        html=html,
    )
