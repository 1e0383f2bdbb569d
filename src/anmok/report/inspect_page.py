"""The page of an inspection: what a network looks at, one HTML file with everything inside.

As for a run's page: every text is escaped, the figure travels as JSON that no text can break out of, and a content
security policy allows the page's own scripts by their hash and nothing from anywhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anmok.core.files import write_atomic
from anmok.report import words
from anmok.report.inspect_content import InspectContent
from anmok.report.page import fluid, vega_bundle
from anmok.report.shell import asset, block, picture_address, script_hash, style, template
from anmok.report.theme import vega_config
from anmok.report.thumbnails import thumbnail

SIDE = 288  # pixels of a picture on the page
SMALL = 96  # of a channel
PICTURE_BYTES = 6_000_000  # of all pictures together; later ones are left out of the page, not of the PNG files


def write_inspect_report(path: Path | str, content: InspectContent) -> Path:
    """Write the page atomically and return its path."""
    return write_atomic(path, render_inspect(content))


def render_inspect(content: InspectContent) -> str:
    """The page as text."""
    pictures = _Pictures()
    figures = {} if content.embedding is None else {"embedding": fluid(content.embedding)}
    script = asset("report.js")
    bundle = vega_bundle() if figures else ""
    filters = {
        "percent": words.percent, "count": words.count, "picture": pictures.large, "channel": pictures.small,
        "crisp": pictures.crisp,
    }  # fmt: skip
    return template("inspect.html.j2", filters).render(
        content=content,
        figures={name: block(figure) for name, figure in figures.items()},
        themes=block({"light": vega_config(), "dark": vega_config(dark=True)}),
        style=style("report.css", "inspect.css"),
        bundle=bundle,
        script=script,
        hashes=[script_hash(text) for text in (bundle, script) if text],
    )


class _Pictures:
    """Pictures as addresses, of PICTURE_BYTES together; '' for what comes after."""

    def __init__(self) -> None:
        self.spent = 0

    def large(self, image: Any) -> str:
        """A picture of an image, at most SIDE pixels."""
        return self._address(thumbnail(image, SIDE, 80))

    def small(self, image: Any) -> str:
        """A channel or a filter, enlarged without inventing pixels."""
        return self._address(thumbnail(_enlarged(image, SMALL), SMALL, 88))

    def crisp(self, image: Any) -> str:
        """A picture that was drawn for the page, as large as it is."""
        return self._address(thumbnail(image, max(image.shape[:2]), 90))

    def _address(self, webp: bytes) -> str:
        self.spent += len(webp)
        return picture_address(webp) if self.spent <= PICTURE_BYTES else ""


def _enlarged(image: Any, side: int) -> Any:
    """The picture with every pixel repeated, so often that it is not larger than `side`, but at least once."""
    times = max(1, side // max(image.shape[:2]))
    return image.repeat(times, axis=0).repeat(times, axis=1)
