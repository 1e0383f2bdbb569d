from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scenes import encoded, scene
from sklearn.metrics.pairwise import cosine_similarity

from anmok.audit.config import AuditConfig
from anmok.audit.neighbours import embeddings_of, neighbours
from anmok.audit.result import audit
from anmok.core.errors import DataError, MachineError
from anmok.data.table import Table


def embeddings() -> np.ndarray:
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(200, 24))
    return np.concatenate([spread, 3 * spread[:20] + 0.3 * rng.normal(size=(20, 24))]).astype(np.float32)


def test_pairs_and_similarities_are_those_of_scikit_learn() -> None:
    pytest.importorskip("usearch")
    vectors = embeddings()
    first, second, near = neighbours(vectors, 0.8, threads=1)
    wanted = cosine_similarity(vectors)
    rows, columns = np.nonzero(np.triu(wanted >= 0.8, 1))
    assert (first.tolist(), second.tolist()) == (rows.tolist(), columns.tolist())
    assert len(first) >= 20
    np.testing.assert_allclose(near, wanted[first, second], atol=1e-5)


def test_the_graph_for_many_finds_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    vectors = embeddings()
    exact = set(zip(*(c.tolist() for c in neighbours(vectors, 0.8, 1)[:2]), strict=True))
    monkeypatch.setattr("anmok.audit.neighbours._EXACT", 0)
    graph = set(zip(*(c.tolist() for c in neighbours(vectors, 0.8, 1)[:2]), strict=True))
    assert len(graph & exact) >= 0.95 * len(exact)
    assert graph <= exact


def test_rows_without_an_embedding_have_no_neighbours() -> None:
    pytest.importorskip("usearch")
    vectors = np.array([[1, 0], [np.nan, 0], [0, 0], [2, 0.1], [np.inf, 1]], np.float32)
    first, second, _ = neighbours(vectors, 0.9, threads=1)
    assert (first.tolist(), second.tolist()) == ([0], [3])
    assert neighbours(vectors[1:2], 0.9, threads=1)[0].size == 0


def test_the_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "usearch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "usearch", None)
    with pytest.raises((MachineError, ModuleNotFoundError), match=r"usearch"):
        neighbours(embeddings(), 0.9, threads=1)


def with_column(root: Path, values: list[object], dtype: pl.DataType | None = None) -> Table:
    ids = [f"{i}.png" for i in range(len(values))]
    rows = {"id": ids, "image": ids, "label": ["a"] * len(ids)} | dict.fromkeys(("split", "group", "hash"))
    return Table(pl.DataFrame(rows).with_columns(pl.Series("embedding", values, dtype=dtype)), root, ("a",))


def test_the_column_of_a_table_in_the_order_of_the_images(tmp_path: Path) -> None:
    table = with_column(tmp_path, [[1, 2], None, [5, 6]])
    images = table.rows.select("id").reverse()
    np.testing.assert_array_equal(embeddings_of(table, images, "embedding"), [[5, 6], [np.nan, np.nan], [1, 2]])
    assert embeddings_of(table, images, "features") is None


@pytest.mark.parametrize("values", [[[1.0, 2.0], [3.0]], ["a", "b"], [["x"], ["y"]], [None, None]])
def test_a_column_of_anything_else_is_refused(values: list[object], tmp_path: Path) -> None:
    table = with_column(tmp_path, values)
    with pytest.raises(DataError, match="list of numbers"):
        embeddings_of(table, table.rows, "embedding")


def test_an_audit_takes_candidates_from_the_column(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    image = scene(0)
    crop = image.crop((0, 0, 262, 197))  # of 18 %, beyond the hashes
    for i, picture in enumerate((image, crop, scene(1))):
        (tmp_path / f"{i}.png").write_bytes(encoded(picture))
    table = with_column(tmp_path, [[1.0, 0.0, 0.1], [1.0, 0.05, 0.1], None])
    assert audit(table, config=AuditConfig(embeddings="none")).duplicates.is_empty()
    assert audit(table).duplicates["ids"].to_list() == [["0.png", "1.png"]]
