"""`penstock outbox`, `retention` and `erase` against a running service."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

Serve = Callable[..., Any]
PERSON = str(UUID(int=7))


async def test_an_operators_commands(
    serve: Serve, run: Any, encode_member: Callable[..., bytes], tmp_path: Path
) -> None:
    """Each does its work through the service, and prints a line for people or JSON."""
    folder = tmp_path / "data"
    settings = {"blob_max_age_seconds": "3600", "shutdown_notice_seconds": "0"}
    async with serve(folder, **settings) as service:
        here = ("--dev", "--data-dir", str(folder), "--url", url(service))
        token = service.token(1)
        async with httpx.AsyncClient(base_url=url(service)) as client:
            bearer = {"Authorization": f"Bearer {token}"}
            sent = await client.post(
                "/v1/pose/frames",
                content=encode_member(10, 1000),
                headers={**bearer, "Content-Type": "application/octet-stream"},
            )
            assert sent.status_code == 202

        listed = run("outbox", "list", *here)
        assert (listed.code, listed.out) == (0, "0 on their way; 0 given up\n")
        assert json.loads(run("outbox", "list", "--json", *here).out)["deliveries"] == []
        retried = run("outbox", "retry", "--all", *here)
        assert retried.out.startswith("0 are tried again")
        assert json.loads(run("outbox", "retry", PERSON, "--json", *here).out) == {"retried": 0}

        dry = json.loads(run("retention", "run", "--dry-run", "--json", *here).out)
        assert (dry["run"]["state"], dry["run"]["dry_run"]) == ("done", True)
        shown = run("retention", "run", *here)
        assert shown.code == 0
        assert "blob_max_age_seconds" in shown.out
        assert "0 of 0 replays (0 of 0 bytes) removed" in shown.out
        assert "run of " in run("retention", "show", *here).out

        person = ("--principal-id", PERSON)
        looked = run("erase", *person, "--dry-run", *here)
        assert looked.out.startswith("1 sessions that have not ended")
        refused = run("erase", *person, *here)
        assert refused.code == 2
        assert "erasure_sessions_live" in refused.err
        erased = run("erase", *person, "--force", *here)
        assert erased.code == 0
        assert "done: 1 sessions" in erased.out
        again = json.loads(run("erase", *person, "--json", *here).out)["erasure"]
        assert (again["state"], again["sessions"]) == ("done", 0)


def url(service: Any) -> str:
    """Give where a service answers."""
    return f"http://{service.host}:{service.port}"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("outbox", "retry"), "SESSION or --all"),
        (("outbox", "retry", "x", "--all"), "SESSION or --all"),
        (("outbox", "retry", "x"), "SESSION"),
        (("outbox", "list", "--after", "x"), "--after"),
        (("erase", "--principal-id", "x"), "--principal-id"),
    ],
)
def test_a_misfit_is_told_before_anybody_is_asked(
    run: Any, arguments: tuple[str, ...], named: str
) -> None:
    """In one line that names the option; the service need not run for that."""
    ran = run(*arguments)
    assert ran.code == 2
    assert len(ran.lines) == 1
    assert named in ran.lines[0]


@pytest.mark.parametrize(
    "arguments",
    [("outbox", "list"), ("retention", "show"), ("erase", "--principal-id", PERSON)],
)
def test_a_service_that_is_not_there_is_told(
    run: Any, secrets: dict[str, str], arguments: tuple[str, ...]
) -> None:
    """In one line, with exit code 1."""
    ran = run(*arguments, "--url", "http://127.0.0.1:1", **secrets)
    assert ran.code == 1
    assert "is the service running?" in ran.err
