"""Text as numbers: byte pairs learned from the user's own captions, so that any language has a spelling.

Sennrich, Haddow & Birch 2016, "Neural Machine Translation of Rare Words with Subword Units", arXiv:1508.07909, over the
bytes of UTF-8: a word that was never seen, or a script, falls apart into smaller pieces and never into "unknown".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from anmok.core.errors import DataError

PAD, START, END = 0, 1, 2
BYTES = 3  # the number of the byte 0; the learned pairs follow the byte 255
FIRST = BYTES + 256
VERSION = 1
_WORDS = re.compile(r"\w+|[^\w\s]+")


def words_of(text: str) -> list[str]:
    """The words and marks of a text: NFC, case folded, so that 'A Can' and 'a can' are spelled alike."""
    return _WORDS.findall(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()))


class Tokenizer:
    """Texts to int64[N, length], rows START … END, filled up with PAD.

    merges: pairs of token numbers in the order in which they were learned; the i-th makes the token FIRST + i.
    length: of a row; what is longer is cut, its END kept.
    """

    def __init__(self, merges: Sequence[tuple[int, int]], length: int = 32):
        self.merges, self.length = [(int(a), int(b)) for a, b in merges], length
        self._rank = {pair: i for i, pair in enumerate(self.merges)}
        self._known: dict[str, list[int]] = {}

    @property
    def size(self) -> int:
        """Token numbers there are: rows of an embedding."""
        return FIRST + len(self.merges)

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """(int64[N, length], how many of the texts were cut)."""
        out = np.full((len(texts), self.length), PAD, np.int64)
        cut = 0
        for row, text in zip(out, texts, strict=True):
            tokens = [t for word in words_of(text) for t in self._word(word)]
            cut += len(tokens) > self.length - 2
            tokens = [START, *tokens[: self.length - 2], END]
            row[: len(tokens)] = tokens
        return out, cut

    def decode(self, tokens: Iterable[int]) -> str:
        """The letters of token numbers, without the spaces between words."""
        return b"".join(self._bytes(int(t)) for t in tokens).decode("utf-8", "replace")

    def _bytes(self, token: int) -> bytes:
        if token < FIRST:
            return bytes([token - BYTES]) if token >= BYTES else b""
        a, b = self.merges[token - FIRST]
        return self._bytes(a) + self._bytes(b)

    def _word(self, word: str) -> list[int]:
        """The tokens of a word: the pair that was learned first is joined first."""
        if word in self._known:
            return self._known[word]
        tokens = [BYTES + byte for byte in word.encode("utf-8", "replace")]
        while len(tokens) > 1:
            rank, pair = min((self._rank.get(p, len(self._rank)), p) for p in pairwise(tokens))
            if rank == len(self._rank):
                break
            tokens = joined(tokens, pair, FIRST + rank)
        self._known[word] = tokens
        return tokens

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for tokenizer.json."""
        return {
            "version": VERSION, "type": "byte-pairs", "length": self.length, "merges": [list(p) for p in self.merges]
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "tokenizer.json") -> Tokenizer:
        """What `to_dict` gave.  DataError where it is damaged or of another version."""
        try:
            if values["version"] != VERSION or values["type"] != "byte-pairs":
                raise DataError("its version is not known here.", where=where, code="version")
            merges = [(int(a), int(b)) for a, b in values["merges"]]
            length = int(values["length"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"the tokenizer is damaged ({error}).", where=where, code="damaged") from error
        if length < 3 or any(not 0 <= t < FIRST + i for i, pair in enumerate(merges) for t in pair):
            raise DataError("the tokenizer names tokens that it does not have.", where=where, code="damaged")
        return cls(merges, length)


def joined(tokens: Sequence[int], pair: tuple[int, int], new: int) -> list[int]:
    """The tokens with every occurrence of the pair, from the left, replaced by one token."""
    out: list[int] = []
    i = 0
    while i < len(tokens):
        if i + 1 < len(tokens) and (tokens[i], tokens[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(tokens[i])
            i += 1
    return out


def learn_tokenizer(texts: Iterable[str], merges: int = 2000, length: int = 32) -> Tokenizer:
    """Learn up to so many pairs: again and again the most frequent neighbours within words become one token.

    Of equally frequent pairs the smaller numbers go first, so that the same captions give the same tokenizer. A pair
    that occurs once only, over all texts, is not joined.
    """
    counts = Counter(word for text in texts for word in words_of(text))
    spelled = [[BYTES + byte for byte in word.encode("utf-8", "replace")] for word in counts]
    times = list(counts.values())
    pairs: Counter[tuple[int, int]] = Counter()
    places: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for i, tokens in enumerate(spelled):
        for pair in pairwise(tokens):
            pairs[pair] += times[i]
            places[pair].add(i)
    learned: list[tuple[int, int]] = []
    while len(learned) < merges and pairs:
        best = max(pairs, key=lambda p: (pairs[p], -p[0], -p[1]))
        if pairs[best] < 2:
            break
        new = FIRST + len(learned)
        learned.append(best)
        for i in sorted(places.pop(best)):
            for pair in pairwise(spelled[i]):
                pairs[pair] -= times[i]
            spelled[i] = joined(spelled[i], best, new)
            for pair in pairwise(spelled[i]):
                pairs[pair] += times[i]
                places[pair].add(i)
        pairs = +pairs  # those that are gone
    return Tokenizer(learned, length)
