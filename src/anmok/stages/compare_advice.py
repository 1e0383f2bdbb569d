"""Advice that follows from a comparison's figures alone: each rule a sentence, or none."""

from __future__ import annotations

from collections.abc import Sequence

from anmok.report.words import count, percent
from anmok.stages.compare_row import Metric, Row, apart, value

MORE = 0.02  # accuracy gained from 30 % to all of the images, from which more data are worth their labels
TEXTURE, LAYOUT = 0.6, 0.3  # shares of what a model knows beyond guessing that stay with shuffled patches
DROP = 0.05  # accuracy lost at another size, from which it is said
GAP = 0.15  # between training and test, from which it is said
FEW = 0.3  # the share of the images that the gain is taken from
NEAR = 0.03  # accuracy that a faster model may lack of the best one's and still be taken
BLUNT = 0.05  # half an interval, from which on no small gain can be told


def advice(rows: Sequence[Row]) -> list[str]:
    """Sentences, the most important first; of no model that has figures, one that says so."""
    known = ranked(rows)
    if not known:
        return ["No model could be measured, so there is nothing to choose between."]
    taken = recommended(known)
    said = [_choice(known, taken), _simple(known, taken), _data(taken), _pattern(taken), _sizes(taken), _gap(taken)]
    return [sentence for sentence in said if sentence]


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Those that have an accuracy, best first, of equals the faster one first."""
    known = [row for row in rows if value(row.accuracy) is not None]
    return sorted(known, key=lambda row: (-(value(row.accuracy) or 0), row.latency_ms or float("inf")))


def recommended(rows: Sequence[Row]) -> Row:
    """The fastest of those near the most accurate one that cannot be told from it."""
    best, *others = ranked(rows)
    least = (value(best.accuracy) or 0) - NEAR
    near = [row for row in others if row.latency_ms is not None and (value(row.accuracy) or 0) >= least]
    same = [row for row in near if not apart(best.accuracy, row.accuracy)]
    return min([best, *same], key=lambda row: row.latency_ms or float("inf"))


def front(rows: Sequence[Row]) -> list[str]:
    """Names of the models that no other beats in accuracy and latency both, fastest first."""
    known = [row for row in ranked(rows) if row.latency_ms is not None]
    out: list[Row] = []
    for row in sorted(known, key=lambda row: (row.latency_ms or 0, -(value(row.accuracy) or 0))):
        if not out or (value(row.accuracy) or 0) > (value(out[-1].accuracy) or 0):
            out.append(row)
    return [row.model for row in out]


def _choice(known: Sequence[Row], taken: Row) -> str:
    best = known[0]
    leads = f"{best.model} is the most accurate, {_bounds(best.accuracy)}"
    if len(known) == 1:
        return f"Only {best.model} could be measured: {_bounds(best.accuracy)}."
    if taken is best:
        same = [row.model for row in known[1:] if not apart(best.accuracy, row.accuracy)]
        if not same:
            return f"Take {best.model}: {_bounds(best.accuracy)}, ahead of every other by more than chance explains."
        faster = [row.model for row in known[1:] if row.model in same and _faster(row, best)]
        if faster:
            return (
                f"Take {best.model}: {_bounds(best.accuracy)}. Faster, and behind by no more than chance explains: "
                f"{_list(faster)}; more test images would decide."
            )
        return (
            f"Take {best.model}: {_bounds(best.accuracy)}, and faster than what cannot be told from it on these test "
            f"images ({_list(same)})."
        )
    assert best.latency_ms is not None
    assert taken.latency_ms is not None
    times = best.latency_ms / taken.latency_ms
    return (
        f"Take {taken.model}: {leads}, but {taken.model}, {_bounds(taken.accuracy)}, cannot be told from it on these "
        f"test images and answers {times:.1f} × as fast ({_ms(taken)} against {_ms(best)} an image)."
    )


def _simple(known: Sequence[Row], taken: Row) -> str:
    """Whether a baseline is as good as the networks."""
    networks, simple = ([row for row in known if row.simple is kind] for kind in (False, True))
    if not networks or not simple or apart(networks[0].accuracy, simple[0].accuracy):
        return ""
    network, baseline = networks[0], simple[0]
    return (
        f"The simple baseline {baseline.model} ({percent(value(baseline.accuracy) or 0)}) is as good as the best "
        f"network, {network.model} ({percent(value(network.accuracy) or 0)}), as far as these images tell: what the "
        "networks learned in this time is not worth their cost yet; more minutes or pretrained weights may change that."
    )


def _data(taken: Row) -> str:
    """Whether more images would help, by the gain from 30 % of them to all."""
    parts = [part for part in taken.shares if value(part["accuracy"]) is not None]
    few = [part for part in parts if FEW <= part["share"] < 1]
    if not few or parts[-1]["share"] != 1:
        return ""
    less, whole = few[0], parts[-1]
    gain = whole["accuracy"]["value"] - less["accuracy"]["value"]
    told = (
        f"from {less['images']:,} to {whole['images']:,} training images {taken.model} gained {100 * gain:.1f} points"
    )
    if gain >= MORE and apart(whole["accuracy"], less["accuracy"]):
        return f"More images would help: {told}, and the curve has not levelled off."
    if gain >= MORE:
        return f"More images may help: {told}, within what chance explains."
    if whole["accuracy"]["high"] - whole["accuracy"]["low"] > 2 * BLUNT:
        return f"Whether more images would help cannot be told from so few test images: {told}."
    return f"More images of the same kind would hardly help: {told}."


def _pattern(taken: Row) -> str:
    """What kind of pattern it uses: what of its knowledge stays when patches change places."""
    metric = taken.shuffled
    if metric is None or value(metric) is None or taken.guess is None or metric.get("plain") is None:
        return ""
    beyond = metric["plain"] - taken.guess
    if beyond <= 0.05:  # it knows too little for a share of it to mean anything
        return ""
    kept = max(0.0, (metric["value"] - taken.guess) / beyond)
    told = (
        f"with {metric['grid']} × {metric['grid']} patches shuffled {taken.model} still has "
        f"{percent(metric['value'])} of {percent(metric['plain'])}"
    )
    if kept >= TEXTURE:
        return f"It goes by colour and texture more than by shape: {told}."
    if kept <= LAYOUT:
        return f"It goes by shape and where things lie: {told}."
    return f"It goes by texture and by shape: {told}."


def _sizes(taken: Row) -> str:
    """Whether it bears another image size."""
    lost = [
        (part["accuracy"]["plain"] - part["accuracy"]["value"], part)
        for part in taken.sizes
        if value(part["accuracy"]) is not None and part["accuracy"].get("plain") is not None
    ]
    if not lost:
        return ""
    most, part = max(lost, key=lambda item: item[0])
    if most < DROP or part["accuracy"]["high"] >= part["accuracy"]["plain"]:
        return ""
    return (
        f"{taken.model} loses {100 * most:.0f} points at {part['size']} pixels: give it images at the size it was "
        f"trained at, {taken.image_size}."
    )


def _gap(taken: Row) -> str:
    """Whether it knows its training images by heart."""
    if taken.gap is None or taken.gap < GAP:
        return ""
    return (
        f"{taken.model} is right on {percent(value(taken.train_accuracy) or 0)} of its training images and "
        f"{percent(value(taken.accuracy) or 0)} of the test's: stronger augmentation may narrow the gap."
    )


def _faster(row: Row, best: Row) -> bool:
    return row.latency_ms is not None and best.latency_ms is not None and row.latency_ms < best.latency_ms


def _bounds(metric: Metric | None) -> str:
    """'81.2 % (78.0 % to 84.1 %)'."""
    assert metric is not None
    bounds = "" if metric.get("low") is None else f" ({percent(metric['low'])} to {percent(metric['high'])})"
    return percent(metric["value"]) + bounds


def _ms(row: Row) -> str:
    return f"{row.latency_ms:.3g} ms"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {count(len(names) - 4, 'other')}"
