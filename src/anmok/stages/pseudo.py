"""`anmok pseudo`: images without labels, labelled by a run's own sure predictions: a new table to train on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anmok.core.config import resolve
from anmok.core.errors import DataError, Interrupted, UsageError, did_you_mean
from anmok.core.files import must_not_exist
from anmok.core.optional import need
from anmok.core.progress import say
from anmok.data.made import given
from anmok.data.saved import require_root
from anmok.data.sources import open_table
from anmok.data.table import Table, class_counts
from anmok.expand.merge import base_rows, with_pseudo
from anmok.expand.pseudo import PerClass, Selection, read_per_class, select
from anmok.stages.predict_settings import ANY, PredictTree
from anmok.stages.pseudo_refused import refuse, tell_leaks, without_labels
from anmok.stages.pseudo_result import PseudoLabels, facts, write_beside
from anmok.stages.pseudo_retrain import refuse_objects, retrained
from anmok.stages.pseudo_sure import calibrated_by
from anmok.stages.pseudo_views import VIEWS, predict_views
from anmok.stages.run import Run


def pseudo(
    run: Run | Path | str, unlabeled: Any, *, out: Path | str, confidence: float = 0.95, per_class: str | int = "auto",
    views: str = "flips", rounds: int = 1, batch_size: int = 64, threads: int | None = None, device: str = "cpu",
    layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> PseudoLabels:  # fmt: skip
    """Label images by a run's sure predictions and write the new version of its table (Lee 2013, "Pseudo-Label").

    run: of `anmok train`. unlabeled: anything `anmok.open` takes; labels there are ignored. out: the .parquet, which
    must not exist yet. confidence: calibrated probability from which a prediction counts as sure. per_class: auto (no
    class beyond its share of the labelled images), none, or a number. views: flips (an image and its mirror image must
    get the same label) or none. rounds: with more than one, a network is trained on each round's table as the run was,
    and labels anew; those runs lie in the folder OUT without .parquet plus '.rounds', and a call that was interrupted
    goes on with them. settings: how the source is read.

    Images of the table's validation and test are refused: by id, by bytes and as near duplicates.  UsageError for a
    wrong call or a multi-label task; DataError where no image is sure enough; Interrupted when a signal ended it.
    """
    need("torch", "train")
    target, beside = _target(out)
    run = run if isinstance(run, Run) else Run(run)
    most = read_per_class(per_class)
    _check(run, confidence, views, rounds)
    data = resolve(PredictTree, ANY, *layers, settings).data
    require_root(run.table, str(run.path), "Bring them back: validation and test are looked at to keep them out.")
    rest = without_labels(open_table(unlabeled, data), run.table).hashed()
    refused = refuse(run.table, rest, threads=threads)
    tell_leaks(refused)
    asked = {
        "run": str(run.path), "confidence": confidence, "per_class": most, "views": views, "rounds": rounds,
        "unlabeled": rest.fingerprint, "table": run.table.fingerprint,
    }  # fmt: skip
    found: list[dict[str, Any]] = []
    teacher, table = run, run.table
    for number in range(1, rounds + 1):
        model = teacher.load_model(device)
        sure = calibrated_by(teacher, model, aloud=number == 1)
        seen = predict_views(
            model, rest, views, skip=set(refused), batch_size=batch_size, threads=threads,
            allow_truncated=data.allow_truncated,
        )  # fmt: skip
        selection, labelled = _selected(run.table, rest, [sure(p) for p in seen.probs], confidence, most, refused)
        found.append(facts(run.table, selection, labelled, model.hash))
        say(f"round {number} of {rounds}: {len(selection.rows):,} of {len(rest):,} images labelled")
        table = with_pseudo(run.table, rest, selection, model.hash)
        if number < rounds:
            teacher = _taught(run, table, beside, number, rounds, target)
    beside.mkdir(parents=True, exist_ok=True)
    write_beside(beside, rest, selection, run.table.classes, found, asked)
    table.save(target)
    return PseudoLabels(target, table, tuple(found), beside)


def _target(out: Path | str) -> tuple[Path, Path]:
    """The new table's file, and the folder beside it."""
    path = must_not_exist(out)
    if path.suffix.lower() != ".parquet":
        raise UsageError(f"--out {out}: expected a .parquet file.", code="out")
    return path, path.with_suffix(".rounds")


def _check(run: Run, confidence: float, views: str, rounds: int) -> None:
    """UsageError for what cannot be done, before any image is read."""
    if not 0 < confidence <= 1:
        raise UsageError(f"expected a probability in (0, 1], found {confidence}.", where="--confidence", code="setting")
    if views not in VIEWS:
        raise UsageError(f"no such views: {views}.", where="--views", remedy=did_you_mean(views, VIEWS), code="setting")
    if rounds < 1:
        raise UsageError(f"rounds are 1 or more, found {rounds}.", where="--rounds", code="setting")
    if run.table.task == "multilabel":
        raise UsageError(
            "a pseudo label is one label an image, and the run's images have several each.", where=str(run.path),
            code="setting", remedy="Label some images by hand, the least certain first.",
        )  # fmt: skip
    if rounds > 1:
        refuse_objects(run)


def _selected(
    table: Table, rest: Table, views: list[np.ndarray], confidence: float, per_class: PerClass, refused: dict[str, str]
) -> tuple[Selection, np.ndarray]:
    """The selection, and how many labelled training images each class has.  DataError where nothing is selected."""
    base = base_rows(table, rest)
    counts = class_counts(base.take(given(base)).where("train").labelled())
    labelled = np.array([counts[name] for name in table.classes], np.int64)
    place = {name: i for i, name in enumerate(rest.rows["id"])}
    selection = select(
        views, labelled, confidence=confidence, per_class=per_class,
        refused={place[name]: why for name, why in refused.items()},
    )  # fmt: skip
    if len(selection.rows):
        return selection, labelled
    best = float(np.nanmax([0.0, *selection.confidence[[r in ("unsure", "quota") for r in selection.reasons]]]))
    raise DataError(
        f"none of {len(rest):,} images can be taken: {len(refused):,} are refused, and of the others none reaches "
        f"{confidence:g} (the surest has {best:.3f}) with all views agreeing.", where="--confidence",
        code="nothing-sure", remedy="Lower --confidence, or train a better model first.",
    )  # fmt: skip


def _taught(run: Run, table: Table, beside: Path, number: int, rounds: int, target: Path) -> Run:
    """The run that is trained on a round's table.  Interrupted (resumable) when asked to stop."""
    try:
        return retrained(run, table, beside / f"round-{number}")
    except Interrupted as error:
        raise Interrupted(
            f"stopped while training after round {number} of {rounds}.", where=str(beside),
            remedy=f"The same `anmok pseudo … --out {target}` goes on from there.",
        ) from error  # fmt: skip
