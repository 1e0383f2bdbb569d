"""`anmok fewshot --add`: a deployed model learns new classes from a few images in a second, without training."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.core.config import resolve
from anmok.core.errors import DataError, UsageError
from anmok.core.files import must_not_exist, read_json
from anmok.core.optional import need
from anmok.core.progress import bar, warn
from anmok.data.batches import Loader
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.evaluate.intervals import wilson
from anmok.nshot.imprint import Rows, Shown, imprint
from anmok.stages.fewshot_added import Added
from anmok.stages.fewshot_settings import FewShotTree
from anmok.stages.predict_settings import ANY

if TYPE_CHECKING:
    from anmok.deploy.model import Model
    from anmok.models.classifier import Classifier
    from anmok.models.extend import Head

BATCH = 32
MOST = 500  # images of the old classes that are looked at


def add_class(
    model: Any, add: Mapping[str, Any], out: Path | str, *, known: Any = None,
    most_lost: float | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Added:  # fmt: skip
    """Write a new model folder, `out`, that knows the classes of `model` and those of `add`; the old one stays.

    model: a run, or a model folder. add: {name of a new class: images of it, any source}. known: labelled images of the
    old classes to calibrate on, by default the run's validation images where they are there; 500 at most, drawn evenly
    over the classes. most_lost: the share of those answered rightly so far that may be taken for a new class at most;
    None: as it comes, every class weighing the same. settings: how sources are read, threads and device, as paths of
    FewShotTree.

    The old rows of the head stay as they are; each new one points to its class's prototype (see `nshot.imprint`).
    UsageError: a class that exists already, a multi-label model; DataError: no image of a class, or (code head) a head
    that is no linear layer.
    """
    need("torch", "train")
    from anmok.models.extend import Head, grown

    tree = resolve(FewShotTree, ANY, *layers, settings)
    target = must_not_exist(out)
    loaded, run = subject(model, tree)
    names = new_names(loaded, add)
    head = _checked_head(loaded)
    k = len(head.weight)
    parts = [_shown(loaded, open_table(add[given], tree.data), tree, name) for given, name in names.items()]
    given = Shown(
        np.concatenate([p.vectors for p in parts]), np.concatenate([p.logits for p in parts]),
        np.concatenate([np.full(len(p.vectors), k + j) for j, p in enumerate(parts)]),
    )  # fmt: skip
    old = known_images(loaded, run, known, tree)
    check_most_lost(most_lost, old, head)
    scale = scale_of(head, given)
    rows = imprint(given, old, head.weight * scale, head.bias is not None, most_lost)
    classes = [*loaded.classes, *names.values()]
    bias = None if head.bias is None else np.concatenate([head.bias, rows.bias / scale])
    new = grown(loaded.classifier, Head(np.vstack([head.weight, rows.weight / scale]), bias), classes)
    data = {
        "model": str(loaded.path), "model_hash": loaded.hash, "classes": classes,
        "added": recognised(rows, given, list(names.values()), k), "old": None if old is None else kept(old, rows, k),
        "reset": is_reset(loaded),
    }  # fmt: skip
    write(target, loaded, new, data)
    if data["reset"]:
        warn("costs and thresholds of the old model were for its classes and are not carried over: decide anew")
    return Added(target, data)


def subject(model: Any, tree: FewShotTree) -> tuple[Model, Any]:
    """The model, and the run it belongs to, None where there is none.  UsageError for one that cannot learn so."""
    from anmok.engine.runtime import pick_device
    from anmok.stages.load import load
    from anmok.stages.run import Run

    run = model if isinstance(model, Run) else None
    if isinstance(model, str | Path):
        places = (Path(model), Path(model).parent if Path(model).name == "model" else Path(model))
        run = next((Run(p) for p in places if (p / "config.toml").is_file() and (p / "model").is_dir()), None)
    loaded = model if hasattr(model, "classifier") else load(run or model, device=str(pick_device(tree.runtime.device)))
    if not hasattr(loaded, "classifier"):
        raise UsageError(
            "an ensemble has no head of its own.", where=str(model), code="model", remedy="Name one of its members."
        )
    if loaded.task == "multilabel":
        raise UsageError(
            "a multi-label model gives each label a probability of its own, which a prototype does not.",
            where=str(loaded.path), code="task", remedy="Train anew with images of the new label.",
        )  # fmt: skip
    return loaded, run


def new_names(model: Model, add: Mapping[str, Any]) -> dict[str, str]:
    """{name as given: name as kept}.  UsageError for one that is there already, given twice, or blank."""
    out: dict[str, str] = {}
    for given in add:
        name = unicodedata.normalize("NFC", given).strip()
        if not name or name in out.values() or name in model.classes:
            why = "a class has no name" if not name else f"the class {name} is there already"
            raise UsageError(
                f"{why}.", where="--add", code="class",
                remedy=f"The model knows {', '.join(model.classes[:10])}{', …' if len(model.classes) > 10 else ''}.",
            )  # fmt: skip
        out[given] = name
    if not out:
        raise UsageError("no class to add.", where="--add", remedy="Expected class=folder.", code="class")
    return out


def check_most_lost(most_lost: float | None, old: Shown | None, head: Head) -> None:
    """UsageError where the limit is no share, or nothing can hold it."""
    if most_lost is None:
        return
    why = "expected a share from 0 to 1" if not 0 <= most_lost <= 1 else ""
    why = why or ("there is no image of the old classes to hold it on; give --known" if old is None else "")
    if why or head.bias is None:
        raise UsageError(f"{why or 'the head has no bias that could hold it'}.", where="--most-lost", code="setting")


def known_images(model: Model, run: Any, known: Any, tree: FewShotTree) -> Shown | None:
    """What the model makes of images of its classes; None, said aloud, where there are none at hand."""
    from anmok.stages.probe import probe_rows

    if known is not None:
        table = open_table(known, tree.data)
    elif run is not None:
        table = run.table.where(split="val")
        if len(table) and not Path(table.root).is_dir():
            warn(f"the run's validation images lie in {table.root}, which is not there")
            table = table.take([])
    else:
        table = None
    table = None if table is None or not len(table) else probe_rows(table, MOST, tree.seed)
    if table is None or not len(table):
        warn("no image of the old classes is at hand: what the new ones take from them is not known; give --known")
        return None
    return _shown(model, table.with_classes(model.classes), tree, "known images")


def scale_of(head: Head, shown: Shown) -> float:
    """How many times what the head gives the logits are that `_shown` keeps: the temperature is in them."""
    made = shown.vectors @ head.weight.T + (0 if head.bias is None else head.bias)
    return float((made * shown.logits).sum() / max(float((made * made).sum()), 1e-12)) or 1.0


def recognised(rows: Rows, given: Shown, names: list[str], k: int) -> dict[str, Any]:
    """{class: images given, and of how many of them it is the most probable one, left out of their prototype}."""
    answer = rows.alone.argmax(axis=1)
    out: dict[str, Any] = {}
    for j, name in enumerate(names):
        mine = given.targets == k + j
        n, right = int(mine.sum()), int((answer[mine] == k + j).sum())
        low, high = wilson(right, n)
        share = {"value": right / n, "low": low, "high": high} if n > 1 else {"value": None, "reason": "one image"}
        out[name] = {"images": n, "recognised": share}
    return out


def kept(old: Shown, rows: Rows, k: int) -> dict[str, Any]:
    """Of images of the old classes: how many, accuracy before and after, and how many the new classes take."""
    after = np.concatenate([old.logits, old.vectors @ rows.weight.T + rows.bias], axis=1)
    out: dict[str, Any] = {"images": len(old.targets), "taken": int((after.argmax(axis=1) >= k).sum())}
    for name, logits in (("before", old.logits), ("after", after)):
        right = int((logits.argmax(axis=1) == old.targets).sum())
        low, high = wilson(right, len(old.targets))
        out[name] = {"value": right / len(old.targets), "low": low, "high": high}
    return out


def is_reset(model: Model) -> bool:
    """Whether something was decided for the old classes, which does not hold for the new ones."""
    from anmok.evaluate.answers import is_decided
    from anmok.evaluate.decision import Decision

    return is_decided(Decision.from_dict(dict(model.decision), model.classes, model.task))


def write(target: Path, model: Model, new: Classifier, data: Mapping[str, Any]) -> None:
    """The model folder."""
    from anmok.deploy.bundle import default_decision, save_bundle
    from anmok.models.networks import kind_of

    config = read_json(model.path / "config.json")
    name, ours = config["architecture"], config["anmok"]
    timm = name != "object" and kind_of(name) == "timm"
    options = dict((config.get("model_args") if timm else None) or ours.get("options") or {})
    options = {key: value for key, value in options.items() if key not in ("in_chans", "img_size")}
    decision = default_decision(new.classes, "multiclass") | {"temperature": model.decision["temperature"]}
    save_bundle(
        target, new, model.preprocess, architecture=name, model_args=options, module_path=ours.get("module"),
        decision=decision, card=_card(target, model, data),
    )  # fmt: skip


def _card(target: Path, model: Model, data: Mapping[str, Any]) -> Any:
    from anmok.deploy.card import Card, Score

    scores = []
    if data["old"] is not None:
        for when in ("before", "after"):
            m = data["old"][when]
            scores.append(
                Score("images of the old classes", f"accuracy {when}", m["value"], m.get("low"), m.get("high"))
            )
    for name, one in data["added"].items():
        m = one["recognised"]
        scores.append(
            Score("images given, each left out", f"recall of {name}", m["value"], m.get("low"), m.get("high"))
        )
    made = f"{model.path.parent.name if model.path.name == 'model' else model.path.name} ({model.hash[:12]})"
    limits = [
        f"{', '.join(data['added'])} learned from few images by weight imprinting, without training: measure it on "
        "others before you trust it.",
    ]
    if data["old"] is None:
        limits.append("What the new classes take from the old ones was not measured.")
    return Card(
        target.name, {f"given of {name}": one["images"] for name, one in data["added"].items()}, tuple(scores),
        {"made from": f"{made}, whose card says how it was trained", "classes added": ", ".join(data["added"])},
        _license(model.path / "README.md"), tuple(limits),
    )  # fmt: skip


def _license(readme: Path) -> str | None:
    """The licence in the front matter of a card of ours."""
    if not readme.is_file():
        return None
    for line in readme.read_text(encoding="utf-8").splitlines()[1:10]:
        if line.startswith("license: "):
            return str(json.loads(line.removeprefix("license: ")))
    return None


def _checked_head(model: Model) -> Head:
    from anmok.models.extend import head_rows

    try:
        return head_rows(model.classifier)
    except DataError as error:
        raise DataError(
            error.message, where=str(model.path), code=error.code,
            remedy="Train anew with images of the new class, or use --method prototype on its vectors.",
        ) from error  # fmt: skip


def _shown(model: Model, table: Table, tree: FewShotTree, title: str) -> Shown:
    """What the model makes of a table's images, the logits over the temperature.  DataError where none can be read."""
    import torch

    from anmok.models.extend import look

    loader = Loader(
        table, preprocess=model.preprocess, batch_size=BATCH, threads=tree.runtime.threads,
        allow_truncated=tree.data.allow_truncated,
    )  # fmt: skip
    parts = []
    with bar(title, len(table)) as progress:
        for batch in loader.epoch():
            if len(batch):
                pixels = torch.from_numpy(np.require(batch.images, np.uint8, ["C", "W"]))
                seen = look(model.classifier, pixels.to(model.classifier.mean.device))
                logits = seen.logits / model.decision["temperature"]
                parts.append(Shown(seen.vectors, logits, np.asarray(batch.targets)))
            progress.advance(len(batch))
    if loader.rejects:
        warn(f"{len(loader.rejects)} image(s) of {title} cannot be read and are left out")
    if not parts:
        raise DataError(f"no image of {title} can be read.", where=str(table.root), code="no-images")
    return Shown(*(np.concatenate(values) for values in zip(*parts, strict=True)))
