"""What the command line says to a beginner's mistakes: one line, an exit code, what to do next; never a traceback."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from anmok.cli import main
from anmok.data.table import Table


def png(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (5, 5), (number % 256, number // 256, 7)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pictures/{cat,dog}/0…7.png, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for number in range(16):
        path = tmp_path / "pictures" / ("cat", "dog")[number % 2] / f"{number // 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    return tmp_path / "pictures"


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert isinstance(caught.value.code, int)
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return caught.value.code, text


VERBS = [["train"], ["split", "--out", "t.parquet"], ["audit"]]


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v[0])
def test_a_wrong_data_path_says_what_is_near_and_what_is_accepted(
    verb: list[str], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = fail(capsys, verb[0], "picturs", *verb[1:])
    assert code == 2
    assert text.startswith("error [source] picturs: no such file or folder. Did you mean pictures? Accepted: a folder")
    for form in ("class folders", "CSV", "metadata.csv", "Parquet", "WebDataset tar", "zip", "one image", "table"):
        assert form in text
    assert len(text.splitlines()) == 1
    assert [p.name for p in pictures.parent.iterdir() if p.name != "runs"] == ["pictures"]


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v[0])
def test_a_file_of_no_form_and_a_folder_without_images(
    verb: list[str], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("notes.txt").write_text("no data")
    code, text = fail(capsys, verb[0], "notes.txt", *verb[1:])
    assert (code, "Accepted: a folder of class folders" in text) == (2, True)
    Path("empty").mkdir()
    code, text = fail(capsys, verb[0], "empty", *verb[1:])
    assert (code, "no images found. Accepted:" in text) == (3, True)


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v[0])
def test_a_path_too_long_for_the_system(verb: list[str], pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = fail(capsys, verb[0], "x" * 300, *verb[1:])
    assert (code, "name too long (errno" in text) == (3, True)


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v[0])
def test_row_16_an_empty_class_folder(verb: list[str], pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures / "bird").mkdir()
    code, text = fail(capsys, verb[0], "pictures", *verb[1:])
    assert code == 3
    assert "1 class folder (bird) without any image" in text
    assert "--data.drop-empty" in text


def test_row_16_left_out_where_asked(pictures: Path) -> None:
    (pictures / "bird").mkdir()
    main(["split", "pictures", "--out", "t.parquet", "--drop-empty"])
    assert Table.load("t.parquet").classes == ("cat", "dog")


def test_row_24_names_that_are_one_in_nfc(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("NFC", "NFD"):
        (pictures / "cat" / (unicodedata.normalize(form, "가") + ".png")).write_bytes(png(99))
    for verb in VERBS:
        code, text = fail(capsys, verb[0], "pictures", *verb[1:])
        assert (code, "[name-collision]" in text) == (3, True)


def test_rows_27_29_a_list_as_a_spreadsheet_writes_it(pictures: Path) -> None:
    rows = ["image;label;camera;비고", *(f"cat\\{n}.png;고양이;A{n};x" for n in range(8)), "dog\\0.png;개;;"]
    (pictures / "list.csv").write_bytes("\r\n".join(rows).encode("cp949"))
    main(["split", "pictures/list.csv", "--out", "t.parquet"])
    table = Table.load("t.parquet")
    assert table.classes == ("개", "고양이")
    assert any("cp949, delimiter ';', line ends CRLF" in note for note in table.notes)
    assert table.rows.sort("id")["camera"].to_list() == [*(f"A{n}" for n in range(8)), ""]
    assert "비고" in table.rows.columns


def test_row_27_what_was_found_can_be_overruled(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "image~label\ncat/0.png~caf\xe9\ndog/0.png~tea\n"
    (pictures / "list.csv").write_bytes(text.encode("latin-1"))
    code, said = fail(capsys, "split", "pictures/list.csv", "--out", "t.parquet")
    assert (code, "not utf-8 nor cp949. Name the encoding with --data.encoding" in said) == (3, True)
    code, said = fail(capsys, "split", "pictures/list.csv", "--out", "t.parquet", "--data.encoding", "latin-1")
    assert (code, "no image column; found 'image~label'" in said) == (3, True)
    options = ["--data.delimiter", "~", "--data.encoding", "latin-1"]
    main(["split", "pictures/list.csv", "--out", "t.parquet", *options])
    assert Table.load("t.parquet").classes == ("café", "tea")


@pytest.mark.parametrize(
    ("rows", "code", "message"),
    [
        (["cat/0.png,cat", "cat/0.png,dog"], "conflicting-rows", "'cat/0.png' is "),
        (["cat/0.png,cat", "cat/1.png, cat"], "label", "the nearest is 'cat'"),
        (["cat/0.png,cat", "cat/1.png,"], "label", "1 image (cat/1.png) with a blank label"),
        (["cat/0.png,cat", "dog/99.png,dog"], "missing-images", "1 image (dog/99.png) of 2 not found"),
        (["cat/0.png,cat", "../up.png,dog"], "outside-link", "lead outside"),
        (["cat/0.png,cat", "dog/0.png"], "list", "line 3 has 1 fields"),
    ],
)
def test_rows_22_28_30_31_of_a_list(
    pictures: Path, capsys: pytest.CaptureFixture[str], rows: list[str], code: str, message: str
) -> None:
    (pictures / "list.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    looks = "blank label" in message  # which an audit does not refuse, but finds
    for verb in VERBS[:-1] if looks else VERBS:
        number, text = fail(capsys, verb[0], "pictures/list.csv", *verb[1:])
        assert number == 3
        assert f"error [{code}]" in text
        assert message in text
    assert not Path("t.parquet").exists()


def test_row_31_an_audit_finds_blank_labels(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures / "list.csv").write_text("image,label\ncat/0.png,cat\ncat/1.png,\n")
    main(["audit", "pictures/list.csv", "--out", "found"])
    assert "unlabelled           1" in capsys.readouterr().out
    code, text = fail(capsys, "audit", "pictures/list.csv", "--data.no-allow-unlabelled")
    assert (code, "blank label" in text) == (3, True)


def test_row_31_nothing_is_merged_but_on_request(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = fail(capsys, "split", "pictures", "--out", "t.parquet", "--labels.merge", "cta+dog=pet")
    assert (code, "no label 'cta'. Did you mean cat?" in text) == (2, True)
    main(["split", "pictures", "--out", "t.parquet", "--labels.merge", "cat=pet"])
    assert Table.load("t.parquet").classes == ("dog", "pet")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["split", "pictures", "--out", "t.csv"], 2, "expected a .parquet file"),
        (["split", "pictures", "--out", "pictures"], 2, "exists already"),
        (["split", "pictures", "--out", "pictures/cat/0.png/t.parquet"], 4, "cannot be made"),
        (["split", "pictures", "--out", f"{'x' * 300}.parquet"], 2, "name too long"),
        (["split", "pictures", "--out", "t.parquet", "--test", "15"], 2, "less than 1, found 15"),
        (["split", "pictures", "--out", "t.parquet", "--test", "0.6", "--val", "0.5"], 2, "below 1"),
        (["split", "pictures", "--out", "t.parquet", "--seeds", "1"], 2, "--seed"),
        (["split", "pictures", "--out", "t.parquet", "--split", "strickt"], 2, "Did you mean strict?"),
        (["split", "pictures", "--out", "t.parquet", "--data.tsak", "binary"], 2, "--data.task"),
        (["split", "pictures", "--out", "t.parquet", "--data.label-column", "x", "--data.task", "bin"], 2, "binary"),
        (["train", "pictures", "--epochs", "many"], 2, "found 'many'"),
        (["train", "pictures", "--image-size", "2"], 2, "greater than or equal to 4, found '2'"),
        (["train", "pictures", "--threads", "-1"], 2, "runtime.threads"),
        (["train", "pictures", "--cache", "tape"], 2, "found 'tape'."),
        (["train", "pictures", "--optim.name", "sdg"], 2, "Did you mean sgd?"),
        (["train", "pictures", "--model", "resnt18"], 2, "Did you mean resnet18"),
        (["train", "pictures", "--model", "lenett"], 2, "Did you mean lenet"),
        (["train", "pictures", "--weights", "none.safetensors"], 2, "no weights here"),
        (["train", "--resume", "picturs"], 2, "no run here"),
        (["train", "--resume", "runs/x", "--epochs", "3"], 2, "no settings"),
        (["evaluate", "picturs"], 2, "Did you mean pictures?"),
        (["evaluate", "pictures", "--split", "tset"], 2, "Did you mean test?"),
        (["evaluate", "none.parquet"], 3, "no such file"),
        (["predict", "picturs", "pictures"], 2, "Did you mean pictures?"),
        (["predict", "pictures", "pictures"], 2, "no model here"),
        (["predict", "pictures", "pictures", "--out", "p.xlsx"], 2, ".csv or .parquet"),
        (["predict", "pictures", "pictures", "--top-k", "three"], 2, "three"),
        (["predict", "pictures", "pictures", "--device", "gpu"], 2, "no such device: gpu"),
    ],
    ids=lambda v: " ".join(v)[:60] if isinstance(v, list) else "",
)
def test_a_wrong_call_is_explained(
    arguments: list[str], code: int, message: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, text = fail(capsys, *arguments)
    assert found == code
    assert message in text
    assert len(text.strip().splitlines()) == 1
    assert not list(Path("runs").glob("*"))


def test_a_wrong_choice_of_a_list_names_them_once(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, text = fail(capsys, "train", "pictures", "--cache", "tape")
    assert text.count("ram") == 1


def test_rows_45_46_a_folder_that_another_process_holds(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path("runs/held")
    run.mkdir(parents=True)
    (run / "config.toml").write_text("")
    (run / ".lock").write_text('{"pid": 77, "host": "elsewhere", "boot": "x", "released": false}')
    for arguments in (["--resume", str(run)], ["pictures", "--out", str(run)]):
        code, text = fail(capsys, "train", *arguments)
        assert code == 4
        assert "another run holds this folder (pid 77 on host elsewhere)" in text
        assert ".lock" in text


def test_row_17_a_class_of_one_image_is_said_by_split(pictures: Path) -> None:
    for file in sorted((pictures / "dog").iterdir())[1:]:
        file.unlink()
    main(["split", "pictures", "--out", "t.parquet"])
    table = Table.load("t.parquet")
    assert table.rows.filter(pl.col("label") == "dog")["split"].to_list() == ["train"]
    assert any("1 class (dog) with one image: it stays in train" in note for note in table.notes)


def test_a_table_from_elsewhere_is_judged_by_every_verb(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["split", "pictures", "--out", "t.parquet"])
    pictures.rename(pictures.parent / "moved")
    for verb in (["train"], ["split", "--out", "new.parquet"], ["audit"]):
        code, text = fail(capsys, verb[0], "t.parquet", *verb[1:])
        assert code == 3
        assert f"its images lie in {pictures}, which is not there" in text
        assert "--data.image-root" in text
    main(["split", "t.parquet", "--image-root", "moved", "--out", "new.parquet"])
    assert Table.load("new.parquet").root.resolve() == (pictures.parent / "moved").resolve()
