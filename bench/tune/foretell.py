"""What the model foretells of a load run that took place: how far it can be believed.

`python -m penstock.bench.tune.foretell REPORT.json` reads a report of `bench pressure` and prints,
for each of its loads, what was lost there and what the model says. How far the load was above the
capacity is read off the run itself: a service that is never idle takes what it can, and that is
another number each minute on a machine that others use. The model is given the same clients from
the same first second on, and the policy that the report names.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Final, NamedTuple

import numpy as np

from penstock.bench.errors import BenchError
from penstock.bench.report.models import LoadRun
from penstock.bench.report.read import read_report
from penstock.bench.tables import table
from penstock.bench.tune.fates import Fate, is_thinned, kept_frames
from penstock.bench.tune.model import COSTS, Scene, simulate
from penstock.bench.tune.takes import Outline
from penstock.engine.policy import DEFAULT_POLICY, KNOBS, Policy

_SEEDS: Final = (1, 2, 3)
_SESSIONS: Final = 60
_PLACES: Final = 400
_POLICY: Final = "policy "


class Lost(NamedTuple):
    """Shares of the frames due."""

    all: float
    thinned: float
    refused: float
    withheld: float
    given_up: float


def policy_of(server: Mapping[str, str]) -> Policy:
    """Read the policy that a report's facts name; the default one where they name none."""
    knobs: dict[str, object] = {}
    for name, text in server.items():
        if name.startswith(_POLICY):
            knob = name.removeprefix(_POLICY)
            words = knob in KNOBS and KNOBS[knob].words
            knobs[knob] = text if words else float(text)
    return DEFAULT_POLICY.changed(knobs)


def load_of(run: LoadRun) -> float:
    """Give what was offered in multiples of what was taken, once all sessions had begun."""
    plan = run.plan
    begun = [
        one
        for one in run.seconds
        if plan.ramp_seconds + 1 <= one.at < plan.ramp_seconds + plan.seconds
    ]
    if not begun:
        raise BenchError("no second of the run had all sessions, so its load is not known")
    taken = sum(n for one in begun for what, n in one.outcomes.items() if what[:1] == "2")
    refused = sum(n for one in begun for what, n in one.outcomes.items() if what[:3] == "429")
    served = (taken + COSTS.refused * refused) / len(begun)
    if not served:
        raise BenchError("nothing was answered, so the load is not known")
    return plan.sessions / plan.interval_seconds / served


def seen(run: LoadRun) -> Lost:
    """Give what was lost in the run, as the clients know it."""
    if run.losses is None:
        raise BenchError("the report does not say what was lost")
    due, frames = run.losses.frames_due, run.plan.frames_a_batch
    outcomes = run.outcomes.get("pose", {})

    def share(*names: str) -> float:
        batches = sum(n for what, n in outcomes.items() if what.startswith(names))
        return batches * frames / due

    return Lost(
        run.losses.frames_lost / due,
        run.server_frames.get("shed policy_thinned", 0) / due,
        share("429"),
        share("withheld"),
        share("given up"),
    )


def foretold(run: LoadRun, policy: Policy, load: float) -> Lost:
    """Give what the model says of the same clients, the mean of some seeds."""
    plan = run.plan
    interval = 1000 * plan.interval_seconds
    batches = max(2, round((plan.ramp_seconds + plan.seconds) / plan.interval_seconds))
    within = interval * (plan.frames_a_batch - 1) / plan.frames_a_batch
    one = Outline(
        "session",
        (plan.frames_a_batch,) * batches,
        tuple(round(n * interval) for n in range(batches)),
        tuple(round(n * interval + within) for n in range(batches)),
    )
    scene = Scene((one,) * _SESSIONS, _PLACES, warm_seconds=0.0)
    found = [_shares(scene, policy, load, seed) for seed in _SEEDS]
    return Lost(*(fmean(values) for values in zip(*found, strict=True)))


def _shares(scene: Scene, policy: Policy, load: float, seed: int) -> Lost:
    codes = np.concatenate(simulate(scene, policy, load, seed).codes)
    sizes = tuple(size for one in scene.outlines for size in one.frames)
    lost = ~kept_frames(sizes, codes)
    of = np.repeat(codes, sizes)

    def share(fate: Fate) -> float:
        return float((of == fate).mean())

    return Lost(
        float(lost.mean()),
        float((lost & is_thinned(of)).mean()),
        share(Fate.REFUSED),
        share(Fate.WITHHELD),
        share(Fate.GIVEN_UP),
    )


def main(path: Path) -> None:
    """Print what was seen and what is foretold, in percent of the frames due."""
    report = read_report(path)
    if report.pressure is None:
        raise BenchError(f"{path} is no report of bench pressure")
    policy = policy_of(report.server)
    rows = []
    for step in report.pressure.steps:
        load = load_of(step.run)
        for who, lost in (("seen", seen(step.run)), ("foretold", foretold(step.run, policy, load))):
            rows.append([f"{load:.2f}", who, *(f"{100 * part:.1f}" for part in lost)])
    head = ["load", "", *(name.replace("_", " ") for name in Lost._fields)]
    sys.stdout.write(table(head, rows) + "\n")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except BenchError as error:
        sys.exit(f"penstock: {error}")
