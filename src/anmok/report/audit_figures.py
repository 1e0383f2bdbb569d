"""The figures of an audit's page, as the page's own SVG and bars.

They need no library in the page (the one for interactive charts takes over a second of processor time to put together,
more than all of the rest of this report), are drawn before any script runs, follow the theme by its CSS, and keep
their text legible on a phone.  Every text is escaped; a shape tells its numbers on hovering.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from anmok.report.audit_content import Histogram, Sizes, Spread

WIDTH = 320  # units of a figure, about CSS pixels in the columns of the page
PLOT = (8.0, 312.0)  # left and right end of a plot
STEPS = (1, 2, 2.5, 5, 10)
Text = Callable[[float], str]


def ticks(low: float, high: float, logarithmic: bool = False, most: int = 5) -> list[float]:
    """Round numbers within [low, high], at most `most`; powers of ten with 2 and 5 between them, if logarithmic."""
    if not logarithmic:
        if high <= low:
            return [low]
        rough = (high - low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in STEPS if s * power >= rough * 0.999)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for parts in ((1, 2, 5), (1, 3), (1,)):
        found = [p * 10.0**e for e in range(first, last + 1) for p in parts if low <= p * 10.0**e <= high]
        if len(found) <= most:
            return found or [low, high]
    decades = [10.0**e for e in range(first, last + 1) if low <= 10.0**e <= high]
    return decades[:: math.ceil(len(decades) / most)]


def place(value: float, low: float, high: float, logarithmic: bool = False) -> float:
    """Where a value lies between low and high, in [0, 1]; in the middle of nothing."""
    if logarithmic:
        value, low, high = (math.log(max(v, 1e-300)) for v in (value, low, high))
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5


def histogram(h: Histogram, text: Text, tick: Text, *, name: str) -> Any:
    """Bars over a measurement; `text` says its values, `tick` round ones, `name` is told to those who do not see it."""
    low, high, top = h.edges[0], h.edges[-1], max(h.counts, default=0) or 1
    left, right = PLOT
    base, height = 98.0, 84.0
    n = len(h.counts)
    wide = (right - left) / n
    shapes = []
    for i, images in enumerate(h.counts):
        if images:
            tall = max(1.5, height * images / top)
            said = f"{text(h.edges[i])} – {text(h.edges[i + 1])}: {images:,}"
            shapes.append(_rect(left + i * wide + 0.5, base - tall, wide - 1, tall, "bar", said))
    middle = left + (right - left) * place(h.spread.median, low, high, h.logarithmic)
    shapes.append(_markup('<path class="median" d="M{:.1f} 8V{:.0f}"/>', middle, base))
    shapes.append(_markup('<path class="axis" d="M{:.0f} {:.0f}H{:.0f}"/>', left, base, right))
    shapes.append(_markup('<text class="tick" x="{:.0f}" y="11">{}</text>', left, f"{top:,}"))
    shapes += _ticks(h, tick, base)
    return svg(shapes, 120, name)


def _ticks(h: Histogram, tick: Text, base: float) -> list[Any]:
    left, right = PLOT
    out, end = [], -1e9
    for value in ticks(h.edges[0], h.edges[-1], h.logarithmic):
        x = left + (right - left) * place(value, h.edges[0], h.edges[-1], h.logarithmic)
        said = tick(value)
        half = 3.1 * len(said)
        x_text = min(max(x, half), WIDTH - half)
        if x_text - half < end + 8:
            continue  # two labels would touch
        end = x_text + half
        out.append(_markup('<path class="axis" d="M{:.1f} {:.0f}v4"/>', x, base))
        out.append(_markup('<text class="tick mid" x="{:.1f}" y="{:.0f}">{}</text>', x_text, base + 16, said))
    return out


def scatter(sizes: Sizes, *, name: str) -> Any:
    """Width over height, a disc whose area grows with the number of images of that size; few sizes are labelled."""
    xs, ys = [p[0] for p in sizes.points], [p[1] for p in sizes.points]
    logarithmic = max(xs + ys) > 6 * min(xs + ys)
    box_x, box_y = _range(xs, logarithmic), _range(ys, logarithmic)
    left, right, top, bottom = 52.0, 310.0, 10.0, 232.0
    most = max(n for *_, n in sizes.points)
    shapes = []
    for value in ticks(*box_x, logarithmic):
        x = left + (right - left) * place(value, *box_x, logarithmic)
        shapes.append(_markup('<path class="grid" d="M{:.1f} {:.0f}V{:.0f}"/>', x, top, bottom))
        shapes.append(_markup('<text class="tick mid" x="{:.1f}" y="{:.0f}">{:,.0f}</text>', x, bottom + 16, value))
    for value in ticks(*box_y, logarithmic):
        y = bottom - (bottom - top) * place(value, *box_y, logarithmic)
        shapes.append(_markup('<path class="grid" d="M{:.0f} {:.1f}H{:.0f}"/>', left, y, right))
        shapes.append(_markup('<text class="tick end" x="{:.0f}" y="{:.1f}">{:,.0f}</text>', left - 5, y + 4, value))
    for w, h, n in sorted(sizes.points, key=lambda p: -p[2]):
        x = left + (right - left) * place(w, *box_x, logarithmic)
        y = bottom - (bottom - top) * place(h, *box_y, logarithmic)
        radius = 2.2 + 9.8 * math.sqrt(n / most) * (most > 1)
        said = f"{w:,} × {h:,}: {n:,}"
        shapes.append(_markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>',
                              x, y, radius, said))  # fmt: skip
        if len(sizes.points) <= 4:
            below = y + radius + 14 if y < bottom - 40 else y - radius - 6
            shapes.append(_markup('<text class="said mid" x="{:.1f}" y="{:.1f}">{}</text>',
                                  min(max(x, 60), WIDTH - 60), below, said))  # fmt: skip
    shapes.append(_markup('<text class="tick mid" x="{:.0f}" y="266">width in pixels</text>', (left + right) / 2))
    shapes.append(_markup('<text class="tick mid" transform="translate(9 {:.0f}) rotate(-90)">height in pixels</text>',
                          (top + bottom) / 2))  # fmt: skip
    return svg(shapes, 270, name)


def _range(values: Sequence[int], logarithmic: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if logarithmic:
        return low / 1.25, high * 1.25
    air = max(0.12 * (high - low), 0.06 * high, 1)
    return max(0.0, low - air), high + air


def svg(shapes: Iterable[Any], height: int, name: str) -> Any:
    """Shapes as one figure, as wide as its place."""
    from markupsafe import Markup

    return _markup(
        '<svg class="fig" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>',
        WIDTH, height, name, Markup("").join(shapes),
    )  # fmt: skip


def stacked(parts: Mapping[str, int], most: int) -> Any:
    """One bar of several parts beside each other; `most` fills the whole width."""
    from markupsafe import Markup

    return _markup(
        '<span class="stack" aria-hidden="true">{}</span>',
        Markup("").join(
            _markup('<i class="s{}" style="width:{:.2f}%" title="{}"></i>', i, 100 * n / (most or 1), f"{name}: {n:,}")
            for i, (name, n) in enumerate(parts.items())
            if n
        ),
    )


def bars(rows: Sequence[tuple[str, float, str]]) -> Any:
    """(name, value, text) rows as a table with a bar each; the largest value fills the width."""
    from markupsafe import Markup

    most = max((value for _, value, _ in rows), default=0) or 1
    return _markup(
        '<table class="bars"><tbody>{}</tbody></table>',
        Markup("").join(
            _markup(
                '<tr><th scope="row">{}</th><td class="wide" aria-hidden="true"><span class="track plain">'
                '<i style="width:{:.2f}%"></i></span></td><td class="num">{}</td></tr>',
                name, 100 * value / most, said,
            )
            for name, value, said in rows
        ),
    )  # fmt: skip


def spreads(
    rows: Mapping[str, Spread], text: Text, *, low: float | None = None, high: float | None = None,
    logarithmic: bool = False,
) -> Any:  # fmt: skip
    """A line a class: from the 5 % to the 95 % quantile, a mark at the median, and the median as text."""
    from markupsafe import Markup

    low = min(s.low for s in rows.values()) if low is None else low
    high = max(s.high for s in rows.values()) if high is None else high
    lines = []
    for name, spread in rows.items():
        start, middle, end = (100 * place(v, low, high, logarithmic) for v in spread)
        said = f"{name}: 5 % below {text(spread.low)}, half below {text(spread.median)}, 95 % below {text(spread.high)}"
        lines.append(_markup(
            '<tr title="{}"><th scope="row"><bdi>{}</bdi></th><td class="wide" aria-hidden="true"><span class="track">'
            '<i style="left:{:.2f}%;width:{:.2f}%"></i><b style="left:{:.2f}%"></b></span></td>'
            '<td class="num">{}</td></tr>',
            said, name, start, max(0.6, end - start), middle, text(spread.median),
        ))  # fmt: skip
    return _markup('<table class="bars spreads"><tbody>{}</tbody></table>', Markup("").join(lines))


def _rect(x: float, y: float, width: float, height: float, role: str, said: str) -> Any:
    return _markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>',
        role, x, y, max(0.5, width), height, said,
    )  # fmt: skip


def _markup(form: str, *values: Any) -> Any:
    from markupsafe import Markup

    return Markup(form).format(*values)
