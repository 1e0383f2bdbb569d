"""Selection of pseudo labels by hand and by its promises; tables of two roots as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

import anmok
from anmok.core.errors import DataError, UsageError
from anmok.data.config import SplitConfig
from anmok.data.split import split_table
from anmok.data.table import Table
from anmok.expand.merge import with_pseudo
from anmok.expand.pseudo import Selection, agreement, quotas, read_per_class, select
from anmok.expand.refuse import refusals
from anmok.expand.together import at_one_root, below_folder

HAND = np.array([[0.97, 0.03], [0.99, 0.01], [0.60, 0.40], [0.02, 0.98], [0.96, 0.04], [0.95, 0.05], [np.nan, np.nan]])


def test_selection_by_hand() -> None:
    # Sure of class 0: rows 0, 1, 4, 5; of class 1: row 3. Labelled images are even, so of 5 sure ones a class gets 3.
    found = select([HAND], np.array([7, 7]), confidence=0.95)
    assert found.rows.tolist() == [0, 1, 3, 4]
    assert found.reasons == ["", "", "unsure", "", "", "quota", "unreadable"]
    assert found.quota.tolist() == [3, 3]
    assert found.counts().tolist() == [3, 1]
    assert select([HAND], np.array([1, 1]), confidence=0.95, per_class=1).rows.tolist() == [1, 3]
    assert select([HAND], np.array([1, 1]), confidence=0.95, per_class="none").rows.tolist() == [0, 1, 3, 4, 5]
    # The labelled images say that class 0 is four times as frequent: its quota is 4 of 5, and nothing is lost.
    assert select([HAND], np.array([8, 2]), confidence=0.95).rows.tolist() == [0, 1, 3, 4, 5]


def test_views_must_agree_and_share_the_confidence() -> None:
    other = HAND.copy()
    other[0], other[3] = (0.93, 0.07), (0.9, 0.1)
    found = agreement([HAND, other])
    assert found.confidence[0] == pytest.approx(0.95)
    assert found.agree.tolist() == [True, True, True, False, True, True, False]
    assert select([HAND, other], np.array([1, 1]), confidence=0.94, per_class="none").reasons[3] == "disagree"


probabilities = npst.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(2, 5)), elements=st.floats(0.01, 1))


@settings(max_examples=60)
@given(raw=probabilities, low=st.floats(0.2, 0.9), step=st.floats(0, 0.1), most=st.sampled_from(["auto", "none", 1, 3]),
       data=st.data())  # fmt: skip
def test_its_promises(raw: np.ndarray, low: float, step: float, most: object, data: st.DataObject) -> None:
    probs = raw / raw.sum(1, keepdims=True)
    n, k = probs.shape
    labelled = np.array(data.draw(st.lists(st.integers(0, 9), min_size=k, max_size=k)))
    barred = data.draw(st.sets(st.integers(0, n - 1), max_size=n))
    refused = dict.fromkeys(barred, "bytes")
    found = select([probs], labelled, confidence=low, per_class=most, refused=refused)  # type: ignore[arg-type]
    assert not set(found.rows.tolist()) & barred  # never a refused one
    assert (found.counts() <= found.quota).all()
    assert all((reason == "") == (i in set(found.rows.tolist())) for i, reason in enumerate(found.reasons))
    assert (found.confidence[found.rows] >= low).all()
    for c in range(k):  # the surest of each class
        taken = [found.confidence[i] for i in found.rows if found.labels[i] == c]
        left = [found.confidence[i] for i in range(n) if found.reasons[i] == "quota" and found.labels[i] == c]
        assert not taken or not left or min(taken) >= max(left)
    if most == "auto":
        eligible = sum(reason in ("", "quota") for reason in found.reasons)
        share = labelled / max(1, labelled.sum())
        assert (found.counts() <= np.ceil(share * eligible)).all()
    higher = select([probs], labelled, confidence=low + step, per_class=most, refused=refused)  # type: ignore[arg-type]
    assert (higher.counts() <= found.counts()).all()  # surer never means more


def test_quotas_and_their_words() -> None:
    assert quotas(np.array([10, 0, 2]), np.array([1, 1, 2]), "auto").tolist() == [3, 3, 6]
    assert quotas(np.array([10, 0, 2]), np.array([0, 1, 1]), "auto").tolist() == [0, 6, 6]
    assert [read_per_class(v) for v in ("auto", "none", "12", 5)] == ["auto", "none", 12, 5]
    for wrong in ("0", "-1", "many", 0):
        with pytest.raises(UsageError, match="per-class"):
            read_per_class(wrong)


def pictures(folder: Path, names: list[str], seed: int) -> Path:
    """Noise pictures, 16 pixels."""
    rng = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    return folder


@pytest.fixture
def labelled(tmp_path: Path) -> Table:
    """Two classes of ten pictures, split."""
    pictures(tmp_path / "a" / "set", [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(10)], 1)
    return split_table(anmok.open(tmp_path / "a" / "set"), SplitConfig(test=0.2, val=0.2))


def selection(n: int, rows: list[int], labels: list[int]) -> Selection:
    every, sure = np.full(n, 0), np.full(n, 0.5)
    every[rows], sure[rows] = labels, 0.97
    return Selection(np.array(rows), ["" if i in rows else "unsure" for i in range(n)], every, sure, np.array([9, 9]))


def test_refusals_by_id_bytes_and_copies(labelled: Table, tmp_path: Path) -> None:
    val, test, train = (labelled.where(split).rows["id"][0] for split in ("val", "test", "train"))
    rest = pictures(tmp_path / "rest", ["new.png", val], 2)  # another picture under a validation image's name
    root = Path(labelled.root)
    (rest / "other.png").write_bytes((root / test).read_bytes())
    (rest / "known.png").write_bytes((root / train).read_bytes())
    (rest / "twin.png").write_bytes((rest / "new.png").read_bytes())
    table = anmok.open(rest, **{"data.allow_unlabelled": True})
    found = refusals(labelled, table)
    assert found == {val: "id", "other.png": "bytes", "known.png": "labelled", "twin.png": "copy"}
    assert refusals(labelled, table, {"new.png"})["new.png"] == "near"


def test_the_new_version_of_the_table(labelled: Table, tmp_path: Path) -> None:
    rest = anmok.open(pictures(tmp_path / "b" / "rest", ["x.png", "y.png", "z.png"], 3))
    made = with_pseudo(labelled, rest, selection(3, [0, 2], [1, 0]), "f" * 64)
    assert made.parents[-2:] == (labelled.fingerprint, rest.hashed().fingerprint)
    new = made.rows.filter(pl.col("pseudo"))
    assert new["id"].to_list() == ["x.png", "z.png"]
    assert new["label"].to_list() == ["dog", "cat"]
    assert set(new["split"]) == {"train"}
    assert new["pseudo_confidence"].to_list() == [0.97, 0.97]
    assert set(new["pseudo_model"]) == {"f" * 64}
    old = made.rows.filter(~pl.col("pseudo"))
    assert old.select("id", "label", "split").equals(labelled.rows.select("id", "label", "split"))
    assert old["pseudo_confidence"].null_count() == len(labelled)
    # Its images lie under two roots; every one is read, and after saving too.
    again = Table.load(made.save(tmp_path / "table2.parquet"))
    assert again.fingerprint == made.fingerprint
    wiped = again.rows.with_columns(pl.lit(None, pl.String).alias("hash"))
    assert again._with(rows=wiped).fingerprint == made.fingerprint
    assert anmok.open(tmp_path / "table2.parquet").fingerprint == made.fingerprint
    assert made.hashed().rows["hash"].null_count() == 0


def test_pseudo_rows_never_judge(labelled: Table, tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(30)]
    rest = anmok.open(pictures(tmp_path / "b" / "rest", names, 3))
    made = with_pseudo(labelled, rest, selection(30, list(range(30)), [0, 1] * 15), "f" * 64)
    for config in (SplitConfig(), SplitConfig(given="ignore"), SplitConfig(given="ignore", folds=3)):
        rows = split_table(made, config).rows
        assert set(rows.filter(pl.col("pseudo"))["split"]) == {"train"}
        assert {"train", "val"} <= set(rows.filter(~pl.col("pseudo"))["split"])


def test_labelled_again_takes_the_place_of_earlier_pseudo_labels(labelled: Table, tmp_path: Path) -> None:
    rest = anmok.open(pictures(tmp_path / "b" / "rest", ["x.png", "y.png"], 3))
    other = anmok.open(pictures(tmp_path / "b" / "more", ["x.png"], 4))
    first = with_pseudo(labelled, rest, selection(2, [0, 1], [1, 1]), "1" * 64)
    second = with_pseudo(first, rest, selection(2, [0], [0]), "2" * 64)
    assert second.rows.filter(pl.col("pseudo")).select("id", "label", "pseudo_model").rows() == [
        ("x.png", "cat", "2" * 64)
    ]
    third = with_pseudo(second, other, selection(1, [0], [1]), "3" * 64)
    assert third.rows.filter(pl.col("pseudo"))["id"].to_list() == ["x.png", "pseudo/x.png"]
    third.fingerprint  # noqa: B018 - every image of three folders is read


def test_a_leak_cannot_be_merged_whoever_selected_it(labelled: Table, tmp_path: Path) -> None:
    rest = pictures(tmp_path / "rest", ["new.png"], 2)
    (rest / "a.png").write_bytes((Path(labelled.root) / labelled.where("test").rows["id"][0]).read_bytes())
    with pytest.raises(DataError, match=r"a\.png"):
        with_pseudo(labelled, anmok.open(rest), selection(2, [0], [0]), "f" * 64)


def test_references_from_higher_up() -> None:
    assert below_folder("cat/1.png", "a/b") == "a/b/cat/1.png"
    assert below_folder("bytes:%FF.png", "a") == "bytes:a/%FF.png"
    assert below_folder("zip:x%23.zip#in/1.png", "a#b") == "zip:a%23b/x%23.zip#in/1.png"
    assert below_folder("parquet:t.parquet#5#img", "a") == "parquet:a/t.parquet#5#img"


def test_one_root(labelled: Table, tmp_path: Path) -> None:
    rest = anmok.open(pictures(tmp_path / "a" / "rest", ["x.png"], 3))
    first, second = at_one_root(labelled, rest)
    assert Path(first.root) == Path(second.root) == (tmp_path / "a").resolve()
    assert first.storage.read(first.rows["image"][0]) == labelled.storage.read(labelled.rows["image"][0])
    assert second.rows["image"].to_list() == ["rest/x.png"]
    assert at_one_root(labelled, labelled) == (labelled, labelled)
