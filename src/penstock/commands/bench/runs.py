"""`penstock bench runs`: durable reports a second, and how long each query takes."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from penstock.commands.bench.options import (
    JsonFile,
    Quiet,
    Seed,
    Set,
    check_writable,
    made_now,
    settings_given,
    teller,
    telling_errors,
    write,
)
from penstock.commands.output import print_table

if TYPE_CHECKING:
    from penstock.bench.runs import RunsOutcome, WriteFigures


def runs(
    *,
    connections: Annotated[int, typer.Option(min=1, max=1000, help="That post at once.")] = 16,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Of everything that posts.")] = 3,
    duration: Annotated[
        float, typer.Option(min=0.1, max=600, help="Seconds of each measurement of posts.")
    ] = 5.0,
    batch: Annotated[int, typer.Option(min=2, max=1000, help="Runs in a batch.")] = 100,
    rows: Annotated[
        int, typer.Option(min=0, max=10_000_000, help="Runs among which is queried; 0 for none.")
    ] = 100_000,
    asked: Annotated[int, typer.Option(min=1, max=10_000, help="Times each query is asked.")] = 200,
    peer: Annotated[
        bool, typer.Option(help="Measure FastAPI with SQLite beside it, in turns.")
    ] = True,
    settings: Set = None,
    seed: Seed = 1,
    json: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Measure reports and queries of runs, each report on disk before its answer.

    `--set database_url=postgresql://…` measures the ledger in that database, which is filled.
    """
    given = settings_given(settings)
    check_writable(json)
    made_at, command = made_now()
    with telling_errors():
        from penstock.bench.machine import machine_facts  # noqa: PLC0415
        from penstock.bench.runs import RunsPlan, measure_runs  # noqa: PLC0415

        plan = RunsPlan(
            connections=connections,
            rounds=rounds,
            seconds=duration,
            peer=peer,
            batch=batch,
            rows=rows,
            asked=asked,
            seed=seed,
            settings=given,
        )
        outcome = measure_runs(plan, teller(quiet=quiet))
    _show(outcome, batch)
    if json is not None:
        document = {
            "kind": "runs",
            "made_at": made_at,
            "command": command,
            "machine": machine_facts(),
            "ratio_to_peer": outcome.ratio,
            **asdict(outcome),
        }
        for fault in write(json, orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()):
            typer.echo(f"penstock: {fault}", err=True)
            raise typer.Exit(1)


def _show(outcome: "RunsOutcome", batch: int) -> None:
    measured: list[tuple[str, tuple[WriteFigures, ...]]] = [
        ("one run a post", outcome.posts),
        (f"{batch} runs a post", outcome.batches),
        ("FastAPI with SQLite, one run a post", outcome.peer),
    ]
    print_table(
        ("What", "Runs a second, by round", "p50", "p99"),
        [
            (
                name,
                ", ".join(f"{one.runs_per_second:,.0f}" for one in figures),
                f"{min(one.p50_ms for one in figures):.1f} ms",
                f"{min(one.p99_ms for one in figures):.1f} ms",
            )
            for name, figures in measured
            if figures
        ],
        title="Durable reports (times: the best round's)",
    )
    if outcome.ratio is not None:
        typer.echo(f"{outcome.ratio:.1f} times the peer, in the median round")
    if outcome.queries:
        print_table(
            ("Query", "Runs", "p50", "p99", "Max"),
            [
                (
                    one.query,
                    str(one.runs),
                    f"{one.p50_ms:.1f} ms",
                    f"{one.p99_ms:.1f} ms",
                    f"{one.max_ms:.1f} ms",
                )
                for one in outcome.queries
            ],
            title=f"Queries among {outcome.rows:,} runs",
        )
