from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.errors import UsageError
from anmok.core.text import printable, visible
from anmok.core.types import Evaluation, Predictions


def test_each_prediction_prints_on_one_line() -> None:
    ids = ["a\nb.png", "\udcff.png", "bad.png", "유리.png"]
    probs = np.array([[0.75, 0.25], [0.25, 0.75], [np.nan, np.nan], [0.5, 0.5]], np.float32)
    found = Predictions(ids, ["cat", "do\ng"], probs, errors={"bad.png": "truncated: the PNG is cut off."})
    text = repr(found)
    assert text.splitlines() == [
        "Predictions: 4 images, 2 classes (multiclass)",
        "  a\\nb.png: cat (0.750)",
        "  \\udcff.png: do\\ng (0.750)",
        "  bad.png: no answer, truncated: the PNG is cut off.",
        "  유리.png: cat (0.500)",
    ]
    text.encode()


def test_no_label_of_several_is_said() -> None:
    found = Predictions(["a"], ["x", "y"], np.array([[0.1, 0.2]], np.float32), task="multilabel")
    assert repr(found).splitlines()[1] == "  a: none of the classes (0.200)"


@given(st.text())
def test_visible_text_is_one_encodable_line_and_plain_text_stays(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    if text.isprintable():
        assert shown == text


def test_a_name_cannot_command_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from anmok.core import progress

    assert printable("a\x1b[2J\r\u202e\ud800\tb\n12\u00a0% 유리") == "a\\x1b[2J\\r\\u202e\\ud800\tb\n12\u00a0% 유리"
    assert str(UsageError("no \x1b]0;x\x07.", where="\udcff.png")) == "\\udcff.png: no \\x1b]0;x\\x07."
    monkeypatch.delenv("ANMOK_QUIET", raising=False)
    told: list[str] = []
    monkeypatch.setattr(progress.console, "print", lambda text, **_: told.append(text))
    progress.warn("\x1b[31mred")
    assert told == ["warning: \\x1b[31mred"]


@pytest.mark.parametrize(("split", "head"), [("test", "Evaluation of 3 test images"), ("", "Evaluation of 3 images")])
def test_an_evaluation_of_no_split(split: str, head: str) -> None:
    assert repr(Evaluation({"n": 3, "split": split, "task": "binary", "metrics": {}})).startswith(f"{head} (binary)")
