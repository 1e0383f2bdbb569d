"""`anmok doctor`: device, threads, precisions that really run, versions, where caches lie."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from anmok.core.machine import cores, cpu_flags, cpu_name, memory_bytes, versions


def examine() -> list[tuple[str, str]]:
    """(what, finding) rows: device, threads, precisions that really run, versions, caches."""
    rows = [
        ("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()} ({sys.executable})"),
        ("processor", f"{cpu_name()}, {cores()} core(s) usable of {os.cpu_count()}"),
        ("instructions", ", ".join(cpu_flags()) or "not known"),
        ("memory", f"{memory_bytes() / 2**30:.1f} GiB"),
    ]
    rows += _torch_rows()
    rows += [("versions", ", ".join(f"{k} {v}" for k, v in versions().items()))]
    hub = os.environ.get("HF_HUB_CACHE") or str(
        Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub"
    )
    rows.append(("weights cache", f"{hub} ({'there' if Path(hub).is_dir() else 'empty'})"))
    return rows


def _torch_rows() -> list[tuple[str, str]]:
    try:
        import torch
    except ModuleNotFoundError:
        return [("torch", "not installed; training needs: pip install 'anmok[train]'")]
    from anmok.engine.runtime import pick_device

    device = pick_device("auto")
    rows = [("device", str(device)), ("torch threads", str(torch.get_num_threads()))]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            p = torch.cuda.get_device_properties(i)
            rows.append((f"cuda:{i}", f"{p.name}, {p.total_memory / 2**30:.0f} GiB, capability {p.major}.{p.minor}"))
    else:
        reason = "this torch is built without CUDA" if torch.version.cuda is None else "no CUDA driver or GPU answers"
        rows.append(("cuda", f"not available: {reason}"))
    rows.append(("precisions", ", ".join(_precisions(device))))
    return rows


def _precisions(device: Any) -> list[str]:
    """Precisions in which a matrix product runs on the device, with its rate relative to fp32."""
    import torch

    out, base = [], 0.0
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        try:
            x = torch.randn(512, 512, device=device).to(dtype)
            times = []
            for _ in range(5):
                began = time.perf_counter()
                float((x @ x).sum())
                times.append(time.perf_counter() - began)
            seconds = sorted(times)[2]
        except RuntimeError:
            out.append(f"{name} (does not run)")
            continue
        base = base or seconds
        out.append(f"{name} ({base / seconds:.2g} x)")
    return out
