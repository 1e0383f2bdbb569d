"""Every score against scikit-learn or a hand calculation, on random and degenerate predictions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from anmok.core.errors import DataError
from anmok.core.types import Predictions
from anmok.evaluate.metrics import evaluate, evaluate_baselines, evaluate_without

KEYS = {"split", "n", "task", "metrics", "per_class", "confusion", "decision", "rejected", "unlabelled"}
NAMES = {
    "accuracy", "balanced_accuracy", "macro_f1", "micro_f1", "weighted_f1", "macro_precision", "micro_precision",
    "weighted_precision", "macro_recall", "micro_recall", "weighted_recall", "mcc", "cohen_kappa", "log_loss", "brier",
    "ece", "roc_auc", "average_precision",
}  # fmt: skip


def predictions(probs: np.ndarray, targets: np.ndarray | None, task: str = "multiclass", **more: object) -> Predictions:
    ids = [f"{i}.png" for i in range(len(probs))]
    return Predictions(ids, [f"c{k}" for k in range(probs.shape[1])], probs, targets, task, **more)  # type: ignore[arg-type]


def random_probs(rng: np.random.Generator, n: int, k: int, ties: bool = False) -> np.ndarray:
    logits = rng.normal(size=(n, k)) * 2
    if ties:
        logits = np.round(logits)
    probs = np.exp(logits)
    return probs / probs.sum(axis=1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), k=st.integers(2, 6), used=st.integers(1, 6), ties=st.booleans(), seed=st.integers(0, 999))
def test_multiclass_equals_scikit_learn(n: int, k: int, used: int, ties: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs, targets = random_probs(rng, n, k, ties), rng.integers(0, min(used, k), n)
    got = evaluate(predictions(probs, targets), "val", resamples=200)
    assert got.data.keys() == KEYS
    tops = {f"top_{among}_accuracy" for among in (3, 5) if among < k}
    assert got["metrics"].keys() == NAMES | tops
    y, labels = probs.argmax(axis=1), np.arange(k)
    options = {"labels": labels, "zero_division": np.nan}
    want = {
        "accuracy": sk.accuracy_score(targets, y),
        "log_loss": sk.log_loss(targets, probs, labels=labels),
        "brier": ((probs - (targets[:, None] == labels)) ** 2).sum() / n / (2 if k == 2 else 1),
    }
    for name in tops:  # classes backwards: scikit-learn gives a tie to the last class, argmax to the first
        among = int(name.split("_")[1])
        want[name] = sk.top_k_accuracy_score(k - 1 - targets, probs[:, ::-1], k=among, labels=labels)
    for average in ("macro", "micro", "weighted"):
        p, r, f, _ = sk.precision_recall_fscore_support(targets, y, average=average, **options)
        want |= {f"{average}_precision": p, f"{average}_recall": r, f"{average}_f1": f}
    if not set(targets) & set(y):  # scikit-learn says 0 of a mean whose every term is undefined
        assert got["metrics"]["weighted_precision"]["reason"] == "no class that has images is ever predicted"
        del want["weighted_precision"]
    want["balanced_accuracy"] = want["macro_recall"]
    if len(set(targets)) > 1 and len(set(y)) > 1:
        want["mcc"] = sk.matthews_corrcoef(targets, y)
    else:
        assert "one class only" in got["metrics"]["mcc"]["reason"]
    if len(set(targets) | set(y)) > 1:
        want["cohen_kappa"] = sk.cohen_kappa_score(targets, y, labels=labels)
    else:
        assert "same class" in got["metrics"]["cohen_kappa"]["reason"]
    one_hot = targets[:, None] == labels
    both = np.flatnonzero(one_hot.any(axis=0) & ~one_hot.all(axis=0))
    if len(both):
        want["roc_auc"] = np.mean([sk.roc_auc_score(one_hot[:, c], probs[:, c]) for c in both])
        want["average_precision"] = np.mean([sk.average_precision_score(one_hot[:, c], probs[:, c]) for c in both])
    else:
        assert got["metrics"]["roc_auc"] == {"value": None, "reason": "one class only"}
    for name, value in want.items():
        assert got.value(name) == pytest.approx(value, abs=1e-12), name
    assert got["confusion"]["counts"] == sk.confusion_matrix(targets, y, labels=labels).tolist()
    _check_intervals(got["metrics"])
    json.dumps(got.data, allow_nan=False)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 30), k=st.integers(1, 5), rate=st.sampled_from([0.0, 0.3, 1.0]), seed=st.integers(0, 999))
def test_multilabel_equals_scikit_learn(n: int, k: int, rate: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, k)) < rate).astype(np.float32)
    probs = np.round(rng.random((n, k)), 2).astype(np.float32)
    got = evaluate(predictions(probs, targets, "multilabel"), "val", resamples=200)
    y, t = (probs >= 0.5).astype(int), targets.astype(int)
    want = {"accuracy": (y == t).all(axis=1).mean(), "hamming_loss": sk.hamming_loss(t, y)}
    want["brier"] = ((probs.astype(np.float64) - t) ** 2).mean()
    for average in ("macro", "micro", "weighted"):
        for score, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
            weight = t.any(axis=0) & (y.any(axis=0) if score == "precision" else True)
            if average == "weighted" and not weight.any():  # scikit-learn says 0 of a mean that has no weight at all
                value = np.nan
            elif k == 1:  # scikit-learn takes one column for a binary task
                value = function(t[:, 0], y[:, 0], zero_division=np.nan)
            else:
                value = function(t, y, average=average, zero_division=np.nan)
            want[f"{average}_{score}"] = value
    clipped = np.clip(probs.astype(float), np.finfo(float).eps, 1 - np.finfo(float).eps)
    want["log_loss"] = -(t * np.log(clipped) + (1 - t) * np.log(1 - clipped)).mean()
    for name, value in want.items():
        found = got.value(name)
        if found is None:
            assert np.isnan(value), name
        else:
            assert found == pytest.approx(value, abs=1e-12), name
    if k > 1:
        matrices = sk.multilabel_confusion_matrix(t, y, labels=np.arange(k))
        assert got["confusion"]["counts"] == matrices.tolist()
    for c, row in enumerate(got["per_class"].values()):
        assert row["tp"] + row["fp"] + row["fn"] + row["tn"] == n
        assert row["support"] == t[:, c].sum()
    _check_intervals(got["metrics"])
    json.dumps(got.data, allow_nan=False)


def _check_intervals(metrics: dict) -> None:
    for name, m in metrics.items():
        if m["value"] is None:
            assert m["reason"], name
        elif "low" in m:
            assert m["low"] <= m["value"] <= m["high"], name
            assert np.isfinite([m["low"], m["high"]]).all(), name
            if name not in ("log_loss", "brier"):
                assert m["low"] < m["high"], f"{name}: no finite sample is certain"
                assert m["low"] >= (-1 if name in ("mcc", "cohen_kappa") else 0), name
                assert m["high"] <= 1, name


def test_binary_by_hand() -> None:
    """Five images: TP 2, FN 1, FP 1, TN 1 for the second class."""
    p1 = np.array([0.9, 0.8, 0.3, 0.6, 0.1], np.float32)
    got = evaluate(predictions(np.column_stack([1 - p1, p1]), np.array([1, 1, 1, 0, 0]), "binary"), "test")
    assert got["confusion"]["counts"] == [[1, 1], [1, 2]]
    assert got["confusion"]["by_true"] == [[0.5, 0.5], [pytest.approx(1 / 3), pytest.approx(2 / 3)]]
    assert got["confusion"]["by_predicted"] == [[0.5, pytest.approx(1 / 3)], [0.5, pytest.approx(2 / 3)]]
    row = got["per_class"]["c1"]
    assert [row[x] for x in ("tp", "fp", "fn", "tn", "support", "predicted")] == [2, 1, 1, 1, 3, 3]
    assert row["precision"]["value"] == pytest.approx(2 / 3)
    assert row["specificity"]["value"] == pytest.approx(1 / 2)
    assert got.value("accuracy") == pytest.approx(3 / 5)
    assert got.value("balanced_accuracy") == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert got.value("mcc") == pytest.approx((2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2))
    assert got.value("roc_auc") == pytest.approx(5 / 6)  # 5 of the 6 pairs are in order
    assert got.value("average_precision") == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert got.value("cohen_kappa") == pytest.approx((3 / 5 - 13 / 25) / (1 - 13 / 25))
    assert got.value("brier") == pytest.approx((0.01 + 0.04 + 0.49 + 0.36 + 0.01) / 5, abs=1e-6)
    assert got["decision"] == {"rule": "argmax", "threshold": 0.5, "positive": "c1"}


def test_ece_by_hand() -> None:
    """Bin (0.6, 0.667]: two at 0.65, one right: |0.65 - 0.5| × 2; bin (0.867, 0.933]: one at 0.9, right: 0.1 × 1."""
    top = np.array([0.65, 0.65, 0.9])
    got = evaluate(predictions(np.column_stack([top, 1 - top]), np.array([0, 1, 0]), "binary"), "val")
    assert got.value("ece") == pytest.approx((2 * 0.15 + 0.1) / 3, abs=1e-12)


def test_a_class_without_images_or_predictions_is_undefined() -> None:
    probs = np.eye(3, dtype=np.float32)[[0, 0, 1, 1]]
    got = evaluate(predictions(probs, np.array([0, 0, 1, 0])), "val")
    row = got["per_class"]["c2"]
    assert row["precision"] == {"value": None, "reason": "never predicted"}
    assert row["recall"] == {"value": None, "reason": "no image of this class"}
    assert row["f1"]["value"] is None
    assert got["confusion"]["by_true"][2] == [None, None, None]
    assert "2 of 3 classes" in got["metrics"]["macro_f1"]["note"]
    assert "c2" in got["metrics"]["balanced_accuracy"]["note"]


def test_perfect_few_are_not_certain() -> None:
    probs = np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1]]
    got = evaluate(predictions(probs, np.array([0, 0, 0, 1, 1]), "binary"), "val")
    for name in ("accuracy", "macro_f1", "balanced_accuracy", "roc_auc", "mcc"):
        m = got["metrics"][name]
        assert m["value"] == m["high"] == 1, name
        assert m["low"] < 0.7, name
    assert got["metrics"]["ece"]["high"] > 0.3


def test_unreadable_and_unlabelled_rows_are_counted_not_scored() -> None:
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan], [0.5, 0.5], [np.nan, np.nan]], np.float32)
    got = evaluate(predictions(probs, np.array([0, 1, 1, -1, -1]), "binary"), "test")
    assert (got["n"], got["rejected"], got["unlabelled"]) == (2, 2, 1)
    assert got.value("accuracy") == 1


def test_only_the_rows_of_the_split_count() -> None:
    probs = np.array([[0.9, 0.1], [0.9, 0.1]], np.float32)
    p = predictions(probs, np.array([0, 1]), "binary", split=["val", "test"])
    assert evaluate(p, "val").value("accuracy") == 1
    assert evaluate(p, "test").value("accuracy") == 0
    with pytest.raises(DataError, match="0 of 2 rows; found test, val"):
        evaluate(p, "train")


def test_same_seed_same_intervals() -> None:
    rng = np.random.default_rng(0)
    p = predictions(random_probs(rng, 50, 3), rng.integers(0, 3, 50))
    assert evaluate(p, "val").data == evaluate(p, "val").data
    assert evaluate(p, "val").data != evaluate(p, "val", seed=1).data


def test_ranking_on_request() -> None:
    rng = np.random.default_rng(0)
    p = predictions(random_probs(rng, 20, 3), rng.integers(0, 3, 20))
    assert evaluate(p, "val", ranking=False)["metrics"]["roc_auc"] == {"value": None, "reason": "not computed"}


def test_without_some_ids() -> None:
    probs = np.eye(2, dtype=np.float32)[[0, 1, 1, 1]]
    p = predictions(probs, np.array([0, 1, 0, 0]), "binary")
    rest = evaluate_without(p, ["2.png", "3.png", "unknown"])
    assert (rest["n"], rest["left_out"], rest["metrics"]["accuracy"]["value"]) == (2, 2, 1.0)
    assert rest["metrics"]["accuracy"] == evaluate(p.select(np.array([0, 1])), "val")["metrics"]["accuracy"]
    nothing = evaluate_without(p, p.ids)
    assert nothing["metrics"]["accuracy"] == {"value": None, "reason": "no row remains"}


def test_baselines_are_scored_on_the_models_rows() -> None:
    probs = np.array([[0.9, 0.1], [np.nan, np.nan], [0.2, 0.8]], np.float32)
    p = predictions(probs, np.array([0, 1, 1]), "binary", split=["test", "test", "test"])
    scores = evaluate_baselines(p, {"majority": np.tile(np.float32([0.4, 0.6]), (3, 1))}, "test")
    assert scores["majority"]["accuracy"]["value"] == 0.5


@pytest.mark.parametrize(
    ("probs", "targets", "task", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "binary", "no rows"),
        ([[0.5, 0.4]], [0], "binary", r"do not sum to 1, first '0.png' \(sum 0.9\)"),
        ([[2.5, -1.5]], [0], "binary", "outside 0 to 1"),
        ([[np.inf, 0]], [0], "binary", "outside 0 to 1"),
        ([[0.5, 0.5]], [2], "multiclass", "a target is 2; allowed are 0 to 1"),
        ([[0.5, 0.5]], [-1], "binary", "0 of 1 could not be read, 1 have no label"),
        ([[0.5, 0.5]], None, "binary", "no row can be scored"),
        ([[np.nan, np.nan]], [0], "binary", "1 of 1 could not be read"),
        ([[0.2, 0.3, 0.5]], [0], "binary", "two classes, found 3"),
        ([[0.2, 0.3]], [0], "multilabel", "shape"),
        ([[0.2, 0.3]], [[0.0, 0.5]], "multilabel", "allowed are 0 or 1"),
    ],
)
def test_what_cannot_be_scored(probs: object, targets: object, task: str, message: str) -> None:
    probs = np.asarray(probs, np.float32)
    with pytest.raises(DataError, match=message):
        evaluate(predictions(probs, None if targets is None else np.asarray(targets), task), "val")


def test_each_image_counts_once() -> None:
    p = Predictions(["a", "b", "a"], ["x", "y"], np.full((3, 2), 0.5, np.float32), np.zeros(3, int), "binary")
    with pytest.raises(DataError, match="'a' appears more than once"):
        evaluate(p, "val")


def test_f_beta_equals_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    probs, targets = random_probs(rng, 60, 4), rng.integers(0, 3, 60)
    got = evaluate(predictions(probs, targets), "val", beta=2.0)
    y, options = probs.argmax(axis=1), {"beta": 2.0, "labels": np.arange(4), "zero_division": np.nan}
    for average in ("macro", "micro", "weighted"):
        want = sk.fbeta_score(targets, y, average=average, **options)
        assert got.value(f"{average}_f2") == pytest.approx(want, abs=1e-12)
    each = sk.fbeta_score(targets, y, average=None, **options)
    for c, value in enumerate(each):
        m = got["per_class"][f"c{c}"]["f2"]
        assert m["value"] == pytest.approx(value, abs=1e-12)
        assert m["low"] <= value <= m["high"]


def test_hierarchical_cost_by_hand() -> None:
    """a and b are dogs, c is a cat: 2 edges between a and b, 4 from either to c. Four images cost 0, 2, 4 and 0."""
    probs = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    p = Predictions(list("wxyz"), ["a", "b", "c"], probs, np.array([0, 0, 1, 2]))
    parents = {"a": "dog", "b": "dog", "c": "cat", "dog": "animal", "cat": "animal"}
    got = evaluate(p, "val", parents=parents)["metrics"]["hierarchical_cost"]
    assert got["value"] == 1.5
    assert 0 <= got["low"] < 1.5 < got["high"] <= 4
    assert (
        evaluate(p, "val", parents=parents, groups={"w": "g", "x": "g"})["metrics"]["hierarchical_cost"]["value"] == 1.5
    )


def test_copies_of_an_image_in_one_group_teach_nothing() -> None:
    """Every image eight times: values stay, and by their group the intervals are those of the images once."""
    rng = np.random.default_rng(0)
    probs, targets = random_probs(rng, 80, 3), rng.integers(0, 3, 80)
    once = evaluate(predictions(probs, targets), "val")
    p = predictions(np.repeat(probs, 8, axis=0), np.repeat(targets, 8))
    groups = {i: f"g{n // 8}" for n, i in enumerate(p.ids)}
    eight, naive = evaluate(p, "val", groups=groups), evaluate(p, "val")
    for name, m in once["metrics"].items():
        grouped, plain = eight["metrics"][name], naive["metrics"][name]
        assert grouped["value"] == pytest.approx(m["value"], abs=1e-12), name
        width, of_groups, of_copies = (x["high"] - x["low"] for x in (m, grouped, plain))
        assert of_groups == pytest.approx(width, rel=0.35), name
        assert of_copies < 0.6 * width, name


def test_one_image_of_a_class_leaves_its_mean_wide() -> None:
    """Recall 1 of one image and 0.9 of ninety: the bootstrap of each class alone would be sure of the former."""
    targets = np.r_[np.zeros(90, int), 1]
    called = np.r_[np.zeros(81, int), np.ones(10, int)]
    got = evaluate(predictions(np.eye(2, dtype=np.float32)[called], targets, "binary"), "val")
    m = got["metrics"]["balanced_accuracy"]
    assert m["value"] == pytest.approx(0.95)
    assert m["low"] < 0.6


def test_many_rows_are_scored_as_few_are() -> None:
    """Above twenty thousand rows sums are drawn from their normal distribution: the same intervals within noise."""
    rng = np.random.default_rng(0)
    probs, targets = random_probs(rng, 20_500, 3).astype(np.float32), rng.integers(0, 3, 20_500)
    p = predictions(probs, targets)
    many = evaluate(p, "val", ranking=False)["metrics"]
    few = evaluate(p.select(np.arange(20_000)), "val", ranking=False, resamples=300)["metrics"]
    for name in ("log_loss", "brier", "ece"):
        wide = [m["high"] - m["low"] for m in (many[name], few[name])]
        assert wide[0] == pytest.approx(wide[1], rel=0.25), name


def test_an_unknown_wish_is_an_error() -> None:
    with pytest.raises(TypeError, match="bins"):
        evaluate(predictions(np.eye(2, dtype=np.float32), np.array([0, 1])), "val", bins=3)
