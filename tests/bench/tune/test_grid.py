import pytest

from penstock.bench.tune.grid import (
    DEFAULT_KNOBS,
    GridError,
    read_bound,
    read_grid,
    read_loads,
    turned,
)
from penstock.commands.tune import _DEFAULT_KNOBS
from penstock.engine.policy import DEFAULT_POLICY

DEGREES = {"deg": 1.0, "°": 1.0}
TIMES = {"ms": 1.0, "s": 1000.0}


def test_every_combination_is_tried_beside_the_one_in_force() -> None:
    """The policy in force comes first, and once, also where the grid has it."""
    grid = read_grid(["keep_every=2,3", "loss_percent=5,10.5"], DEFAULT_POLICY)
    assert grid.policies[0] == DEFAULT_POLICY
    assert [turned(one, DEFAULT_POLICY) for one in grid.policies[1:]] == [
        {"loss_percent": 10.5},
        {"keep_every": 3},
        {"keep_every": 3, "loss_percent": 10.5},
    ]
    assert grid.left_out == ()


def test_the_default_grid_is_the_one_that_help_names() -> None:
    """What `--help` says is what is tried, and it makes policies."""
    assert " ".join(DEFAULT_KNOBS) == _DEFAULT_KNOBS
    assert len(read_grid(DEFAULT_KNOBS, DEFAULT_POLICY).policies) == 12


def test_a_combination_that_makes_no_policy_is_left_out_and_told() -> None:
    """Knobs that contradict one another in one combination may be right in another."""
    grid = read_grid(["thin_at=40,80", "refuse_at=60,90"], DEFAULT_POLICY)
    assert len(grid.policies) == 4
    assert len(grid.left_out) == 1
    assert "thin_at=80" in grid.left_out[0]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["keep_every"], "keep_every=2,3,4"),
        (["keep_every=2", "keep_every=3"], "twice"),
        (["keep_evry=2"], "there is no such knob"),
        (["keep_every=2,99"], "from 2 to 10, seen '99'"),
        (["keep_every=2.5"], "whole number"),
        (["loss_percent=much"], "must be a number"),
        (["loss_percent=nan"], "must be a number"),
        (["loss_percent="], "must be a number"),
        (["inbox_batches=5"], "no inboxes"),
        (["thin_at=95", "refuse_at=60"], "thin_at"),
        ([f"loss_percent={','.join(map(str, range(100)))}", "keep_every=2,3,4,5,6,7"], "600"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(texts: list[str], words: str) -> None:
    """What is wrong is told with the option, the value and what is allowed."""
    with pytest.raises(GridError) as refused:
        read_grid(texts, DEFAULT_POLICY)
    assert all(line.startswith("--knob: ") for line in refused.value.lines)
    assert words in str(refused.value)


def test_loads_come_in_order() -> None:
    """However they are given, the lowest load is the first."""
    assert read_loads("2,1.2") == (1.2, 2.0)


@pytest.mark.parametrize("text", ["", "x", "1,1", "0", "-1", "nan", "inf", "1,,2", "21"])
def test_loads_that_make_no_sense_are_refused(text: str) -> None:
    """What is no list of different multiples is named, with what it must be."""
    with pytest.raises(GridError, match="--load"):
        read_loads(text)


@pytest.mark.parametrize(
    ("text", "units", "value"),
    [("3deg", DEGREES, 3.0), ("2.5 °", DEGREES, 2.5), ("3", DEGREES, 3.0), (".5s", TIMES, 500.0)],
)
def test_bounds_have_units(text: str, units: dict[str, float], value: float) -> None:
    """A bound is read in the unit it is written in, or in the usual one."""
    assert read_bound("--max", text, units) == value


@pytest.mark.parametrize("text", ["", "deg", "-1deg", "3 apples", "3s", "nan", "1e3", "3deg4"])
def test_bounds_that_make_no_sense_are_refused(text: str) -> None:
    """What is no bound is named, with the units that there are."""
    with pytest.raises(GridError, match=r"--max-rom-error: .*deg"):
        read_bound("--max-rom-error", text, DEGREES)
