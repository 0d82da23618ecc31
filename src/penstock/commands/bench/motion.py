"""`penstock bench motion`: what the clinical figures cost."""

from typing import Annotated

import typer

from penstock.commands.bench.options import Quiet, teller
from penstock.commands.options import Json
from penstock.commands.output import print_json, print_table


def motion(
    *,
    in_a_turn: Annotated[
        list[int] | None,
        typer.Option(
            min=1, max=10_000, help="Sessions whose frames are folded at once; may be repeated."
        ),
    ] = None,
    minutes: Annotated[int, typer.Option(min=1, max=60, help="How long sessions live.")] = 9,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fold the frames of synthetic patients, a batch of 10 a second each, from the first minute on.

    In process. Without --in-a-turn: 500, 50 and 10 sessions. Takes about a minute.
    """
    # Here and not above: the other commands do without the second of imports.
    from penstock.motion_speed import measure_motion, recorded  # noqa: PLC0415

    tell = teller(quiet=quiet)
    turns = in_a_turn or [500, 50, 10]
    patients = recorded(max(turns), minutes, tell)
    measured = [
        measure_motion(patients, in_a_turn=turn, minutes=minutes, tell=tell) for turn in turns
    ]
    if as_json:
        print_json(measured)
        return
    print_table(
        (
            "Sessions in a turn", "µs a batch", "by the minute", "figures ms p50", "p90", "max",
            "state bytes, mean", "largest",
        ),
        (
            (
                f"{one.in_a_turn:,}",
                f"{one.us_a_batch:.1f}",
                " ".join(f"{us:.0f}" for us in one.minutes_us),
                *(f"{ms:.1f}" for ms in one.figures_ms),
                f"{one.mean_bytes:,}",
                f"{one.largest_bytes:,}",
            )
            for one in measured
        ),
    )  # fmt: skip
