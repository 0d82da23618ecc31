"""How many patients exercise at which moment: a quiet house, a rush hour, a quiet house again."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Self


class Phase(StrEnum):
    """What part of the demo it is, and what there is to see in it."""

    look_at: str

    def __new__(cls, value: str, look_at: str) -> Self:
        """Attach what there is to see."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.look_at = look_at
        return member

    CALM = ("calm", "every frame is taken")
    RISE = ("rush hour begins", "patients come; stress rises with what waits in memory")
    PEAK = (
        "rush hour",
        "frames are dropped, evenly and from all alike; results never are",
    )
    EBB = ("rush hour ends", "patients leave; each end is answered at once, and frames come whole")
    AFTER = ("calm again", "nothing is dropped any more; nothing has to be switched back")


# Until which share of the time each phase lasts.
_UNTIL = {Phase.CALM: 0.12, Phase.RISE: 0.42, Phase.PEAK: 0.64, Phase.EBB: 0.86, Phase.AFTER: 1.0}


@dataclass(slots=True, frozen=True)
class Plan:
    """So many patients from the beginning to the end, and so many in all at the rush hour."""

    patients: int
    most: int
    seconds: float

    def phase(self, at: float) -> Phase:
        """Tell what part of the demo a moment is in."""
        share = at / self.seconds
        return next((phase for phase, until in _UNTIL.items() if share < until), Phase.AFTER)

    def wanted(self, at: float) -> int:
        """Tell how many patients exercise at a moment, the steady ones among them."""
        begin, end = 0.0, self.seconds
        steps = [
            (begin, self.patients),
            (_UNTIL[Phase.CALM] * end, self.patients),
            (_UNTIL[Phase.RISE] * end, self.most),
            (_UNTIL[Phase.PEAK] * end, self.most),
            (_UNTIL[Phase.EBB] * end, self.patients),
            (end, self.patients),
        ]
        for (since, before), (until, after) in pairwise(steps):
            if at < until:
                share = (at - since) / (until - since)
                return round(before + (after - before) * max(0.0, share))
        return self.patients
