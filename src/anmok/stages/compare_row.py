"""What is known of one model of a comparison: a row that is filled step by step, and kept as row.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from anmok.core.files import read_json, write_json

Metric = dict[str, Any]  # value, low, high; or value None and the reason


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model's figures; None where they are not known (yet), a Metric with a reason where they cannot be.

    simple: a baseline, no network; error: why there are no figures, with its code; notes: what a reader must know.
    accuracy, macro_f1: on the whole test split; train_accuracy: on training images, without augmentation. epochs;
    train_seconds: of training steps, data included; train_images_per_s: over those. image_size: pixels. latency_ms:
    median of one prepared image; throughput: images/s in batches of `batch`; both on `device`, by runtime and
    batch_runtime. parameters; gmacs: 1e9 multiplications with additions, of an image. peak_memory_bytes: of the process
    (on a GPU: of torch's tensors there) until it had learned. shares: {share, images, accuracy}, smallest first, the
    last is all; shuffled: accuracy after the patches changed places, `plain`: on the same images as they are, `grid`;
    sizes: {scale, size, accuracy}. reach: radius that holds 95 % of the effective receptive field, as a share of the
    side. guess: accuracy of the most frequent label.
    """

    model: str
    family: str = ""
    simple: bool = False
    error: str = ""
    code: str = ""
    notes: tuple[str, ...] = ()
    setting: str = ""
    images: int = 0
    accuracy: Metric | None = None
    macro_f1: Metric | None = None
    train_accuracy: Metric | None = None
    guess: float | None = None
    image_size: int | None = None
    epochs: int | None = None
    train_seconds: float | None = None
    train_images_per_s: float | None = None
    latency_ms: float | None = None
    throughput: float | None = None
    batch: int | None = None
    runtime: str = ""
    batch_runtime: str = ""
    device: str = ""
    parameters: int | None = None
    gmacs: float | None = None
    peak_memory_bytes: int | None = None
    shares: tuple[dict[str, Any], ...] = ()
    shuffled: Metric | None = None
    sizes: tuple[dict[str, Any], ...] = ()
    reach: Metric | None = None
    done: bool = False

    @property
    def gap(self) -> float | None:
        """By how much it is better on training images than on the test's."""
        train, test = value(self.train_accuracy), value(self.accuracy)
        return None if train is None or test is None else train - test

    def with_(self, **known: Any) -> Row:
        """The row with more figures."""
        return replace(self, **known)

    def noted(self, *notes: str) -> Row:
        """The row with more notes, each once."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))

    def save(self, folder: Path) -> Row:
        """Write row.json."""
        write_json(folder / "row.json", asdict(self))
        return self


def load_row(folder: Path, model: str) -> Row:
    """The row of a model's folder; an empty one where it has none yet."""
    path = folder / "row.json"
    if not path.is_file():
        return Row(model=model)
    stored = read_json(path)
    known = {field.name for field in fields(Row)}
    lists = {name: tuple(stored[name]) for name in ("notes", "shares", "sizes") if name in stored}
    return Row(**{name: item for name, item in stored.items() if name in known} | lists)


def value(metric: Metric | None) -> float | None:
    """A metric's value, None where it has none."""
    return None if metric is None else metric.get("value")


def undefined(reason: str) -> Metric:
    """A metric that cannot be, and why."""
    return {"value": None, "reason": reason}


def apart(first: Metric | None, second: Metric | None) -> bool:
    """Whether the intervals of two metrics have no value in common; False where one has none."""
    if first is None or second is None or first.get("low") is None or second.get("low") is None:
        return False
    return bool(first["low"] > second["high"] or second["low"] > first["high"])
