"""The ledger against kills: what was acknowledged is there, whole, whoever else writes."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from penstock.engine.records import AuditPage, FinalOf
from penstock.storage.ledger import open_sqlite_ledger

KILLS = 6
# Writes through the lanes, from many tasks at once, and says each receipt before anything else.
CHILD = """
import itertools, os, signal, sys, time
from pathlib import Path
from uuid import uuid4
import trio
from penstock.engine.ledger_lanes import LedgerLanes
from penstock.engine.ledger_port import Together
from penstock.engine.records import AuditEntry, FinalEntry
from penstock.engine.receipts import Committed, Lane
from penstock.storage.ledger import open_sqlite_ledger

def open_ledger(target):
    if target.startswith("postgresql:"):
        from penstock.storage.ledger.postgres import open_postgres_ledger
        return open_postgres_ledger(target)
    return open_sqlite_ledger(Path(target), busy_seconds=5)

class Clock:
    monotonic = staticmethod(time.monotonic)
    unix = staticmethod(time.time)

async def submit(lanes, count):
    for _ in range(count):
        name = str(uuid4())
        final = FinalEntry(name, "org", "principal", 1, "completed", 0, {"x": "y" * 500})
        audit = AuditEntry(0, "actor", "ended", name, {}, name)
        answer = await lanes.enter_nowait(Together((final, audit)), Lane.FINAL).wait()
        assert answer == Committed(), answer
        os.write(1, name.encode() + b"\\n")

async def main(target, tasks, count):
    async with open_ledger(target) as ledger:
        lanes = LedgerLanes(ledger, Clock(), max_queued_entries=1000, wait_seconds=20)
        async with trio.open_nursery() as nursery:
            await nursery.start(lanes.run)
            async with trio.open_nursery() as submitters:
                for _ in range(tasks):
                    submitters.start_soon(submit, lanes, count)
            nursery.cancel_scope.cancel()

signal.alarm(60)
trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""


def begin(target: str, *, tasks: int, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, target, str(tasks), str(count)], stdout=subprocess.PIPE
    )


def whole_lines(text: bytes) -> set[str]:
    return {
        line.decode().strip() for line in text.splitlines(keepends=True) if line.endswith(b"\n")
    }


async def audited_in(site: Any) -> list[str]:
    """Give the subjects of the audit."""
    async with site.open() as ledger:
        return [row.entry.subject for row in await ledger.read(AuditPage(1_000_000))]


def test_what_was_acknowledged_before_a_kill_is_there(site: Any) -> None:
    """Killed at any moment, again and again: every acknowledged entry is there, none by half."""
    chance = random.Random(1)  # noqa: S311
    acknowledged: set[str] = set()
    for _ in range(KILLS):
        with begin(site.target, tasks=8, count=1_000_000) as child:
            assert child.stdout is not None
            heard = [child.stdout.readline() for _ in range(chance.randint(1, 400))]
            child.send_signal(signal.SIGKILL)
            heard.append(child.stdout.read())
        assert child.returncode == -signal.SIGKILL
        acknowledged |= whole_lines(b"".join(heard))
        audits = trio.run(audited_in, site)
        finals = site.finals()
        assert acknowledged <= finals
        assert sorted(finals) == sorted(audits)
    assert len(acknowledged) > KILLS


def test_processes_that_start_at_once_share_one_ledger(site: Any) -> None:
    """The schema is made once, and no process loses or doubles what another one writes."""
    children = [begin(site.target, tasks=4, count=25) for _ in range(3)]
    heard: set[str] = set()
    for child in children:
        with child:
            assert child.stdout is not None
            heard |= whole_lines(child.stdout.read())
        assert child.returncode == 0
    audits = trio.run(audited_in, site)
    assert len(heard) == 300
    assert site.finals() == heard
    assert sorted(audits) == sorted(heard)


MakeFinal = Callable[..., Any]


async def test_a_restart_after_a_kill_takes_the_log_along(
    tmp_path: Path, make_final: MakeFinal
) -> None:
    """What is only in the log, because nobody closed the file, is part of the ledger."""
    path = tmp_path / "ledger.db"
    copy = tmp_path / "copy" / "ledger.db"
    async with open_sqlite_ledger(path) as ledger:
        await ledger.commit([make_final(1)])
        copy.parent.mkdir()
        for name in ("ledger.db", "ledger.db-wal"):
            (copy.parent / name).write_bytes((tmp_path / name).read_bytes())
    async with open_sqlite_ledger(copy) as ledger:
        assert await ledger.read(FinalOf(make_final(1).session_id)) == make_final(1)
