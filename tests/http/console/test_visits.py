from dataclasses import dataclass

from penstock.http.console import visits
from penstock.http.console.visits import IDLE_SECONDS, MOST_VISITS, Visits
from penstock.http.roles import Role
from penstock.http.user_tokens import UserClaims


@dataclass
class _Clock:
    """A clock that is turned by hand."""

    now: float = 1_000_000.0

    def monotonic(self) -> float:
        return self.now - 900_000.0

    def unix(self) -> float:
        return self.now


def _claims(clock: _Clock, seconds: float = 86_400) -> UserClaims:
    return UserClaims("ann", "org", Role.PLATFORM_ADMIN, 3, clock.now, clock.now + seconds)


def test_a_visit_ends_with_its_hours_however_much_it_is_used() -> None:
    """Being used keeps a visit from idling, not from ending."""
    clock = _Clock()
    kept = Visits(clock, 8)
    visit_id, _ = kept.begin(_claims(clock))
    for _ in range(16):
        clock.now += 8 * 3600 / 16 - 1
        assert kept.find(visit_id) is not None
    clock.now += 16
    assert kept.find(visit_id) is None
    assert len(kept) == 0


def test_a_visit_ends_with_its_token() -> None:
    """Nobody is signed in for longer than the token that they came with would have held."""
    clock = _Clock()
    kept = Visits(clock, 8)
    visit_id, visit = kept.begin(_claims(clock, seconds=60))
    assert visit.ends_unix == clock.now + 60
    clock.now += 59.9
    assert kept.find(visit_id) is not None
    clock.now += 0.1
    assert kept.find(visit_id) is None


def test_an_idle_visit_ends() -> None:
    """An hour in which nothing is asked for ends it; that a stream looks at it is no use of it."""
    clock = _Clock()
    kept = Visits(clock, 24)
    visit_id, _ = kept.begin(_claims(clock))
    clock.now += IDLE_SECONDS - 1
    assert kept.goes_on(visit_id)
    clock.now += 1
    assert not kept.goes_on(visit_id)
    assert kept.find(visit_id) is None


def test_the_table_is_bounded_and_the_one_used_longest_ago_goes() -> None:
    """As many as there may be, and no more; who is at work stays."""
    clock = _Clock()
    kept = Visits(clock, 8)
    first, second, *_ = [kept.begin(_claims(clock)).visit_id for _ in range(MOST_VISITS)]
    assert kept.find(first) is not None
    newest = kept.begin(_claims(clock)).visit_id
    assert len(kept) == MOST_VISITS
    assert kept.find(second) is None
    assert kept.find(first) is not None
    assert kept.find(newest) is not None


def test_nothing_in_memory_opens_the_console() -> None:
    """Only hashes of the ids are kept; ids and CSRF tokens are long and never the same."""
    clock = _Clock()
    kept = Visits(clock, 8)
    begun = [kept.begin(_claims(clock)) for _ in range(50)]
    ids = {visit_id for visit_id, _ in begun}
    tokens = {visit.csrf for _, visit in begun}
    assert len(ids | tokens) == 100
    assert all(len(one) >= visits._ID_BYTES * 4 / 3 for one in ids | tokens)
    assert not any(visit_id in repr(kept._kept) for visit_id in ids)


def test_an_ended_visit_is_gone() -> None:
    """Signing out is at once, and twice is no harm; ids of any kind are unknown, no fault."""
    clock = _Clock()
    kept = Visits(clock, 8)
    visit_id, _ = kept.begin(_claims(clock))
    kept.end(visit_id)
    kept.end(visit_id)
    for unknown in (visit_id, "", "\udc80", "é" * 5000):
        assert kept.find(unknown) is None


def test_a_page_that_keeps_itself_fresh_does_not_keep_the_visit_alive() -> None:
    """What it asks by itself finds the visit for as long as somebody has used it, and no longer."""
    clock = _Clock()
    kept = Visits(clock, 24)
    visit_id, visit = kept.begin(_claims(clock))
    for _ in range(10):
        clock.now += IDLE_SECONDS / 10 - 0.01
        assert kept.peek(visit_id) == visit
    clock.now += 1
    assert kept.peek(visit_id) is None
    assert kept.find(visit_id) is None
