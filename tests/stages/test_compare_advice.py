"""Advice from figures alone: each rule on rows made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anmok.evaluate.intervals import wilson
from anmok.stages.compare_advice import advice, front, ranked, recommended
from anmok.stages.compare_row import Row, apart, undefined

N = 500


def metric(value: float, **more: Any) -> dict[str, Any]:
    low, high = wilson(value * N, N)
    return {"value": value, "low": low, "high": high, **more}


def row(model: str, accuracy: float, latency: float | None, **more: Any) -> Row:
    return Row(model=model, accuracy=metric(accuracy), latency_ms=latency, guess=0.25, image_size=64, done=True, **more)


def plain(sentences: list[str]) -> list[str]:
    return [sentence.replace("\u00a0", " ") for sentence in sentences]


def test_the_fastest_of_those_that_cannot_be_told_apart_is_taken() -> None:
    rows = [row("slow", 0.81, 20), row("fast", 0.79, 4), row("poor", 0.6, 1)]
    assert recommended(rows).model == "fast"
    (said,) = plain(advice(rows))
    assert said.startswith("Take fast: slow is the most accurate, 81.0 % (77.3 % to 84.2 %)")
    assert "5.0 × as fast (4 ms against 20 ms" in said
    clear = [row("slow", 0.9, 20), row("fast", 0.7, 4)]
    assert plain(advice(clear)) == [
        "Take slow: 90.0 % (87.1 % to 92.3 %), ahead of every other by more than chance explains."
    ]
    best_is_fast = [row("a", 0.81, 2), row("b", 0.8, 4)]
    assert "faster than what cannot be told from it on these test images (b)" in plain(advice(best_is_fast))[0]
    behind = [row("slow", 0.81, 20), row("fast", 0.775, 4)]  # cannot be told apart, but it lacks more than NEAR
    assert recommended(behind).model == "slow"
    assert "Faster, and behind by no more than chance explains: fast; more test images" in plain(advice(behind))[0]
    assert plain(advice(rows[:1])) == ["Only slow could be measured: 81.0 % (77.3 % to 84.2 %)."]


def test_of_nothing_there_is_no_advice() -> None:
    assert "nothing to choose between" in advice([])[0]
    assert "nothing to choose between" in advice([Row(model="x", error="no such weights", code="weights")])[0]


def test_a_simple_baseline_that_is_as_good_is_said() -> None:
    rows = [row("resnet18", 0.80, 20), row("hog/logistic", 0.78, 1, simple=True)]
    assert "baseline hog/logistic (78.0 %) is as good as the best network, resnet18 (80.0 %)" in plain(advice(rows))[1]
    rows[1] = row("hog/logistic", 0.6, 1, simple=True)
    assert not any("simple baseline" in s for s in advice(rows))


def shares(*values: float | None) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"share": share, "images": round(1000 * share),
         "accuracy": undefined("too few") if value is None else metric(value)}
        for share, value in zip((0.1, 0.3, 1.0), values, strict=True)
    )  # fmt: skip


def test_the_slope_says_whether_more_images_help() -> None:
    def told(*values: float | None) -> str:
        found = plain(advice([replace(row("a", 0.8, 1), shares=shares(*values))]))[1:]
        return found[0] if found else ""

    assert told(0.5, 0.6, 0.8) == (
        "More images would help: from 300 to 1,000 training images a gained 20.0 points, and the curve has not "
        "levelled off."
    )
    assert told(0.5, 0.77, 0.8).startswith(
        "More images may help: from 300 to 1,000 training images a gained 3.0 points"
    )
    assert told(0.5, 0.8, 0.8).startswith("More images of the same kind would hardly help")
    assert told(0.5, 0.82, 0.8).startswith("More images of the same kind would hardly help")
    few = [dict(part, accuracy={"value": 0.3, "low": 0.19, "high": 0.43}) for part in shares(0.5, 0.8, 0.8)]
    said = plain(advice([replace(row("a", 0.8, 1), shares=tuple(few))]))[1]
    assert said.startswith("Whether more images would help cannot be told from so few test images: from 300 to 1,000")
    assert told(0.5, None, 0.8) == ""  # ten per cent alone say nothing of the slope at the end


def test_shuffled_patches_say_what_it_goes_by() -> None:
    def told(value: float) -> str:
        shuffled = metric(value, plain=0.85, grid=4)
        return plain(advice([row("a", 0.85, 1, shuffled=shuffled)]))[1]

    assert told(0.75) == (
        "It goes by colour and texture more than by shape: with 4 × 4 patches shuffled a still has 75.0 % of 85.0 %."
    )
    assert told(0.3).startswith("It goes by shape and where things lie")
    assert told(0.2).startswith("It goes by shape")  # below the guess
    assert told(0.55).startswith("It goes by texture and by shape")
    weak = row("a", 0.28, 1, shuffled=metric(0.27, plain=0.28, grid=4))
    assert len(advice([weak])) == 1  # it knows nothing to go by


def test_what_another_size_costs_and_what_was_learned_by_heart() -> None:
    sizes = (
        {"scale": 0.75, "size": 48, "accuracy": metric(0.6, plain=0.8)},
        {"scale": 1.25, "size": 80, "accuracy": undefined("it takes no other size")},
    )
    found = plain(advice([row("a", 0.8, 1, sizes=sizes, train_accuracy=metric(0.99))]))
    assert found[1] == "a loses 20 points at 48 pixels: give it images at the size it was trained at, 64."
    assert found[2].startswith("a is right on 99.0 % of its training images and 80.0 % of the test's")
    small = ({"scale": 0.75, "size": 48, "accuracy": metric(0.77, plain=0.8)},)
    assert len(advice([row("a", 0.8, 1, sizes=small, train_accuracy=metric(0.9))])) == 1


ROWS = st.lists(st.tuples(st.floats(0.05, 0.95), st.floats(0.1, 100)), min_size=1, max_size=8).map(
    lambda pairs: [row(f"m{i}", a, ms) for i, (a, ms) in enumerate(pairs)]
)


@given(ROWS)
def test_no_model_beats_one_on_the_front(rows: list[Row]) -> None:
    on = front(rows)
    for one in rows:
        beaten = any(
            other.accuracy["value"] >= one.accuracy["value"] and other.latency_ms <= one.latency_ms  # type: ignore
            and (other.accuracy["value"], other.latency_ms) != (one.accuracy["value"], one.latency_ms)  # type: ignore
            for other in rows
        )  # fmt: skip
        if beaten:
            assert one.model not in on
    assert ranked(rows)[0].model in on


@given(ROWS)
def test_what_is_recommended_is_never_told_apart_from_the_best(rows: list[Row]) -> None:
    best, taken = ranked(rows)[0], recommended(rows)
    assert taken is best or not apart(best.accuracy, taken.accuracy)
    assert taken.latency_ms <= best.latency_ms  # type: ignore[operator]
    assert advice(rows)[0]
