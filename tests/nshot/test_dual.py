"""Dual encoders against transformers called directly, and what is not loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import BUILDERS

from anmok.core.errors import AnmokError, DataError, MachineError, UsageError
from anmok.models import dual as dual_module
from anmok.models.dual import load_dual

TEXTS = ["a photo of a can", "glass", "a close up of the red bottle."]
Tiny = Callable[[str], Path]


def pictures() -> list[np.ndarray]:
    """Images of several aspects: wide, high, smaller than what the models see."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 61), (70, 33), (20, 20), (32, 32))]


def direct(kind: str, folder: Path) -> torch.Tensor:
    """scale · cosine + bias of all images and texts as transformers' own classes and documentation compute it."""
    import transformers
    from PIL import Image

    name = {"clip": "CLIP", "siglip": "Siglip", "siglip2": "Siglip2", "align": "Align", "flava": "Flava"}[kind]
    model: Any = getattr(transformers, f"{name}Model").from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    words = tokenizer(TEXTS, padding="max_length", max_length=24, truncation=True, return_tensors="pt")
    images = processor([Image.fromarray(p) for p in pictures()], return_tensors="pt")
    with torch.inference_mode():
        if kind != "flava":
            return model(**words, **images).logits_per_image
        image = model.get_image_features(pixel_values=images["pixel_values"]).pooler_output[:, 0]
        text = model.get_text_features(**words).pooler_output[:, 0]
        image, text = (x / x.norm(dim=-1, keepdim=True) for x in (image, text))
        return model.logit_scale.exp() * image @ text.T


@pytest.mark.parametrize("kind", BUILDERS)
def test_scores_are_those_of_transformers(kind: str, tiny_dual: Tiny) -> None:
    dual = load_dual(tiny_dual(kind))
    images = dual.encode_images([dual.prepare(p) for p in pictures()])
    texts = dual.encode_texts(TEXTS)
    assert images.dtype == texts.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)
    own = dual.scale * images @ texts.T + dual.bias
    wanted = direct(kind, tiny_dual(kind)).numpy()
    assert wanted.std() > 1e-2
    np.testing.assert_allclose(own, wanted, atol=1e-5 * max(1, dual.scale))
    np.testing.assert_allclose(own / dual.scale, wanted / dual.scale, atol=1e-5)


def test_a_batch_is_its_images_one_by_one(tiny_dual: Tiny) -> None:
    for kind in ("clip", "siglip2"):
        dual = load_dual(tiny_dual(kind))
        prepared = [dual.prepare(p) for p in pictures()]
        assert all(p.dtype == np.uint8 and p.shape[2] == 3 for p in prepared)
        together = dual.encode_images(prepared)
        alone = np.concatenate([dual.encode_images([p]) for p in prepared])
        np.testing.assert_allclose(together, alone, atol=1e-6)
        assert dual.encode_images([]).shape == (0, together.shape[1])
        assert dual.encode_texts([]).shape == (0, together.shape[1])


def test_a_long_text_is_cut_and_said(tiny_dual: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(dual_module, "warn", said.append)
    dual = load_dual(tiny_dual("clip"))
    long = " ".join(["glass"] * 60)
    vectors = dual.encode_texts([long, f"{long} can", "glass"])
    assert "2 text(s) are longer than the 24 tokens" in said[0]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)  # what differs lies behind the cut
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "text", "spelled"),
    [
        ("clip", "유리", True), ("align", "유리", True), ("flava", "유리 병", True), ("siglip", "유리", False),
        ("siglip2", "a photo of 유리", False), ("siglip", "ガラス", True), ("clip", "glass bottle", False),
        ("clip", "zzz", False), ("clip", "", False),
    ],
)  # fmt: skip
def test_a_writing_the_tokenizer_does_not_know(kind: str, text: str, spelled: bool, tiny_dual: Tiny) -> None:
    assert load_dual(tiny_dual(kind)).spelled(text) is spelled


def broken(folder: Path, at: Path, change: Callable[[Path], None]) -> Path:
    shutil.copytree(folder, at)
    change(at)
    return at


def edit(name: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return change


def _half(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in tensors.items() if "text_model" not in k}, folder / "model.safetensors", {"format": "pt"}
    )


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        (edit("config.json", model_type="resnet"), UsageError, "model"),
        (edit("config.json", auto_map={"AutoModel": "evil.py"}), DataError, "remote-code"),
        (edit("config.json", vision_config={"auto_map": {"AutoModel": "evil--x"}}), DataError, "remote-code"),
        (edit("preprocessor_config.json", auto_map={"AutoImageProcessor": "x"}), DataError, "remote-code"),
        (lambda f: (f / "model.safetensors").write_bytes(b"nothing"), DataError, "damaged"),
        (_half, DataError, "weights-mismatch"),
        (_pickled, DataError, "pickle"),
        (lambda f: (f / "config.json").unlink(), UsageError, "model"),
    ],
)  # fmt: skip
def test_what_is_not_loaded(
    change: Callable[[Path], None], kind: type[AnmokError], code: str, tiny_dual: Tiny, tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        load_dual(broken(tiny_dual("clip"), tmp_path / "model", change))
    assert caught.value.code == code


def test_without_a_network_the_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MachineError, match="openai/clip-vit-base-patch32") as caught:
        load_dual("openai/clip-vit-base-patch32")
    assert caught.value.code == "offline"
    assert "hf download" in (caught.value.remedy or "")


def test_the_hash_is_of_the_weights(tiny_dual: Tiny, tmp_path: Path) -> None:
    one = load_dual(tiny_dual("clip"))
    assert load_dual(broken(tiny_dual("clip"), tmp_path / "copy", lambda folder: None)).hash == one.hash
    changed = broken(tiny_dual("clip"), tmp_path / "changed", edit("config.json", projection_dim=16, note="x"))
    assert load_dual(changed).hash != one.hash
