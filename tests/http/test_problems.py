"""The closed list of errors: stable codes, one form, and nothing said twice."""

import orjson
import pytest

from penstock.engine.outcomes import Outcome, Reason
from penstock.engine.wire import WireFault
from penstock.http.problems import BY_CODE, Problem, of_status, problem_answer


@pytest.mark.parametrize("problem", Problem)
def test_every_problem_is_a_problem_document(problem: Problem) -> None:
    """Each has the members of RFC 9457, a code that may be branched on, and a readable detail."""
    answer = problem_answer(problem)
    document = orjson.loads(answer.body)
    assert answer.content_type == b"application/problem+json"
    assert document["status"] == answer.status == problem.status
    assert document["code"] == answer.code == problem.code
    assert document["type"] == f"urn:penstock:problem:{problem.code}"
    assert document["title"]
    assert document["detail"].endswith(".")
    assert problem.code == problem.code.lower().replace("-", "_").replace(" ", "_")


def test_codes_are_unique() -> None:
    """No two problems share a code."""
    assert len(BY_CODE) == len(Problem)


def test_every_refusal_of_the_engine_has_its_problem() -> None:
    """What the engine refuses, and every fault of a batch, can be answered by its own code."""
    refusals = {reason.value for reason in Reason if reason.outcome is Outcome.REFUSED}
    assert refusals - {Reason.MALFORMED.value} <= BY_CODE.keys()
    assert {fault.value for fault in WireFault} <= BY_CODE.keys()


def test_facts_are_beside_the_code() -> None:
    """Limit, value and setting are members; a fact that is not known is left out."""
    answer = problem_answer(Problem.INBOX_FULL, "full", setting="inbox_bytes", limit=1, seen=None)
    document = orjson.loads(answer.body)
    assert (document["setting"], document["limit"]) == ("inbox_bytes", 1)
    assert "seen" not in document
    assert "retry_after_ms" not in document


@pytest.mark.parametrize(("wait", "header", "ms"), [(0.0001, 1, 1), (1.0, 1, 1000), (1.2, 2, 1200)])
def test_waiting_is_rounded_up(wait: float, header: int, ms: int) -> None:
    """Neither Retry-After nor retry_after_ms lets a client come too early."""
    answer = problem_answer(Problem.RATE_SESSION, retry_after=wait)
    assert answer.retry_after == header
    assert orjson.loads(answer.body)["retry_after_ms"] == ms


def test_401_says_how_to_authenticate() -> None:
    """Every 401 carries WWW-Authenticate, and nothing else does."""
    for problem in Problem:
        headers = dict(problem_answer(problem).headers)
        assert (headers == {b"www-authenticate": b"Bearer"}) is (problem.status == 401)


def test_bare_statuses_have_problems() -> None:
    """A parser's status gets the problem of that status, or the general one of its class."""
    for status in (400, 404, 405, 408, 413, 431, 501):
        assert of_status(status).status == status
    assert of_status(418) is Problem.REQUEST_MALFORMED
    assert of_status(599) is Problem.INTERNAL
