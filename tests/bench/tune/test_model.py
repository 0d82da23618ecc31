from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from penstock.bench.tune.fates import Fate, is_thinned, kept_frames, thinned
from penstock.bench.tune.model import Modelled, Scene, simulate
from penstock.engine.policy import DEFAULT_POLICY, Policy

Make = Callable[..., Policy]


def _lost_share(scene: Scene, found: Modelled) -> float:
    kept = [
        kept_frames(one.frames, codes)
        for one, codes in zip(scene.outlines, found.codes, strict=True)
    ]
    return 1 - sum(int(one.sum()) for one in kept) / sum(len(one) for one in kept)


def test_equal_arguments_give_equal_runs(scene: Scene) -> None:
    """A run follows from its seed, and another seed gives another one."""
    first, again = (simulate(scene, DEFAULT_POLICY, 1.5, 1) for _ in range(2))
    other = simulate(scene, DEFAULT_POLICY, 1.5, 2)
    for one, two in zip(first.codes, again.codes, strict=True):
        assert (one == two).all()
    assert (first.wait_seconds, first.stress) == (again.wait_seconds, again.stress)
    assert any((one != two).any() for one, two in zip(first.codes, other.codes, strict=True))


def test_below_the_capacity_nothing_is_lost(scene: Scene) -> None:
    """A service that keeps up loses nobody's frames, whatever its policy would do under stress."""
    for policy in (DEFAULT_POLICY, DEFAULT_POLICY.changed({"loss_percent": 50})):
        found = simulate(scene, policy, 0.5, 1)
        assert all((codes == Fate.WHOLE).all() for codes in found.codes)
        assert found.stress < policy.thin_at


def test_a_higher_load_never_loses_fewer_frames(scene: Scene) -> None:
    """What is lost grows with the load, and is at least what the service cannot take."""
    loads = (0.5, 1.2, 2.0, 4.0)
    shares = [_lost_share(scene, simulate(scene, DEFAULT_POLICY, load, 1)) for load in loads]
    assert shares == sorted(shares)
    for load, share in zip(loads, shares, strict=True):
        # A few dozen sessions are not the whole crowd: theirs may be a little less.
        assert share >= 1 - 1 / load - 0.1


def test_the_policy_is_the_engines(scene: Scene, policy: Make) -> None:
    """Batches are thinned by the policy's number, and by none that begins to thin too late."""
    codes = np.concatenate(simulate(scene, policy(keep_every=5), 1.1, 1).codes)
    assert set((codes[is_thinned(codes)] // 16).tolist()) == {5}
    never = policy(thin_at=100, refuse_at=100, refuse_bulk_at=100)
    codes = np.concatenate(simulate(scene, never, 1.1, 1).codes)
    assert not is_thinned(codes).any()


def test_a_refused_client_waits(scene: Scene) -> None:
    """Batches that come due before the time that was told are not sent."""
    codes = simulate(scene, DEFAULT_POLICY, 2.0, 1).codes
    behind = [
        Fate(int(after))
        for one in codes
        for before, after in pairwise(one)
        if before == Fate.REFUSED
    ]
    # The others were waiting when the refusal came, or were due after a long wait for it.
    assert behind.count(Fate.WITHHELD) > len(behind) / 2 > 0
    assert Fate.REFUSED not in behind


@pytest.mark.parametrize(
    ("sizes", "codes", "kept"),
    [
        ((3, 2), (Fate.WHOLE, Fate.WHOLE), [1, 1, 1, 1, 1]),
        ((3, 2), (Fate.REFUSED, Fate.WHOLE), [0, 0, 0, 1, 1]),
        ((2, 1, 1), (Fate.WITHHELD, Fate.GIVEN_UP, Fate.WHOLE), [0, 0, 0, 1]),
        ((5, 4), (thinned(2, 1), thinned(3, 0)), [0, 1, 0, 1, 0, 1, 0, 0, 1]),
        ((12,), (thinned(10, 9),), [0] * 9 + [1, 0, 0]),
    ],
)
def test_a_fate_says_which_frames_are_left(
    sizes: tuple[int, ...], codes: tuple[int, ...], kept: list[int]
) -> None:
    """Whole batches are left whole, thinned ones as the engine thins them, the others not."""
    assert kept_frames(sizes, np.array(codes, np.uint8)).astype(int).tolist() == kept
