"""Classes and prompts in words, and the vectors made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.errors import UsageError
from anmok.nshot.prompts import PROMPTS, ClassText, class_vectors, known_wordings, read_classes, read_prompts


def fake(texts: list[str]) -> np.ndarray:
    """A unit vector float32[M, 8] for each text, by its letters."""
    rows = np.array([np.random.default_rng(sum(map(ord, t)) + len(t)).normal(size=8) for t in texts])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_classes_with_several_wordings(tmp_path: Path) -> None:
    wanted = [ClassText("유리", ("유리", "glass")), ClassText("종이", ("종이",))]
    file = tmp_path / "classes.txt"
    file.write_text("\ufeff# what there is\n유리| glass\n\n종이\n", encoding="utf-8")
    assert read_classes("유리|glass, 종이") == read_classes(["유리|glass", "종이"]) == read_classes(str(file)) == wanted


@pytest.mark.parametrize("given", ["glass,,paper", "glass,Glass", "glass|can,can", "glass", "", "|a,b", "missing.txt"])
def test_classes_that_cannot_be(given: str) -> None:
    with pytest.raises(UsageError):
        read_classes(given)


def test_prompts(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a photo of {}\na  drawing of {}\n", encoding="utf-8")
    assert (
        read_prompts(str(file))
        == read_prompts("a photo of {} ; a drawing of {}")
        == ("a photo of {}", "a drawing of {}")
    )
    assert read_prompts(None) == PROMPTS
    assert all(p.count("{}") == 1 for p in PROMPTS)


@pytest.mark.parametrize("given", ["", "a photo", "{} and {}", "a {} ; ", "a {name}", "{0} {}", []])
def test_prompts_that_cannot_be(given: str | list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        read_prompts(given)
    assert caught.value.code == "prompt"


def test_vectors_by_hand() -> None:
    classes = [ClassText("a", ("a", "bb")), ClassText("c", ("c",))]
    found = class_vectors(fake, classes, ("x {}", "{} y"))
    mean = fake(["x a", "a y", "x bb", "bb y"]).astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-6)
    mean = fake(["x c", "c y"]).astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found[1], mean / np.linalg.norm(mean), atol=1e-6)


@given(st.lists(st.text("abcdefg", min_size=1, max_size=5), min_size=2, max_size=6, unique=True), st.integers(0, 5))
def test_the_order_of_classes_and_prompts_does_not_matter(names: list[str], turn: int) -> None:
    classes = [ClassText(n, (n,)) for n in names]
    turned = classes[turn % len(classes) :] + classes[: turn % len(classes)]
    vectors = dict(zip(names, class_vectors(fake, classes, ("x {}", "{} y")), strict=True))
    for one, vector in zip(turned, class_vectors(fake, turned, ("{} y", "x {}")), strict=True):
        np.testing.assert_allclose(vector, vectors[one.name], atol=1e-6)
        assert abs(np.linalg.norm(vector) - 1) < 1e-6


def test_a_wording_the_model_does_not_know_gives_way() -> None:
    classes = [ClassText("유리", ("유리", "glass")), ClassText("종이", ("종이",)), ClassText("can", ("can",))]
    kept, said = known_wordings(classes, lambda text: not text.isascii())
    assert kept == [ClassText("유리", ("glass",)), classes[1], classes[2]]
    assert len(said) == 2
    assert "glass" in said[0]
    assert said[1].startswith("종이")
