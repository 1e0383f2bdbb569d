"""A trained classifier with its preprocessing: images in, probabilities of named classes out."""

from __future__ import annotations

import html
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.augment.preprocess import Preprocess
from anmok.augment.tta import ATTENTION, ImageViews, build_views
from anmok.core.errors import DataError
from anmok.core.machine import cores
from anmok.core.progress import warn
from anmok.core.types import Predictions, Task
from anmok.deploy.views import look_of, takes, unit_weights
from anmok.engine.predict import over_views
from anmok.evaluate.answers import answered

if TYPE_CHECKING:
    from anmok.models.classifier import Classifier


class Model:
    """What `load_model` gives.

    classes, task: what it tells apart; preprocess, decision: as in the folder's JSON files; classifier: the torch
    module, uint8 pixels to logits; hash: SHA-256 of the folder's manifest, which names these weights and settings.
    """

    def __init__(
        self, classifier: Classifier, preprocess: Preprocess, decision: dict[str, Any], *, path: Path, hash: str,
        architecture: str,
    ):  # fmt: skip
        self.classifier, self.preprocess, self.decision = classifier, preprocess, decision
        self.path, self.hash, self.architecture = path, hash, architecture

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the probabilities."""
        return self.classifier.classes

    @property
    def task(self) -> Task:
        """binary, multiclass or multilabel."""
        return self.classifier.task

    def predict(
        self, images: Any, *, tta: str | None = None, tta_weights: Sequence[float] | None = None, tta_seed: int = 0,
        batch_size: int = 32, threads: int | None = None,
    ) -> Predictions:  # fmt: skip
        """The answers to one image or to many: probabilities, and the labels that decision.json decides.

        `labels` of what this gives say `ask` where the decision leaves an image to a person; without a decision they
        are the most probable ones.  The arguments: see `undecided`.
        """
        found = self.undecided(
            images, tta=tta, tta_weights=tta_weights, tta_seed=tta_seed, batch_size=batch_size, threads=threads
        )
        return answered(found, self.decision)

    def undecided(
        self, images: Any, *, tta: str | None = None, tta_weights: Sequence[float] | None = None, tta_seed: int = 0,
        batch_size: int = 32, threads: int | None = None,
    ) -> Predictions:  # fmt: skip
        """Probabilities of one image or of many, whatever may have been decided.

        images: a path, the bytes of a file, an array ([H, W] or [H, W, C], see `data.decode.to_rgb`) or a PIL image; or
        a list of them, or an array [N, H, W, C]. The ids are the paths, or the position. An image that cannot be read
        has NaN in its row and its reason in `errors`; the others do not suffer.

        tta: test-time views, whose probabilities are averaged: flips, shifts, five-crop, scales, attention or
        randaugment:N, see `augment.tta.build_views`; tta_weights: one a view, by default all weigh the same; tta_seed:
        of what randaugment draws.  UsageError for what is no image, or no such views.
        """
        views = self.views(tta, tta_seed)
        weights = unit_weights(tta_weights, views.names)
        items = as_list(images)
        ids = [_name(item) if isinstance(item, str | os.PathLike) else str(i) for i, item in enumerate(items)]
        probs = np.full((len(items), len(self.classes)), np.nan, np.float32)
        errors: dict[str, str] = {}
        said: list[str] = []
        row = 0
        for batch in self._prepared(items, ids, views, batch_size, threads or cores(), said.append):
            good: dict[int, list[np.ndarray]] = {}
            for i, seen in enumerate(batch, start=row):
                if isinstance(seen, DataError):
                    errors[ids[i]] = f"{seen.code}: {seen.message} {seen.remedy or ''}".rstrip()
                else:
                    good[i] = seen
            if good:
                shown = views.shown([np.stack(view) for view in zip(*good.values(), strict=True)])
                probs[list(good)] = over_views(self.probabilities, shown, weights)
            row += len(batch)
        if broken := sum(text.startswith("bad-profile") for text in said):
            warn(f"{broken:,} image(s) with a broken colour profile, which is ignored")
        return Predictions(ids, list(self.classes), probs, None, self.task, model_hash=self.hash, errors=errors)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """uint8[B, S, S, C], preprocessed, to float32[B, K]; the decision's temperature divides the logits."""
        import torch  # here: a folder that has been exported is run without it

        from anmok.models.classifier import evaluating

        pixels = torch.from_numpy(np.require(images, np.uint8, ["C", "W"])).to(self.classifier.mean.device)
        with evaluating(self.classifier):
            logits = self.classifier(pixels)
            return self.classifier.activate(logits / self.decision["temperature"]).float().cpu().numpy()

    def views(self, tta: str | None, seed: int = 0) -> ImageViews:
        """The test-time views of this name, as this network takes them; None: the plain one.

        UsageError: no such views, or of `attention` (code no-maps) that the network has no map of features.
        """
        look = look_of(self.classifier, self.preprocess.image_size) if tta == ATTENTION else None
        return build_views(tta, self.preprocess, None if tta is None else takes(self.architecture), seed, look)

    def _prepared(
        self, items: list[Any], ids: list[str], views: ImageViews, batch_size: int, threads: int,
        on_note: Callable[[str], None],
    ) -> Iterator[list[list[np.ndarray] | DataError]]:  # fmt: skip
        """Batches of images' views, or why there are none; the next batch is decoded while one is worked on."""
        ahead: deque[list[Future[list[np.ndarray] | DataError]]] = deque()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="anmok-predict")
        try:
            for start in range(0, len(items), batch_size):
                rows = range(start, min(start + batch_size, len(items)))
                ahead.append([pool.submit(self._prepare, items[i], ids[i], views, on_note) for i in rows])
                if len(ahead) > 1:
                    yield [future.result() for future in ahead.popleft()]
            while ahead:
                yield [future.result() for future in ahead.popleft()]
        finally:
            pool.shutdown(cancel_futures=True)

    def _prepare(
        self, image: Any, identity: str, views: ImageViews, on_note: Callable[[str], None]
    ) -> list[np.ndarray] | DataError:
        from anmok.data.decode import to_rgb

        p = self.preprocess
        try:
            return views(to_rgb(image, channels=p.channels, background=p.background, on_note=on_note), identity)
        except DataError as error:
            return error

    def _facts(self) -> list[tuple[str, str]]:
        p = self.preprocess
        shown = ", ".join(self.classes[:8]) + (", …" if len(self.classes) > 8 else "")
        return [
            ("task", f"{self.task}: {len(self.classes)} classes ({shown})"),
            ("input", ", ".join([f"{p.image_size}×{p.image_size} {p.channels}", p.fit, *p.steps()])),
            ("folder", f"{self.path} ({self.hash[:12]})"),
        ]

    def __repr__(self) -> str:
        return "\n".join([f"Model {self.architecture}", *(f"  {name:<7}{text}" for name, text in self._facts())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>"
            for name, text in [("model", self.architecture), *self._facts()]
        )
        return f"<table>{rows}</table>"


def _name(path: str | os.PathLike[str]) -> str:
    """A path as valid text; bytes that are none as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def as_list(images: Any) -> list[Any]:
    """One image or many, as a list."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | bytes | bytearray | memoryview | os.PathLike) or not isinstance(images, Iterable):
        return [images]
    return list(images)
