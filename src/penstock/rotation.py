"""The guard of session-secret rotation: a secret goes only when its tokens have.

Theory of operation
-------------------
Session tokens are signed with the current secret and accepted with the current or the previous
one. There are two places, so a second rotation drops the secret of the one before. Done too early,
that logs out every session whose token is still valid, and nothing in the settings shows it.

The data folder therefore remembers, by fingerprint, which secrets the last start had and when the
current one was first seen. A start is refused when a secret that can still have live tokens is in
neither place: the recorded current one always, the recorded previous one until the overlap since
the rotation is over. Going back to the previous secret drops neither and is allowed.

A fingerprint is 64 bits of a domain-separated SHA-256; secrets have at least 32 bytes, so it gives
nothing away that could be searched for.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from penstock.errors import StartupError
from penstock.private_files import replace_private

RECORD_FILE = "session-secrets.json"

_VERSION = 1
_FINGERPRINT_DOMAIN = b"penstock session secret fingerprint v1\x00"
_FINGERPRINT_HEX = 16


class RotationError(StartupError):
    """These secrets would cut off tokens that are still valid."""


@dataclass(slots=True, frozen=True)
class RotationRecord:
    """The secrets of the last start, by fingerprint, and when the current one was first seen."""

    current: str
    previous: str | None
    current_since_unix: float


def fingerprint(secret: bytes) -> str:
    """Give a short name for a secret that tells two apart and gives neither away."""
    return hashlib.sha256(_FINGERPRINT_DOMAIN + secret).hexdigest()[:_FINGERPRINT_HEX]


def check_rotation(
    data_dir: Path,
    *,
    current: bytes,
    previous: bytes | None,
    overlap_seconds: float,
    now_unix: float,
) -> None:
    """Accept the secrets of this start and record them, or raise RotationError.

    Call it while holding the data folder's lock: the record belongs to the service that runs.
    """
    path = data_dir / RECORD_FILE
    recorded = read_record(data_dir)
    following = next_record(
        recorded,
        current=current,
        previous=previous,
        overlap_seconds=overlap_seconds,
        now_unix=now_unix,
        path=path,
    )
    if following == recorded:
        return
    content = json.dumps({"v": _VERSION, **asdict(following)}, indent=2).encode() + b"\n"
    try:
        replace_private(path, content)
    except OSError as error:
        raise RotationError(
            f"cannot record the session secrets in {path}: {error.strerror}"
        ) from None


def read_record(data_dir: Path) -> RotationRecord | None:
    """Read what the last start recorded; None before the first."""
    path = data_dir / RECORD_FILE
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RotationError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, OverflowError):
        raise RotationError(
            f"{path} is damaged, so it cannot be told whether this start drops a session "
            "secret that is still in use; remove the file to go on with the secrets as set"
        ) from None


def next_record(
    recorded: RotationRecord | None,
    *,
    current: bytes,
    previous: bytes | None,
    overlap_seconds: float,
    now_unix: float,
    path: Path,
) -> RotationRecord:
    """Decide: the record that follows, or RotationError. Writes nothing."""
    now_current = fingerprint(current)
    now_previous = None if previous is None else fingerprint(previous)
    if recorded is None:
        return RotationRecord(now_current, now_previous, now_unix)
    accepted = {now_current, now_previous}
    force = f"in an emergency remove {path}: all tokens by the dropped secret stop working at once"
    if recorded.current not in accepted:
        raise RotationError(
            "session_secret has changed, but session_secret_previous is not the secret "
            f"{recorded.current} that was current until now, so its tokens would stop "
            f"working at once; set session_secret_previous to it ({force})"
        )
    over_at = recorded.current_since_unix + overlap_seconds
    if recorded.previous is not None and recorded.previous not in accepted and now_unix < over_at:
        raise RotationError(
            f"the session secret {recorded.previous} would be dropped within the overlap of "
            f"{overlap_seconds:g} seconds (session_secret_overlap_seconds) after its "
            f"rotation; keep session_secret and session_secret_previous as they were until "
            f"{_instant(over_at)} ({force})"
        )
    since = recorded.current_since_unix if now_current == recorded.current else now_unix
    return RotationRecord(now_current, now_previous, since)


def _parse(content: bytes) -> RotationRecord:
    plain = json.loads(content)
    if plain["v"] != _VERSION:
        raise ValueError(f"version {plain['v']}, not {_VERSION}")
    previous, since = plain["previous"], float(plain["current_since_unix"])
    datetime.fromtimestamp(since, UTC)
    return RotationRecord(str(plain["current"]), None if previous is None else str(previous), since)


def _instant(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
