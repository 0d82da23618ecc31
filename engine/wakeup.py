"""An event for one waiter that arms itself again: what an actor's task sleeps on."""

import trio


class WakeUp:
    """Set it any number of times; the one waiter is let through once for all of them.

    A `trio.Event` serves many waiters once, would have to be made anew for each sleep, and takes
    five times the memory, which counts at ten thousand sessions.
    """

    __slots__ = ("_set", "_sleeper")

    def __init__(self) -> None:
        self._set = False
        self._sleeper: trio.lowlevel.Task | None = None

    @property
    def waiting(self) -> bool:
        """Say whether the waiter sleeps."""
        return self._sleeper is not None

    def set(self) -> None:
        """Let the waiter through, now or when it comes."""
        sleeper = self._sleeper
        if sleeper is None:
            self._set = True
        else:
            self._sleeper = None
            trio.lowlevel.reschedule(sleeper)

    async def wait(self) -> None:
        """Wait until it is set, and reset it."""
        if self._set:
            self._set = False
            await trio.lowlevel.checkpoint()
            return
        if self._sleeper is not None:
            raise trio.BusyResourceError("a wake-up has one waiter")
        self._sleeper = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED
