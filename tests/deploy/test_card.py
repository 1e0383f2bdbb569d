from __future__ import annotations

from pathlib import Path

from huggingface_hub import ModelCard
from model_folders import Make

from anmok.deploy.card import Card, Score

CARD = Card(
    name="trash",
    images={"train": 1768, "val": 328, "test": 431},
    scores=(
        Score("test", "accuracy", 0.8123, 0.7712, 0.8487),
        Score("test", "roc_auc", None),
        Score("val", "log_loss", 0.61),
    ),
    training={"epochs": "30", "augmentation": "medium"},
    license="cc-by-4.0",
    limits=("Seen on a white ground only.",),
)


def test_the_card_says_what_it_must(make: Make) -> None:
    folder, _, _ = make("test_resnet", size=48, fit="crop", crop_pct=0.875, card=CARD)
    text = (folder / "README.md").read_text(encoding="utf-8")
    for part in (
        "0. 유리\n1. 종이\n2. 금속", "| test | accuracy | 0.8123 | 0.7712 to 0.8487 |", "| test | roc\\_auc | n/a |  |",
        "| val | log\\_loss | 0.6100 |  |", "train: 1,768", "epochs: 30", "license: cc-by-4.0",
        "short side resized to 55", "central 48×48",
        "## Intended use and limits", "Seen on a white ground only.", "top_k=3", "anmok.load(",
    ):  # fmt: skip
        assert part in text, part
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.library_name == "timm"
    assert card.data.pipeline_tag == "image-classification"


def test_nothing_is_claimed_that_is_not_so(make: Make) -> None:
    folder, _, _ = make("lenet")
    text = (folder / "README.md").read_text()
    assert "transformers" not in text
    assert "local-dir" not in text
    assert "Not measured." in text
    assert "not stated" in text
    assert ModelCard.load(folder / "README.md").data.library_name == "anmok"


def test_hostile_names_stay_text(make: Make) -> None:
    classes = ["<img src=x onerror=alert(1)>", "a\nb | c", "`![x](y)`", "=cmd"]
    folder, classifier, _ = make(
        "lenet", classes, card=Card(name="<script>\n---\nx: y", scores=(Score("a|b", "m", 1.0),))
    )
    text = (folder / "README.md").read_text()
    assert "<img" not in text
    assert "<script" not in text
    assert "1. a b \\| c\n" in text
    assert "\\`!\\[x\\](y)\\`" in text
    assert "| a\\|b | m | 1.0000 |  |" in text
    ModelCard.load(folder / "README.md")
    assert classifier.classes == classes


def test_a_multilabel_card_speaks_of_single_labels(make: Make, tmp_path: Path) -> None:
    folder, _, _ = make("test_resnet", task="multilabel", size=32)
    text = (folder / "README.md").read_text()
    assert "sigmoid()" in text
    assert "stands for itself" in text
