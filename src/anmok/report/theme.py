"""One palette, light and dark, for the page and its figures; blue and orange stay apart for colour-blind eyes."""

from __future__ import annotations

from typing import Any

FONT = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Apple SD Gothic Neo", "Noto Sans KR", '
    '"Noto Sans CJK KR", "Malgun Gothic", sans-serif'
)
LIGHT = {
    "page": "#f7f7f5", "card": "#ffffff", "ink": "#1b2126", "muted": "#56616b", "line": "#e2e5e7", "track": "#eceff1",
    "accent": "#0f6484", "wrong": "#b4540a", "third": "#7b5ea7", "warn": "#fdf3e4",
    "empty": "#f4f6f7", "on-half": "#1b2126", "on-full": "#ffffff",
}  # fmt: skip
DARK = {
    "page": "#121518", "card": "#1a1e22", "ink": "#e9ecee", "muted": "#a7b1ba", "line": "#2d343a", "track": "#2a3036",
    "accent": "#6fc3e0", "wrong": "#f0a35e", "third": "#c3a6ea", "warn": "#2e2416",
    "empty": "#22282d", "on-half": "#0d1518", "on-full": "#0d1518",
}  # fmt: skip


def css(colours: dict[str, str]) -> str:
    """The palette as CSS custom properties."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())


def vega_config(dark: bool = False) -> dict[str, Any]:
    """The palette as a Vega-Lite configuration; figures name roles (styles, ranges), never colours."""
    c = DARK if dark else LIGHT
    axis = {
        "labelColor": c["muted"], "titleColor": c["muted"], "labelFontSize": 12, "titleFontSize": 12,
        "titleFontWeight": "normal", "titlePadding": 10, "labelPadding": 6, "ticks": False, "domain": False,
        "gridColor": c["line"], "labelLimit": 150,
    }  # fmt: skip
    legend = {
        "labelColor": c["ink"], "titleColor": c["muted"], "labelFontSize": 12, "orient": "top",
        "direction": "horizontal", "offset": 8, "symbolSize": 90, "labelLimit": 220,
    }  # fmt: skip
    return {
        "font": FONT,
        "background": None,
        "view": {"stroke": None},
        "axis": axis,
        "axisBand": {"grid": False},
        "legend": legend,
        "line": {"strokeWidth": 2},
        "range": {
            "category": [c["accent"], c["wrong"], c["third"], c["muted"]],
            "heatmap": [c["empty"], c["accent"]],
            "ramp": [c["empty"], c["wrong"]],
        },
        "style": {
            "on-full": {"color": c["on-full"]},
            "on-half": {"color": c["on-half"]},
            "on-empty": {"color": c["ink"]},
            "quiet": {"color": c["muted"]},
            "value": {"color": c["ink"]},
            "main": {"color": c["accent"]},
        },
    }
