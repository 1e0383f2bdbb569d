"""Transforms of the user's: what they give is what they give when called by hand with the same seed, in any thread."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anmok.augment.draws import row_keys
from anmok.augment.guest_pixels import pixels
from anmok.augment.guests import Guest, guest
from anmok.core.errors import UsageError

IDS = [f"{i}.png" for i in range(24)]


def photo(seed: int = 0, height: int = 60, width: int = 80, depth: int = 3) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    layers = [127 + 120 * np.sin(x / 9 + seed), 255 * y / height, 127 + 100 * np.cos((x + y) / 15)]
    return np.stack(layers[:depth], -1).astype(np.uint8)


def run(policy: Guest, images: list[np.ndarray], size: int = 32, threads: int = 1, epoch: int = 1) -> np.ndarray:
    params = policy.draw(IDS[: len(images)], epoch, 5)
    out = np.zeros((len(images), size, size, images[0].shape[2]), np.uint8)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda i: policy.apply_into(out[i], images[i], params, i), range(len(images))))
    return out


def one(function: Callable[[np.ndarray], Any], image: np.ndarray, size: int = 32) -> np.ndarray:
    return run(guest(function), [image], size)[0]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    return pytest.importorskip("albumentations")


@pytest.fixture
def v2() -> Any:
    pytest.importorskip("torchvision")
    from torchvision.transforms import v2

    return v2


def albumentations_policy(library: Any) -> Guest:
    return guest(library.Compose([
        library.RandomResizedCrop((32, 32)), library.HorizontalFlip(p=0.5), library.VerticalFlip(p=0.5),
        library.OneOf([library.GaussNoise(p=1), library.ColorJitter(p=1)], p=0.8), library.CoarseDropout(p=0.5),
    ]))  # fmt: skip


def torchvision_policy(v2: Any) -> Guest:
    return guest(v2.Compose([
        v2.RandomResizedCrop(32), v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4, 0.4, 0.1), v2.RandAugment(),
        v2.RandomChoice([v2.RandomRotation(30), v2.RandomPerspective(p=1)]), v2.PILToTensor(), v2.RandomErasing(p=0.5),
    ]))  # fmt: skip


def noisy(image: np.ndarray) -> np.ndarray:
    """Draws from all of a process's generators, and changes its argument."""
    import torch

    image += np.uint8(random.randrange(50))
    image += np.random.randint(0, 50, image.shape).astype(np.uint8)
    image += (torch.rand(1).numpy() * 50).astype(np.uint8)
    return image


# the same as by hand


def test_albumentations_gives_what_it_gives_by_hand(library: Any) -> None:
    policy, image = albumentations_policy(library), photo()
    params = policy.draw(IDS, 3, 9)
    np.testing.assert_array_equal(params.seeds, row_keys(IDS, 3, 9))
    for index, seed in enumerate(params.seeds.tolist()):
        policy.transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        out = np.empty((32, 32, 3), np.uint8)
        policy.apply_into(out, image, params, index)
        np.testing.assert_array_equal(out, policy.transform(image=image)["image"])


def test_flips_of_albumentations_are_independent(library: Any) -> None:
    policy = guest(library.Compose([library.HorizontalFlip(p=0.5), library.VerticalFlip(p=0.5)]))
    corner = np.zeros((2, 2, 3), np.uint8)
    corner[0, 0] = 255
    params = policy.draw([str(i) for i in range(400)], 0, 0)
    seen = np.zeros((2, 2, 3), int)
    for index in range(400):
        out = np.empty_like(corner)
        policy.apply_into(out, corner, params, index)
        seen += out // 255
    assert (np.abs(seen - 100) < 40).all()  # four sigma and a half of 100 expected each


def test_a_single_transform_and_nested_ones_of_albumentations(library: Any) -> None:
    image = photo()
    np.testing.assert_array_equal(run(guest(library.HorizontalFlip(p=1)), [image[:32, :32]])[0], image[:32, 31::-1])
    inner = library.SomeOf([library.Sequential([library.Rotate(90, p=1)], p=1), library.GaussNoise(p=1)], n=1, p=1)
    policy = guest(library.Compose([inner]))
    np.testing.assert_array_equal(run(policy, [image] * 9), run(policy, [image] * 9))


def test_torchvision_gives_what_it_gives_by_hand(v2: Any) -> None:
    import torch

    policy, image = torchvision_policy(v2), photo()
    params = policy.draw(IDS, 3, 9)
    for index, seed in enumerate(params.seeds.tolist()):
        torch.manual_seed(seed)
        expected = policy.transform(Image.fromarray(image)).permute(1, 2, 0).numpy()
        out = np.empty((32, 32, 3), np.uint8)
        policy.apply_into(out, image, params, index)
        np.testing.assert_array_equal(out, expected)


def test_torchvision_of_the_first_version_and_its_own_choices(v2: Any) -> None:
    import torch
    from torchvision import transforms as v1

    transform = v1.Compose([
        v1.RandomChoice([v1.RandomResizedCrop(32), v1.Resize((32, 32))]), v1.RandomApply([v1.ColorJitter(0.5)]),
        v1.ToTensor(), v1.RandomErasing(p=0.7),
    ])  # fmt: skip
    policy, image = guest(transform), photo()
    params = policy.draw(IDS, 0, 0)
    for index, seed in enumerate(params.seeds.tolist()):
        torch.manual_seed(seed)
        random.seed(seed)
        expected = np.rint(transform(Image.fromarray(image)).permute(1, 2, 0).clamp(0, 1).numpy() * 255)
        out = np.empty((32, 32, 3), np.uint8)
        policy.apply_into(out, image, params, index)
        np.testing.assert_array_equal(out, expected)


def test_a_module_is_given_a_tensor() -> None:
    torch = pytest.importorskip("torch")

    class Half(torch.nn.Module):
        def forward(self, image: Any) -> Any:
            assert image.shape == (3, 40, 40)
            assert image.dtype == torch.uint8
            return image // 2

    image = photo(height=40, width=40)
    np.testing.assert_array_equal(run(guest(torch.nn.Sequential(Half())), [image], 40)[0], image // 2)


def test_a_function_is_given_an_array_it_may_write_into() -> None:
    image = photo(height=32, width=32)
    before = image.copy()
    out = run(guest(noisy), [image])[0]
    np.testing.assert_array_equal(image, before)
    seed = int(row_keys(IDS[:1], 1, 5)[0])
    import torch

    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed([seed % 2**32, seed >> 32])
    np.testing.assert_array_equal(out, noisy(image.copy()))


# replay, threads, generators


@pytest.mark.parametrize("kind", ["albumentations", "torchvision", "function"])
def test_pictures_depend_on_seed_epoch_and_id_alone(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "albumentations":
        policy = albumentations_policy(request.getfixturevalue("library"))
    elif kind == "torchvision":
        policy = torchvision_policy(request.getfixturevalue("v2"))
    else:
        policy = guest(noisy)
    images = [photo(seed) for seed in range(len(IDS))]
    alone = run(policy, images)
    for _ in range(3):
        np.testing.assert_array_equal(run(policy, images, threads=4), alone)
    np.testing.assert_array_equal(run(guest(policy.transform), images, threads=4), alone)
    assert sum(np.array_equal(a, b) for a, b in zip(alone, run(policy, images, epoch=2), strict=True)) <= 2
    params = policy.draw(IDS, 1, 5)
    backwards = policy.draw(IDS[::-1], 1, 5).take(slice(3, 6))
    assert list(backwards.ids) == IDS[::-1][3:6]
    for index in range(3):
        out = np.empty_like(alone[0])
        policy.apply_into(out, images[len(IDS) - 4 - index], backwards, index)
        np.testing.assert_array_equal(out, alone[len(IDS) - 4 - index])
    assert not np.array_equal(policy.draw(IDS, 1, 5, view=1).seeds, params.seeds)
    assert len(params.take(np.array([2, 0]))) == 2


def test_a_network_that_trains_meanwhile_draws_as_ever(v2: Any) -> None:
    import torch

    policy, images = torchvision_policy(v2), [photo(seed) for seed in range(len(IDS))]

    def dropouts(n: int) -> list[torch.Tensor]:
        torch.manual_seed(1)
        return [torch.nn.functional.dropout(torch.ones(64), 0.5) for _ in range(n)]

    expected, busy, errors = dropouts(3000), threading.Event(), []

    def augmenting() -> None:
        try:
            while not busy.is_set():
                run(policy, images, threads=2)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=augmenting)
    thread.start()
    found = dropouts(3000)
    busy.set()
    thread.join()
    assert not errors
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


# results


@given(
    st.sampled_from([1, 3]), st.integers(1, 20), st.integers(1, 20),
    st.sampled_from(["float32", "float64", "tensor", "pil"]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_pixels_survive_every_form(depth: int, height: int, width: int, form: str) -> None:
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, depth), np.uint8)
    result: Any = image
    if form == "tensor":
        result = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    elif form == "pil":
        result = Image.fromarray(image[:, :, 0] if depth == 1 else image)
    else:
        result = image.astype(form) / 255
    np.testing.assert_array_equal(pixels(result, depth, "x"), image)


def test_another_size_is_squashed_as_pillow_does() -> None:
    image = photo()
    expected = np.asarray(Image.fromarray(image[:50]).resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(one(lambda image: image[:50], image), expected)
    np.testing.assert_array_equal(one(lambda image: image[:50].astype(np.float32) / 255, image), expected)


def test_gray_images(library: Any, v2: Any) -> None:
    image = photo(depth=1)
    policies = [
        guest(library.Compose([library.RandomResizedCrop((32, 32)), library.RandomBrightnessContrast(p=1)])),
        guest(library.Compose([library.ColorJitter(saturation=(1, 1), hue=(0, 0), p=1)])),
        guest(v2.Compose([v2.RandomResizedCrop(32), v2.ColorJitter(0.5), v2.ToImage()])),
        guest(lambda image: image[:, :, 0]), guest(noisy),
    ]  # fmt: skip
    for policy in policies:
        policy.check(1)
        assert run(policy, [image]).shape == (1, 32, 32, 1)
    for colored in (
        library.HueSaturationValue(), library.Compose([library.OneOf([library.ToGray()])]), library.ColorJitter(),
        v2.Compose([v2.RandomApply([v2.ColorJitter(hue=0.1)])]), v2.RandomGrayscale(),
    ):  # fmt: skip
        guest(colored).check(3)
        with pytest.raises(UsageError, match="one channel"):
            guest(colored).check(1)


def test_one_pixel_and_a_strip(library: Any, v2: Any) -> None:
    for policy in (albumentations_policy(library), torchvision_policy(v2), guest(noisy)):
        for image in (photo(height=1, width=1), photo(height=2, width=900)):
            assert run(policy, [image]).shape == (1, 32, 32, 3)


# refusals


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda image: image.astype(np.float32), "floats from 0 to 2"),
        (lambda image: (image / 255 - 0.5) / 0.2, "Leave normalisation out"),
        (lambda image: image / np.float32(0) * 0, "no numbers"),
        (lambda image: image.astype(np.int32), "int32"),
        (lambda image: image > 100, "bool"),
        (lambda image: image[:, :, 0], "shape"),
        (lambda image: image[:, :, :2], "shape"),
        (lambda image: image[None], "shape"),
        (lambda image: image[:0], "shape"),
        (lambda image: image.transpose(2, 0, 1), "shape"),
        (lambda image: Image.fromarray(image).convert("RGBA"), "mode RGBA"),
        (lambda image: None, "NoneType"),
        (lambda image: {"image": image}, "Give the image alone"),
        (lambda image: image[999], "IndexError"),
        (lambda image, more: image, "run it alone"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_what_is_no_image_is_refused_by_name(function: Callable[..., Any], found: str) -> None:
    with pytest.raises(UsageError, match=found) as error:
        one(function, photo())
    assert "test_guests.<lambda>" in str(error.value)


def test_failures_name_transform_and_image(library: Any, v2: Any) -> None:
    import torch

    for policy, name, found in (
        (guest(library.Compose([library.RandomCrop(500, 500)])), "albumentations.Compose", "CropSizeError"),
        (guest(library.Compose([library.Normalize()])), "albumentations.Compose", "Leave normalisation out"),
        (guest(v2.RandomCrop(500)), "torchvision.RandomCrop", "PIL image of mode RGB"),
        (
            guest(v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.2])])),
            "torchvision.Compose", "Leave normalisation out",
        ),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=found) as error:
            run(policy, [photo()])
        assert name in str(error.value)
        if "Leave" not in found:
            assert "0.png" in str(error.value)


def test_an_error_that_is_no_failure_of_the_transform_passes() -> None:
    def full(image: np.ndarray) -> np.ndarray:
        raise MemoryError

    with pytest.raises(MemoryError):
        one(full, photo())


def test_what_is_no_transform_is_refused(library: Any) -> None:
    for wrong, found in ((library.HorizontalFlip, "is a class"), (3, "no augmentation"), (photo(), "no augmentation")):
        with pytest.raises(UsageError, match=found):
            guest(wrong)


def test_what_the_loader_asks(library: Any, v2: Any) -> None:
    policy = guest(v2.Compose([v2.RandomApply([v2.RandomResizedCrop(9)])]))
    assert (policy.neutral, policy.mixes, policy.crops, policy.border) == (False, False, True, "reflect")
    assert not guest(library.Compose([library.RandomCrop(9, 9)])).crops
    assert guest(library.Compose([library.RandomResizedCrop((9, 9))])).crops
    assert guest(policy) is policy
