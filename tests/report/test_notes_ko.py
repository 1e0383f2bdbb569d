"""Notes of the data in Korean: everything that the data's rooms say has its words, and no name is lost."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from parsed import Page
from PIL import Image

import anmok
from anmok.report import words, words_ko
from anmok.report.content import ReportContent
from anmok.report.notes_ko import REASONS, note
from anmok.report.page import render
from anmok.stages.evaluate import evaluate
from anmok.stages.split import split

SOURCE = Path(anmok.__file__).parent
HANGUL = re.compile(r"[가-힣]")


def sample(node: ast.expr) -> str | None:
    """What a literal or an f-string could say; None where it says nothing by itself."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = sample(node.left), sample(node.right)
        return None if left is None else left + (right if right is not None else "a → b")
    if not isinstance(node, ast.JoinedStr):
        return None
    out = ""
    for part in node.values:
        out += str(part.value) if isinstance(part, ast.Constant) else _value(part)  # type: ignore[arg-type]
    return out


def _value(part: ast.FormattedValue) -> str:
    call = part.value
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ("named", "_pairs"):
        (what,) = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        return f"2 {what}{'es' if what.endswith('s') else 's'} (a, b)"
    form = ast.unparse(part.format_spec) if part.format_spec else ""
    if "%" in form:
        return "10.0%"
    return "3" if "," in form or "config.fold" in ast.unparse(call) else "x"


def said_by_the_data() -> Iterator[tuple[str, str]]:
    """(place, note) of every text that is put into a list of notes, or is the note of a new version."""
    for path in sorted((SOURCE / "data").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found: list[ast.expr] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr == "append" and ast.unparse(node.func.value) == "notes":
                    found = node.args
                elif node.func.attr == "with_rows":
                    found = node.args[1:]
            elif isinstance(node, ast.AugAssign | ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.List):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                found = node.value.elts if ast.unparse(target) == "notes" else []
            for one in found:
                if text := sample(one):
                    yield f"{path.name}:{one.lineno}", text.removeprefix("warning: ")


SAID = list(said_by_the_data())


def test_there_are_notes() -> None:
    assert len(SAID) > 30


@pytest.mark.parametrize(("place", "text"), SAID, ids=[place for place, _ in SAID])
def test_every_note_of_the_data_has_korean_words(place: str, text: str) -> None:
    if not re.search(r"[a-wyz]", text):  # put together of what is said elsewhere
        return
    found = note(text)
    assert HANGUL.search(found), (place, text)
    for part in re.findall(r"\(a, b\)|\bx\b|10\.0%|a → b", text):
        assert part in found, (place, text, found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3 classes (a, b, c) without images", "이미지가 없는 클래스 3개(a, b, c)가 있습니다."),
        ("1 class (images) without a training image", "학습 이미지가 없는 클래스 1개(images)가 있습니다."),
        ("columns: image = path, label = tag", "사용한 열: image = path, label = tag"),
        ("skipped: 2 paths (a, b): not a regular file", "skipped: 경로 2개(a, b): 일반 파일이 아님"),
        ("audit: nothing to change", "점검: 바꿀 것이 없었습니다."),
        ("audit: 1 image (a) relabelled; 2 images (b, c) dropped: dark 2",
         "점검: 이미지 1장(a)의 레이블을 고쳤습니다; 이미지 2장(b, c)을 뺐습니다: dark 2"),
        ("list.csv: cp949, delimiter ';', line ends CRLF", "list.csv: 인코딩 cp949, 구분자 ';', 줄 끝 CRLF"),
        ("2 images (a, b) of 1,200 not found below /d: left out",
         "/d 아래에서 전체 1,200장 가운데 이미지 2장(a, b)을 찾을 수 없어 뺐습니다."),
        ("3 generated images of a model (x), in train", "a model (x)로 생성한 이미지 3장을 학습에 더했습니다."),
        ("1 image ({0}: broken) without a caption left out", "설명이 없는 이미지 1장({0}: broken)을 뺐습니다."),
        ("a note that nobody knows", "a note that nobody knows"),
    ],
)  # fmt: skip
def test_what_notes_say(text: str, said: str) -> None:
    assert note(text) == said
    assert words_ko.note(text) == said
    assert words.note(text) == text


def test_reasons_are_those_of_the_sources() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (SOURCE / "data").glob("*.py"))
    assert [reason for reason in REASONS if reason not in source] == []


def test_falling_back_is_said() -> None:
    from anmok.stages.hierarchy_scores import fall_back_text

    always = {"share": {"value": 0.0}, "below": 0.5, "fine_right": {"value": 1.0}, "parent_right": {"value": None}}
    some = {"share": {"value": 0.25}, "below": 0.6, "fine_right": {"value": 0.9}, "parent_right": {"value": 0.8}}
    assert "항상 클래스로" in note(fall_back_text(always)[0])
    found = note(fall_back_text(some)[0])
    assert all(part in found for part in ("60%", "25.0%", "80.0%", "90.0%"))
    assert not re.search(r"[a-z]", note(fall_back_text({**some, "fine_right": {"value": None}})[0]))


def test_a_korean_page_says_them_in_korean(tmp_path: Path) -> None:
    for i in range(12):
        path = tmp_path / "set" / "wrapped" / ("calm", "thief")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * i).save(path)
    (tmp_path / "set" / "wrapped" / "labels.csv").write_text("x\n")
    table = split(tmp_path / "set")
    assert len(table.notes) >= 3  # the wrapping folder, the list beside it, the split
    pl.DataFrame({"id": [1, 2], "target": ["a", "b"], "p_a": [0.9, 0.2], "p_b": [0.1, 0.8]}).write_csv(
        tmp_path / "p.csv"
    )
    evaluation = evaluate(tmp_path / "p.csv")
    content = ReportContent(
        title="t", evaluation=evaluation, language="ko", notes=table.notes, warnings=["2 classes (a, b) without images"]
    )
    page = Page(render(content)).seen
    assert "이미지가 없는 클래스 2개(a, b)가 있습니다." in page
    assert "분할: " in page
    for text in table.notes:
        assert HANGUL.search(note(text)), text
        assert text not in page
