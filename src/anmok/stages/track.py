"""Trackers as readers of our events: TensorBoard, MLflow, Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from anmok.core.events import redact
from anmok.core.optional import need

Listener = Callable[[dict[str, Any]], None]


def numbers(item: dict[str, Any]) -> dict[str, float]:
    """The figures of an epoch event, flat: loss, lr, images_per_s, val/accuracy, …"""
    flat = {k: v for k, v in item.items() if k not in ("event", "t", "epoch", "step", "val")}
    flat |= {f"val/{k}": v for k, v in item.get("val", {}).items()}
    return {k: float(v) for k, v in flat.items() if isinstance(v, int | float)}


def build_trackers(names: list[str], folder: Path, config: dict[str, Any]) -> list[Listener]:
    """A listener for each name; MachineError naming the extra for a package that is missing."""
    return [CATALOGUE[name](folder, redact(config)) for name in names]


def _tensorboard(folder: Path, config: dict[str, Any]) -> Listener:
    board = need("torch.utils.tensorboard", "track")
    writer = board.SummaryWriter(str(folder / "tensorboard"))
    writer.add_text("config", str(config))

    def listen(item: dict[str, Any]) -> None:
        if item["event"] == "epoch":
            for name, value in numbers(item).items():
                writer.add_scalar(name, value, item["epoch"])
            writer.flush()
        elif item["event"] == "end":
            writer.close()

    return listen


def _mlflow(folder: Path, config: dict[str, Any]) -> Listener:
    mlflow = need("mlflow", "track")
    run = mlflow.start_run(run_name=folder.name)
    client, run_id = mlflow.MlflowClient(), run.info.run_id
    for name, value in _flat(config).items():
        client.log_param(run_id, name, value)

    def listen(item: dict[str, Any]) -> None:
        if item["event"] == "epoch":
            for name, value in numbers(item).items():
                client.log_metric(run_id, name.replace(" ", "_"), value, step=item["epoch"])
        elif item["event"] == "end":
            mlflow.end_run()

    return listen


def _wandb(folder: Path, config: dict[str, Any]) -> Listener:
    wandb = need("wandb", "track")
    run = wandb.init(name=folder.name, dir=str(folder), config=config)

    def listen(item: dict[str, Any]) -> None:
        if item["event"] == "epoch":
            run.log(numbers(item), step=item["epoch"])
        elif item["event"] == "end":
            run.finish()

    return listen


def _flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in node.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return out


CATALOGUE: dict[str, Callable[[Path, dict[str, Any]], Listener]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
