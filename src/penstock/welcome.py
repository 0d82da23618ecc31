"""What `serve --dev` tells whoever started it: the address, and a first request to paste."""

import shlex
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from penstock.engine.wire import LANDMARK_VALUES, LANDMARKS, encode
from penstock.settings import Settings

EXAMPLE_FILE = "example-batch.bin.gz"

# Any UUIDs will do for a first session.
_SESSION = "550e8400-e29b-41d4-a716-446655440000"
_PRINCIPAL = "6f1d3a52-0c56-4f0e-9d0c-3a5a3c1a7e01"
_ORG = "b7c9f5de-8f1b-4c44-8f6e-2f1d9a8b0c02"

# A person who stands in front of the camera, in image coordinates (x over the image's width, y over
# its height): nose, shoulders, elbows, wrists, hips, knees, ankles, heels, toes. The left side
# has the odd numbers.
_STANDING = {
    0: (0.50, 0.12),
    11: (0.56, 0.27),
    13: (0.60, 0.41),
    15: (0.61, 0.54),
    23: (0.54, 0.55),
    25: (0.55, 0.74),
    27: (0.55, 0.92),
    29: (0.54, 0.94),
    31: (0.57, 0.95),
}
_SQUAT_DEPTH = 0.12


def example_batch() -> bytes:
    """Make one second of a squat at ten frames a second, as the Portal would send it."""
    frames = np.stack([_pose(np.sin(np.pi * at / 20)) for at in range(10)])
    return encode(frames, np.arange(10) * 100, fps_hint=10)


def _pose(bend: float) -> npt.NDArray[np.float32]:
    pose = np.zeros((LANDMARKS, LANDMARK_VALUES), np.float32)
    for landmark, (x, y) in _STANDING.items():
        sunk = y + _SQUAT_DEPTH * bend * (landmark < 25)
        pose[landmark] = (x, sunk, 0.0, 0.98)
        if landmark:
            pose[landmark + 1] = (1.0 - x, sunk, 0.0, 0.97)
    return pose


def print_welcome(settings: Settings, address: str) -> None:
    """Print where the service is and, where it takes sessions, how to send it an example batch."""
    folder = shlex.quote(str(settings.data_dir))
    first = _batch_example if "sessions" in settings.surfaces else _reading_example
    print(  # noqa: T201 - it is what the command is for
        f"""
Penstock listens on {address}
  Development mode: generated secrets in {folder}, everybody consents, this machine only.
{first(settings, address)}{_console(settings, address)}
  Stop with Ctrl-C.
""",
        flush=True,
    )


def _reading_example(settings: Settings, address: str) -> str:
    names = ", ".join(settings.surfaces)
    return f"""
  It serves {names}, and takes no sessions (setting surfaces).
  See it: {address}/metrics    Ready? {address}/readyz
"""


def _batch_example(settings: Settings, address: str) -> str:
    example = settings.data_dir / EXAMPLE_FILE
    example.write_bytes(example_batch())
    penstock = _command()
    folder = shlex.quote(str(settings.data_dir))
    token = (
        f"{penstock} token session --dev --data-dir {folder} --session-id {_SESSION} "
        f"--principal-id {_PRINCIPAL} --org-id {_ORG}"
    )
    return f"""
  Post a batch of ten frames (paste into another terminal):

curl -i {address}/v1/pose/frames \\
  -H "Authorization: Bearer $({token})" \\
  -H 'Content-Type: application/octet-stream' \\
  --data-binary @{shlex.quote(str(example))}

  See it: {address}/metrics    Ready? {address}/readyz    What it stored:
{penstock} replay {_SESSION} --data-dir {folder}
"""


def _console(settings: Settings, address: str) -> str:
    if "console" not in settings.surfaces:
        return ""
    penstock = _command()
    folder = shlex.quote(str(settings.data_dir))
    return f"""
  The console: {address}/console    Sign in there with the token that this prints:
{penstock} token user --dev --data-dir {folder} --role platform_admin \\
  --principal-id {_PRINCIPAL} --org-id {_ORG}
"""


def _command() -> str:
    """Give the words that this program was called by, as a shell takes them."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(_relative(Path(sys.executable)))} -m penstock"
    return shlex.quote(_relative(called))


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
