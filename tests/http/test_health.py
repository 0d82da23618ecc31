"""Readiness asks each time, and tells everything that is wrong."""

from penstock.http.health import Finding, Readiness


def test_nothing_found_is_ready() -> None:
    """Without a finding the service is ready."""
    assert Readiness([]).findings() == []
    assert Readiness([lambda: None]).findings() == []


def test_every_finding_is_told_in_order() -> None:
    """One bad check does not hide another."""
    one, two = Finding("one", "x"), Finding("two", "y")
    assert Readiness([lambda: one, lambda: None, lambda: two]).findings() == [one, two]


def test_readiness_is_never_remembered() -> None:
    """A service that recovers is ready at the next question."""
    wrong = [Finding("one", "x")]
    readiness = Readiness([lambda: wrong[0] if wrong else None])
    assert readiness.findings() == [Finding("one", "x")]
    wrong.clear()
    assert readiness.findings() == []
