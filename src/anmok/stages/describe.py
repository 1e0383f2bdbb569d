"""`anmok describe`: a caption for one image or many, by a vision-language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anmok.core.config import resolve
from anmok.core.errors import UsageError
from anmok.core.optional import need
from anmok.data.sources import open_table
from anmok.stages.predict_settings import ANY, PredictTree


def describe(
    source: Any, *, model: Any = None, prompt: str | None = None, examples: Sequence[Any] = (),
    out: Path | str | None = None, max_tokens: int = 40, device: str = "cpu",
    layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Any:  # fmt: skip
    """Caption every image of a source and return what was said, a `Spoken`.

    prompt: how a captioner's sentence begins ('a photo of'), or what a chat model is asked to do. The .csv or .parquet
    that `out` names has the columns image and caption, so `anmok train FILE --objective image-text` learns from it.
    Everything else as in `ask`.

    UsageError for a model that does not describe; MachineError where its weights cannot be had.
    """
    need("torch", "train")
    from anmok.engine.runtime import pick_device
    from anmok.nshot.vision_language import DESCRIBER, load_vision_language
    from anmok.stages.spoken import read_examples, speak, target_of

    target, shown = target_of(out), read_examples(examples)
    if max_tokens < 1:
        raise UsageError(f"--max-tokens must be at least 1, found {max_tokens}.", code="setting")
    data = resolve(PredictTree, ANY, *layers, settings).data
    table = open_table(source, data)
    place = str(pick_device(device))
    loaded = model if hasattr(model, "describe") else load_vision_language(model or DESCRIBER, place)
    spoken = speak(
        table, "caption", loaded.name, lambda image: (loaded.describe([image], prompt, shown, max_tokens)[0], None),
        target, allow_truncated=data.allow_truncated,
    )  # fmt: skip
    if target is not None:
        spoken.save(target)
    return spoken
