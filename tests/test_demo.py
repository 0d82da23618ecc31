"""`penstock demo` as somebody who has just installed it runs it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

_PATIENCE_SECONDS = 120
_FEW = ("--duration", "12", "--patients", "3", "--most", "8")
_LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/console/sign-in\?next=%2Fconsole#token=(\S+)")


def _start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    # Its temporary folder is here, so that what it leaves behind is seen.
    environ = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "penstock", "demo", *arguments],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        bufsize=0,  # a line that is read takes nothing of the next ones along
    )  # fmt: skip


def _until_link(demo: subprocess.Popen[bytes]) -> tuple[str, str]:
    assert demo.stdout is not None
    for line in demo.stdout:
        if found := _LINK.match(line.decode()):
            return found[1], found[2]
    raise AssertionError("it ended without telling of the console")


def _finish(demo: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Wait for its end; give what it said that was not read yet."""
    out, err = demo.communicate(timeout=_PATIENCE_SECONDS)
    return out.decode(), err.decode()


def _gone(url: str) -> bool:
    """Tell whether nobody answers there any more."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/v1/healthz", timeout=5)
        except httpx.ConnectError:
            return True
        time.sleep(0.1)
    return False


def test_it_plays_to_its_end_and_leaves_nothing(tmp_path: Path) -> None:
    """Every patient's end is answered and every result found; no folder and no server is left."""
    demo = _start(tmp_path, *_FEW)
    url, token = _until_link(demo)
    with httpx.Client(base_url=url, timeout=30) as browser:
        signed = browser.post("/console/sign-in", data={"token": token, "next": "/console/health"})
        assert (signed.status_code, signed.headers["location"]) == (303, "/console/health")
    out, err = _finish(demo)
    assert demo.returncode == 0, out + err
    assert "Rush hour begins" in out
    found = re.search(r"Results read back\s+(\d+) of (\d+)", out)
    assert found is not None, out
    assert found[1] == found[2]
    assert int(found[1]) >= 8
    assert "Nothing is left of it." in out
    assert err == ""
    assert list(tmp_path.iterdir()) == []
    assert _gone(url)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_can_be_stopped_at_any_moment(tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends it, with a word and without a trace."""
    demo = _start(tmp_path, "--duration", "600", "--patients", "2", "--most", "2")
    url, _ = _until_link(demo)
    demo.send_signal(number)
    out, err = _finish(demo)
    assert (demo.returncode, err) == (130, "")
    assert "Stopped. Nothing is left of it." in out
    assert list(tmp_path.iterdir()) == []
    assert _gone(url)


def test_it_can_be_stopped_before_it_has_begun(tmp_path: Path) -> None:
    """Also while its service starts, a signal ends it in the same way."""
    demo = _start(tmp_path, "--duration", "600", "--patients", "2", "--most", "2")
    assert demo.stdout is not None
    assert any(line.startswith(b"Starting a service") for line in demo.stdout)
    demo.send_signal(signal.SIGTERM)
    out, err = _finish(demo)
    assert (demo.returncode, err) == (130, "")
    assert "Stopped. Nothing is left of it." in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--patients", "9", "--most", "3"), "3 is fewer than the 9 of --patients"),
        (("--duration", "1"), "duration"),
        (("--port", "70000"), "port"),
    ],
)
def test_what_cannot_be_played_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    """A number that makes no sense is refused in one line before anything starts."""
    demo = _start(tmp_path, *arguments)
    out, err = _finish(demo)
    assert (demo.returncode, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1
