import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from structlog.testing import capture_logs

from penstock.engine.ports import Purpose, Quota
from penstock.storage import grants
from penstock.storage.grants import FileGrants, GrantsFileError

PERSON, ORG, OTHER = (str(UUID(int=n)) for n in (0xA, 0xB, 0xC))
CONSENT = {"principal_id": PERSON, "org_id": ORG, "purposes": ["biometric"]}


class HandClock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "grants.json"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


_versions: Iterator[int] = iter(range(10**6))


def _write(path: Path, content: object) -> None:
    path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    # Versions differ in time however fast a test writes them.
    at = 1_700_000_000_000_000_000 + next(_versions) * 1_000_000_000
    os.utime(path, ns=(at, at))


async def test_only_what_is_written_is_granted(path: Path, clock: HandClock) -> None:
    """A consent holds for its principal, organisation and purposes; no record is no consent."""
    _write(
        path,
        {
            "consents": [CONSENT | {"principal_id": PERSON.upper()}],
            "quotas": [
                {"org_id": ORG, "batches_per_second": 500},
                {"org_id": PERSON, "batches_per_second": None},
            ],
        },
    )
    found = FileGrants(path, clock)
    assert await found.granted(PERSON, ORG, Purpose.BIOMETRIC)
    assert not await found.granted(PERSON, ORG, Purpose.ANALYTICS)
    assert not await found.granted(PERSON, OTHER, Purpose.BIOMETRIC)
    assert not await found.granted(OTHER, ORG, Purpose.BIOMETRIC)
    assert await found.of_org(ORG) == Quota(500.0)
    assert await found.of_org(PERSON) == Quota(None)
    assert await found.of_org(OTHER) == Quota(None)
    assert found.problem is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "must be an object"),
        ({"consent": []}, "unknown key 'consent'"),
        ({"consents": {}}, "consents: must be an array"),
        ({"consents": [5]}, "consents[0]: must be an object"),
        ({"consents": [CONSENT, CONSENT]}, "consents[1]: a second record"),
        ({"consents": [CONSENT | {"org_id": "acme"}]}, "consents[0].org_id: must be a UUID"),
        ({"consents": [CONSENT | {"org_id": 5}]}, "consents[0].org_id: must be a UUID"),
        ({"consents": [{"org_id": ORG}]}, "consents[0].principal_id: must be a UUID"),
        (
            {"consents": [CONSENT | {"purposes": "biometric"}]},
            "consents[0].purposes: must be an array",
        ),
        (
            {"consents": [CONSENT | {"purposes": ["analytics", "biometrics"]}]},
            "consents[0].purposes[1]: must be one of biometric, analytics",
        ),
        ({"consents": [CONSENT | {"purposes": [[]]}]}, "consents[0].purposes[0]: must be one of"),
        ({"quotas": [{"org_id": ORG}]}, "quotas[0].batches_per_second: is missing"),
        (
            {"quotas": [{"org_id": ORG, "batches_per_second": True}]},
            "quotas[0].batches_per_second: must be a number",
        ),
        (
            {"quotas": [{"org_id": ORG, "batches_per_second": 0}]},
            "quotas[0].batches_per_second: must be more than 0",
        ),
        (
            {"quotas": [{"org_id": ORG, "batches_per_second": 1}] * 2},
            "quotas[1]: a second record",
        ),
    ],
)
def test_a_broken_file_stops_the_start(
    path: Path, clock: HandClock, content: object, message: str
) -> None:
    """The error is one line that names the file and the place in the document."""
    _write(path, content)
    with pytest.raises(GrantsFileError) as caught:
        FileGrants(path, clock)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_oversized_file_stops_the_start(
    path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is not there, or too large to be read in passing, is refused in words."""
    with pytest.raises(GrantsFileError, match="No such file"):
        FileGrants(path, clock)
    _write(path, {"quotas": []})
    monkeypatch.setattr(grants, "MAX_FILE_BYTES", 5)
    with pytest.raises(GrantsFileError, match="more than 5 bytes"):
        FileGrants(path, clock)


async def test_a_changed_file_is_in_force_at_the_next_look(path: Path, clock: HandClock) -> None:
    """A withdrawal takes effect within the time between two looks, and not before one."""
    _write(path, {"consents": [CONSENT]})
    found = FileGrants(path, clock)
    _write(path, {"consents": []})
    clock.now += 4.9
    assert await found.granted(PERSON, ORG, Purpose.BIOMETRIC)
    clock.now += 0.2
    assert not await found.granted(PERSON, ORG, Purpose.BIOMETRIC)


async def test_a_broken_change_keeps_the_old_in_force(path: Path, clock: HandClock) -> None:
    """A broken version changes nothing, is told once in the log, and stays told in `problem`."""
    _write(path, {"consents": [CONSENT]})
    found = FileGrants(path, clock)
    _write(path, b'{"consents": [')
    with capture_logs() as logs:
        for _ in range(3):
            clock.now += 6
            assert await found.granted(PERSON, ORG, Purpose.BIOMETRIC)
    assert [entry["event"] for entry in logs] == ["grants_file_not_in_force"]
    assert found.problem is not None
    assert "not JSON" in found.problem
    _write(path, {"consents": []})
    clock.now += 6
    assert not await found.granted(PERSON, ORG, Purpose.BIOMETRIC)
    assert found.problem is None


async def test_a_file_that_goes_away_and_comes_back(
    path: Path, clock: HandClock, tmp_path: Path
) -> None:
    """A missing file is a problem that passes with its return, even unchanged."""
    _write(path, {"consents": [CONSENT]})
    found = FileGrants(path, clock)
    os.rename(path, tmp_path / "away")  # noqa: PTH104
    clock.now += 6
    assert await found.granted(PERSON, ORG, Purpose.BIOMETRIC)
    assert found.problem is not None
    clock.now += 6
    assert await found.of_org(ORG) == Quota(None)
    os.rename(tmp_path / "away", path)  # noqa: PTH104
    clock.now += 6
    assert await found.granted(PERSON, ORG, Purpose.BIOMETRIC)
    assert found.problem is None


async def test_a_read_that_fails_is_tried_again(
    path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A passing read error does not leave a sound new version out of force."""
    _write(path, {"consents": [CONSENT]})
    found = FileGrants(path, clock)
    _write(path, {"consents": []})

    def no_descriptors(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", no_descriptors)
        clock.now += 6
        assert await found.granted(PERSON, ORG, Purpose.BIOMETRIC)
        assert found.problem == f"{path}: Too many open files"
    clock.now += 6
    assert not await found.granted(PERSON, ORG, Purpose.BIOMETRIC)
    assert found.problem is None


async def test_the_file_is_not_looked_at_more_often_than_said(
    path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking often costs one look at the disk for each interval of the clock."""
    _write(path, {})
    found = FileGrants(path, clock)
    looks: list[Path] = []
    stat = Path.stat

    def counted(self: Path) -> os.stat_result:
        looks.append(self)
        return stat(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", counted)
        for _ in range(44):
            clock.now += 0.25
            await found.of_org(ORG)
    assert len(looks) == 2
