"""The one place where a pickle is read: in a process of its own, at the user's word, and only its tensors come out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from anmok.core.errors import DataError, UsageError
from anmok.core.files import write_atomic
from anmok.core.progress import say
from anmok.models.weights import PICKLED

# What the child keeps of the environment: enough to find shared libraries, no tokens, no proxies.
KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL")

# Runs with -I: no current folder, no PYTHON* variables, no user packages. The audit hook is a second line: it stops
# what a pickle usually does (start programs, open connections, write files); it is no sandbox, hence --trust.
CHILD = r"""
import json, os, pickle, sys
import torch
from safetensors.torch import save_file

source, target = sys.argv[1], sys.argv[2]
NESTED = ("state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model_state_dict", "model", "net", "network",
          "module", "params", "weights")
BLOCKED = ("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.remove", "os.rename",
           "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.putenv", "os.kill",
           "shutil.", "socket.", "pty.", "ctypes.", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.")

def guard(event, args):
    if event.startswith(BLOCKED):
        raise PermissionError(f"the file tried to run {event}{args!r:.120}")
    if event == "open" and (
        any(c in (args[1] or "") for c in "wax+") or (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    ):
        raise PermissionError(f"the file tried to write {args[0]!r}")

def load():
    try:
        return torch.load(source, map_location="cpu", weights_only=True), "restricted"
    except pickle.UnpicklingError:
        return torch.load(source, map_location="cpu", weights_only=False), "full"

def dig(value, path=""):
    if isinstance(value, torch.nn.Module):
        return value.state_dict(), path + "state_dict()"
    if not isinstance(value, dict):
        raise ValueError(f"it holds {type(value).__name__}, no tensors by name")
    for name in NESTED:
        if isinstance(value.get(name), (dict, torch.nn.Module)):
            return dig(value[name], f"{path}{name}.")
    return value, path

try:
    sys.addaudithook(guard)  # for good: what is written below goes past Python's open
    value, how = load()
    found, path = dig(value)
    tensors, left = {}, []
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            left.append(str(name))
            continue
        for prefix in ("_orig_mod.", "module.", "_orig_mod."):
            name = name.removeprefix(prefix)
        tensors[name] = tensor.detach().to("cpu", copy=True).contiguous()
    if not tensors:
        raise ValueError("it holds no tensors by name")
    save_file(tensors, target, metadata={"format": "pt"})
    print(json.dumps({"how": how, "path": path.rstrip("."), "left": left}))
except BaseException as error:
    print(json.dumps({"error": f"{type(error).__name__}: {str(error).strip() or 'no reason given'}"}))
"""


def convert(file: Path | str, out: Path | str | None = None, trust: bool = False) -> Path:
    """Write the tensors of a pickled file as .safetensors, atomically, print their table, and return the path.

    out: by default the file's name with .safetensors; it must not exist. trust: the user's word that the file comes
    from a source that may run code here: a restricted reader is tried first, but what it refuses is read in full.
    UsageError without it; DataError if the file holds no tensors, or tries to do more than to be read.
    """
    file = Path(file)
    out = file.with_suffix(".safetensors") if out is None else Path(out)
    if not file.is_file():
        raise UsageError("no such file.", where=str(file), code="missing-file")
    if not trust:
        raise UsageError(
            "reading a pickled file can run code that somebody hid in it.", where=str(file), code="pickle",
            remedy="If you trust where it comes from, add --trust.",
        )  # fmt: skip
    if file.suffix.lower() not in PICKLED:
        raise UsageError(
            f"only pickled files are converted ({', '.join(sorted(PICKLED))}).", where=str(file), code="usage"
        )
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out} must end in .safetensors.", code="usage")
    if out.exists():
        raise UsageError(f"--out {out} exists already.", remedy="Name a new one, or remove it first.", code="exists")
    write_atomic(out, lambda temporary: _run_child(file, temporary))
    say(tensor_table(out))
    return out


def _run_child(file: Path, target: Path) -> None:
    env = {k: os.environ[k] for k in KEPT if k in os.environ} | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-I", "-c", CHILD, str(file.resolve()), str(target.resolve())],
        env=env, cwd=target.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        said = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = {"error": f"the reader ended with status {done.returncode}"}
    if "error" in said:
        reason = " ".join(said["error"].split())[:300]
        raise DataError(
            f"no tensors can be read from it ({reason}).", where=str(file), code="unreadable",
            remedy="Where it was made, write the weights with safetensors.torch.save_file.",
        )  # fmt: skip
    if said["how"] == "full":
        say("the restricted reader refused the file; it was read in full, in a process of its own")
    if said["path"]:
        say(f"tensors taken from {said['path']}")
    if said["left"]:
        say(f"{len(said['left'])} entries are no tensors and were left out: {', '.join(said['left'][:5])}")


def tensor_table(file: Path) -> str:
    """Name, shape and type of every tensor of a .safetensors file, one a line, and the sum."""
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as tensors:
        rows = [(n, tensors.get_slice(n).get_shape(), tensors.get_slice(n).get_dtype()) for n in tensors.keys()]  # noqa: SIM118
    width = max((len(n) for n, _, _ in rows), default=0)
    count = sum(_product(shape) for _, shape, _ in rows)
    lines = [f"{name:<{width}}  {dtype:<5} {'×'.join(map(str, shape)) or 'scalar'}" for name, shape, dtype in rows]
    return "\n".join([*lines, f"{len(rows)} tensors, {count:,} numbers"])


def _product(shape: list[int]) -> int:
    out = 1
    for side in shape:
        out *= side
    return out
