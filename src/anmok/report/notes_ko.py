"""데이터 설명: what was done to the data and said of it, in Korean.

Notes come in English with the table that holds them.  A note is recognised by its form; names, numbers and file names
go over as they are.
"""

from __future__ import annotations

import re

# What is counted, with its counter.
UNITS = {
    "image": "이미지 {}장", "class": "클래스 {}개", "class folder": "클래스 폴더 {}개",
    "empty class folder": "빈 클래스 폴더 {}개",
    "list": "목록 {}개", "identical file pair": "내용이 같은 파일 {}쌍", "pair": "{}쌍", "group": "그룹 {}개",
    "name": "이름 {}개", "odd name": "특이한 이름 {}개", "column": "열 {}개", "row": "행 {}개", "sample": "샘플 {}개",
    "path": "경로 {}개", "file": "파일 {}개",
}  # fmt: skip
COUNTED = re.compile(rf"([\d,]+) ({'|'.join(UNITS)})(?:es|s)? \((.*)\)", re.DOTALL)

# Why a path was left out.
REASONS = {
    "beside the class folders, not in one (--data.allow-unlabelled takes it without a label)":
        "클래스 폴더 밖에 있음(--data.allow-unlabelled를 쓰면 레이블 없이 포함)",
    "named in the list, but not there": "목록에 있으나 파일이 없음",
    "a link or device in an archive": "압축 파일 안의 링크나 장치",
    "the archive ends before it does": "압축 파일이 중간에 끊김",
    "encrypted": "암호화됨",
    "a member whose path leads outside the archive": "경로가 압축 파일 밖을 가리킴",
    "the row holds no image": "행에 이미지가 없음",
    "a link to a folder that was entered already": "이미 읽은 폴더를 가리키는 링크",
    "not a regular file": "일반 파일이 아님",
    "a link that leads outside the root (--data.allow-links follows it)":
        "최상위 폴더 밖을 가리키는 링크(--data.allow-links를 쓰면 따라감)",
}  # fmt: skip

AUDIT, NOTHING = "audit: ", "audit: nothing to change"

# The form of a note, whole, and how it is said; a part that counts and names is itself put into Korean.
FORMS = tuple((re.compile(form, re.DOTALL), said) for form, said in (
    # 어떻게 읽었는가
    (r"columns: (.+)", "사용한 열: {0}"),
    (r"no label column: unlabelled", "레이블 열이 없어 레이블 없이 읽었습니다."),
    (r"columns renamed, as their names are ours: (.+)", "예약된 이름과 겹쳐 이름을 바꾼 열: {0}"),
    (r"columns renamed: (.+)", "이름을 바꾼 열: {0}"),
    (r"label columns found: (.+)", "자동으로 찾은 레이블 열: {0}"),
    (r"label columns: (.+)", "레이블 열: {0}"),
    (r"every image has exactly one of them: one label per image \(--task multilabel keeps them apart\)",
     "모든 이미지에 정확히 하나씩 있어 이미지마다 레이블 하나로 읽었습니다(--task multilabel을 쓰면 따로 둡니다)."),
    (r"all images lie in (.+): the folders in it are the classes",
     "모든 이미지가 {0} 안에 있습니다. 그 안의 폴더가 클래스입니다."),
    (r"a flat folder: no labels", "하위 폴더가 없어 레이블이 없습니다."),
    (r"one image, no label", "이미지 한 장, 레이블 없음."),
    (r"([\d,]+) images lie deeper than their class folder; the uppermost folder is the label",
     "이미지 {0}장이 클래스 폴더보다 깊은 곳에 있습니다. 가장 위 폴더를 레이블로 썼습니다."),
    (r"labels come from the folders; (.+) not used \(open it to use it\)",
     "레이블은 폴더에서 왔습니다. {0}는 쓰지 않았습니다(쓰려면 그 파일을 여십시오)."),
    (r"labels from (.+)", "레이블 출처: {0}"),
    (r"names in the archive read as (.+)", "압축 파일 안의 이름을 {0}로 읽었습니다."),
    (r"(.+): (\S+), delimiter (.+), line ends (\w+)", "{0}: 인코딩 {1}, 구분자 {2}, 줄 끝 {3}"),
    (r"([\d,]+) repeated rows merged", "반복된 행 {0}개를 합쳤습니다."),
    (r"([\d,]+) rows are ([\d,]+) images, some with several captions",
     "행 {0}개는 이미지 {1}장이며, 일부는 설명이 여러 개입니다."),
    (r"([\d,]+) labels of images are unknown: they count neither in training nor in scores",
     "알 수 없는 레이블이 {0}개 있습니다. 학습에도 점수에도 세지 않습니다."),
    (r"([\d,]+) of ([\d,]+) images have no label", "이미지 {1}장 가운데 {0}장에 레이블이 없습니다."),
    (r"labels merged: (.+)", "합친 레이블: {0}"),
    (r"labels dropped: (.+) \(([\d,]+) images left out\)", "뺀 레이블: {0} (이미지 {1}장 제외)"),
    (r"labels set anew", "레이블을 새로 정했습니다."),
    (r"labels ignored", "레이블을 쓰지 않았습니다."),
    # 남기지 않은 것
    (r"([\d,]+) generated rows left out: the images they began with are in validation or test",
     "생성한 행 {0}개를 뺐습니다. 그 바탕이 된 이미지가 검증이나 테스트에 있습니다."),
    (r"(.+ \(.*\)) of ([\d,]+) not found below (.+): left out",
     "{2} 아래에서 전체 {1}장 가운데 {0}을 찾을 수 없어 뺐습니다."),
    (r"(.+ \(.*\)) without an image left out", "이미지가 없는 {0}를 뺐습니다."),
    (r"(.+ \(.*\)) without a caption left out", "설명이 없는 {0}을 뺐습니다."),
    (r"(.+ \(.*\)) of bytes not kept", "바이트가 든 {0}를 남기지 않았습니다."),
    (r"(.+empty class folders? \(.*\)) left out", "{0}를 뺐습니다."),
    (r"([\d,]+) label files without an image passed over", "이미지가 없는 레이블 파일 {0}개를 건너뛰었습니다."),
    (r"([\d,]+) hidden or system files passed over", "숨김 파일과 시스템 파일 {0}개를 건너뛰었습니다."),
    (r"(.+ \(.*\)): no images", "{0}: 이미지가 아닙니다."),
    (r"(.+ \(.*\)) with several images: the first by name is taken",
     "{0}에 이미지가 여러 장입니다. 이름순 첫 장을 썼습니다."),
    (r"(.+ \(.*\)) that differ by case only", "대소문자만 다른 {0}가 있습니다."),
    (r"(.+ \(.*\)) kept as they are", "{0}를 그대로 두었습니다."),
    (r"labels that differ by case only stay apart: (.+)", "대소문자만 다른 레이블은 서로 다른 레이블로 둡니다: {0}"),
    (r"(.+ \(.*\)) without images", "이미지가 없는 {0}가 있습니다."),
    (r"only one label \((.+)\): nothing to tell apart", "레이블이 하나({0})뿐이라 구별할 것이 없습니다."),
    # 나누기
    (r"split by folder: (.+)", "폴더로 나눔: {0}"),
    (r"split by file: (.+)", "파일로 나눔: {0}"),
    (r"split by the folder in file_name", "file_name의 폴더로 나눔"),
    (r"no split taken from file names: (.+) without one",
     "파일 이름에서 분할을 읽지 않았습니다. {0}에 분할 이름이 없습니다."),
    (r"split: (.+)", "분할: {0}"),
    (r"the source gives a train split alone: val and test are drawn from it",
     "원본에 학습 데이터만 있어 검증과 테스트를 거기서 뽑았습니다."),
    (r"([\d,]+) rows with a blank split are left out", "분할이 비어 있는 행 {0}개를 뺐습니다."),
    (r"(.+) on two sides of the given split", "주어진 분할의 양쪽에 걸쳐 있습니다: {0}"),
    (r"([\d,]+) training rows left out, as the same image has another label: (.+)",
     "같은 이미지에 다른 레이블이 있어 학습 행 {0}개를 뺐습니다: {1}"),
    (r"([\d,]+) rows left out, as the same image has two labels: (.+)",
     "같은 이미지에 레이블이 둘이어서 행 {0}개를 뺐습니다: {1}"),
    (r"val carved from train: (.+) of it", "학습 데이터의 {0}를 떼어 검증 데이터로 썼습니다."),
    (r"no test split is given, and none is taken from train",
     "테스트 데이터가 주어지지 않았고, 학습 데이터에서 떼지도 않았습니다."),
    (r"fold (\d+) of (\d+) validates", "{1}개 폴드 가운데 {0}번이 검증 데이터입니다."),
    (r"members of the ensemble have trained on every fold", "앙상블 구성원들이 모든 폴드를 학습에 썼습니다."),
    (r"(.+ \(.*\)) with one image: it stays in train, no score is possible",
     "이미지가 한 장뿐인 {0}: 학습에 두었고 점수를 낼 수 없습니다."),
    (r"(.+ \(.*\)) without a training image", "학습 이미지가 없는 {0}가 있습니다."),
    (r"no images in (.+)", "이미지가 없는 분할: {0}"),
    # 더하고 뺀 것
    (r"([\d,]+) rows dropped: (.+)", "행 {0}개를 뺐습니다: {1}"),
    (r"([\d,]+) pseudo labels of model (\w+), in train", "모델 {1}의 의사 레이블 {0}개를 학습에 더했습니다."),
    (r"([\d,]+) generated images of (.+), in train", "{1}로 생성한 이미지 {0}장을 학습에 더했습니다."),
    (NOTHING, "점검: 바꿀 것이 없었습니다."),
    (r"(.+ \(.*\)) relabelled", "{0}의 레이블을 고쳤습니다"),
    (r"([\d,]+) images in ([\d,]+) duplicate groups, which no split drawn from here parts",
     "중복 그룹 {1}개(이미지 {0}장)는 여기서 나누는 어떤 분할에서도 갈라지지 않습니다"),
    (r"(.+ \(.*\)) dropped: (.+)", "{0}을 뺐습니다: {1}"),
    # 계층
    (r"The class is always answered: falling back to its parent would cost more than it saves\.",
     "항상 클래스로 답합니다. 상위 클래스로 물러나면 얻는 것보다 잃는 것이 많습니다."),
    (r"Where a class has less than (\S+) its parent is answered: for (\S+) of the images, of which (\S+) are right"
     r"(?:\.|; of the classes answered, (\S+) are right\.)",
     "클래스의 확률이 {0}보다 낮으면 상위 클래스로 답합니다. 이미지의 {1}가 그렇고, 그 가운데 {2}가 맞습니다."),
))  # fmt: skip
RIGHT = " 클래스로 답한 이미지 가운데 맞은 비율은 {0}입니다."
LEFT_OUT = re.compile(r"([a-z-]+): ([\d,]+ paths? \(.*\)): (.+)", re.DOTALL)


def note(text: str) -> str:
    """A note on the data; as it came where its form is not known."""
    if text.startswith(AUDIT) and text != NOTHING:
        return "점검: " + "; ".join(note(part) for part in text.removeprefix(AUDIT).split("; "))
    for form, said in FORMS:
        if found := form.fullmatch(text):
            parts = [_part(part or "") for part in found.groups()]
            more = RIGHT.format(parts[3]) if len(parts) > 3 and parts[3] and text.startswith("Where") else ""
            return said.format(*parts) + more
    if found := LEFT_OUT.fullmatch(text):
        kind, paths, reason = found.groups()
        return f"{kind}: {_part(paths)}: {REASONS.get(reason, reason)}"
    return _part(text)


def _part(text: str) -> str:
    """'3 classes (a, b, c)' as '클래스 3개(a, b, c)'; anything else as it is."""
    found = COUNTED.fullmatch(text)
    if found is None or found[2] not in UNITS:
        return text
    return f"{UNITS[found[2]].format(found[1])}({found[3]})"
