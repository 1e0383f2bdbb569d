"""Numbers as text and the sentences of a report; another language is another such file, see `language.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "accuracy": ("Accuracy", "share of images labelled right"),
    "balanced_accuracy": ("Balanced accuracy", "mean recall, every class counts alike"),
    "macro_f1": ("Macro F1", "mean F1, every class counts alike"),
    "micro_f1": ("Micro F1", "F1 of all decisions together"),
    "weighted_f1": ("Weighted F1", "mean F1, classes count by their images"),
    "mcc": ("MCC", "Matthews correlation: 0 is chance, 1 is perfect"),
    "log_loss": ("Log loss", "surprise at the true label, in nats; lower is better"),
    "ece": ("Calibration error", "how far confidence is from being right (ECE, 15 bins); lower is better"),
    "roc_auc": ("ROC-AUC", "chance that a positive stands above a negative"),
    "average_precision": ("Average precision", "area under the precision–recall curve"),
    "hamming_loss": ("Hamming loss", "share of label decisions that are wrong; lower is better"),
    "cohen_kappa": ("Cohen's kappa", "agreement beyond chance: 0 is chance, 1 is perfect"),
    "brier": ("Brier score", "squared distance of the probabilities from the truth; lower is better"),
    "top_3_accuracy": ("Top-3 accuracy", "the true label is among the three likeliest"),
    "top_5_accuracy": ("Top-5 accuracy", "the true label is among the five likeliest"),
    "coarse_accuracy": ("Coarse accuracy", "share of images whose class has the right parent"),
    "hierarchical_cost": ("Hierarchical cost", "distance of mistakes in the classes' tree; lower is better"),
}
MAIN = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "mcc",
    "roc_auc",
    "average_precision",
    "log_loss",
    "ece",
    "hamming_loss",
    "cohen_kappa",
    "brier",
    "top_3_accuracy",
    "top_5_accuracy",
    "coarse_accuracy",
    "hierarchical_cost",
)
# A baseline gives labels, not these.
OF_PROBABILITIES = {"roc_auc", "average_precision", "log_loss", "ece", "brier", "top_3_accuracy", "top_5_accuracy"}
AVERAGES = ("macro", "micro", "weighted")
SCORES = ("precision", "recall", "f1")
UNBOUNDED = {"log_loss", "mcc", "cohen_kappa", "brier", "hierarchical_cost"}  # not a share between 0 and 1


def number(value: float | None, digits: int = 3) -> str:
    """A score as text; n/a where it is undefined."""
    return "n/a" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def percent(value: float) -> str:
    """A share as per cent, one decimal; 100 % only where it is all."""
    text = f"{100 * value:.1f}"
    if (text == "100.0" and value < 1) or (text == "0.0" and value > 0):
        text = f"{100 * value:.3g}" if value < 0.5 else f"{100 * value:.3f}".rstrip("0").rstrip(".")
    return f"{text.removesuffix('.0') if value in (0, 1) else text}\u00a0%"


def interval(metric: Mapping[str, Any], digits: int = 3) -> str:
    """'low – high' of a metric, '' where it has none."""
    if metric.get("value") is None or metric.get("low") is None:
        return ""
    return f"{metric['low']:.{digits}f} – {metric['high']:.{digits}f}"


def metric_name(name: str) -> tuple[str, str]:
    """(name shown, explanation) of a metric."""
    return NAMES.get(name, (name.replace("_", " ").capitalize(), ""))


def reason(text: str) -> str:
    """Why a score is undefined, or a note on it, as the evaluation gives it."""
    return text


def note(text: str) -> str:
    """What was done to the data or said of it, as the table notes it."""
    return text


def baseline_name(name: str) -> str:
    """A baseline's name as shown."""
    return {"majority": "most frequent label", "nearest-neighbour": "most similar image"}.get(name, name)


def count(n: int, one: str, many: str | None = None) -> str:
    """'1 image', '1,204 images'."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def headline(evaluation: Mapping[str, Any]) -> list[str]:
    """What the evaluation says, in plain sentences."""
    accuracy, n, split = evaluation["metrics"]["accuracy"], evaluation["n"], evaluation["split"]
    right = "finds exactly the right labels of" if evaluation["task"] == "multilabel" else "is right on"
    said = f"The model {right} {percent(accuracy['value'])} of {count(n, f'{split} image'.strip())}"
    bounds = (
        f" (95\u00a0% interval {percent(accuracy['low'])} to {percent(accuracy['high'])})."
        if "low" in accuracy
        else "."
    )
    return [said + bounds, *_beside_baselines(evaluation)]


def _beside_baselines(evaluation: Mapping[str, Any]) -> list[str]:
    deeds = {
        "majority": "Always giving the labels that most images have"
        if evaluation["task"] == "multilabel"
        else "Always giving the most frequent label",
        "nearest-neighbour": "copying the label of the most similar training image",
    }
    others = {
        name: metrics["accuracy"]
        for name, metrics in evaluation.get("baselines", {}).items()
        if metrics.get("accuracy", {}).get("value") is not None
    }
    if not others:
        return []
    parts = [f"{deeds.get(name, name)} would reach {percent(m['value'])}" for name, m in others.items()]
    told = ", ".join(parts) + "."
    model, best = evaluation["metrics"]["accuracy"], max(others.values(), key=lambda m: m["value"])
    if model["value"] <= best["value"]:
        verdict = "The model is no better than that: it has not learned to tell these classes apart."
    elif model.get("low", model["value"]) <= best.get("high", best["value"]):
        verdict = "The model is ahead, but the intervals overlap: with so few images this may be chance."
    else:
        verdict = "The model is ahead by more than chance explains."
    return [told[0].upper() + told[1:], verdict]


def remarks(evaluation: Mapping[str, Any]) -> list[str]:
    """What a reader must know beside the headline: looks at the test split, leaked rows, rows left out."""
    out = []
    looks = evaluation.get("looks") if evaluation.get("split", "test") == "test" else 0
    if looks:
        times = (
            "once, which is as it should be"
            if looks == 1
            else f"{looks:,} times: each look makes its score kinder than it is"
        )
        out.append(f"The test split has been looked at {times}.")
    leaked = evaluation.get("leaked")
    if leaked:
        out.append(_without_leaked(leaked))
    if evaluation.get("rejected"):
        out.append(
            f"{count(evaluation['rejected'], 'image')} could not be read and {_is(evaluation['rejected'])} left out."
        )
    if evaluation.get("unlabelled"):
        out.append(
            f"{count(evaluation['unlabelled'], 'image')} without a label {_is(evaluation['unlabelled'])} left out."
        )
    return out


def _without_leaked(leaked: Mapping[str, Any]) -> str:
    m = leaked["metrics"]["accuracy"]
    also = count(leaked["left_out"], "image that is", "images that are")
    if m["value"] is None:
        return f"Without {also} also in training or validation nothing is left to score."
    score = f"{percent(m['value'])} ({percent(m['low'])} to {percent(m['high'])})"
    return f"Without {also} also in training or validation, accuracy is {score} on {count(leaked['n'], 'image')}."


def _is(n: int) -> str:
    return "is" if n == 1 else "are"
