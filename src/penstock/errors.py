"""What an operator can put right: told in whole lines, never as a traceback."""


class StartupError(Exception):
    """A command cannot begin. Each line names one thing that is wrong and what to do about it."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))
