"""A page's content with every part filled, for the tests of the audit's page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anmok.report.audit_content import (
    AuditContent,
    Group,
    Histogram,
    Image,
    Listed,
    Mean,
    Picture,
    Row,
    Sheet,
    Shortcut,
    Sizes,
    Spread,
)
from anmok.report.audit_kinds import KINDS, kind_of
from anmok.report.thumbnails import thumbnail

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}{% raw %}",
    "<!--<script>",
    "' onload=alert(1) x='",
    "=cmd|' /C calc'!A0",
    "{0}{name!r}%s",
]


def a_picture(seed: int) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Picture(thumbnail(pixels, 16), 16, 12)


def filled(classes: Sequence[str] = ("cat", "dog"), text: str = "a text") -> AuditContent:
    """Every section with something in it; each kind of finding has two findings shown, one told, and 40 in all."""
    shown = {
        f"{n}": Image(
            f"{text}/{n}.jpg", classes[n % len(classes)], "train" if n % 2 else "test", a_picture(n),
            ("384 × 512", text), [("dark", f"evidence of {text} {n}")],
        )
        for n in range(8)
    }  # fmt: skip
    shown["lost"] = Image(f"{text}/lost.jpg")
    listed = []
    for kind in KINDS:
        keys = ["1", "2"] if kind_of(kind).one == "pair" else ["3"]
        rows = [
            Row(keys, 0.123456, f"shown {text}", f"relabel:{text}", [text]),
            Row(["lost"], 2.0, text, "keep", [text]),
        ]
        names = [] if kind in ("shortcut", "imbalance") else [f"named {text}"]
        told = Row([], 1234567.0, f"told {text}", "", names)
        listed.append(Listed(kind, 40, rows if kind_of(kind).pictures else [], [told]))
    spread = {name: Spread(0.1, 0.5, 0.7 + 0.01 * i) for i, name in enumerate(classes)}
    return AuditContent(
        title=f"set {text}",
        task="multiclass",
        images=12345,
        readable=12340,
        classes={name: 11 * (i + 1) for i, name in enumerate(classes)},
        counts={split: {name: 7 + i for i, name in enumerate(classes)} for split in ("train", "test")},
        splits={"train": 9001, "test": 3344},
        duplicates=77,
        groups=33,
        seconds=9.87,
        found=dict.fromkeys(KINDS, 40),
        shown=shown,
        fields=["size", text],
        sheets=[Sheet(name, 4321, ["0", "4", "5"]) for name in classes],
        means=[Mean(name, 60, a_picture(90 + i)) for i, name in enumerate(classes)],
        listed=listed,
        same=[Group([("6", [("label", text)]), ("7", [("label", "other")])], 9, [f"same {text}"])] * 8,
        sizes=Sizes([(640, 480, 900), (100, 2000, 1), (32, 32, 50)], 4711),
        histograms=[
            Histogram("brightness", [0.0, 0.5, 1.0], [3, 5], False, Spread(0.11, 0.55, 0.99), spread),
            Histogram("bytes", [10.0, 1000.0, 100000.0], [3, 0], True, Spread(20, 3000, 90000), {}),
            Histogram("jpeg_quality", [79.5, 80.5], [9], False, Spread(80, 80, 80), {}),
        ],
        forms={"format": {"JPEG": 12340}, "mode": {"RGB": 12000, text: 340}},
        shortcuts=[
            Shortcut("bytes", 0.41, 0.17, 0.01, classes[0], f"bytes tells {text}", spread, {}),
            Shortcut("format", 0.3, 0.17, 0.02, classes[0], text, {}, {classes[0]: {text: 0.75}}),
            Shortcut("aspect", 0.18, 0.17, 0.9, "", "", spread, {}),
        ],
        memory={"the files": 62_400_000, "all pixels, float32": 5_961_940_992},
        fits=f"of free memory, half holds {text}.",
        notes=[f"note {text}"],
        warnings=[f"warned {text}"],
        facts={"mean of red, green, blue": "0.6726, 0.6397, 0.6045", text: text},
    )
