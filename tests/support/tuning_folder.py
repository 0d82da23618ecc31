"""Tunings in a data folder, with figures of the tests' choice, written as `penstock tune` does."""

from pathlib import Path

from penstock.bench.tune.report import conclude, write
from penstock.bench.tune.result import Band, Bounds, Point, SessionTold, Tried, TuningResult
from penstock.bench.tune.state import RESULT
from penstock.engine.policy import DEFAULT_POLICY
from penstock.tunings import TUNINGS

LOADS = (1.05, 1.2, 1.5)
TURNED = (
    {},
    {"keep_every": 4},
    {"loss_percent": 20.0},
    {"keep_every": 4, "loss_percent": 20.0},
    {"dwell_seconds": 0.5},
)


def _point(policy: int, load: float) -> Point:
    lost = min(0.9, (load - 1) * (0.9 + 0.15 * policy))
    wrong = 1.0 + 4 * lost + 0.7 * policy

    def band(value: float) -> Band:
        return Band(value=value, low=0.7 * value, high=1.4 * value)

    return Point(
        policy=policy,
        load=load,
        lost_share=Band(value=lost, low=0.95 * lost, high=1.05 * lost),
        thinned_share=0.6 * lost,
        refused_share=0.3 * lost,
        withheld_share=0.1 * lost,
        given_up_share=0.0,
        batches_refused_share=0.2 * lost,
        gap_median_ms=300.0,
        gap_longest_ms=1900.0,
        exact_share=Band(value=0.8, low=0.6, high=0.9),
        repetitions=band(0.2 * wrong),
        range_degrees=band(wrong),
        tempo_ms=band(60 * wrong),
        wait_seconds=0.3 / (1 + policy),
        stress=55.0,
    )


def make_result(
    *,
    bound: float = 8.5,
    made_at: str = "2026-03-04T05:06:07+00:00",
    command: str = "penstock tune",
) -> TuningResult:
    """Give a result of five policies at three loads."""
    return conclude(
        policies=[DEFAULT_POLICY.changed(turned) for turned in TURNED],
        in_force_from="that of the tests",
        tried=Tried(
            seeds=[1, 2],
            loads=list(LOADS),
            places=60,
            longest_seconds=60.0,
            costs={"refused": 0.1},
            digest="0" * 64,
        ),
        sessions=[
            SessionTold(
                name=f"patient {number}",
                frames=1800,
                seconds=180.0,
                repetitions=12,
                range_degrees=None if number == 3 else 80.5 + number,
                tempo_ms=2100.0,
            )
            for number in range(12)
        ],
        left_out=[],
        points=[_point(policy, load) for policy in range(len(TURNED)) for load in LOADS],
        bounds=Bounds(range_degrees=bound, tempo_ms=900.0),
        made_at=made_at,
        command=command,
    )


def keep_tuning(
    data_dir: Path, name: str, result: TuningResult | None = None, *, drawn: bool = False
) -> Path:
    """Write a tuning that is done, and give its folder. Drawing takes half a second."""
    folder = data_dir / TUNINGS / name
    folder.mkdir(parents=True)
    found = result or make_result()
    if drawn:
        write(found, folder)
    else:
        (folder / RESULT).write_text(found.model_dump_json(by_alias=True))
    return folder
