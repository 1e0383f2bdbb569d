from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.core.errors import AnmokError, UsageError, did_you_mean, near_path, nearest

SETTINGS = [
    "model.name",
    "optim.name",
    "optim.lr",
    "epochs",
    "split.test",
    "augment.policy",
    "training.checkpoint_every",
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lr", ["optim.lr"]),
        ("name", ["model.name", "optim.name"]),
        ("epoch", ["epochs"]),
        ("optim.lrr", ["optim.lr"]),
        ("checkpoint", ["training.checkpoint_every"]),
        ("zzz", []),
        ("", []),
    ],
)
def test_nearest_by_last_part_then_by_spelling_then_by_part(name: str, expected: list[str]) -> None:
    assert nearest(name, SETTINGS)[: len(expected)] == expected
    assert bool(nearest(name, SETTINGS)) == bool(expected)


@given(st.sampled_from(SETTINGS), st.integers(1, 5))
def test_a_name_is_nearest_to_itself(name: str, n: int) -> None:
    found = nearest(name, SETTINGS, n)
    assert found[0] == name
    assert len(found) == len(set(found)) <= n


def test_did_you_mean_lists_a_few_and_is_silent_about_many() -> None:
    assert did_you_mean("tset", ["train", "val", "test"]) == "Did you mean test?"
    assert did_you_mean("x", ["a", "b"]) == "Known: a, b."
    assert did_you_mean("x", [f"n{i}" for i in range(13)]) == ""


def test_near_path_looks_into_the_folder(tmp_path: Path) -> None:
    for name in ("trashnet", "photos"):
        (tmp_path / name).mkdir()
    assert near_path(tmp_path / "trahsnet") == "Did you mean trashnet? "
    assert near_path(tmp_path / "zzz") == ""
    assert near_path(tmp_path / "none" / "x") == ""


def test_an_error_reads_where_what_and_what_to_do() -> None:
    error = UsageError("no such thing.", where="--x", remedy="Take --y.", code="z")
    assert str(error) == "--x: no such thing. Take --y."
    assert (error.code, error.exit_code) == ("z", 2)
    assert str(AnmokError("plain.")) == "plain."
