"""The images a run could not use, in rejects.parquet; too many of them end it."""

from __future__ import annotations

from pathlib import Path

from anmok.core.errors import DataError
from anmok.core.files import write_atomic
from anmok.core.progress import warn
from anmok.core.text import visible
from anmok.core.types import Reject

NOTES = 5  # odd images that are named


class Rejects:
    """Quarantine of a run of `rows` images. `add` is a loader's on_reject; above `share` of the rows it raises.

    writes: whether this process keeps the file, as one of several does.
    """

    def __init__(self, folder: Path, rows: int, share: float, before: tuple[Reject, ...] = (), writes: bool = True):
        self.writes = writes
        self.path, self.rows, self.share = folder / "rejects.parquet", rows, share
        self.found: dict[str, Reject] = {r.id: r for r in before}
        self._loaded: set[str] = set()
        self._noted = 0

    def add(self, reject: Reject) -> None:
        """Keep one more.  DataError above the allowed share."""
        if reject.id in self._loaded:
            return
        self._loaded.add(reject.id)  # also one that was known before: it counts as an image that cannot be used
        self.found[reject.id] = reject
        warn(f"{visible(reject.id)} is left out: {reject.kind}, {reject.reason}")
        self.save()
        if len(self._loaded) > self.share * self.rows:
            raise DataError(
                f"{len(self._loaded)} of {self.rows:,} images cannot be used, more than {self.share:.1%}.",
                where=str(self.path),
                remedy="Clean them (`anmok audit` lists them), or allow more with --data.max-rejects.", code="rejects",
            )  # fmt: skip

    def loaded(self) -> list[Reject]:
        """Those that were met when images were read, in the order of their ids."""
        return [self.found[identity] for identity in sorted(self._loaded)]

    def note(self, identity: str, text: str) -> None:
        """Say of the first few images what is odd about them though they are used; is a loader's on_note."""
        self._noted += 1
        if self._noted <= NOTES:
            warn(f"{visible(identity)}: {text}{' (others are not named)' if self._noted == NOTES else ''}")

    def save(self) -> None:
        """Write rejects.parquet: id, kind, reason."""
        if not self.writes:
            return
        import polars as pl

        rows = sorted(self.found.values())
        frame = pl.DataFrame([tuple(r) for r in rows], schema=dict.fromkeys(Reject._fields, pl.String), orient="row")
        write_atomic(self.path, frame.write_parquet)
