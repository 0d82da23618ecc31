# ruff: noqa: ARG001 - pytest-trio takes its clock from a test's arguments
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from uuid import UUID

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.outcomes import Reason, Tally
from penstock.engine.session_list import (
    IN_MEMORY,
    Choice,
    Mark,
    SessionRow,
    Sort,
    Stage,
    Which,
    first_rows,
    lost_basis_points,
    lost_so_far,
    page_of,
)


def name(number: int) -> str:
    return str(UUID(int=number))


def row(number: int, stage: Stage, started: int, frames: int, lost: int) -> SessionRow:
    identity = SessionIdentity(name(number), name(7), name(8))
    return SessionRow(identity, stage, started, None, frames, lost)


small = st.integers(0, 3)


def rows(stages: Iterable[Stage]) -> st.SearchStrategy[list[SessionRow]]:
    made = st.builds(row, st.integers(0, 25), st.sampled_from(list(stages)), small, small, small)
    return st.lists(made, max_size=20, unique_by=lambda one: one.identity.session_id)


def asked(
    choice: Choice, limit: int, after: Mark | None, stored: list[SessionRow]
) -> list[SessionRow]:
    """Answer as a ledger does."""
    if not choice.wants_ledger:
        return []
    found = sorted(stored, key=lambda one: one.place(choice.sort), reverse=choice.descending)
    if choice.which is not None:
        found = [one for one in found if one.stage.value == choice.which.value]
    if after is not None:
        sign = -1 if choice.descending else 1
        found = [
            one
            for one in found
            if (one.place(choice.sort) > after) - (one.place(choice.sort) < after) == sign
        ]
    return found[:limit]


@given(
    rows(IN_MEMORY),
    rows((Stage.PROVISIONAL, Stage.ENDED)),
    st.builds(
        Choice, st.sampled_from(Sort), st.booleans(), st.sampled_from([None, *list(Which)[:5]])
    ),
    st.integers(1, 6),
)
def test_pages_one_after_the_other_are_the_whole_list_in_order(
    memory: list[SessionRow], stored: list[SessionRow], choice: Choice, limit: int
) -> None:
    """Whatever is in memory and in the ledger, every session comes once, where it belongs."""
    sort, which = choice.sort, choice.which
    known = {one.identity.session_id for one in memory}
    whole = [*memory, *(one for one in stored if one.identity.session_id not in known)]
    whole = [one for one in whole if which is None or one.stage.value == which.value]
    whole.sort(key=lambda one: one.place(sort), reverse=choice.descending)

    found: list[SessionRow] = []
    after: Mark | None = None
    for _ in range(60):
        first = first_rows(choice, limit, after, memory)
        page = page_of(choice, limit, first, asked(choice, limit, after, stored), known)
        assert len(page.rows) <= limit
        found += page.rows
        after = page.after
        if after is None:
            break
    assert found == whole


def test_who_is_looked_for() -> None:
    """The beginning of a session's id, or a whole id of a session or a person; within an org."""
    identity = SessionIdentity("abcd" + name(1)[4:], name(7), name(8))
    for text in ("", "abcd", identity.session_id, identity.principal_id):
        assert Choice(looked_for=text).of(identity)
        assert Choice(looked_for=text, org_id=name(8)).of(identity)
        assert not Choice(looked_for=text, org_id=name(9)).of(identity)
    for text in ("abce", name(7)[:35], name(8)):
        assert not Choice(looked_for=text).of(identity)


def test_the_share_of_lost_frames_is_what_completeness_leaves() -> None:
    """Of frames that wait nothing is lost yet; what came twice is one; the unsent are missing."""
    assert lost_so_far(Tally()) == 0
    ended = {Reason.USED: 60, Reason.REPEATED: 50, Reason.POLICY_THINNED: 20}
    tally = Tally(140, 10, ended, {Reason.UNSENT_NETWORK: 10})
    assert tally.conserved
    assert lost_so_far(tally) == 3000
    assert [lost_basis_points(share) for share in (None, 1.0, 0.9512, 0.0)] == [0, 0, 488, 10_000]


async def test_the_registry_tells_of_who_is_in_memory(
    autojump_clock: MockClock, open_world: Callable[..., Any], make_arrival: Callable[..., Any]
) -> None:
    """Live, resting and failed sessions are told with their counts; only those that are wanted."""
    async with open_world() as world:
        await world.offer(make_arrival(3), 1)
        await world.offer(make_arrival(2, poisoned=True), 3)
        await world.offer(make_arrival(4), 2)
        world.actor(2).rest()
        await trio.sleep(5)
        found = {
            one.identity.session_id: one
            for one in await world.sessions.rows(lambda _identity: True, lambda rows: rows)
        }
        stages = {key: (one.stage, one.frames) for key, one in found.items()}
        assert stages == {
            name(1): (Stage.LIVE, 3),
            name(2): (Stage.RESTING, 4),
            name(3): (Stage.FAILED, 2),
        }
        assert found[name(3)].lost_basis_points == 10_000
        choice = Choice(looked_for=name(2))
        only = await world.sessions.rows(choice.of, lambda rows: rows)
        assert [one.identity.session_id for one in only] == [name(2)]
        least = partial(first_rows, Choice(Sort.FRAMES, descending=False), 1, None)
        few = await world.sessions.rows(lambda _identity: True, least)
        assert [one.frames for one in few] == [2, 3]
        assert world.sessions.in_memory(name(1)).accepted_frames == 3
        assert world.sessions.in_memory(name(2)).tally.plain() == {"used": 4}
        assert world.sessions.in_memory(name(5)) is None
