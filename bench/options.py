"""What the commands' options have in common: checked values, and Penstock settings to run with."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path


def whole(least: int, most: int) -> Callable[[str], int]:
    """Make a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        number = int(text) if text.strip().isdecimal() else least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r}; it must be a whole number from {least} to {most}"
            )
        return number

    return read


def number(least: float, most: float) -> Callable[[str], float]:
    """Make a reader of numbers within bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r}; it must be a number from {least:g} to {most:g}"
            )
        return value

    return read


def setting(text: str) -> tuple[str, str]:
    """Read `name=value`, a Penstock setting."""
    name, equals, value = text.partition("=")
    if not equals or not name.replace("_", "").isalpha():
        raise argparse.ArgumentTypeError(f"{text!r}; it must be NAME=VALUE, a Penstock setting")
    return name.lower(), value


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has."""
    parser.add_argument(
        "--connections",
        type=whole(1, 10_000),
        default=32,
        help="connections of the generator, each with one request under way (default: 32)",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="NAME=VALUE",
        type=setting,
        action="append",
        default=[],
        help="run Penstock with this setting, and say so in the report; may be repeated",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write everything measured to this file"
    )


def by_name(settings: Sequence[tuple[str, str]]) -> dict[str, object]:
    """Give the settings of `--set`; the last of a name wins."""
    return dict(settings)
