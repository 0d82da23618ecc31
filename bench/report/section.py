"""The piece of which a told report is made."""

from dataclasses import dataclass

Row = tuple[str, ...]
HELD = {True: "ok", False: "NOT"}


@dataclass(slots=True, frozen=True)
class Section:
    """A titled table, and what is said below it. `words` are the columns that hold text."""

    title: str
    head: Row = ()
    rows: tuple[Row, ...] = ()
    words: tuple[int, ...] = (0,)
    notes: tuple[str, ...] = ()
