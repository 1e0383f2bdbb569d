"""`anmok generate` as a whole: a tiny diffusion pipeline paints, a tiny CLIP judges, as transformers does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from scipy.special import softmax

from anmok.cli import main
from anmok.core.files import read_json
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.nshot.prompts import PROMPTS

sys.path.insert(0, str(Path(__file__).parents[1] / "nshot"))
sys.path.insert(0, str(Path(__file__).parents[1] / "expand"))
import tiny
import tiny_diffusion

COLORS = {"blue paper": (40, 40, 210), "green bottle": (30, 180, 40), "red can": (200, 30, 30)}
ASKED = ("blue paper", "red can")
EACH = 5


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pipelines of both kinds, by mode, and the judge, in the hub's layout."""
    from diffusers import StableDiffusionImg2ImgPipeline

    root = tmp_path_factory.mktemp("models")
    parts = tiny_diffusion.pipeline().components
    redraws = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    redraws.save_pretrained(root / "image", safe_serialization=True)
    assert json.loads((root / "image" / "model_index.json").read_text())["_class_name"] == type(redraws).__name__
    return {
        "text": tiny_diffusion.saved(root / "text"),
        "image": root / "image",
        "judge": tiny.clip(root / "clip", seed=3),
    }


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label, color in COLORS.items():
        (root / label).mkdir()
        for n in range(10):
            coarse = np.clip(rng.uniform(0.3, 1.3, (5, 5, 1)) * np.array(color), 0, 255).astype(np.uint8)
            Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC).save(root / label / f"{n}.png")
    return root


def direct_scores(folder: Path, images: list[Path]) -> np.ndarray:
    """float[N, K]: the probability of each class by transformers alone."""
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    model, words = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    opened = [Image.open(path).convert("RGB") for path in images]
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(opened, return_tensors="pt")["pixel_values"]
    named = []
    with torch.no_grad():
        for name in COLORS:
            texts = words([prompt.format(name) for prompt in PROMPTS], padding=True, return_tensors="pt")
            vectors = model(pixel_values=pixels[:1], **texts).text_embeds.double()  # of unit length
            named.append(torch.nn.functional.normalize(vectors.mean(dim=0), dim=0))
        seen = model(pixel_values=pixels, **texts).image_embeds.double()
        logits = model.logit_scale.exp().double() * seen @ torch.stack(named).T
    return softmax(logits.numpy(), axis=1)


@pytest.mark.parametrize("mode", ["text", "image"])
def test_every_image_is_taken_or_kept_aside_as_transformers_says(
    mode: str, models: dict[str, Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, beside = tmp_path / "more.parquet", tmp_path / "more.generated"
    classes = [text for name in ASKED for text in ("--class", name)]
    main(["generate", str(photos), *classes, "--model", str(models[mode]), "--judge-model", str(models["judge"]),
          "--mode", mode, "--steps", "3", "--strength", "0.7", "--count", str(EACH), "--copy", "1", "--threads", "1",
          "--out", str(out)])  # fmt: skip
    said = capsys.readouterr().out
    table = Table.load(out)
    new = table.rows.filter("generated").sort("id")
    refused = pl.read_csv(beside / "rejected.csv").sort("file")
    taken = [name.removeprefix("generated/") for name in new["id"]]
    assert len(taken) + len(refused) == EACH * len(ASKED)
    assert min(len(taken), len(refused)) > 0
    for folder, files in (("images", taken), ("rejected", refused["file"].to_list())):
        assert sorted(p.relative_to(beside / folder).as_posix() for p in (beside / folder).rglob("*.png")) == files
    assert set(new["split"]) == {"train"}
    assert all(f"{len(new.filter(pl.col('label') == name))} of {EACH} taken" in said for name in ASKED)

    paths = [beside / "images" / name for name in taken] + [beside / "rejected" / name for name in refused["file"]]
    probs = direct_scores(models["judge"], paths)
    labels = [list(COLORS).index(name) for name in [*new["label"], *refused["label"]]]
    wanted = probs[np.arange(len(paths)), labels]
    found = np.array([*new["generated_score"], *refused["score"]])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert all(probs[: len(taken)].argmax(axis=1) == labels[: len(taken)])
    wrong = refused["reason"].to_numpy() == "wrong-class"
    assert all((probs[len(taken) :].argmax(axis=1) != labels[len(taken) :])[wrong])
    assert wrong.any()

    given = open_table(photos)
    kept = table.rows.filter(~pl.col("generated")).sort("id")
    assert kept["id"].to_list() == given.rows.sort("id")["id"].to_list()
    train = set(kept.filter(pl.col("split") == "train")["id"])
    sources = set(new["generated_source"])
    assert sources <= train if mode == "image" else sources == {None}
    told = read_json(beside / "generate.json")
    assert told["settings"]["mode"] == mode
    assert sum(one["taken"] for one in told["classes"].values()) == len(taken)

    main(["split", str(out), "--drop", "generated", "--out", str(tmp_path / "without.parquet")])
    without = Table.load(tmp_path / "without.parquet").rows.sort("id")
    assert without["id"].to_list() == kept["id"].to_list()
    assert without["split"].to_list() == kept["split"].to_list()


def test_with_a_margin_that_nothing_reaches_nothing_is_written(
    models: dict[str, Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["generate", str(photos), "--class", "red can", "--model", str(models["text"]), "--judge-model",
              str(models["judge"]), "--steps", "2", "--count", "3", "--copy", "1", "--threshold", "0.999999",
              "--out", str(tmp_path / "more.parquet")])  # fmt: skip
    assert caught.value.code == 3
    assert "error [nothing-taken]" in capsys.readouterr().err
    assert not (tmp_path / "more.parquet").exists()
    assert len(pl.read_csv(tmp_path / "more.generated" / "rejected.csv")) == 3
    assert len(list((tmp_path / "more.generated" / "rejected").rglob("*.png"))) == 3
