"""What this machine has, asked of the machine itself."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "timm", "transformers", "numpy", "polars", "pyarrow", "pillow", "simplejpeg",
            "opencv-python-headless", "scikit-learn", "onnxruntime", "openvino")  # fmt: skip


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(names: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Installed versions; a package that is not installed is left out."""
    out = {"python": platform.python_version()}
    for name in names:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def cpu_name() -> str:
    """The processor's name, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """The instruction sets that decide a network's speed, of those this CPU has."""
    wanted = (
        "avx2",
        "avx512f",
        "avx512_bf16",
        "avx512_vnni",
        "avx512_fp16",
        "amx_bf16",
        "amx_int8",
        "bf16",
        "sve",
        "asimd",
    )
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    flags = {
        f
        for line in text.splitlines()
        if line.split(":")[0].strip() in ("flags", "Features")
        for f in line.split(":")[1].split()
    }
    return [f for f in wanted if f in flags]


def memory_bytes() -> int:
    """Physical memory, 0 where the system does not say."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fingerprint() -> dict[str, Any]:
    """What bit-identical repetition depends on besides data, settings and plan."""
    return {
        "cpu": cpu_name(),
        "flags": cpu_flags(),
        "versions": {k: v for k, v in versions().items() if k in ("python", "torch", "timm", "numpy")},
    }


def free_memory_bytes(root: Path = Path("/")) -> int:
    """Memory that can be had now, what the system only borrows for files included; 1 GiB where it does not say.

    A control group (a container, a job of a scheduler) that allows less counts, and so do the groups around it.
    """
    return min([_machine_free_bytes(root), *_group_free_bytes(root)])


def _machine_free_bytes(root: Path) -> int:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return 1 << 30
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _group_free_bytes(root: Path) -> Iterator[int]:
    """What is left in each control group around this process: its limit less what it holds beyond idle file pages."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            home, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            home = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container the path may be that of the host, of which only the top is mounted.
        for part in (Path(path.lstrip("/")), *Path(path.lstrip("/")).parents):
            group = home / part
            try:
                limit = (group / names[0]).read_text().strip()
                used = int((group / names[1]).read_text())
                stat = dict(s.split() for s in (group / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):
                continue
            if limit.isdecimal():  # version 2 says "max" for none
                yield max(0, int(limit) - used + int(stat.get(names[2], 0)))
