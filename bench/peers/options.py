"""How a Python peer is started: its form, its folder, and the secret by environment."""

import argparse
import gc
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from penstock.bench.peers.recorder import Recorder
from penstock.bench.peers.work import Work

# Of Penstock's own start (see `penstock.process`): what was imported is never walked again, and
# thousands of sessions that live on are walked seldom.
_YOUNG_OBJECTS, _YOUNG_PER_MIDDLE, _MIDDLE_PER_OLD = 50_000, 20, 50


@dataclass(slots=True, frozen=True)
class PeerOptions:
    """What the harness said. `folder` is None in the form that keeps nothing."""

    secret: bytes
    folder: Path | None


def read_options(program: str) -> PeerOptions:
    """Read this process's command line and environment."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", allow_abbrev=False)
    parser.add_argument("--form", choices=("accept", "full"), default="accept")
    parser.add_argument("--folder", type=Path, help="where the form full keeps its files")
    given = parser.parse_args()
    if (given.form == "full") != (given.folder is not None):
        parser.error("the form full needs --folder, and the form accept takes none")
    return PeerOptions(os.environ["PENSTOCK_SESSION_SECRET"].encode(), given.folder)


def make_work(options: PeerOptions) -> Work:
    """Make the peer's work, and tune the process for it."""
    tune_collector()
    return Work(options.secret, None if options.folder is None else Recorder(options.folder))


def tune_collector() -> None:
    """Set the garbage collector for a process of many long-lived sessions."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _YOUNG_PER_MIDDLE, _MIDDLE_PER_OLD)


def say_started(address: str) -> None:
    """Tell the harness that connections are accepted, and where."""
    line = json.dumps({"event": "service.started", "address": address})
    print(line, file=sys.stderr, flush=True)  # noqa: T201  it is the protocol
