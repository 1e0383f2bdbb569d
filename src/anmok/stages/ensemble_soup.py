"""A soup: the mean of the weights of several runs of one network, as an ordinary model folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anmok.core.errors import UsageError
from anmok.core.files import MANIFEST, new_folder, read_json, sha256, write_atomic, write_json, write_manifest
from anmok.core.types import Predictions
from anmok.data.batches import Loader
from anmok.data.table import split_counts
from anmok.deploy.bundle import default_decision, load_model
from anmok.deploy.card import Card, Score, write_card
from anmok.deploy.model import Model
from anmok.models.average import greedy_soup, refresh_norms, soup
from anmok.models.weights import differences, read_weights
from anmok.stages.ensemble import judge_stored, members_of, write_settings
from anmok.stages.ensemble_gain import gain, latency
from anmok.stages.ensemble_run import EnsembleRun
from anmok.stages.hierarchy_scores import fitted_decision
from anmok.stages.judge import groups_of
from anmok.stages.predict import predict_table
from anmok.stages.run import Run
from anmok.stages.score import quick_score

NORM_IMAGES = 2048  # of training, on which batch normalisation is measured anew

State = dict[str, torch.Tensor]


def write_soup(folder: Path, runs: Mapping[str, Run], stored: Mapping[str, Predictions], *, greedy: bool) -> None:
    """Write a soup's folder; its model/ is an ordinary model folder.

    UsageError, code `soup`: the runs are not of one network that sees images in one way.
    """
    require_alike(runs)
    order = sorted(runs, key=lambda name: -_accuracy(stored[name]))  # the best first
    states = [read_weights(runs[name].path / "model" / "model.safetensors") for name in order]
    run = runs[order[0]]
    if greedy:
        tensors, kept = greedy_soup(states, lambda state: _accuracy(_predicted(run, refreshed(run, state))))
        taken = [order[i] for i in kept]
    else:
        tensors, taken = soup(states), order
    tensors = refreshed(run, tensors)
    named = {name: runs[name] for name in runs if name in taken}
    predictions = _predicted(run, tensors)
    facts = {
        "version": 1, "how": "greedy-soup" if greedy else "soup", "members": list(named), "tried": list(runs),
        "classes": predictions.classes, "task": predictions.task, **members_of(named, folder / "model"),
        "latency_ms": {name: latency(member.model) for name, member in named.items()},
        "soup_ms": latency(run.model),
        "gain": gain(stored, predictions, "val", False, groups_of(run.table)),
    }  # fmt: skip
    plain = default_decision(run.model.classes, run.model.task)
    decision = fitted_decision(
        run.table, predictions, plain | {"temperature": run.model.decision["temperature"]}
    )  # fmt: skip
    with new_folder(folder) as temporary:
        write_settings(temporary, run, facts)
        _write_model(temporary / "model", run, tensors, facts, decision)
    judge_stored(EnsembleRun(folder), "val", predictions, sha256(folder / "model" / MANIFEST), decision)


def require_alike(runs: Mapping[str, Run]) -> None:
    """UsageError, code `soup`, that names how two of the runs differ."""
    first_name, *others = runs
    first = runs[first_name].model
    own = first.classifier.backbone.state_dict()
    for name in others:
        model = runs[name].model
        problem = ""
        if model.architecture != first.architecture:
            problem = f"{name} is a {model.architecture}, {first_name} a {first.architecture}"
        elif model.preprocess != first.preprocess:
            problem = f"{name} and {first_name} prepare images otherwise"
        elif found := differences(own, model.classifier.backbone.state_dict(), set(own)):
            problem = f"the weights of {name} are not those of {first_name}: {found}"
        elif model.decision["temperature"] != first.decision["temperature"]:
            problem = f"{name} and {first_name} have other temperatures"
        if problem:
            raise UsageError(
                f"{problem}; weights can be averaged of one network only.", where="--how soup", code="soup",
                remedy="Use --how soft, which averages answers.",
            )  # fmt: skip


def refreshed(run: Run, tensors: State) -> State:
    """The tensors with the statistics of batch normalisation that they have on training images."""
    model = _with(run, tensors)
    p, rows = model.preprocess, run.table.labelled().where(split="train")
    some = rows.take(np.linspace(0, len(rows) - 1, min(len(rows), NORM_IMAGES)).astype(np.int64))
    loader = Loader(some, preprocess=p, batch_size=64, allow_truncated=run.config.data.allow_truncated)

    def batches() -> Iterator[torch.Tensor]:
        for batch in loader.epoch():
            if len(batch):
                yield torch.from_numpy(batch.images)

    if not refresh_norms(model.classifier, batches()):
        return tensors
    measured = model.classifier.backbone.state_dict()
    names = [n for n in tensors if n.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")]
    return {**tensors, **{name: measured[name].clone() for name in names}}


def _with(run: Run, tensors: State) -> Model:
    """The run's model with other weights."""
    from anmok.deploy.portable import merge_gray

    model = load_model(run.path / "model", module=run._module)
    own = dict(tensors)
    merge_gray(own, read_json(run.path / "model" / "config.json")["anmok"].get("gray_convs") or [])
    model.classifier.backbone.load_state_dict(own)
    return model


def _predicted(run: Run, tensors: State) -> Predictions:
    rows = run.table.labelled().where(split="val")
    config = run.config
    return predict_table(
        _with(run, tensors), rows, batch_size=config.batch_size, threads=config.runtime.threads,
        allow_truncated=config.data.allow_truncated,
    )  # fmt: skip


def _accuracy(p: Predictions) -> float:
    """Accuracy on the images that could be read; of a tie the one with the lower log loss."""
    return quick_score(p.select(~np.isnan(p.probs).any(axis=1)), "accuracy")["select"]


def _write_model(folder: Path, run: Run, tensors: State, facts: Mapping[str, Any], decision: Mapping[str, Any]) -> None:
    from safetensors.torch import save_file

    source, model = run.path / "model", run.model
    folder.mkdir()
    for name in ("config.json", "preprocess.json"):
        write_atomic(folder / name, (source / name).read_bytes())
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "decision.json", dict(decision))
    card = write_card(_card(run, facts), read_json(source / "config.json"), model.preprocess)
    write_atomic(folder / "README.md", card)
    write_manifest(folder)


def _card(run: Run, facts: Mapping[str, Any]) -> Card:
    found = facts["gain"]["metrics"]
    scores = tuple(Score("val", name, found[name]["b"]) for name in ("accuracy", "log_loss"))
    training = {"weights": f"the mean of {len(facts['members'])} trainings: {', '.join(facts['members'])}"}
    return Card(f"soup of {len(facts['members'])} runs", split_counts(run.table), scores, training)
