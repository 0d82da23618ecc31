import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.checkpoint import CHECKPOINT_VERSION, Checkpoint, SessionIdentity
from penstock.engine.motion.motion import BEGUN_ANEW, NO_MOTION, Motion, advance
from penstock.engine.motion.signals import SIGNALS
from penstock.engine.outcomes import Outcome, Reason, Tally
from penstock.engine.reported import LONGEST_PHASE, NOTHING_REPORTED, Reported
from penstock.engine.timeline import Timeline

counts = st.integers(0, 1 << 40)
seen = [reason for reason in Reason if reason.outcome is not Outcome.UNSENT]
unsent = [reason for reason in Reason if reason.outcome is Outcome.UNSENT]
tallies = st.builds(
    lambda ended, unsent: Tally(sum(ended.values()), 0, ended, unsent),
    st.dictionaries(st.sampled_from(seen), counts),
    st.dictionaries(st.sampled_from(unsent), counts),
)
timelines = st.builds(
    Timeline, st.none() | counts, st.none() | counts, counts, counts, counts, counts, counts
)
identities = st.builds(SessionIdentity, *[st.uuids().map(str)] * 3)


def _moved(frames: int) -> Motion:
    values = np.random.default_rng(frames).uniform(0, 90, (frames, len(SIGNALS)))
    times = np.arange(frames, dtype=np.int64) * 100
    return advance([NO_MOTION], [frames], times, values.astype(np.float32))[0]


motions = st.integers(1, 200).map(_moved) | st.just(NO_MOTION)
reported = st.just(NOTHING_REPORTED) | st.builds(
    Reported,
    st.none() | st.integers(0, 1_000_000),
    st.none() | st.floats(0, 100),
    st.none() | st.floats(0, 360),
    st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=LONGEST_PHASE),
)
checkpoints = st.builds(
    Checkpoint,
    identities,
    counts,
    counts,
    timelines,
    tallies,
    motions,
    st.sampled_from([True]),
    reported=reported,
)


@given(checkpoints)
def test_a_checkpoint_comes_back_from_json_as_it_was(checkpoint: Checkpoint) -> None:
    """Through JSON and back every part is equal, and the tally keeps the law."""
    again = Checkpoint.from_plain(json.loads(json.dumps(checkpoint.plain())))
    assert again == checkpoint
    assert again.tally.conserved


@given(checkpoints)
def test_what_is_rebuilt_is_its_own(checkpoint: Checkpoint) -> None:
    """Counting on in a rebuilt state does not change the one it was made from."""
    plain = checkpoint.plain()
    again = Checkpoint.from_plain(plain)
    again.tally.ended[Reason.USED] = -1
    again.timeline.used = -1
    assert checkpoint.plain() == plain


@pytest.mark.parametrize(
    "damage",
    [
        lambda plain: plain.update(v=CHECKPOINT_VERSION + 1),
        lambda plain: plain.pop("v"),
        lambda plain: plain.pop("org_id"),
        lambda plain: plain["timeline"].pop("used") and plain["timeline"].update(unheard_of=1),
        lambda plain: plain.update(timeline=None),
        lambda plain: plain["tally"].update(unheard_of=1),
        lambda plain: plain.update(tally={"used": "many"}),
        lambda plain: plain.pop("motion"),
        lambda plain: plain.update(motion=1),
        lambda plain: plain.update(motion="not base64"),
        lambda plain: plain.update(motion="AAAA"),
        lambda plain: plain.update(motion=plain["motion"][:-8]),
    ],
)
def test_a_foreign_checkpoint_is_refused(
    make_identity: Callable[..., SessionIdentity], damage: Callable[[dict[str, Any]], object]
) -> None:
    """Another version's checkpoint is an error of a known kind, never half understood."""
    plain = Checkpoint(make_identity(), 0, 9, Timeline(used=1), Tally(), _moved(9)).plain()
    damage(plain)
    with pytest.raises((KeyError, TypeError, ValueError)):
        Checkpoint.from_plain(plain)


@pytest.mark.parametrize(("accepted", "motion"), [(0, NO_MOTION), (10, BEGUN_ANEW)])
def test_the_first_version_s_counts_go_on(
    make_identity: Callable[..., SessionIdentity], accepted: int, motion: Motion
) -> None:
    """A checkpoint from before there was a motion is read; the motion begins, and says if anew."""
    plain = Checkpoint(make_identity(), 0, accepted, Timeline(used=1), Tally()).plain()
    del plain["motion"]
    again = Checkpoint.from_plain(plain | {"v": 1, "reach": [[None] * 10] * 2})
    assert again.accepted_frames == accepted
    assert again.motion == motion
    assert again.timeline.used == 1
    assert again.motion_due == (accepted == 0)


def test_a_motion_that_is_not_due_is_left_out(
    make_identity: Callable[..., SessionIdentity],
) -> None:
    """Most checkpoints of a file are small: without the motion, and read back as that."""
    checkpoint = Checkpoint(make_identity(), 0, 10, Timeline(), Tally(), _moved(100))
    bare = checkpoint._replace(motion_due=False).plain()
    assert bare["motion"] is None
    assert not Checkpoint.from_plain(bare).motion_due
