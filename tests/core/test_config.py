from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from anmok.core.config import Config, dump_toml, leaves, resolve
from anmok.core.errors import UsageError


class Optim(Config):
    name: Literal["sgd", "adamw", "muon"] = "sgd"
    lr: float = Field(default=0.1, gt=0, description="Learning rate.")
    clip: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)


class Inner(Config):
    depth: int = 1


class Model(Config):
    name: str = "resnet18"
    weights: Literal["none", "pretrained"] | str = "none"
    inner: Inner = Inner()
    tags: list[str] = Field(default=[])


class Tree(Config):
    epochs: int = 10
    out: str | None = None
    model: Model = Model()
    optim: Optim = Optim()


def test_every_leaf_is_listed_with_its_short_name() -> None:
    found = {leaf.path: leaf for leaf in leaves(Tree)}
    assert set(found) == {
        "epochs", "out", "model.name", "model.weights", "model.inner.depth", "model.tags",
        "optim.name", "optim.lr", "optim.clip", "optim.betas",
    }  # fmt: skip
    assert found["model.name"].short == "model"
    assert (found["optim.lr"].default, found["optim.lr"].help) == (0.1, "Learning rate.")


@pytest.mark.parametrize(
    "layer",
    [
        {"optim.lr": 0.5, "model": "vit", "model.inner.depth": 3},
        {"optim": {"lr": 0.5}, "model.name": "vit", "model": {"inner": {"depth": 3}}},
        {"optim": {"lr": "0.5"}, "model": {"name": "vit", "inner.depth": "3"}},
    ],
)
def test_paths_short_names_and_sections_name_the_same(layer: dict[str, Any]) -> None:
    tree = resolve(Tree, layer)
    assert (tree.optim.lr, tree.model.name, tree.model.inner.depth) == (0.5, "vit", 3)


def test_a_later_layer_wins_and_all_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('epochs = 1\nout = "file"\n[optim]\nlr = 0.01\nname = "adamw"\n')
    tree = resolve(Tree, {"epochs": 2, "optim.lr": 0.02}, {"epochs": 3}, file=file)
    assert (tree.epochs, tree.optim.lr, tree.optim.name, tree.out) == (3, 0.02, "adamw", "file")
    assert tree.optim.betas == (0.9, 0.999)


def test_none_unsets_only_what_may_be_unset() -> None:
    assert resolve(Tree, {"optim.clip": "2"}, {"optim.clip": "none"}).optim.clip is None
    assert resolve(Tree, {"weights": "none"}).model.weights == "none"
    with pytest.raises(UsageError, match=r"epochs: .*found 'none'"):
        resolve(Tree, {"epochs": "none"})


def test_lists_from_a_flag() -> None:
    assert resolve(Tree, {"model.tags": "a, b"}).model.tags == ["a", "b"]
    assert resolve(Tree, {"optim.betas": "0.8,0.9"}).optim.betas == (0.8, 0.9)
    assert resolve(Tree, {"model.tags": ["a,b"]}).model.tags == ["a,b"]


def test_dashes_and_underscores() -> None:
    class Dashed(Config):
        batch_size: int = 1

    assert resolve(Dashed, {"batch-size": 4}).batch_size == 4


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"optim.lrr": 1}, r"optim\.lrr: no such setting\. Did you mean optim\.lr,"),
        ({"epoch": 1}, r"epoch: no such setting\. Did you mean epochs\?"),
        ({"optim": {"lrr": 1}}, r"optim\.lrr: no such setting\. Did you mean optim\.lr"),
        ({"modle": "x"}, r"modle: no such setting\. Did you mean model"),
        ({"optim.name": "adam"}, r"optim\.name: .*found 'adam'\. Did you mean adamw\?"),
        ({"optim.lr": -1}, r"optim\.lr: .*greater than 0.*found -1"),
        ({"optim.lr": "fast"}, r"optim\.lr: .*found 'fast'"),
        ({"optim.betas": "0.9"}, r"optim\.betas: "),
        ({"epochs": 1.5}, r"epochs: .*found 1\.5"),
    ],
)
def test_what_is_wrong_is_named_with_the_nearest(layer: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        resolve(Tree, layer)
    assert caught.value.exit_code == 2
    assert "pydantic" not in str(caught.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(UsageError, match=r"epochs: .*optim.lr: "):
        resolve(Tree, {"epochs": "x", "optim.lr": "y"})


def test_faults_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the configuration.*No such file"):
        resolve(Tree, file=tmp_path / "none.toml")
    file = tmp_path / "c.toml"
    file.write_text("epochs = = 1\n")
    with pytest.raises(UsageError, match=r"c\.toml: not valid TOML .*line 1"):
        resolve(Tree, file=file)
    file.write_bytes(b"out = '\xff'\n")
    with pytest.raises(UsageError, match="not valid TOML"):
        resolve(Tree, file=file)
    file.write_text("[optim]\nlrr = 1\n")
    with pytest.raises(UsageError, match=r"c\.toml: optim\.lrr: no such setting"):
        resolve(Tree, file=file)
    file.write_text("optim = 3\n")
    with pytest.raises(UsageError, match="optim: no such setting"):
        resolve(Tree, file=file)


def test_the_resolved_tree_comes_back_from_toml(tmp_path: Path) -> None:
    tree = resolve(Tree, {"optim.lr": 0.25, "model.tags": ["가"], "epochs": 7})
    file = tmp_path / "c.toml"
    file.write_text(dump_toml(tree), encoding="utf-8")
    assert resolve(Tree, file=file) == tree
    assert "clip" not in file.read_text(encoding="utf-8")


def test_slices_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Tree().epochs = 3
