"""anmok (안목, a discerning eye): image classification from end to end.

table = anmok.open("garbage/")
run = anmok.train(table, model="resnet18", epochs=3)
print(anmok.evaluate(run))
run.predict(["a.jpg", "b.jpg"])
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Predictions", "Run", "Table", "add_class", "ask", "audit", "auto", "bench_data", "bench_model", "color",
    "compare", "crossval", "decide", "describe", "diff", "ensemble", "evaluate", "export", "fewshot", "find_lr",
    "generate", "inspect", "load", "open", "paired", "predict", "pretrain", "preview", "pseudo", "runs", "search",
    "split", "train", "tune", "zeroshot",
]  # fmt: skip

# Public names and where they live; nothing heavy is imported before it is used.
_HOME = {
    "Predictions": "anmok.core.types:Predictions",
    "Run": "anmok.stages.run:Run",
    "Table": "anmok.data.table:Table",
    "add_class": "anmok.stages.fewshot_add:add_class",
    "ask": "anmok.stages.ask:ask",
    "auto": "anmok.stages.auto:auto",
    "bench_data": "anmok.stages.bench_data:bench_data",
    "bench_model": "anmok.stages.bench_model:bench_model",
    "compare": "anmok.stages.compare:compare",
    "crossval": "anmok.stages.crossval:crossval",
    "decide": "anmok.stages.decide:decide",
    "describe": "anmok.stages.describe:describe",
    "diff": "anmok.stages.diff:diff",
    "ensemble": "anmok.stages.ensemble:ensemble",
    "export": "anmok.stages.export:export",
    "fewshot": "anmok.stages.fewshot:fewshot",
    "find_lr": "anmok.stages.find_lr:find_lr",
    "generate": "anmok.stages.generate:generate",
    "inspect": "anmok.stages.inspect:inspect",
    "load": "anmok.stages.load:load",
    "open": "anmok.stages.open:open_",
    "paired": "anmok.stages.paired:paired",
    "predict": "anmok.stages.predict:predict",
    "pretrain": "anmok.stages.pretrain:pretrain",
    "preview": "anmok.stages.preview:preview",
    "pseudo": "anmok.stages.pseudo:pseudo",
    "runs": "anmok.stages.runs:runs",
    "search": "anmok.stages.search:search",
    "split": "anmok.stages.split:split",
    "train": "anmok.stages.train:train",
    "tune": "anmok.stages.tune:tune",
    "zeroshot": "anmok.stages.zeroshot:zeroshot",
}
# Verbs that share their name with a room: the room's module can be called.
_VERBS = {"audit": "anmok.stages.audit:audit", "evaluate": "anmok.stages.evaluate:evaluate"}


def _find(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


class _Room(ModuleType):
    """A room that is also a verb: `anmok.evaluate(run)` beside `anmok.evaluate.metrics`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _find(_VERBS[self.__name__.removeprefix("anmok.")])(*args, **kwargs)


for _name in _VERBS:
    importlib.import_module(f"anmok.{_name}")
    sys.modules[f"anmok.{_name}"].__class__ = _Room


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return _find(_HOME[name])
    if name in ("data", "augment"):
        return importlib.import_module(f"anmok.{name}")
    if name == "color":
        return importlib.import_module("anmok.augment.color")
    raise AttributeError(f"module 'anmok' has no attribute {name!r}")


if TYPE_CHECKING:
    from anmok.augment import color
    from anmok.core.types import Predictions
    from anmok.data.table import Table
    from anmok.stages.ask import ask
    from anmok.stages.auto import auto
    from anmok.stages.bench_data import bench_data
    from anmok.stages.bench_model import bench_model
    from anmok.stages.compare import compare
    from anmok.stages.crossval import crossval
    from anmok.stages.decide import decide
    from anmok.stages.describe import describe
    from anmok.stages.diff import diff
    from anmok.stages.ensemble import ensemble
    from anmok.stages.export import export
    from anmok.stages.fewshot import fewshot
    from anmok.stages.fewshot_add import add_class
    from anmok.stages.find_lr import find_lr
    from anmok.stages.generate import generate
    from anmok.stages.inspect import inspect
    from anmok.stages.load import load
    from anmok.stages.open import open_ as open
    from anmok.stages.paired import paired
    from anmok.stages.predict import predict
    from anmok.stages.pretrain import pretrain
    from anmok.stages.preview import preview
    from anmok.stages.pseudo import pseudo
    from anmok.stages.run import Run
    from anmok.stages.runs import runs
    from anmok.stages.search import search
    from anmok.stages.split import split
    from anmok.stages.train import train
    from anmok.stages.tune import tune
    from anmok.stages.zeroshot import zeroshot
