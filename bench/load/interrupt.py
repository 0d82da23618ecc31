"""Ctrl-C and SIGTERM as the wish to come to an end: the first is a wish, the second an order."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], bool]]:
    """Give what tells whether a signal has come. A second one unwinds this process at once."""
    came = False

    def take(number: int, _frame: FrameType | None) -> None:
        nonlocal came
        if came:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            sys.exit(128 + number)
        came = True

    before = {number: signal.signal(number, take) for number in _SIGNALS}
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
