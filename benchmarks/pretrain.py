"""CIFAR-10 with labels on 1 % of the training images: what pretraining on all of them without labels is worth.

A small network (the recipe's) is pretrained by recipes/pretrain-OBJECTIVE.toml on all 50,000 training images, whose
labels are taken away. Then 500 images, 50 of each class, have labels: a linear probe (logistic regression on the
encoder's vectors) and fine-tuning from the encoder are set against the same network from scratch on the same 500 with
the same augmentation and the same candidates of learning rate and epochs. 1,000 further training images choose among
the candidates and the epoch; the 10,000 test images are looked at once a row. Intervals are Wilson's, 95 %.

    .venv/bin/python benchmarks/pretrain.py --objective scratch        # what the others are compared with
    .venv/bin/python benchmarks/pretrain.py --objective contrastive    # one objective; up to 45 minutes
    .venv/bin/python benchmarks/pretrain.py                            # scratch and all five

A row is stored as soon as it is known, and is not measured again for the same recipe, data and versions; a pretraining
that was cut short goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from pathlib import Path
from typing import Any

from common import (
    ROOT,
    SCRATCH,
    Figure,
    arguments,
    context,
    data_root,
    fingerprint,
    finish,
    fresh,
    met,
    read_run,
    rounded,
    store_rows,
    stored_rows,
    write,
)

OBJECTIVES = ("contrastive", "rotation", "jigsaw", "colorize", "inpaint")
EACH, CHOOSE = 50, 100  # labelled images of a class, and those that choose
AUGMENT = "flip-crop"  # of fine-tuning and of training from scratch
TUNED: dict[str, Any] = {
    "image_size": 32, "batch_size": 64, "augment": AUGMENT,
    "schedule": {"name": "cosine", "warmup": "5%", "end": 0.001},
    "runtime": {"dtype": "bf16", "channels_last": True},  # as the recipes
}  # fmt: skip
RATES, EPOCHS = (0.02, 0.005), (50, 200)  # muon's rate and epochs: candidates for both
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0)  # C of the linear probe
GAIN = ">= 10"  # points of contrastive over scratch


def tables(quick: bool) -> tuple[Any, Any]:
    """(all training images without labels, the 500 with labels as train, 1,000 as val, and the test images)."""
    import numpy as np
    import polars as pl

    import anmok

    table = anmok.open(data_root() / "cifar10")
    split, targets = table.rows["split"].to_numpy(), table.targets()
    order = np.random.default_rng(0).permutation(np.flatnonzero(split == "train"))
    drawn = [order[targets[order] == k] for k in range(len(table.classes))]
    parts = {
        "train": np.concatenate([rows[:EACH] for rows in drawn]),
        "val": np.concatenate([rows[EACH : EACH + CHOOSE] for rows in drawn]),
        "test": np.flatnonzero(split == "test")[: 500 if quick else None],
    }
    few = table.take(np.concatenate(list(parts.values())))
    names = np.repeat(list(parts), [len(rows) for rows in parts.values()]).tolist()
    few = few.with_rows(few.rows.with_columns(pl.Series("split", names)), "labels on 1 % of the training images")
    every = table.take(order[:1000] if quick else np.sort(order))
    blank = every.rows.with_columns(pl.lit(None, pl.String).alias("label"))
    return every.with_rows(blank, "labels taken away"), few


def pretrained(objective: str, every: Any, options: Any, recipe: Path) -> tuple[Path, float, float]:
    """(the finished run, minutes that its training took, and of both cores' time), begun anew or gone on with.

    Processor time is kept beside the run, but for what a killed process had used.
    """
    from anmok.stages.pretrain import PretrainRun, pretrain

    settings: dict[str, Any] = {"split": {"val": 0.0, "test": 0.0}}
    if options.model:
        settings["model"] = options.model
    if options.minutes:
        settings |= {"minutes": options.minutes, "epochs": None}
    if options.quick:
        settings["epochs"] = 1
    key = hashlib.sha256(recipe.read_bytes() + repr(settings).encode()).hexdigest()[:8]
    out = SCRATCH / f"pretrain-{objective}-{key}"
    began, beside = time.process_time(), out.with_name(f"{out.name}.json")
    if (out / "table.parquet").is_file():
        run = pretrain(resume=out)
        used = float(read(beside)) if beside.is_file() else 0.0
    else:
        run, used = PretrainRun(pretrain(every, out=fresh(out.name), config=recipe, **settings).path), 0.0
    if time.process_time() - began > 5:  # it was not finished before
        used += time.process_time() - began
        beside.write_text(str(round(used)))
    return run.path, sum(e["seconds"] for e in run.history) / 60, used / 60


def probed(run: Path, few: Any) -> dict[str, Any]:
    """Test accuracy of the linear probe, its C chosen on val."""
    import numpy as np

    from anmok.augment.preprocess import Preprocess
    from anmok.data.batches import Loader
    from anmok.evaluate.probes import knn_accuracy, linear_probe

    encoder, normalize = load_encoder(run)
    preprocess = Preprocess.from_dict(read(run / "encoder" / "preprocess.json"))
    parts = {}
    for name in ("train", "val", "test"):
        loader = Loader(few.where(name), preprocess=preprocess, batch_size=500)
        found = [(embedded(encoder, normalize, batch.images), batch.targets) for batch in loader]
        parts[name] = tuple(np.concatenate(each) for each in zip(*found, strict=True))
    (x, y), (vx, vy), (tx, ty) = (parts[name] for name in ("train", "val", "test"))
    best = max(STRENGTHS, key=lambda c: float((linear_probe(x, y, vx, c) == vy).mean()))
    return {
        "linear_c": best, **scored("linear", float((linear_probe(x, y, tx, best) == ty).mean()), len(ty)),
        "knn": rounded(knn_accuracy(x, y, tx, ty)),
    }  # fmt: skip


def read(path: Path) -> Any:
    """A JSON file's content."""
    from anmok.core.files import read_json

    return read_json(path)


def load_encoder(run: Path) -> tuple[Any, Any]:
    """The encoder of a run, and the module that normalises for it."""
    from anmok.models.encoder import Encoder
    from anmok.models.networks import build_network
    from anmok.models.normalized import Normalized
    from anmok.models.weights import read_weights

    config, seen = read(run / "encoder" / "config.json"), read(run / "encoder" / "preprocess.json")
    encoder = Encoder(build_network(config["architecture"], 10, 3, seen["image_size"]), 10, seen["image_size"])
    encoder.backbone.load_state_dict(read_weights(run / "encoder" / "model.safetensors"))
    return encoder.eval(), Normalized(tuple(seen["mean"]), tuple(seen["std"]))


def embedded(encoder: Any, normalize: Any, images: Any) -> Any:
    """float32[N, D] of uint8[N, S, S, C]."""
    import torch

    with torch.inference_mode():
        return encoder(normalize.normalize(torch.from_numpy(images))).numpy()


def tuned(name: str, few: Any, weights: str, model: str, quick: bool) -> dict[str, Any]:
    """Test accuracy of the candidate that is best on val, trained on the 500 from these weights."""
    import anmok

    best: tuple[float, Any, dict[str, Any]] | None = None
    for rate in RATES[:1] if quick else RATES:
        for epochs in (1,) if quick else EPOCHS:
            run = anmok.train(
                few, model=model, weights=weights, epochs=epochs, optim={"name": "muon", "lr": rate}, seed=0,
                out=fresh(f"pretrain-{name}-tuned-{rate}-{epochs}"), **TUNED,
            )  # fmt: skip
            val = run.evaluation("val").value("accuracy") or 0.0
            if best is None or val > best[0]:
                best = val, run, {"tuned_lr": rate, "tuned_epochs": epochs, "val": rounded(val)}
    assert best is not None
    test = anmok.evaluate(best[1])
    return best[2] | scored("tuned", test.value("accuracy") or 0.0, test["n"])


def scored(name: str, accuracy: float, n: int) -> dict[str, Any]:
    """An accuracy with Wilson's interval, as columns."""
    from anmok.evaluate.intervals import wilson

    low, high = wilson(accuracy * n, n)
    return {name: rounded(accuracy), f"{name}_low": rounded(low), f"{name}_high": rounded(high), "n_test": n}


def one(objective: str, every: Any, few: Any, options: Any) -> dict[str, Any]:
    """A row: an objective, or the network from scratch."""
    recipe = recipe_of(objective)
    model = options.model or read_model(recipe)
    if objective == "scratch":
        return {"objective": objective, "model": model, **tuned("scratch", few, "none", model, options.quick)}
    run, minutes, spent = pretrained(objective, every, options, recipe)
    _, epochs = read_run(run)
    speed = statistics.median(e.images / e.train_s for e in epochs)
    return {
        "objective": objective, "model": model, "epochs": len(epochs), "minutes": round(minutes, 1),
        "cpu_minutes": round(spent, 1), "images_per_s": rounded(speed),
        **probed(run, few), **tuned(objective, few, str(run / "encoder"), model, options.quick),
    }  # fmt: skip


def recipe_of(objective: str) -> Path:
    """The recipe of an objective; scratch takes the network of contrastive's."""
    return ROOT / "recipes" / f"pretrain-{'contrastive' if objective == 'scratch' else objective}.toml"


def read_model(recipe: Path) -> str:
    """The network that a recipe names."""
    from anmok.core.config import read_toml

    return str(read_toml(recipe)["model"]["name"])


def summary(rows: list[dict[str, Any]]) -> list[Figure]:
    """Accuracies with their intervals, and the better of an objective's two in points over scratch."""
    by = {row["objective"]: row for row in rows}
    out = []
    for row in rows:
        for kind, text in (("linear", "linear probe"), ("tuned", "trained on 500 labels")):
            if row.get(kind) not in (None, ""):
                low, high = float(row[f"{kind}_low"]), float(row[f"{kind}_high"])
                out.append(Figure(row["objective"], f"test accuracy, {text}", "share", float(row[kind]), low, high,
                                  note=f"{row['model']}; Wilson, of {row['n_test']} test images"))  # fmt: skip
        if row.get("minutes") not in (None, ""):
            note = f"{row['epochs']} epochs; {row['cpu_minutes']} minutes of a core's time"
            out.append(Figure(row["objective"], "pretraining", "min", float(row["minutes"]), note=note))
    if "scratch" in by:
        base = 100 * float(by["scratch"]["tuned"])
        for name in (name for name in OBJECTIVES if name in by):
            gain = rounded(100 * max(float(by[name]["linear"]), float(by[name]["tuned"])) - base)
            bound, what = GAIN if name == "contrastive" else "", "better of the two, over scratch"
            out.append(Figure(name, what, "points", gain, bound=bound, met=met(bound, gain)))
    return out


def main() -> None:
    """The rows asked for that are not there yet, then the summary."""
    options = arguments(
        __doc__, objective={"nargs": "+", "choices": ("scratch", *OBJECTIVES), "default": ["scratch", *OBJECTIVES]},
        minutes={"type": float, "help": "Pretrain so long instead of the recipe's epochs (measured on this machine)."},
        model={"help": "Another network than the recipe's."},
    )  # fmt: skip
    os.environ.setdefault("ANMOK_QUIET", "" if not options.quick else "1")
    folder = data_root() / "cifar10"
    where = context(f"cifar10 {fingerprint(folder)}")
    every, few = tables(options.quick)
    rows = stored_rows("pretrain_rows", where, options.quick)
    for objective in options.objective:
        own = where | {"recipe": hashlib.sha256(recipe_of(objective).read_bytes()).hexdigest()[:16]}
        tuning = hashlib.sha256(repr((EACH, CHOOSE, TUNED, RATES, EPOCHS)).encode()).hexdigest()[:8]
        own["options"] = f"model={options.model} minutes={options.minutes} tuning={tuning}"
        if any(r["objective"] == objective and r["recipe"] == own["recipe"] and r["options"] == own["options"]
               for r in rows):  # fmt: skip
            continue
        row = one(objective, every, few, options) | own
        rows = [r for r in rows if r["objective"] != objective] + [row]
        rows.sort(key=lambda r: ("scratch", *OBJECTIVES).index(r["objective"]))
        store_rows("pretrain_rows", rows, options.quick)
    finish(write("pretrain", summary(rows), where, options.quick), options.quick)


if __name__ == "__main__":
    main()
