"""The document of the routes, its pages, and the service held against it by made-up requests."""

import re
from typing import Any, cast

import schemathesis
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

# Of each kind for each operation.
_EXAMPLES = 8


async def test_the_document_and_its_pages_come_from_here(any_agent: Any) -> None:
    """Every route is in it; the pages load nothing from elsewhere, and are told not to."""
    async with any_agent() as (_, client):
        document = (await client.ask("GET", "/openapi.json")).json
        assert document["info"]["version"] == "3.0.0"
        routes = {(m.upper(), path) for path, ms in document["paths"].items() for m in ms}
        assert routes == {
            ("GET", "/health"),
            ("GET", "/metrics"),
            ("GET", "/api/v1/metadata"),
            ("GET", "/api/v1/runs"),
            ("POST", "/api/v1/runs"),
            ("POST", "/api/v1/runs/batch"),
            ("GET", "/api/v1/runs/{event_id}"),
            ("PATCH", "/api/v1/runs/{event_id}"),
            ("POST", "/api/v1/runs/{event_id}/associate-commit"),
            ("GET", "/api/v1/runs/{event_id}/commit-url"),
            ("GET", "/api/v1/runs/{event_id}/repo-url"),
        }
        for path in ("/docs", "/redoc", "/docs/page.js", "/docs/page.css"):
            reply = await client.ask("GET", path)
            assert reply.status == 200
            assert reply.headers["content-security-policy"].startswith("default-src 'none'")
            assert not re.findall(rb"""(?:src|href)=["']?(?:https?:)?//""", reply.body)
            assert b"http://" not in reply.body
            assert b"https://" not in reply.body


async def test_made_up_requests_find_nothing(serve: Any) -> None:
    """Whatever the document allows or forbids: no 5xx, no status, header or body beside it.

    One check is left out: that everything the document forbids is refused. Values are read as
    existing clients send them ("5" or 5.0 for 5), which is documented and not what the schema says.
    """
    async with serve() as service:
        await trio.to_thread.run_sync(_hold_against, service.address, abandon_on_cancel=True)


def _hold_against(address: str) -> None:
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    for found in schema.get_all_operations():
        operation = cast("Any", found).ok()
        for mode in GenerationMode:
            _hold(operation, mode)


def _hold(operation: Any, mode: GenerationMode) -> None:
    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=cast("Any", list(HealthCheck)),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def hold(case: Any) -> None:
        answer = case.call(timeout=10)
        if answer.status_code == 503 and "retry-after" in answer.headers:
            return  # the machine is busy, and the service says so as documented
        if answer.status_code == 422 and answer.json()["detail"][0]["type"] == "json_unfit":
            return  # "any JSON" in the document cannot say how large a number within it may be
        case.validate_response(answer, excluded_checks=[negative_data_rejection])

    try:
        hold()
    except Unsatisfiable:  # nothing about the operation could be wrong
        assert mode is GenerationMode.NEGATIVE
