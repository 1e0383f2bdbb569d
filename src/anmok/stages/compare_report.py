"""What a comparison knows, gathered for its page; the report room draws it and computes nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from anmok.core.config import leaves
from anmok.core.machine import cpu_name, versions
from anmok.report.compare_content import CompareContent
from anmok.report.compare_page import figures_of, write_compare_report
from anmok.report.figures import save_png
from anmok.report.words import count
from anmok.stages.compare_advice import ranked
from anmok.stages.compare_result import Comparison
from anmok.stages.compare_settings import CompareTree


def write_report(found: Comparison) -> Path:
    """report.html, and its figures as pareto.png, data.png and robustness.png."""
    content = content_of(found)
    for name, figure in figures_of(content).items():
        save_png(figure, found.path / f"{name}.png")
    return write_compare_report(found.path / "report.html", content)


def content_of(found: Comparison) -> CompareContent:
    """What the page shows."""
    config, table, rows = found.config, found.table, found.rows
    train, test = (len(table.labelled().where(split=split)) for split in ("train", "test"))
    best = ranked([row for row in rows if not row.error])
    minutes = f"{config.minutes:g} minute{'' if config.minutes == 1 else 's'}"
    budget = minutes if config.epochs is None else count(config.epochs, "epoch")
    devices = ", ".join(dict.fromkeys(row.device for row in rows if row.device))
    return CompareContent(
        title=f"{count(len(config.models), 'model')} compared: {found.path.name}",
        subtitle=f"{train:,} training images, {budget} for each network",
        rows=[asdict(row) for row in rows],
        advice=found.advice,
        front=found.front,
        best=best[0].model if best else "",
        task=table.task,
        images=test,
        classes=len(table.classes),
        settings=_changed(config),
        facts={
            "processor": cpu_name(), "device": devices, "fingerprint": table.fingerprint[:16],
            **versions(("torch", "timm", "scikit-learn")),
        },
    )  # fmt: skip


def _changed(config: CompareTree) -> dict[str, str]:
    """The settings that are not as they are by default, and the time."""
    out = {"minutes": f"{config.minutes:g}"}
    for leaf in leaves(CompareTree):
        value = config
        for part in leaf.path.split("."):
            value = getattr(value, part)
        if value != leaf.default:
            out[leaf.path] = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return out
