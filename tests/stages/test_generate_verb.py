"""`anmok generate` with planted images: memorised, leaking, blank and wrong ones are refused, the others train."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import anmok
from anmok.core.errors import DataError, Interrupted, UsageError
from anmok.core.files import read_json
from anmok.data.table import Table
from anmok.expand.generate import Painting
from anmok.stages import generate_folder
from anmok.stages.generate import generate
from anmok.stages.split import split

COLORS = {"blue": (40, 40, 210), "green": (30, 180, 40), "red": (200, 30, 30)}
SIDE = 96


def scene(color: tuple[int, int, int], seed: int) -> np.ndarray:
    """Soft shapes in shades of a colour, others for each seed: uint8[96, 96, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.35, 1.25, (6, 6, 1)) * np.array(color)
    small = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8))
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


class ColorJudge:
    """A dual encoder that knows three colours by their names: exact where a network would only be likely."""

    kind, scale, bias, context_length, name, hash = "softmax", 20.0, 0.0, 77, "colours", ""

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(image).resize((6, 6)))

    def encode_images(self, images: Any) -> np.ndarray:
        pixels = np.stack(list(images)).astype(np.float32)
        means = pixels.mean(axis=(1, 2))
        detail = (pixels.mean(axis=3) - pixels.mean(axis=(1, 2, 3))[:, None, None]).reshape(len(pixels), -1)
        vectors = np.concatenate([means[:, [2, 1, 0]], detail], axis=1)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_texts(self, texts: Any) -> np.ndarray:
        return np.array([[float(c in t) for c in COLORS] + [0.0] * 36 for t in texts], np.float32) + 1e-6


class Fake:
    """A generator that gives what was planted for its n-th image, else a new scene; it counts its calls."""

    name, hash = "fake", "0123456789abcdef"

    def __init__(self, planted: dict[int, Painting] | None = None):
        self.planted, self.calls, self.prompts = planted or {}, 0, list[str]()

    def paint(self, prompt: str, seed: int, start: np.ndarray | None) -> Painting:
        number, self.calls = self.calls, self.calls + 1
        self.prompts.append(prompt)
        return self.planted.get(number) or Painting(scene(COLORS["red"], 5000 + seed % 1_000_000))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    root = tmp_path_factory.mktemp("photos")
    for k, (label, color) in enumerate(COLORS.items()):
        (root / label).mkdir()
        for n in range(30):
            Image.fromarray(scene(color, 100 * k + n)).save(root / label / f"{n}.png")
    return split(root)


def anew(table: Table, name: str) -> Painting:
    """An image of the table as a generator would give it back: coded again, smaller, a little brighter."""
    reference = table.rows.filter(pl.col("id") == name)["image"][0]
    out = io.BytesIO()
    Image.open(io.BytesIO(table.storage.read(reference))).resize((80, 80)).save(out, "JPEG", quality=80)
    return Painting(np.asarray(Image.open(io.BytesIO(out.getvalue()))))


def reds(table: Table, part: str) -> str:
    return table.where(part).rows.filter(pl.col("label") == "red")["id"][0]


def test_planted_images_are_refused(table: Table, tmp_path: Path) -> None:
    same = Painting(scene(COLORS["red"], 777))
    fake = Fake({
        0: anew(table, reds(table, "train")), 1: anew(table, reds(table, "val")), 2: anew(table, reds(table, "test")),
        3: Painting(np.full((SIDE, SIDE, 3), 180, np.uint8)), 4: Painting(scene(COLORS["green"], 900)),
        5: Painting(scene(COLORS["red"], 901), "not-finite"), 6: same, 7: same,
        8: Painting(scene(COLORS["red"], 902), "flagged"),
    })  # fmt: skip
    made = generate(table, "red", model=fake, out=tmp_path / "t.parquet", count=24, judge_model=ColorJudge(), copy=1.0,
                    threads=1)  # fmt: skip
    refused = pl.read_csv(made.beside / "rejected.csv")
    found = {int(Path(file).stem): reason for file, reason in refused.select("file", "reason").iter_rows()}
    assert found == {
        0: "memorised", 1: "leak", 2: "leak", 3: "blank", 4: "wrong-class", 5: "not-finite", 7: "twin", 8: "flagged",
    }  # fmt: skip
    assert reds(table, "train") in refused["evidence"][0]
    assert all((made.beside / "rejected" / file).is_file() for file in refused["file"])
    new = Table.load(made.path).rows.filter("generated")
    assert len(new) == 16 == made.classes["red"]["taken"]
    assert set(new["split"]) == {"train"}
    assert set(new["label"]) == {"red"}
    assert (new["generated_score"] > 0.5).all()
    with Image.open(made.beside / "images" / "002-red" / "00009.png") as image:
        assert image.text["prompt"] == "a photo of red"  # type: ignore[attr-defined]
        assert int(image.text["seed"]) == new["generated_seed"][list(new["id"]).index("generated/002-red/00009.png")]  # type: ignore[attr-defined]
    told = read_json(made.beside / "generate.json")["classes"]["red"]
    assert told["refused"] == {"blank": 1, "flagged": 1, "leak": 2, "memorised": 1, "not-finite": 1, "twin": 1,
                               "wrong-class": 1}  # fmt: skip
    assert 0 <= told["real_or_generated"]["low"] <= told["real_or_generated"]["value"] <= 1
    assert told["frechet"]["between_halves_of_real"]["value"] > 0
    assert "16 of 24 taken" in repr(made)
    with Image.open(made.beside / "sheet.png") as sheet:
        assert sheet.width > 600
    without = split(made.path, drop=["generated"])
    for part in ("val", "test"):
        kept = Table.load(made.path).where(part).rows["id"].to_list()
        assert kept == without.where(part).rows["id"].to_list() == table.where(part).rows["id"].to_list()
    assert without.where("train").rows["id"].to_list() == table.where("train").rows["id"].to_list()


def test_vectors_alone_call_a_copy(table: Table, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="brings nothing new") as caught:
        generate(table, "red", model=Fake(), out=tmp_path / "t.parquet", count=3, judge_model=ColorJudge(), copy=0.1,
                 threads=1)  # fmt: skip
    assert caught.value.code == "nothing-taken"
    assert not (tmp_path / "t.parquet").exists()
    assert (tmp_path / "t.generated" / "sheet.png").is_file()


def test_an_interrupted_call_goes_on(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import contextlib

    options: dict[str, Any] = {"out": tmp_path / "t.parquet", "count": 5, "judge_model": ColorJudge(), "threads": 1,
                               "copy": 1.0, "words": "red=red can|red tin"}  # fmt: skip
    first, second = Fake(), Fake()
    with monkeypatch.context() as patch:
        patch.setattr(generate_folder, "polite_stop", lambda: contextlib.nullcontext(lambda: first.calls == 2))
        with pytest.raises(Interrupted, match="after 2 of 5"):
            generate(table, "red", model=first, **options)
    made = generate(table, "red", model=second, **options)
    assert (first.calls, second.calls) == (2, 3)
    whole = generate(table, "red", model=Fake(), **options | {"out": tmp_path / "u.parquet"})
    assert made.table.rows["hash"].to_list() == whole.table.rows["hash"].to_list()
    assert first.prompts + second.prompts == [f"a photo of red {w}" for w in ("can", "tin", "can", "tin", "can")]
    (tmp_path / "t.parquet").unlink()
    with pytest.raises(UsageError, match="seed differ"):
        generate(table, "red", model=Fake(), seed=1, **options)


def test_captions_and_beginnings_are_training_images(table: Table, tmp_path: Path) -> None:
    ids = table.rows["id"].to_list()
    pl.DataFrame({"id": ids, "caption": [f"red thing {i}" for i in ids]}).write_csv(tmp_path / "c.csv")
    fake = Fake()
    made = generate(table, "red", model=fake, out=tmp_path / "t.parquet", count=6, judge_model=ColorJudge(), copy=1.0,
                    mode="image", captions=tmp_path / "c.csv", threads=1)  # fmt: skip
    train = set(table.where("train").rows["id"])
    new = made.table.rows.filter("generated")
    assert set(new["generated_source"]) <= train
    assert set(fake.prompts) <= {f"red thing {i}" for i in train}
    assert new["generated_prompt"].to_list() == [f"red thing {i}" for i in new["generated_source"]]


@pytest.mark.parametrize(
    ("changes", "match"),
    [({"label": "rad"}, "Did you mean red"), ({"mode": "video"}, "--mode"), ({"count": 0}, "--count"),
     ({"threshold": 1.0}, "--threshold"), ({"prompts": "a photo"}, "--prompts"), ({"words": "rad=x"}, "no class"),
     ({"out": "t.csv"}, "parquet"), ({"captions": "nothing"}, "no column"), ({"copy": 0.0}, "--copy")],
)  # fmt: skip
def test_wrong_calls(table: Table, tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    options = {"label": "red", "model": Fake(), "out": "t.parquet", "judge_model": ColorJudge()} | changes
    options["out"] = tmp_path / options["out"]
    with pytest.raises(UsageError, match=match):
        generate(table, **options)
    assert not list(tmp_path.iterdir())


def test_several_labels_an_image_are_refused(tmp_path: Path) -> None:
    Image.fromarray(scene(COLORS["red"], 1)).save(tmp_path / "a.png")
    Image.fromarray(scene(COLORS["blue"], 2)).save(tmp_path / "b.png")
    (tmp_path / "l.csv").write_text("image,label\na.png,red;blue\nb.png,blue\n")
    with pytest.raises(UsageError, match="several each"):
        generate(anmok.open(tmp_path / "l.csv", **{"data.task": "multilabel"}), "red", model=Fake(),
                 out=tmp_path / "t.parquet", judge_model=ColorJudge())  # fmt: skip
