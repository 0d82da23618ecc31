"""Times as operators write them: seconds, or such as 90s, 15m, 2h, 1d."""

import re
from datetime import timedelta

from penstock.errors import StartupError

_WRITTEN = re.compile(r"([0-9]{1,9})([smhd]?)")
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_SECONDS = int(timedelta(days=366).total_seconds())


def read_seconds(option: str, text: str) -> int:
    """Give the seconds, or raise StartupError with the option's name."""
    found = _WRITTEN.fullmatch(text.strip().lower())
    seconds = int(found[1]) * _UNIT_SECONDS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise StartupError(
            f"{option}: {text!r}; it must be more than 0 and at most 366d, in seconds or such as "
            "90s, 15m, 2h"
        )
    return seconds
