"""A dual encoder's parts from a folder in the hub's layout: network, tokenizer, image processor; never any code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from anmok.core.errors import DataError, MachineError, UsageError
from anmok.core.files import read_json
from anmok.core.optional import need
from anmok.models.dual_kinds import KINDS, NAMED, Kind
from anmok.models.hub_folder import model_folder
from anmok.models.silence import silent_transformers
from anmok.models.user_code import first_line

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


class Parts(NamedTuple):
    """What `load_parts` found."""

    folder: Path
    kind: Kind
    model: Any
    tokenizer: Any
    processor: Any


def load_parts(name: str | Path) -> Parts:
    """The parts of a dual encoder by name on the hub or by folder; see `dual.load_dual` for the errors."""
    transformers = need("transformers", "text")
    folder = model_folder(name)
    config = read_json(folder / "config.json")
    kind_name = config.get("model_type") if isinstance(config, dict) else None
    if kind_name not in KINDS:
        what = f"it is of the kind {kind_name}, which" if kind_name else "it"
        raise UsageError(
            f"{what} is no dual encoder: it does not place images and texts in one space.", where=f"--model {name}",
            remedy=f"Expected {', '.join(KINDS)}, such as {NAMED}; or a run trained with --objective image-text.",
            code="model",
        )  # fmt: skip
    kind = KINDS[kind_name]
    from safetensors import SafetensorError

    try:
        with silent_transformers():
            model, info = getattr(transformers, kind.cls).from_pretrained(
                folder, use_safetensors=True, output_loading_info=True, dtype="float32", **LOCAL
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **LOCAL)
            processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **LOCAL)
    except ImportError as error:
        raise MachineError(
            f"the model needs a package that is not installed ({first_line(error)}).", where=f"--model {name}",
            code="missing-package",
        ) from error  # fmt: skip
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(
            f"the model cannot be read ({first_line(error)}).", where=str(folder), code="damaged",
            remedy="Fetch it anew: config.json, model.safetensors, preprocessor_config.json and the tokenizer's files.",
        ) from error  # fmt: skip
    lacking = sorted(info["missing_keys"]) + sorted(map(str, info["mismatched_keys"]))
    if lacking:
        raise DataError(
            f"the weights lack {len(lacking):,} tensors of the network, such as {lacking[0]}.", where=str(folder),
            remedy="Fetch it anew; half a model is not used.", code="weights-mismatch",
        )  # fmt: skip
    return Parts(folder, kind, model.eval().requires_grad_(False), tokenizer, processor)
