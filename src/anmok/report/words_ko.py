"""한국어 문장: the numbers and sentences of a run's page in Korean; the same names as in `words.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from anmok.report import notes_ko, words

NAMES = {
    "accuracy": ("정확도", "레이블을 맞힌 이미지의 비율"),
    "balanced_accuracy": ("균형 정확도", "클래스별 재현율의 평균, 모든 클래스가 같은 비중"),
    "macro_f1": ("매크로 F1", "클래스별 F1의 평균, 모든 클래스가 같은 비중"),
    "micro_f1": ("마이크로 F1", "모든 판정을 합친 F1"),
    "weighted_f1": ("가중 F1", "클래스별 F1의 평균, 이미지 수에 비례"),
    "mcc": ("MCC", "매슈스 상관 계수: 0은 우연, 1은 완벽"),
    "log_loss": ("로그 손실", "실제 레이블에 대한 놀라움(nat), 낮을수록 좋음"),
    "ece": ("보정 오차", "확신과 실제 정답률의 차이(ECE, 구간 15개), 낮을수록 좋음"),
    "roc_auc": ("ROC-AUC", "양성이 음성보다 높은 점수를 받을 확률"),
    "average_precision": ("평균 정밀도", "정밀도–재현율 곡선 아래 면적"),
    "hamming_loss": ("해밍 손실", "틀린 레이블 판정의 비율, 낮을수록 좋음"),
    "cohen_kappa": ("코헨의 카파", "우연을 넘는 일치도: 0은 우연, 1은 완벽"),
    "brier": ("브라이어 점수", "확률과 실제의 제곱 거리, 낮을수록 좋음"),
    "top_3_accuracy": ("Top-3 정확도", "실제 레이블이 확률 상위 3개 안에 있는 비율"),
    "top_5_accuracy": ("Top-5 정확도", "실제 레이블이 확률 상위 5개 안에 있는 비율"),
    "coarse_accuracy": ("상위 클래스 정확도", "상위 클래스를 맞힌 이미지의 비율"),
    "hierarchical_cost": ("계층 비용", "클래스 계층에서 오분류까지의 거리, 낮을수록 좋음"),
}
_BASELINES = {"majority": "최빈 레이블", "nearest-neighbour": "가장 비슷한 이미지"}
_UNITS = {"class": "클래스 {}개", "image": "이미지 {}장"}
_SPLITS = {"train": "학습", "val": "검증", "test": "테스트", "oof": "교차 검증"}
# Reasons and notes as the evaluation room gives them.
_REASONS = {
    "never predicted": "예측된 적 없음",
    "no image of this class": "이 클래스의 이미지 없음",
    "no image of any other class": "다른 클래스의 이미지 없음",
    "no image, never predicted": "이미지도 예측도 없음",
    "not computed": "계산하지 않음",
    "one class only": "클래스가 하나뿐임",
    "no row remains": "남은 이미지 없음",
    "is for one label per image": "이미지마다 레이블이 하나일 때만 정의됨",
    "is for one label per image; see the macro recall": "이미지마다 레이블이 하나일 때만 정의됨 (매크로 재현율 참조)",
    "the truth or the prediction has one class only": "실제나 예측이 한 클래스뿐임",
    "truth and prediction are one and the same class": "실제와 예측이 모두 같은 한 클래스임",
    "no class that has images is ever predicted": "이미지가 있는 클래스가 예측된 적 없음",
    "no label is ever predicted": "레이블이 예측된 적 없음",
    "no image has a label": "레이블이 있는 이미지 없음",
    "no image has a label and none is predicted": "레이블도 예측도 없음",
    "no image": "이미지 없음",
    "the file has predictions without probabilities": "파일에 확률이 없음",
}
_PATTERNS = (
    (r"mean over (\d+) of (\d+) classes; undefined for classes without images here",
     r"클래스 \2개 중 이미지가 있는 \1개의 평균"),
    (r"mean over (\d+) of (\d+) classes; undefined for .+", r"클래스 \2개 중 정의되는 \1개의 평균"),
    (r"not computed for (\S+) × (\S+) scores unless asked for", r"점수가 \1 × \2개로 많아, 요청할 때만 계산함"),
)  # fmt: skip


def number(value: float | None, digits: int = 3) -> str:
    """A score as text; 해당 없음 where it is undefined."""
    return "해당 없음" if value is None else words.number(value, digits)


interval = words.interval
note = notes_ko.note


def percent(value: float) -> str:
    """A share as per cent; Korean sets no space before the sign."""
    return words.percent(value).replace("\u00a0%", "%")


def metric_name(name: str) -> tuple[str, str]:
    """(name shown, explanation) of a metric."""
    return NAMES.get(name, words.metric_name(name))


def baseline_name(name: str) -> str:
    """A baseline's name as shown."""
    return _BASELINES.get(name, name)


def reason(text: str) -> str:
    """Why a score is undefined, or a note on it; as it came where there are no words for it."""
    if text in _REASONS:
        return _REASONS[text]
    for pattern, said in _PATTERNS:
        if re.fullmatch(pattern, text):
            return re.sub(pattern, said, text)
    return text


def count(n: int, one: str, many: str | None = None) -> str:
    """'이미지 1,204장', '테스트 이미지 1장'; one: as in English, 'image', 'test image' or 'class'."""
    split, _, unit = one.rpartition(" ")
    said = _UNITS.get(unit, f"{unit} {{}}개").format(f"{n:,}")
    return f"{_SPLITS.get(split, split)} {said}".strip()


def headline(evaluation: Mapping[str, Any]) -> list[str]:
    """What the evaluation says, in plain sentences."""
    accuracy, n, split = evaluation["metrics"]["accuracy"], evaluation["n"], evaluation["split"]
    what = "레이블을 빠짐없이 정확히 찾아냅니다" if evaluation["task"] == "multilabel" else "맞힙니다"
    bounds = f" (95% 신뢰 구간 {percent(accuracy['low'])} ~ {percent(accuracy['high'])})" if "low" in accuracy else ""
    said = f"이 모델은 {count(n, f'{split} image'.strip())} 가운데 {percent(accuracy['value'])}를 {what}{bounds}."
    if evaluation["task"] == "multilabel":
        said = said.replace("를 레이블", "에서 레이블")
    return [said, *_beside_baselines(evaluation)]


def _beside_baselines(evaluation: Mapping[str, Any]) -> list[str]:
    deeds = {
        "majority": "항상 가장 흔한 레이블로 답하면",
        "nearest-neighbour": "가장 비슷한 학습 이미지의 레이블을 따르면",
    }
    others = {
        name: metrics["accuracy"]
        for name, metrics in evaluation.get("baselines", {}).items()
        if metrics.get("accuracy", {}).get("value") is not None
    }
    if not others:
        return []
    parts = [f"{deeds.get(name, f'{name} 방식이면')} {percent(m['value'])}" for name, m in others.items()]
    model, best = evaluation["metrics"]["accuracy"], max(others.values(), key=lambda m: m["value"])
    if model["value"] <= best["value"]:
        verdict = "모델이 그보다 낫지 않습니다. 이 클래스들을 구별하는 법을 배우지 못했습니다."
    elif model.get("low", model["value"]) <= best.get("high", best["value"]):
        verdict = "모델이 앞서지만 신뢰 구간이 겹칩니다. 이미지가 적어 우연일 수 있습니다."
    else:
        verdict = "모델이 우연으로 설명할 수 없을 만큼 앞섭니다."
    return [", ".join(parts) + "의 정확도를 얻습니다.", verdict]


def remarks(evaluation: Mapping[str, Any]) -> list[str]:
    """What a reader must know beside the headline: looks at the test split, leaked rows, rows left out."""
    out = []
    looks = evaluation.get("looks") if evaluation.get("split", "test") == "test" else 0
    if looks == 1:
        out.append("테스트 데이터는 한 번만 보았습니다. 바람직한 상태입니다.")
    elif looks:
        out.append(f"테스트 데이터를 {looks:,}번 보았습니다. 볼 때마다 점수는 실제보다 후해집니다.")
    if evaluation.get("leaked"):
        out.append(_without_leaked(evaluation["leaked"]))
    if evaluation.get("rejected"):
        out.append(f"{count(evaluation['rejected'], 'image')}은 읽을 수 없어 제외했습니다.")
    if evaluation.get("unlabelled"):
        out.append(f"레이블이 없는 {count(evaluation['unlabelled'], 'image')}은 제외했습니다.")
    return out


def _without_leaked(leaked: Mapping[str, Any]) -> str:
    m, also = leaked["metrics"]["accuracy"], f"학습이나 검증에도 쓰인 {count(leaked['left_out'], 'image')}을 빼면"
    if m["value"] is None:
        return f"{also} 평가할 이미지가 남지 않습니다."
    score = f"{percent(m['value'])} (95% 신뢰 구간 {percent(m['low'])} ~ {percent(m['high'])})"
    return f"{also} {count(leaked['n'], 'image')}에서 정확도는 {score}입니다."
