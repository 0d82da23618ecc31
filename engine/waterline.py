"""The waterline: the share of loss up to which every session gives, one number a policy.

Theory of operation
-------------------
A batch gives (is thinned or refused) if, having given, its session has lost no larger a share of
its frames than the waterline. So all sessions float at one level, and who has lost for other
reasons already, gives less: the largest share is as small as it can be (max-min fair).

The waterline is moved ten times a second, so that the level of stress settles at the `_at` of the
rung. The shares are of a session's whole life, so a line that stands still at w makes sessions give
w of what they offer now, and one that rises by dw makes each give, besides, dw of everything that
was ever due to it: what a rise yields grows with the sessions' age. So the controller first says
which share of *what is offered now* shall be given::

    wanted = height + GAIN * (level - at)          (within 0 and 100 %)

and then moves the line at the pace at which sessions of that age yield it::

    d height / dt = (wanted - height) / age        (age = frames due / frames offered a second)

which is an integral controller on the line and a proportional one on the flow, whatever the age.
The line never falls faster than shares are diluted by new frames: further down it would be of no
use now and missing later. If the level is too high, batches are offered and yet none gives for a
second, the line lies below every session; it is lifted to the nearest.

It stops at the budget (`loss_percent`). When it has stood there for `dwell_seconds`, on the REFUSE
rung and with the level at `refuse_at` or above, the budgets cannot give what is needed, and the
line may rise beyond: the *overdraft*. It is the same where for so long everything was wanted and
the line has not come to the budget yet: then it is the longest gap that keeps sessions from giving
more. Until then no decision takes a session over its budget. It
ends when the line is back at the budget, or the rung below REFUSE. In overdraft the longest gap
gives way as well, but no further than it must: a session loses as many batches in a row as an
even spread of the wanted share needs.
"""

import math

from penstock.engine.ladder import Rung
from penstock.engine.policy import Policy

# Percent of what is offered, for each point of stress. The level may then be 20 points off before
# everything or nothing is given. The loop's delay is about half a batch's cadence, so a queue that
# fills from 0 to 100 in less than two seconds would make it swing.
GAIN = 5.0
# A rate is known after a few batches of everybody; younger sessions than this have no past to give.
_RATE_SECONDS = 3.0
_AGE_SECONDS = (5.0, 3600.0)
_DRY_SECONDS = 1.0
# Beyond one batch in this many, refusing is as good as refusing all.
_LONGEST_RUN = 600
# After a stall the controller does not take one reading for a long time of it.
_LONGEST_STEP_SECONDS = 1.0


class Waterline:
    """The line of one policy. Heights are in percent, as budgets are."""

    __slots__ = (
        "_dry_seconds",
        "_frames",
        "_gave",
        "_nearest",
        "_seconds",
        "_stood_seconds",
        "at_budget",
        "height",
        "overdraft",
        "run",
    )

    def __init__(self) -> None:
        self.height = 0.0
        self.overdraft = False
        # Whether it is at the budget or above: whoever has budget left, gives.
        self.at_budget = False
        # In overdraft: how many batches in a row a session may lose.
        self.run = 1
        self._stood_seconds = 0.0
        self._dry_seconds = _DRY_SECONDS
        # The lowest height at which one more of the batches offered lately would have given.
        self._nearest = math.inf
        self._gave = False
        self._frames = 0.0
        self._seconds = 0.0

    @property
    def share(self) -> float:
        """Give the height as a share, 0 to 1."""
        return self.height / 100.0

    def gave(self) -> None:
        """Hear that a batch gave."""
        self._gave = True

    def spared(self, needed: float) -> None:
        """Hear that a batch would have given at that height."""
        self._nearest = min(self._nearest, needed)

    def move(
        self, policy: Policy, rung: Rung, level: float, *, dt: float, due: int, offered: int
    ) -> None:
        """Move the line: `due` frames to all sessions so far, `offered` of them in these `dt`."""
        fading = math.exp(-dt / _RATE_SECONDS)
        self._frames = self._frames * fading + offered
        self._seconds = self._seconds * fading + dt
        dt = min(dt, _LONGEST_STEP_SECONDS)
        if rung is Rung.CALM:
            self._come_down()
            return
        excess = level - (policy.thin_at if rung is Rung.THIN else policy.refuse_at)
        if excess >= 0.0:  # at the threshold is above it, also where that is 0
            excess = max(1.0, excess)
        wanted = min(100.0, max(0.0, self.height + GAIN * excess))
        self.height += (wanted - self.height) * min(1.0, dt / self._age(due))
        self._lift_if_dry(excess, dt)
        self._bound(policy, rung, excess, dt, saturated=wanted >= 100.0)
        given = min(wanted, 99.99) / 100.0
        self.run = min(_LONGEST_RUN, max(1, math.ceil(given / (1.0 - given) - 1e-9)))

    def adopt(self, policy: Policy, before: Rung, rung: Rung) -> None:
        """Go on with other knobs from where the line is, on a rung that they may have moved."""
        height, at_budget = self.height, self.at_budget
        if rung is Rung.CALM:
            self._come_down()
        self._bound(policy, rung, 0.0, 0.0, saturated=False)
        # Where an edit wants more to be given, nobody waits for the line until the next reading;
        # and no other edit takes that back, unless it wants less itself.
        kept = at_budget and rung >= before and self.height >= height
        self.at_budget = self.at_budget or rung > before or kept

    def fork(self) -> "Waterline":
        """Give a line that stands where this one does."""
        other = Waterline()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def _age(self, due: int) -> float:
        lowest, highest = _AGE_SECONDS
        if not self._frames:
            return highest
        return min(highest, max(lowest, due * self._seconds / self._frames))

    def _come_down(self) -> None:
        self.height = self._stood_seconds = 0.0
        # The line begins at 0, and the sessions may float anywhere: the first search is at once.
        self._dry_seconds = _DRY_SECONDS
        self.overdraft = self.at_budget = False
        self._nearest = math.inf
        self._gave = False

    def _lift_if_dry(self, excess: float, dt: float) -> None:
        if self._gave or excess <= 0.0:
            self._dry_seconds = 0.0
            self._nearest = math.inf
        else:
            self._dry_seconds += dt
            if self._dry_seconds >= _DRY_SECONDS and self._nearest < math.inf:
                self.height = max(self.height, min(100.0, self._nearest))
                self._dry_seconds = 0.0
                self._nearest = math.inf
        self._gave = False

    def _bound(
        self, policy: Policy, rung: Rung, excess: float, dt: float, *, saturated: bool
    ) -> None:
        budget = policy.loss_percent
        pressed = rung >= Rung.REFUSE and excess >= 0.0
        if pressed and (self.height >= budget or saturated):
            self._stood_seconds += dt
            if self._stood_seconds >= policy.dwell_seconds and not self.overdraft:
                self.overdraft = True
                self.height = max(self.height, budget)
        else:
            self._stood_seconds = 0.0
        needless = self.height < budget or (self.height <= budget and not pressed)
        if rung < Rung.REFUSE or needless:
            self.overdraft = False
        if not self.overdraft:
            self.height = min(self.height, budget)
        self.at_budget = self.height >= budget
