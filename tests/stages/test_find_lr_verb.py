"""`anmok find-lr`: its suggestion against theory, its files, its words, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import anmok
from anmok.cli import main
from anmok.core.config import resolve
from anmok.core.errors import DataError, UsageError
from anmok.data import open_table
from anmok.stages.config import TrainConfig
from anmok.stages.defaults import WHOLE, at_rate, base_rate
from anmok.stages.find_lr import FoundLr

pytest.importorskip("torch")

SMALL: dict[str, Any] = {"image_size": 16, "batch_size": 32, "augment": "none", "threads": 1, "steps": 60}


def test_the_suggestion_of_a_linear_softmax_is_near_its_largest_stable_rate(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    settings: dict[str, Any] = {
        "model": "linear_net:linear", "image_size": 8, "channels": "gray", "optim.name": "sgd", "optim.momentum": 0.0,
        "optim.weight_decay": 0.0, "split.test": 0.0,
    }  # fmt: skip
    found = anmok.find_lr(digits, out=tmp_path / "lr", **SMALL | {"steps": 100, "highest": 100.0} | settings)
    table = open_table(digits)
    images = [Image.open(table.root / image).convert("L") for image in table.rows["image"]]
    pixels = np.stack([np.asarray(image, np.float64).ravel() / 255 for image in images])
    # of softmax at 0 the Hessian is (I - 11ᵀ/K) / K ⊗ E[xxᵀ]; x is normalised, by unknown constants near those of RGB
    x = (pixels - 0.449) / 0.226
    stable = 2 * 4 / np.linalg.eigvalsh(x.T @ x / len(x))[-1]
    assert stable / 4 < found.suggestion.minimum < 10 * stable  # the loss is flatter where classes are told apart
    assert found.lr < stable


def test_its_files_and_words(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lr"
    flags = "--model lenet --image-size 16 --batch-size 32 --augment none --threads 1 --steps 60"
    main(["find-lr", str(digits), *flags.split(), "--out", str(out)])
    said = capsys.readouterr().out
    found = FoundLr(out)
    for text in (
        "(recommended)",
        "falls fastest",
        f"{out}/lr.png",
        f"next: anmok train {digits} --optim.lr {found.lr:g}",
    ):
        assert text in said
    rows = pl.read_csv(out / "lr.csv")
    assert rows.columns == ["step", "lr", "loss", "smoothed"]
    assert rows["lr"][0] == pytest.approx(1e-7)
    ratio = rows["lr"][1] / rows["lr"][0]
    np.testing.assert_allclose(rows["lr"].to_numpy()[1:] / rows["lr"].to_numpy()[:-1], ratio, rtol=1e-9)
    assert ratio == pytest.approx(1e8 ** (1 / 59))
    assert not (out / "checkpoints").exists()
    assert not (out / "model").exists()
    with Image.open(out / "lr.png") as picture:
        assert picture.width > 900
    assert "<pre>" in found._repr_html_()
    assert [row.kind for row in anmok.runs(tmp_path).rows] == ["find-lr"]
    again = anmok.find_lr(digits, out=tmp_path / "again", model="lenet", **SMALL)
    assert again.curve == found.curve  # the same seed


def test_muon_s_second_rate_keeps_its_share(digits: Path, tmp_path: Path) -> None:
    config = resolve(TrainConfig, {"optim": {"name": "muon", "aux_lr": 0.002}})
    assert base_rate(config) == 0.02
    assert (at_rate(config, 0.1).optim.lr, at_rate(config, 0.1).optim.aux_lr) == (0.1, 0.01)
    config = resolve(TrainConfig, {"optim": {"name": "adamw", "lr": 0.5}})
    assert at_rate(config, 0.1).optim == config.optim.model_copy(update={"lr": 0.1})
    found = anmok.find_lr(
        digits, out=tmp_path / "lr", model="lenet", **SMALL | {"optim.name": "muon", "optim.layer_decay": 0.8}
    )
    assert found.flags == f"--optim.lr {found.lr:g} --optim.aux-lr {at_rate(found.config, found.lr).optim.aux_lr:g}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "lenett"}, "lenet"),
        ({"highest": 1e-7}, "10 times lowest"),
        ({"steps": 3}, "greater than or equal to 20"),
        ({"highest": 1e-6}, "falls at none"),
        ({"objective": "fixmatch", "unlabeled": "x"}, "not learned here"),
        ({"highset": 1}, "Did you mean highest"),
    ],
)
def test_what_it_refuses(digits: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, DataError), match=message):
        anmok.find_lr(digits, out=tmp_path / "lr", **{"model": "lenet"} | SMALL | settings)
    assert not (tmp_path / "lr").exists()


def test_several_labels_keep_pictures_whole_as_in_a_training(digits: Path, tmp_path: Path) -> None:
    names = [f"{path.parent.name}/{path.name}" for path in sorted(digits.rglob("*.png"))]
    pl.DataFrame({"image": names, "label": [f"{name[0]};all" for name in names]}).write_csv(tmp_path / "several.csv")
    settings = {key: value for key, value in SMALL.items() if key != "augment"}
    found = anmok.find_lr(
        tmp_path / "several.csv", out=tmp_path / "lr", model="lenet", image_root=str(digits),
        **settings | {"data.task": "multilabel", "highest": 1.0},
    )  # fmt: skip
    assert found.config.augment.translate == WHOLE["translate"]


def test_no_data_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to learn from"):
        anmok.find_lr()
    with pytest.raises(UsageError, match="no learning rate was sought here"):
        FoundLr(tmp_path)
