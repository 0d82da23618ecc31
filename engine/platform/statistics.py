"""What the platform surface counts, in one value."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from penstock.engine.platform.records import Kept


class Lookup(StrEnum):
    """What became of a search for an address's country."""

    FOUND = "found"
    UNKNOWN = "unknown"
    NO_DATABASE = "no_database"


@dataclass(slots=True, frozen=True)
class PlatformStatistics:
    """Of the geo database, the privacy exclusions, and what was removed for its age.

    Moments are None before the first; `excluded` are the requests that an exclusion covered.
    """

    geo_built_unix: float | None
    lookups: Mapping[Lookup, int]
    geo_updates: int
    geo_failures: int
    exclusions: int
    synced_unix: float | None
    syncs: int
    sync_failures: int
    excluded: int
    removed: Mapping[Kept, int]
