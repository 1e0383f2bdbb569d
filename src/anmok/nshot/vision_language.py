"""Models that speak about an image: they describe it, or answer a question about it.

Captioners: BLIP (Li et al. 2022, arXiv:2201.12086), GIT (Wang et al. 2022, arXiv:2205.14100). Answers out of a fixed
list: ViLT (Kim et al. 2021, arXiv:2102.03334); freely worded: BLIP's. And chat models that take images, some of which
take several between the texts, so that examples can be given (few-shot in context: Alayrac et al. 2022,
"Flamingo", arXiv:2204.14198). All answers are greedy: the same model and image give the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from anmok.core.errors import DataError, UsageError
from anmok.core.files import read_json
from anmok.core.optional import need
from anmok.models.hub_folder import model_folder
from anmok.models.silence import silent_transformers

if TYPE_CHECKING:
    from PIL import Image

DESCRIBER = "Salesforce/blip-image-captioning-base"
ANSWERER = "HuggingFaceTB/SmolVLM-256M-Instruct"
REQUEST = "Describe this image in one sentence."  # to a chat model

CAPTIONERS = ("BlipForConditionalGeneration", "GitForCausalLM", "VisionEncoderDecoderModel")
CLASSIFIERS = ("ViltForQuestionAnswering",)
GENERATORS = ("BlipForQuestionAnswering",)
# Chat models that have seen several images between texts in their training, by model_type.
INTERLEAVED = frozenset({
    "idefics2", "idefics3", "smolvlm", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe",
    "llava_onevision", "internvl", "gemma3", "gemma3n", "gemma4", "mistral3", "aya_vision",
})  # fmt: skip


class Example(NamedTuple):
    """An image uint8[H, W, 3] and what is to be said of it."""

    image: np.ndarray
    text: str


class Answer(NamedTuple):
    """What was said; probability: of a model that chooses from a list, else None."""

    text: str
    probability: float | None = None


class VisionLanguage:
    """A model of transformers with its processor.

    kind: captioner, classifier (chooses an answer from its list), generator (words an answer) or chat. examples:
    whether it takes images with answers before the question.
    """

    def __init__(self, name: str, kind: str, model: Any, processor: Any, examples: bool):
        self.name, self.kind, self.model, self.processor, self.examples = name, kind, model, processor, examples

    def describe(
        self, images: Sequence[np.ndarray], prompt: str | None = None, examples: Sequence[Example] = (),
        max_tokens: int = 40,
    ) -> list[str]:  # fmt: skip
        """A caption for each image uint8[H, W, 3].

        prompt: how a captioner's sentence begins, or what a chat model is asked to do. max_tokens: of a caption.
        UsageError for a model that answers questions only, or examples to one that takes none.
        """
        self._check_examples(examples)
        if self.kind == "chat":
            return [self._chat(image, prompt or REQUEST, examples, max_tokens) for image in images]
        if self.kind != "captioner":
            raise UsageError(
                f"{self.name} answers questions, it does not describe images.", where="--model", code="model",
                remedy=f"Take a captioner such as {DESCRIBER}, or a chat model such as {ANSWERER}.",
            )  # fmt: skip
        return [self._caption(image, prompt, max_tokens) for image in images]

    def ask(
        self, images: Sequence[np.ndarray], question: str, examples: Sequence[Example] = (), max_tokens: int = 40
    ) -> list[Answer]:
        """An answer to the question for each image uint8[H, W, 3].

        UsageError for an empty question, a model that describes only, or examples to one that takes none.
        """
        if not question.strip():
            raise UsageError("the question is empty.", code="prompt")
        self._check_examples(examples)
        if self.kind == "captioner":
            raise UsageError(
                f"{self.name} describes images, it does not answer questions.", where="--model", code="model",
                remedy=f"Take a chat model such as {ANSWERER}, Salesforce/blip-vqa-base or a ViLT trained on VQA.",
            )  # fmt: skip
        if self.kind == "chat":
            return [Answer(self._chat(image, question, examples, max_tokens)) for image in images]
        answer = self._choose if self.kind == "classifier" else self._word
        return [answer(image, question, max_tokens) for image in images]

    def _check_examples(self, examples: Sequence[Example]) -> None:
        if examples and not self.examples:
            raise UsageError(
                f"{self.name} takes one image, not several between texts, so it can be given no examples.",
                where="--example", code="examples",
                remedy=f"Take a model that does, such as {ANSWERER}, or leave --example out.",
            )  # fmt: skip

    def _caption(self, image: np.ndarray, prompt: str | None, max_tokens: int) -> str:
        """The caption of one image; a prompt is its beginning."""
        if prompt and type(self.model).__name__ == "VisionEncoderDecoderModel":
            raise UsageError(f"{self.name} takes no beginning of a sentence.", where="--prompt", code="prompt")
        given: dict[str, Any] = {"images": as_pil(image), "return_tensors": "pt"}
        if prompt:
            words = self.processor.tokenizer(prompt, return_tensors="pt", add_special_tokens=True)
            blip = type(self.model).__name__.startswith("Blip")  # which takes the end mark off itself
            given_ids = words["input_ids"] if blip else words["input_ids"][:, :-1]
            inputs = {"input_ids": given_ids, "attention_mask": torch.ones_like(given_ids)}
        else:
            inputs = {}
        pixels = self._pixels(given)
        out = self._generate({"pixel_values": pixels, **inputs}, max_tokens)
        return self._words(out)

    def _pixels(self, given: dict[str, Any]) -> Any:
        part = getattr(self.processor, "image_processor", self.processor)
        return part(**given)["pixel_values"]

    def _word(self, image: np.ndarray, question: str, max_tokens: int) -> Answer:
        """A freely worded answer of a model that reads the question with the image."""
        inputs = self.processor(images=as_pil(image), text=question, return_tensors="pt")
        return Answer(self._words(self._generate(dict(inputs), max_tokens)))

    def _choose(self, image: np.ndarray, question: str, max_tokens: int) -> Answer:
        """The likeliest of the answers that the model knows, and its probability among them (a softmax)."""
        inputs = self.processor(images=as_pil(image), text=question, return_tensors="pt", truncation=True)
        with torch.inference_mode():
            probs = self.model(**self._moved(dict(inputs))).logits.float().softmax(-1)[0]
        best = int(probs.argmax())
        return Answer(str(self.model.config.id2label[best]), float(probs[best]))

    def _chat(self, image: np.ndarray, request: str, examples: Sequence[Example], max_tokens: int) -> str:
        """What a chat model says to the request, after examples of what others were answered."""
        messages = []
        for example in examples:
            messages += [asked(request), {"role": "assistant", "content": [{"type": "text", "text": example.text}]}]
        messages.append(asked(request))
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True)
        pictures = [*(as_pil(example.image) for example in examples), as_pil(image)]
        inputs = self.processor(text=[text], images=pictures, return_tensors="pt")
        out = self._generate(dict(inputs), max_tokens)
        return self._words(out[:, inputs["input_ids"].shape[1] :])

    def _generate(self, inputs: dict[str, Any], max_tokens: int) -> torch.Tensor:
        """int64[1, L]: greedy, whatever the model's own settings say."""
        with torch.inference_mode():
            out: torch.Tensor = self.model.generate(
                **self._moved(inputs), do_sample=False, num_beams=1, max_new_tokens=max_tokens
            )
        return out

    def _moved(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """On the model's device; pixels in its precision."""
        device, dtype = self.model.device, self.model.dtype
        return {
            k: v.to(device, dtype) if torch.is_floating_point(v) else v.to(device)
            for k, v in inputs.items() if isinstance(v, torch.Tensor)
        }  # fmt: skip

    def _words(self, tokens: torch.Tensor) -> str:
        tokenizer = getattr(self.processor, "tokenizer", self.processor)
        return " ".join(str(tokenizer.batch_decode(tokens, skip_special_tokens=True)[0]).split())


def asked(request: str) -> dict[str, Any]:
    """A turn of the user's: an image and a text."""
    return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": request}]}


def as_pil(image: np.ndarray) -> Image.Image:
    """The RGB picture of uint8[H, W, 1 | 3]."""
    from PIL import Image

    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("RGB")


def load_vision_language(name: str | Path, device: str | torch.device = "cpu") -> VisionLanguage:
    """The model of a folder in the hub's layout, or of a name there.

    Errors as `model_folder`; UsageError for one that neither describes nor answers; DataError (codes `damaged`,
    `weights-mismatch`) for one that cannot be loaded whole.
    """
    folder = model_folder(name)
    transformers = need("transformers", "text")
    config = read_json(folder / "config.json")
    architecture = str(next(iter(config.get("architectures") or []), ""))
    kind = kind_of_model(architecture, str(config.get("model_type", "")))
    if kind is None or not hasattr(transformers, architecture):
        raise UsageError(
            f"{name} ({architecture or 'no architecture named'}) neither describes images nor answers questions.",
            where="--model", code="model",
            remedy=f"Take a captioner such as {DESCRIBER} or a chat model such as {ANSWERER}.",
        )  # fmt: skip
    place = torch.device(device)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with silent_transformers():
        try:
            processor = transformers.AutoProcessor.from_pretrained(folder, **options)
            model, info = getattr(transformers, architecture).from_pretrained(
                folder, use_safetensors=True, output_loading_info=True,
                dtype=torch.float32 if place.type == "cpu" else "auto", **options,
            )  # fmt: skip
        except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(f"the model cannot be loaded: {reason}", where=str(name), code="damaged") from error
    missing = sorted(info["missing_keys"])
    if missing or info["mismatched_keys"]:
        raise DataError(
            f"its weights are not whole: {len(missing)} missing ({', '.join(missing[:3])}).", where=str(name),
            code="weights-mismatch",
        )  # fmt: skip
    if kind == "chat" and not getattr(processor, "chat_template", None):
        raise UsageError(
            f"{name} has no chat template, so nobody knows how it wants to be asked.", where="--model", code="model",
            remedy=f"Take a model trained to follow instructions, such as {ANSWERER}.",
        )  # fmt: skip
    examples = kind == "chat" and str(config.get("model_type")) in INTERLEAVED
    return VisionLanguage(str(name), kind, model.eval().requires_grad_(False).to(place), processor, examples)


def kind_of_model(architecture: str, model_type: str) -> str | None:
    """What a model is good for by the name of its class; None for neither describing nor answering."""
    if architecture in CAPTIONERS:
        return "captioner"
    if architecture in CLASSIFIERS:
        return "classifier"
    if architecture in GENERATORS:
        return "generator"
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return "chat" if MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(model_type) == architecture else None
