"""`anmok decide`: what a mistake costs, or what is promised, turned into a decision; fitted on validation alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anmok.core.errors import DataError, UsageError
from anmok.core.events import Events
from anmok.core.files import MANIFEST, locked, read_json, sha256
from anmok.core.progress import say
from anmok.core.types import Predictions
from anmok.evaluate.costs import ErrorCosts, costs_of_labels
from anmok.evaluate.decide import fit_decision
from anmok.evaluate.decision import Decision
from anmok.evaluate.guarantee import DELTA
from anmok.evaluate.outcome import outcome
from anmok.report.decision_text import decision_html, decision_lines, promise_lines
from anmok.stages.decide_asked import Costs, numbers, read_costs
from anmok.stages.decide_calibrate import AUTO, Calibrated, calibrate, calibrated, of_model
from anmok.stages.decide_rescore import rescore
from anmok.stages.ensemble_run import find_run
from anmok.stages.hierarchy_scores import fitted_decision
from anmok.stages.judge import groups_of
from anmok.stages.run import Run


@dataclass(frozen=True)
class Decided:
    """A decision that was written, and what it does: outcomes (see `evaluate.outcome`) by split, val or oof first."""

    path: Path
    decision: Decision
    calibration: str
    outcomes: dict[str, dict[str, Any]]

    def __repr__(self) -> str:
        return "\n".join(decision_lines(self.calibration, self.decision.to_dict(), self.outcomes))

    def _repr_html_(self) -> str:
        return decision_html(decision_lines(self.calibration, self.decision.to_dict(), self.outcomes))


def decide(
    run: Any, *, cost: Any = None, positive: str | None = None, at_least: Any = None, abstain: float | None = None,
    prevalence: Any = None, delta: float = DELTA, calibrate: str = AUTO,
) -> Decided:  # fmt: skip
    """Fit a decision on a run's validation predictions, write it into the run's model, and say what it does.

    run: a Run or ensemble, or its path.  cost: see `decide_asked.read_costs`; at_least: {'precision': 0.95, 'recall':
    0.99} or the same as text, which is promised; delta: the share of all validation sets that could be drawn which may
    make a promise that is broken, those that make none counted in; positive: of which class fp, fn and promises are.
    abstain: share of the images that are left to a person.  prevalence: {'thief': 0.001}, how frequent classes are
    where the model is used.  calibrate: auto, none, temperature, vector or isotonic.

    Writes model/ (decision.json, the calibrated head, card and manifest) at once, then the stored predictions and
    evaluations as the calibrated model has them.  Where the test split has been predicted already, what the decision
    does there is reported, never fitted, and counts as a look.  UsageError for what does not fit together; DataError
    for predictions of another model (model-hash), or of the test split (test-split).
    """
    found = find_run(run)
    with locked(found.path):
        return _decide(found, cost, positive, at_least, abstain, prevalence, delta, calibrate)


def _decide(
    run: Run, cost: Any, positive: str | None, at_least: Any, abstain: float | None, prevalence: Any, delta: float,
    kind: str,
) -> Decided:  # fmt: skip
    folder = run.path / "model"
    before, old_hash = read_json(folder / "decision.json"), sha256(folder / MANIFEST)
    split = _fitted_on(run)
    stored = {split: _stored(run, split, old_hash, before)}
    if _has(run, "test"):
        try:
            stored["test"] = _stored(run, "test", old_hash, before)
        except DataError as error:  # nothing is fitted on them: they are left as they are
            if error.code != "model-hash":
                raise
            say(f"what it does on the test split is not shown: {error.message}")
    costs = read_costs(cost, stored[split].classes)
    asked = numbers(at_least, "at-least", ("precision", "recall"))
    made = calibrate(run, stored[split], float(before.get("temperature", 1.0)), kind)
    new = {s: calibrated(p, made.inside, old_hash) for s, p in stored.items()}
    decision = fit_decision(
        new[split], costs=costs, positive=positive, precision=asked.get("precision"), recall=asked.get("recall"),
        delta=delta, prevalence=numbers(prevalence, "prevalence") or None, abstain=abstain, calibration=made.rest,
        temperature=made.temperature,
    )  # fmt: skip
    of_labels, groups = label_costs(costs, decision), groups_of(run.table)
    outcomes = {s: outcome(decision, p, s, costs=of_labels, groups=groups) for s, p in new.items()}
    said = (made.text, *promise_lines(decision.to_dict()), *outcomes[split]["text"])
    decision = replace(decision, text=said)
    _write(run, decision, made, said, new, old_hash, of_labels)
    return Decided(run.path, decision, made.text, outcomes)


def label_costs(costs: Costs | None, decision: Decision) -> dict[str, ErrorCosts]:
    """What errors cost, of each label that got a threshold by its costs."""
    if costs is None or not isinstance(costs, ErrorCosts | dict):
        return {}
    return costs_of_labels(costs, list(decision.thresholds or ()))


def _fitted_on(run: Run) -> str:
    """The split that decisions are fitted on: val, or the out-of-fold images of a cross-validation."""
    for split in ("val", "oof"):
        if _has(run, split):
            return split
    raise UsageError(
        "no validation predictions here, on which a decision could be fitted.", where=str(run.path), code="run",
        remedy="A decision is never fitted on the test split; train with a validation split.",
    )  # fmt: skip


def _has(run: Run, split: str) -> bool:
    return (run.path / "predictions" / f"{split}.parquet").is_file()


def _stored(run: Run, split: str, model_hash: str, decision: Mapping[str, Any]) -> Predictions:
    remedy = f"Predict them anew: anmok evaluate {run.path} --split {split}."
    return of_model(run.predictions(split), model_hash, decision, remedy)


def _write(
    run: Run, decision: Decision, made: Calibrated, said: tuple[str, ...], new: Mapping[str, Predictions],
    old_hash: str, of_labels: Mapping[str, ErrorCosts],
) -> None:  # fmt: skip
    """The model folder first and at once; then what is stored of it, which can be made again from there."""
    from anmok.deploy.decision import write_decision

    content = decision.to_dict()
    if of_labels:
        content["label_costs"] = {label: cost._asdict() for label, cost in of_labels.items()}
    content = fitted_decision(run.table, next(iter(new.values())), content)  # of validation: the first
    content["before"] = {"model_hash": old_hash, "calibration": made.inside.to_dict()}
    model_hash = write_decision(run.path / "model", content, head=made.head, said=said)
    run.__dict__.pop("model", None)  # read again when it is asked for: it has changed
    for split, p in new.items():
        evaluation = rescore(run, split, replace(p, model_hash=model_hash), content)
        if split == "test":
            events = Events(run.path / "events.jsonl")
            events.log("look", split=split, accuracy=evaluation.value("accuracy"))
            events.close()
