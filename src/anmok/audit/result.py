"""What an audit found, and the files it is kept in."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.audit.config import AuditConfig
from anmok.audit.crossings import crossings
from anmok.audit.duplicates import near_duplicates
from anmok.audit.findings import find, to_frame
from anmok.audit.kinds import COPIES, UNSAFE
from anmok.audit.memory import account
from anmok.audit.neighbours import embeddings_of
from anmok.audit.quality import is_grey
from anmok.audit.scan import Scan, normalization, scan
from anmok.audit.shortcuts import Shortcut, as_dicts, shortcuts
from anmok.audit.shortcuts import findings as shortcut_findings
from anmok.core.errors import DataError
from anmok.core.files import new_folder, read_json, write_json
from anmok.core.text import visible
from anmok.core.types import Finding
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

    @property
    def duplicates(self) -> pl.DataFrame:
        """The pairs of the same or nearly the same picture."""
        return self.findings.filter(self.findings["kind"].is_in(list(COPIES)))

    def save(self, folder: Path | str, report: Callable[[Path], Any] | None = None) -> Path:
        """Write audit.json, images.parquet and findings.parquet; the folder appears whole or not at all.

        report: writes more into the folder before it appears.
        """
        with new_folder(folder) as new:
            write_json(new / "audit.json", self.summary)
            self.images.write_parquet(new / "images.parquet")
            self.findings.write_parquet(new / "findings.parquet")
            if report is not None:
                report(new)
        return Path(folder)

    def lines(self) -> list[tuple[str, str]]:
        """(what, how much) of the summary, as text."""
        s = self.summary
        memory = s["memory"]
        sizes = " / ".join(f"{memory[f'{k}_bytes'] / 1e6:,.1f}" for k in ("files", "uint8", "float32"))
        out = [
            ("images", f"{s['images']:,}"),
            ("classes", ", ".join(f"{visible(k)} {n:,}" for k, n in s["classes"].items()) or "none"),
        ]
        out += [(kind, f"{n:,}") for kind, n in s["findings"].items()]
        if s["normalization"]["mean"] is not None:
            out += [(key, ", ".join(f"{v:.4f}" for v in s["normalization"][key])) for key in ("mean", "std")]
        return [
            *out,
            ("memory", f"{sizes} MB as files / uint8 / float32"),
            ("fits", memory["fits"]),
            ("seconds", f"{s['seconds']:.1f}"),
        ]

    def __repr__(self) -> str:
        reason = unsafe(self)
        verdict = f"unsafe to train on: {reason}" if reason else "nothing makes training unsafe"
        return "\n".join([f"Audit: {verdict}", *(f"  {name:<20} {text}" for name, text in self.lines())])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{html.escape(n)}</td><td>{html.escape(t)}</td></tr>" for n, t in self.lines())
        return f"<table><tr><th>audit</th><th></th></tr>{rows}</table>"


def load_audit(folder: Path | str) -> Audit:
    """An Audit from the folder that `save` wrote.  DataError where there is none, or it is damaged."""
    import polars as pl

    folder = Path(folder)
    if not (folder / "audit.json").is_file():
        raise DataError("no audit here.", where=str(folder), code="missing-file",
                        remedy="Expected a folder that `anmok audit --out` wrote.")  # fmt: skip
    try:
        images, findings = (pl.read_parquet(folder / f"{name}.parquet") for name in ("images", "findings"))
        return Audit(images, findings, read_json(folder / "audit.json"))
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(f"a damaged audit ({error}).", where=str(folder), code="damaged") from error


def audit(
    table: Table, *, threads: int | None = None, config: AuditConfig | None = None,
    more: Callable[[pl.DataFrame], list[Finding]] | None = None,
) -> Audit:  # fmt: skip
    """Look at every image of a table once, and say what is wrong or odd.  A bad file is a finding, never an error.

    more: findings of another kind, from the measured images with their groups.
    """
    return conclude(scan(table, threads=threads), table, config or AuditConfig(), threads=threads, more=more)


def conclude(
    measured: Scan, table: Table, config: AuditConfig, *, threads: int | None = None,
    more: Callable[[pl.DataFrame], list[Finding]] | None = None,
) -> Audit:  # fmt: skip
    """Findings and summary of a scan (or of the sum of scans of its parts)."""
    began = time.perf_counter()
    near = near_duplicates(
        measured.images, table.storage.read, threads=threads, config=config.near,
        embeddings=embeddings_of(table, measured.images, config.embeddings),
    )  # fmt: skip
    images = measured.images.with_columns(near.group, is_grey(config).alias("grey"))
    tested = shortcuts(images, table)
    findings = to_frame([
        *find(images, table, config), *near.findings, *crossings(near, images, table),
        *shortcut_findings(tested, config), *(more(images) if more else ()),
    ])  # fmt: skip
    seconds = measured.seconds + time.perf_counter() - began
    return Audit(images, findings, summarize(images, findings, table, tested, seconds))


def summarize(
    images: pl.DataFrame, findings: pl.DataFrame, table: Table, tested: list[Shortcut], seconds: float
) -> dict[str, Any]:
    """The content of audit.json."""
    counts = findings["kind"].value_counts(sort=True)
    return {
        "images": images.height,
        "classes": class_counts(table),
        "findings": dict(sorted(counts.iter_rows(), key=lambda item: (-item[1], item[0]))),
        "normalization": normalization(images),
        "memory": account(images),
        "shortcuts": as_dicts(tested),
        "seconds": round(seconds, 3),
    }


def unsafe(result: Audit) -> str:
    """What makes training unsafe, '' if nothing does: the same image on two sides of a split, or under two labels.

    Of those alike but not the same (score below 1) it is for a person to say.
    """
    found = {kind: n - alike(result).get(kind, 0) for kind, n in result.summary["findings"].items()}
    return ", ".join(f"{kind} ({found[kind]:,})" for kind in UNSAFE if found.get(kind))


def alike(result: Audit) -> dict[str, int]:
    """Of the kinds that make training unsafe, how many findings are of images alike but not the same."""
    import polars as pl

    unsure = result.findings.filter(pl.col("kind").is_in(list(UNSAFE)) & (pl.col("score") < 1))
    return dict(unsure["kind"].value_counts(sort=True).iter_rows())
