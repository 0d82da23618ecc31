"""The service keeps database and list up by itself, and tells whoever watches how they are."""

import re
import time
from pathlib import Path
from typing import Any

import trio

from maxmind_stand_in import MaxMindStandIn, Reply, page, write_database
from penstock.engine.platform.exclusions import Exclusion, ExclusionEdition
from penstock.http.roles import Role
from penstock.platform_link import OLDEST_GEO_DAYS
from penstock.service import open_service
from penstock.storage.platform.exclusions_file import ExclusionsFile
from platform_bodies import analytics

DAY = 86_400


class Later:
    """The system's clock, some days ahead."""

    def __init__(self, days: int) -> None:
        self.ahead = days * DAY

    def monotonic(self) -> float:
        return time.monotonic()

    def unix(self) -> float:
        return time.time() + self.ahead


async def measured(api: Any) -> dict[str, float]:
    """Give every sample of the platform, as Prometheus reads it."""
    reply = await api.ask("GET", "/metrics", headers={"Accept": "text/plain"})
    lines = re.findall(
        r"^(penstock_(?:geo|privacy|retention_removed)\S*) (\S+)$",
        reply.body.decode(),
        re.MULTILINE,
    )
    return {name: float(value) for name, value in lines}


async def until(api: Any, name: str) -> None:
    """Wait until a count is not 0 any more."""
    with trio.fail_after(30):
        while True:
            if (await measured(api))[name]:
                return
            await trio.sleep(0.02)


async def test_they_are_fetched_without_being_asked_for(
    platform: Any, maxmind: MaxMindStandIn, asking: dict[str, Any], tmp_path: Path
) -> None:
    """At the first start with an account; the next start finds them there and asks nobody."""
    maxmind.serve_database(write_database(tmp_path / "a.mmdb", {"203.0.113.0/24": "RO"}))
    maxmind.replies["/exclusions"] = Reply(page("198.51.100.0/24"))
    daily = asking | {"geo_update_days": 1, "privacy_sync_days": 1}
    async with platform(**daily) as api:
        await until(api, 'penstock_geo_updates_total{result="done"}')
        await until(api, 'penstock_privacy_syncs_total{result="done"}')
        assert "information" not in (await api.ask("GET", "/readyz")).json
        data_dir = api.service.settings.data_dir
    assert len(maxmind.asked) == 3
    async with platform(**daily, data_dir=data_dir) as api:
        assert "information" not in (await api.ask("GET", "/readyz")).json
        assert not (await measured(api))['penstock_geo_updates_total{result="done"}']
    assert len(maxmind.asked) == 3


async def test_without_an_account_nothing_is_fetched(
    platform: Any, maxmind: MaxMindStandIn, asking: dict[str, Any]
) -> None:
    """Whatever the periods say."""
    daily = asking | {
        "geo_update_days": 1, "privacy_sync_days": 1, "maxmind_license_key": None,
    }  # fmt: skip
    async with platform(**daily) as api:
        ready = (await api.ask("GET", "/readyz")).json
        assert [note["code"] for note in ready["information"]] == ["geo_unavailable"]
        assert not (await measured(api))['penstock_geo_updates_total{result="failed"}']
    assert maxmind.asked == []


async def test_metrics_tell_of_them(
    platform: Any,
    make_user: Any,
    maxmind: MaxMindStandIn,
    asking: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Lookups by result, age, entries, syncs and failures, requests under an exclusion."""
    folder = tmp_path / "data1" / "platform"
    write_database(folder / "geo.mmdb", {"203.0.113.0/24": "RO"})
    edition = ExclusionEdition([Exclusion("198.51.100.0/24", "ccpa_do_not_sell", 0)], "b", 5000)
    ExclusionsFile(folder / "privacy-exclusions.jsonl").keep(edition)
    admin = make_user(Role.PLATFORM_ADMIN, 0)
    async with platform(**asking, trusted_proxies=("127.0.0.0/8",)) as api:
        for address in ("203.0.113.9", "203.0.113.8", "192.0.2.1", "198.51.100.45"):
            headers = {"X-Forwarded-For": address}
            sent = await api.ask("POST", "/v1/analytics/track", make_user(), analytics(), headers)
            assert sent.status == 202
        before = await measured(api)
        assert before['penstock_geo_lookups_total{result="found"}'] == 2
        assert before['penstock_geo_lookups_total{result="unknown"}'] == 1
        assert before['penstock_geo_lookups_total{result="no_database"}'] == 0
        assert before["penstock_privacy_excluded_requests_total"] == 1
        assert before["penstock_privacy_exclusions"] == 1
        assert before["penstock_privacy_synced_timestamp_seconds"] == 5
        assert before["penstock_geo_built_timestamp_seconds"] > 1_700_000_000
        assert before['penstock_retention_removed_total{what="analytics"}'] == 0
        # Nothing is served in MaxMind's place: both fail, and what was in force stays so.
        assert (await api.ask("POST", "/v1/admin/geo/update", admin)).status == 502
        assert (await api.ask("POST", "/v1/admin/privacy/exclusions/sync", admin)).status == 202
        await until(api, 'penstock_privacy_syncs_total{result="failed"}')
        maxmind.replies["/exclusions"] = Reply(page("192.0.2.0/24", "2001:db8::/32"))
        assert (await api.ask("POST", "/v1/admin/privacy/exclusions/sync", admin)).status == 202
        await until(api, 'penstock_privacy_syncs_total{result="done"}')
        after = await measured(api)
        assert after['penstock_geo_updates_total{result="failed"}'] == 1
        assert after['penstock_geo_updates_total{result="done"}'] == 0
        assert after["penstock_privacy_exclusions"] == 2
        assert after["penstock_privacy_synced_timestamp_seconds"] > 1_700_000_000


async def test_what_is_out_of_date_is_told(
    asking: dict[str, Any], platform: Any, maxmind: MaxMindStandIn, tmp_path: Path
) -> None:
    """Readiness has a note of each with its age, and no less traffic comes for that."""
    folder = tmp_path / "data1" / "platform"
    write_database(folder / "geo.mmdb", {"203.0.113.0/24": "RO"})
    edition = ExclusionEdition([], "b", int(time.time() * 1000))
    ExclusionsFile(folder / "privacy-exclusions.jsonl").keep(edition)
    weekly = asking | {"privacy_sync_days": 7}
    async with platform(**weekly) as api:
        assert "information" not in (await api.ask("GET", "/readyz")).json
        settings = api.service.settings
    for days, codes in (
        (14, []), (15, ["exclusions_old"]), (OLDEST_GEO_DAYS + 1, ["geo_old", "exclusions_old"]),
    ):  # fmt: skip
        maxmind.held = trio.Event()  # what is due is asked for, and does not come
        async with open_service(settings, dev=True, clock=Later(days)) as service:
            asked = type(api)(service, api.dial)
            ready = await asked.ask("GET", "/readyz")
            assert ready.status == 200
            notes = {one["code"]: one["detail"] for one in ready.json.get("information", [])}
            assert list(notes) == codes
            assert all(f"{days} days ago" in detail for detail in notes.values())
