"""A zero-shot classifier as a model folder: the image tower with a text vector of each class as its head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anmok.augment.preprocess import Preprocess
from anmok.core.errors import UsageError
from anmok.core.types import Predictions
from anmok.data.table import Table
from anmok.nshot.prompts import ClassText
from anmok.stages.search_reader import Reader
from anmok.stages.search_vectors import Reading

COMPARED = 256  # images, at most, on which the saved model is compared with what was answered


def save_tower(
    folder: Path, reader: Reader, vectors: np.ndarray, classes: Sequence[ClassText], prompts: Sequence[str],
    temperature: float, table: Table, found: Predictions, how: Reading,
) -> str:  # fmt: skip
    """Write the model folder and say how far it answers as the dual encoder did, on images of the table."""
    from anmok.deploy.bundle import default_decision, load_model, save_bundle
    from anmok.deploy.card import Card
    from anmok.models.classifier import Classifier
    from anmok.models.dual_tower import text_head
    from anmok.stages.predict import predict_table

    preprocess = kept_preprocess(reader)
    names = [one.name for one in classes]
    backbone = text_head(reader.dual, vectors)
    classifier = Classifier(backbone, names, found.task, preprocess.mean, preprocess.std, len(names))
    how_made = {
        "made of": f"{reader.name}, without a training: each class is the mean vector of its texts",
        "texts": "; ".join("|".join(one.wordings) for one in classes), "prompts": "; ".join(prompts),
    }  # fmt: skip
    decision = {**default_decision(names, found.task), "temperature": temperature}
    card = Card(name=f"zero-shot {', '.join(names[:5])}", training=how_made)
    save_bundle(folder, classifier, preprocess, architecture="object", decision=decision, card=card)
    few = table.take(np.arange(min(COMPARED, len(table))))
    again = predict_table(
        load_model(folder), few, batch_size=how.batch_size, threads=how.threads, allow_truncated=how.allow_truncated
    )
    both = np.isfinite(again.probs).all(axis=1) & np.isfinite(found.probs[: len(few)]).all(axis=1)
    apart = np.abs(again.probs - found.probs[: len(few)])[both].max(initial=0)
    return f"{folder} gives the same probabilities but for {apart:.1g}, on {int(both.sum()):,} of these images."


def kept_preprocess(reader: Reader) -> Preprocess:
    """The preprocessing of the model folder.  UsageError (code model): a dual encoder that cannot be kept so."""
    from anmok.models.dual import HubDual
    from anmok.models.dual_tower import fitting

    if not isinstance(reader.dual, HubDual):
        raise UsageError(
            "only models in the hub's layout are kept as a classifier.", where="--save-model", code="model",
            remedy="A dual encoder of one's own answers as it is: anmok zeroshot --model RUN.",
        )  # fmt: skip
    return Preprocess(**fitting(reader.dual))
