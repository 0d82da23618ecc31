"""`/v1/admin/retention`: limits are shown, and a run removes what is over them, or only tells."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import trio

from asking import Api, user
from penstock.http.roles import Role

PREFIX = "/v1/admin/retention"


async def finished(api: Api, number: int) -> dict[str, Any]:
    """Wait for a run's end; give it."""
    with trio.fail_after(20):
        while True:
            run = (await api.get(PREFIX, user(Role.PLATFORM_ADMIN))).json["run"]
            if run is not None and run["number"] >= number and run["state"] != "running":
                return dict(run)
            await trio.sleep(0.02)


async def test_old_replays_go_and_a_dry_run_says_which(operated: Any) -> None:
    """Told first, then done; what is young stays. Each run an operator asks for is audited."""
    admin = user(Role.PLATFORM_ADMIN)
    async with operated(blob_max_age_seconds=3600.0) as api:
        first = await finished(api, 1)
        assert (first["asked_by"], first["blobs"]["found"]) == ("penstock", 0)
        for session in (1, 2, 3):
            await api.store_replay(session, b"x" * 100)
        for path in sorted((api.service.settings.data_dir / "blobs").rglob("*.bin.gz"))[:2]:
            os.utime(path, (1, 1))
        begun = await api.ask("POST", PREFIX, admin, {"dry_run": True})
        assert begun.status == 202
        dry = await finished(api, begun.json["run"]["number"])
        assert (dry["state"], dry["dry_run"]) == ("done", True)
        assert dry["blobs"] == {
            "found": 3, "found_bytes": 300, "removed": 2, "removed_bytes": 200, "stopped": None,
        }  # fmt: skip
        assert len(list((api.service.settings.data_dir / "blobs").rglob("*.bin.gz"))) == 3

        begun = await api.ask("POST", PREFIX, admin)
        real = await finished(api, begun.json["run"]["number"])
        assert (real["dry_run"], real["blobs"]["removed"]) == (False, 2)
        assert real["finals"] is None  # it has no limit
        assert len(list((api.service.settings.data_dir / "blobs").rglob("*.bin.gz"))) == 1
        shown = (await api.get(PREFIX, admin)).json
        assert shown["rules"]["blob_max_age_seconds"] == 3600.0
        metrics = (await api.get("/metrics", Accept="text/plain")).body.decode()
        assert 'penstock_retention_removed_total{what="blobs"} 2.0' in metrics


@pytest.mark.parametrize("body", [{"dry_run": "yes"}, {"dryrun": True}, []])
async def test_a_misfit_is_refused_and_nothing_begins(operated: Any, body: Any) -> None:
    """A run that removes is not what a mistyped dry run is taken for."""
    async with operated() as api:
        refused = await api.ask("POST", PREFIX, user(Role.PLATFORM_ADMIN), body)
        assert (refused.status, refused.code) == (400, "body_malformed")
        assert (await api.get(PREFIX, user(Role.PLATFORM_ADMIN))).json["run"] is None


async def test_old_finals_go_and_their_sessions_stay_readable(
    operated: Any, make_token: Callable[..., str], make_batch: Callable[..., bytes]
) -> None:
    """What Core keeps of a patient is no matter of age."""
    async with operated(finals_max_age_seconds=90000.0, blob_max_age_seconds=3600.0) as api:
        admin = user(Role.PLATFORM_ADMIN)
        token = make_token(1)
        headers = {"Content-Type": "application/octet-stream"}
        assert (
            await api.ask("POST", "/v1/pose/frames", token, make_batch(), headers)
        ).status == 202
        session = "00000000-0000-0000-0000-000000000001"
        said = {"ended_at": "1999-05-07T10:30:00Z", "client_status": "completed"}
        assert (await api.ask("POST", f"/v1/sessions/{session}/end", token, said)).status == 200
        with trio.fail_after(30):
            # The service's own run may be under way, or its start press it for a moment.
            while (begun := await api.ask("POST", PREFIX, admin, {})).status >= 300:
                await trio.lowlevel.checkpoint()
        run = await finished(api, begun.json["run"]["number"])
        # It ended in 1999 by its client's clock, and just now by the service's.
        assert (run["finals"], run["state"]) == (0, "done")
