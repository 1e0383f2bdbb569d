"""A font for drawn pictures that can write what they say, Hangul included; and what is written where none can."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from anmok.core.errors import MachineError

if TYPE_CHECKING:
    from PIL import ImageFont

# File names of fonts with Hangul, as Linux, Windows and macOS have them, then of one with many other scripts.
KNOWN = (
    "NotoSansCJK-Regular.ttc", "NotoSansKR-Regular.otf", "NotoSansKR-Regular.ttf", "NotoSansCJKkr-Regular.otf",
    "NanumGothic.ttf", "NanumBarunGothic.ttf", "Pretendard-Regular.otf", "malgun.ttf", "AppleSDGothicNeo.ttc",
    "UnDotum.ttf", "DroidSansFallbackFull.ttf", "arialuni.ttf", "DejaVuSans.ttf", "Arial.ttf",
)  # fmt: skip
SIZE = 16  # pixels at which is tried whether a font has a character
_PLAIN = {"×": "x", "–": "-", "—": "-", "−": "-", "…": "...", "·": "-", "°": " deg"}
_NOBODY = "\U0010fffe"  # a code point that no font may draw: its picture is that of a missing character


class Writer:
    """Fonts of any size of one family, and texts that it can write.

    Pillow's own font is taken if it can write all of `texts`, else the first font found that can, else the one that
    lacks the fewest of their characters. missing: those it lacks; unspelled: of them, what changes when it is replaced.
    """

    def __init__(self, texts: Iterable[str]):
        characters = sorted({c for text in texts for c in text if not c.isspace()})
        self._family, self.missing = _family("".join(characters))
        self.unspelled = "".join(sorted(c for c in self.missing if c not in _PLAIN))

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """The font at a size in pixels."""
        return _open(self._family, size)

    def text(self, text: str) -> str:
        """The text with characters the font lacks spelled out (Hangul by its sound), or '?' where nothing says how."""
        return "".join(_spelled(c) if c in self.missing else c for c in text)


def _family(characters: str) -> tuple[str, frozenset[str]]:
    """(name of the font, '' for Pillow's own; the characters it lacks)."""
    found: list[tuple[str, frozenset[str]]] = []
    for name in ("", *KNOWN):
        try:
            lacking = frozenset(c for c in characters if not _has(name, c))
        except OSError:  # not on this machine
            continue
        if not lacking:
            return name, lacking
        found.append((name, lacking))
    return min(found, key=lambda item: len(item[1]))


@lru_cache(maxsize=64)
def _open(name: str, size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise MachineError("Pillow was built without FreeType and cannot write.", code="missing-package")
    return font


@lru_cache(maxsize=65536)
def _has(name: str, character: str) -> bool:
    """Whether a font draws a character otherwise than one it lacks."""
    return _drawn(name, character) != _drawn(name, _NOBODY)


def _drawn(name: str, character: str) -> tuple[tuple[int, int], bytes]:
    mask = _open(name, SIZE).getmask(character)
    return mask.size, bytes(mask)


def _spelled(character: str) -> str:
    """유 as 'yu', é as 'e', × as 'x'; '?' for what has no such name."""
    if character in _PLAIN:
        return _PLAIN[character]
    name = unicodedata.name(character, "")
    if name.startswith("HANGUL SYLLABLE "):
        return name.removeprefix("HANGUL SYLLABLE ").lower()
    plain = unicodedata.normalize("NFKD", character)[:1]
    return plain if plain.isascii() and plain.isprintable() else "?"
