"""What every page shares: templates that escape, JSON no text can break out of, scripts by their hash, the palette."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from anmok.report.theme import DARK, FONT, LIGHT, css


def template(name: str, filters: Mapping[str, Any]) -> Any:
    """A template of this room with its filters; every text is escaped, an unknown name is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    page = Environment(
        loader=PackageLoader("anmok.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters |= filters
    return page.get_template(name)


def block(value: Any) -> Any:
    """JSON that is safe inside a script element: no text in it can end the element or open a comment."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def asset(name: str) -> Any:
    """A script or style sheet of this room, to stand in the page as it is."""
    from markupsafe import Markup

    return Markup("\n" + (files("anmok.report") / "templates" / name).read_text(encoding="utf-8"))


def script_hash(script: str) -> str:
    """The hash by which a content security policy allows a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def style(*names: str) -> Any:
    """Both palettes, the system's choice first, and the style sheets."""
    from markupsafe import Markup

    palette = (
        f":root{{--font:{FONT};{css(LIGHT)}color-scheme:light}}"
        f"@media(prefers-color-scheme:dark){{:root{{{css(DARK)}color-scheme:dark}}}}"
        f':root[data-theme="light"]{{{css(LIGHT)}color-scheme:light}}'
        f':root[data-theme="dark"]{{{css(DARK)}color-scheme:dark}}'
    )
    return Markup(palette) + Markup("").join(map(asset, names))


def picture_address(webp: bytes) -> str:
    """The bytes of a WebP picture as a data address, '' of none."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode() if webp else ""
