"""Byte pairs: learned as by a naive count, and able to spell anything."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.errors import DataError
from anmok.models.text_tokens import BYTES, END, FIRST, PAD, START, Tokenizer, joined, learn_tokenizer, words_of

CAPTIONS = ["a red can", "a red circle", "찌그러진 캔", "찌그러진 병", "a green can, crushed"]


def naive(texts: list[str], merges: int) -> list[tuple[int, int]]:
    """Every pair counted anew for each step."""
    counts = Counter(word for text in texts for word in words_of(text))
    spelled = {word: [BYTES + b for b in word.encode()] for word in counts}
    learned: list[tuple[int, int]] = []
    while len(learned) < merges:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, tokens in spelled.items():
            for left, right in pairwise(tokens):
                pairs[left, right] += counts[word]
        best = min(pairs, key=lambda p: (-pairs[p], p), default=None)
        if best is None or pairs[best] < 2:
            break
        learned.append(best)
        spelled = {word: joined(tokens, best, FIRST + len(learned) - 1) for word, tokens in spelled.items()}
    return learned


def test_a_hand_count() -> None:
    tokenizer = learn_tokenizer(["aab aab ab"], merges=10)
    a, b = BYTES + ord("a"), BYTES + ord("b")
    assert tokenizer.merges == [(a, b), (a, FIRST)]  # 'ab' three times, then 'a' + 'ab' twice
    tokens, cut = tokenizer.encode(["aab ab"])
    assert tokens[0, :5].tolist() == [START, FIRST + 1, FIRST, END, PAD]
    assert cut == 0


@given(st.lists(st.text("abc 가나", max_size=12), max_size=6))
def test_learned_as_naively(texts: list[str]) -> None:
    assert learn_tokenizer(texts, 20).merges == naive(texts, 20)


@given(st.text(max_size=40))
def test_any_text_can_be_spelled_and_read_back(text: str) -> None:
    tokenizer = learn_tokenizer(CAPTIONS, 100, length=500)
    tokens, cut = tokenizer.encode([text])
    assert cut == 0
    clean = text.encode("utf-8", "replace").decode()
    assert tokenizer.decode(tokens[0]) == "".join(words_of(clean))
    assert (tokens < tokenizer.size).all()


def test_korean_words_become_tokens() -> None:
    tokenizer = learn_tokenizer(CAPTIONS, 200)
    tokens, _ = tokenizer.encode(["찌그러진 캔"])
    assert (tokens[0] != PAD).sum() <= 3 + 3  # the first word is one token; the second, seen once, its three bytes
    assert tokenizer.encode(["A RED Can"])[0].tolist() == tokenizer.encode(["a red can"])[0].tolist()


def test_what_is_too_long_is_cut_and_counted() -> None:
    tokenizer = Tokenizer([], length=5)
    tokens, cut = tokenizer.encode(["abcdef", "ab"])
    assert cut == 1
    assert tokens[:, -1].tolist() == [END, PAD]


def test_saved_and_loaded() -> None:
    tokenizer = learn_tokenizer(CAPTIONS, 50, length=20)
    again = Tokenizer.from_dict(tokenizer.to_dict())
    assert np.array_equal(again.encode(CAPTIONS)[0], tokenizer.encode(CAPTIONS)[0])
    with pytest.raises(DataError, match="does not have"):
        Tokenizer.from_dict(tokenizer.to_dict() | {"merges": [[FIRST + 7, 4]]})
    with pytest.raises(DataError, match="damaged"):
        Tokenizer.from_dict({"version": 1, "type": "byte-pairs"})
    with pytest.raises(DataError, match="version"):
        Tokenizer.from_dict(tokenizer.to_dict() | {"version": 2})
