"""Names from the data as text that can be shown: no character of theirs commands a terminal or breaks an encoding."""

from __future__ import annotations

_KEPT = "\n\t\u00a0"  # of a text of ours


def visible(text: str) -> str:
    """A name on one line: control characters and undecodable bytes as escapes."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def printable(text: str) -> str:
    """A text of several lines, in which names may stand: the same, but line ends and tabs stay."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c in _KEPT else _escape(c) for c in text)


def _escape(c: str) -> str:
    return c.encode("unicode_escape", "surrogatepass").decode()


def size_text(n: float) -> str:
    """'1.2 GB' and the like, in powers of 1,000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "bytes" or n >= 100 else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:,.1f} TB"
