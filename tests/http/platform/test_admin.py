"""The geo database and the privacy exclusions, with a small server in MaxMind's place."""

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from maxmind_stand_in import (
    MaxMindStandIn,
    Reply,
    checksum,
    exclusion,
    pack,
    page,
    write_database,
)
from penstock.http.roles import Role

UPDATE, STATUS = "/v1/admin/geo/update", "/v1/admin/geo/status"
EXCLUSIONS = "/v1/admin/privacy/exclusions"
GEO, SUM = "/geo?suffix=tar.gz", "/geo?suffix=tar.gz.sha256"


@pytest.fixture
def admin(make_user: Any) -> str:
    """Give a platform admin's token."""
    token: str = make_user(Role.PLATFORM_ADMIN, 0)
    return token


async def _synced(api: Any, token: str) -> dict[str, Any]:
    """Have a sync made and wait for its end; give what the list says of it."""
    begun = await api.ask("POST", f"{EXCLUSIONS}/sync", token)
    assert (begun.status, begun.json["status"]) == (202, "running"), begun
    while True:
        listed = await api.ask("GET", EXCLUSIONS, token)
        newest: dict[str, Any] = listed.json["newest_sync"]
        if newest["status"] != "running":
            assert newest["sync_batch_id"] == begun.json["sync_batch_id"]
            return newest
        await trio.sleep(0.01)


async def test_a_database_is_downloaded_and_used_at_once(
    platform: Any, admin: str, maxmind: MaxMindStandIn, asking: dict[str, Any], tmp_path: Path
) -> None:
    """Without one the service says so and runs; an update puts one into force, then the next."""
    maxmind.serve_database(write_database(tmp_path / "a.mmdb", {"203.0.113.0/24": "RO"}))
    async with platform(**asking) as api:
        ready = await api.ask("GET", "/readyz")
        assert (ready.status, ready.json["information"][0]["code"]) == (200, "geo_unavailable")
        status = await api.ask("GET", STATUS, admin)
        assert (status.json["loaded"], status.json["database_type"]) == (False, None)
        reply = await api.ask("POST", UPDATE, admin)
        assert (reply.status, reply.json["status"]) == (200, "updated"), reply
        assert reply.json["entries"] > 0
        status = await api.ask("GET", STATUS, admin)
        assert status.json == {
            "database_type": "GeoLite2-City",
            "build_date": reply.json["database_version"],
            "loaded": True,
            "entries": reply.json["entries"],
        }
        assert "information" not in (await api.ask("GET", "/readyz")).json
        again = await api.ask("POST", UPDATE, admin)
        assert again.json["status"] == "unchanged"
        actions = [(entry.action, entry.detail["status"]) for entry in await api.audited()]
        assert ("admin.geo.update", "begun") in actions
        assert ("admin.geo.update", "updated") in actions
        assert ("admin.geo.status", "allowed") in actions
    assert {target for target, _ in maxmind.asked} == {GEO, SUM}


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ({GEO: Reply(b"", 401)}, "unauthorised"),
        ({SUM: Reply(b"", 429, (("Retry-After", "120"),))}, "rate_limited"),
        ({GEO: Reply(b"", 503)}, "unavailable"),
        ({SUM: Reply(checksum(b"another"))}, "checksum"),
        ({SUM: Reply(b"no checksum")}, "malformed"),
        ({GEO: Reply(b"cut" * 100, cut=50)}, "unreachable"),
        ({GEO: Reply(b"no archive"), SUM: Reply(checksum(b"no archive"))}, "malformed"),
        (
            {GEO: Reply(pack(b"none")), SUM: Reply(checksum(pack(b"none")))},
            "malformed",
        ),
        (
            {
                GEO: Reply(pack(b"x", "a/../../evil.txt")),
                SUM: Reply(checksum(pack(b"x", "a/../../evil.txt"))),
            },
            "malformed",
        ),
    ],
)
async def test_a_failed_update_keeps_the_old_database(
    platform: Any,
    admin: str,
    maxmind: MaxMindStandIn,
    asking: dict[str, Any],
    tmp_path: Path,
    replies: dict[str, Reply],
    reason: str,
) -> None:
    """Whatever is wrong with a download, its reason is told and the database in force stays."""
    folder = tmp_path / "data1" / "platform"
    before = write_database(folder / "geo.mmdb", {"203.0.113.0/24": "RO"})
    maxmind.serve_database(write_database(tmp_path / "b.mmdb", {"203.0.113.0/24": "IT"}))
    maxmind.replies |= replies
    async with platform(**asking) as api:
        reply = await api.ask("POST", UPDATE, admin)
        assert (reply.status, reply.code) == (502, "maxmind_failed"), reply
        assert reply.json["reason"] == reason
        assert reply.headers.get("retry-after") == ("120" if reason == "rate_limited" else None)
        assert (await api.ask("GET", STATUS, admin)).json["loaded"] is True
    assert (folder / "geo.mmdb").read_bytes() == before
    assert os.listdir(folder) == ["geo.mmdb"]  # noqa: PTH208 - at once
    assert sorted(os.listdir(tmp_path)) == ["b.mmdb", "data1"]  # noqa: PTH208 - at once


async def test_credentials_do_not_follow_a_redirect(
    platform: Any, admin: str, maxmind: MaxMindStandIn, asking: dict[str, Any], tmp_path: Path
) -> None:
    """A download that is elsewhere is fetched there without the licence key."""
    packed = pack(write_database(tmp_path / "a.mmdb", {"203.0.113.0/24": "RO"}))
    elsewhere = f"http://localhost:{maxmind.port}/open/signed"
    maxmind.replies = {
        GEO: Reply(b"", 302, (("Location", elsewhere),)),
        SUM: Reply(checksum(packed)),
        "/open/signed": Reply(packed),
    }
    async with platform(**asking) as api:
        assert (await api.ask("POST", UPDATE, admin)).status == 200
    assert ("/open/signed", "") in maxmind.asked


async def test_the_list_is_synced_paged_and_asked(
    platform: Any, admin: str, maxmind: MaxMindStandIn, asking: dict[str, Any]
) -> None:
    """All pages of MaxMind's list are in force together; ours has pages, the check its basis."""
    maxmind.replies = {
        "/exclusions": Reply(
            page("198.51.100.0/24", "2001:db8::/32", total=3),
            headers=(("Link", '</exclusions?after=2>; rel="next"'),),
        ),
        "/exclusions?after=2": Reply(page("192.0.2.7/32")),
    }
    async with platform(**asking) as api:
        newest = await _synced(api, admin)
        assert newest["status"] == "done", newest
        listed = await api.ask("GET", f"{EXCLUSIONS}?page=2&per_page=2", admin)
        (one,) = listed.json["exclusions"]
        assert one["ip_network"] == "192.0.2.7/32"
        assert (one["exclusion_type"], one["is_active"]) == ("ccpa_do_not_sell", True)
        assert one["last_updated_by_maxmind"] == "2026-02-10T00:00:00Z"
        told = {name: listed.json[name] for name in ("total", "page", "per_page")}
        assert told == {"total": 3, "page": 2, "per_page": 2}
        reply = await api.ask("GET", f"{EXCLUSIONS}/check?ip=198.51.100.45", admin)
        assert reply.json == {
            "ip": "198.51.100.45",
            "is_excluded": True,
            "exclusion": {
                "type": "ccpa_do_not_sell",
                "network": "198.51.100.0/24",
                "legal_basis": "legal_obligation_ccpa",
            },
        }
        reply = await api.ask("GET", f"{EXCLUSIONS}/check?ip=203.0.113.1", admin)
        assert (reply.json["is_excluded"], reply.json["exclusion"]) == (False, None)
        assert "198.51.100.45" not in str(await api.audited())


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ({"/exclusions": Reply(b"{}", 401)}, "unauthorised"),
        ({"/exclusions": Reply(b"{}", 429, (("Retry-After", "60"),))}, "rate_limited"),
        ({"/exclusions": Reply(b"oops", 500)}, "unavailable"),
        ({"/exclusions": Reply(b"not json")}, "malformed"),
        ({"/exclusions": Reply(b'{"other": []}')}, "malformed"),
        ({"/exclusions": Reply(page("not a network"))}, "malformed"),
        ({"/exclusions": Reply(page("192.0.2.0/24"), cut=20)}, "unreachable"),
        ({"/exclusions": Reply(page("192.0.2.0/24", total=2))}, "partial"),
        ({"/exclusions": Reply(page())}, "empty"),
        # The first page is well; what comes after it is not.
        (
            {
                "/exclusions": Reply(page("192.0.2.0/24", next="?2")),
                "/exclusions?2": Reply(b"", 502),
            },
            "unavailable",
        ),
        ({"/exclusions": Reply(page("192.0.2.0/24", next="/exclusions"))}, "malformed"),
        ({"/exclusions": Reply(page("192.0.2.0/24", next="http://evil.example/"))}, "malformed"),
    ],
)
async def test_a_failed_sync_keeps_the_old_list(
    platform: Any,
    admin: str,
    maxmind: MaxMindStandIn,
    asking: dict[str, Any],
    replies: dict[str, Reply],
    reason: str,
) -> None:
    """Nothing of a list that is not whole is in force; the old one is, also after a restart."""
    maxmind.replies = {"/exclusions": Reply(page("198.51.100.0/24"))}
    async with platform(**asking) as api:
        assert (await _synced(api, admin))["status"] == "done"
        maxmind.replies = replies
        newest = await _synced(api, admin)
        assert (newest["status"], newest["reason"]) == ("failed", reason), newest
        for address, there in (("198.51.100.45", True), ("192.0.2.1", False)):
            reply = await api.ask("GET", f"{EXCLUSIONS}/check?ip={address}", admin)
            assert reply.json["is_excluded"] is there
        data_dir = api.service.settings.data_dir
    async with platform(**asking, data_dir=data_dir) as api:
        reply = await api.ask("GET", f"{EXCLUSIONS}/check?ip=198.51.100.45", admin)
        assert reply.json["is_excluded"] is True


async def test_what_is_no_network_is_left_out(
    platform: Any, admin: str, maxmind: MaxMindStandIn, asking: dict[str, Any]
) -> None:
    """Kinds of data that are no networks are skipped, as MaxMind asks its clients to."""
    import orjson  # noqa: PLC0415 - here alone

    rows = [exclusion("198.51.100.0/24"), {"data_type": "email_hash", "value": "x"}]
    maxmind.replies = {"/exclusions": Reply(orjson.dumps({"exclusions": rows, "total": 2}))}
    async with platform(**asking) as api:
        assert (await _synced(api, admin))["status"] == "done"
        assert (await api.ask("GET", EXCLUSIONS, admin)).json["total"] == 1


async def test_two_who_ask_get_the_same_sync(
    platform: Any, admin: str, maxmind: MaxMindStandIn, asking: dict[str, Any]
) -> None:
    """While one sync runs, no other begins."""
    maxmind.held = trio.Event()
    maxmind.replies = {"/exclusions": Reply(page("198.51.100.0/24"))}
    async with platform(**asking) as api:
        first = await api.ask("POST", f"{EXCLUSIONS}/sync", admin)
        second = await api.ask("POST", f"{EXCLUSIONS}/sync", admin)
        assert first.json["sync_batch_id"] == second.json["sync_batch_id"]
        maxmind.held.set()


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"{EXCLUSIONS}?page=0", "page"),
        (f"{EXCLUSIONS}?per_page=1001", "per_page"),
        (f"{EXCLUSIONS}?pages=1", "pages"),
        (f"{EXCLUSIONS}/check?ip=nowhere", "ip"),
        (f"{EXCLUSIONS}/check", "ip"),
        (f"{STATUS}?x=1", "x"),
    ],
)
async def test_parameters_are_checked(platform: Any, admin: str, path: str, field: str) -> None:
    """A parameter that is not what it may be is 400 with its name."""
    async with platform() as api:
        reply = await api.ask("GET", path, admin)
        assert (reply.status, reply.json["field"]) == (400, field)


async def test_a_damaged_database_does_not_stop_the_service(
    platform: Any, admin: str, tmp_path: Path
) -> None:
    """It runs without places, and says why."""
    path = tmp_path / "data1" / "platform" / "geo.mmdb"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all")
    async with platform() as api:
        status = await api.ask("GET", STATUS, admin)
        assert (status.json["loaded"], "no MaxMind database" in status.json["problem"]) == (
            False,
            True,
        )


async def test_a_damaged_list_stops_the_service(platform: Any, tmp_path: Path) -> None:
    """People who are protected by the list are not served without it."""
    from penstock.errors import StartupError  # noqa: PLC0415 - here alone

    path = tmp_path / "data1" / "platform" / "privacy-exclusions.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(
        b'{"v":1,"exclusions":2,"batch_id":"","synced_unix_ms":1}\n["192.0.2.0/24","x",1]\n'
    )
    with pytest.raises(StartupError, match="it has 1 exclusions, and says 2"):
        async with platform():
            pass
