"""Token buckets, kept as one number a key.

A bucket of `burst` tokens that fills at `per_second` is fully described by the moment at which it
will be full again (the generic cell rate algorithm, ITU-T I.371). A bucket that is full carries no
information, so its key can be forgotten: the table holds only who sent in the last few seconds.
"""

_SWEEP_EVERY = 4096
# A wait this short is none. A double counts the seconds of a year's uptime in steps of 4 ns, and
# who has waited exactly as long as it was told must not be told to wait again.
_ROUNDING_SECONDS = 1e-6


class TokenBuckets:
    """Buckets by key. `per_second` and `burst` may differ from call to call (quotas change)."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}
        self._until_sweep = _SWEEP_EVERY

    def __len__(self) -> int:
        return len(self._full_at)

    def take_nowait(self, key: str, now: float, per_second: float, burst: float) -> float:
        """Take one token: 0.0 when there was one, else the seconds until there is."""
        fill = 1.0 / per_second
        full_at = self._full_at.get(key, now)
        full_at = max(full_at, now)
        # With b tokens the bucket is full in (burst - b) fills; one token must be there.
        wait = full_at - now - (burst - 1.0) * fill
        if wait > _ROUNDING_SECONDS:
            return wait
        self._full_at[key] = full_at + fill
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            self._sweep(now)
        return 0.0

    def wait(self, key: str, now: float, per_second: float, burst: float) -> float:
        """Give the seconds until there is a token, 0.0 where there is one; take none."""
        full_at = max(self._full_at.get(key, now), now)
        wait = full_at - now - (burst - 1.0) / per_second
        return wait if wait > _ROUNDING_SECONDS else 0.0

    def _sweep(self, now: float) -> None:
        self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        # As many calls as entries were kept: the sweep stays a constant share of the work.
        self._until_sweep = max(_SWEEP_EVERY, len(self._full_at))
