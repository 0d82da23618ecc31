"""What stops a benchmark: one class, so that commands can tell it in one line."""


class BenchError(RuntimeError):
    """The run cannot take place, or what it found cannot be used. The message says why."""
