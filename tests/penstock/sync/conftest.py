"""A real service on a thread, shared by the tests; each has a user of its own."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import orjson
import pytest
import trio

from penstock.service import open_service
from penstock.settings import load_settings

DEVICE = "dev_1"
_PATIENCE_SECONDS = 30.0


@dataclass
class Shared:
    """The service: its folder, its address, and users for the tests."""

    data_dir: Path
    url: str
    users: Iterator[str] = field(default_factory=lambda: (f"ada-{n}" for n in itertools.count()))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Run the service in a data folder, with its generated secrets."""
    data_dir = tmp_path_factory.mktemp("service")
    flags = {"data_dir": str(data_dir), "port": "0"}
    settings, _ = load_settings(flags, environ={}, cwd=data_dir, dev=True)
    started: SimpleQueue[tuple[str, trio.lowlevel.TrioToken, trio.Event]] = SimpleQueue()

    async def run() -> None:
        async with open_service(settings, dev=True) as running:
            stop = trio.Event()
            started.put((running.address, trio.lowlevel.current_trio_token(), stop))
            await stop.wait()

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    url, token, stop = started.get(timeout=_PATIENCE_SECONDS)
    yield Shared(data_dir, url)
    trio.from_thread.run_sync(stop.set, trio_token=token)
    thread.join(_PATIENCE_SECONDS)
    assert not thread.is_alive()


class Site:
    """A folder of records, a service, and the command between them."""

    def __init__(self, folder: Path, run: Any, service: Shared) -> None:
        self.folder, self.run, self.url, self.user = folder, run, service.url, next(service.users)
        self.dev = ("--dev", "--data-dir", str(service.data_dir))
        ids = ("--user-id", self.user, "--device-id", DEVICE)
        self.token = run("token", "device", *ids, *self.dev).out.split()[-1]
        folder.mkdir()
        self.sync("--dry-run", "--device-id", DEVICE)

    def write(self, name: str, *records: Any) -> None:
        """Put records into a file of the folder."""
        lines = b"\n".join(orjson.dumps(record) for record in records)
        (self.folder / name).write_bytes(lines)

    def sync(self, *options: str, code: int = 0, **environ: str) -> Any:
        """Run the command, which must end with this code."""
        ran = self.run("sync", str(self.folder), "--url", self.url, *options, **environ)
        assert ran.code == code, ran
        return ran

    def report(self, *options: str, code: int = 0) -> Any:
        """Run the command with the token and read its report."""
        ran = self.sync("--json", "--auth-token", self.token, *options, code=code)
        return orjson.loads(ran.out)


@pytest.fixture
def site(tmp_path: Path, run: Any, service: Shared) -> Site:
    """Give a folder of records beside the service."""
    return Site(tmp_path / "records", run, service)
