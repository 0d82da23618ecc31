"""A peer of the surface of runs: FastAPI on uvicorn, and SQLite as such services use it.

One model, one connection, one insert and one synced commit a request, in SQLite's own journal mode
(`delete`): what the service does that Penstock's surface of runs takes the place of. Nothing else
of it is here, neither its queries nor its other indexes.
"""

import argparse
import json
import socket
import sqlite3
import threading
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field

from penstock.bench.peers.options import say_started

_SCHEMA = """
PRAGMA journal_mode = DELETE;
PRAGMA synchronous = FULL;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, agent_name TEXT NOT NULL,
    job_type TEXT NOT NULL, status TEXT NOT NULL, start_time TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX runs_by_agent ON runs (agent_name);
CREATE INDEX runs_by_job ON runs (job_type);
CREATE INDEX runs_by_status ON runs (status);
CREATE INDEX runs_by_start ON runs (start_time);
"""


class Run(BaseModel):
    """As much of a run as the load sends."""

    event_id: str = Field(min_length=1)
    run_id: str
    agent_name: str
    job_type: str
    start_time: str
    status: str = "running"
    items_discovered: int = Field(default=0, ge=0)
    items_succeeded: int = Field(default=0, ge=0)
    duration_ms: int = Field(default=0, ge=0)
    git_repo: str | None = None
    git_branch: str | None = None
    git_commit_hash: str | None = None
    host: str | None = None
    environment: str | None = None
    output_summary: str | None = None
    metrics_json: Any = None


def create_app(database: Path) -> FastAPI:
    """Make the application over a new database."""
    db = sqlite3.connect(database, check_same_thread=False)
    db.executescript(_SCHEMA)
    turn = threading.Lock()
    app = FastAPI(openapi_url=None)

    @app.post("/api/v1/runs", status_code=201)
    def create(run: Run) -> dict[str, str]:
        row = (run.event_id, run.agent_name, run.job_type, run.status, run.start_time)
        body = json.dumps(run.model_dump())
        with turn, db:
            db.execute(
                "INSERT INTO runs (event_id, agent_name, job_type, status, start_time, body)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (*row, body),
            )
        return {"status": "created", "event_id": run.event_id, "run_id": run.run_id}

    return app


class _Server(uvicorn.Server):
    """Says when it has started."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for own in sockets or ():
            host, port = own.getsockname()
            say_started(f"http://{host}:{port}")


def main() -> None:
    """Serve on any free port of this machine until SIGTERM; say where on standard error."""
    parser = argparse.ArgumentParser(prog="python -m penstock.bench.peers.runs_peer")
    parser.add_argument("database", type=Path)
    app = create_app(parser.parse_args().database)
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", ws="none", access_log=False, log_level="warning"
    )
    with socket.create_server(("127.0.0.1", 0), backlog=config.backlog) as listener:
        _Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
