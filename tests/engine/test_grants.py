"""What is remembered of consents and quotas: for how long, and what holds while nobody answers."""

from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from penstock.engine.grants import (
    RETRY_SECONDS,
    CachedGrants,
    GrantLimits,
    GrantsUnavailableError,
)
from penstock.engine.ports import ConsentUnknownError, Purpose, Quota

BIOMETRIC, ANALYTICS = Purpose.BIOMETRIC, Purpose.ANALYTICS
LIMITS = GrantLimits(60.0, 600.0, 100)


@dataclass
class Core:
    """Says what the test says, when the test lets it."""

    consents: dict[tuple[str, str], frozenset[Purpose]] = field(default_factory=dict)
    rate: float | None = None
    down: bool = False
    asked: int = 0
    gate: trio.Event | None = None

    async def purposes(self, principal_id: str, org_id: str) -> frozenset[Purpose] | None:
        await self._answer()
        return self.consents.get((principal_id, org_id))

    async def quota(self, org_id: str) -> Quota:
        del org_id
        await self._answer()
        return Quota(self.rate)

    async def _answer(self) -> None:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        await trio.lowlevel.checkpoint()
        if self.down:
            raise GrantsUnavailableError("the line is dead")


class Clock:
    """Hand-driven."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now


@pytest.fixture
def core() -> Core:
    return Core({("ann", "org"): frozenset({BIOMETRIC})})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def grants(core: Core, clock: Clock) -> CachedGrants:
    return CachedGrants(core, clock, LIMITS)


async def test_an_answer_is_used_for_its_time_and_no_longer(
    grants: CachedGrants, core: Core, clock: Clock
) -> None:
    """Within the TTL Core is not asked again, behind it it is, and the new answer counts."""
    assert grants.granted_nowait("ann", "org", BIOMETRIC) is None
    assert await grants.granted("ann", "org", BIOMETRIC)
    assert not await grants.granted("ann", "org", ANALYTICS)
    clock.now += 45
    assert grants.granted_nowait("ann", "org", BIOMETRIC) is True
    assert core.asked == 1
    core.consents.clear()
    clock.now += 15
    assert grants.granted_nowait("ann", "org", BIOMETRIC) is None
    assert not await grants.granted("ann", "org", BIOMETRIC)
    assert core.asked == 2


@pytest.mark.parametrize("default", [frozenset(), frozenset(Purpose)], ids=["production", "dev"])
async def test_who_was_never_asked_consents_as_the_mode_says(
    core: Core, clock: Clock, default: frozenset[Purpose]
) -> None:
    """Without a record it is all or nothing by the mode; a withdrawal is a record."""
    grants = CachedGrants(core, clock, LIMITS, without_record=default)
    core.consents["bob", "org"] = frozenset()
    for purpose in Purpose:
        assert await grants.granted("nobody", "org", purpose) is (purpose in default)
        assert await grants.granted("bob", "org", purpose) is False


async def test_many_who_ask_for_one_key_are_one_question(grants: CachedGrants, core: Core) -> None:
    """Whoever asks while the question is under way gets its answer; other keys are not held up."""
    core.gate = trio.Event()
    answers: list[bool] = []

    async def ask(who: str) -> None:
        answers.append(await grants.granted(who, "org", BIOMETRIC))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask, "ann")
        nursery.start_soon(ask, "bob")
        await wait_all_tasks_blocked()
        assert core.asked == 2
        core.gate.set()
    assert sorted(answers) == [False] + [True] * 20
    assert core.asked == 2


async def test_a_question_survives_who_asked_it(grants: CachedGrants, core: Core) -> None:
    """When the one who asks goes away, one of those who wait asks in its place."""
    core.gate = trio.Event()
    answers: list[bool] = []

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            answers.append(await grants.granted("ann", "org", BIOMETRIC))

    gone = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, gone)
        await wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(ask, trio.CancelScope())
        await wait_all_tasks_blocked()
        gone.cancel()
        await wait_all_tasks_blocked()
        assert core.asked == 2
        core.gate.set()
    assert answers == [True] * 3
    assert core.asked == 2


async def test_while_core_is_down_what_is_known_serves_until_it_is_too_old(
    grants: CachedGrants, core: Core, clock: Clock
) -> None:
    """Stale answers are used for ten minutes from when they were given, then nobody knows."""
    assert await grants.granted("ann", "org", BIOMETRIC)
    core.down = True
    began = clock.now
    while clock.now + 7 < began + 600:
        clock.now += 7
        assert await grants.granted("ann", "org", BIOMETRIC)
        assert not await grants.granted("ann", "org", ANALYTICS)
    clock.now = began + 600
    with pytest.raises(ConsentUnknownError) as unknown:
        await grants.granted("ann", "org", BIOMETRIC)
    assert unknown.value.retry_after == RETRY_SECONDS
    assert grants.granted_nowait("ann", "org", BIOMETRIC) is None
    core.down = False
    clock.now += RETRY_SECONDS
    assert await grants.granted("ann", "org", BIOMETRIC)


async def test_an_outage_is_probed_once_a_second_not_by_everybody(
    grants: CachedGrants, core: Core, clock: Clock
) -> None:
    """After a failure nobody asks for any key until the pause is over; what is known is used."""
    assert await grants.granted("ann", "org", BIOMETRIC)
    core.down = True
    clock.now += 60
    assert await grants.granted("ann", "org", BIOMETRIC)
    asked = core.asked
    for number in range(50):
        with pytest.raises(ConsentUnknownError):
            await grants.granted(f"new {number}", "org", BIOMETRIC)
        assert grants.granted_nowait("ann", "org", BIOMETRIC) is True
    assert core.asked == asked
    clock.now += RETRY_SECONDS
    core.gate = trio.Event()

    async def ask(number: int) -> None:
        with pytest.raises(ConsentUnknownError):
            await grants.granted(f"new {number}", "org", BIOMETRIC)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(ask, number)
        await wait_all_tasks_blocked()
        core.gate.set()
    assert core.asked == asked + 1
    assert grants.statistics().fault == "the line is dead"


async def test_what_is_forgotten_is_asked_anew(grants: CachedGrants, core: Core) -> None:
    """A principal's consents alone, or an organisation's consents and quota; nobody else's."""
    core.rate = 5.0
    keys = [("ann", "org"), ("bob", "org"), ("ann", "other")]
    for who, org in keys:
        await grants.granted(who, org, BIOMETRIC)
        await grants.of_org(org)
    grants.forget("org", "ann")
    known = [grants.granted_nowait(who, org, BIOMETRIC) is not None for who, org in keys]
    assert known == [False, True, True]
    assert grants.of_org_nowait("org") == Quota(5.0)
    grants.forget("org")
    known = [grants.granted_nowait(who, org, BIOMETRIC) is not None for who, org in keys]
    assert known == [False, False, True]
    assert grants.of_org_nowait("org") is None
    assert grants.of_org_nowait("other") == Quota(5.0)


async def test_an_answer_that_is_outdated_before_it_comes_is_not_used(
    grants: CachedGrants, core: Core
) -> None:
    """Who withdraws while Core is being asked is asked about again."""
    core.gate = trio.Event()
    answers: list[bool] = []

    async def ask() -> None:
        answers.append(await grants.granted("ann", "org", BIOMETRIC))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        grants.forget("org", "ann")
        core.gate.set()
    assert core.asked == 2
    assert answers == [True]


async def test_a_withdrawal_is_not_served_stale(
    grants: CachedGrants, core: Core, clock: Clock
) -> None:
    """What was forgotten does not come back because Core is down."""
    assert await grants.granted("ann", "org", BIOMETRIC)
    grants.forget("org", "ann")
    core.down = True
    with pytest.raises(ConsentUnknownError):
        await grants.granted("ann", "org", BIOMETRIC)
    clock.now += RETRY_SECONDS
    with pytest.raises(ConsentUnknownError):
        await grants.granted("ann", "org", BIOMETRIC)


async def test_quotas_are_remembered_in_the_same_way(
    grants: CachedGrants, core: Core, clock: Clock
) -> None:
    """Fresh, stale, then unknown; a limit is never taken to be none because nobody knows."""
    core.rate = 2.5
    assert grants.of_org_nowait("org") is None
    assert await grants.of_org("org") == Quota(2.5)
    core.down = True
    clock.now += 60
    assert await grants.of_org("org") == Quota(2.5)
    clock.now += 540
    with pytest.raises(ConsentUnknownError, match="quota"):
        await grants.of_org("org")


async def test_only_so_many_answers_are_remembered(core: Core, clock: Clock) -> None:
    """Beyond the bound those asked for longest ago go, and are asked for again."""
    grants = CachedGrants(core, clock, GrantLimits(60.0, 600.0, 3))
    for number in range(5):
        await grants.granted(str(number), "org", BIOMETRIC)
    assert grants.statistics().entries == 3
    assert grants.granted_nowait("1", "org", BIOMETRIC) is None
    assert grants.granted_nowait("2", "org", BIOMETRIC) is False


@pytest.mark.parametrize("cancelled_at", range(4))
async def test_cancelling_at_any_moment_leaves_nothing_hanging(
    core: Core, clock: Clock, cancelled_at: int
) -> None:
    """Whoever asks next is answered, wherever the one before was stopped."""
    grants = CachedGrants(core, clock, LIMITS)
    core.gate = trio.Event() if cancelled_at % 2 else None
    core.down = cancelled_at > 1
    with trio.CancelScope() as scope:
        scope.cancel()
        await grants.granted("ann", "org", BIOMETRIC)
    core.gate, core.down = None, False
    with trio.fail_after(1):
        assert await grants.granted("ann", "org", BIOMETRIC)


async def test_those_who_came_together_do_not_ask_together_ever_after(
    core: Core, clock: Clock
) -> None:
    """Answers of one moment become old over a quarter of the TTL, not in one."""
    grants = CachedGrants(core, clock, GrantLimits(60.0, 600.0, 1000))
    names = [f"patient {number}" for number in range(400)]
    for who in names:
        await grants.granted(who, "org", BIOMETRIC)
    asked = core.asked
    seconds = []
    for _ in range(18):
        before = core.asked
        for who in names:
            await grants.granted(who, "org", BIOMETRIC)
        seconds.append(core.asked - before)
        clock.now += 1 if len(seconds) > 1 else 45
    assert core.asked - asked == len(names)
    assert max(seconds) < len(names) / 4
