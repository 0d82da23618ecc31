"""What an exercise's name says of how it is counted."""

from dataclasses import dataclass
from typing import Final

from penstock.engine.motion.signals import LEAN


@dataclass(slots=True, frozen=True)
class Guide:
    """The signals that may carry the repetitions, the likeliest first, and where they begin.

    `rests_high` says that the patient rests with the joint bent: who stands up rests sitting.
    """

    signals: tuple[str, ...]
    rests_high: bool = False


# How much of a signal's swing is the exercise's, when nobody says which exercise it is: arms move
# with legs more than legs do with arms, and heights are noisier than angles.
WEIGHTS: Final = {
    "knee_flexion": 1.0,
    "hip_flexion": 1.0,
    "elbow_flexion": 0.8,
    "shoulder_elevation": 1.0,
    "forearm_elevation": 0.7,
    LEAN: 0.6,
    "leg_height": 0.8,
    "wrist_height": 0.7,
}

_HIP = Guide(("hip_flexion", "leg_height"))
_KNEE = Guide(("knee_flexion", "hip_flexion", "leg_height"))
_STAND = Guide(_KNEE.signals, rests_high=True)
_ELBOW = Guide(("elbow_flexion", "wrist_height"))
_SHOULDER = Guide(("shoulder_elevation", "forearm_elevation", "wrist_height"))
_TURNED = Guide(("forearm_elevation", "elbow_flexion", "wrist_height"))
_LEAN = Guide((LEAN, "hip_flexion"))
_ANKLE = Guide(("ankle_dorsiflexion", "leg_height"))

# The first word that a name contains decides, so the more special ones come first.
_WORDS = (
    ("sit_to_stand", _STAND),
    ("stand_up", _STAND),
    ("chair", _STAND),
    ("sit_up", _HIP),
    ("situp", _HIP),
    ("crunch", _HIP),
    ("leg_raise", _HIP),
    ("hurdle", _HIP),
    ("march", _HIP),
    ("bridge", _HIP),
    ("deadlift", _HIP),
    ("good_morning", _LEAN),
    ("pommel", _LEAN),
    ("heel_raise", _ANKLE),
    ("calf", _ANKLE),
    ("ankle", _ANKLE),
    ("squat", _KNEE),
    ("lunge", _KNEE),
    ("step", _KNEE),
    ("knee", _KNEE),
    ("leg", _KNEE),
    ("push_up", _ELBOW),
    ("pushup", _ELBOW),
    ("pull_up", _ELBOW),
    ("pullup", _ELBOW),
    ("bench", _ELBOW),
    ("dip", _ELBOW),
    ("curl", _ELBOW),
    ("elbow", _ELBOW),
    ("rotation", _TURNED),
    ("press", _ELBOW),
    ("row", _ELBOW),
    ("jack", _SHOULDER),
    ("raise", _SHOULDER),
    ("shoulder", _SHOULDER),
    ("abduction", _SHOULDER),
    ("arm", _SHOULDER),
    ("hip", _HIP),
    ("trunk", _LEAN),
)


def guide(exercise: str | None) -> Guide | None:
    """Give what an exercise's name says; None when it says nothing that is known."""
    if exercise is None:
        return None
    name = "_".join(exercise.lower().replace("-", " ").replace("_", " ").split())
    return next((found for word, found in _WORDS if word in name), None)
