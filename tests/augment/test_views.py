"""Several views of an image: drawn apart, each as its policy alone would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from anmok.augment.host import augment_into
from anmok.augment.params import Op
from anmok.augment.policy import ranges
from anmok.augment.preprocess import Preprocess
from anmok.augment.views import Views, contrastive_policy, multi_crop, two_views
from anmok.core.errors import UsageError
from anmok.data.batches import Loader
from anmok.data.sources import open_table
from anmok.data.table import Table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    from PIL import Image

    folder = tmp_path_factory.mktemp("views")
    photo = load_sample_image("flower.jpg")
    for i in range(6):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(photo[40 * i : 40 * i + 90, 60 * i : 60 * i + 120]).save(folder / "ab"[i % 2] / f"{i}.png")
    return open_table(folder)


def test_two_views_are_two_draws_of_one_policy(table: Table) -> None:
    policy = contrastive_policy()
    loader = Loader(table, preprocess=Preprocess(32), batch_size=6, policy=two_views(policy), seed=1)
    (batch,) = loader.epoch(2)
    first, second = batch.images
    assert first.shape == second.shape == (6, 32, 32, 3)
    assert (first != second).reshape(6, -1).any(1).all()
    alone = next(Loader(table, preprocess=Preprocess(32), batch_size=6, policy=policy, seed=1).epoch(2))
    np.testing.assert_array_equal(first, alone.images)
    drawn = policy.draw(batch.ids, 2, 1, view=1)
    pixels = loader._pixels.get(0)
    out = np.empty((32, 32, 3), np.uint8)
    augment_into(out, pixels, drawn, 0, (255, 255, 255))
    np.testing.assert_array_equal(second[0], out)


def test_small_crops_have_a_size_of_their_own(table: Table) -> None:
    small = ranges(scale=(0.05, 0.3), ratio=(3 / 4, 4 / 3))
    large = ranges(scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3))
    loader = Loader(table, preprocess=Preprocess(32), batch_size=4, policy=multi_crop(large, small, 3, 16))
    shapes = [tuple(view.shape for view in batch.images) for batch in loader.epoch()]
    assert shapes == [(*[(n, 32, 32, 3)] * 2, *[(n, 16, 16, 3)] * 3) for n in (4, 2)]


def test_a_bad_image_is_left_out_of_every_view(table: Table, tmp_path: Path) -> None:
    from PIL import Image

    for i in range(3):
        Image.new("RGB", (20, 20), (80 * i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    loader = Loader(
        open_table(tmp_path), preprocess=Preprocess(8), batch_size=3, policy=two_views(ranges(hflip=0.5))
    )  # fmt: skip
    (batch,) = loader.epoch()
    assert [len(view) for view in batch.images] == [2, 2]
    assert batch.ids == ["0.png", "2.png"]


def test_a_single_channel_keeps_its_colours() -> None:
    assert Op.SATURATION not in contrastive_policy(depth=1).draw([str(i) for i in range(50)], 0, 0).ops
    contrastive_policy(depth=1).check(1)
    with pytest.raises(UsageError, match="one channel"):
        two_views(contrastive_policy()).check(1)


def test_bad_views() -> None:
    with pytest.raises(UsageError, match="one view"):
        Views(())
    with pytest.raises(UsageError, match="2 views and 1 sizes"):
        Views((ranges(hflip=1), ranges()), (8,))
    with pytest.raises(UsageError, match="not mixed"):
        two_views(ranges(mixup=0.5))
