"""Every kind of finding: what it means, what is proposed to be done, and whether it makes training unsafe."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """text: one line for people; decision: proposed ('keep', 'drop', 'group'); unsafe: the measured accuracy of a model
    trained on it would be wrong.
    """

    text: str
    decision: str = "keep"
    unsafe: bool = False


KINDS: dict[str, Kind] = {
    "unreadable": Kind("The bytes are no image, or a damaged one.", "drop"),
    "truncated": Kind("The file ends before its picture does.", "drop"),
    "empty": Kind("The file has no bytes.", "drop"),
    "too-large": Kind("The header claims more pixels than are ever decoded.", "drop"),
    "unsupported-format": Kind("A format that is not opened (PSD, SVG, PDF, …).", "drop"),
    "io-error": Kind("The system could not read the file.", "drop"),
    "skipped": Kind("No regular file, or a folder met a second time."),
    "outside-link": Kind("A link that leads outside the source."),
    "name-collision": Kind("Names that differ by case only: one file on many systems."),
    "odd-name": Kind("A name with control characters, undecodable bytes, the start of a formula, or of excess length."),
    "wrong-extension": Kind("The name says another format than the bytes."),
    "exact-duplicate": Kind("The same bytes twice.", "group"),
    "exact-pixels": Kind("The same pixels in two files.", "group"),
    "near-duplicate": Kind("The same picture, changed a little.", "group"),
    "conflicting-labels": Kind("The same picture under two labels.", "drop", unsafe=True),
    "leakage": Kind("The same picture on two sides of the split.", "group", unsafe=True),
    "dark": Kind("So dark that little can be seen."),
    "bright": Kind("So bright that little can be seen."),
    "low-contrast": Kind("All of it is nearly the same grey."),
    "blurry": Kind("Out of focus or moved: not one sharp edge."),
    "low-information": Kind("Hardly anything in the picture."),
    "grey": Kind("A grey picture in a set of colour pictures."),
    "odd-size": Kind("Far smaller or larger than most, or tiny."),
    "odd-aspect": Kind("A long strip."),
    "bit-depth": Kind("Not 8 bits a channel."),
    "alpha": Kind("Has transparency; it is laid on one colour."),
    "rotated": Kind("Turned by its EXIF orientation, which is applied."),
    "animated": Kind("Several pictures in one file; the first is used."),
    "colour-mode": Kind("Not grey or RGB; it is converted to sRGB."),
    "bad-profile": Kind("Its colour profile is broken and ignored."),
    "imbalance": Kind("The largest class is many times the smallest."),
    "tiny-class": Kind("A class of very few images."),
    "unlabelled": Kind("No label."),
    "shortcut": Kind(
        "A property beside the content tells the label better than chance: a model may learn that instead."
    ),
    "suspect-label": Kind("Models that never saw the image believe another label."),
}
FAULTS = ("unreadable", "truncated", "empty", "too-large", "unsupported-format", "io-error")
COPIES = ("exact-duplicate", "exact-pixels", "near-duplicate")
UNSAFE = tuple(name for name in ("leakage", "conflicting-labels") if KINDS[name].unsafe)


def decision(kind: str) -> str:
    """What is proposed for findings of a kind: 'drop', 'group' or 'keep'."""
    return KINDS[kind].decision if kind in KINDS else "keep"
