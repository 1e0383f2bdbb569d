"""The kinds of findings of an audit, in words: what each shows, what to do about it, and how grave it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from anmok.report.words import count

Level = Literal["unsafe", "fix", "look", "know"]
LEVELS: tuple[Level, ...] = ("unsafe", "fix", "look", "know")


class Kind(NamedTuple):
    """A kind of finding: heading, what it shows, what to do (commands in `…`), how grave it is, what one is called.

    worst: whether the highest or the lowest score comes first, or the one furthest from 1; pictures: how many findings
    are shown with their images, half of them folded away where there are more.
    """

    title: str
    shows: str
    do: str
    level: Level = "look"
    one: str = "image"
    many: str = ""
    worst: Literal["high", "low", "far"] = "high"
    pictures: int = 12


# Gravest first: the order of the page, and of the advice on top of it.
KINDS: dict[str, Kind] = {
    "leakage": Kind(
        "The same image, or nearly, in two splits",
        "A model would be tested on what it has learned, and its score would be too good.",
        "Split again with duplicates kept together: `anmok split DATA --audit AUDIT --split ignore`.",
        "unsafe", "pair", pictures=24,
    ),
    "conflicting-labels": Kind(
        "The same image, or nearly, under two labels",
        "At least one of the labels is wrong, and a model is taught a contradiction.",
        "Decide which label is right; until then these images are left out.",
        "unsafe", "pair", pictures=24,
    ),
    "name-collision": Kind(
        "Names that differ only in case or form",
        "On another system these become one file, or the wrong one is opened.",
        "Rename them.",
        "fix", "name", pictures=0,
    ),
    "unreadable": Kind(
        "Files that are no readable image",
        "They are damaged, or something else that is named like an image.",
        "Fetch them anew, or drop them: `--drop unreadable`.",
        "fix", "file", pictures=0,
    ),
    "truncated": Kind(
        "Images that are cut off",
        "The end of the file is missing; what is left is shown.",
        "Fetch them anew, or drop them: `--drop truncated`.",
        "fix", "file",
    ),
    "empty": Kind("Empty files", "There is nothing in them.", "Drop them: `--drop empty`.", "fix", "file", pictures=0),
    "io-error": Kind(
        "Files that cannot be opened",
        "The system refuses to read them.",
        "Check that they exist and may be read.",
        "fix", "file", pictures=0,
    ),
    "too-large": Kind(
        "Images too large to open",
        "Their header claims more pixels than any image that is opened.",
        "Make them smaller, or drop them: `--drop too-large`.",
        "fix", "file", pictures=0,
    ),
    "unsupported-format": Kind(
        "Formats that are not read",
        "These files are images of a kind that is not opened.",
        "Convert them to PNG or JPEG.",
        "fix", "file", pictures=0,
    ),
    "suspect-label": Kind(
        "Labels that are probably wrong",
        "A model that never saw the image finds another label much likelier than the given one.",
        "Look at each, surest first, and correct or keep it.",
        "look", pictures=24,
    ),
    "shortcut": Kind(
        "Shortcuts",
        "A property of the file or the light tells the classes apart, so a model may learn it in place of the content.",
        "Find out why, and take images of every class alike; a score on this set alone will be too good.",
        "look", "property", "properties", pictures=0,
    ),
    "tiny-class": Kind(
        "Classes with very few images",
        "There is too little to learn such a class from, and too little to measure it by.",
        "Add images, or merge or drop the class.",
        "look", "class", "classes", "low", 8,
    ),
    "imbalance": Kind(
        "Classes of very different size",
        "A model that neglects the small classes looks good all the same.",
        "Judge by balanced accuracy, and consider balanced sampling.",
        "look", "ratio", pictures=0,
    ),
    "unlabelled": Kind(
        "Images without a label",
        "They take no part in training or in its score.",
        "Label them, or leave them.",
        "look", pictures=0,
    ),
    "exact-duplicate": Kind(
        "Copies of the same file",
        "Every byte is the same.",
        "Keep one of each: `--drop exact-duplicate`.",
        "look", "pair",
    ),
    "exact-pixels": Kind(
        "The same picture in different files",
        "The files differ, the pixels do not.",
        "Keep one of each: `--drop exact-pixels`.",
        "look", "pair",
    ),
    "near-duplicate": Kind(
        "Almost the same picture",
        "The same photo in another size, quality or crop, or the next one of a series.",
        "Keep each group on one side: `anmok split DATA --audit AUDIT --split ignore` does.",
        "look", "pair",
    ),
    "dark": Kind(
        "Dark images", "Little can be seen in them.",
        "Drop what nobody could label; keep what will also be met in use.", worst="low",
    ),
    "bright": Kind(
        "Bright images", "They are almost white.", "Drop what nobody could label; keep what will also be met in use."
    ),
    "low-contrast": Kind(
        "Flat images", "Light and dark hardly differ.", "Look whether anything is on them.", worst="low"
    ),
    "blurry": Kind(
        "Blurry images", "They hold no sharp edge.", "Keep them if images in use are blurry too, else drop them.",
        worst="low",
    ),
    "low-information": Kind(
        "Images with hardly any content", "They are almost of one colour.", "Look whether anything is on them.",
        worst="low",
    ),
    "odd-size": Kind(
        "Images of an odd size", "They are far smaller or larger than the others.",
        "Small ones lack detail: drop them if they cannot be recognised.", worst="far",
    ),
    "odd-aspect": Kind(
        "Images of an odd shape", "They are far longer than wide, or the reverse.",
        "Crop them, or have them padded: squeezed to a square they are distorted.",
    ),
    "grey": Kind(
        "Grey images in a colour set", "They hold no colour.",
        "Fine if images in use may be grey; else look where they come from.", worst="low",
    ),
    "wrong-extension": Kind(
        "Files named as another format", "They are read by what they hold, so nothing breaks here.",
        "Rename them if other programs will read them.", "know", "file", pictures=6,
    ),
    "rotated": Kind(
        "Images turned by their camera", "Their EXIF orientation is applied here.",
        "See that other programs apply it too.", "know", pictures=6,
    ),
    "alpha": Kind(
        "Images with transparency", "They are laid on one colour.", "See that the colour suits.", "know", pictures=6
    ),
    "animated": Kind("Animations", "Only the first picture is used.", "See that it is the right one.", "know",
                     pictures=6),
    "bit-depth": Kind(
        "More or fewer than 8 bits a channel", "They are scaled to 8 bits by their range.",
        "See that they look right.", "know", pictures=6,
    ),
    "colour-mode": Kind(
        "Images made for print", "Their colours (CMYK, Lab, …) are converted to sRGB.", "See that they look right.",
        "know", pictures=6,
    ),
    "bad-profile": Kind(
        "Broken colour profiles", "The profile is ignored, so colours may be a little off.",
        "See that they look right.", "know", pictures=6,
    ),
    "outside-link": Kind(
        "Links that lead out of the folder", "They are not followed.", "Allow links if they are meant.", "know",
        "link", pictures=0,
    ),
    "odd-name": Kind(
        "Odd file names", "Other systems or spreadsheets may stumble over them.", "Rename them where that matters.",
        "know", "file", pictures=0,
    ),
    "skipped": Kind(
        "Files that were passed over", "They are hidden, or no images.", "Nothing, if that is right.", "know", "file",
        pictures=0,
    ),
}  # fmt: skip
SAME = ("exact-duplicate", "exact-pixels", "near-duplicate")
BALANCE = ("tiny-class", "imbalance", "unlabelled")


def kind_of(name: str) -> Kind:
    """A kind by name; one that is not described is shown by its name."""
    return KINDS.get(name) or Kind(name.replace("-", " ").capitalize(), "", "Look at them.")


def counted(name: str, n: int) -> str:
    """'3 pairs', '1 file': so many findings of a kind."""
    kind = kind_of(name)
    return count(n, kind.one, kind.many or None)


def ordered(found: Mapping[str, int]) -> list[str]:
    """The kinds found, gravest first."""
    places = {name: i for i, name in enumerate(KINDS)}
    return sorted((k for k, n in found.items() if n), key=lambda k: (LEVELS.index(kind_of(k).level),
                                                                     places.get(k, len(places))))  # fmt: skip
