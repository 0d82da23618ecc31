import hmac
import json
import shutil
import socket
import struct
import time
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pytest

from penstock.bench.errors import BenchError
from penstock.bench.peers import catalogue
from penstock.bench.peers.catalogue import KINDS, Form, entries
from penstock.bench.servers import SECRET, RunningServer, run_server
from penstock.bench.side_by_side import ask_to_settle
from penstock.bench.traffic import PATH, mint_token
from penstock.engine.motion.joints import joint_angles
from penstock.engine.wire import (
    BYTES_PER_FRAME,
    HEADER,
    MAX_INFLATED_BYTES,
    MAX_MEMBER_BYTES,
    compress,
    encode,
)
from penstock.http.session_tokens import mint_session_token

_NOW = 2_000_000_000
_FAR = 4_000_000_000
_OCTETS = "application/octet-stream"
_PEERS = [
    (name, form)
    for name, kind in KINDS.items()
    if name != catalogue.PENSTOCK
    for form in kind.forms
]


@contextmanager
def _running(name: str, form: Form, scratch: Path) -> Iterator[tuple[RunningServer, Path | None]]:
    found, left_out = entries([name], [form], scratch, 10, {})
    if left_out:
        pytest.skip(left_out[name])
    with run_server(found[0].spec, None) as server:
        yield server, found[0].folder


@pytest.fixture(scope="module", params=_PEERS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """Run each peer in each form, once for all requests."""
    name, form = request.param
    with _running(name, form, tmp_path_factory.mktemp("peer")) as (server, _):
        yield server


def _claims(**changed: object) -> str:
    plain: dict[str, object] = {
        "principal_id": str(UUID(int=1)),
        "org_id": str(UUID(int=2)),
        "exercise_session_id": str(UUID(int=3)),
        "iat": 0,
        "exp": _FAR,
    }
    return _signed(json.dumps(plain | changed).encode())


def _signed(claims: bytes, secret: bytes = SECRET) -> str:
    text = b"v1." + urlsafe_b64encode(claims).rstrip(b"=")
    signature = urlsafe_b64encode(hmac.digest(secret, text, "sha256")).rstrip(b"=")
    return f"Bearer {(text + b'.' + signature).decode()}"


def _points(frames: int, seed: int = 0) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    points = random.uniform(0.1, 0.9, (frames, 33, 4)).astype(np.float32)
    points[0, 25] = np.nan  # one landmark that is not there
    points[..., 27, 3] *= 0.5  # and two that are often not sure
    return points


def _member(frames: int = 3, seed: int = 0, start_ms: int = 0) -> bytes:
    return encode(_points(frames, seed), np.arange(frames) * 100 + start_ms)


def _block(
    frames: int = 2, *, version: int = 1, times: tuple[int, ...] = (0, 100), more: bytes = b""
) -> bytes:
    head = struct.pack("<BII", version, frames, 10)
    return compress(head + bytes(528 * len(times)) + struct.pack(f"<{len(times)}I", *times) + more)


_GOOD = _member()
_TOKEN = _claims()
_FLAGGED = _GOOD[:3] + b"\xe0" + _GOOD[4:]
_MOST_FRAMES = (MAX_INFLATED_BYTES - HEADER.size) // BYTES_PER_FRAME
_INFLATED = zlib.decompress(_GOOD, 31)
_HALVES = compress(_INFLATED[:700]) + compress(_INFLATED[700:])
_STORED = zlib.compressobj(0, zlib.DEFLATED, 31)
_LONG = _STORED.compress(bytes(MAX_MEMBER_BYTES)) + _STORED.flush()

# What comes, and the status of the contract's answer.
CASES: dict[str, tuple[str, str, bytes, int]] = {
    "good": (_TOKEN, _OCTETS, _GOOD, 202),
    "one frame": (_TOKEN, _OCTETS, _member(1), 202),
    "equal times": (_TOKEN, _OCTETS, _block(times=(7, 7)), 202),
    "most frames": (
        _TOKEN,
        _OCTETS,
        _block(_MOST_FRAMES, times=(0,) * _MOST_FRAMES),
        202,
    ),
    "type with a parameter": (_TOKEN, f"{_OCTETS}; a=b", _GOOD, 202),
    "type in capitals": (_TOKEN, _OCTETS.upper(), _GOOD, 202),
    "scheme in small letters": (_TOKEN.replace("Bearer", "bearer"), _OCTETS, _GOOD, 202),
    "session in capitals": (
        _claims(exercise_session_id="AB" * 4 + "-AAAA" * 3 + "-" + "AB" * 6),
        _OCTETS,
        _GOOD,
        202,
    ),
    "no token": ("", _OCTETS, _GOOD, 401),
    "another scheme": ("Basic abc", _OCTETS, _GOOD, 401),
    "no token behind the scheme": ("Bearer ", _OCTETS, _GOOD, 401),
    "another version": (_TOKEN.replace("v1.", "v2."), _OCTETS, _GOOD, 401),
    "a cut token": (_TOKEN[:-2], _OCTETS, _GOOD, 401),
    "a padded token": (f"{_TOKEN}=", _OCTETS, _GOOD, 401),
    "another secret": (_signed(b"{}", b"another"), _OCTETS, _GOOD, 401),
    "claims that are no JSON": (_signed(b"nothing"), _OCTETS, _GOOD, 401),
    "claims that are a list": (_signed(b"[]"), _OCTETS, _GOOD, 401),
    "no claims": (_signed(b"{}"), _OCTETS, _GOOD, 401),
    "a session that is no UUID": (_claims(exercise_session_id="../../x"), _OCTETS, _GOOD, 401),
    "a session that is a number": (_claims(exercise_session_id=3), _OCTETS, _GOOD, 401),
    "an org that is missing": (_claims(org_id=None), _OCTETS, _GOOD, 401),
    "a time that is a float": (_claims(iat=1.0), _OCTETS, _GOOD, 401),
    "a time that is a truth": (_claims(iat=True), _OCTETS, _GOOD, 401),
    "a time that is null": (_claims(exp=None), _OCTETS, _GOOD, 401),
    "expired": (_claims(exp=1), _OCTETS, _GOOD, 401),
    "from the future": (_claims(iat=_FAR - 1), _OCTETS, _GOOD, 401),
    "no type": (_TOKEN, "", _GOOD, 415),
    "another type": (_TOKEN, "text/html", _GOOD, 415),
    "no token and another type": ("", "text/plain", _GOOD, 401),
    "empty": (_TOKEN, _OCTETS, b"", 400),
    "no gzip": (_TOKEN, _OCTETS, b"\x00" * 100, 400),
    "a reserved flag": (_TOKEN, _OCTETS, _FLAGGED, 400),
    "truncated": (_TOKEN, _OCTETS, _GOOD[:-9], 400),
    "a trailer cut off": (_TOKEN, _OCTETS, _GOOD[:-1], 400),
    "a wrong checksum": (_TOKEN, _OCTETS, _GOOD[:-8] + b"\x00" * 4 + _GOOD[-4:], 400),
    "a wrong size": (_TOKEN, _OCTETS, _GOOD[:-4] + b"\x00" * 4, 400),
    "two members": (_TOKEN, _OCTETS, _GOOD + _GOOD, 400),
    "a block over two members": (_TOKEN, _OCTETS, _HALVES, 400),
    "bytes behind": (_TOKEN, _OCTETS, _GOOD + b"x", 400),
    "no header": (_TOKEN, _OCTETS, compress(b"\x01"), 400),
    "version two": (_TOKEN, _OCTETS, _block(version=2), 400),
    "no frames": (_TOKEN, _OCTETS, _block(0, times=()), 400),
    "a frame too few": (_TOKEN, _OCTETS, _block(3), 400),
    "a byte too many": (_TOKEN, _OCTETS, _block(more=b"x"), 400),
    "more frames than can be": (_TOKEN, _OCTETS, _block(0xFFFF_FFFF), 400),
    "times that run backwards": (_TOKEN, _OCTETS, _block(times=(100, 99)), 400),
    "too large": (_TOKEN, _OCTETS, _LONG, 413),
    "too large, without a token": ("", _OCTETS, _LONG, 401),
    "inflates to too much": (_TOKEN, _OCTETS, compress(bytes(MAX_INFLATED_BYTES + 1)), 413),
    "inflates to the most, of nothing": (_TOKEN, _OCTETS, compress(bytes(1 << 20)), 400),
}


@pytest.mark.parametrize("case", CASES)
def test_every_peer_answers_alike(peer: RunningServer, case: str) -> None:
    """A request gets the contract's status from every peer, in every form."""
    token, content_type, body, status = CASES[case]
    assert _post(peer, token, body, content_type)[0] == status


def test_a_body_in_chunks_is_taken(peer: RunningServer) -> None:
    """A body without an announced length is read within the same bound."""
    chunks = [_GOOD[:100], _GOOD[100:]]
    assert _post_chunks(peer, chunks) == 202
    assert _post_chunks(peer, [_LONG[:40_000], _LONG[40_000:]]) == 413


def test_another_way_is_no_way(peer: RunningServer) -> None:
    """Other paths and methods are refused, so a benchmark cannot measure the wrong route."""
    connection = HTTPConnection(*peer.address, timeout=10)
    for method, path, status in (("GET", PATH, 405), ("POST", "/v1/pose", 404)):
        connection.request(method, path)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()


def test_the_position_counts_up(peer: RunningServer) -> None:
    """The answer counts a session's landmark bytes, whichever token names the session."""
    session = str(UUID(int=99))
    for frames, position in ((3, 3), (2, 5), (4, 9)):
        token = _claims(exercise_session_id=session, jti=frames % 2)
        status, answer = _post(peer, token, _member(frames))
        assert status == 202
        assert json.loads(answer) == {
            "frames_accepted": frames,
            "session_id": session,
            "buffer_position_bytes": 528 * position,
        }


def test_the_harness_own_token_holds(peer: RunningServer) -> None:
    """The generator's tokens and Penstock's own are both of the contract."""
    assert _post(peer, f"Bearer {mint_token(SECRET, 1, _NOW)}", _GOOD)[0] == 401
    token = mint_session_token(
        SECRET,
        session_id=str(UUID(int=5)),
        principal_id=str(UUID(int=6)),
        org_id=str(UUID(int=7)),
        issued_unix=0,
        expires_unix=_FAR,
    )
    assert _post(peer, f"Bearer {token}", _GOOD)[0] == 202


@pytest.fixture(params=[name for name, form in _PEERS if form == "full"])
def full(request: pytest.FixtureRequest) -> str:
    """Name each peer that has the form full."""
    name: str = request.param
    return name


def test_every_member_is_in_its_sessions_file(full: str, tmp_path: Path) -> None:
    """After the peer has stopped, a session's file is its accepted members, in their order."""
    sessions = [str(UUID(int=number)) for number in (1, 2, 3)]
    sent: dict[str, list[bytes]] = {session: [] for session in sessions}
    with _running(full, "full", tmp_path) as (server, folder):
        for number in range(9):
            session = sessions[number % 3]
            member = _member(2, seed=number, start_ms=1000 * number)
            assert _post(server, _claims(exercise_session_id=session), member)[0] == 202
            sent[session].append(member)
            if number == 5:  # what was written once must not be written again
                ask_to_settle(server)
        assert _post(server, _claims(exercise_session_id=sessions[0]), b"no batch")[0] == 400
    assert folder is not None
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert kept == {f"{session}.bin.gz": b"".join(members) for session, members in sent.items()}


def test_every_frame_has_its_angles(full: str, tmp_path: Path) -> None:
    """A peer's least and greatest angles are those of Penstock's own function over all frames."""
    session = str(UUID(int=1))
    with _running(full, "full", tmp_path) as (server, folder):
        for seed in range(3):
            member = _member(20, seed)
            assert _post(server, _claims(exercise_session_id=session), member)[0] == 202
        told = json.loads(ask_to_settle(server, session))
        assert folder is not None
        size = (folder / f"{session}.bin.gz").stat().st_size
    angles = joint_angles(np.concatenate([_points(20, seed) for seed in range(3)]))
    assert np.allclose(told["least"], np.nanmin(angles, axis=0), atol=1e-3)
    assert np.allclose(told["greatest"], np.nanmax(angles, axis=0), atol=1e-3)
    assert size == sum(len(_member(20, seed)) for seed in range(3))


def test_what_waits_is_written_by_itself(full: str, tmp_path: Path) -> None:
    """Members are in the file soon after they came, though no further batch comes."""
    session = str(UUID(int=1))
    with _running(full, "full", tmp_path) as (server, folder):
        for _ in range(2):
            assert _post(server, _claims(exercise_session_id=session), _GOOD)[0] == 202
        assert folder is not None
        path = folder / f"{session}.bin.gz"
        _wait_for(path, 2 * len(_GOOD))
        assert path.read_bytes() == _GOOD + _GOOD


def test_a_joint_that_was_never_seen_is_null(full: str, tmp_path: Path) -> None:
    """No angle is told where no frame had one."""
    session = str(UUID(int=1))
    points = _points(2)
    points[:, 11:, 3] = 0
    with _running(full, "full", tmp_path) as (server, _):
        member = encode(points, [0, 100])
        assert _post(server, _claims(exercise_session_id=session), member)[0] == 202
        told = json.loads(ask_to_settle(server, session))
    assert told == {"least": [None] * 10, "greatest": [None] * 10}


def test_files_are_kept_within_a_bound(full: str, tmp_path: Path) -> None:
    """With fewer descriptors than sessions, every session's file is whole all the same."""
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("prlimit is not on the path")
    sessions = [str(UUID(int=number)) for number in range(1, 40)]
    found, left_out = entries([full], ["full"], tmp_path, 10, {})
    if left_out:
        pytest.skip(left_out[full])
    spec = found[0].spec
    # 1,024 are put aside for connections, so 16 are left for files.
    command = [prlimit, "--nofile=1040:1040", *spec.command]
    with run_server(type(spec)(spec.name, command, spec.environ), None) as server:
        for _ in range(2):
            for session in sessions:
                assert _post(server, _claims(exercise_session_id=session), _GOOD)[0] == 202
        ask_to_settle(server)
        open_files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    assert open_files < len(sessions)
    assert found[0].folder is not None
    assert {path.stat().st_size for path in found[0].folder.iterdir()} == {2 * len(_GOOD)}
    assert len(list(found[0].folder.iterdir())) == len(sessions)


def test_what_cannot_run_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing compiler or package is a reason, and the others are still compared."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None if name == "uvloop" else name)
    found, left_out = entries(list(KINDS), ["accept"], tmp_path, 10, {})
    assert [one.name for one in found] == ["express", "plain"]
    assert left_out == {
        "fastapi": "uvloop not installed: pip install 'penstock[bench]'",
        "go": "go is not on the path",
    }


def test_a_peer_that_does_not_build_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the compiler says is in the error."""
    if shutil.which("go") is None:
        pytest.skip("go is not on the path")
    source = tmp_path / "source"
    source.mkdir()
    (source / "go.mod").write_text("module broken\n\ngo 1.19\n")
    (source / "main.go").write_text("package main\n\nfunc main() { nothing() }\n")
    monkeypatch.setattr(catalogue, "_GO_SOURCE", source)
    with pytest.raises(BenchError, match="undefined: nothing"):
        entries(["go"], ["accept"], tmp_path, 10, {})


def _wait_for(path: Path, size: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (not path.exists() or path.stat().st_size < size):
        time.sleep(0.01)


def _post(
    server: RunningServer, token: str, body: bytes, content_type: str = _OCTETS
) -> tuple[int, bytes]:
    headers = {"Content-Length": str(len(body))}
    if token:
        headers["Authorization"] = token
    if content_type:
        headers["Content-Type"] = content_type
    connection = HTTPConnection(*server.address, timeout=10)
    try:
        connection.request("POST", PATH, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _post_chunks(server: RunningServer, chunks: list[bytes]) -> int:
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: {_OCTETS}\r\n"
        f"Authorization: {_TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    with socket.create_connection(server.address, 10) as link:
        link.sendall(head.encode() + body + b"0\r\n\r\n")
        return int(link.recv(65_536).split()[1])
