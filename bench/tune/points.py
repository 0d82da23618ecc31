"""From the errors of each session in each run to a point with bands for each policy and load."""

from collections.abc import Sequence

import numpy as np

from penstock.bench.tune.bands import Bootstrap, wilson
from penstock.bench.tune.figures import COLUMN, Errors
from penstock.bench.tune.result import Band, Point


def points_of(
    loads: Sequence[float],
    shape: tuple[int, int, int],
    errors: Errors,
    service: Errors,
    *,
    seed: int,
) -> list[Point]:
    """Give the points; `shape` is policies x loads x seeds, `errors` sessions x runs x columns."""
    policies, _, seeds = shape
    sessions = len(errors)
    by_run = errors.reshape(sessions, *shape, errors.shape[-1])
    of_service = service.reshape(*shape, 2).mean(axis=2)
    bootstrap = Bootstrap(sessions, seeds, seed)
    return [
        _point(bootstrap, by_run[:, policy, at], policy, load, of_service[policy, at])
        for policy in range(policies)
        for at, load in enumerate(loads)
    ]


def _point(bootstrap: Bootstrap, rows: Errors, policy: int, load: float, service: Errors) -> Point:
    """Sum up sessions x seeds x columns."""
    due = rows[..., COLUMN.due]
    total = due.sum()

    def share(column: int) -> float:
        return float(rows[..., column].sum() / total)

    exact = float((rows[..., COLUMN.repetitions] == 0).mean())
    gaps = rows[..., COLUMN.gap_ms]
    return Point(
        policy=policy,
        load=load,
        lost_share=_there(bootstrap.ratio(rows[..., COLUMN.lost], due)),
        thinned_share=share(COLUMN.thinned),
        refused_share=share(COLUMN.refused),
        withheld_share=share(COLUMN.withheld),
        given_up_share=share(COLUMN.given_up),
        batches_refused_share=float(
            rows[..., COLUMN.batches_refused].sum() / rows[..., COLUMN.batches].sum()
        ),
        gap_median_ms=float(np.median(gaps)),
        gap_longest_ms=float(gaps.max()),
        exact_share=wilson(exact, len(rows)),
        repetitions=_there(bootstrap.mean(rows[..., COLUMN.repetitions])),
        range_degrees=bootstrap.mean(rows[..., COLUMN.range_degrees]),
        tempo_ms=bootstrap.mean(rows[..., COLUMN.tempo_ms]),
        wait_seconds=float(service[0]),
        stress=float(service[1]),
    )


def _there(band: Band | None) -> Band:
    if band is None:
        raise ValueError("every session has frames and a count")
    return band
