"""What an audit found, and the files it is kept in."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.audit.config import AuditConfig
from anmok.audit.findings import UNSAFE, find, groups, to_frame
from anmok.audit.scan import Scan, normalization, scan
from anmok.core.files import new_folder, write_json
from anmok.data.table import Table, class_counts

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class Audit:
    """images: one row of measurements an image; findings: kind, ids, score, evidence, decision; summary: audit.json."""

    images: pl.DataFrame
    findings: pl.DataFrame
    summary: dict[str, Any]

    def of(self, kind: str) -> pl.DataFrame:
        """The findings of one kind."""
        return self.findings.filter(self.findings["kind"] == kind)

    def save(self, folder: Path | str) -> Path:
        """Write audit.json, images.parquet and findings.parquet; the folder appears whole or not at all."""
        with new_folder(folder) as new:
            write_json(new / "audit.json", self.summary)
            self.images.write_parquet(new / "images.parquet")
            self.findings.write_parquet(new / "findings.parquet")
        return Path(folder)

    def lines(self) -> list[tuple[str, str]]:
        """(what, how much) of the summary, as text."""
        s = self.summary
        memory = s["memory"]
        sizes = " / ".join(f"{memory[f'{k}_bytes'] / 1e6:,.1f}" for k in ("files", "uint8", "float32"))
        out = [
            ("images", f"{s['images']:,}"),
            ("classes", ", ".join(f"{k} {n:,}" for k, n in s["classes"].items()) or "none"),
        ]
        out += [(kind, f"{n:,}") for kind, n in s["findings"].items()]
        if s["normalization"]["mean"] is not None:
            out += [(key, ", ".join(f"{v:.4f}" for v in s["normalization"][key])) for key in ("mean", "std")]
        return [*out, ("memory", f"{sizes} MB as files / uint8 / float32"), ("seconds", f"{s['seconds']:.1f}")]

    def __repr__(self) -> str:
        reason = unsafe(self)
        verdict = f"unsafe to train on: {reason}" if reason else "nothing makes training unsafe"
        return "\n".join([f"Audit: {verdict}", *(f"  {name:<20} {text}" for name, text in self.lines())])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{html.escape(n)}</td><td>{html.escape(t)}</td></tr>" for n, t in self.lines())
        return f"<table><tr><th>audit</th><th></th></tr>{rows}</table>"


def audit(table: Table, *, threads: int | None = None, config: AuditConfig | None = None) -> Audit:
    """Look at every image of a table once, and say what is wrong or odd.  A bad file is a finding, never an error."""
    return conclude(scan(table, threads=threads), table, config or AuditConfig())


def conclude(measured: Scan, table: Table, config: AuditConfig) -> Audit:
    """Findings and summary of a scan (or of the sum of scans of its parts)."""
    images = measured.images
    findings = to_frame(find(images, table, config))
    return Audit(images.with_columns(groups(images)), findings, summarize(measured, findings, table))


def summarize(measured: Scan, findings: pl.DataFrame, table: Table) -> dict[str, Any]:
    """The content of audit.json.  memory: of the files, and of all pixels of three channels as uint8 and as float32."""
    images = measured.images
    readable = images.filter(images["fault"].is_null())
    pixels = int((readable["width"] * readable["height"]).sum())
    counts = findings["kind"].value_counts(sort=True)
    return {
        "images": images.height,
        "classes": class_counts(table),
        "findings": dict(sorted(counts.iter_rows(), key=lambda item: (-item[1], item[0]))),
        "normalization": normalization(images),
        "memory": {
            "files_bytes": int(images["bytes"].sum()), "uint8_bytes": pixels * 3, "float32_bytes": pixels * 12,
        },
        "seconds": round(measured.seconds, 3),
    }  # fmt: skip


def unsafe(result: Audit) -> str:
    """What makes training unsafe (the same image on two sides of a split, or under two labels), '' if nothing does."""
    found = result.summary["findings"]
    return ", ".join(f"{kind} ({found[kind]:,})" for kind in UNSAFE if kind in found)
