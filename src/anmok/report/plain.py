"""An evaluation in plain sentences: of 100 alarms so many would be false, of 100 of a kind so many would pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anmok.report.language import ENGLISH, Language

MOST = 6  # classes that get a sentence


def plain_lines(evaluation: Mapping[str, Any], language: Language = ENGLISH) -> list[str]:
    """What it would mean to use the model, with intervals: by the decision, else by 0.5 or the most probable class.

    Numbers are those of evaluation.json: `decision.outcome` where somebody decided, else `per_class`.
    """
    decision = evaluation.get("decision") or {}
    outcome = decision.get("outcome")
    if not outcome:
        return _not_decided(evaluation, language)
    task, say = evaluation["task"], language.say
    labels = list(outcome["labels"].items())
    shown = labels[-1:] if task == "binary" else _worst(labels, MOST)
    lines = [say("plain_as_decided")]
    lines += [_of_label(label, row, language, decision, evaluation) for label, row in shown]
    if len(shown) < len(labels) and task != "binary":
        lines.append(say("plain_rest", shown=len(shown), k=len(labels)))
    if outcome["cost"].get("value") is not None:
        lines += _cost(outcome["cost"], decision, language)
    asked = outcome["asked"]
    if asked["value"]:
        lines.append(say("plain_asked", n=of_100(asked["value"]), bounds=_bounds(asked, language)))
    return lines


def _not_decided(evaluation: Mapping[str, Any], language: Language) -> list[str]:
    labels, task, say = list(evaluation["per_class"].items()), evaluation["task"], language.say
    decision = evaluation.get("decision") or {}
    if task == "binary":
        positive = decision.get("positive", labels[-1][0])
        shown = [item for item in labels if item[0] == positive]
    else:
        shown = _worst(labels, MOST)
    rule = say("rule_argmax" if task == "multiclass" else "rule_half")
    lines = [say("plain_answers") if evaluation.get("answers_only") else say("plain_not_decided", rule=rule)]
    lines += [_of_label(label, row, language, decision, evaluation) for label, row in shown]
    if task != "binary" and len(shown) < len(labels):
        lines.append(say("plain_rest", shown=len(shown), k=len(labels)))
    return lines if evaluation.get("answers_only") else [*lines, say("plain_decide")]


def of_100(share: float) -> str:
    """'7', '0.3': of a hundred, no more than two digits, and 0 only for none."""
    n = 100 * share
    return f"{n:.0f}" if n >= 9.5 or n == 0 else f"{n:.2g}"


def _of_label(
    label: str, row: Mapping[str, Any], language: Language, decision: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> str:  # fmt: skip
    say, precision, where = language.say, row["precision"], ""
    there = row.get("precision_there")
    if there and there["value"] is not None:
        place = evaluation["confusion"]["classes"].index(label)
        precision = there
        where = say("plain_there", n=of_100(decision["prior"]["target"][place]), label=label)
    if precision["value"] is None:
        alarms = say("plain_no_alarm")
    else:
        false = of_100(1 - precision["value"])
        alarms = _joined(say("plain_alarms", n=false, bounds=_bounds(precision, language, True)), where, language)
    recall = row["recall"]
    if recall["value"] is None:
        misses = say("plain_no_image")
    else:
        missed = of_100(1 - recall["value"])
        misses = say("plain_misses", label=label, n=missed, bounds=_bounds(recall, language, True))
    return say("plain_label", label=label, alarms=alarms, misses=misses)


def _joined(text: str, where: str, language: Language) -> str:
    """A place stands after the number in English, before it in Korean."""
    return where + text if language.code == "ko" else text + where


def _bounds(metric: Mapping[str, Any], language: Language, of_rest: bool = False, scale: Any = of_100) -> str:
    """' (5 to 11)', '' where there is no interval; of_rest: of what is left to 1."""
    if metric.get("low") is None:
        return ""
    low, high = metric["low"], metric["high"]
    if of_rest:
        low, high = 1 - high, 1 - low
    return language.say("plain_bounds", low=scale(low), high=scale(high))


def _cost(cost: Mapping[str, Any], decision: Mapping[str, Any], language: Language) -> list[str]:
    say = language.say
    rule = say("rule_argmax" if decision.get("costs") else "rule_half")
    lines = [
        say("plain_cost", costs=_named_costs(decision, language), cost=_of_100_images(cost["value"]),
            bounds=_bounds(cost, language, scale=_of_100_images))
    ]  # fmt: skip
    saved, plain = cost["saved"], _of_100_images(cost["plain"])
    if saved.get("low") is None:
        return lines
    facts = {"rule": rule, "plain": plain}
    if saved["low"] > 0:
        bounds = _bounds(saved, language, scale=_of_100_images)
        return [*lines, say("plain_dearer", **facts, saved=_of_100_images(saved["value"]), bounds=bounds)]
    if saved["high"] < 0:
        turned = {"low": -saved["high"], "high": -saved["low"]}
        bounds = _bounds(turned, language, scale=_of_100_images)
        return [*lines, say("plain_cheaper", **facts, saved=_of_100_images(-saved["value"]), bounds=bounds)]
    return [*lines, say("plain_alike", **facts)]


def _named_costs(decision: Mapping[str, Any], language: Language) -> str:
    named = decision.get("label_costs") or {}
    if decision.get("costs") or not named:
        return language.say("plain_cost_matrix")
    if len(named) == 1:
        (only,) = named.values()
        return language.say("plain_costs", fp=f"{only['fp']:g}", fn=f"{only['fn']:g}")
    some = list(named.items())[:MOST]
    said = "; ".join(language.say("plain_costs_of", label=c, fp=f"{x['fp']:g}", fn=f"{x['fn']:g}") for c, x in some)
    return said + ("; …" if len(named) > MOST else "")


def _of_100_images(value: float) -> str:
    """What a hundred images cost, three digits."""
    return f"{100 * value:.3g}"


def _worst(labels: list[tuple[str, Mapping[str, Any]]], most: int) -> list[tuple[str, Mapping[str, Any]]]:
    """The labels with the least of precision and recall, in their order; all where they are few."""
    if len(labels) <= most:
        return labels

    def least(item: tuple[str, Mapping[str, Any]]) -> float:
        known = [item[1][name]["value"] for name in ("precision", "recall") if item[1][name]["value"] is not None]
        return min(known, default=2.0)

    kept = {label for label, _ in sorted(labels, key=least)[:most]}
    return [item for item in labels if item[0] in kept]
