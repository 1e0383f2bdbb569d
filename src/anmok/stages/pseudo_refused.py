"""Which unlabelled images a run must not learn from: validation's and test's, by id, by bytes and by their looks."""

from __future__ import annotations

from anmok.audit.duplicates import near_duplicates
from anmok.audit.near_config import NearConfig
from anmok.audit.scan import scan
from anmok.core.progress import say, warn
from anmok.core.text import visible
from anmok.data.table import Table, named
from anmok.expand.refuse import LEAKS, WORDS, held_out, refusals

HELD, NEW = "held:", "new:"  # in front of ids and references, while both kinds of images are in one frame


def refuse(
    table: Table, unlabeled: Table, *, threads: int | None = None, config: NearConfig | None = None
) -> dict[str, str]:
    """Id of an unlabelled image -> why it is refused; see `expand.refuse.refusals`.

    Each image of validation, test and the unlabelled ones is read once. Near is what the audit calls a near duplicate
    (saved anew, resized, mirrored, turned, cropped by a tenth), also by way of other unlabelled images.
    """
    refused = refusals(table, unlabeled)
    left = unlabeled.take([i for i, name in enumerate(unlabeled.rows["id"]) if name not in refused])
    return refusals(table, unlabeled, near_held_out(table, left, threads=threads, config=config))


def near_held_out(
    table: Table, unlabeled: Table, *, threads: int | None = None, config: NearConfig | None = None
) -> set[str]:
    """Ids of unlabelled images that are in one group of near duplicates with a validation or test image."""
    import polars as pl

    held = held_out(table)
    if not len(held) or not len(unlabeled):
        return set()
    frames = [
        scan(rows, threads=threads).images.with_columns((pl.lit(mark) + pl.col(c)).alias(c) for c in ("id", "image"))
        for mark, rows in ((HELD, held), (NEW, unlabeled))
    ]

    def read(reference: str) -> bytes:
        if reference.startswith(HELD):
            return table.storage.read(reference.removeprefix(HELD))
        return unlabeled.storage.read(reference.removeprefix(NEW))

    images = pl.concat(frames)
    groups = near_duplicates(images, read, threads=threads, config=config).group.to_list()
    ids = images["id"].to_list()
    of_held = {g for name, g in zip(ids, groups, strict=True) if g is not None and name.startswith(HELD)}
    return {
        name.removeprefix(NEW) for name, g in zip(ids, groups, strict=True) if name.startswith(NEW) and g in of_held
    }


def tell_leaks(refused: dict[str, str]) -> None:
    """Say aloud which validation and test images were among the unlabelled ones, and that they are left out."""
    for kind in LEAKS:
        ids = [visible(name) for name, why in refused.items() if why == kind]
        if ids:
            warn(f"{named(len(ids), 'unlabelled image', ids)} left out: {WORDS[kind]}")


def without_labels(unlabeled: Table, table: Table) -> Table:
    """The unlabelled images as rows of the table's task without label and split; labels that were there are ignored."""
    import polars as pl

    count = unlabeled.rows["label"].len() - unlabeled.rows["label"].null_count()
    if count:
        say(f"{count:,} of the unlabelled images have labels, which are ignored")
    kind = pl.List(pl.String) if table.task == "multilabel" else pl.String
    rows = unlabeled.rows.with_columns(pl.lit(None, kind).alias("label"), pl.lit(None, pl.String).alias("split"))
    blank = unlabeled.with_rows(rows, "labels ignored") if count else unlabeled._with(rows=rows)
    return blank._with(classes=table.classes, task=table.task)
