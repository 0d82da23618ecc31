"""The last fifteen minutes of the flow, a sample a second: bounded, and encoded once for all.

Theory of operation
-------------------
Every quantity is a column of SECONDS numbers, used as a ring; a quantity that is not told in a
second has a gap there (NaN, null in JSON). Samples are numbered. A listener is told all there is
first, and then each sample by its number; who comes back names the last one it got, and is told
what it has missed, or everything again where that is gone or was of another process.

The bytes of the newest sample are made once, for however many listen.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from secrets import token_hex

import numpy as np
import numpy.typing as npt
import orjson

SECONDS = 900
# More changes than these in fifteen minutes are no marks any more but a hatching.
MOST_MARKS = 100
_DECIMALS = 4


@dataclass(slots=True, frozen=True)
class Mark:
    """Something that happened at a moment, and is told beside the numbers."""

    at: int
    label: str
    detail: str


class FlowLog:
    """The samples of this process. One task appends, any number read."""

    def __init__(self) -> None:
        self.number = 0
        self._process = token_hex(4)
        self._times = np.zeros(SECONDS, np.int64)
        self._columns: dict[str, npt.NDArray[np.float64]] = {}
        self._marks: deque[Mark] = deque(maxlen=MOST_MARKS)
        self._newest = b""

    def append(
        self, at_unix_ms: int, values: Mapping[str, float], marks: tuple[Mark, ...] = ()
    ) -> None:
        """Take a sample. Columns that have nothing to tell any more go."""
        slot = self.number % SECONDS
        self.number += 1
        self._times[slot] = at_unix_ms
        for name, column in self._columns.items():
            column[slot] = values.get(name, np.nan)
        for name in values.keys() - self._columns.keys():
            column = self._columns[name] = np.full(SECONDS, np.nan)
            column[slot] = values[name]
        if slot == 0:
            gone = [name for name, column in self._columns.items() if np.isnan(column).all()]
            for name in gone:
                del self._columns[name]
        self._marks.extend(marks)
        self._newest = self._event(
            "sample",
            {
                "at": at_unix_ms,
                "values": {name: round(value, _DECIMALS) for name, value in values.items()},
                "marks": [asdict(mark) for mark in marks],
            },
        )

    def newest(self) -> bytes:
        """Give the newest sample as an event."""
        return self._newest

    def everything(self) -> bytes:
        """Give all samples as one event."""
        order = self._order(SECONDS)
        times = self._times[order]
        columns = {
            name: np.round(column[order], _DECIMALS) for name, column in self._columns.items()
        }
        first = int(times[0]) if len(times) else 0
        marks = [asdict(mark) for mark in self._marks if mark.at >= first]
        return self._event("history", {"at": times, "columns": columns, "marks": marks})

    def since(self, event_id: str) -> bytes:
        """Give what a listener has missed since the event of this id; everything, if in doubt."""
        process, _, number = event_id.partition("-")
        known = number.isascii() and number.isdigit() and len(number) < 16
        if process != self._process or not known or int(number) > self.number:
            return self.everything()
        missed = self.number - int(number)
        if missed == 0:
            return b""
        return self._newest if missed == 1 else self.everything()

    def shared(self, names: Sequence[str], seconds: int) -> tuple[int, dict[str, float]]:
        """Sum columns over those of the newest samples in which each of them says something.

        Gives how many samples these were, too: what is compared was measured at the same time.
        """
        order = self._order(seconds)
        nothing = np.full(len(order), np.nan)
        columns = {
            name: self._columns[name][order] if name in self._columns else nothing for name in names
        }
        told = ~np.isnan(list(columns.values())).any(axis=0)
        return int(told.sum()), {name: float(found[told].sum()) for name, found in columns.items()}

    @property
    def column_bytes(self) -> int:
        """Give the memory that the columns hold."""
        return self._times.nbytes + sum(column.nbytes for column in self._columns.values())

    def _order(self, seconds: int) -> npt.NDArray[np.int64]:
        count = min(self.number, seconds, SECONDS)
        return np.arange(self.number - count, self.number) % SECONDS

    def _event(self, name: str, document: Mapping[str, object]) -> bytes:
        data = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        event_id = f"{self._process}-{self.number}".encode()
        return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), event_id, data)
