"""The page of a search: what was asked and the pictures found, one HTML file with everything inside."""

from __future__ import annotations

from collections.abc import Sequence

from anmok.report.shell import picture_address, style, template

Cards = Sequence[tuple[str, Sequence[tuple[bytes, str]]]]


def render_search(title: str, how: str, queries: Cards) -> str:
    """The page as text.  queries: of each its name and its pictures as (WebP bytes, caption); texts are escaped."""
    page = template("search.html.j2", {"picture": picture_address})
    return page.render(title=title, how=how, queries=queries, style=style("report.css"))
