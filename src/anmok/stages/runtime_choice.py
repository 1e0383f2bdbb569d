"""Which runtime answers for an exported model folder here: what was measured on this machine, else the plain one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.augment.tta import ATTENTION, SCALES
from anmok.core.errors import DataError, MachineError, UsageError, did_you_mean
from anmok.core.files import MANIFEST, read_json, sha256, write_json
from anmok.core.machine import cores, cpu_flags, cpu_name, versions
from anmok.core.optional import need
from anmok.core.progress import say, warn
from anmok.data.cache_folder import cache_root
from anmok.deploy.fast import Exported, FastModel, Taken, is_exported, open_exported
from anmok.deploy.runtimes import Form, why_not
from anmok.stages.predict_settings import AUTO, TORCH

if TYPE_CHECKING:
    from anmok.stages.bench_model_result import ModelSpeed

PLAIN = Form("onnxruntime", "fp32")  # where nothing was measured
MOST = 256  # images in one call of a runtime that takes any number
RUNTIMES = ("torch", "onnxruntime", "openvino")
MISSING = ("missing-package", "runtime")  # codes after which the next form is tried


def this_machine() -> dict[str, Any]:
    """What a measurement holds for: processor, its instructions, cores, versions of the runtimes."""
    found = {name: version for name, version in versions(RUNTIMES).items() if name != "python"}
    return {"cpu": cpu_name(), "flags": cpu_flags(), "cores": cores(), "versions": found}


def machine_key() -> str:
    """Short hex over `this_machine`."""
    return hashlib.sha256(json.dumps(this_machine(), sort_keys=True).encode()).hexdigest()[:16]


def as_choice(speed: ModelSpeed) -> dict[str, Any]:
    """What of a measurement is kept: the machine, the forms by speed, and which was taken."""
    return {
        "machine": this_machine(), "threads": speed.threads, "images": speed.images, "split": speed.split,
        "rows": [row.to_dict() for row in speed.rows],
    }  # fmt: skip


def remember(folder: Path, speed: ModelSpeed) -> Path:
    """Keep a measurement of an exported folder for this machine, in the user's cache: the folder stays as it is."""
    return write_json(_kept(sha256(folder / MANIFEST)), as_choice(speed))


def _kept(model_hash: str) -> Path:
    return cache_root() / "runtimes" / f"{model_hash[:32]}-{machine_key()}.json"


def exported_folder(path: Any) -> Path | None:
    """The folder with a graph that a path means, itself or its model/; None where it means none."""
    if not isinstance(path, str | Path):
        return None
    return next((f for f in (Path(path), Path(path) / "model") if is_exported(f)), None)


def load_fastest(path: Any, device: str = "cpu", threads: int | None = None) -> FastModel | None:
    """The model of an exported folder in what was measured to be the fastest here; None: torch has to run it.

    That is so for a path that means no such folder, on a GPU, and where the folder's weights or decision have been made
    anew since (said aloud). On a machine where nothing was measured it is ONNX Runtime in float32. threads: by default
    as many as were measured with.  DataError: see `fast.open_exported`; MachineError: nothing here can run it.
    """
    folder = exported_folder(path)
    if folder is None or device not in ("cpu", "auto") or (device == "auto" and _gpu()):
        return None
    found = open_exported(folder)
    if not found.current:
        warn(f"{folder}: the graph is older than the weights or the decision, so torch runs it; export it anew")
        return None
    choice = _measured(found)
    if choice is None:
        return _plain(found, threads)
    taken: dict[int, Taken] = {}
    for batch in sorted({int(row["batch"]) for row in choice["rows"]}):
        rows = sorted(
            (r for r in choice["rows"] if r["batch"] == batch and not r["why"] and r["ms"] is not None),
            key=lambda r: float(r["ms"]),
        )
        first = _first(found, rows, batch, threads or int(choice["threads"]))
        if first is not None:
            taken[batch] = first
    return found.model(taken) if taken else _plain(found, threads)


def load_to_predict(
    path: Any, device: str = "cpu", threads: int | None = None, tta: str | None = None, runtime: str = AUTO
) -> Any:
    """What answers for a path: see `load_fastest`, and `load` where torch has to run it, as it has for views of other
    sizes than the graph's and for what the network is active in, or is asked for. What runs it is said aloud.
    UsageError: no such runtime.
    """
    from anmok.stages.load import load

    if runtime not in (AUTO, TORCH):
        raise UsageError(
            f"no such runtime as {runtime}.", where="--runtime", remedy=did_you_mean(runtime, (AUTO, TORCH)),
            code="setting",
        )  # fmt: skip
    by_torch = runtime == TORCH or tta in (SCALES, ATTENTION)
    fast = None if by_torch else load_fastest(path, device, threads)
    if fast is None:
        return load(path, device=device)
    say(f"runtime: {fast.runtime}")
    return fast


def _first(found: Exported, rows: list[dict[str, Any]], batch: int, threads: int) -> Taken | None:
    """The fastest form of a batch size that opens here; what does not is said aloud."""
    for row in rows:
        form, ms = Form(row["runtime"], row["dtype"], row["layout"]), float(row["ms"])
        why = why_not(form)
        try:
            if not why:
                return found.take(form, batch, threads, ms) if form.graph else _torch(found, form, threads, ms)
        except (MachineError, DataError) as error:
            if error.code not in MISSING:
                raise
            why = error.message
        say(f"{form} cannot run here ({why}); the next fastest is used")
    return None


def _plain(found: Exported, threads: int | None) -> FastModel | None:
    """ONNX Runtime in float32; None where it is not installed, but torch is."""
    if why_not(PLAIN):
        if why_not(Form("torch", "fp32")):
            need("onnxruntime", "export")
        return None
    say(f"no measurement of this machine: {PLAIN} runs it; `anmok bench model {found.path}` finds the fastest")
    return found.model({MOST: found.take(PLAIN, MOST, threads)})


def _torch(found: Exported, form: Form, threads: int, ms: float) -> Taken:
    """torch in this form, from the folder's own weights."""
    from anmok.deploy.torch_forms import torch_answer
    from anmok.stages.exportable import exportable
    from anmok.stages.load import load

    return Taken(form, torch_answer(exportable(load(found.path)).module, form, threads), ms)


def _measured(found: Exported) -> dict[str, Any] | None:
    """What was measured on this machine: by `anmok export` in runtime.json, or by `anmok bench model` in the cache."""
    key, kept = machine_key(), _kept(found.hash)
    choice = read_json(kept) if kept.is_file() else found.runtime["machines"].get(key)
    if choice is None:
        return None
    try:
        for row in choice["rows"]:
            Form(str(row["runtime"]), str(row["dtype"]), str(row["layout"])), int(row["batch"]), row["why"], row["ms"]
        int(choice["threads"])
    except (KeyError, TypeError, ValueError) as error:
        where = kept if kept.is_file() else found.path / "runtime.json"
        raise DataError(f"the measurement is damaged ({error!r}).", where=str(where), code="damaged",
                        remedy=f"Measure anew: anmok bench model {found.path}") from error  # fmt: skip
    return dict(choice)


def _gpu() -> bool:
    if why_not(Form("torch", "fp32")):
        return False
    from anmok.engine.runtime import pick_device

    return pick_device("auto").type != "cpu"
