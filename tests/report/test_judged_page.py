"""What moves and is pressed: the page's numbers are scikit-learn's, cells have their images, in two languages."""

from __future__ import annotations

import base64
import io
import json
import re
import string
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_pages import judged_case, table_of
from parsed import Page
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from anmok.core.errors import UsageError
from anmok.core.types import Evaluation
from anmok.evaluate.costs import ErrorCosts
from anmok.evaluate.rows import usable_rows
from anmok.report import labels, labels_ko, words, words_ko
from anmok.report.content import ReportContent
from anmok.report.figures import png
from anmok.report.judged_figures import curve_figure, reliability_figure, risk_figure
from anmok.report.judged_page import SCALE, SPOKEN, chance, part_name
from anmok.report.language import ENGLISH, KOREAN, from_environment, language_of
from anmok.report.page import decision_rows, render
from anmok.report.plain import of_100, plain_lines
from anmok.stages.judged import decision_of, judged
from anmok.stages.pictures import Pictures

CASES: dict[str, tuple[list[str], str, dict[str, Any]]] = {
    "binary": (["정상", "도난"], "binary", {"costs": ErrorCosts(1, 20), "abstain": 0.1}),
    "multiclass": (["a", "b", "c", "</script>"], "multiclass", {}),
    "positive": (["a", "b", "c"], "multiclass", {"costs": ErrorCosts(1, 9), "positive": "b"}),
    "multilabel": (["강아지", "cat", "bird"], "multilabel", {}),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(predictions, content, page) of each task."""
    classes, task, asked = CASES[request.param]
    p, content = judged_case(tmp_path_factory.mktemp("page"), classes, task, **asked)
    return p, content, Page(render(content))


def embedded(page: Page, name: str) -> Any:
    return next(json.loads(text) for attrs, text in page.scripts if attrs.get("id") == name)


def test_the_slider_holds_the_numbers_of_scikit_learn(case: Any) -> None:
    p, content, page = case
    below = content.evaluation["decision"].get("abstain_below")
    if below is not None:  # of a binary task with a threshold: those far from it on both sides are answered
        p = p.select(~decision_of(content.evaluation["decision"], usable_rows(p)).asks(p.probs))
        assert 0 < content.judged.asked == content.evaluation["n"] - len(p)
        assert f"Left out: {content.judged.asked} more" in page.seen
    else:
        assert content.judged.asked == 0
        assert "Left out" not in page.seen
    data = embedded(page, "sliders")
    assert [one["label"] for one in data["labels"]] == (p.classes[1:] if p.task == "binary" else p.classes)
    assert data["begin"] in p.classes
    for one in data["labels"]:
        k = p.classes.index(one["label"])
        truth = p.targets[:, k] > 0.5 if p.task == "multilabel" else p.targets == k
        scores = p.probs[:, k].astype(np.float64)
        assert (one["n"], one["positives"]) == (len(p), truth.sum())
        assert one["at"][one["marks"]["half"]] == 0.5
        for i, t in list(enumerate(one["at"]))[:: 1 if p.task == "binary" else 7]:
            (_, fp), (_, tp) = confusion_matrix(truth, scores >= t, labels=[False, True])
            assert (one["tp"][i], one["fp"][i]) == (tp, fp)
            for name, score in (("precision", precision_score), ("recall", recall_score)):
                expected = score(truth, scores >= t, zero_division=np.nan)
                value, low, high = (of[i] for of in one[name])
                if np.isnan(expected):
                    assert value == low == high == -1
                else:
                    assert value == pytest.approx(expected * SCALE, abs=0.5)
                    assert 0 <= low <= value <= high <= SCALE


def test_a_label_that_nobody_knows_has_no_slider(tmp_path: Path) -> None:
    _, content = judged_case(tmp_path, ["a", "b", "c"], "multilabel", unknown=0)
    data = embedded(Page(render(content)), "sliders")
    assert [one["label"] for one in data["labels"]] == ["b", "c"]
    assert data["begin"] == "b"


def test_the_decision_is_marked_and_its_costs_are_there(case: Any) -> None:
    _, content, page = case
    decision = content.evaluation["decision"]
    one = next(x for x in embedded(page, "sliders")["labels"] if x["label"] == embedded(page, "sliders")["begin"])
    if not decision.get("thresholds") or "outcome" not in decision:
        assert "decided" not in one["marks"]
        assert one["costs"] == [1, 1]
        return
    threshold, i = decision["thresholds"][one["label"]], one["marks"]["decided"]
    assert one["at"][i] == threshold
    cost = decision["label_costs"][one["label"]]
    assert one["costs"] == [cost["fp"], cost["fn"]]
    row = decision["outcome"]["labels"][one["label"]]
    assert row["fp"] <= one["fp"][i]  # of several classes another may be further above its threshold
    if content.evaluation["task"] == "binary":  # whether or not images are left to a person, both tell the same
        tp, fp, missed, rest = (row[name] for name in ("tp", "fp", "fn", "tn"))
        assert (one["tp"][i], one["fp"][i], one["positives"], one["n"]) == (
            tp,
            fp,
            tp + missed,
            tp + fp + missed + rest,
        )
    spent = cost["fp"] * one["fp"][i] + cost["fn"] * (one["positives"] - one["tp"][i])
    assert decision["outcome"]["cost"]["value"] == pytest.approx(spent / one["n"])


def test_where_everything_is_left_to_a_person_there_is_no_slider(tmp_path: Path) -> None:
    p, content = judged_case(tmp_path, ["calm", "thief"], "binary", n=12, costs=ErrorCosts(1, 20), abstain=0.1)
    evaluation = Evaluation(
        {**content.evaluation.data, "decision": {**content.evaluation["decision"], "abstain_below": 2.0}}
    )
    found = judged(table_of(p, tmp_path), p, evaluation, Pictures(table_of(p, tmp_path)))
    assert (len(found.sliders), found.asked) == (0, 12)
    page = Page(render(replace(content, judged=found)))
    assert not [attrs for _, attrs in page.elements if attrs.get("id") == "threshold"]


def test_every_cell_has_its_images_the_surest_first(case: Any) -> None:
    p, _, page = case
    cells = embedded(page, "cells")
    place = {identity: i for i, identity in enumerate(p.ids)}
    total = 0
    for truth, predicted, counted, images in cells:
        assert len(images) == min(12, counted)
        probs = [prob for _, prob, _ in images]
        assert probs == sorted(probs, reverse=True)
        for identity, prob, address in images:
            row = p.probs[place[identity]]
            if p.task == "multilabel":
                k = p.classes.index(truth)
                called, right = row[k] >= 0.5, p.targets[place[identity], k] > 0.5
                assert {"tp": (True, True), "fp": (True, False), "fn": (False, True)}[predicted] == (called, right)
                assert prob == pytest.approx(row[k] if called else 1 - row[k], abs=6e-4)
            else:
                assert p.classes[p.targets[place[identity]]] == truth
                assert p.classes[int(row.argmax())] == predicted
                assert prob == pytest.approx(row.max(), abs=6e-4)
            grey = int(identity.split("/")[1].removesuffix(".png")) % 256
            with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as picture:
                assert abs(int(np.asarray(picture.convert("L"))[2, 2]) - grey) <= 6
        total += counted
    if p.task != "multilabel":
        assert total == len(p)


def test_the_page_has_the_parts_and_their_words(case: Any) -> None:
    _, content, page = case
    seen = page.seen
    for key in ("plain", "threshold", "curves", "slices", "curve_pr", "curve_roc", "curve_reliability", "curve_risk"):
        assert labels.LABELS[key] in seen, key
    for line in plain_lines(content.evaluation.data):
        assert line in seen
    assert "By folder" in seen
    assert "By size of the image" in seen
    assert "shelf 0" in seen
    assert "small (64 pixels)" in seen
    ids = {a["id"] for _, a in page.elements if a.get("id")}
    script = (files("anmok.report") / "templates" / "explore.js").read_text(encoding="utf-8")
    wanted = set(re.findall(r'\$\("([\w-]+)"\)', script)) - {"t-label"}
    assert wanted <= ids


def test_the_script_says_only_what_the_page_gives_it() -> None:
    script = (files("anmok.report") / "templates" / "explore.js").read_text(encoding="utf-8")
    said = set(re.findall(r'fill\("(\w+)"', script)) | set(re.findall(r"texts\.(\w+)", script))
    said |= set(re.findall(r'"((?:cell|threshold)_\w+)"', script))
    assert said <= set(SPOKEN)
    for key in SPOKEN:  # plain places only: the script knows no format
        assert not [spec for _, _, spec, _ in string.Formatter().parse(labels.LABELS[key]) if spec]


def test_two_languages_say_the_same_things() -> None:
    assert set(labels.LABELS) == set(labels_ko.LABELS)
    for key, text in labels.LABELS.items():
        places = [{f for _, f, _, _ in string.Formatter().parse(t) if f} for t in (text, labels_ko.LABELS[key])]
        assert places[0] == places[1] or key == "subtitle", key
    for name in ("number", "percent", "interval", "count", "metric_name", "baseline_name", "reason", "headline"):
        assert callable(getattr(words, name))
        assert callable(getattr(words_ko, name))
    assert set(words.NAMES) == set(words_ko.NAMES)


@pytest.mark.parametrize("name", ["binary", "multilabel"])
def test_a_korean_page_speaks_korean(name: str, tmp_path: Path) -> None:
    classes, task, asked = CASES[name]
    _, content = judged_case(tmp_path, classes, task, language="ko", **asked)
    text = render(content)
    page = Page(text)
    assert page.elements[0] == ("html", {"lang": "ko"})
    for word in ("정밀도", "재현율", "혼동 행렬", "임계값", "신뢰 구간", "보정 오차"):
        assert word in page.seen, word
    for key, english in labels.LABELS.items():
        if len(english) > 12 and english != labels_ko.LABELS[key] and "{" not in english:
            assert english not in page.seen, key
    for spec in (json.loads(t) for a, t in page.scripts if a.get("data-spec")):
        titles = re.findall(r'"title": "([^"]+)"', json.dumps(spec, ensure_ascii=False))
        assert not [t for t in titles if re.fullmatch(r"[a-z ]{5,}", t)]


def test_languages_by_name_and_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert language_of("ko") is KOREAN
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert language_of(None) is ENGLISH
    monkeypatch.setenv("LANG", "ko_KR.UTF-8")
    assert from_environment() == "ko"
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert from_environment() == "en"
    with pytest.raises(UsageError, match="no such language as kr; there are en, ko"):
        language_of("kr")


def evaluation(task: str = "binary", **decision: Any) -> dict[str, Any]:
    def of(value: float | None, low: float = 0.0, high: float = 1.0) -> dict[str, Any]:
        return {"value": value, "reason": "x"} if value is None else {"value": value, "low": low, "high": high}

    per_class = {
        "calm": {"precision": of(0.9, 0.8, 0.95), "recall": of(0.9, 0.8, 0.95)},
        "thief": {"precision": of(0.93, 0.89, 0.95), "recall": of(0.98, 0.92, 0.997)},
    }
    return {"task": task, "per_class": per_class, "confusion": {"classes": list(per_class)}, "decision": decision}


def test_plain_sentences_by_hand() -> None:
    said = plain_lines(evaluation(rule="argmax", threshold=0.5, positive="thief"))
    assert said[0] == "Nobody has said yet what mistakes cost; with a threshold of 0.5:"
    assert said[1] == (
        "thief: of 100 alarms, 7 would be false (5 to 11); of 100 that are thief, 2 would pass unnoticed (0.3 to 8)."
    )
    assert len(said) == 3
    many = plain_lines(evaluation("multiclass", rule="argmax"))
    assert many[0].endswith("the most probable class:")
    assert [line.split(":")[0] for line in many[1:3]] == ["calm", "thief"]
    korean = plain_lines(evaluation(positive="thief"), KOREAN)
    assert "알람 100건 가운데 7건이 오경보입니다 (95% 신뢰 구간 5 ~ 11)" in korean[1]


def test_plain_sentences_of_a_decision_by_hand() -> None:
    row = {"tp": 49, "fp": 4, "fn": 1, "tn": 46}
    share = {"value": 0.93, "low": 0.89, "high": 0.95}
    outcome: dict[str, Any] = {
        "n": 100, "asked": {"value": 0.05, "low": 0.02, "high": 0.11},
        "labels": {"thief": {**row, "precision": share, "recall": {"value": None, "reason": "no image of this class"}}},
        "cost": {"value": 0.24, "low": 0.1, "high": 0.5, "plain": 0.64,
                 "saved": {"value": 0.4, "low": 0.2, "high": 0.6}},
    }  # fmt: skip
    decision: dict[str, Any] = {
        "rule": "threshold",
        "outcome": outcome,
        "label_costs": {"thief": {"fp": 1.0, "fn": 20.0}},
    }
    said = plain_lines(evaluation(**decision))
    assert said[1] == (
        "thief: of 100 alarms, 7 would be false (5 to 11); there is no image of it here to tell how many would pass."
    )
    assert said[2] == "With these costs (a false alarm 1, a miss 20), 100 images would cost 24 (10 to 50)."
    assert said[3] == ("With a threshold of 0.5 they would cost 64: 40 more (20 to 60), which chance does not explain.")
    assert said[4] == "Of 100 images, 5 would be left to a person (2 to 11)."
    outcome["cost"]["saved"] = {"value": -0.1, "low": -0.3, "high": -0.05}
    assert "10 less (5 to 30)" in plain_lines(evaluation(**decision))[3]
    outcome["cost"]["saved"] = {"value": -0.1, "low": -0.3, "high": 0.05}
    assert "cannot tell which is cheaper" in plain_lines(evaluation(**decision))[3]
    prior = {"source": [0.5, 0.5], "target": [0.999, 0.001]}
    outcome["labels"]["thief"]["precision_there"] = {"value": 0.2, "low": 0.1, "high": 0.4}
    there = plain_lines(evaluation(**decision, prior=prior))
    assert "80 would be false (60 to 90) where 0.1 of 100 images are thief" in there[1]


def test_of_100() -> None:
    assert [of_100(v) for v in (0, 0.0312, 0.07, 0.5, 0.0949, 0.00004, 1)] == [
        "0", "3.1", "7", "50", "9.5", "0.004", "100"
    ]  # fmt: skip


def test_parts_and_chances_are_named() -> None:
    assert part_name("size", {"value": "large", "pixels": [1000, 2000]}, ENGLISH) == "large (1,000 to 2,000 pixels)"
    assert part_name("duplicates", {"value": "first"}, KOREAN) == "중복을 제외한 이미지"
    assert part_name("camera", {"value": None}, ENGLISH) == "not given"
    assert part_name("camera", {"value": "others", "others": True}, ENGLISH) == "all others"
    assert [chance(p) for p in (None, 0.0004, 0.0123, 0.5)] == ["", "< 0.1 %", "1.2 %", "50 %"]


def test_a_decision_as_rows() -> None:
    rows = decision_rows({
        "rule": "threshold", "thresholds": {"a": 0.1234567}, "costs": [[0, 1], [2, 0]], "outcome": {"n": 3},
        "label_costs": {"a": {"fp": 1.0, "fn": 20.0}}, "temperature": 1.5,
    })  # fmt: skip
    assert rows == {
        "rule": "threshold", "thresholds": "a 0.1235", "costs": "2 × 2", "label_costs": "a fp=1 fn=20",
        "temperature": "1.5",
    }  # fmt: skip


def test_figures_draw(case: Any) -> None:
    p, content, _ = case
    dark = p.task == "binary"
    judged, per_class = content.judged, content.evaluation["per_class"]
    drawn = [
        curve_figure(judged.curves, per_class, "roc_auc"), curve_figure(judged.curves, per_class, "average_precision"),
        reliability_figure(judged.reliability), risk_figure(judged.risk, KOREAN),
    ]  # fmt: skip
    for figure in drawn:
        with Image.open(io.BytesIO(png(figure, dark=dark, scale=1))) as picture:
            assert picture.width > 200
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20


def test_a_page_without_what_can_be_moved_stays_whole(case: Any) -> None:
    _, content, _ = case
    page = Page(render(ReportContent(title="bare", evaluation=content.evaluation)))
    assert labels.LABELS["threshold"] not in page.seen
    assert not [a for _, a in page.elements if a.get("id") in ("cell", "threshold", "curves")]
