"""The motion is written now and then, and a file gives it back as of its last frame."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from penstock.engine import wire
from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.folding import fold_recovered
from penstock.engine.inbox import Arrival
from penstock.engine.motion.motion import NO_MOTION, Motion
from penstock.engine.outcomes import FrameLedger, Reason, Tally
from penstock.engine.ports import SpoolChunk
from penstock.engine.timeline import Timeline
from penstock.engine.turbine import moved
from penstock.storage.spool import SpoolFolder

SESSION = SessionIdentity("0d5d1c3e-3f64-4f35-a8b3-6b0c0a0f9d11", "p", "o")
BATCHES = 20


def _batch(number: int) -> Arrival:
    points = np.random.default_rng(number).uniform(0.3, 0.9, (10, 33, 4))
    times = [1000 * number + 100 * n for n in range(10)]
    return Arrival(wire.decode(wire.encode(points, times, level=1)), 0)


def _write(folder: Path, due: Callable[[int], bool]) -> Motion:
    """Write a session as its actor does; give its motion at the end."""
    motion, timeline, tally, ledger = NO_MOTION, Timeline(), Tally(), FrameLedger()
    with SpoolFolder(folder, max_open_files=4) as spool:
        for number in range(BATCHES):
            batch = _batch(number)
            before = Checkpoint(
                SESSION, 0, 10 * number, timeline.copy(), tally.settled(), motion, due(number)
            )
            assert spool.append([SpoolChunk(before, (batch,))]) == [None]
            motion = moved([(motion, [batch])])[0]
            used, _ = timeline.fold(batch.batch.timestamps_ms)
            ledger.admit(tally, 10)
            ledger.settle(tally, Reason.USED, used)
    return motion


@pytest.mark.parametrize("every", [1, 6, 7, 100])
def test_the_motion_comes_back_however_seldom_it_was_written(tmp_path: Path, every: int) -> None:
    """Recovery folds the frames since the newest motion in the file, and counts none twice."""
    motion = _write(tmp_path, lambda number: number % every == 0)
    with SpoolFolder(tmp_path, max_open_files=4) as spool:
        recovered = spool.recover(SESSION.session_id)
    assert recovered is not None
    state = fold_recovered(recovered, pytest.fail)
    assert state.motion == motion
    assert state.timeline.used == state.accepted_frames == 10 * BATCHES
    assert state.tally.conserved
