"""What the process does at its end, and what it refuses at its start."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock import findings

HANGS = """
import threading
from penstock.process import allow_seconds_to_stop
allow_seconds_to_stop(0.1)
thread = threading.Thread(target=threading.Event().wait)
thread.start()
thread.join()
"""
ENDS = """
from penstock.process import allow_seconds_to_stop
allow_seconds_to_stop(60)
"""


def _run(*arguments: str, cwd: Path, **given: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environ | given,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def test_a_stop_that_hangs_is_ended(tmp_path: Path) -> None:
    """A thread that never returns does not keep the process beyond its deadline; exit code 1."""
    done = _run("-c", HANGS, cwd=tmp_path)
    assert done.returncode == 1
    assert "process.ended_without_cleanup" in done.stderr


def test_a_stop_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    """The deadline of a stop keeps nothing alive: who ends before it ends with his own code."""
    done = _run("-c", ENDS, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_serve_refuses_tls_files_that_are_no_pem(tmp_path: Path) -> None:
    """`penstock serve` names tls_cert and tls_key in one line and exits 2."""
    for name in ("cert", "key"):
        (tmp_path / name).write_text("no PEM\n")
        (tmp_path / name).chmod(0o600)
    where = ["--data-dir", str(tmp_path / "data"), "--port", "0"]
    files = {f"PENSTOCK_TLS_{name.upper()}": str(tmp_path / name) for name in ("cert", "key")}
    done = _run("-m", "penstock", "serve", "--dev", *where, cwd=tmp_path, **files)
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("penstock: ")
    assert "tls_cert and tls_key" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("lag", "flush", "stalled"),
    [
        (0.0, 1.0, False),
        (5.0, 1.0, False),
        (5.1, 1.0, True),
        (5.1, 0.02, True),
        (40.0, 10.0, False),
        (51.0, 10.0, True),
    ],
)
def test_a_spool_that_has_stalled_is_named(lag: float, flush: float, *, stalled: bool) -> None:
    """Readiness names frames that wait far longer than a flush takes, and says how long."""
    writer: Any = SimpleNamespace(statistics=lambda: SimpleNamespace(oldest_age_seconds=lag))
    finding = findings.lag(writer, flush)
    assert (finding is not None) is stalled
    if finding is not None:
        assert finding.code == "spool_stalled"
        assert f"{lag:.0f} s" in finding.detail
