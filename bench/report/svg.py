"""The pieces of SVG, and how text gets into markup."""

import unicodedata
from html import escape


def safe(text: str) -> str:
    """Make any text fit for markup; what XML cannot hold is shown as a replacement character."""
    shown = "".join(
        c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "\ufffd" for c in text
    )
    return escape(shown, quote=True)


def rect(x: float, y: float, width: float, height: float, look: str, tip: str = "") -> str:
    """Draw a rectangle, with a tooltip when there is something to say."""
    size = f'width="{number(width)}" height="{number(height)}"'
    start = f'<rect class="{look}" x="{number(x)}" y="{number(y)}" {size}'
    return f"{start}><title>{safe(tip)}</title></rect>" if tip else f"{start}/>"


def line(x1: float, y1: float, x2: float, y2: float, look: str) -> str:
    """Draw a straight line."""
    ends = f'x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}"'
    return f'<line class="{look}" {ends}/>'


def text(x: float, y: float, content: str, look: str) -> str:
    """Write a line of text."""
    return f'<text class="{look}" x="{number(x)}" y="{number(y)}">{safe(content)}</text>'


def number(value: float) -> str:
    """Write a coordinate; a tenth is finer than the eye."""
    return f"{value:.1f}".removesuffix(".0")
