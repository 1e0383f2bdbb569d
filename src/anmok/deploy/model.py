"""A trained classifier with its preprocessing: images in, probabilities of named classes out."""

from __future__ import annotations

import html
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import DataError
from anmok.core.machine import cores
from anmok.core.progress import warn
from anmok.core.types import Predictions, Task
from anmok.models.classifier import Classifier, evaluating


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

    def predict(self, images: Any, *, batch_size: int = 32, threads: int | None = None) -> Predictions:
        """Probabilities of one image or of many.

        images: a path, the bytes of a file, an array ([H, W] or [H, W, C], see `data.decode.to_rgb`) or a PIL image; or
        a list of them, or an array [N, H, W, C]. The ids are the paths, or the position. An image that cannot be read
        has NaN in its row and its reason in `errors`; the others do not suffer.  UsageError for what is no image.
        """
        items = as_list(images)
        ids = [_name(item) if isinstance(item, str | os.PathLike) else str(i) for i, item in enumerate(items)]
        probs = np.full((len(items), len(self.classes)), np.nan, np.float32)
        errors: dict[str, str] = {}
        said: list[str] = []
        row = 0
        for batch in self._prepared(items, batch_size, threads or cores(), said.append):
            good: dict[int, np.ndarray] = {}
            for i, pixels in enumerate(batch, start=row):
                if isinstance(pixels, np.ndarray):
                    good[i] = pixels
                else:
                    errors[ids[i]] = f"{pixels.code}: {pixels.message} {pixels.remedy or ''}".rstrip()
            if good:
                probs[list(good)] = self.probabilities(np.stack(list(good.values())))
            row += len(batch)
        if broken := sum(text.startswith("bad-profile") for text in said):
            warn(f"{broken:,} image(s) with a broken colour profile, which is ignored")
        return Predictions(ids, list(self.classes), probs, None, self.task, model_hash=self.hash, errors=errors)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """uint8[B, S, S, C], preprocessed, to float32[B, K]; the decision's temperature divides the logits."""
        pixels = torch.from_numpy(np.require(images, np.uint8, ["C", "W"])).to(self.classifier.mean.device)
        with evaluating(self.classifier):
            logits = self.classifier(pixels)
            return self.classifier.activate(logits / self.decision["temperature"]).float().cpu().numpy()

    def _prepared(
        self, items: list[Any], batch_size: int, threads: int, on_note: Callable[[str], None]
    ) -> Iterator[list[np.ndarray | DataError]]:
        """Batches of preprocessed images, or why there is none; the next batch is decoded while one is worked on."""
        ahead: deque[list[Future[np.ndarray | DataError]]] = deque()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="anmok-predict")
        try:
            for start in range(0, len(items), batch_size):
                ahead.append([pool.submit(self._prepare, item, on_note) for item in items[start : start + batch_size]])
                if len(ahead) > 1:
                    yield [future.result() for future in ahead.popleft()]
            while ahead:
                yield [future.result() for future in ahead.popleft()]
        finally:
            pool.shutdown(cancel_futures=True)

    def _prepare(self, image: Any, on_note: Callable[[str], None]) -> np.ndarray | DataError:
        from anmok.data.decode import to_rgb

        p = self.preprocess
        try:
            return p.apply(to_rgb(image, channels=p.channels, background=p.background, on_note=on_note))
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
