"""Each check of the doctor finds what it is for, and only that."""

import fcntl
import itertools
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from pydantic import SecretStr

from penstock.dev import DEV_SECRETS_FILE, ensure_dev_secrets
from penstock.doctor import Finding, Machine, State, examine
from penstock.doctor.finding import Room
from penstock.engine.delivery_records import DeliveryEntry, Progress, ProgressEntry
from penstock.engine.ledger_port import Together
from penstock.engine.records import FinalEntry
from penstock.ledgers import LEDGER_FILE
from penstock.rotation import check_rotation
from penstock.settings import Settings
from penstock.storage.ledger import open_sqlite_ledger
from penstock.storage.ledger.postgres import open_postgres_ledger
from penstock.storage.lock import lock_data_dir

NOW = 1_800_000_000.0
GIB = 1 << 30

HEALTHY = Machine(
    unix=lambda: NOW,
    monotonic=lambda: 1.0,
    user=os.geteuid,
    room=lambda _path: Room(100 * GIB, 1_000_000),
    open_file_limit=lambda: (1 << 20, 1 << 20),
)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    os.utime(folder, (NOW, NOW))
    return folder


@pytest.fixture
def settings(data_dir: Path, tmp_path: Path) -> Settings:
    grants = tmp_path / "grants.json"
    grants.write_text("{}")
    return Settings(
        data_dir=data_dir,
        port=0,
        grants_file=grants,
        session_secret=SecretStr("s" * 32),
        user_jwt_secret=SecretStr("u" * 32),
        service_jwt_secret=SecretStr("v" * 32),
    )


def look(settings: Settings, machine: Machine = HEALTHY, *, dev: bool = False) -> list[Finding]:
    return list(examine(settings, machine, dev=dev))


def finding(
    check: str, settings: Settings, machine: Machine = HEALTHY, *, dev: bool = False
) -> Finding:
    (found,) = [f for f in look(settings, machine, dev=dev) if f.check == check]
    assert bool(found.advice) is (found.state is not State.OK), found
    return found


def changed(settings: Settings, **values: object) -> Settings:
    return settings.model_copy(update=values)


def test_a_healthy_machine_has_no_findings(settings: Settings) -> None:
    """Where nothing is wrong, nothing is said to be, and every check has spoken."""
    found = look(settings)
    assert {f.state for f in found} == {State.OK}
    assert {f.check for f in found} == {
        "data folder",
        "write and sync",
        "disk room",
        "inodes",
        "open files",
        "clock",
        "secrets",
        "distinct secrets",
        "rotation",
        "dev secrets",
        "database",
        "lock",
        "spool",
        "grants",
        "port",
        "python",
        "dependencies",
    }


def test_looking_changes_nothing(settings: Settings, data_dir: Path) -> None:
    """The probe file is gone, and nothing else was made."""
    look(settings)
    assert list(data_dir.iterdir()) == []
    look(changed(settings, data_dir=data_dir / "none"))
    assert list(data_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "state"),
    [(0o700, State.OK), (0o750, State.WARNING), (0o701, State.PROBLEM), (0o755, State.PROBLEM)],
)
def test_a_folder_open_to_others_is_found(
    settings: Settings, data_dir: Path, mode: int, state: State
) -> None:
    """Landmarks are health data: no other user gets in."""
    data_dir.chmod(mode)
    assert finding("data folder", settings).state is state


def test_a_folder_of_another_user_is_found(settings: Settings) -> None:
    """The service could not keep it to itself."""
    machine = replace(HEALTHY, user=lambda: os.geteuid() + 1)
    assert "belongs to user" in finding("data folder", settings, machine).seen


def test_a_folder_that_is_not_there_is_no_problem_where_it_can_be_made(
    settings: Settings, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first start makes it, unless its parent does not let it."""
    absent = changed(settings, data_dir=data_dir / "a" / "b")
    assert finding("data folder", absent).state is State.OK
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert finding("data folder", absent).state is State.PROBLEM


def test_a_file_in_the_place_of_the_folder_is_found(settings: Settings, tmp_path: Path) -> None:
    """And one on the way to it."""
    file = tmp_path / "grants.json"
    assert "is not a folder" in finding("data folder", changed(settings, data_dir=file)).seen
    below = changed(settings, data_dir=file / "data")
    assert finding("data folder", below).state is State.PROBLEM


def test_a_folder_that_cannot_be_written_is_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that refuses the sync refuses the spool too."""

    def refuse(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    assert "Input/output error" in finding("write and sync", settings).seen


@pytest.mark.parametrize(
    ("room", "disk", "inodes"),
    [
        (Room(2 * GIB, None), State.OK, State.OK),
        (Room(2 * GIB - 1, 20_000), State.WARNING, State.OK),
        (Room(200 << 20, 19_999), State.WARNING, State.WARNING),
        (Room((200 << 20) - 1, 999), State.PROBLEM, State.PROBLEM),
    ],
)
def test_a_disk_that_runs_full_is_found(
    settings: Settings, room: Room, disk: State, inodes: State
) -> None:
    """First as a warning, then as a problem, in bytes and in inodes."""
    machine = replace(HEALTHY, room=lambda _path: room)
    assert finding("disk room", settings, machine).state is disk
    assert finding("inodes", settings, machine).state is inodes


def test_a_low_limit_of_open_files_is_found(settings: Settings) -> None:
    """It is compared with what the settings may need."""
    need = settings.max_connections + settings.spool_open_files + 100
    enough = replace(HEALTHY, open_file_limit=lambda: (1024, need))
    assert finding("open files", settings, enough).state is State.OK
    low = finding("open files", settings, replace(HEALTHY, open_file_limit=lambda: (1024, 4096)))
    assert low.state is State.WARNING
    assert f"ulimit -n {need}" in low.advice


def test_a_clock_that_cannot_be_right_is_found(settings: Settings, data_dir: Path) -> None:
    """By its year, by files from its future, or by running backwards."""
    assert finding("clock", settings, replace(HEALTHY, unix=lambda: 0.0)).state is State.PROBLEM
    (data_dir / "spool").mkdir()
    newest = data_dir / "spool" / "x.bin.gz"
    newest.touch()
    os.utime(newest, (NOW + 3600, NOW + 3600))
    assert "the data folder has a file of" in finding("clock", settings).seen
    newest.unlink()
    ticks = itertools.count(0, -1)
    backwards = replace(HEALTHY, unix=lambda: NOW * 2, monotonic=lambda: next(ticks))
    assert "backwards" in finding("clock", settings, backwards).seen


def test_missing_and_shared_secrets_are_found(settings: Settings) -> None:
    """A token of one kind must not pass for another."""
    missing = finding("secrets", changed(settings, user_jwt_secret=None))
    assert missing.state is State.PROBLEM
    assert "PENSTOCK_USER_JWT_SECRET" in missing.advice
    dev = finding("secrets", changed(settings, user_jwt_secret=None), dev=True)
    assert dev.state is State.OK
    provided = changed(settings, user_jwt_secret=None, jwks_url="https://id.example/keys")
    names = finding("secrets", provided)
    assert (names.state, names.seen) == (State.PROBLEM, "not set: actor_hash_secret")
    assert finding("secrets", provided, dev=True).seen.startswith("user_jwt_secret: made")
    whole = changed(provided, actor_hash_secret=SecretStr("a" * 32))
    assert finding("secrets", whole).state is State.OK
    shared = finding(
        "distinct secrets", changed(settings, user_jwt_secret=settings.service_jwt_secret)
    )
    assert shared.seen == "the same: user_jwt_secret and service_jwt_secret"


def test_a_rotation_that_would_be_refused_is_found(settings: Settings, data_dir: Path) -> None:
    """Before the restart, not by it."""
    check_rotation(
        data_dir, current=b"s" * 32, previous=None, overlap_seconds=7200, now_unix=NOW - 60
    )
    assert "is the recorded one" in finding("rotation", settings).seen
    rotated = changed(settings, session_secret=SecretStr("t" * 32))
    assert finding("rotation", rotated).state is State.PROBLEM
    kept = changed(rotated, session_secret_previous=settings.session_secret)
    assert "and may" in finding("rotation", kept).seen


def test_dev_secrets_behind_an_open_host_are_found(settings: Settings, data_dir: Path) -> None:
    """A file that anybody with the folder has read is no secret of an open service."""
    made = ensure_dev_secrets(data_dir)
    assert finding("dev secrets", settings).state is State.OK
    opened = changed(settings, host="0.0.0.0")  # noqa: S104
    assert finding("dev secrets", opened).state is State.WARNING
    used = changed(opened, session_secret=SecretStr(made["session_secret"]))
    assert finding("dev secrets", used).state is State.PROBLEM
    (data_dir / DEV_SECRETS_FILE).chmod(0o640)
    assert "other users can read" in finding("dev secrets", settings).seen
    (data_dir / DEV_SECRETS_FILE).write_text("{")
    assert "is damaged" in finding("dev secrets", settings).seen


def test_a_running_service_is_named(settings: Settings, data_dir: Path) -> None:
    """By its process id, and it does not mind being looked at."""
    with lock_data_dir(data_dir):
        assert finding("lock", settings).seen == f"the running service, process {os.getpid()}"
    assert finding("lock", settings).seen == "no service runs in this data folder"


def test_two_doctors_do_not_take_each_other_for_a_service(
    settings: Settings, data_dir: Path
) -> None:
    """A look at the lock is no claim to it."""
    with lock_data_dir(data_dir):
        pass
    with (data_dir / "penstock.lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert finding("lock", settings).seen == "no service runs in this data folder"


def test_spool_files_are_counted(settings: Settings, data_dir: Path) -> None:
    """What an earlier process left, and what recovery had to cut off."""
    damaged = data_dir / "spool" / "damaged"
    damaged.mkdir(parents=True)
    for name, size in (("a.bin.gz", 3), ("b.bin.gz", 4), (".probe", 9)):
        (data_dir / "spool" / name).write_bytes(bytes(size))
        os.utime(data_dir / "spool" / name, (NOW, NOW))
    os.utime(damaged, (NOW, NOW))
    assert finding("spool", settings).seen.startswith("2 files, 7 bytes, left behind")
    (damaged / "a-0.bin").write_bytes(bytes(5))
    assert "1 files, 5 bytes" in finding("damaged spool files", settings).seen
    with lock_data_dir(data_dir):
        assert "of live sessions or left behind" in finding("spool", settings).seen


def test_a_spool_that_cannot_be_read_is_found(settings: Settings, data_dir: Path) -> None:
    """A file in the folder's place, for one."""
    (data_dir / "spool").touch()
    assert finding("spool", settings).state is State.PROBLEM


def test_grants_that_do_not_hold_are_found(settings: Settings, tmp_path: Path) -> None:
    """Without a file Core says who consents; a broken one means no start."""
    unset = changed(settings, grants_file=None)
    assert "embedded Core; who was never asked consents to nothing" in finding("grants", unset).seen
    assert finding("grants", unset, dev=True).seen.endswith("consents to everything")
    remote = changed(unset, core_api_url="https://core.example")
    assert "https://core.example" in finding("grants", remote).seen
    (tmp_path / "grants.json").write_text("{")
    assert finding("grants", settings).state is State.PROBLEM
    (tmp_path / "grants.json").unlink()
    assert finding("grants", settings).state is State.PROBLEM


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_found(settings: Settings, data_dir: Path, taken_port: int) -> None:
    """Unless it is most likely the running service that has it."""
    taken = changed(settings, port=taken_port)
    assert finding("port", taken).state is State.PROBLEM
    with lock_data_dir(data_dir):
        assert finding("port", taken).state is State.OK


def test_a_host_of_another_machine_is_found(settings: Settings) -> None:
    """An address that is not this machine's cannot be listened on."""
    foreign = changed(settings, host="192.0.2.1", port=1)
    assert finding("port", foreign).state is State.PROBLEM


def test_the_command_exits_1_only_for_a_problem(run: Any, secrets: dict[str, str]) -> None:
    """Warnings alone do not fail a script; the findings are JSON for programs."""
    well = run("doctor", "--json", PENSTOCK_PORT="0", **secrets)
    found = json.loads(well.out)
    problems = [f for f in found if f["state"] == "problem"]
    assert (well.code, problems) == (0, [])
    assert found[0].keys() == {"check", "state", "seen", "advice"}
    ill = run("doctor", "--json", PENSTOCK_PORT="0")
    assert ill.code == 1
    assert [f["check"] for f in json.loads(ill.out) if f["state"] == "problem"] == ["secrets"]
    table = run("doctor", PENSTOCK_PORT="0")
    assert table.code == 1
    assert "openssl rand -hex 32" in table.out


def test_wrong_settings_are_findings(run: Any) -> None:
    """The doctor tells of them in its own form, each a problem."""
    ran = run("doctor", "--json", PENSTOCK_PORT="x", PENSTOCK_MOON="1")
    assert ran.code == 1
    assert [f["check"] for f in json.loads(ran.out)] == ["settings", "settings"]


def outbox(data_dir: Path, *, dead: bool, at: float) -> None:
    """Leave a ledger with one final that is not delivered."""

    async def fill() -> None:
        async with open_sqlite_ledger(data_dir / LEDGER_FILE) as ledger:
            final = FinalEntry("s", "o", "p", 1, "completed", 1, {})
            order = DeliveryEntry("s", 1, "o", replay_due=True, created_unix_ms=int(at * 1000))
            progress = Progress(replay_due=True, attempts=9, error="core", dead=dead)
            await ledger.commit([Together((final, order)), ProgressEntry("s", 1, progress)])

    trio.run(fill)


def test_finals_that_were_given_up_are_found(settings: Settings, data_dir: Path) -> None:
    """With the commands that show why and have them tried again."""
    outbox(data_dir, dead=True, at=NOW)
    found = finding("outbox", settings)
    assert found.state is State.WARNING
    assert found.seen.startswith("1 finals were given up")
    assert "penstock outbox retry" in found.advice


@pytest.mark.parametrize(("hours", "state"), [(0.5, State.OK), (1.5, State.WARNING)])
def test_finals_that_are_on_their_way_for_long_are_found(
    settings: Settings, data_dir: Path, hours: float, state: State
) -> None:
    """A short while is nothing; and a look changes nothing in the ledger."""
    outbox(data_dir, dead=False, at=NOW - hours * 3600)
    before = (data_dir / LEDGER_FILE).read_bytes()
    assert finding("outbox", settings).state is state
    assert (data_dir / LEDGER_FILE).read_bytes() == before


def test_an_outbox_on_postgresql_is_looked_into(settings: Settings, postgres_server: Any) -> None:
    """Nothing is said of a database without a ledger, and of one with it what there is."""
    with postgres_server.database() as name:
        url = postgres_server.url(name)
        on_server = changed(settings, database_url=SecretStr(url))
        assert not [found for found in look(on_server) if found.check == "outbox"]

        async def make() -> None:
            async with open_postgres_ledger(url):
                pass

        trio.run(make)
        assert finding("outbox", on_server).seen == "empty"
