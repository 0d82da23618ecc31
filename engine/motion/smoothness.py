"""How smooth a movement is: SPARC and the log dimensionless jerk of its speed.

Balasubramanian et al., J NeuroEng Rehabil 2015, 12:112. Nearer 0 is smoother. SPARC is the length
of the speed spectrum's curve; LDLJ sums the jerk. A camera at 10 frames a second sees no more than
half of that in hertz, so the spectrum ends there.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.exercises import WEIGHTS
from penstock.engine.motion.line import Swings
from penstock.engine.motion.signals import SIDED, SIGNALS, Floats
from penstock.engine.motion.turns import Records, Times

Doubles = npt.NDArray[np.float64]

_CUT_HERTZ: Final = 10.0
_LEAST_AMPLITUDE: Final = 0.05
_PADDED: Final = 4
_THOUSANDTHS = 1000
# Of fewer samples neither figure means anything.
_LEAST_SAMPLES: Final = 6
_MOST_SAMPLES: Final = 64
_FFT_SAMPLES: Final = 256
_WEIGHTS = np.array(
    [WEIGHTS.get(name, 0.0) for name in SIDED for _ in range(2)] + [0.0], np.float32
)


def sparc(speed: npt.ArrayLike, hertz: float) -> float:
    """Give the spectral arc length of one speed profile, sampled at that many hertz."""
    profile = np.asarray(speed, np.float64)[None]
    samples = profile.shape[1]
    padded = 1 << (int(np.ceil(np.log2(samples))) + _PADDED)
    return float(_arcs(profile, np.array([hertz]), padded)[0])


def dimensionless_jerk(speed: npt.ArrayLike, hertz: float) -> float:
    """Give the dimensionless jerk of one speed profile; its logarithm is `ldlj`."""
    profile = np.asarray(speed, np.float64)[None]
    return float(_jerks(profile, np.array([profile.shape[1]]), np.array([hertz]))[0])


def ldlj(speed: npt.ArrayLike, hertz: float) -> float:
    """Give the log dimensionless jerk of one speed profile."""
    return float(-np.log(abs(dimensionless_jerk(speed, hertz))))


def _arcs(profiles: Doubles, hertz: Doubles, padded: int) -> Doubles:
    spectra = np.abs(np.fft.rfft(profiles, padded, axis=1))
    spectra /= np.maximum(spectra.max(axis=1, keepdims=True), 1e-12)
    steps = hertz / padded
    cut = np.floor(np.minimum(_CUT_HERTZ, hertz / 2) / steps + 1e-9).astype(np.intp)
    places = np.arange(spectra.shape[1])
    loud = (spectra >= _LEAST_AMPLITUDE) & (places <= cut[:, None])
    first = loud.argmax(axis=1)
    last = loud.shape[1] - 1 - loud[:, ::-1].argmax(axis=1)
    width = np.maximum(last - first, 1)
    inside = (places[1:] > first[:, None]) & (places[1:] <= last[:, None])
    pieces = np.sqrt((1 / width[:, None]) ** 2 + np.diff(spectra, axis=1) ** 2)
    found: Doubles = -np.where(inside, pieces, 0).sum(axis=1)
    return found


def _jerks(profiles: Doubles, samples: npt.NDArray[np.intp], hertz: Doubles) -> Doubles:
    places = np.arange(profiles.shape[1] - 2)
    jerk = np.diff(profiles, 2, axis=1) * hertz[:, None] ** 2
    jerk[places >= samples[:, None] - 2] = 0
    peak = np.maximum(np.abs(profiles).max(axis=1), 1e-12)
    seconds = samples / hertz
    found: Doubles = -(seconds**3) / peak**2 * (jerk**2).sum(axis=1) / hertz
    return found


def smooth(swings: Swings, tails: Records, samples: Floats, times: Times) -> None:
    """Measure the ways into turns that lie within the block, of the signals that go furthest.

    One signal a session is measured, so that it costs next to nothing; the figures go into the
    turns.
    """
    rows: Any = tails
    lead = (rows["path"] * _WEIGHTS).argmax(axis=-1)
    session = swings.rows // len(SIGNALS)
    chosen = np.flatnonzero(swings.rows % len(SIGNALS) == lead[session])
    times = times[:, : samples.shape[1]]
    own = times[session[chosen]]
    first = (own < swings.leave_ms[chosen, None]).sum(axis=1)
    last = (own <= swings.arrive_ms[chosen, None]).sum(axis=1)
    count = last - first - 1
    begun = own[:, 0] <= swings.leave_ms[chosen]
    fits = begun & (count >= _LEAST_SAMPLES) & (count <= _MOST_SAMPLES)
    chosen, first, count, own = chosen[fits], first[fits], count[fits], own[fits]
    if not len(chosen):
        return
    places = first[:, None] + np.arange(count.max() + 1)
    inside = np.arange(count.max()) < count[:, None]
    np.minimum(places, samples.shape[1] - 1, out=places)
    value = np.take_along_axis(samples[swings.rows[chosen]], places, axis=1)
    step = np.diff(np.take_along_axis(own, places, axis=1), axis=1)
    total = np.where(inside, step, 0).sum(axis=1)
    hertz = 1000 * count / np.maximum(total, 1)
    speed = np.abs(np.diff(value, axis=1)) * 1000 / np.maximum(step, 1)
    speed[~inside] = 0
    even = np.where(inside, step, 0).max(axis=1) < 2 * total / count
    known = even & np.isfinite(speed).all(axis=1)
    speed, hertz, count, chosen = speed[known], hertz[known], count[known], chosen[known]
    if not len(chosen):
        return
    turns: Any = swings.turns
    arcs = _arcs(speed.astype(np.float64), hertz, _FFT_SAMPLES)
    jerks = -np.log(np.maximum(-_jerks(speed.astype(np.float64), count, hertz), 1e-6))
    for name, found in (("sparc", arcs), ("ldlj", jerks)):
        turns[name][chosen] = np.clip(np.rint(found * _THOUSANDTHS), -32_000, 32_000)
