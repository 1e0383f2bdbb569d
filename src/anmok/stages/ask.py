"""`anmok ask`: a question about one image or many, answered by a vision-language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anmok.core.config import resolve
from anmok.core.errors import UsageError
from anmok.core.optional import need
from anmok.data.sources import open_table
from anmok.stages.predict_settings import ANY, PredictTree


def ask(
    source: Any, question: str, *, model: Any = None, examples: Sequence[Any] = (), out: Path | str | None = None,
    max_tokens: int = 40, device: str = "cpu", layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Any:  # fmt: skip
    """Ask a question about every image of a source and return what was said, a `Spoken`.

    source: an image, a folder or anything `anmok.open` takes. model: a name on the hub, a folder in its layout, or a
    loaded `VisionLanguage`; default: a small chat model. examples: (image, answer) pairs or 'photo.jpg=a can', for a
    model that takes several images. out: a .csv, .parquet or .png (a contact sheet) that must not exist yet.
    max_tokens: of an answer. The answer is greedy: the same each time.

    UsageError for an empty question or a model that does not answer; MachineError where its weights cannot be had.
    """
    need("torch", "train")
    from anmok.engine.runtime import pick_device
    from anmok.nshot.vision_language import ANSWERER, load_vision_language
    from anmok.stages.spoken import read_examples, speak, target_of

    target, shown = target_of(out), read_examples(examples)
    if not question.strip():
        raise UsageError("the question is empty.", code="prompt", remedy='As in: anmok ask photo.jpg "what is this?"')
    if max_tokens < 1:
        raise UsageError(f"--max-tokens must be at least 1, found {max_tokens}.", code="setting")
    data = resolve(PredictTree, ANY, *layers, settings).data
    table = open_table(source, data)
    place = str(pick_device(device))
    loaded = model if hasattr(model, "ask") else load_vision_language(model or ANSWERER, place)
    spoken = speak(
        table, "answer", loaded.name, lambda image: loaded.ask([image], question, shown, max_tokens)[0], target,
        asked=question, allow_truncated=data.allow_truncated,
    )  # fmt: skip
    if target is not None:
        spoken.save(target)
    return spoken
