"""The settings of this room: how a source is read, how labels are renamed, how rows are split."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anmok.core.config import Config


class DataConfig(Config):
    """How a source becomes a Table, and how its images are read."""

    task: Literal["auto", "binary", "multiclass", "multilabel"] = Field(
        default="auto",
        description="What is to be learned; auto: inferred from the labels, and said aloud with the reason.",
    )
    hierarchy: str | None = Field(
        default=None,
        description="The parent of every class: a CSV of class,parent, or column:NAME of the source.",
    )
    positive: str | None = Field(default=None, description="The class that counts as positive (1) in a binary task.")
    image_column: str | None = Field(
        default=None, description="Column that names the image (default: image, file_name, …)."
    )
    label_column: str | None = Field(
        default=None, description="Column with the label (default: label, class, …); '' for none."
    )
    label_columns: list[str] = Field(
        default=[], description="Columns that are a label each, holding 1, 0 or blank (unknown); found by themselves."
    )
    split_column: str | None = Field(
        default=None, description="Column with train, val or test (default: split); '' for none."
    )
    group_column: str | None = Field(
        default=None, description="Column whose rows stay together (default: group); '' for none."
    )
    delimiter: str | None = Field(default=None, description="Delimiter of a CSV; by default found in its header.")
    label_separator: str = Field(
        default=";", min_length=1, description='Separates the labels of one image, as in "cat;dog".'
    )
    unknown_mark: str = Field(
        default="?",
        description="Before a label of a list: not known whether the image has it, as in \"cat;?dog\"; '' for none.",
    )
    encoding: str | None = Field(
        default=None, description="Encoding of a CSV; by default found: UTF-8, UTF-16 or CP949."
    )
    image_root: str | None = Field(
        default=None, description="Folder that image paths are relative to (default: the CSV's own)."
    )
    allow_links: bool = Field(default=False, description="Follow links and paths that lead outside the root.")
    allow_truncated: bool = Field(default=False, description="Use JPEGs that end early, as far as they go.")
    allow_unlabelled: bool = Field(
        default=False,
        description="A blank label, or a place beside the class folders, means 'not labelled' instead of a fault.",
    )
    drop_empty: bool = Field(default=False, description="Leave out class folders without images instead of failing.")
    max_rejects: float = Field(default=0.01, ge=0, le=1, description="Largest share of missing or unusable images.")
    cache: Literal["auto", "none", "ram", "disk", "device"] = Field(
        default="auto", description="Where decoded pixels are kept; auto: where the memory account says they fit."
    )
    cache_side: int | None = Field(
        default=None, ge=4, description="Short side of kept training pictures, pixels; default: 8/7 of the model's."
    )
    cache_share: float = Field(
        default=0.5, gt=0, le=1, description="Share of the free memory that kept pixels may take at most."
    )
    prefetch: int = Field(default=3, ge=1, le=64, description="Batches that are prepared ahead of the model.")
    balance: Literal["none", "balanced", "sqrt", "effective"] = Field(
        default="none",
        description="How often a class is drawn in training: as often as it occurs, all alike, or in between.",
    )
    background: str = Field(
        default="#ffffff", pattern="^#[0-9a-fA-F]{6}$", description="Colour under transparent pixels, as #rrggbb."
    )


class LabelsConfig(Config):
    """Labels renamed, joined or left out."""

    merge: list[str] = Field(default=[], description='Join or rename labels: "paper+cardboard=fibre".')
    drop: list[str] = Field(default=[], description="Leave out these labels, and the images that have no other.")


class SplitConfig(Config):
    """How rows are divided into train, val and test."""

    given: Literal["honour", "strict", "ignore"] = Field(
        default="honour", description="A split that the source gives: honour it, fail if it leaks, or ignore it."
    )
    conflicts: Literal["leave-out", "keep"] = Field(
        default="leave-out", description="Images whose bytes stand under two labels: in no split, or as they are."
    )
    test: float = Field(default=0.15, ge=0, lt=1, description="Share of the images held out for the test.")
    val: float = Field(default=0.15, ge=0, lt=1, description="Share of the images for validation.")
    folds: int = Field(default=0, ge=0, description="Number of folds over all that is not test; 0 for none.")
    fold: int = Field(default=0, ge=0, description="The fold that validates; the others train.")
    seed: int = Field(default=0, ge=0, description="Seed of the draw.")
