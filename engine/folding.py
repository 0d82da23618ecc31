"""How a session's state follows from its frames: as they come, and again from its file."""

from collections.abc import Callable, Sequence

from penstock.engine.checkpoint import Checkpoint, SessionIdentity
from penstock.engine.inbox import Arrival
from penstock.engine.outcomes import FrameLedger, Reason, Tally
from penstock.engine.ports import Clock, Recovered
from penstock.engine.reported import Reported
from penstock.engine.timeline import Timeline
from penstock.engine.turbine import moved


def fold(timeline: Timeline, arrivals: Sequence[Arrival]) -> tuple[int, int]:
    """Take the times of these batches; give how many frames were used and repeated."""
    used = repeated = 0
    for arrival in arrivals:
        fresh, again = timeline.fold(arrival.batch.timestamps_ms)
        used += fresh
        repeated += again
    return used, repeated


def last_word(reported: Reported, arrivals: Sequence[Arrival]) -> Reported:
    """Give what the client says of the exercise after these batches."""
    for arrival in arrivals:
        if arrival.meta.reported is not None:
            reported = reported.then(arrival.meta.reported)
    return reported


def new_checkpoint(identity: SessionIdentity, clock: Clock) -> Checkpoint:
    """Give the state of a session that has just been seen for the first time."""
    return Checkpoint(identity, int(clock.unix() * 1000), 0, Timeline(), Tally())


def fold_recovered(recovered: Recovered, warn: Callable[[str], None]) -> Checkpoint:
    """Turn what a file gave back into the state that a session goes on from."""
    before = recovered.before
    timeline = before.timeline.copy()
    ledger = FrameLedger()
    tally = before.tally
    motion = before.motion
    frames = sum(arrival.frame_count for arrival in recovered.batches)
    ledger.admit(tally, frames + recovered.torn_frames)
    ledger.settle(tally, Reason.TORN_SPOOL, recovered.torn_frames)
    try:
        used, repeated = fold(timeline, recovered.batches)
        if recovered.earlier or recovered.batches:
            motion = moved([(motion, (*recovered.earlier, *recovered.batches))])[0]
        ledger.settle(tally, Reason.USED, used)
        ledger.settle(tally, Reason.REPEATED, repeated)
    except Exception as error:  # noqa: BLE001 - what crashed the actor before must not crash every restart
        warn(f"{type(error).__name__}: {error}")
        timeline, motion = before.timeline, before.motion
        ledger.settle(tally, Reason.ACTOR_CRASHED, tally.pending)
    return before._replace(
        accepted_frames=before.accepted_frames + frames,
        timeline=timeline,
        tally=tally,
        motion=motion,
        motion_due=False,
        reported=last_word(before.reported, recovered.batches),
    )
