"""Diffusion pipelines from a folder: equal to diffusers' own, and never any code or pickle."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anmok.core.errors import DataError, MachineError, UsageError
from anmok.expand.generate import PipelinePainter, Strokes, fitted_start
from anmok.models.diffusion import load_pipeline, pipeline_folder, pipeline_hash

sys.path.insert(0, str(Path(__file__).parents[1] / "expand"))
import tiny_diffusion


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_diffusion.saved(tmp_path_factory.mktemp("pipe") / "tiny")


def test_text_to_image_is_what_diffusers_makes(folder: Path) -> None:
    pipe = load_pipeline(pipeline_folder(folder), "text")
    painter = PipelinePainter(pipe, "tiny", "", Strokes(steps=2, guidance=3.0))
    assert painter.side == tiny_diffusion.SIDE
    made = painter.paint("a photo of a red can", 7, None)
    from diffusers import StableDiffusionPipeline

    own = StableDiffusionPipeline.from_pretrained(folder)
    own.set_progress_bar_config(disable=True)
    direct = own(
        prompt="a photo of a red can", num_inference_steps=2, guidance_scale=3.0,
        generator=torch.Generator().manual_seed(7), output_type="pil",
    ).images[0]  # fmt: skip
    assert made.fault == ""
    assert made.image.shape == (tiny_diffusion.SIDE, tiny_diffusion.SIDE, 3)
    assert np.array_equal(made.image, np.asarray(direct))
    assert np.array_equal(made.image, painter.paint("a photo of a red can", 7, None).image)  # no state between images
    assert not np.array_equal(made.image, painter.paint("a photo of a red can", 8, None).image)
    assert not np.array_equal(made.image, painter.paint("a photo of a blue square", 7, None).image)


def test_image_to_image_from_the_same_folder(folder: Path) -> None:
    from diffusers import StableDiffusionImg2ImgPipeline

    pipe = load_pipeline(pipeline_folder(folder), "image")
    start = np.random.default_rng(0).integers(0, 256, (40, 57, 3), np.uint8)
    made = PipelinePainter(pipe, "tiny", "", Strokes(steps=4, strength=0.5)).paint("a red can", 3, start)
    own = StableDiffusionImg2ImgPipeline.from_pretrained(folder)
    own.set_progress_bar_config(disable=True)
    begun = Image.fromarray(start).resize((48, 32), Image.Resampling.LANCZOS)  # short side 32, whole eights
    direct = own(
        prompt="a red can", image=begun, strength=0.5, num_inference_steps=4,
        generator=torch.Generator().manual_seed(3), output_type="pil",
    ).images[0]  # fmt: skip
    assert np.array_equal(made.image, np.asarray(direct))
    assert fitted_start(start, 32).size == (48, 32)


def test_a_name_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MachineError, match="hf download someone/nothing") as caught:
        pipeline_folder("someone/nothing")
    assert caught.value.code == "offline"
    with pytest.raises(UsageError, match="no such model"):
        pipeline_folder(tmp_path / "no" / "such" / "folder")
    with pytest.raises(UsageError, match=r"no model_index\.json"):
        pipeline_folder(tmp_path)


def changed(folder: Path, to: Path, **values: object) -> Path:
    shutil.copytree(folder, to)
    index = json.loads((to / "model_index.json").read_text())
    (to / "model_index.json").write_text(json.dumps(index | values))
    return to


@pytest.mark.parametrize(
    "values",
    [
        {"unet": ["my_unet", "Evil"]}, {"_class_name": ["pipeline", "Evil"]}, {"unet": ["os", "system"]},
        {"../up": ["diffusers", "UNet2DConditionModel"]}, {"custom_pipeline": "evil"},
    ],
)  # fmt: skip
def test_code_beside_the_weights_is_refused(folder: Path, tmp_path: Path, values: dict[str, object]) -> None:
    made = changed(folder, tmp_path / "evil", **values)
    (made / "unet" / "my_unet.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(DataError) as caught:
        pipeline_folder(made)
    assert caught.value.code == "remote-code"
    assert not (tmp_path / "ran").exists()


def test_code_in_a_nested_part_or_by_a_librarys_name(folder: Path, tmp_path: Path) -> None:
    made = changed(folder, tmp_path / "nested")
    config = made / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"auto_map": {"AutoModel": "evil.Evil"}}))
    with pytest.raises(DataError, match="auto_map"):
        pipeline_folder(made)
    named = changed(folder, tmp_path / "named")
    (named / "unet" / "diffusers.py").write_text("")
    with pytest.raises(DataError, match="unet from diffusers"):
        pipeline_folder(named)


def test_pickled_and_missing_weights(folder: Path, tmp_path: Path) -> None:
    made = changed(folder, tmp_path / "pickled")
    (made / "vae" / "diffusion_pytorch_model.safetensors").rename(made / "vae" / "diffusion_pytorch_model.bin")
    with pytest.raises(DataError) as caught:
        pipeline_folder(made)
    assert caught.value.code == "pickle"
    part = changed(folder, tmp_path / "part")
    shutil.rmtree(part / "vae")
    with pytest.raises(DataError, match="vae is missing"):
        pipeline_folder(part)
    broken = changed(folder, tmp_path / "broken")
    file = broken / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError) as caught:
        load_pipeline(pipeline_folder(broken), "text")
    assert caught.value.code == "damaged"
    assert pipeline_hash(broken) != pipeline_hash(folder) == pipeline_hash(shutil.copytree(folder, tmp_path / "same"))


def test_a_pipeline_that_makes_no_images_of_texts(folder: Path, tmp_path: Path) -> None:
    other = changed(folder, tmp_path / "other", _class_name="DDPMPipeline")
    with pytest.raises(UsageError, match="makes no images from texts"):
        load_pipeline(pipeline_folder(other), "text")
