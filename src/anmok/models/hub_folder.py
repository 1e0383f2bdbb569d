"""A model in the hub's layout as a local folder: found, fetched if need be, and safe to be loaded from."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anmok.core.errors import DataError, MachineError, UsageError, near_path
from anmok.core.files import read_json
from anmok.core.optional import need
from anmok.models.hub import require_hub
from anmok.models.weights import PICKLED

PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
# Keys by which transformers and diffusers are told to import code from beside the weights.
_CODE = frozenset({"auto_map", "trust_remote_code", "custom_pipeline", "custom_pipelines", "code_revision", "_target_"})
_WORDS = ("tokenizer.json", "vocab.json")  # of a tokenizer's, whose keys are words


def model_folder(name: str | Path, where: str = "--model") -> Path:
    """The folder of a model: a local one, or the hub's repository `name`, from the cache or fetched.

    It holds config.json and weights as .safetensors, and asks for no code of its own.  UsageError where the name is
    neither; MachineError (code `offline` or `weights`) that names what is missing and how to bring it; DataError (codes
    `pickle`, `remote-code`) for what is not loaded.
    """
    folder = Path(name)
    if not folder.is_dir():
        if not _NAME.fullmatch(str(name)) or folder.exists():
            raise UsageError(
                f"no such model: {name}.", where=where, code="model",
                remedy=f"{near_path(folder)}Expected a folder in the hub's layout or a name there, as owner/name.",
            )  # fmt: skip
        folder = _fetched(str(name))
    if not (folder / "config.json").is_file():
        raise UsageError(
            "no config.json: no model in the hub's layout.", where=str(folder), code="model",
            remedy="Expected a folder that transformers' save_pretrained wrote, or a name on the hub.",
        )  # fmt: skip
    refuse_code(folder)
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(f.name for f in folder.iterdir() if f.suffix.lower() in PICKLED)
        instead = f", but {pickled[0]}, which can run code when it is read" if pickled else ""
        raise DataError(
            f"no weights as .safetensors{instead}.",
            where=str(folder), code="pickle" if pickled else "weights",
            remedy="Take a model that is published as .safetensors, or convert it where you trust it.",
        )  # fmt: skip
    return folder


def refuse_code(folder: Path) -> None:
    """DataError (code remote-code) where a JSON file in a model's folder, nested parts included, asks for code."""
    for file in sorted(folder.rglob("*.json")):
        key = None if file.name in _WORDS else next(_keys(read_json(file)), None)
        if key is not None:
            raise DataError(
                f"it asks for code of its own ({key}), which anmok never runs.", where=str(file), code="remote-code",
                remedy="Use a model of an architecture that transformers itself has.",
            )  # fmt: skip


def _keys(value: Any) -> Iterator[str]:
    """Every key in _CODE, however deep, whose value says something."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield from (k for k in _CODE & item.keys() if item[k])
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _fetched(repo: str) -> Path:
    """The snapshot of a repository: the cache's, else downloaded.  MachineError as `hub.fetch`."""
    hub = need("huggingface_hub", "train")
    errors = need("huggingface_hub.errors", "train")
    known: dict[str, Any] = {"allow_patterns": PATTERNS, "ignore_patterns": ["onnx/*", "openvino/*"]}
    with contextlib.suppress(errors.EntryNotFoundError, errors.HfHubHTTPError, OSError):
        cached = Path(hub.snapshot_download(repo, local_files_only=True, **known))
        if _whole(cached):
            return cached
    require_hub(repo, f"the model {repo} is", "pass --model FOLDER")
    try:
        return Path(hub.snapshot_download(repo, etag_timeout=10, **known))
    except (errors.EntryNotFoundError, errors.XetDownloadError, errors.HTTPError, OSError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise MachineError(
            f"the model {repo} cannot be fetched: {reason}", code="weights",
            remedy="Check its name; models behind a licence want `hf auth login` first. Or pass --model FOLDER.",
        ) from error  # fmt: skip


def _whole(folder: Path) -> bool:
    """Whether a cached snapshot has its configuration and every file of its weights."""
    index = folder / "model.safetensors.index.json"
    if not (folder / "config.json").is_file():
        return False
    if index.is_file():
        with contextlib.suppress(ValueError, AttributeError, TypeError):
            named = set(json.loads(index.read_bytes())["weight_map"].values())
            return all((folder / name).is_file() for name in named)
    return any(folder.glob("*.safetensors"))
