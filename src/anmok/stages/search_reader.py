"""What turns images, and where it can texts, into vectors: a dual encoder, or the network of a run before its head."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import UsageError
from anmok.core.files import MANIFEST, sha256
from anmok.core.optional import need
from anmok.core.progress import warn
from anmok.evaluate.probes import unit

DEFAULT = "openai/clip-vit-base-patch32"


class Reader(NamedTuple):
    """name: as shown; hash: of weights and settings; prepare: uint8[H, W, C] to what `encode` takes a list of; encode:
    to unit vectors float32[N, D]; channels: of the decoded image; dual: the DualEncoder, None for images alone.
    """

    name: str
    hash: str
    prepare: Callable[[np.ndarray], np.ndarray]
    encode: Callable[[Sequence[np.ndarray]], np.ndarray]
    channels: Any = "rgb"
    dual: Any = None


def dual_reader(model: Any, device: str = "cpu") -> Reader:
    """The Reader of a dual encoder: an object, a run or folder of one's own, or a name or folder of the hub's.

    UsageError (code model) where it is none; MachineError where its weights cannot be had.
    """
    need("torch", "train")
    from anmok.deploy.dual import dual_folder
    from anmok.deploy.dual import load_dual as load_own
    from anmok.engine.runtime import pick_device
    from anmok.models.dual import load_dual

    if hasattr(model, "encode_texts"):
        return _of_dual(model, str(getattr(model, "name", type(model).__name__)), str(getattr(model, "hash", "")))
    place, name = str(pick_device(device)), os.fspath(model)
    if (folder := dual_folder(name)) is not None:
        return _of_dual(load_own(folder, device=place), name, sha256(folder / MANIFEST))
    if is_own(name):
        raise UsageError(
            "it is a classifier, which knows no texts.", where=f"--model {name}", code="model",
            remedy=f"Expected a dual encoder such as {DEFAULT}, or a run trained with --objective image-text.",
        )  # fmt: skip
    found = load_dual(name, place)
    return _of_dual(found, name, found.hash)


def _of_dual(dual: Any, name: str, mark: str) -> Reader:
    if hasattr(dual, "prepare"):
        return Reader(name, mark, dual.prepare, dual.encode_images, "rgb", dual)
    p = Preprocess.from_dict(dual.preprocess)
    return Reader(name, mark, p.apply, lambda images: dual.encode_images(np.stack(list(images))), p.channels, dual)


def is_own(name: str) -> bool:
    """Whether a path is a run or a model folder of a classifier."""
    import json

    folder = Path(name)
    if (folder / "config.toml").is_file():
        return True
    try:
        return "anmok" in json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def any_reader(model: Any, device: str = "cpu") -> Reader:
    """A dual encoder as `dual_reader`, or the network of a run or model folder without its head.

    UsageError (code model): an ensemble, or a network whose head is not known.
    """
    if hasattr(model, "encode_texts"):
        return dual_reader(model, device)
    own = hasattr(model, "classifier") or hasattr(model, "load_model")
    if not own:
        from anmok.deploy.dual import dual_folder

        own = dual_folder(model) is None and is_own(os.fspath(model))
    return _of_classifier(model, device) if own else dual_reader(model, device)


def _of_classifier(what: Any, device: str) -> Reader:
    from anmok.models.classifier import evaluating
    from anmok.stages.inspect_looks import as_input
    from anmok.stages.inspect_subject import encoder_of
    from anmok.stages.load import load

    model = what if hasattr(what, "classifier") else load(what, device=device)
    encoder, why = (
        encoder_of(model) if hasattr(model, "classifier") else (None, "an ensemble has no vectors of its own.")
    )
    if encoder is None:
        raise UsageError(why, where="--model", code="model", remedy="Name one of its members, or another model.")

    def encode(images: Sequence[np.ndarray]) -> np.ndarray:
        with evaluating(encoder):
            return unit(encoder(as_input(model, np.stack(list(images)))).float().cpu().numpy())

    return Reader(str(model.path), model.hash, model.preprocess.apply, encode, model.preprocess.channels)


def text_vectors(reader: Reader, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors float32[M, D] of queries; warns of those in a writing that the model does not know.

    UsageError: an empty text, or a model that knows none.
    """
    if reader.dual is None:
        raise UsageError(
            "it knows no texts, images alone.", where=f"--model {reader.name}", code="model",
            remedy=f"Give a photo as --query, or a dual encoder such as {DEFAULT} as --model.",
        )  # fmt: skip
    if any(not text.strip() for text in texts):
        raise UsageError("an empty text says nothing.", where="--query", code="query")
    strange = [text for text in texts if foreign(reader, text)]
    if strange:
        warn(
            f"the model does not know the writing of {len(strange)} text(s), such as '{strange[0][:40]}': what it "
            "finds means little. google/siglip2-base-patch16-224 knows many languages"
        )
    return reader.dual.encode_texts(list(texts))


def foreign(reader: Reader, text: str) -> bool:
    """Whether a text is in a writing that the model's tokenizer has no pieces of; see `HubDual.spelled`."""
    spelled = getattr(reader.dual, "spelled", None)
    return bool(spelled is not None and spelled(text))


def short_hash(*parts: str) -> str:
    """BLAKE2b-16, hex, of texts."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
