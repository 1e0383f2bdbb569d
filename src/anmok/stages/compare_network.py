"""One network of a comparison: trained within its time, tested, measured, and trained again on parts of the data."""

from __future__ import annotations

from typing import Any

from anmok.core.errors import AnmokError
from anmok.core.files import read_json
from anmok.core.progress import say
from anmok.stages.bench_model import bench_model
from anmok.stages.compare_entry import Entry, share_of, too_few, with_measures, with_scores, with_speed
from anmok.stages.compare_measure import accuracy, busy, look, peak_memory_bytes, reach
from anmok.stages.compare_row import Row, undefined
from anmok.stages.compare_train import told, train_run, train_share
from anmok.stages.evaluate import evaluate
from anmok.stages.tune_trial import hushed

TURN_S = 0.15  # seconds of every turn of a runtime


def network(entry: Entry, row: Row) -> Row:
    """The row filled, step by step, each kept; what was filled before stays."""
    from anmok.models.families import family_of

    row = row.with_(family=family_of(entry.name), images=len(entry.table.labelled().where(split="train")))
    run, trained = train_run(entry.folder, entry.training, entry.table)
    if row.accuracy is None:
        memory = peak_memory_bytes(_device(entry)) if trained else None
        stored = (entry.folder / "evaluation-test.json").is_file()
        row = with_scores(row, run.evaluation("test") if stored else evaluate(run, split="test"))
        row = row.with_(**told(entry.folder), peak_memory_bytes=memory).save(entry.folder)
    assert row.accuracy is not None
    say(f"  {row.epochs} epochs in {row.train_seconds:.0f} s; test accuracy {row.accuracy['value']:.3f}")
    if row.latency_ms is None:
        row = _measured(entry, row).save(entry.folder)
    for share in entry.config.compare.shares:
        if share not in {part["share"] for part in row.shares}:
            row = row.with_(shares=(*row.shares, _share(entry, row, share))).save(entry.folder)
    return row.with_(done=True).save(entry.folder)


def _device(entry: Entry) -> str:
    from anmok.engine.runtime import pick_device

    return str(pick_device(entry.config.runtime.device))


def _measured(entry: Entry, row: Row) -> Row:
    """Size, speed, and what the accuracy rests on."""
    import torch

    from anmok.models.families import accepts
    from anmok.models.macs import cost_of
    from anmok.stages.load import load

    torch.set_num_threads(read_json(entry.folder / "plan.json")["plan"]["threads"])
    model: Any = load(entry.folder, device=_device(entry))
    backbone, preprocess = model.classifier.backbone, model.preprocess
    cost = cost_of(backbone, preprocess.image_size, preprocess.depth)
    row = row.with_(parameters=cost.parameters, gmacs=cost.gmacs, device=_device(entry))
    row = with_measures(row, model, entry, accepts(entry.name).multiple)
    row = _timed(row, model, entry).noted(*filter(None, [busy()]))
    test = look(entry.table.where(split="test"), preprocess, **entry.looking)
    return row.with_(reach=reach(model, test))


def _timed(row: Row, model: Any, entry: Entry) -> Row:
    """The row with the speed that `anmok export` gives, of the fastest runtime that answers alike; on a GPU, and where
    that cannot be, with that of torch, and why."""
    batch, threads = entry.config.compare.batch, entry.config.runtime.threads
    if row.device != "cpu":
        return with_speed(row, model, entry).with_(runtime="torch", batch_runtime="torch")
    try:
        with hushed():
            chosen = bench_model(model, batches=tuple({1, batch}), threads=threads, int8=False, seconds=TURN_S).chosen
        one, many = chosen[1], chosen[batch]
    except (AnmokError, KeyError) as error:
        why = error.message if isinstance(error, AnmokError) else "no runtime was taken"
        row = row.noted(f"its speed is torch's, not that of an exported graph: {why.rstrip('.')}")
        return with_speed(row, model, entry).with_(runtime="torch", batch_runtime="torch")
    return row.with_(
        latency_ms=one.ms,
        throughput=many.images_per_s,
        batch=batch,
        runtime=str(one.form),
        batch_runtime=str(many.form),
    )


def _share(entry: Entry, row: Row, share: float) -> dict[str, Any]:
    """{share, images, accuracy} of a training on a share of the training images; all of them is the one there is."""
    if share == 1:
        return {"share": 1.0, "images": row.images, "accuracy": row.accuracy}
    table = share_of(entry.table, share, entry.config.seed)
    about = {"share": share, "images": len(table.labelled().where(split="train"))}
    if reason := too_few(entry.table, share):
        return about | {"accuracy": undefined(reason)}
    folder = entry.folder / "shares" / f"{share:g}"
    p = train_share(folder, entry.training, table, read_json(entry.folder / "plan.json"))
    assert p.targets is not None
    found = accuracy(p.probs, p.targets, p.task)
    say(f"  {about['images']:,} images: {found['value']:.3f}")
    return about | {"accuracy": found}
