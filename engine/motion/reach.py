"""How far each joint went: the least and the greatest angle seen, joint by joint."""

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from penstock.engine.motion.joints import JOINTS, Angles

# One or more reaches, the last two axes being (least, greatest) and JOINTS.
Degrees = npt.NDArray[np.float32]


@dataclass(slots=True, frozen=True, eq=False)
class Reach:
    """Two rows, least and greatest, by the columns of JOINTS; NaN for a joint that was not seen.

    The array is never changed, so a checkpoint may share it with the state that goes on.
    """

    degrees: Degrees

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reach) and np.array_equal(
            self.degrees, other.degrees, equal_nan=True
        )

    def __hash__(self) -> int:
        return hash(self.degrees.tobytes())

    def widened(self, degrees: Degrees) -> "Reach":
        """Give the reach of this and of the rows of another together."""
        wider = np.empty_like(self.degrees)
        np.fmin(self.degrees[0], degrees[0], out=wider[0])
        np.fmax(self.degrees[1], degrees[1], out=wider[1])
        return Reach(wider)

    def plain(self) -> list[list[float | None]]:
        """Give JSON-ready values: None for a joint that was not seen."""
        return [
            [None if math.isnan(value) else round(value, 1) for value in row]
            for row in self.degrees.tolist()
        ]

    def by_joint(self) -> dict[str, tuple[float, float]]:
        """Give least and greatest degrees of each joint that was seen."""
        least, greatest = self.plain()
        return {
            name: (low, high)
            for name, low, high in zip(JOINTS, least, greatest, strict=True)
            if low is not None and high is not None
        }

    @classmethod
    def from_plain(cls, rows: object) -> Self:
        """Rebuild from `plain`; a foreign value raises TypeError or ValueError."""
        degrees = np.array(rows, np.float32)  # None becomes NaN
        if degrees.shape != (2, len(JOINTS)) or np.isinf(degrees).any():
            raise ValueError(f"a reach is two rows of {len(JOINTS)} finite numbers or nulls")
        return cls(degrees)


NO_REACH: Final = Reach(np.full((2, len(JOINTS)), np.nan, np.float32))


def part_degrees(angles: Angles, starts: npt.NDArray[np.intp]) -> Degrees:
    """Give the rows of a reach for each part of the frames; a part begins at each of the starts.

    No part is empty. To a tenth of a degree: no camera sees more.
    """
    least = np.fmin.reduceat(angles, starts, axis=0)
    greatest = np.fmax.reduceat(angles, starts, axis=0)
    degrees: Degrees = np.stack((least, greatest), axis=1)
    return degrees.round(1)
