"""A model folder with an exported graph: a model run by what is fastest here, even without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.augment.preprocess import Preprocess
from anmok.augment.tta import ImageViews, Sizes, build_views
from anmok.core.errors import DataError
from anmok.core.files import MANIFEST, read_json, sha256
from anmok.core.types import Task
from anmok.deploy.decided import read_decision
from anmok.deploy.model import Model
from anmok.deploy.names import GRAPH, INT8, RUNTIME
from anmok.deploy.runtimes import Answer, Form, open_graph
from anmok.deploy.safety import check_folder

VERSION = 1
ENSEMBLE = "ensemble.json"


class Taken(NamedTuple):
    """What answers batches of one size, and the milliseconds that one took where it was measured."""

    form: Form
    answer: Answer
    ms: float


class FastModel(Model):
    """A Model whose probabilities come from an exported graph, or from torch in another precision.

    taken: by batch size, what answers; a batch goes to the one that is through with it first.
    """

    def __init__(
        self, classes: list[str], task: Task, preprocess: Preprocess, decision: dict[str, Any],
        taken: Mapping[int, Taken], *, path: Path, hash: str, architecture: str,
    ):  # fmt: skip
        self._classes, self._task, self.taken = classes, task, dict(taken)
        self.preprocess, self.decision = preprocess, decision
        self.path, self.hash, self.architecture = path, hash, architecture

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the probabilities."""
        return self._classes

    @property
    def task(self) -> Task:
        """binary, multiclass or multilabel."""
        return self._task

    @property
    def runtime(self) -> str:
        """What runs it, as 'openvino bf16', or one a batch size where they differ."""
        forms = {batch: str(t.form) for batch, t in self.taken.items()}
        if len(set(forms.values())) == 1:
            return next(iter(forms.values()))
        return ", ".join(f"batch {batch}: {form}" for batch, form in forms.items())

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """uint8[B, S, S, C], preprocessed, to float32[B, K], the temperature in them; see `Model.probabilities`."""
        batch = min(self.taken, key=lambda size: math.ceil(len(images) / size) * self.taken[size].ms)
        answer, pixels = self.taken[batch].answer, np.require(images, np.uint8, ["C"])
        return np.concatenate([answer(pixels[i : i + batch]) for i in range(0, len(pixels), batch)])

    def views(self, tta: str | None, seed: int = 0) -> ImageViews:
        """The test-time views of this name at the graph's one size; see `Model.views`."""
        return build_views(tta, self.preprocess, None if tta is None else Sizes(), seed)

    def _facts(self) -> list[tuple[str, str]]:
        return [*super()._facts(), ("runtime", self.runtime)]


class Exported(NamedTuple):
    """A folder with a graph, verified: what its files say of the model, and the content of runtime.json."""

    path: Path
    hash: str
    classes: list[str]
    task: Task
    preprocess: Preprocess
    decision: dict[str, Any]
    architecture: str
    runtime: dict[str, Any]

    def graph(self, dtype: str) -> Path:
        """The file of the graph in this precision."""
        return self.path / (INT8 if dtype == "int8" else GRAPH)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, S, C) of its images."""
        p = self.preprocess
        return p.image_size, p.image_size, p.depth

    @property
    def current(self) -> bool:
        """Whether the graph is of these weights and of this decision, which may have been made anew since."""
        about = self.runtime["graph"]
        return about.get("decision") == in_graph(self.decision) and about.get("weights") == weights_hash(self.path)

    def model(self, taken: Mapping[int, Taken]) -> FastModel:
        """The model, answered by what is taken."""
        return FastModel(
            self.classes, self.task, self.preprocess, self.decision, taken, path=self.path, hash=self.hash,
            architecture=self.architecture,
        )  # fmt: skip

    def take(self, form: Form, batch: int, threads: int | None, ms: float = 1.0) -> Taken:
        """A graph's form at a batch size, opened.  MachineError and DataError as `open_graph`."""
        return Taken(form, open_graph(form, self.graph(form.dtype), self.shape, batch, threads), ms)


def is_exported(folder: Path) -> bool:
    """Whether a graph and what was measured of it lie in a folder."""
    return (folder / RUNTIME).is_file() and (folder / GRAPH).is_file()


def open_exported(folder: Path) -> Exported:
    """Read an exported folder, its manifest verified first.  DataError: see `safety.check_folder`; code `damaged`."""
    single = not (folder / ENSEMBLE).is_file()
    needed = (GRAPH, RUNTIME, "preprocess.json", "decision.json")
    check_folder(folder, needed=(*needed, "config.json", "model.safetensors") if single else (*needed, ENSEMBLE))
    config = read_json(folder / ("config.json" if single else ENSEMBLE))
    runtime = read_json(folder / RUNTIME)
    try:
        classes = [str(c) for c in (config["label_names"] if single else config["classes"])]
        task = config["anmok"]["task"] if single else config["task"]
        if runtime["version"] != VERSION or task not in ("binary", "multiclass", "multilabel"):
            raise ValueError(f"version {runtime['version']!r}, task {task!r}")
        architecture = str(config["architecture"] if single else " + ".join(config["members"]))
        runtime["graph"]["decision"], runtime["machines"].items()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"its settings are damaged ({error!r}).", where=str(folder), code="damaged") from error
    return Exported(
        folder, sha256(folder / MANIFEST), classes, task, Preprocess.from_dict(read_json(folder / "preprocess.json")),
        read_decision(folder / "decision.json", classes, task), architecture, runtime,
    )  # fmt: skip


def in_graph(decision: Mapping[str, Any]) -> dict[str, Any]:
    """What of a decision is inside an exported graph."""
    calibration = decision.get("calibration")
    if isinstance(calibration, Mapping) and calibration.get("kind") == "isotonic":
        calibration = None
    return {"temperature": float(decision["temperature"]), "calibration": calibration}


def weights_hash(folder: Path) -> str:
    """SHA-256 (hex) of a model folder's weights; of an ensemble's, of the file that names its members by theirs."""
    weights = folder / "model.safetensors"
    return sha256(weights if weights.is_file() else folder / ENSEMBLE)
