"""Several models that answer as one: what `anmok.load` gives of an ensemble."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.core.errors import DataError, UsageError, did_you_mean
from anmok.core.files import MANIFEST, read_json, sha256, verify_manifest
from anmok.core.types import Predictions, Task
from anmok.data.table import Table
from anmok.evaluate.answers import answered
from anmok.evaluate.ensemble import Ensemble

if TYPE_CHECKING:
    from anmok.deploy.model import Model

FILE = "ensemble.json"
Weights = Sequence[float] | Mapping[str, Sequence[float]] | None  # of test-time views, of a member or of each


def weights_of(weights: Weights, member: str) -> Sequence[float] | None:
    """Those of one member.  UsageError where it has none."""
    if not isinstance(weights, Mapping):
        return weights
    if member not in weights:
        raise UsageError(
            f"no weights of the member {member}.", where="tta_weights", remedy=did_you_mean(member, weights),
            code="setting",
        )  # fmt: skip
    return weights[member]


class EnsembleModel:
    """Members, each with its own preprocessing, and how their probabilities become one.

    classes, task, decision, path, hash: as of a Model; hash names the members too, by theirs.
    """

    def __init__(
        self, ensemble: Ensemble, members: Mapping[str, Model], decision: dict[str, Any], *, path: Path, hash: str
    ):
        self.ensemble, self.members, self.decision = ensemble, dict(members), decision
        self.path, self.hash = path, hash

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the probabilities."""
        return list(self.ensemble.classes)

    @property
    def task(self) -> Task:
        """binary, multiclass or multilabel."""
        return self.ensemble.task

    @property
    def architecture(self) -> str:
        """The members' networks."""
        return " + ".join(model.architecture for model in self.members.values())

    def predict(self, images: Any, **options: Any) -> Predictions:
        """The answers to one image or to many, see `Model.predict`; its decision, not those of its members.

        options: as there.  Test-time views are averaged in each member; tta_weights: of the views, the same for all
        members, or {member: its own}.
        """
        return answered(self.undecided(images, **options), self.decision)

    def undecided(self, images: Any, *, tta_weights: Weights = None, **options: Any) -> Predictions:
        """Probabilities of one image or of many, whatever may have been decided; see `Model.undecided`."""
        from anmok.deploy.model import as_list

        items = as_list(images)  # once: an iterator would be spent by the first member
        return self.together([
            member.undecided(items, tta_weights=weights_of(tta_weights, name), **options)
            for name, member in self.members.items()
        ])  # fmt: skip

    def predict_table(self, table: Table, *, tta_weights: Weights = None, **options: Any) -> Predictions:
        """Predictions of all rows of a table; see `predict.predict_table`."""
        from anmok.stages.predict import predict_table

        return self.together([
            predict_table(member, table, tta_weights=weights_of(tta_weights, name), **options)
            for name, member in self.members.items()
        ])  # fmt: skip

    def together(self, found: Sequence[Predictions]) -> Predictions:
        """The members' predictions of the same images, in their order, as the ensemble's."""
        first = found[0]
        errors = {i: why for p in reversed(found) for i, why in p.errors.items()}
        probs = self.ensemble.combine([p.probs for p in found])
        return Predictions(
            first.ids, self.classes, probs, first.targets, self.task, None, self.hash, first.fingerprint, errors
        )

    def _facts(self) -> list[tuple[str, str]]:
        shown = ", ".join(self.classes[:8]) + (", …" if len(self.classes) > 8 else "")
        weights = self.ensemble.weights or (None,) * len(self.members)
        return [
            ("task", f"{self.task}: {len(self.classes)} classes ({shown})"),
            *(
                (name, f"{model.architecture}" + ("" if w is None else f", weight {w:.3f}"))
                for (name, model), w in zip(self.members.items(), weights, strict=True)
            ),
            ("folder", f"{self.path} ({self.hash[:12]})"),
        ]

    def __repr__(self) -> str:
        facts = self._facts()
        width = max(len(name) for name, _ in facts)
        head = f"Ensemble of {len(self.members)} models ({self.ensemble.how})"
        return "\n".join([head, *(f"  {name:<{width}}  {text}" for name, text in facts)])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{html.escape(n)}</th><td>{html.escape(t)}</td></tr>" for n, t in self._facts())
        return f"<table>{rows}</table>"


def load_ensemble(folder: Path, device: str = "cpu") -> EnsembleModel:
    """The ensemble of a folder with ensemble.json.

    DataError: the folder is not what its manifest says, or a member is not the one that it was made of (tampered), or
    is gone (missing-member).
    """
    from anmok.deploy.bundle import load_model, read_decision

    verify_manifest(folder)
    content = read_json(folder / FILE)
    ensemble = Ensemble.from_dict(content)
    members = {}
    for name, path, wanted in _named(content, folder):
        place = folder / path
        if not (place / MANIFEST).is_file():
            raise DataError(
                f"its member {name} is no longer at {path}.", where=str(folder), code="missing-member",
                remedy="Bring it back: an ensemble names its members, it does not hold them.",
            )  # fmt: skip
        if sha256(place / MANIFEST) != wanted:
            raise DataError(
                f"its member {name} has changed since the ensemble was made.", where=str(folder), code="tampered",
                remedy="Make the ensemble anew.",
            )  # fmt: skip
        members[name] = load_model(place, device=device)
        if tuple(members[name].classes) != ensemble.classes or members[name].task != ensemble.task:
            raise DataError(f"the classes of {name} are not the ensemble's.", where=str(folder), code="class-map")
    decision = read_decision(folder / "decision.json", list(ensemble.classes), ensemble.task)
    return EnsembleModel(ensemble, members, decision, path=folder, hash=sha256(folder / MANIFEST))


def _named(content: dict[str, Any], folder: Path) -> list[tuple[str, str, str]]:
    """(name, path, hash) of each member."""
    names, paths, hashes = (content.get(key) for key in ("members", "paths", "hashes"))
    lists = [names, paths, hashes]
    if content.get("version") != 1 or not all(isinstance(part, list) for part in lists):
        raise DataError("not an ensemble that is known here.", where=str(folder / FILE), code="version")
    if len({len(part) for part in lists if part is not None}) != 1:
        raise DataError("its members, paths and hashes are not as many.", where=str(folder / FILE), code="damaged")
    return [(str(n), str(p), str(h)) for n, p, h in zip(names or (), paths or (), hashes or (), strict=True)]


def predict_rows(model: Any, table: Table, **options: Any) -> Predictions:
    """Predictions of a Model or of an ensemble for all rows of a table; see `predict.predict_table`."""
    from anmok.stages.predict import predict_table

    if isinstance(model, EnsembleModel):
        return model.predict_table(table, **options)
    return predict_table(model, table, **options)
