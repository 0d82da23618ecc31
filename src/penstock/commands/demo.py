"""`penstock demo`: a rush hour in two minutes."""

from typing import Annotated

import typer

from penstock.commands.output import print_table
from penstock.commands.serve import leaves


def demo(
    *,
    duration: Annotated[
        float, typer.Option(min=10, max=3600, help="Seconds from the first patient to the last.")
    ] = 120.0,
    patients: Annotated[
        int, typer.Option(min=1, max=500, help="How many exercise all the time.")
    ] = 36,
    most: Annotated[
        int, typer.Option(min=1, max=2000, help="How many exercise at the rush hour.")
    ] = 260,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where the demo's service listens; 0: any.")
    ] = 0,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the console in a browser.")
    ] = False,
) -> None:
    """Start a service of its own and let synthetic patients come, press it, and go.

    The load rises until frames must be dropped, and falls again; sessions end all the while. The
    console and one patient's skeleton can be watched meanwhile. It ends by itself, or with Ctrl-C,
    and leaves nothing behind. Exit code 1 when a result is missing.
    """
    if most < patients:
        raise typer.BadParameter(
            f"{most} is fewer than the {patients} of --patients", param_hint="'--most'"
        )
    # Here and not above: the other commands do without the second of imports.
    from penstock.bench.errors import BenchError  # noqa: PLC0415
    from penstock.commands.bench.options import telling_errors  # noqa: PLC0415
    from penstock.demo.plan import Plan  # noqa: PLC0415
    from penstock.demo.show import run_demo  # noqa: PLC0415

    with telling_errors():
        try:
            summary = run_demo(
                Plan(patients, most, duration),
                port=port,
                open_browser=open_browser,
                tell=typer.echo,
            )
        except BaseExceptionGroup as group:
            told = [
                leaf for leaf in leaves(group) if isinstance(leaf, BenchError | BrokenPipeError)
            ]
            if not told:
                raise
            raise told[0] from None
    if summary is None:
        typer.echo("\nStopped. Nothing is left of it.")
        raise typer.Exit(130)
    seen = max(1, summary.frames["seen"])
    print_table(
        ("", ""),
        (
            ("Sessions", f"{summary.sessions:,}"),
            ("Frames that came", f"{summary.frames['seen']:,}"),
            *(
                (f"of them {outcome}", f"{count:,} ({100 * count / seen:.1f} %)")
                for outcome, count in sorted(summary.frames.items())
                if outcome != "seen"
            ),
            ("Stress at most", f"{summary.most_stress:.0f} of 100"),
            (
                "Ends answered",
                f"{summary.ends_answered:,}, in {summary.ends_ms_median:.0f} ms (median), "
                f"{summary.ends_ms_most:.0f} ms (slowest)",
            ),
            (
                "Results read back",
                f"{summary.finals_found:,} of {summary.sessions:,}, "
                f"with {summary.repetitions:,} repetitions",
            ),
        ),
        title="What it came to",
    )
    for line in summary.unanswered:
        typer.echo(f"penstock: an end was not answered: {line}", err=True)
    if not summary.well:
        raise typer.Exit(1)
    typer.echo("Frames were dropped, on purpose and visibly. Results never. Nothing is left of it.")
