"""`anmok fewshot`: episodes from a source to a report, and new classes taught to a model, read by anmok and by timm."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from small_runs import SMALL, digits_and

import anmok
from anmok.cli import main
from anmok.core.errors import DataError, MachineError, UsageError
from anmok.core.files import read_json
from anmok.deploy.bundle import load_model, save_bundle
from anmok.models.dual import load_dual
from anmok.models.extend import Head, grown, head_rows, linear_head, look
from anmok.nshot.episodes import draw_episodes
from anmok.nshot.fewshot import METHODS
from anmok.nshot.prompts import PROMPTS
from anmok.stages.fewshot import fewshot
from anmok.stages.fewshot_add import add_class
from anmok.stages.run import Run

sys.path.insert(0, str(Path(__file__).parents[1] / "nshot"))
import tiny

FEW: dict[str, Any] = {"ways": 3, "episodes": 60, "threads": 1, "image_size": 32}


def write_digit(folder: Path, digit: int, rows: slice) -> Path:
    """Some of scikit-learn's digits of one kind, without a label."""
    data = load_digits()
    folder.mkdir(parents=True)
    for number in np.flatnonzero(data.target == digit)[rows]:
        pixels = 255 - np.rint(data.images[number] * (255 / 16)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return anmok.train(digits, out=tmp_path_factory.mktemp("few") / "run", **{**SMALL, "epochs": 6})


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digit(tmp_path_factory.mktemp("seven") / "given", 7, slice(10))


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(write_digit(tmp_path_factory.mktemp("seven") / "unseen", 7, slice(60, 120)).iterdir())


def test_episodes_end_in_a_table_a_picture_and_a_page(digits: Path, tmp_path: Path) -> None:
    found = fewshot(digits, model="lenet", out=tmp_path / "few", **FEW)
    assert {p.name for p in (tmp_path / "few").iterdir()} == {
        "fewshot.json", "accuracy.png", "episode.png", "report.html"
    }  # fmt: skip
    data = json.loads((tmp_path / "few" / "fewshot.json").read_bytes())
    assert data == json.loads(json.dumps(found.data))
    assert {(r["method"], r["shots"]) for r in data["rows"]} == {(m, s) for m in (*METHODS, "pixels") for s in (1, 5)}
    for method in METHODS:
        for shots in (1, 5):
            a = found.accuracy(method, shots)
            assert 1 / 3 < a["low"] < a["value"] < a["high"] <= 1
        assert found.accuracy(method, 5)["value"] > found.accuracy(method, 1)["value"]
    assert "5 shots" in repr(found)
    assert "<th>method</th>" in found._repr_html_()
    assert any("random" in note for note in data["notes"])
    page = (tmp_path / "few" / "report.html").read_text(encoding="utf-8")
    assert "logistic probe" in page
    assert "http://" not in page.replace("http://www.w3.org", "").split("<script>")[0]
    with Image.open(tmp_path / "few" / "episode.png") as picture:
        assert np.asarray(picture).std() > 10
    with pytest.raises(UsageError, match="exists already"):
        fewshot(digits, model="lenet", out=tmp_path / "few", **FEW)


def test_vectors_are_what_the_head_sees_and_others_give_the_mean(digits: Path, run: Run) -> None:
    held = {**FEW, "ways": 2, "classes": "digit-2,digit-3", "method": "prototype", "shots": 2, "seed": 3}
    found = fewshot(digits, model=run.path, **held)
    assert found.data["base_classes"] == {"digit-0": 40, "digit-1": 40}
    assert any("has learned digit-2, digit-3" in note for note in found.data["notes"])
    table = anmok.open(digits)
    pixels = np.stack([run.model.preprocess.apply(np.asarray(Image.open(digits / i).convert("RGB")))
                       for i in table.rows["image"]])  # fmt: skip
    vectors = look(run.model.classifier, torch.from_numpy(pixels)).vectors
    targets = table.targets()
    moved = vectors - vectors[targets < 2].mean(axis=0)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    rng = np.random.Generator(np.random.PCG64(3))
    rows, right = {k: np.flatnonzero(targets == k) for k in (2, 3)}, []
    for _ in range(60):
        order = [(2, 3)[i] for i in rng.choice(2, 2, replace=False)]
        drawn = [rng.choice(rows[k], 17, replace=False) for k in order]
        means = np.stack([moved[d[:2]].mean(axis=0) for d in drawn])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        asked = np.stack([moved[d[2:]] @ means.T for d in drawn])
        right.append((asked.argmax(axis=2) == np.arange(2)[:, None]).mean())
    assert found.accuracy("prototype", 2)["value"] == pytest.approx(np.mean(right), abs=2e-3)


def test_weights_of_a_run_give_the_vectors_of_the_run(digits: Path, run: Run) -> None:
    by_path = fewshot(digits, model=str(run.path / "model"), **FEW)
    by_name = fewshot(digits, model="lenet", weights=str(run.path), **FEW)
    assert by_path.data["rows"] == by_name.data["rows"]
    assert by_path.data["notes"] == by_name.data["notes"]
    by_object = fewshot(digits, model=run.model, **FEW)
    assert by_object.data["rows"] == by_path.data["rows"]


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"shots": 40}, DataError, r"digit-0 \(40\)"),
        ({"ways": 5}, UsageError, "2 to 4 ways"),
        ({"classes": "digit-0,digit-9,digit-1"}, UsageError, "no class digit-9"),
        ({"shots": "0"}, UsageError, "from 1 on"),
        ({"model": "lenett"}, UsageError, "Did you mean"),
    ],
)
def test_wrong_calls(digits: Path, settings: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        fewshot(digits, **{"model": "lenet", **FEW, **settings})


def test_a_path_that_is_not_there(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "resnet-run").mkdir()
    with pytest.raises(UsageError, match="Did you mean resnet-run"):
        fewshot(digits, model=tmp_path / "resnet-rum", **FEW)


def test_a_dual_encoder_brings_the_names_of_the_classes(digits: Path, tmp_path: Path) -> None:
    folder = tiny.BUILDERS["clip"](tmp_path / "clip")
    found = fewshot(digits, model=str(folder), **{**FEW, "out": tmp_path / "few"})
    assert found.data["text"]
    assert "cache over names" in repr(found)
    dual, table = load_dual(folder), anmok.open(digits)
    images = [np.asarray(Image.open(digits / i).convert("RGB")) for i in table.rows["image"]]
    vectors = dual.encode_images(np.stack([dual.prepare(image) for image in images]))
    words = np.stack([dual.encode_texts([p.replace("{}", c) for p in PROMPTS]).mean(axis=0) for c in table.classes])
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    logits = dual.scale * vectors @ words.T
    drawn = draw_episodes(table.targets(), 3, 5, 15, 60, 0)
    own = np.take_along_axis(logits[drawn.query], drawn.classes[:, None, None, :], axis=3)
    expected = (own.argmax(axis=3) == np.arange(3)[:, None]).mean()
    for shots in (1, 5):
        assert found.accuracy("text", shots)["value"] == pytest.approx(expected, abs=5e-3)
    with pytest.raises(MachineError, match="network"):
        fewshot(digits, model="nobody-here/no-such-model", **FEW)


def test_a_new_class_is_learned_and_the_old_ones_stay(
    run: Run, seven: Path, unseen: list[Path], digits: Path, tmp_path: Path
) -> None:
    before = (run.path / "model" / "MANIFEST.sha256").read_bytes()
    found = add_class(run.path, {"숫자-7": seven}, tmp_path / "new", threads=1)
    assert (run.path / "model" / "MANIFEST.sha256").read_bytes() == before
    model = anmok.load(tmp_path / "new")
    assert model.classes == [*run.model.classes, "숫자-7"]
    assert np.mean([label == "숫자-7" for label in model.predict(unseen).labels]) > 0.6
    val = run.table.where(split="val")
    images, targets = [digits / i for i in val.rows["image"]], val.targets()
    old, new = run.model.predict(images).probs, model.predict(images).probs
    data = found.data["old"]
    assert data["images"] == len(val)
    assert data["before"]["value"] == pytest.approx((old.argmax(1) == targets).mean())
    assert data["after"]["value"] == pytest.approx((new.argmax(1) == targets).mean())
    assert data["after"]["value"] > data["before"]["value"] - 0.1
    assert data["taken"] == (new.argmax(1) == 4).sum()
    np.testing.assert_allclose(old, new[:, :4] / new[:, :4].sum(axis=1, keepdims=True), atol=1e-4)  # the same rows
    assert found.data["added"]["숫자-7"]["images"] == 10
    card = (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert "accuracy before" in card
    assert "weight imprinting" in card
    assert read_json(tmp_path / "new" / "config.json")["num_classes"] == 5
    assert "before" in repr(found)
    again = add_class(tmp_path / "new", {"six": write_digit(tmp_path / "six", 6, slice(3))}, tmp_path / "more")
    assert len(again.data["classes"]) == 6
    assert again.data["old"] is None  # a model folder alone has no images
    with_known = add_class(run.path / "model", {"six": tmp_path / "six"}, tmp_path / "third", known=digits)
    assert with_known.data["old"]["images"] == 160


def test_the_limit_on_what_is_lost_holds(run: Run, seven: Path, tmp_path: Path) -> None:
    found = add_class(run.path, {"seven": seven}, tmp_path / "kept", most_lost=0.0, threads=1)
    assert found.data["old"]["after"]["value"] >= found.data["old"]["before"]["value"]
    with pytest.raises(UsageError, match="no image of the old classes"):
        add_class(tmp_path / "kept", {"six": seven}, tmp_path / "x", most_lost=0.1, threads=1)
    with pytest.raises(UsageError, match="from 0 to 1"):
        add_class(run.path, {"six": seven}, tmp_path / "x", most_lost=2, threads=1)


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_timm_loads_what_has_grown(digits: Path, seven: Path, unseen: list[Path], tmp_path: Path, task: str) -> None:
    source = digits if task == "multiclass" else digits_and(tmp_path, digits)
    run = anmok.train(source, out=tmp_path / "run", **{**SMALL, "model": "test_resnet", "epochs": 2})
    assert run.model.task == task
    add_class(run, {"seven": seven}, tmp_path / "new", threads=1)
    model, k = load_model(tmp_path / "new"), len(run.model.classes)
    assert (model.task, len(model.classes)) == ("multiclass", k + 1)
    theirs = timm.create_model(f"local-dir:{tmp_path / 'new'}", pretrained=True).eval()
    assert list(theirs.pretrained_cfg["label_names"]) == [*run.model.classes, "seven"]
    pixels = np.stack([model.preprocess.apply(np.asarray(Image.open(p).convert("RGB"))) for p in unseen[:8]])
    with torch.no_grad():
        probs = theirs(model.classifier.normalize(torch.from_numpy(pixels))).softmax(1).numpy()
    np.testing.assert_allclose(probs, model.probabilities(pixels), atol=1e-5)
    old = run.model.probabilities(pixels)
    np.testing.assert_allclose(probs[:, :k] / probs[:, :k].sum(axis=1, keepdims=True), old, atol=1e-4)


def test_what_was_decided_for_the_old_classes_is_not_carried(run: Run, seven: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run.path, tmp_path / "run")
    anmok.decide(tmp_path / "run", cost="fp=1,fn=9", positive="digit-1", calibrate="none")
    found = add_class(tmp_path / "run", {"seven": seven}, tmp_path / "new", threads=1)
    assert found.data["reset"]
    assert "not carried over" in repr(found)
    decision = read_json(tmp_path / "new" / "decision.json")
    assert (decision["thresholds"], decision["costs"]) == (None, None)


def test_what_cannot_grow_is_said(run: Run, seven: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="digit-1 is there already"):
        add_class(run.path, {" digit-1": seven}, tmp_path / "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        add_class(run.path, {"six": tmp_path / "empty"}, tmp_path / "x")
    with pytest.raises(UsageError, match="no class to add"):
        add_class(run.path, {}, tmp_path / "x")
    model = run.model
    model_args = {"architecture": "lenet", "decision": None}
    classifier = type(model.classifier)(
        model.classifier.backbone, model.classes, "multilabel", model.preprocess.mean, model.preprocess.std
    )
    save_bundle(tmp_path / "multi", classifier, model.preprocess, **model_args)
    with pytest.raises(UsageError, match="multi-label"):
        add_class(tmp_path / "multi", {"six": seven}, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_head_that_is_no_linear_layer_is_refused(tmp_path: Path, seven: Path) -> None:
    from anmok.augment.preprocess import Preprocess
    from anmok.models.build import build
    from anmok.models.config import ModelConfig

    built = build(ModelConfig(name="torchvision/squeezenet1_1"), ["a", "b", "c"], "multiclass", 3, 32)
    classifier = built.classifier.eval()
    folder = save_bundle(
        tmp_path / "model", classifier, Preprocess(32, mean=classifier.pixel_mean, std=classifier.pixel_std),
        architecture="torchvision/squeezenet1_1",
    )  # fmt: skip
    with pytest.raises(DataError, match="no linear layer but Conv2d") as caught:
        add_class(folder, {"seven": seven}, tmp_path / "x", threads=1)
    assert caught.value.code == "head"


def test_a_grown_head_keeps_its_rows(run: Run) -> None:
    classifier = run.model.classifier
    head = head_rows(classifier)
    assert head.bias is not None
    more = Head(np.vstack([head.weight, np.ones((1, head.weight.shape[1]))]), np.append(head.bias, 2.0))
    new = grown(classifier, more, [*run.model.classes, "x"])
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    old, seen = look(classifier, images), look(new, images)
    np.testing.assert_allclose(seen.logits[:, :4], old.logits, atol=1e-5)
    np.testing.assert_allclose(seen.logits[:, 4], old.vectors.sum(axis=1) + 2, rtol=1e-4)
    assert classifier.backbone.get_submodule(linear_head(classifier)).out_features == 4


def test_the_command_line(
    run: Run, digits: Path, seven: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fewshot", "--add", f"seven={seven}", str(run.path), "--out", str(tmp_path / "new")])
    assert "Old classes, on 24 images" in capsys.readouterr().out
    main(["predict", str(tmp_path / "new"), str(seven), "--out", str(tmp_path / "p.csv")])
    assert "p_seven" in (tmp_path / "p.csv").read_text()
    main(["fewshot", str(digits), "--model", "lenet", "--ways", "2", "--shots", "1,3", "--episodes", "20"])
    out = capsys.readouterr().out
    assert "3 shots" in out
    assert "raw pixels" in out
    model, other = str(run.path), str(tmp_path / "y")
    for arguments, said in (
        (["--add", "seven", model, "--out", other], "expected class=folder"),
        (["--add", f"seven={seven}", model], "--out NEWMODEL"),
        (["--add", f"seven={seven}", model, "--out", other, "--ways", "3"], "no meaning with --add"),
        ([str(digits), "--known", str(digits)], "with --add only"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["fewshot", *arguments])
        assert caught.value.code == 2
        assert said in capsys.readouterr().err
