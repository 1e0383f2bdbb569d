"""A diffusion pipeline as a local folder in the hub's layout, and loaded from it: tensors alone, never any code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anmok.core.errors import DataError, MachineError, UsageError, near_path
from anmok.core.files import read_json, sha256
from anmok.core.optional import need
from anmok.models.hub import require_hub
from anmok.models.hub_folder import refuse_code
from anmok.models.pickled import PICKLED
from anmok.models.user_code import first_line

INDEX = "model_index.json"
LIBRARIES = ("diffusers", "transformers")
SAFE: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
NAMED = "stable-diffusion-v1-5/stable-diffusion-v1-5, stabilityai/sdxl-turbo"
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def pipeline_folder(name: str | Path, where: str = "--model") -> Path:
    """The folder of a pipeline: a local one, or the hub's repository `name`, from the cache or fetched.

    UsageError where the name is neither; MachineError (codes `offline`, `weights`) that names what is missing and how
    to bring it; DataError (codes `remote-code`, `pickle`, `damaged`) for what is not loaded.
    """
    folder = Path(name)
    if not folder.is_dir():
        if not _NAME.fullmatch(str(name)) or folder.exists():
            raise UsageError(
                f"no such model: {name}.", where=f"{where} {name}", code="model",
                remedy=f"{near_path(folder)}Expected a pipeline's folder, or a name on the hub, such as {NAMED}.",
            )  # fmt: skip
        folder = _fetched(str(name))
    if not (folder / INDEX).is_file():
        raise UsageError(
            f"no {INDEX}: no pipeline of diffusers.", where=str(folder), code="model",
            remedy=f"Expected what save_pretrained of a pipeline wrote, or a name on the hub, such as {NAMED}.",
        )  # fmt: skip
    for part in _parts(folder):
        _check_weights(part)
    refuse_code(folder)
    return folder


def load_pipeline(folder: Path, mode: str, device: str = "cpu", dtype: str = "fp32") -> Any:
    """The pipeline of a checked folder for `mode` text or image, on the device, in evaluation mode.

    UsageError (code model) where its kind cannot do that; DataError (code damaged) where it cannot be read.
    """
    diffusers = need("diffusers", "generate")
    import torch
    from safetensors import SafetensorError

    kind = diffusers.AutoPipelineForText2Image if mode == "text" else diffusers.AutoPipelineForImage2Image
    number = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    made = read_json(folder / INDEX)["_class_name"]
    try:
        with silent():
            pipe = kind.from_pretrained(folder, dtype=number, **SAFE)
    except ImportError as error:
        raise MachineError(
            f"the model needs a package that is not installed ({first_line(error)}).", where=str(folder),
            code="missing-package",
        ) from error  # fmt: skip
    except ValueError as error:
        if "AutoPipeline can't find" not in str(error):
            raise _damaged(folder, error) from error
        raise UsageError(
            f"{made} makes no images from {'texts' if mode == 'text' else 'images'}.", where=f"--model {folder}",
            remedy=f"Take another --mode, or a pipeline such as {NAMED}.", code="model",
        ) from error  # fmt: skip
    except (SafetensorError, OSError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise _damaged(folder, error) from error
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def _damaged(folder: Path, error: BaseException) -> DataError:
    return DataError(
        f"the pipeline cannot be read ({first_line(error)}).", where=str(folder), code="damaged",
        remedy="Fetch it anew, with every folder that its model_index.json names.",
    )  # fmt: skip


def pipeline_hash(folder: Path) -> str:
    """SHA-256 (hex) over the weights and the settings of a pipeline, whose files lie where they lie."""
    files = sorted(f for f in folder.rglob("*") if f.suffix in (".safetensors", ".json", ".txt") and f.is_file())
    lines = "".join(f"{f.relative_to(folder).as_posix()} {sha256(f)}\n" for f in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _parts(folder: Path) -> list[Path]:
    """The folders of a pipeline's parts.  DataError where its index names code that is not the two libraries' own."""
    index = read_json(folder / INDEX)
    if not isinstance(index, dict):
        raise _damaged(folder, ValueError(f"{INDEX} is no object"))
    if not isinstance(index.get("_class_name"), str):
        raise _foreign(folder, f"_class_name {index.get('_class_name')!r}")
    parts = []
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list) or value[:1] == [None] or not value:
            continue
        library = value[0]
        own = isinstance(library, str) and (library in LIBRARIES or _of_diffusers(library))
        if not own or Path(name).name != name or (folder / name / f"{library}.py").exists():
            raise _foreign(folder, f"{name} from {library}")
        parts.append(folder / name)
    return parts


def _of_diffusers(library: str) -> bool:
    """Whether it is a module of diffusers' own pipelines, as 'stable_diffusion' with its safety checker is."""
    return library.isidentifier() and hasattr(need("diffusers", "generate").pipelines, library)


def _foreign(folder: Path, what: str) -> DataError:
    return DataError(
        f"it asks for code of its own ({what}), which anmok never runs.", where=str(folder / INDEX), code="remote-code",
        remedy="Use a pipeline whose parts diffusers and transformers themselves have.",
    )  # fmt: skip


def _check_weights(part: Path) -> None:
    """DataError where a part of a pipeline is not there, or has its weights pickled alone."""
    if not part.is_dir():
        raise DataError(
            f"{part.name} is missing, which {INDEX} names.", where=str(part.parent), code="damaged",
            remedy="Fetch the pipeline anew.",
        )  # fmt: skip
    pickled = sorted(f.name for f in part.iterdir() if f.suffix.lower() in PICKLED)
    if pickled and not any(part.glob("*.safetensors")):
        raise DataError(
            f"no weights as .safetensors, but {pickled[0]}, which can run code when it is read.", where=str(part),
            code="pickle", remedy="Take a pipeline that is published as .safetensors.",
        )  # fmt: skip


def _fetched(repo: str) -> Path:
    """The snapshot of a repository: the cache's, else downloaded, .safetensors alone."""
    hub, diffusers = need("huggingface_hub", "train"), need("diffusers", "generate")
    errors = need("huggingface_hub.errors", "train")
    cannot = (errors.EntryNotFoundError, errors.HfHubHTTPError, OSError, ValueError)
    with contextlib.suppress(*cannot):
        cached = Path(hub.snapshot_download(repo, local_files_only=True))
        if _whole(cached):
            return cached
    require_hub(repo, f"the model {repo} is", "pass --model FOLDER")
    try:
        with silent():
            return Path(diffusers.DiffusionPipeline.download(repo, use_safetensors=True, trust_remote_code=False))
    except (*cannot, errors.XetDownloadError, RuntimeError) as error:
        raise MachineError(
            f"the model {repo} cannot be fetched: {first_line(error)}", code="weights",
            remedy="Check its name; models behind a licence want `hf auth login` first, and one without .safetensors "
            "is not read. Or pass --model FOLDER.",
        ) from error  # fmt: skip


def _whole(folder: Path) -> bool:
    """Whether a cached snapshot has every part that its index names, with every file of its weights."""
    try:
        index = json.loads((folder / INDEX).read_bytes())
        parts = [folder / k for k, v in index.items() if isinstance(v, list) and v[:1] != [None] and k[:1] != "_"]
        for part in parts:
            if not any(f.is_file() for f in part.iterdir()):
                return False
            if (part / "config.json").is_file() and not any(part.glob("*.safetensors")):
                return False
            for file in part.glob("*.safetensors.index.json"):
                if not all((part / n).is_file() for n in json.loads(file.read_bytes())["weight_map"].values()):
                    return False
    except (OSError, ValueError, AttributeError, KeyError):
        return False
    return bool(parts)


@contextmanager
def silent() -> Iterator[None]:
    """The notes and bars of diffusers and transformers are kept back for the length of the block."""
    loggers = [need(f"{name}.utils", "generate").logging for name in LIBRARIES]
    before = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in loggers]
    for log in loggers:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of settings of old repositories, which still mean the same
            yield
    finally:
        for log, level, bars in before:
            log.set_verbosity(level)
            if bars:
                log.enable_progress_bar()
