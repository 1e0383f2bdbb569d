"""Policies as files: what is written reads back equal, and what is wrong is named with its place."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.augment import papers, steps
from anmok.augment.accept import as_policy, digest, keep, kept, name_for
from anmok.augment.config import AugmentConfig
from anmok.augment.files import CATALOGUE, constructor, load_policy, save_policy, to_toml
from anmok.augment.guests import Guest, guest
from anmok.augment.named import NAMED, build_policy
from anmok.augment.policy import Policy, compose
from anmok.core.errors import AnmokError, DataError, UsageError

EVERY = """
border = "fill"
fill = [10, 20, 30]
mixup = 0.2
cutmix = 1
mix = 0.5
size = 96

[[steps]]
op = "crop"
size = 224
scale = [0.35, 1]
ratio = "none"
relative = true

[[steps]]
op = "flip"
vertical = true

[[steps]]
op = "rotate"
degrees = 15

[[steps]]
op = "shear"
x = 5
y = 3.5

[[steps]]
op = "translate"
x = 0.1

[[steps]]
op = "pad_crop"
pixels = 4

[[steps]]
op = "scale"
low = 0.8
high = 1.25

[[steps]]
op = "perspective"

[[steps]]
op = "color_jitter"
brightness = 0.2
hue = 0.02

[[steps]]
op = "grayscale"
p = 0.1

[[steps]]
op = "operation"
name = "posterize"
value = 4
p = 0.3

[[steps]]
op = "blur"

[[steps]]
op = "noise"
std = 0.1

[[steps]]
op = "elastic"
alpha = 30

[[steps]]
op = "erase"

[[steps]]
op = "autoaugment"
data = "svhn"

[[steps]]
op = "randaugment"
n = 3
m = 7

[[steps]]
op = "trivialaugment"

[[steps]]
op = "augmix"
alpha = 2
"""


def by_hand() -> Policy:
    made = compose(
        steps.crop(224, (0.35, 1.0), None, True), steps.flip(vertical=True), steps.rotate(15), steps.shear(5, 3.5),
        steps.translate(0.1), steps.pad_crop(4), steps.scale(0.8, 1.25), steps.perspective(),
        steps.color_jitter(0.2, hue=0.02), steps.grayscale(0.1), steps.operation("posterize", 4, 0.3), steps.blur(),
        steps.noise(0.1), steps.elastic(30), steps.erase(), papers.autoaugment("svhn"), papers.randaugment(3, 7),
        papers.trivialaugment(), papers.augmix(alpha=2.0), border="fill", fill=(10, 20, 30), mixup=0.2, cutmix=1.0,
        mix=0.5,
    )  # fmt: skip
    return Policy(made.steps, made.border, made.fill, made.mixup, made.cutmix, made.mix, 96)


def written(folder: Path, text: str, name: str = "own.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def same_draws(one: Policy, two: Policy) -> None:
    a, b = (policy.draw([f"{i}.png" for i in range(200)], 3, 7) for policy in (one, two))
    np.testing.assert_array_equal(a.ops, b.ops)
    np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_array_equal(a.keys, b.keys)


def test_every_entry_of_the_catalogue_resolves_and_every_step_is_in_it() -> None:
    assert all(callable(constructor(name)) for name in CATALOGUE)
    functions = [
        (name, value) for module in (steps, papers) for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and hasattr(value, "__code__")
    ]  # fmt: skip
    made = {name for name, value in functions if value.__annotations__.get("return") == "Step"}
    assert made == set(CATALOGUE)


def test_a_file_of_every_step_means_what_python_means(tmp_path: Path) -> None:
    loaded = load_policy(written(tmp_path, EVERY))
    assert isinstance(loaded, Policy)
    assert loaded == by_hand()
    same_draws(loaded, by_hand())


def test_every_step_reads_back_equal(tmp_path: Path) -> None:
    again = load_policy(save_policy(by_hand(), tmp_path / "again.toml"))
    assert again == by_hand()
    assert isinstance(again, Policy)
    same_draws(again, by_hand())
    assert to_toml(again) == to_toml(load_policy(save_policy(again, tmp_path / "once more.toml")))


@pytest.mark.parametrize("name", NAMED)
def test_named_policies_read_back_equal(name: str, tmp_path: Path) -> None:
    policy = build_policy(AugmentConfig(policy=name))
    again = load_policy(save_policy(policy, tmp_path / "a.toml"))
    assert again == policy
    assert isinstance(again, Policy)
    same_draws(again, policy)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(0, 180), st.floats(0, 1), st.floats(0.01, 1), st.sampled_from(["brightness", "sharpness", "contrast"]),
    st.integers(0, 4096), st.booleans(),
)  # fmt: skip
def test_numbers_read_back_to_the_last_bit(
    degrees: float, p: float, low: float, name: str, pixels: int, vertical: bool
) -> None:
    policy = compose(
        steps.crop(None, (low, 1.0)), steps.flip(p, vertical), steps.rotate(degrees, p), steps.pad_crop(pixels),
        steps.operation(name, 10 * p, p), steps.rotate(float(np.float32(degrees))),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        assert load_policy(save_policy(policy, Path(folder) / "p.toml")) == policy


def test_numpy_numbers_are_written_as_numbers(tmp_path: Path) -> None:
    policy = compose(steps.rotate(np.float64(15)), steps.pad_crop(np.int64(3)))
    assert load_policy(save_policy(policy, tmp_path / "p.toml")) == compose(steps.rotate(15), steps.pad_crop(3))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bordr = 'fill'", "border"),
        ("border = 'black'", "border"),
        ("fill = [0, 0, 300]", "found [0, 0, 300]"),
        ("mixup = -1", "mixup"),
        ("steps = 3", "steps"),
        ("[[steps]]\ndegrees = 3", "step 1: a step needs its op"),
        ("[[steps]]\nop = 3", "step 1: a step needs its op"),
        ("[[steps]]\nop = 'flip'\n[[steps]]\nop = 'rotat'", "step 2: no such step: 'rotat'. Did you mean rotate"),
        ("[[steps]]\nop = 'rotate'\ndegres = 3", "step 1 (rotate): degres: no such argument. Did you mean degrees"),
        ("[[steps]]\nop = 'rotate'", "step 1 (rotate): degrees is missing"),
        ("[[steps]]\nop = 'rotate'\ndegrees = '15'", "step 1 (rotate): degrees: expected float, found '15'"),
        ("[[steps]]\nop = 'rotate'\ndegrees = true", "step 1 (rotate): degrees: expected float, found True"),
        ("[[steps]]\nop = 'rotate'\ndegrees = 200", "step 1 (rotate): degrees must lie in [0, 180]"),
        ("[[steps]]\nop = 'rotate'\ndegrees = nan", "step 1 (rotate): degrees"),
        ("[[steps]]\nop = 'rotate'\ndegrees = 2020-01-01", "step 1 (rotate): degrees: expected float"),
        ("[[steps]]\nop = 'crop'\nscale = [0.1]", "step 1 (crop): scale: expected tuple[float, float]"),
        ("[[steps]]\nop = 'pad_crop'\npixels = 2.5", "step 1 (pad_crop): pixels: expected int, found 2.5"),
        ("[[steps]]\nop = 'flip'\np = 'none'", "step 1 (flip): p: expected float"),
        ("[[steps]]\nop = 'operation'\nname = 'solarise'", "solarize"),
        ("[[steps]]\nop = 'augmix'\n[[steps]]\nop = 'augmix'", "at most one augmix"),
        ("border = ", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, found: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        load_policy(path)
    assert found in str(error.value)
    assert str(path) in str(error.value)


def test_missing_and_other_files(tmp_path: Path) -> None:
    written(tmp_path, EVERY, "mine.toml")
    with pytest.raises(UsageError, match=r"Did you mean mine\.toml"):
        load_policy(tmp_path / "mien.toml")
    with pytest.raises(UsageError, match="ends with"):
        load_policy(written(tmp_path, "", "policy.yaml"))
    with pytest.raises(UsageError, match=r"written as \.toml"):
        save_policy(by_hand(), tmp_path / "p.json")
    with pytest.raises(UsageError, match="no form as a file"):
        save_policy(guest(lambda image: image), tmp_path / "p.json")
    with pytest.raises(UsageError, match="no such step: 'mine'"):
        to_toml(Policy((steps.Step("mine", 1, lambda u: steps.slot(steps.Op.HFLIP, n=len(u)), (steps.Op.HFLIP,)),)))


def test_what_may_stand_for_a_policy(tmp_path: Path) -> None:
    path = written(tmp_path, EVERY)
    assert as_policy(None) == Policy()
    assert as_policy("light") == build_policy(AugmentConfig(policy="light"))
    assert as_policy({"policy": "light", "rotate": 30}) == build_policy(AugmentConfig(policy="light", rotate=30))
    assert as_policy(path) == as_policy(str(path)) == as_policy(by_hand()) == by_hand()
    assert as_policy(AugmentConfig(policy=str(path), mixup=0.5)).mixup == 0.5
    assert isinstance(as_policy(np.fliplr), Guest)
    with pytest.raises(UsageError, match=r"rotate cannot be set apart: .*own.toml is a whole policy"):
        as_policy(AugmentConfig(policy=str(path), rotate=10))
    for colored in (path, by_hand()):
        with pytest.raises(UsageError, match="one channel"):
            as_policy(colored, depth=1)
    with pytest.raises(UsageError, match="no such policy"):
        as_policy("lihgt")


def test_a_run_keeps_the_content_of_its_file(tmp_path: Path) -> None:
    path, run = written(tmp_path, EVERY), tmp_path / "run"
    config = AugmentConfig(policy=str(path))
    assert keep(config, run) == run / "augment.toml"
    before = digest(config, run)
    path.write_text("[[steps]]\nop = 'flip'\n", encoding="utf-8")
    assert as_policy(config, folder=run) == by_hand()
    assert digest(config, run) == before
    kept(config, run).write_text("[[steps]]\nop = 'flip'\n", encoding="utf-8")
    assert digest(config, run) != before
    kept(config, run).unlink()
    with pytest.raises(DataError, match="copy of its augmentation is missing"):
        as_policy(config, folder=run)
    with pytest.raises(DataError):
        digest(config, run)
    named = AugmentConfig(policy="light")
    assert keep(named, run) is None
    assert digest(named, run) is None


def test_a_policy_given_as_an_object_needs_no_object_to_resume(tmp_path: Path) -> None:
    policy = by_hand()
    config = AugmentConfig(policy=name_for(policy))
    keep(config, tmp_path, policy)
    assert as_policy(config, folder=tmp_path) == as_policy(config, folder=tmp_path, given=policy) == policy
    with pytest.raises(UsageError, match="another augmentation"):
        as_policy(config, folder=tmp_path, given=compose(steps.flip()))
    with pytest.raises(UsageError, match="another augmentation"):
        as_policy(config, folder=tmp_path, given=np.fliplr)
    with pytest.raises(UsageError, match="another augmentation"):
        as_policy(AugmentConfig(policy="light"), folder=tmp_path, given=policy)


def test_another_object_is_asked_for_again(tmp_path: Path) -> None:
    name = name_for(np.fliplr)
    assert name == "object:numpy.fliplr"
    config = AugmentConfig.model_construct(**AugmentConfig().model_dump() | {"policy": name})
    assert keep(config, tmp_path, np.fliplr) is None
    assert digest(config, tmp_path) is None
    assert as_policy(config, folder=tmp_path, given=np.fliplr) == guest(np.fliplr)
    with pytest.raises(UsageError, match=r"numpy.fliplr. Give it again"):
        as_policy(config, folder=tmp_path)
    with pytest.raises(UsageError, match=r"another augmentation, object:numpy\.fliplr"):
        as_policy(config, folder=tmp_path, given=np.flipud)


# Albumentations


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    return pytest.importorskip("albumentations")


def pipeline(library):  # type: ignore[no-untyped-def]
    return library.Compose([
        library.RandomResizedCrop((32, 32), scale=(0.3, 1.0)), library.HorizontalFlip(p=0.5),
        library.OneOf([library.GaussianBlur(p=1), library.ColorJitter(p=1)], p=0.7), library.Rotate(30, p=0.9),
    ])  # fmt: skip


def test_albumentations_json_draws_what_the_transform_draws(library, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    transform = pipeline(library)
    library.save(transform, tmp_path / "theirs.json")
    loaded = load_policy(tmp_path / "theirs.json")
    saved = load_policy(save_policy(guest(transform), tmp_path / "ours.json"))
    assert json.loads((tmp_path / "ours.json").read_text()) == json.loads((tmp_path / "theirs.json").read_text())
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    params = guest(transform).draw(["a", "b", "c"], 2, 1)
    for index, seed in enumerate(params.seeds.tolist()):
        transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        expected = transform(image=image)["image"]
        for policy in (loaded, saved):
            out = np.empty((32, 32, 3), np.uint8)
            policy.apply_into(out, image, params, index)
            np.testing.assert_array_equal(out, expected)


def test_albumentations_objects_are_kept_as_json(library, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    transform = pipeline(library)
    config = AugmentConfig(policy=name_for(transform))
    assert config.policy == "augment.json"
    keep(config, tmp_path, transform)
    loaded = as_policy(config, folder=tmp_path, given=transform)
    assert library.to_dict(loaded.transform) == library.to_dict(transform)
    with pytest.raises(UsageError, match="another augmentation"):
        as_policy(config, folder=tmp_path, given=library.Compose([library.VerticalFlip()]))

    class Own(library.ImageOnlyTransform):  # type: ignore[name-defined, misc]
        def apply(self, img: np.ndarray, **params: object) -> np.ndarray:
            return img

    for other in (library.Lambda(image=np.flip, name="x"), library.Lambda(image=np.flip), Own(p=1)):
        assert name_for(library.Compose([other])).startswith("object:albumentations.")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda v: v["transform"]["transforms"][1].update(__class_fullname__="HorizontalFlop"), "Did you mean Horiz"),
        (lambda v: v["transform"]["transforms"][1].update(strength=3), "strength"),
        (lambda v: v["transform"]["transforms"][1].pop("p"), "no 'p' parameter"),
        (lambda v: v["transform"]["transforms"][3].update(limit="far"), "limit"),
        (lambda v: v["transform"].update(transforms=3), "does not take it"),
        (lambda v: v["transform"].pop("__class_fullname__"), "no transform '__class_fullname__'"),
        (lambda v: v.pop("transform"), "no transform of Albumentations"),
    ],
)
def test_a_json_that_does_not_mean_what_it_says_is_refused(library, change, found: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    values = library.to_dict(pipeline(library))
    change(values)
    path = written(tmp_path, json.dumps(values), "a.json")
    with pytest.raises(UsageError, match=found) as error:
        load_policy(path)
    assert str(path) in str(error.value)


def test_other_json_is_refused(library, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for text in ("[1, 2]", "{", '{"transform": 3}'):
        with pytest.raises(AnmokError):
            load_policy(written(tmp_path, text, "a.json"))
