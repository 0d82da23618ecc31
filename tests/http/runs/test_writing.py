"""Runs reported, updated and tied to commits, over both lanes and on both ledgers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

PATH = "/api/v1/runs"
RunOf = Callable[..., dict[str, Any]]

# What a run without them has.
NULLS = """
product product_family platform subdomain website website_section item_name input_summary
output_summary source_ref target_ref error_summary error_details git_repo git_branch git_commit_hash
git_run_tag git_commit_source git_commit_author git_commit_timestamp host environment trigger_type
insight_id parent_run_id
"""
DEFAULTS = {
    "schema_version": 7,
    "end_time": None,
    "agent_owner": None,
    "status": "running",
    "items_discovered": 0,
    "items_succeeded": 0,
    "items_failed": 0,
    "items_skipped": 0,
    "duration_ms": 0,
    "metrics_json": None,
    "context_json": None,
    "api_posted": False,
    "api_posted_at": None,
    "api_retry_count": 0,
    "commit_url": None,
    "repo_url": None,
} | dict.fromkeys(NULLS.split())
FULL: dict[str, Any] = {
    "created_at": "2026-01-05T18:40:27.000000+00:00",
    "end_time": "2026-01-05T19:40:27-08:00",
    "product": "seo",
    "product_family": "content",
    "platform": "web",
    "subdomain": "docs",
    "website": "example.com",
    "website_section": "blog",
    "item_name": "how-to",
    "items_discovered": 10,
    "items_succeeded": 8,
    "items_failed": 2,
    "items_skipped": 1,
    "duration_ms": 2**63 - 1,
    "input_summary": "in \u00e4\u20ac\U0001f600",
    "output_summary": "",
    "source_ref": "s3://bucket/input.csv",
    "target_ref": "s3://bucket/output.json",
    "error_summary": 'it\'s "quoted"',
    "error_details": "line\nline\t\\",
    "git_repo": "git@gitlab.com:group/sub/repo.git",
    "git_branch": "main",
    "git_commit_hash": "abc1234567890",
    "git_run_tag": "nightly",
    "host": "worker-01",
    "environment": "prod",
    "trigger_type": "scheduler",
    "metrics_json": {"tokens": 1234, "nested": [1, 2.5, None, {"x": "\u0000"}]},
    "context_json": [1, "two", False],
    "api_posted": True,
    "api_posted_at": "2026-01-05T18:40:27Z",
    "api_retry_count": 3,
    "insight_id": "insight-001",
    "parent_run_id": "run-parent-123",
}


async def test_the_least_run_has_every_default(agent: Any, run_of: RunOf) -> None:
    """Five fields are enough; all others are as documented, the moments are ours and in UTC."""
    async with agent() as client:
        before = datetime.now(UTC)
        reply = await client.post()
        assert reply.status == 201
        assert reply.json == {"status": "created", "event_id": "e1", "run_id": "run of e1"}
        assert reply.headers["content-type"] == "application/json"
        shown = await client.show()
        assert shown["id"] == 1
        made = run_of()
        assert {name: shown[name] for name in made} == made
        assert {name: shown[name] for name in DEFAULTS} == DEFAULTS
        assert shown.keys() == DEFAULTS.keys() | made.keys() | {"id", "created_at", "updated_at"}
        for name in ("created_at", "updated_at"):
            moment = datetime.fromisoformat(shown[name])
            assert moment.utcoffset() == timedelta(0)
            assert before <= moment <= datetime.now(UTC)


async def test_every_field_comes_back_as_it_was_sent(agent: Any) -> None:
    """Texts, numbers, JSON and moments with their zone; the two addresses follow from git's."""
    async with agent() as client:
        assert (await client.post(**FULL, status="failed", unknown="ignored")).status == 201
        shown = await client.show()
        assert {name: shown[name] for name in FULL} == FULL
        assert shown["status"] == "failure"
        assert shown["commit_url"] == "https://gitlab.com/group/sub/repo/-/commit/abc1234567890"
        assert shown["repo_url"] == "https://gitlab.com/group/sub/repo"
        assert "unknown" not in shown


async def test_what_a_post_does_not_keep(agent: Any) -> None:
    """Three fields of a commit are taken and not kept; nulls are as if left out."""
    taken = {
        "git_commit_source": "llm",
        "git_commit_author": "ada",
        "git_commit_timestamp": "2026-01-05T18:40:27Z",
    }
    nulls = dict.fromkeys(("created_at", "end_time", "duration_ms", "host", "metrics_json"))
    async with agent() as client:
        assert (await client.post(**taken, **nulls)).status == 201
        shown = await client.show()
        assert [shown[name] for name in taken] == [None, None, None]
        assert (shown["duration_ms"], shown["end_time"], shown["host"]) == (0, None, None)
        assert shown["created_at"] == shown["updated_at"]


STATUSES = {
    "failed": "failure",
    "completed": "success",
    "succeeded": "success",
} | {word: word for word in ("running", "success", "failure", "partial", "timeout", "cancelled")}


async def test_statuses_and_their_aliases(any_agent: Any) -> None:
    """Nine words stand for six statuses, in what is posted and in what is asked."""
    async with any_agent() as (_, client):
        for word, status in STATUSES.items():
            assert (await client.post(event_id=word, status=word)).status == 201
            assert (await client.show(word))["status"] == status
            assert word in {run["event_id"] for run in (await client.query(f"status={word}")).json}


async def test_a_known_event_id_is_a_duplicate(agent: Any) -> None:
    """201 again, with other words; the first report stays, whatever the second one says."""
    async with agent() as client:
        assert (await client.post(status="success")).status == 201
        reply = await client.post(status="failure", agent_name="another")
        assert reply.status == 201
        assert reply.json == {
            "status": "duplicate",
            "event_id": "e1",
            "message": "Event already exists (idempotent)",
        }
        shown = await client.show()
        assert (shown["status"], shown["agent_name"]) == ("success", "agent")


async def test_an_unknown_status_is_told(agent: Any, run_of: RunOf) -> None:
    """400 for one run; in a batch an error of its own, while the others are stored."""
    async with agent() as client:
        reply = await client.post(status="done")
        assert reply.status == 400
        assert "'done'" in reply.json["detail"]
        rows = [run_of("a"), run_of("b", status="done"), run_of("a"), run_of("c")]
        batch = await client.ask("POST", f"{PATH}/batch", rows)
        assert batch.status == 200
        assert batch.json["inserted"] == 2
        assert batch.json["duplicates"] == 1
        assert batch.json["total"] == 4
        (error,) = batch.json["errors"]
        assert error.startswith("b: ")
        assert "'done'" in error
        stored = {run["event_id"] for run in (await client.query()).json}
        assert stored == {"a", "c"}


BAD_FIELDS: list[tuple[str, Any]] = [
    ("event_id", ""),
    ("event_id", None),
    ("event_id", 7),
    ("event_id", "x" * 256),
    ("agent_name", "x" * 256),
    ("job_type", "x" * 256),
    ("run_id", None),
    ("start_time", "2026-01-12 10:30:00"),
    ("start_time", "2026-01-12T10:30:00"),
    ("start_time", ""),
    ("created_at", "yesterday"),
    ("end_time", "2026-01-12"),
    ("api_posted_at", 5),
    ("status", None),
    ("items_discovered", -1),
    ("items_succeeded", -1),
    ("items_failed", -1),
    ("items_skipped", -1),
    ("items_failed", 1.5),
    ("items_failed", 2**63),
    ("items_failed", 2**64 - 1),
    ("duration_ms", -1),
    ("api_retry_count", -1),
    ("api_posted", "perhaps"),
    ("git_commit_source", "human"),
    ("git_commit_timestamp", "now"),
    ("host", "a\u0000b"),
    ("host", {"a": 1}),
]


async def test_a_field_that_is_wrong_is_named(any_agent: Any, run_of: RunOf) -> None:
    """422 with the place, a sentence and a kind, alone and by its number in a batch."""
    async with any_agent() as (_, client):
        for field, value in BAD_FIELDS:
            wrong = run_of() | {field: value}
            for path, body, place in (
                (PATH, wrong, ["body", field]),
                (f"{PATH}/batch", [run_of("good"), wrong], ["body", 1, field]),
            ):
                reply = await client.ask("POST", path, body)
                assert reply.status == 422, (field, value, reply)
                (found,) = reply.json["detail"]
                assert found["loc"] == place
                assert found["msg"]
                assert found["type"]
        for field in ("event_id", "run_id", "agent_name", "job_type", "start_time"):
            reply = await client.ask(
                "POST", PATH, {n: v for n, v in run_of().items() if n != field}
            )
            (found,) = reply.json["detail"]
            wanted = {"loc": ["body", field], "msg": "Field required", "type": "missing"}
            assert (reply.status, found) == (422, wanted)
        assert (await client.query()).json == []


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "json_invalid"),
    (b"{", "json_invalid"),
    (b"[]", "model_type"),
    (b"null", "model_type"),
    (b'{"metrics_json": NaN}', "json_invalid"),
    (b'{"metrics_json": Infinity}', "json_invalid"),
    (b'{"metrics_json": 1e999}', "json_invalid"),
    (b'{"host": "\\ud800"}', "json_invalid"),
    (b'{"host": "\xff"}', "json_invalid"),
    (b"[" * 100_000, "json_invalid"),
]


async def test_a_body_that_is_none_is_refused(agent: Any) -> None:
    """What is no JSON object is 422 as well, and never reaches the ledger."""
    async with agent() as client:
        for body, kind in BAD_BODIES:
            reply = await client.ask("POST", PATH, body)
            assert reply.status == 422, body
            assert reply.json["detail"][0]["type"] == kind
            assert reply.json["detail"][0]["loc"][0] == "body"
            assert b"RunBody" not in reply.body


async def test_a_run_is_found_by_whatever_id_it_was_given(agent: Any) -> None:
    """Slashes, dots, question marks, quotes and words of the routes are letters of an id."""
    commit = {"commit_hash": "abc1234", "commit_source": "ci"}
    async with agent() as client:
        for event_id in ("2026/01/05", "a//b", "..", "batch", "x?y#z", "' OR 1=1 --", "ä%2F"):
            assert (await client.post(event_id=event_id)).json["status"] == "created"
            one = f"{PATH}/{quote(event_id, safe='')}"
            assert (await client.ask("GET", one)).json["event_id"] == event_id
            assert (await client.ask("PATCH", one, {"status": "success"})).status == 200
            assert (await client.ask("POST", f"{one}/associate-commit", commit)).status == 200
            assert (await client.ask("GET", f"{one}/commit-url")).json == {"commit_url": None}
            assert (await client.ask("GET", f"{one}/repo-url")).json == {"repo_url": None}
        assert all(run["status"] == "success" for run in (await client.query()).json)


UNFIT = [b"%d" % 2**64, b"%d" % (-(2**63) - 1), b'{"deep": [1%b]}' % (b"0" * 30)]
UNFIT += [b"[" * 300 + b"]" * 300]


async def test_json_that_cannot_be_kept_is_refused(any_agent: Any) -> None:
    """Numbers beyond 64 bits would come back as others, and nesting has an end."""
    async with any_agent() as (_, client):
        plain = b'{"event_id":"e1","run_id":"r","agent_name":"a","job_type":"j",'
        for text in UNFIT:
            body = plain + b'"start_time":"2026-01-05T18:40:27Z","context_json":' + text + b"}"
            assert (await client.ask("POST", PATH, body)).status == 422, text
            assert (await client.ask("POST", f"{PATH}/batch", b"[" + body + b"]")).status == 422
        assert (await client.post(metrics_json=2**64 - 1)).status == 201
        assert (await client.show())["metrics_json"] == 2**64 - 1


async def test_another_type_than_json_is_refused(agent: Any) -> None:
    """A page of another origin cannot send JSON unasked, but it can send text."""
    async with agent() as client:
        for kind in ("text/plain", None):
            reply = await client.ask("POST", PATH, b"{}", Content_Type=kind)
            assert reply.status == 422
            assert reply.json["detail"][0]["loc"] == ["header", "content-type"]


async def test_bounds_are_settings_and_are_named(any_agent: Any, dial: Any, run_of: RunOf) -> None:
    """Body, batch and text: each refusal says the limit, what was seen, and the setting."""
    bounds = {
        "runs_body_bytes": 100_000,
        "runs_batch_body_bytes": 150_000,
        "runs_batch_length": 3,
        "runs_text_length": 1000,
    }
    async with any_agent(**bounds) as (service, client):
        large = [run_of(error_details="x" * 150_000)]
        for path, body, setting in (
            (PATH, large[0], "runs_body_bytes"),
            (f"{PATH}/batch", large, "runs_batch_body_bytes"),
        ):
            # What is too large is not read to its end, so the connection ends with the answer.
            async with dial(service) as other:
                reply = await type(client)(other).ask("POST", path, body)
            assert reply.status == 413
            assert setting in reply.json["detail"]
            assert str(bounds[setting]) in reply.json["detail"]
        many = await client.ask("POST", f"{PATH}/batch", [run_of(str(n)) for n in range(4)])
        assert many.status == 422
        assert "at most 3" in many.json["detail"][0]["msg"]
        assert "runs_batch_length" in many.json["detail"][0]["msg"]
        for method, path, body in (
            ("POST", PATH, run_of(host="x" * 1001)),
            ("POST", f"{PATH}/batch", [run_of(host="x" * 1001)]),
            ("PATCH", f"{PATH}/e1", {"error_summary": "x" * 1001}),
        ):
            long = await client.ask(method, path, body)
            assert long.status == 422
            assert "1000 characters, not 1001" in long.json["detail"][0]["msg"]
            assert "runs_text_length" in long.json["detail"][0]["msg"]
        assert (await client.post(host="x" * 1000)).status == 201


async def test_a_large_run_goes_past_the_lane(agent: Any) -> None:
    """A traceback that is longer than the lane takes is stored as any other."""
    async with agent() as client:
        assert (await client.post(error_details="x" * 200_000)).status == 201
        assert len((await client.show())["error_details"]) == 200_000


async def test_a_batch_of_many_is_stored_whole(agent: Any, run_of: RunOf) -> None:
    """More runs than one entry holds; what is known is counted, and an empty batch is one, too."""
    async with agent() as client:
        rows = [run_of(str(number)) for number in range(150)]
        first = await client.ask("POST", f"{PATH}/batch", rows)
        assert first.json == {"inserted": 150, "duplicates": 0, "errors": [], "total": 150}
        again = await client.ask("POST", f"{PATH}/batch", [*rows, run_of("new")])
        assert again.json == {"inserted": 1, "duplicates": 150, "errors": [], "total": 151}
        assert len((await client.query("limit=1000")).json) == 151
        empty = await client.ask("POST", f"{PATH}/batch", [])
        assert empty.json == {"inserted": 0, "duplicates": 0, "errors": [], "total": 0}
        single = await client.ask("POST", f"{PATH}/batch", run_of())
        assert single.status == 422


async def test_one_wrong_run_stops_a_batch(agent: Any, run_of: RunOf) -> None:
    """A batch that does not validate stores nothing, and every misfit is told by its number."""
    async with agent() as client:
        rows = [run_of(str(number)) for number in range(100)] + [run_of("x", items_failed=-1), 5]
        reply = await client.ask("POST", f"{PATH}/batch", rows)
        assert reply.status == 422
        places = [found["loc"] for found in reply.json["detail"]]
        assert places == [["body", 100, "items_failed"], ["body", 101]]
        assert (await client.query()).json == []


async def test_an_update_changes_what_it_says(agent: Any) -> None:
    """Fields given and not null change, and are named; `updated_at` and all others stay."""
    async with agent() as client:
        await client.post(**FULL)
        before = await client.show()
        update = {
            "metrics_json": {"tokens": 2500},
            "context_json": None,
            "status": "success",
            "end_time": "2026-01-05T18:45:10Z",
            "duration_ms": 0,
            "items_succeeded": 0,
            "error_summary": "",
            "git_commit_source": "ci",
            "git_commit_author": "Ada <ada@example.com>",
            "git_commit_timestamp": "2026-01-05T18:45:10Z",
            "agent_name": "not this",
            "git_branch": "nor this",
        }
        reply = await client.ask("PATCH", f"{PATH}/e1", update)
        assert reply.status == 200
        fields = set(update) - {"context_json", "agent_name", "git_branch"}
        assert reply.json["event_id"] == "e1"
        assert reply.json["updated"] is True
        assert set(reply.json["fields_updated"]) == fields
        assert await client.show() == before | {name: update[name] for name in fields}


EMPTY_UPDATES: list[Any] = [{}, {"status": None, "duration_ms": None}, {"agent_name": "x"}]
BAD_UPDATES: list[Any] = [
    {"status": "failed"},
    {"status": "done"},
    {"duration_ms": -1},
    {"items_failed": -1},
    {"end_time": "2026-01-12 10:30:00"},
    {"git_commit_source": "human"},
    {"metrics_json": [0.5, {"x": "y"}], "status": 1},
    [],
]


async def test_an_update_that_means_nothing_is_refused(any_agent: Any) -> None:
    """Aliases are no statuses here, and at least one field must be there."""
    async with any_agent() as (_, client):
        await client.post()
        before = await client.show()
        for bodies, status, kind in ((EMPTY_UPDATES, 400, str), (BAD_UPDATES, 422, list)):
            for body in bodies:
                reply = await client.ask("PATCH", f"{PATH}/e1", body)
                assert reply.status == status, body
                assert isinstance(reply.json["detail"], kind)
        for large in (b'{"metrics_json": %d}' % 2**64, b'{"items_failed": %d}' % 10**30):
            assert (await client.ask("PATCH", f"{PATH}/e1", large)).status == 422
        assert await client.show() == before


async def test_a_commit_is_tied_to_a_run(agent: Any) -> None:
    """Hash, source, author and time are those of the newest commit; `updated_at` moves."""
    async with agent() as client:
        await client.post(git_repo="https://github.com/o/r")
        before = await client.show()
        commit = {
            "commit_hash": "abc1234567890abcdef",
            "commit_source": "llm",
            "commit_author": "Ada",
            "commit_timestamp": "2026-01-02T10:00:00Z",
        }
        reply = await client.ask("POST", f"{PATH}/e1/associate-commit", commit)
        assert reply.status == 200
        assert reply.json == {
            "status": "success",
            "event_id": "e1",
            "run_id": "run of e1",
            "commit_hash": "abc1234567890abcdef",
        }
        shown = await client.show()
        assert {name: shown[f"git_{name}"] for name in commit} == commit
        assert shown["updated_at"] > before["updated_at"]
        url = await client.ask("GET", f"{PATH}/e1/commit-url")
        assert url.json == {"commit_url": "https://github.com/o/r/commit/abc1234567890abcdef"}
        repo = await client.ask("GET", f"{PATH}/e1/repo-url")
        assert repo.json == {"repo_url": "https://github.com/o/r"}
        bare = {"commit_hash": "fffffff", "commit_source": "ci"}
        assert (await client.ask("POST", f"{PATH}/e1/associate-commit", bare)).status == 200
        shown = await client.show()
        assert shown["git_commit_hash"] == "fffffff"
        assert (shown["git_commit_author"], shown["git_commit_timestamp"]) == (None, None)


BAD_COMMITS: list[tuple[str, Any]] = [
    ("commit_hash", "abc123"),
    ("commit_hash", "a" * 41),
    ("commit_hash", None),
    ("commit_source", "human"),
    ("commit_source", None),
    ("commit_timestamp", "today"),
]


async def test_a_commit_that_is_none_is_refused(any_agent: Any) -> None:
    """A hash has 7 to 40 characters, a source is one of three."""
    async with any_agent() as (_, client):
        await client.post()
        for field, value in BAD_COMMITS:
            commit = {"commit_hash": "abc1234", "commit_source": "llm"} | {field: value}
            reply = await client.ask("POST", f"{PATH}/e1/associate-commit", commit)
            assert reply.status == 422
            assert reply.json["detail"][0]["loc"] == ["body", field]


async def test_an_unknown_run_is_404_everywhere(agent: Any) -> None:
    """Also under ids that no run could have."""
    commit = {"commit_hash": "abc1234", "commit_source": "llm"}
    async with agent() as client:
        for event_id in ("nobody", "x" * 300, "%00", "a%2Fb"):
            for method, path, body in (
                ("GET", "", None),
                ("PATCH", "", {"status": "success"}),
                ("POST", "/associate-commit", commit),
                ("GET", "/commit-url", None),
                ("GET", "/repo-url", None),
            ):
                reply = await client.ask(method, f"{PATH}/{event_id}{path}", body)
                assert reply.status == 404, (method, path)
                assert isinstance(reply.json["detail"], str)
