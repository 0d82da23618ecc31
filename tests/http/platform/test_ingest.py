"""Analytics, errors and audit: what is taken, what is refused, what is stored of it."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from maxmind_stand_in import write_database
from penstock.engine.platform.exclusions import Exclusion, ExclusionEdition
from penstock.engine.platform.records import AnalyticsPage, ErrorGroups, ErrorReports
from penstock.storage.platform.exclusions_file import ExclusionsFile
from platform_bodies import analytics, audit, error

ORG = str(UUID(int=8))
PHONE = (
    "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/121.0.0.0 Mobile Safari/537.36"
)
EMAIL = "ann.lee@clinic.example"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
ADDRESS = "198.51.100.45"
PLANTED = f"{EMAIL} {TOKEN} {ADDRESS}"


ROUTES = {
    "/v1/analytics/track": analytics,
    "/v1/errors/report": error,
    "/v1/audit/ingest": audit,
}


async def test_an_event_is_stored_with_its_circumstances(
    platform: Any, make_user: Any, tmp_path: Path
) -> None:
    """The document's own request is 202, on disk, with country, device, connection and actor."""
    _database(tmp_path, {"203.0.113.0/24": "RO"})
    async with platform(trusted_proxies=("127.0.0.0/8",)) as api:
        headers = {"User-Agent": PHONE, "X-Forwarded-For": "203.0.113.9", "ECT": "4g"}
        reply = await api.ask("POST", "/v1/analytics/track", make_user(), analytics(), headers)
        assert reply.status == 202, reply
        (stored,) = await api.read(AnalyticsPage(ORG, 10))
        assert stored.event_id == reply.json["event_id"]
        assert stored.properties == {"filter_condition": "neck_pain", "results_count": 12}
        around = stored.circumstances
        assert (around.country_code, around.device_type, around.browser_family) == (
            "RO", "mobile", "Chrome",
        )  # fmt: skip
        assert (around.connection_type, around.actor_type) == ("4g", "user")
        assert around.request_id == reply.headers["x-request-id"]
        assert around.actor is not None
        assert str(UUID(int=7)) not in around.actor


async def test_forged_circumstances_are_not_believed(
    platform: Any, make_user: Any, tmp_path: Path
) -> None:
    """Neither X-Forwarded-For of a stranger, nor the internal headers of anybody but a service."""
    _database(tmp_path, {"203.0.113.0/24": "RO"})
    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Client-IP": "203.0.113.9",
        "X-Actor-Hash": "680-forged-forged",
        "X-Actor-Type": "system",
        "X-Organization-Id": str(UUID(int=99)),
        "X-Consent-Level": "3",
    }
    async with platform() as api:
        token = make_user(consent=1)
        reply = await api.ask("POST", "/v1/analytics/track", token, analytics(), forged)
        assert (reply.status, reply.code) == (403, "consent_required")
        reply = await api.ask("POST", "/v1/analytics/track", make_user(), analytics(), forged)
        assert reply.status == 202
        assert await api.read(AnalyticsPage(str(UUID(int=99)), 10)) == []
        (stored,) = await api.read(AnalyticsPage(ORG, 10))
        around = stored.circumstances
        assert (around.country_code, around.actor_type) == (None, "user")
        assert "forged" not in str(around)


async def test_two_lines_of_a_proxys_header_are_one_list(
    platform: Any, make_user: Any, tmp_path: Path
) -> None:
    """A client's own line in front of the proxy's does not name the client."""
    _database(tmp_path, {"203.0.113.0/24": "RO", "192.0.2.0/24": "IT"})
    lines = (("X-Forwarded-For", "192.0.2.66"), ("X-Forwarded-For", "203.0.113.9"))
    async with platform(trusted_proxies=("127.0.0.1",)) as api:
        reply = await api.ask("POST", "/v1/errors/report", make_user(), error(), lines)
        assert reply.status == 202
        (group,) = await api.read(ErrorGroups(ORG, 10))
        (stored,) = await api.read(ErrorReports(ORG, group.fingerprint, 10))
        assert stored.circumstances.country_code == "RO"


async def test_an_excluded_address_leaves_nothing_of_itself(
    platform: Any, make_user: Any, make_service: Any, tmp_path: Path
) -> None:
    """No geo, no device, no actor: not of a person's request, and not of a service's for it."""
    _database(tmp_path, {"0.0.0.0/0": "RO"})
    edition = ExclusionEdition([Exclusion("127.0.0.0/8", "ccpa_do_not_sell", 0)])
    ExclusionsFile(tmp_path / "data1" / "platform" / "privacy-exclusions.jsonl").keep(edition)
    async with platform() as api:
        headers = {"User-Agent": PHONE, "ECT": "4g"}
        body = analytics(connection_type="wifi")
        reply = await api.ask("POST", "/v1/analytics/track", make_user(), body, headers)
        assert reply.status == 202
        (stored,) = await api.read(AnalyticsPage(ORG, 10))
        assert stored.circumstances._replace(request_id="") == (
            None, "user", None, None, None, None, "",
        )  # fmt: skip
        told = {"X-Client-IP": "127.0.0.9", "X-Actor-Hash": "680-abcdef", "User-Agent": PHONE}
        reply = await api.ask("POST", "/v1/audit/ingest", make_service(), audit(), told)
        assert reply.status == 202
        (entry,) = await api.audited()
        assert entry.actor == "withheld"
        assert entry.detail["network"] is entry.detail["device_type"] is None
        assert entry.detail["country_code"] is None


async def test_a_service_tells_whom_it_speaks_for(platform: Any, make_service: Any) -> None:
    """The document's headers are kept as they were told, the address shortened."""
    told = {
        "X-Request-Id": "r-77",
        "X-Actor-Hash": "680-abcdef",
        "X-Actor-Type": "specialist",
        "X-Organization-Id": ORG,
        "X-Consent-Level": "2",
        "X-Client-IP": "203.0.113.9",
    }
    async with platform() as api:
        reply = await api.ask("POST", "/v1/audit/ingest", make_service(), audit(), told)
        assert reply.status == 202
        (entry,) = await api.audited()
        assert (entry.actor, entry.action, entry.subject) == (
            "680-abcdef", "patient.view", "patient:patient-123",
        )  # fmt: skip
        detail = entry.detail
        assert (detail["actor_type"], detail["org_id"], detail["consent_level"]) == (
            "specialist", ORG, 2,
        )  # fmt: skip
        assert (detail["network"], detail["request_id"]) == ("203.0.113.0/24", "r-77")
        assert detail["reporter"].startswith("service:")
        for name, value in (
            ("X-Actor-Hash", "a b"),
            ("X-Actor-Type", "root"),
            ("X-Organization-Id", "8"),
            ("X-Consent-Level", "4"),
            ("X-Client-IP", "nowhere"),
        ):
            reply = await api.ask(
                "POST", "/v1/audit/ingest", make_service(), audit(), {**told, name: value}
            )
            assert (reply.status, reply.code) == (400, "header_malformed")
            assert reply.json["field"] == name


async def test_reports_of_one_error_share_a_fingerprint(platform: Any, make_user: Any) -> None:
    """Two occurrences count in one group, with the first and the last time; another does not."""
    async with platform() as api:
        prints = []
        for body in (
            error(),
            error(stack_trace="Error: fetch failed\n    at load (https://b.example/app.js:9:9)"),
            error(error_code="MEDIA_ERR_DECODE"),
        ):
            reply = await api.ask("POST", "/v1/errors/report", make_user(consent=1), body)
            assert reply.status == 202, reply
            prints.append(reply.json["fingerprint"])
        assert prints[0] == prints[1] != prints[2]
        groups = {group.fingerprint: group for group in await api.read(ErrorGroups(ORG, 10))}
        assert groups[prints[0]].reports == 2
        assert groups[prints[0]].first_seen_unix_ms <= groups[prints[0]].last_seen_unix_ms
        (newest, _) = await api.read(ErrorReports(ORG, prints[0], 10))
        assert newest.detail["cpu_usage_percent"] == 78.3


async def test_what_is_planted_is_found_nowhere(
    platform: Any,
    make_user: Any,
    make_service: Any,
    caplog: pytest.LogCaptureFixture,
    ledger_url: dict[str, Any],
) -> None:
    """An e-mail, a token and an address in every free text are in no log and in neither ledger."""
    caplog.set_level(logging.DEBUG)
    odd = TOKEN.replace(".", "/")
    free = {
        "/v1/analytics/track": analytics(
            event_name=f"page.{TOKEN}"[:100],
            resource_type=EMAIL,
            resource_id=PLANTED,
            page_url=f"/library?user={EMAIL}&token={TOKEN}&ip={ADDRESS}",
            referrer_url=PLANTED,
            properties={PLANTED: PLANTED, "deep": [{"list": [PLANTED]}], "password": "hunter2"},
        ),
        "/v1/errors/report": error(
            error_type=EMAIL,
            error_code=ADDRESS,
            error_message=PLANTED,
            feature_name=EMAIL,
            media_id=f"{EMAIL} {ADDRESS}",
            stack_trace=f"Error: {PLANTED}\n    at {EMAIL} (https://{ADDRESS}/a.js:1:1)",
        ),
        "/v1/audit/ingest": audit(
            resource_type=EMAIL, resource_id=PLANTED, metadata={PLANTED: [PLANTED]}
        ),
    }
    async with platform(**ledger_url) as api:
        for path, body in free.items():
            token = make_service() if "audit" in path else make_user()
            headers = {"X-Request-Id": EMAIL, "User-Agent": PLANTED}
            reply = await api.ask("POST", path, token, body, headers)
            assert reply.status == 202, (path, reply)
            wrong = await api.ask("POST", path, token, {**body, "timestamp": 1, "action": PLANTED})
            assert wrong.status in {202, 400}
        kept = [
            await api.read(AnalyticsPage(ORG, 10)),
            await api.read(ErrorGroups(ORG, 10)),
            *[
                await api.read(ErrorReports(ORG, group.fingerprint, 10))
                for group in await api.read(ErrorGroups(ORG, 10))
            ],
            await api.audited(),
        ]
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for planted in (EMAIL, TOKEN, ADDRESS, "hunter2", odd):
        assert planted not in str(kept), planted
        assert planted not in logged, planted
    assert "[email]" in str(kept)


@pytest.mark.parametrize(
    ("path", "changes", "field"),
    [
        ("/v1/analytics/track", {"event_name": ""}, "event_name"),
        ("/v1/analytics/track", {"event_name": "x" * 101}, "event_name"),
        ("/v1/analytics/track", {"timestamp": "yesterday"}, "timestamp"),
        ("/v1/analytics/track", {"timestamp": "2020-01-01T00:00:00Z"}, "timestamp"),
        ("/v1/analytics/track", {"numeric_value": "1"}, "numeric_value"),
        ("/v1/analytics/track", {"page_url": "x" * 2049}, "page_url"),
        ("/v1/analytics/track", {"properties": {str(n): n for n in range(65)}}, "properties"),
        ("/v1/analytics/track", {"properties": []}, "properties"),
        ("/v1/analytics/track", {"connection_type": "carrier pigeon"}, "connection_type"),
        ("/v1/errors/report", {"error_type": None}, "error_type"),
        ("/v1/errors/report", {"error_message": "x" * 4001}, "error_message"),
        ("/v1/errors/report", {"cpu_usage_percent": -1}, "cpu_usage_percent"),
        ("/v1/errors/report", {"media_position_seconds": True}, "media_position_seconds"),
        ("/v1/audit/ingest", {"status_code": 99}, "status_code"),
        ("/v1/audit/ingest", {"action": "drop table;"}, "action"),
        ("/v1/audit/ingest", {"metadata": "x"}, "metadata"),
    ],
)
async def test_what_is_out_of_bounds_is_named(
    platform: Any, make_user: Any, make_service: Any, path: str, changes: dict[str, Any], field: str
) -> None:
    """A field that is not what it may be is 400 with its name."""
    async with platform() as api:
        token = make_service() if "audit" in path else make_user()
        reply = await api.ask("POST", path, token, ROUTES[path](**changes))
        assert (reply.status, reply.code) == (400, "body_malformed"), reply
        assert reply.json["field"] == field


async def test_bodies_and_rates_are_bounded(platform: Any, make_user: Any) -> None:
    """Too large is 413, too often 429 with when to come again, another type 415."""
    async with platform(platform_requests_per_second=0.01, platform_burst=2) as api:
        reply = await api.ask("POST", "/v1/analytics/track", make_user(), b"x" * 17_000)
        assert (reply.status, reply.code) == (413, "body_too_large")
        reply = await api.ask("POST", "/v1/analytics/track", make_user(), b"[")
        assert (reply.status, reply.code) == (400, "body_malformed")
        reply = await api.ask("POST", "/v1/analytics/track", make_user(), analytics())
        assert (reply.status, reply.code) == (429, "rate_principal")
        assert reply.json["setting"] == "platform_requests_per_second"
        assert int(reply.headers["retry-after"]) > 1
        reply = await api.ask("POST", "/v1/errors/report", make_user(), error())
        assert reply.status == 202


async def test_denied_attempts_are_audited_and_bounded(platform: Any, make_user: Any) -> None:
    """Who tries a door that is not theirs is in the audit, and cannot fill it."""
    async with platform() as api:
        for _ in range(12):
            reply = await api.ask("POST", "/v1/audit/ingest", make_user(), audit())
            assert reply.status == 403
            reply = await api.ask("GET", "/v1/admin/geo/status", make_user())
            assert reply.status == 403
        entries = await api.audited()
        assert {entry.action for entry in entries} == {"audit.ingest", "admin.geo.status"}
        assert {entry.detail["status"] for entry in entries} == {"denied"}
        assert len(entries) == 10


async def test_an_event_may_come_late_but_not_early(platform: Any, make_user: Any) -> None:
    """A client that was away sends what it has; a clock that runs ahead is told."""
    async with platform() as api:
        for days, status in ((-30, 202), (-32, 400), (1, 400)):
            at = (datetime.now(UTC) + timedelta(days=days)).isoformat()
            reply = await api.ask(
                "POST", "/v1/analytics/track", make_user(), analytics(timestamp=at)
            )
            assert reply.status == status


def _database(tmp_path: Path, countries: dict[str, str]) -> None:
    write_database(tmp_path / "data1" / "platform" / "geo.mmdb", countries)
