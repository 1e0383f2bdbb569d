"""What a user gets when files are odd, broken or gone: through training, evaluation and prediction, on small real runs.

Each test names the row of the faults that it proves; what a single room proves by itself lies with that room's tests.
"""

from __future__ import annotations

import csv
import io
import shutil
import socket
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
import bad_images as bad
from small_runs import SMALL, digits_and

import anmok
from anmok.augment.preprocess import Preprocess
from anmok.core.config import read_toml
from anmok.core.errors import DataError, MachineError
from anmok.core.files import read_json
from anmok.data.batches import Loader
from anmok.stages import predict as prediction
from anmok.stages import rejects
from anmok.stages.predict import predict
from anmok.stages.run import Run

ALL_LEARN: dict[str, Any] = {"split": {"test": 0, "val": 0.2}}
INK = "#0c2238"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 68: nothing here may touch a network, neither connect nor look a name up."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail(f"the network was touched: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def odd(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bad.Odd]]:
    """A class folder of every odd file, beside two of digits."""
    folder = tmp_path_factory.mktemp("odd")
    expected = bad.build(folder / "things")
    for digit in (0, 1):
        shutil.copytree(digits / f"digit-{digit}", folder / f"digit-{digit}")
    return folder, expected


@pytest.fixture(scope="module")
def run(odd: tuple[Path, dict[str, bad.Odd]], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that learned from all of it."""
    options = {"data": {"max_rejects": 0.9, "background": INK}, **ALL_LEARN, **SMALL}
    return anmok.train(odd[0], out=tmp_path_factory.mktemp("faults") / "run", **options)


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return {row["id"]: row for row in csv.DictReader(handle)}


def heard(monkeypatch: pytest.MonkeyPatch, module: Any) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(module, "warn", said.append)
    return said


# Rows 1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15: every odd file at once.


def test_training_takes_what_it_can_and_quarantines_the_rest(run: Run, odd: tuple[Path, dict[str, bad.Odd]]) -> None:
    rejected = {Path(r["id"]).name: r for r in pl.read_parquet(run.path / "rejects.parquet").iter_rows(named=True)}
    for name, file in odd[1].items():
        if file.code:
            assert rejected[name]["kind"] == file.code, name
            assert rejected[name]["reason"], name
        else:
            assert name not in rejected
    assert set(rejected) == {name for name, file in odd[1].items() if file.code}
    assert run.finished


def test_prediction_gives_each_file_its_own_row(
    run: Run, odd: tuple[Path, dict[str, bad.Odd]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = heard(monkeypatch, prediction)
    flat = shutil.copytree(odd[0] / "things", tmp_path / "flat")
    predict(run, flat, out=tmp_path / "p.csv", sort_into=tmp_path / "sorted")
    rows = rows_of(tmp_path / "p.csv")
    assert set(rows) == set(odd[1])
    for name, file in odd[1].items():
        if file.code:
            assert rows[name]["error"].startswith(f"{file.code}: "), name
            assert (rows[name]["label"], rows[name]["probability"]) == ("", ""), name
        else:
            assert rows[name]["label"] in run.model.classes, name
            assert rows[name]["error"] == "", name
    assert any("2 images (broken-profile.jpg, broken-profile.png) with a broken colour" in text for text in said)
    assert any("could not be used" in text for text in said)
    kept = {p.name for p in (tmp_path / "sorted").rglob("*") if p.is_file()}
    assert {name for name, file in odd[1].items() if not file.code} <= kept


def test_evaluation_counts_each_image_once(run: Run) -> None:
    val, listed = run.table.where(split="val"), pl.read_parquet(run.path / "rejects.parquet")["id"].to_list()
    bad_ones = val.rows["id"].is_in(listed).sum()
    assert bad_ones > 0
    again = anmok.evaluate(run, split="val")
    assert (again["n"], again["rejected"]) == (len(val) - bad_ones, bad_ones)
    assert run.evaluation("val")["n"] == again["n"]


def test_row_1_more_than_the_allowed_share_ends_the_run(digits: Path, tmp_path: Path) -> None:
    folder = digits_and(tmp_path, digits)
    (folder / "digit-0" / "text.png").write_text("not an image")
    with pytest.raises(DataError, match=r"1 of 81 images cannot be used, more than 1\.0%") as caught:
        anmok.train(folder, out=tmp_path / "run", **ALL_LEARN, **SMALL)
    assert caught.value.exit_code == 3
    assert pl.read_parquet(tmp_path / "run" / "rejects.parquet")["id"].to_list() == ["digit-0/text.png"]
    assert anmok.train(folder, out=tmp_path / "more", **{"data.max_rejects": 0.02}, **ALL_LEARN, **SMALL).finished


def test_row_2_truncated_images_are_used_only_where_allowed(digits: Path, tmp_path: Path) -> None:
    folder = digits_and(tmp_path, digits)
    (folder / "digit-0" / "cut.jpg").write_bytes(bad.encode(bad.photo(200, 300), "JPEG")[:-900])
    with pytest.raises(DataError, match="cannot be used"):
        anmok.train(folder, out=tmp_path / "strict", **ALL_LEARN, **SMALL)
    run = anmok.train(folder, out=tmp_path / "run", allow_truncated=True, **ALL_LEARN, **SMALL)
    assert read_toml(run.path / "config.toml")["data"]["allow_truncated"] is True
    assert pl.read_parquet(run.path / "rejects.parquet").height == 0
    part = "train" if run.table.rows.filter(id="digit-0/cut.jpg")["split"][0] == "train" else "val"
    assert anmok.evaluate(run, split=part)["rejected"] == 0
    assert "truncated" in predict(run, folder).errors["digit-0/cut.jpg"]
    assert predict(run, folder, allow_truncated=True).errors == {}


def test_row_8_orientation_is_the_same_everywhere(run: Run, tmp_path: Path) -> None:
    """Audit, batches and prediction see the upright picture of all eight orientations."""
    for label in ("plain", "turned"):
        (tmp_path / label).mkdir()
    upright = bad.photo(24, 40)
    for orientation in range(1, 9):
        stored = bad.encode(upright, "PNG", exif=bad.exif(orientation))
        (tmp_path / "turned" / f"{orientation}.png").write_bytes(stored)
        with Image.open(io.BytesIO(stored)) as image:
            from PIL import ImageOps

            shown = ImageOps.exif_transpose(image)
            shown.save(tmp_path / "plain" / f"{orientation}.png", exif=b"")
    table = anmok.open(tmp_path)
    measured = anmok.audit(table).images.sort("id")
    sides = measured.select("width", "height").rows()
    assert sides[:8] == sides[8:] == [(40, 24)] * 4 + [(24, 40)] * 4
    batch = next(Loader(table, preprocess=Preprocess(16), batch_size=16).epoch())
    np.testing.assert_array_equal(batch.images[:8], batch.images[8:])
    assert len(np.unique(batch.images[:8].reshape(8, -1), axis=0)) == 8
    by_verb = predict(run, table)
    np.testing.assert_array_equal(by_verb.probs[:8], by_verb.probs[8:])
    by_path = run.predict([table.root / i for i in by_verb.ids])
    np.testing.assert_allclose(by_path.probs, by_verb.probs, atol=1e-6)


def test_row_9_hidden_colours_never_leak(run: Run, tmp_path: Path) -> None:
    assert read_toml(run.path / "config.toml")["data"]["background"] == INK
    assert tuple(read_json(run.path / "model" / "preprocess.json")["background"]) == (12, 34, 56)
    for name, hidden in (("red", (255, 0, 0)), ("blue", (0, 0, 255)), ("ink", (12, 34, 56))):
        picture = Image.new("RGBA", (40, 40), (*hidden, 0))
        picture.paste((200, 200, 0, 255), (10, 10, 30, 30))
        picture.save(tmp_path / f"{name}.png")
    with Image.open(tmp_path / "ink.png") as image:
        image.convert("RGB").save(tmp_path / "opaque.png")
    probs = predict(run, tmp_path).probs
    np.testing.assert_array_equal(probs, np.repeat(probs[:1], 4, axis=0))


def test_row_10_a_broken_profile_is_told_by_whoever_reads(run: Run, tmp_path: Path, monkeypatch: Any) -> None:
    from anmok.deploy import model as deployed

    path = tmp_path / "a.png"
    path.write_bytes(bad.encode(bad.photo(), "PNG", icc_profile=b"no profile"))
    said = heard(monkeypatch, deployed)
    assert run.predict(path).errors == {}
    assert said == ["1 image(s) with a broken colour profile, which is ignored"]
    told: list[tuple[str, str]] = []
    batches = Loader(
        anmok.open(path), preprocess=Preprocess(16), batch_size=1, on_note=lambda i, text: told.append((i, text))
    )
    for epoch in (0, 1):
        list(batches.epoch(epoch))
    assert [(i, text.partition(":")[0]) for i, text in told] == [("a.png", "bad-profile")]


def test_row_10_training_names_the_first_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = heard(monkeypatch, rejects)
    kept = rejects.Rejects(tmp_path, 100, 0.5)
    for number in range(9):
        kept.note(f"{number}\n.png", "bad-profile: the colour profile is ignored")
    assert len(said) == 5
    assert said[0] == "0\\n.png: bad-profile: the colour profile is ignored"
    assert said[-1].endswith("(others are not named)")
    assert kept.found == {}


def test_row_14_heic_without_its_package(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    folder = digits_and(tmp_path, digits)
    (folder / "digit-0" / "photo.heic").write_bytes(bad.HEIC)
    errors = predict(run, folder).errors
    assert "anmok[heic]" in errors["digit-0/photo.heic"]
    assert "anmok[heic]" in next(iter(run.predict(folder / "digit-0" / "photo.heic").errors.values()))
    trained = anmok.train(folder, out=tmp_path / "run", **{"data.max_rejects": 0.02}, **ALL_LEARN, **SMALL)
    listed = pl.read_parquet(trained.path / "rejects.parquet").row(0, named=True)
    assert (listed["id"], listed["kind"]) == ("digit-0/photo.heic", "unsupported-format")
    assert "anmok[heic]" in listed["reason"]


def test_row_17_a_class_of_one_image_has_no_score(digits: Path, tmp_path: Path) -> None:
    folder = digits_and(tmp_path, digits)
    (folder / "rare").mkdir()
    (folder / "rare" / "1.png").write_bytes(bad.encode(bad.photo(), "PNG"))
    run = anmok.train(folder, out=tmp_path / "run", **SMALL)
    assert run.table.where(split="train").rows["label"].to_list().count("rare") == 1
    assert any("1 class (rare) with one image" in note for note in run.table.notes)
    scores = anmok.evaluate(run)["per_class"]["rare"]
    undefined = [name for name, score in scores.items() if isinstance(score, dict) and score["value"] is None]
    assert {"recall", "f1"} <= set(undefined)
    assert all(scores[name]["reason"] for name in undefined)


def test_row_20_one_image_under_two_labels_is_not_learned(digits: Path, tmp_path: Path) -> None:
    folder = digits_and(tmp_path, digits)
    twin = next((folder / "digit-0").iterdir())
    shutil.copy(twin, folder / "digit-1" / "twin.png")
    assert anmok.audit(anmok.open(folder)).of("conflicting-labels").height == 1
    run = anmok.train(folder, out=tmp_path / "run", **ALL_LEARN, **SMALL)
    pair = [f"digit-0/{twin.name}", "digit-1/twin.png"]
    assert run.table.rows.filter(pl.col("id").is_in(pair))["split"].null_count() == 2
    assert any("2 rows left out, as the same image has two labels" in n and pair[1] in n for n in run.table.notes)


def test_row_21_files_that_have_gone_are_listed_and_count(digits: Path, tmp_path: Path) -> None:
    folder = digits_and(tmp_path, digits)
    table = anmok.open(folder)
    gone = sorted((folder / "digit-0").iterdir())[:3]
    for file in gone:
        file.unlink()
    with pytest.raises(DataError, match="of 80 images cannot be used"):
        anmok.train(table, out=tmp_path / "run", **ALL_LEARN, **SMALL)
    run = anmok.train(table, out=tmp_path / "more", **{"data.max_rejects": 0.1}, **ALL_LEARN, **SMALL)
    listed = pl.read_parquet(run.path / "rejects.parquet")
    assert listed["id"].to_list() == [f"digit-0/{file.name}" for file in gone]
    assert listed["kind"].unique().to_list() == ["io-error"]
    assert all("No such file or directory (errno 2)" in reason for reason in listed["reason"])


def test_rows_12_13_21_22_what_a_source_leaves_out_is_a_row_of_the_prediction(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    (folder / "sub").mkdir(parents=True)
    good = bad.encode(bad.photo(), "PNG")
    for name in ("1.png", "noext", "sub/2.png", ".hidden.png", "Thumbs.db"):
        (folder / name).write_bytes(good)
    (folder / "page.pdf").write_bytes(b"%PDF-1.7\n%%EOF\n")
    (folder / "notes.txt").write_text("no image")
    (tmp_path / "secret.png").write_bytes(good)
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / "sub" / "loop").symlink_to(folder)
    found = predict(run, folder, out=tmp_path / "p.csv")
    rows = rows_of(tmp_path / "p.csv")
    assert {name for name, row in rows.items() if row["label"]} == {"1.png", "noext", "sub/2.png"}
    faults = {name: row["error"].partition(":")[0] for name, row in rows.items() if row["error"]}
    assert faults == {"page.pdf": "unsupported-format", "out.png": "outside-link", "broken.png": "io-error"}
    assert "(errno 2)" in rows["broken.png"]["error"]
    assert len(found) == 6
    predict(run, folder, out=tmp_path / "p.parquet")
    with pytest.raises(DataError, match="no label"):
        anmok.evaluate(tmp_path / "p.parquet")


def test_row_26_names_that_are_no_text(run: Run, tmp_path: Path) -> None:
    import os

    folder = tmp_path / "in"
    folder.mkdir()
    good = bad.encode(bad.photo(), "PNG")
    for name in (b"=1+1.png", b"two\nlines.png", b"\xff\xfe.png", "유리.png".encode(), b"<img src=x>.png"):
        with open(os.fsencode(folder) + b"/" + name, "wb") as handle:  # noqa: PTH123
            handle.write(good)
    predict(run, folder, out=tmp_path / "p.csv", sort_into=tmp_path / "sorted")
    rows = rows_of(tmp_path / "p.csv")
    assert set(rows) == {"'=1+1.png", "two\nlines.png", "bytes:%FF%FE.png", "유리.png", "<img src=x>.png"}
    assert all(row["label"] in run.model.classes for row in rows.values())
    assert len([p for p in (tmp_path / "sorted").rglob("*") if p.is_file()]) == 5
    found = run.predict([folder / os.fsdecode(b"\xff\xfe.png"), folder / "two\nlines.png"])
    assert found.errors == {}
    assert len(repr(found).splitlines()) == 3
    repr(found).encode()
    page = found._repr_html_() + predict(run, folder)._repr_html_()
    assert "<img" not in page
    page.encode()


def test_row_28_a_list_with_missing_files(run: Run, digits: Path, tmp_path: Path) -> None:
    folder = digits_and(tmp_path, digits)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
    lines = [f"{name},{name.split('/')[0]}" for name in [*names, *(f"gone{i:02}.png" for i in range(25))]]
    (folder / "list.csv").write_text("\n".join(["image,label", *lines]) + "\n")
    for verb in (lambda: anmok.train(folder / "list.csv", out=tmp_path / "run", **SMALL),
                 lambda: predict(run, folder / "list.csv")):  # fmt: skip
        with pytest.raises(DataError, match=r"25 images \(gone00\.png, .*gone19\.png, …\) of 105 not found") as caught:
            verb()
        assert "gone20" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    found = predict(run, folder / "list.csv", **{"data.max_rejects": 0.5})
    assert found.errors["gone24.png"].startswith("io-error: named in the list")
    assert len(found) == 105


def test_row_32_classes_in_another_order_are_not_evaluated(run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "run")
    table = Run(copy).table
    replace(table, classes=tuple(reversed(table.classes))).save(copy / "table.parquet")
    with pytest.raises(DataError, match="in another order") as caught:
        anmok.evaluate(copy, split="val")
    assert caught.value.code == "class-map"
    other = replace(table, classes=(*table.classes, "more"))
    other.save(copy / "table.parquet")
    with pytest.raises(DataError, match="with more added"):
        anmok.evaluate(copy, split="val")


def test_row_33_evaluation_says_that_images_have_changed(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anmok.stages.evaluate import evaluate

    folder = digits_and(tmp_path, digits)
    run = anmok.train(folder, out=tmp_path / "run", **SMALL)
    said = heard(monkeypatch, sys.modules["anmok.stages.evaluate"])
    evaluate(run)
    assert said == []
    changed = run.table.where(split="test").rows["image"][0]
    (folder / changed).write_bytes(bad.encode(bad.photo(), "PNG"))
    evaluate(run)
    assert said == [
        f"the test images are no longer those that the run began with: changed content: 1 image ({changed})"
    ]


def test_rows_50_52_a_model_that_was_touched_is_not_used(run: Run, digits: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "run")
    weights = copy / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    for use in (lambda: predict(copy, digits), lambda: anmok.evaluate(copy, split="val"), lambda: anmok.load(copy),
                lambda: anmok.train(digits, out=tmp_path / "new", weights=str(copy), **SMALL)):  # fmt: skip
        with pytest.raises(DataError, match=r"model\.safetensors does not match its SHA-256") as caught:
            use()
        assert caught.value.code == "tampered"
    (tmp_path / "w.pth").write_bytes(b"\x80\x04.")
    for use in (lambda: predict(tmp_path / "w.pth", digits), lambda: anmok.load(tmp_path / "w.pth"),
                lambda: anmok.train(digits, out=tmp_path / "new", weights=tmp_path / "w.pth", **SMALL)):  # fmt: skip
        with pytest.raises(DataError, match="anmok convert --trust") as caught:
            use()
        assert (caught.value.code, caught.value.exit_code) == ("pickle", 3)
    assert not (tmp_path / "new").exists()


def test_row_54_a_hostile_archive_is_read_in_place(run: Run, tmp_path: Path) -> None:
    good = bad.encode(bad.photo(), "PNG")
    with zipfile.ZipFile(tmp_path / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", good)
        archive.writestr("../../up.png", good)
        archive.writestr("/abs.png", good)
        archive.writestr("a/bomb.bmp", bytes(17 << 20))
    before = {p for p in tmp_path.parent.rglob("*") if "up.png" in p.name or "abs.png" in p.name}
    found = predict(run, tmp_path / "in.zip", sort_into=tmp_path / "sorted")
    assert {i: e.partition(":")[0] for i, e in found.errors.items()} == {
        "../../up.png": "outside-link", "/abs.png": "outside-link", "a/bomb.bmp": "too-large",
    }  # fmt: skip
    assert found.labels[0] in run.model.classes
    assert [p.name for p in (tmp_path / "sorted").rglob("*") if p.is_file()] == ["1.png"]
    assert {p for p in tmp_path.parent.rglob("*") if "up.png" in p.name or "abs.png" in p.name} == before


def test_row_66_one_bad_image_among_good_ones(run: Run, digits: Path, tmp_path: Path) -> None:
    folder = digits_and(tmp_path, digits)
    alone = predict(run, folder)
    table = anmok.open(folder)
    victim = table.rows["id"][40]
    (folder / victim).write_bytes(b"rubbish")
    (folder / table.rows["id"][41]).unlink()
    found = predict(run, table, batch_size=64, sort_into=tmp_path / "sorted")
    assert set(found.errors) == {victim, table.rows["id"][41]}
    rest = [i for i in range(80) if i not in (40, 41)]
    np.testing.assert_allclose(found.probs[rest], alone.probs[rest], atol=1e-6)
    assert len([p for p in (tmp_path / "sorted").rglob("*") if p.is_file()]) == 79


def test_row_67_secrets_of_the_environment_reach_no_file(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "hf_thisIsASecretNobodyMayRead"
    for name in ("HF_TOKEN", "WANDB_API_KEY", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, secret)
    folder = digits_and(tmp_path, digits)
    (tmp_path / "token=abcdef").symlink_to(folder)
    run = anmok.train(tmp_path / "token=abcdef", out=tmp_path / "run", **SMALL)
    assert (run.path / "config.toml").read_text().startswith("# anmok train ")
    assert "abcdef" not in (run.path / "config.toml").read_text()
    for file in run.path.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file


def test_row_68_missing_weights_are_named(digits: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    settings = {**SMALL, "model": "test_resnet", "weights": "pretrained"}
    with pytest.raises(MachineError, match="timm/test_resnet") as caught:
        anmok.train(digits, out=tmp_path / "run", **settings)
    assert caught.value.exit_code == 4
    assert "hf download" in str(caught.value)
    assert not (tmp_path / "run").exists()
