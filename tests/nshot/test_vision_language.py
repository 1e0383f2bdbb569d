"""What models say of images, against the same computed with transformers alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_speakers
import torch
from PIL import Image

from anmok.core.errors import DataError, MachineError, UsageError
from anmok.models.hub_folder import model_folder
from anmok.nshot.vision_language import Example, load_vision_language

TOKENS = 8


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40 + i, 50, 3)).astype(np.uint8) for i in range(3)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder of each kind of model, made when it is first asked for."""
    root, known = tmp_path_factory.mktemp("models"), {}

    def make(name: str) -> Path:
        if name not in known:
            builders = {
                "blip": tiny_speakers.blip, "git": tiny_speakers.git, "vilt": tiny_speakers.vilt,
                "idefics": tiny_speakers.idefics, "blip-vqa": lambda f: tiny_speakers.blip(f, answers=True),
            }  # fmt: skip
            known[name] = builders[name](root / name)
        return known[name]

    return make


def greedy(model: Any, **inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=TOKENS)
    return out


def plain(texts: list[str]) -> list[str]:
    return [" ".join(text.split()) for text in texts]


def test_blip_describes_as_transformers_does(made: Any, images: list[np.ndarray]) -> None:
    from transformers import BlipForConditionalGeneration, BlipProcessor

    folder = made("blip")
    model = BlipForConditionalGeneration.from_pretrained(folder).eval()
    processor = BlipProcessor.from_pretrained(folder)
    ours = load_vision_language(folder)
    assert (ours.kind, ours.examples) == ("captioner", False)
    expected = [
        processor.decode(greedy(model, **processor(images=Image.fromarray(i), return_tensors="pt"))[0], True)
        for i in images
    ]
    said = ours.describe(images, max_tokens=TOKENS)
    assert said == plain(expected)
    assert len(set(said)) > 1
    begun = processor(images=Image.fromarray(images[0]), text="a can", return_tensors="pt")
    expected = [processor.decode(greedy(model, **begun)[0], skip_special_tokens=True)]
    assert ours.describe(images[:1], "a can", max_tokens=TOKENS) == plain(expected)
    assert expected[0].startswith("a can")


def test_git_describes_as_transformers_does(made: Any, images: list[np.ndarray]) -> None:
    from transformers import GitForCausalLM, GitProcessor

    folder = made("git")
    model, processor = GitForCausalLM.from_pretrained(folder).eval(), GitProcessor.from_pretrained(folder)
    pixels = processor(images=[Image.fromarray(i) for i in images], return_tensors="pt").pixel_values
    expected = [processor.decode(greedy(model, pixel_values=p[None])[0], skip_special_tokens=True) for p in pixels]
    ours = load_vision_language(folder)
    assert ours.describe(images, max_tokens=TOKENS) == plain(expected)
    ids = torch.tensor([[2, *processor.tokenizer("a can", add_special_tokens=False)["input_ids"]]])
    begun = processor.decode(greedy(model, pixel_values=pixels[:1], input_ids=ids)[0], skip_special_tokens=True)
    assert ours.describe(images[:1], "a can", max_tokens=TOKENS) == plain([begun])


def test_vilt_chooses_as_transformers_does(made: Any, images: list[np.ndarray]) -> None:
    from transformers import ViltForQuestionAnswering, ViltProcessor

    folder = made("vilt")
    model, processor = ViltForQuestionAnswering.from_pretrained(folder).eval(), ViltProcessor.from_pretrained(folder)
    answers = load_vision_language(folder).ask(images, "is this glass?")
    for image, answer in zip(images, answers, strict=True):
        inputs = processor(images=Image.fromarray(image), text="is this glass?", return_tensors="pt")
        with torch.no_grad():
            probs = model(**inputs).logits.softmax(-1)[0]
        assert answer.text == model.config.id2label[int(probs.argmax())]
        assert answer.probability == pytest.approx(float(probs.max()), abs=1e-5)


def test_blip_answers_as_transformers_does(made: Any, images: list[np.ndarray]) -> None:
    from transformers import BlipForQuestionAnswering, BlipProcessor

    folder = made("blip-vqa")
    model, processor = BlipForQuestionAnswering.from_pretrained(folder).eval(), BlipProcessor.from_pretrained(folder)
    expected = []
    for image in images:
        inputs = processor(images=Image.fromarray(image), text="what is this?", return_tensors="pt")
        expected.append(processor.decode(greedy(model, **inputs)[0], skip_special_tokens=True))
    answers = load_vision_language(folder).ask(images, "what is this?", max_tokens=TOKENS)
    assert [a.text for a in answers] == plain(expected)


def test_a_chat_model_sees_the_examples_before_the_question(made: Any, images: list[np.ndarray]) -> None:
    from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

    folder = made("idefics")
    model = Idefics3ForConditionalGeneration.from_pretrained(folder).eval()
    processor = Idefics3Processor.from_pretrained(folder)
    ours = load_vision_language(folder)
    assert (ours.kind, ours.examples) == ("chat", True)

    def direct(text: str, pictures: list[np.ndarray]) -> str:
        inputs = processor(text=text, images=[Image.fromarray(p) for p in pictures], return_tensors="pt")
        out = greedy(model, **inputs)[:, inputs["input_ids"].shape[1] :]
        return plain(processor.batch_decode(out, skip_special_tokens=True))[0]

    turn = "user: <image>what is this?<end_of_utterance>\n"
    alone = ours.ask(images[:1], "what is this?", max_tokens=TOKENS)[0].text
    assert alone == direct(f"{turn}assistant:", images[:1])
    shown = ours.ask(images[:1], "what is this?", [Example(images[1], "a can")], TOKENS)[0].text
    first = f"{turn}assistant: a can<end_of_utterance>\n{turn}assistant:"
    assert shown == direct(first, [images[1], images[0]])
    assert shown != alone
    assert ours.describe(images[:1], "what is this?", max_tokens=TOKENS) == [alone]


def test_what_a_model_cannot_do_is_said(made: Any, images: list[np.ndarray]) -> None:
    captioner, chooser = load_vision_language(made("blip")), load_vision_language(made("vilt"))
    with pytest.raises(UsageError, match="does not answer questions"):
        captioner.ask(images, "what?")
    with pytest.raises(UsageError, match="does not describe"):
        chooser.describe(images)
    with pytest.raises(UsageError, match="no examples") as error:
        chooser.ask(images, "what?", [Example(images[0], "glass")])
    assert error.value.code == "examples"
    with pytest.raises(UsageError, match="empty"):
        chooser.ask(images, "  ")


def test_a_model_that_does_not_speak(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=8
    )
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    with pytest.raises(UsageError, match="neither describes images nor answers"):
        load_vision_language(tmp_path / "vit")


def test_what_is_not_on_this_machine_is_named() -> None:
    with pytest.raises(MachineError, match=r"nobody/nothing.*HF_HUB_OFFLINE") as error:
        load_vision_language("nobody/nothing")
    assert error.value.code == "offline"
    with pytest.raises(UsageError, match="no such model"):
        load_vision_language("./not/a/folder")


@pytest.mark.parametrize("place", ["auto_map", "text_config"])
def test_code_of_its_own_is_never_run(place: str, made: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made("blip"), tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    asked = {"AutoModel": "modeling_evil.Evil"}
    config |= {"auto_map": asked} if place == "auto_map" else {place: {**config[place], "auto_map": asked}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_evil.py").write_text("raise SystemExit('it ran')\n")
    with pytest.raises(DataError, match="never runs") as error:
        load_vision_language(folder)
    assert error.value.code == "remote-code"


def test_pickled_weights_are_refused(made: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made("blip"), tmp_path / "model"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="run code") as error:
        model_folder(folder)
    assert error.value.code == "pickle"


def test_a_chat_model_without_a_template(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no chat template"):
        load_vision_language(tiny_speakers.idefics(tmp_path / "model", template=False))


def test_weights_that_are_not_whole(made: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(made("blip"), tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("vision_model.post_layernorm.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="not whole") as error:
        load_vision_language(folder)
    assert error.value.code == "weights-mismatch"
