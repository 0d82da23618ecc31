"""The batches of a run: enough for every session to go on to its end, and small enough to send."""

from functools import lru_cache
from math import ceil

from penstock.bench.errors import BenchError
from penstock.bench.library import Library, make_library
from penstock.bench.report.models import LoadPlan
from penstock.engine.wire import MAX_MEMBER_BYTES

# Some 40 MB, encoded within seconds. A session that goes on for longer begins its track again, and
# the service then counts its frames as repeated.
_FRAMES = 80_000
_LEAST_TRACKS, _MOST_TRACKS = 4, 32
# Powers of two, so that runs of about the same length have the same batches.
_LEAST_BATCHES = 64
# A camera's, as trackers in browsers give them on.
_FRAME_MS = 100.0
# As fast as a patient can be recorded.
_MOST_FPS = 240.0


def batches_for(plan: LoadPlan, first_batch: int = 0) -> Library:
    """Encode what the sessions send, or give it again; BenchError when no body can hold it.

    Call it before the workers are forked: they share it then. The frames are a camera's at the
    usual rate, however often batches are sent: times go forward from run to run of one session. Of
    a plan in real time, they are as far apart as it takes to fill the interval.
    """
    frames = plan.frames_a_batch
    needed = first_batch + ceil((plan.ramp_seconds + plan.seconds) / plan.interval_seconds) + 1
    most = max(1, _FRAMES // (_LEAST_TRACKS * frames))
    batches = min(max(_LEAST_BATCHES, 1 << (needed - 1).bit_length()), most)
    tracks = min(max(_FRAMES // (batches * frames), _LEAST_TRACKS), _MOST_TRACKS)
    library = _make(batches, frames, plan.seed, tracks, 1000 / frame_ms(plan))
    largest = max(len(member) for track in library.tracks for member in track)
    if largest > MAX_MEMBER_BYTES:
        raise BenchError(
            f"a batch of {frames} frames has up to {largest:,} bytes, and a body may have "
            f"{MAX_MEMBER_BYTES:,}; take {frames * MAX_MEMBER_BYTES // largest} frames at most"
        )
    return library


def frame_ms(plan: LoadPlan) -> float:
    """Give the session time from one frame to the next."""
    if not plan.real_time:
        return _FRAME_MS
    return max(1000 * plan.interval_seconds / plan.frames_a_batch, 1000 / _MOST_FPS)


@lru_cache(maxsize=2)
def _make(batches: int, frames: int, seed: int, tracks: int, fps: float) -> Library:
    return make_library(batches=batches, frames_a_batch=frames, seed=seed, tracks=tracks, fps=fps)
