"""How long replays are kept: by age, by their size all together, or both.

Theory of operation
-------------------
A pass walks the whole store once, page by page. What is past its age goes at once. Of the rest the
pass keeps the oldest few thousand in mind; at its end, as many of those go, oldest first, as it
takes for all that remains to fit. Only where they do not suffice is there another pass, for the
next oldest. So memory is bounded, whatever the store holds.

A run has no state that could be lost: what it removed is gone, and the next run finds the rest. It
stops at the first call that the store fails, and says so in its report. A blob that was replaced
since it was listed is passed over; it is a newer one. A dry run does the same and removes nothing.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from penstock.engine.blob_port import BlobInfo, BlobReason, BlobStore, BlobUnavailableError

# Some 20 MiB of them. Who removes more than this in one run for their size waits for another pass.
MAX_CANDIDATES = 50_000
MAX_LISTED = 1000


class Cause(StrEnum):
    """Why a blob has to go."""

    EXPIRED = "expired"
    OVER_SIZE = "over_size"


@dataclass(slots=True, frozen=True)
class RetentionRule:
    """What may be kept. None is no limit. A blob exactly as old as `max_age_seconds` is kept."""

    max_age_seconds: float | None = None
    max_bytes: int | None = None


@dataclass(slots=True, frozen=True)
class Removal:
    """A blob that went, or in a dry run would go."""

    blob: BlobInfo
    cause: Cause


@dataclass(slots=True, frozen=True)
class RetentionReport:
    """What a run found and removed; of a dry run, what a run would remove.

    `removals` ends after MAX_LISTED; the counts do not. `stopped` is why the run did not come to
    its end, if it did not.
    """

    dry_run: bool
    found: int
    found_bytes: int
    removed: int
    removed_bytes: int
    expired: int
    over_size: int
    replaced: int
    removals: tuple[Removal, ...]
    stopped: BlobReason | None
    stopped_detail: str


@dataclass(slots=True)
class Survey:
    """One pass: decides about each blob that it is shown. Synchronous and pure.

    `beyond` and `excess` go on from the pass before: only blobs younger than that are candidates,
    and so many bytes are still too many.
    """

    rule: RetentionRule
    now_unix: float
    max_candidates: int = MAX_CANDIDATES
    beyond: tuple[float, str] = (float("-inf"), "")
    excess: int | None = None
    found: int = 0
    found_bytes: int = 0
    _kept_bytes: int = 0
    # The youngest on top, so that it gives way to an older one.
    _oldest: list[tuple[float, list[int], BlobInfo]] = field(default_factory=list)
    _left_out: bool = False

    def expired(self, blobs: Iterable[BlobInfo]) -> list[BlobInfo]:
        """Take note of blobs; give those that are past their age."""
        gone: list[BlobInfo] = []
        for blob in blobs:
            self.found += 1
            self.found_bytes += blob.size
            max_age = self.rule.max_age_seconds
            if max_age is not None and self.now_unix - blob.modified_unix > max_age:
                gone.append(blob)
                continue
            self._kept_bytes += blob.size
            if self.rule.max_bytes is not None and _age_order(blob) > self.beyond:
                self._consider(blob)
        return gone

    def over_size(self) -> tuple[list[BlobInfo], "Survey | None"]:
        """Give what has to go for its size, oldest first, and the next pass if one is needed."""
        if self.rule.max_bytes is None:
            return [], None
        excess = self._kept_bytes - self.rule.max_bytes if self.excess is None else self.excess
        gone: list[BlobInfo] = []
        for blob in sorted((blob for *_, blob in self._oldest), key=_age_order):
            if excess <= 0:
                return gone, None
            gone.append(blob)
            excess -= blob.size
        if excess <= 0 or not self._left_out:
            return gone, None
        return gone, Survey(
            self.rule,
            self.now_unix,
            self.max_candidates,
            beyond=_age_order(gone[-1]),
            excess=excess,
        )

    def _consider(self, blob: BlobInfo) -> None:
        # Of equal age the key decides; inverted, as the age is, for a heap with the last on top.
        entry = (-blob.modified_unix, [-ord(letter) for letter in blob.key], blob)
        if len(self._oldest) < self.max_candidates:
            heapq.heappush(self._oldest, entry)
        else:
            heapq.heappushpop(self._oldest, entry)
            self._left_out = True


async def sweep(
    store: BlobStore,
    rule: RetentionRule,
    *,
    now_unix: float,
    dry_run: bool,
    max_candidates: int = MAX_CANDIDATES,
) -> RetentionReport:
    """Remove what the rule does not let be kept, or with `dry_run` only tell what that is.

    Where the store fails, the report says so. Cancelled, the run has removed what it has removed,
    and the next one goes on.
    """
    run = _Run(store, dry_run=dry_run)
    first = Survey(rule, now_unix, max_candidates)
    survey: Survey | None = first
    stopped: BlobUnavailableError | None = None
    try:
        while survey is not None:
            after: str | None = None
            while True:
                page = await store.list(after=after)
                gone = survey.expired(page.blobs)
                if survey is first:
                    await run.remove(gone, Cause.EXPIRED)
                after = page.after
                if after is None:
                    break
            gone, survey = survey.over_size()
            await run.remove(gone, Cause.OVER_SIZE)
    except BlobUnavailableError as error:
        stopped = error
    return RetentionReport(
        dry_run=dry_run,
        found=first.found,
        found_bytes=first.found_bytes,
        removed=sum(run.counts.values()),
        removed_bytes=run.removed_bytes,
        expired=run.counts[Cause.EXPIRED],
        over_size=run.counts[Cause.OVER_SIZE],
        replaced=run.replaced,
        removals=tuple(run.listed),
        stopped=stopped.reason if stopped else None,
        stopped_detail=stopped.detail if stopped else "",
    )


class _Run:
    """Removes, or pretends to, and counts."""

    def __init__(self, store: BlobStore, *, dry_run: bool) -> None:
        self._store = store
        self._dry_run = dry_run
        self.counts = dict.fromkeys(Cause, 0)
        self.removed_bytes = 0
        self.replaced = 0
        self.listed: list[Removal] = []

    async def remove(self, blobs: Iterable[BlobInfo], cause: Cause) -> None:
        for blob in blobs:
            if not self._dry_run and not await self._store.delete_unchanged(blob):
                self.replaced += 1
                continue
            self.counts[cause] += 1
            self.removed_bytes += blob.size
            if len(self.listed) < MAX_LISTED:
                self.listed.append(Removal(blob, cause))


def _age_order(blob: BlobInfo) -> tuple[float, str]:
    return blob.modified_unix, blob.key
