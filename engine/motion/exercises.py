"""What an exercise's name says of how it is counted."""

from dataclasses import dataclass
from typing import Final

from penstock.engine.motion.signals import LEAN, ROTATION


@dataclass(slots=True, frozen=True)
class Guide:
    """The signals that may carry the repetitions, the likeliest first, and where they begin.

    `lowers` tells whether the way out yields to gravity (eccentric) or works against it, None where
    that depends. `rests_high` says that the patient rests with the joint bent: who stands up rests
    sitting.
    """

    signals: tuple[str, ...]
    lowers: bool | None = None
    rests_high: bool = False


# How much of a signal's swing is the exercise's, when nobody says which exercise it is: arms move
# with legs more than legs do with arms, and heights are noisier than angles.
WEIGHTS: Final = {
    "knee_flexion": 1.0,
    "hip_flexion": 1.0,
    "elbow_flexion": 0.8,
    "shoulder_elevation": 1.0,
    "forearm_elevation": 0.7,
    ROTATION: 0.5,
    LEAN: 0.6,
    "leg_height": 0.8,
    "wrist_height": 0.7,
}

# Heights find repetitions; these are the angles that tell how far they went.
ANGLES_OF: Final = {
    "leg_height": ("knee_flexion", "hip_flexion"),
    "wrist_height": ("shoulder_elevation", "elbow_flexion"),
}

_HIP = ("hip_flexion", "leg_height")
_KNEE = ("knee_flexion", "hip_flexion", "leg_height")
_ELBOW = ("elbow_flexion", "wrist_height")
_SHOULDER = ("shoulder_elevation", "forearm_elevation", "wrist_height")
_TURNED = (ROTATION, "forearm_elevation", "elbow_flexion", "wrist_height")
_LEAN = (LEAN, "hip_flexion")
_STAND = Guide(_KNEE, lowers=False, rests_high=True)
_HIP_UP = Guide(_HIP, lowers=False)
_SQUAT = Guide(_KNEE, lowers=True)
_PUSH = Guide(_ELBOW, lowers=True)
_PULL = Guide(_ELBOW, lowers=False)
_ARM_UP = Guide(_SHOULDER, lowers=False)

# The first word that a name contains decides, so the more special ones come first.
_WORDS = (
    ("sit_to_stand", _STAND),
    ("stand_up", _STAND),
    ("chair", _STAND),
    ("sit_up", _HIP_UP),
    ("situp", _HIP_UP),
    ("crunch", _HIP_UP),
    ("leg_raise", _HIP_UP),
    ("hurdle", _HIP_UP),
    ("march", _HIP_UP),
    ("bridge", Guide(_HIP)),
    ("deadlift", Guide(_HIP, lowers=True)),
    ("good_morning", Guide(_LEAN, lowers=True)),
    ("pommel", Guide(_LEAN)),
    ("heel_raise", Guide(("ankle_dorsiflexion", "leg_height"), lowers=False)),
    ("calf", Guide(("ankle_dorsiflexion", "leg_height"), lowers=False)),
    ("ankle", Guide(("ankle_dorsiflexion",))),
    ("squat", _SQUAT),
    ("lunge", _SQUAT),
    ("step", Guide(_KNEE)),
    ("knee", Guide(_KNEE)),
    ("leg", Guide(_KNEE)),
    ("push_up", _PUSH),
    ("pushup", _PUSH),
    ("pull_up", _PULL),
    ("pullup", _PULL),
    ("bench", _PUSH),
    ("dip", _PUSH),
    ("curl", _PULL),
    ("elbow", Guide(_ELBOW)),
    ("rotation", Guide(_TURNED)),
    ("press", _PUSH),
    ("row", _PULL),
    ("rope", Guide(("wrist_height", "shoulder_elevation", "elbow_flexion"))),
    ("jack", _ARM_UP),
    ("raise", _ARM_UP),
    ("shoulder", _ARM_UP),
    ("abduction", _ARM_UP),
    ("arm", _ARM_UP),
    ("hip", Guide(_HIP)),
    ("trunk", Guide(_LEAN)),
)


_SHORT: Final = 3


def guide(exercise: str | None) -> Guide | None:
    """Give what an exercise's name says; None when it says nothing that is known."""
    if exercise is None:
        return None
    name = "_".join(exercise.lower().replace("-", " ").replace("_", " ").split())
    # Short words are in the midst of others: an arm in a warm-up.
    return next(
        (
            found
            for word, found in _WORDS
            if (word if len(word) > _SHORT else f"_{word}") in f"_{name}"
        ),
        None,
    )
