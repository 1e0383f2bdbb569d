"""`anmok zeroshot`: images told apart by the names of the classes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anmok.core.artifacts import save_predictions
from anmok.core.config import resolve
from anmok.core.errors import UsageError
from anmok.core.files import must_not_exist, write_atomic
from anmok.core.progress import say, warn
from anmok.core.types import Evaluation, Predictions, Task
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.evaluate.answers import Answers
from anmok.nshot.prompts import BACKGROUND, ClassText, class_vectors, known_wordings, read_classes, read_prompts
from anmok.nshot.zeroshot import FALSE_ALARMS, NONE, NoneRule, fit_none, logits, probabilities, strangeness
from anmok.stages.predict import as_frame, say_errors, with_rejects
from anmok.stages.predict_settings import ANY, PredictTree
from anmok.stages.search_reader import DEFAULT, Reader, dual_reader, foreign
from anmok.stages.search_vectors import BATCH, Reading, image_vectors


@dataclass(frozen=True, eq=False)
class ZeroShot(Answers):
    """Answers, where asked for with `none of these` among them; strange float[N]: see `nshot.zeroshot.strangeness`.

    temperature: what the logits were divided by. evaluation: where images have labels that are classes. text: what was
    done, as sentences.
    """

    temperature: float = 1.0
    strange: np.ndarray | None = None
    evaluation: Evaluation | None = None
    text: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), *self.text])


class Words(NamedTuple):
    """The classes as vectors: classes float32[K, D], background float32[B, D] of texts that name none of them."""

    classes: np.ndarray
    background: np.ndarray


class Settled(NamedTuple):
    """What labelled images have settled: the temperature, the rule of `none of these`, and what to say."""

    temperature: float
    rule: NoneRule
    text: list[str]


def zeroshot(
    images: Any, classes: Any, *, model: Any = DEFAULT, prompts: Any = None, none_of_these: bool = False,
    calibrate: Any = None, false_alarms: float | None = None, out: Path | str | None = None, top_k: int | None = None,
    save_model: Path | str | None = None, batch_size: int = BATCH, threads: int | None = None, device: str = "cpu",
    layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> ZeroShot:  # fmt: skip
    """Classify every image of a source by texts; a bad image is a row with its reason, never the end.

    classes: '유리|glass,종이|paper' (| between wordings of one class), a list, or a text file. model: a dual encoder: a
    name on the hub, a folder in its layout, a run of `--objective image-text`, or an object. prompts: templates with
    one {}, see `nshot.prompts.read_prompts`. calibrate: labelled images (never a test split) that set the temperature.
    none_of_these: answer so where a text of the background fits better than every class; with `calibrate`, where it
    does so by more than all but a share `false_alarms` of those images. out: .csv or .parquet. save_model: a model
    folder of the image tower with the text vectors as its head. settings: how sources are read, as for `predict`.

    UsageError for a wrong call, before any image is read; MachineError where the weights cannot be had.
    """
    texts, templates = read_classes(classes), read_prompts(prompts)
    target = _target(out, top_k, none_of_these, len(texts))
    folder = None if save_model is None else must_not_exist(save_model, "--save-model")
    if false_alarms is not None and not (none_of_these and calibrate is not None):
        raise UsageError("it needs --none-of-these and --calibrate.", where="--false-alarms", code="setting")
    data = resolve(PredictTree, ANY, *layers, settings).data
    table = open_table(images, data)
    reader = dual_reader(model, device)
    if folder is not None:
        from anmok.stages.zeroshot_save import kept_preprocess, save_tower

        kept_preprocess(reader)
    how = Reading(batch_size, threads, data.allow_truncated)
    known, said = known_wordings(texts, lambda text: foreign(reader, text))
    for line in said:
        warn(line)
    words = Words(class_vectors(reader.dual.encode_texts, known, templates), reader.dual.encode_texts(list(BACKGROUND)))
    share = FALSE_ALARMS if false_alarms is None else false_alarms
    settled = Settled(1.0, NoneRule(), [])
    if calibrate is not None:
        settled = _settle(reader, words, texts, open_table(calibrate, data), how, share if none_of_these else None)
    plain, strange = _predictions(reader, words, texts, table, how)
    found = _answered(with_rejects(plain, table.rejects), strange, settled, none_of_these)
    found = _told(found, reader, len(templates), settled, none_of_these)
    say_errors(found.errors)
    if target is not None and target.suffix.lower() == ".parquet":
        save_predictions(found, target)
    elif target is not None:
        write_atomic(target, as_frame(found, top_k).write_csv())
    if folder is not None:
        line = save_tower(folder, reader, words.classes, texts, templates, settled.temperature, table, found, how)
        found = replace(found, text=(*found.text, line))
    return found


def _target(out: Path | str | None, top_k: int | None, none: bool, k: int) -> Path | None:
    """The file to write, checked.  UsageError for what does not fit together."""
    end = "" if out is None else Path(out).suffix.lower()
    if out is not None and end not in (".csv", ".parquet"):
        raise UsageError(f"--out {out}: expected a .csv or .parquet file.", code="out")
    if none and end == ".parquet":
        raise UsageError(
            f"--out {out}: a file of probabilities has no place for '{NONE}'.", remedy="Write a .csv.", code="out"
        )
    if top_k is not None and (end != ".csv" or not 1 <= top_k <= k):
        raise UsageError(f"--top-k needs --out FILE.csv and 1 to {k}, found {top_k}.", code="setting")
    return None if out is None else must_not_exist(out)


def targets_of(table: Table, classes: Sequence[ClassText]) -> np.ndarray | None:
    """The class of each row by its label, in any of its wordings, int64[N], -1 where it is none; None for no label."""
    if table.task == "multilabel":
        return None
    place = {wording.casefold(): k for k, one in enumerate(classes) for wording in one.wordings}
    labels = table.rows["label"].to_list()
    found = np.array([-1 if label is None else place.get(str(label).casefold(), -1) for label in labels], np.int64)
    strange = sorted({str(x) for x, k in zip(labels, found, strict=True) if x is not None and k < 0})
    if (found < 0).all():
        return None
    if strange:
        say(f"labels that are none of the classes count in no score: {', '.join(strange[:5])}")
    return found


def _predictions(
    reader: Reader, words: Words, classes: Sequence[ClassText], table: Table, how: Reading
) -> tuple[Predictions, np.ndarray]:
    """(the model's own probabilities of all rows, strangeness float64[N])."""
    found = image_vectors(reader, table, how)
    vectors, names = found.values, [one.name for one in classes]
    if len(found.errors) == len(table):
        vectors = np.full((len(table), words.classes.shape[1]), np.nan, np.float32)
    scale, bias = reader.dual.scale, reader.dual.bias
    probs = probabilities(logits(vectors, words.classes, scale, bias))
    task: Task = "binary" if len(names) == 2 else "multiclass"
    ids: list[str] = table.rows["id"].to_list()
    p = Predictions(ids, names, probs, targets_of(table, classes), task, None, reader.hash, "", found.errors)
    return p, strangeness(vectors, words.classes, words.background, scale)


def _settle(
    reader: Reader, words: Words, classes: Sequence[ClassText], table: Table, how: Reading, false_alarms: float | None
) -> Settled:
    """Temperature and rule from labelled images.  UsageError: none of them is of a class; DataError: too few."""
    from anmok.evaluate.scaling import choose_calibration

    targets = targets_of(table, classes)
    splits = table.rows["split"].to_list()
    fit = np.array([targets is not None and targets[i] >= 0 and s != "test" for i, s in enumerate(splits)])
    if not fit.any():
        raise UsageError(
            "none of its images has a label that is one of the classes (the test split is left out).",
            where="--calibrate", code="class",
            remedy=f"Expected labels such as {', '.join(one.name for one in classes[:3])}.",
        )  # fmt: skip
    p, strange = _predictions(reader, words, classes, table.take(fit), how)
    chosen = choose_calibration(p, ("none", "temperature"))
    temperature = chosen.calibration.temperature
    text = [f"Temperature {temperature:.3g} from {len(p):,} labelled images: {chosen.reason}."]
    return Settled(temperature, NoneRule() if false_alarms is None else fit_none(strange, false_alarms), text)


def _answered(p: Predictions, strange: np.ndarray, settled: Settled, none: bool) -> ZeroShot:
    bad = np.isnan(p.probs).any(axis=1)
    if settled.temperature != 1:
        from anmok.evaluate.calibrate import Calibration

        p = replace(p, probs=Calibration("temperature", p.task, settled.temperature).apply(p.probs))
    strange = np.concatenate([strange, np.full(len(p) - len(strange), np.nan)])
    flags = settled.rule.flags(strange) & none
    answers = [NONE if flag else label for flag, label in zip(flags, p.labels, strict=True)]
    values = {f.name: getattr(p, f.name) for f in fields(Predictions)}
    return ZeroShot(
        **values, answers=tuple(answers), chances=np.nan_to_num(p.probs).max(axis=1), asked=np.zeros(len(p), bool),
        temperature=settled.temperature, strange=np.where(bad, np.nan, strange),
    )  # fmt: skip


def _told(found: ZeroShot, reader: Reader, prompts: int, settled: Settled, none: bool) -> ZeroShot:
    """The same with its evaluation, where labels are known, and what was done in words."""
    text = [f"{reader.name}: {len(found.classes)} classes by name, in {prompts} prompt(s).", *settled.text]
    if none:
        by = "a background text fits better than every class"
        if settled.rule.false_alarms is not None:
            by += (
                f" by more than {settled.rule.threshold:.3g}, which {settled.rule.false_alarms:.0%} of the labelled "
                "images were allowed to reach"
            )
        text.append(f"{found.answers.count(NONE):,} of {len(found):,} images are {NONE}: {by}.")
    evaluation = None
    if found.targets is not None and (found.targets >= 0).any() and not np.isnan(found.probs).all():
        from anmok.evaluate.metrics import evaluate

        plain = Predictions(**{f.name: getattr(found, f.name) for f in fields(Predictions)})
        evaluation = evaluate(plain, "")
    return replace(found, evaluation=evaluation, text=tuple(text))
