"""The whole way: a page on another origin, a service process, a network that goes and comes."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import trio
from playwright.sync_api import Page, Route

from penstock.engine.finals import Final
from penstock.engine.outcomes import Outcome, Reason, Tally
from penstock.engine.records import FinalEntry, FinalOf
from penstock.http.session_tokens import mint_session_token
from penstock.storage.ledger import open_sqlite_ledger
from penstock.storage.replay import read_replay
from portal_rig import PageServer, replay_of, until

SESSION = str(UUID(int=1))
SETTINGS = """
cors_origins = ["{origin}"]
rate_batches_per_second = 1000.0
rate_burst = 1000
shutdown_notice_seconds = 0.0
"""


def _read(log: Path) -> bytes:
    return log.read_bytes() if log.exists() else b""


async def _started(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for the service's own word that it serves, and give its address."""
    with trio.fail_after(30):
        while True:
            for line in _read(log).splitlines():
                told = json.loads(line) if line.endswith(b"}") else {}
                if told.get("event") == "service.started":
                    return str(told["address"])
            assert process.poll() is None
            await trio.sleep(0.02)


def _token(data_dir: Path) -> str:
    secrets = json.loads((data_dir / "dev-secrets.json").read_bytes())
    return mint_session_token(
        secrets["session_secret"].encode(),
        session_id=SESSION,
        principal_id=str(UUID(int=7)),
        org_id=str(UUID(int=8)),
        issued_unix=int(time.time()) - 10,
        expires_unix=int(time.time()) + 3600,
    )


def _exercise(page: Page) -> tuple[Any, Any, Any]:
    """Exercise for a minute, in a hurry; for forty seconds of it there is no network."""
    page.evaluate("feed(0, 100)")
    until(page, "session.statistics().framesBuffered === 0")
    # An answer that never comes: the service has the batch, the page does not know.
    page.route("**/v1/pose/frames", _lose_answer, times=1)
    page.evaluate("feed(100, 30)")
    until(page, "session.state === 'offline'")
    until(page, "session.statistics().framesBuffered === 0")
    # The network goes. What comes meanwhile is more than the buffer holds.
    page.context.set_offline(offline=True)
    page.evaluate("feed(130, 400)")
    until(page, "session.state === 'offline'")
    page.evaluate("session.dropFrames(5, 'camera')")
    page.context.set_offline(offline=False)
    until(page, "session.statistics().framesBuffered === 0")
    page.evaluate("feed(530, 70)")
    # It goes again, while the session ends: the end is tried until it is answered.
    page.context.set_offline(offline=True)
    page.evaluate("void (window.ending = session.end({ status: 'completed' }))")
    until(page, "told.filter(([name, to]) => name === 'state' && to === 'ending').length === 1")
    page.wait_for_timeout(200)
    assert page.evaluate("session.state") == "ending"
    page.context.set_offline(offline=False)
    answer = page.evaluate("within(window.ending)")
    return answer, page.evaluate("session.statistics()"), page.evaluate("told")


def _lose_answer(route: Route) -> None:
    route.fetch()
    route.abort()


async def test_a_session_that_loses_its_network_is_told_of_whole(
    tmp_path: Path,
    visit: Callable[..., Any],
    portal: PageServer,
    launch_service: Callable[[Path], subprocess.Popen[bytes]],
) -> None:
    """Every frame is used, or counted with its reason, in the ledger's final and the answer."""
    (tmp_path / "penstock.toml").write_text(SETTINGS.format(origin=portal.url))
    data_dir = tmp_path / "data"
    process = launch_service(data_dir)
    try:
        address = await _started(process, tmp_path / "second.log")
        options = {
            "url": address,
            "sessionId": SESSION,
            "token": _token(data_dir),
            "batchSeconds": 0.1,
            "bufferFrames": 240,
            "exercise": "squat",
            "resolution": "640x480",
        }

        def story(page: Page) -> Any:
            page.evaluate("(options) => open_session(options)", options)
            return _exercise(page)

        answer, statistics, told = await visit(address, story)
    finally:
        process.terminate()
        process.wait(30)

    dropped = statistics["framesDropped"]
    assert statistics["framesAttempted"] == 605
    assert dropped["camera"] == 5
    assert dropped["network"] >= 160  # of 400 into 240
    assert {what: n for what, n in dropped.items() if n} == {
        "camera": 5,
        "network": dropped["network"],
    }
    async with open_sqlite_ledger(data_dir / "ledger.sqlite3") as ledger:
        entry = await ledger.read(FinalOf(SESSION))
    assert isinstance(entry, FinalEntry)
    final = Final.from_plain(dict(entry.body))
    tally = Tally.from_plain(final.tally)
    assert tally.conserved
    used = 600 - dropped["network"]
    assert tally.count(Outcome.UNSENT) == 5 + dropped["network"]
    assert tally.unsent == {
        Reason.UNSENT_NETWORK: dropped["network"],
        Reason.UNSENT_CAMERA: 5,
    }
    assert tally.ended == {Reason.USED: used, Reason.REPEATED: 30}
    assert (final.frames_attempted, final.frames_received) == (605, used + 30)
    assert (answer["status"], answer["suspicious_gap"]) == ("completed", False)
    assert answer["completeness"] == final.completeness == round(used / 605, 4)
    states = [what[1] for what in told if what[0] == "state"]
    assert states == ["offline", "live", "offline", "live", "ending", "ended"]
    assert not [what for what in told if what[0] == "error"]
    _check_gaps(replay_of(data_dir, SESSION), used)


def _check_gaps(file: Path, used: int) -> None:
    report = read_replay(file)
    assert (report.used, report.repeated, report.damage_count) == (used, 30, 0)
    # What had to go lies evenly in what is left: no stretch without a frame is as long as a second.
    assert report.longest_gap_ms < 1000
    assert report.sidecars.values["camera_resolution"] == {"640x480": report.batches}
