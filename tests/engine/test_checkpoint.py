import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.checkpoint import CHECKPOINT_VERSION, Checkpoint, SessionIdentity
from penstock.engine.motion.joints import JOINTS
from penstock.engine.motion.reach import Reach
from penstock.engine.outcomes import Outcome, Reason, Tally
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
degrees = st.just(math.nan) | st.integers(-900, 1800).map(lambda tenths: tenths / 10)
reaches = st.lists(degrees, min_size=2 * len(JOINTS), max_size=2 * len(JOINTS)).map(
    lambda row: Reach(np.array(row, np.float32).reshape(2, -1))
)
checkpoints = st.builds(Checkpoint, identities, counts, counts, timelines, tallies, reaches)


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
    ],
)
def test_a_foreign_checkpoint_is_refused(
    make_identity: Callable[..., SessionIdentity], damage: Callable[[dict[str, Any]], object]
) -> None:
    """Another version's checkpoint is an error of a known kind, never half understood."""
    plain = Checkpoint(make_identity(), 0, 0, Timeline(used=1), Tally()).plain()
    damage(plain)
    with pytest.raises((KeyError, TypeError, ValueError)):
        Checkpoint.from_plain(plain)
