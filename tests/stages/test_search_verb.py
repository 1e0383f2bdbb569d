"""`search` as a stage and as a command, on tiny models in the hub's layout and on a classifier of ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from anmok.augment.preprocess import Preprocess
from anmok.cli import main
from anmok.core.errors import UsageError
from anmok.deploy.bundle import save_bundle
from anmok.models.classifier import Classifier
from anmok.models.dual import load_dual
from anmok.models.networks import build_network
from anmok.stages import search_reader, search_vectors
from anmok.stages.search import search

sys.path.insert(0, str(Path(__file__).parents[1] / "nshot"))
import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.clip(tmp_path_factory.mktemp("clip") / "model"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANMOK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve different images, and one that calls itself an image."""
    root, rng = tmp_path / "photos", np.random.default_rng(0)
    root.mkdir()
    for n in range(12):
        image = np.clip(rng.integers(0, 256, 3) + rng.integers(-60, 60, (40, 50, 3)), 0, 255)
        Image.fromarray(image.astype(np.uint8)).save(root / f"{n:02}.png")
    (root / "bad.png").write_bytes(b"nothing")
    return root


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_images_by_a_text(model: str, photos: Path) -> None:
    found = search(photos, "a red can", model=model, top=5)
    dual = load_dual(model)
    names = sorted(p.name for p in photos.glob("[0-9]*.png"))
    images = dual.encode_images([dual.prepare(read(photos / n)) for n in names])
    cosines = images @ dual.encode_texts(["a red can"])[0]
    order = np.argsort(-cosines, kind="stable")[:5]
    assert [h.found for h in found.hits] == [names[i] for i in order]
    np.testing.assert_allclose([h.cosine for h in found.hits], cosines[order], atol=1e-5)
    assert [h.rank for h in found.hits] == [1, 2, 3, 4, 5]


def test_images_by_an_image_and_several_queries(model: str, photos: Path) -> None:
    found = search(photos, [str(photos / "03.png"), "glass"], model=model, top=3)
    assert found.hits[0].found == "03.png"
    assert found.hits[0].cosine == pytest.approx(1, abs=1e-5)
    assert len(found) == 6
    assert found.hits[3].query == "glass"
    assert search(photos, read(photos / "07.png"), model=model, top=1).hits[0].found == "07.png"


def test_texts_by_an_image(model: str, photos: Path, tmp_path: Path) -> None:
    texts = tmp_path / "captions.txt"
    texts.write_text("glass\n\na red can\nblue paper\na red can\n", encoding="utf-8")
    found = search(query=photos / "00.png", texts=texts, model=model)
    dual = load_dual(model)
    cosines = (
        dual.encode_texts(["glass", "a red can", "blue paper"])
        @ dual.encode_images([dual.prepare(read(photos / "00.png"))])[0]
    )
    assert [h.found for h in found.hits] == [["glass", "a red can", "blue paper"][i] for i in np.argsort(-cosines)]
    every = search(photos, texts=["glass", "metal"], model=model, top=1)
    assert len(every) == 12
    assert "bad.png" not in {h.query for h in every.hits}


def test_the_index_spares_what_is_known(
    model: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    plain = search_vectors.image_vectors
    monkeypatch.setattr(search_vectors, "image_vectors", lambda r, t, h: asked.append(len(t)) or plain(r, t, h))
    index = tmp_path / "index.parquet"
    first = search(photos, "glass", model=model, index=index)
    (photos / "07.png").rename(photos / "renamed.png")
    Image.fromarray(np.full((30, 30, 3), 90, np.uint8)).save(photos / "new.png")
    search(photos, "glass", model=model, index=index)
    fresh = search(photos, "glass", model=model, index="none", top=20)
    cached = search(photos, "glass", model=model, index=index, top=20)
    assert asked == [13, 2, 14, 1]  # the unreadable one is tried again
    assert [h.found for h in cached.hits] == [h.found for h in fresh.hits]
    assert len(first) == 10
    np.testing.assert_allclose([h.cosine for h in cached.hits], [h.cosine for h in fresh.hits], atol=1e-6)
    index.write_bytes(b"damaged")
    assert [h.found for h in search(photos, "glass", model=model, index=index, top=20).hits] == [
        h.found for h in fresh.hits
    ]
    other = tiny.clip(tmp_path / "other", seed=1)
    asked.clear()
    search(photos, "glass", model=str(other), index=index)
    assert asked == [14]  # of another model nothing is taken over
    assert not list((tmp_path / "cache").rglob("*.parquet"))
    search(photos, "glass", model=model)
    assert list((tmp_path / "cache").rglob("*.parquet"))


def test_what_is_written(model: str, photos: Path, tmp_path: Path) -> None:
    for end in ("csv", "parquet", "png", "webp", "html"):
        search(photos, ["glass", str(photos / "01.png")], model=model, top=7, out=tmp_path / f"x.{end}")
    frame = pl.read_csv(tmp_path / "x.csv")
    assert frame.columns == ["query", "rank", "image", "cosine"]
    assert len(frame) == 14
    assert frame["image"].to_list() == pl.read_parquet(tmp_path / "x.parquet")["image"].to_list()
    sheet = np.asarray(Image.open(tmp_path / "x.png").convert("RGB"))
    assert sheet.shape[1] > 1000
    assert sheet.std() > 10
    page = (tmp_path / "x.html").read_text()
    assert page.count('<img src="data:image/webp') == 15
    assert "<script" not in page
    search(query=photos / "00.png", texts=["<b>x</b>", "glass"], model=model, out=tmp_path / "y.html")
    assert "<b>x" not in (tmp_path / "y.html").read_text()


def test_a_classifier_finds_images_by_images(photos: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network("lenet", 3, 3, 32)
    pre = Preprocess(32)
    classifier = Classifier(network, ["a", "b", "c"], "multiclass", pre.mean, pre.std)
    save_bundle(tmp_path / "m", classifier, pre, architecture="lenet")
    found = search(photos, photos / "05.png", model=tmp_path / "m", top=2)
    assert found.hits[0].found == "05.png"
    assert found.hits[0].cosine == pytest.approx(1, abs=1e-5)
    with pytest.raises(UsageError, match="knows no texts"):
        search(photos, "glass", model=tmp_path / "m")


def test_a_dual_encoder_of_ones_own(photos: Path, tmp_path: Path) -> None:
    from anmok.deploy.dual import load_dual as load_own
    from anmok.deploy.dual import save_dual
    from anmok.models.encoder import Encoder
    from anmok.models.text_tokens import learn_tokenizer
    from anmok.models.text_tower import TextTower
    from anmok.models.two_towers import TwoTowers
    from anmok.stages.zeroshot import zeroshot

    sizes, pre = {"width": 16, "depth": 1, "heads": 2}, Preprocess(32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = learn_tokenizer(["a red can", "유리 병"])
        text = TextTower(tokenizer.size, tokenizer.length, **sizes)
        encoder = Encoder(build_network("lenet", 10, 3, 32), 10, 32)
        towers = TwoTowers(encoder, text, tokenizer, pre.mean, pre.std, dim=8)
    save_dual(tmp_path / "own", towers, pre, architecture="lenet", text=sizes)
    own = load_own(tmp_path / "own")
    names = sorted(p.name for p in photos.glob("[0-9]*.png"))
    images = own.encode_images(np.stack([pre.apply(read(photos / n)) for n in names]))
    found = search(photos, "유리 병", model=tmp_path / "own", top=12)
    wanted = images @ own.encode_texts(["유리 병"])[0]
    np.testing.assert_allclose([h.cosine for h in found.hits], np.sort(wanted)[::-1], atol=1e-5)
    answers = zeroshot(photos, "유리 병,a red can", model=tmp_path / "own", prompts="{}")
    logits = own.scale * images @ own.encode_texts(["유리 병", "a red can"]).T
    good = [answers.ids.index(n) for n in names]
    np.testing.assert_allclose(answers.probs[good, 0], 1 / (1 + np.exp(logits[:, 1] - logits[:, 0])), atol=1e-5)
    with pytest.raises(UsageError, match="--save-model"):
        zeroshot(photos, "a,b", model=tmp_path / "own", save_model=tmp_path / "x")


def test_a_query_in_a_writing_that_is_not_known(model: str, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(search_reader, "warn", said.append)
    search(photos, "찌그러진 캔", model=model)
    assert len(said) == 1
    assert "does not know the writing" in said[0]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"query": "  "}, "query"), ({"query": None}, "query"), ({"query": "nothere.jpg"}, "query"),
        ({"query": "glass", "texts": ["a"]}, "query"), ({"texts": []}, "file"), ({"texts": "missing.txt"}, "file"),
        ({"top": 0}, "setting"), ({"out": "x.pdf"}, "out"), ({"images": None}, "query"),
        ({"index": "x.npy"}, "out"),
    ],
)  # fmt: skip
def test_wrong_calls(arguments: dict[str, Any], code: str, model: str, photos: Path) -> None:
    given: dict[str, Any] = {"images": photos, "query": "glass", "model": model} | arguments
    if "texts" in arguments and "query" not in arguments:
        given["query"] = photos / "00.png"
    with pytest.raises(UsageError) as caught:
        search(**given)
    assert caught.value.code == code


def test_the_command(model: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "s.png"
    main(["search", str(photos), "--query", "a red can", "--model", model, "--top", "3", "--out", str(out)])
    said = capsys.readouterr().out
    assert "a red can" in said
    assert said.count(".png") == 4
    assert out.is_file()
