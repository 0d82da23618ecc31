"""A log's older turns take a third of the room and come back as they were."""

import numpy as np
import pytest

from motion_sets import bent, clock, folded, squats
from penstock.engine.motion.motion import dumped, loaded
from penstock.engine.motion.packing import packed, unpacked
from penstock.engine.motion.turns import TURN


def _turns(number: int) -> bytes:
    times, halves = clock(number * 4 + 8), [1000 + 4000 * n for n in range(number)]
    turns: bytes = folded(times, squats(bent(times, halves, 3000))).folded.log().tobytes()
    return turns


def test_chunks_are_their_turns_behind_one_another() -> None:
    """Packed at any places, turns come back in their order, and in less than half of the room."""
    turns = _turns(25)
    assert len(turns) > 100 * TURN.itemsize
    for cut in (1, 40, 77):
        parts = turns[: cut * TURN.itemsize], turns[cut * TURN.itemsize :]
        assert unpacked(packed(parts[0]) + packed(parts[1])) == turns
    assert len(packed(turns)) < len(turns) / 2
    assert unpacked(b"") == b""


def test_what_is_not_packed_is_refused() -> None:
    """Chunks that were cut, changed or are of something else raise ValueError."""
    whole = packed(_turns(10))
    for wrong in (whole[:-3], whole[:6] + b"xx" + whole[8:], whole + b"\x01"):
        with pytest.raises(ValueError, match="not packed turns"):
            unpacked(wrong)


def test_a_state_whose_log_was_packed_goes_on_elsewhere() -> None:
    """A long session packs its log, is dumped and loaded with it, and refuses a wrong number."""
    times = clock(240)
    motion = folded(times, squats(bent(times, [1000 + 4000 * n for n in range(58)], 3000)))
    state = motion.folded
    assert state.older
    assert state.number == len(state.log())
    assert np.all(np.diff(state.log()["at_ms"][state.log()["signal"] == 0].astype(int)) > 0)
    assert loaded(dumped(motion)) == motion
    wrong = motion._replace(folded=state._replace(older_number=state.older_number + 1))
    with pytest.raises(ValueError, match="do not fit"):
        loaded(dumped(wrong))
