"""Classes in words: their wordings, the templates they are put in, and one text vector for each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anmok.core.errors import UsageError
from anmok.evaluate.probes import unit

SLOT = "{}"
BETWEEN_PROMPTS, BETWEEN_CLASSES, BETWEEN_WORDINGS = ";", ",", "|"
# A few of those that CLIP's authors averaged over: what is in the picture, near and far, well and badly taken.
PROMPTS = (
    "a photo of a {}.", "a photo of the {}.", "a close-up photo of a {}.", "a bad photo of a {}.",
    "a photo of a large {}.", "a photo of a small {}.", "a photo of many {}.",
)  # fmt: skip
# What a picture may be of that is none of the classes.
BACKGROUND = (
    "a photo.", "an image.", "a photo of something else.", "a photo of nothing in particular.", "a blurry photo.",
    "a photo of a background.", "a texture.", "a photo of a place.", "a photo of a person.", "a photo of an animal.",
    "a photo of an object.", "a drawing.", "a screenshot with text.",
)  # fmt: skip


class ClassText(NamedTuple):
    """A class: its name, which is its first wording, and all wordings that mean it."""

    name: str
    wordings: tuple[str, ...]


def read_classes(given: str | Path | Sequence[str]) -> list[ClassText]:
    """Classes from 'glass,paper', '유리|glass,종이|paper', a list of such, or a text file with one a line.

    UsageError (code class): an empty name, one used twice (as a name or as a wording), or fewer than two classes.
    """
    texts = list(given) if isinstance(given, list | tuple) else _lines(str(given), BETWEEN_CLASSES, "--classes")
    classes, seen = [], dict[str, str]()
    for text in texts:
        wordings = tuple(part.strip() for part in str(text).split(BETWEEN_WORDINGS))
        if not all(wordings):
            raise UsageError(f"an empty name among the classes ({text!r}).", where="--classes", code="class")
        for wording in wordings:
            key = wording.casefold()
            if key in seen:
                raise UsageError(
                    f"{wording} is used twice, for {seen[key]} and for {wordings[0]}.", where="--classes", code="class",
                    remedy="Each label means one class; several wordings of one stand together: glass|bottle.",
                )  # fmt: skip
            seen[key] = wordings[0]
        classes.append(ClassText(wordings[0], wordings))
    if len(classes) < 2:
        raise UsageError(
            f"expected two classes or more, found {len(classes)}.", where="--classes", code="class",
            remedy='Name them with commas between: --classes "glass,paper"; --none-of-these knows what is neither.',
        )  # fmt: skip
    return classes


def read_prompts(given: str | Path | Sequence[str] | None) -> tuple[str, ...]:
    """Templates from 'a photo of {}; a drawing of {}', a list, or a text file with one a line; None: `PROMPTS`.

    UsageError (code prompt): an empty one, or one without exactly one {}.
    """
    if given is None:
        return PROMPTS
    texts = list(given) if isinstance(given, list | tuple) else _lines(str(given), BETWEEN_PROMPTS, "--prompts")
    prompts = tuple(" ".join(str(text).split()) for text in texts)
    wrong = next((p for p in prompts if p.count(SLOT) != 1 or "{" in p.replace(SLOT, "")), None)
    if not prompts or wrong is not None:
        found = "no prompt" if not prompts else f"found {wrong!r}" if wrong else "found an empty one"
        raise UsageError(
            f"a prompt has one {SLOT}, where the class stands; {found}.", where="--prompts", code="prompt",
            remedy='For example "a photo of {}", or several with ; between them, or a file with one a line.',
        )  # fmt: skip
    return prompts


def _lines(given: str, between: str, option: str) -> list[str]:
    """The parts of a text, or the lines of the file it names, comments (#) and blank lines left out."""
    try:
        file = Path(given)
        if file.suffix.lower() in (".txt", ".csv", ".tsv") or file.is_file():
            text = file.read_text(encoding="utf-8-sig")
            return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"cannot be read ({reason}).", where=f"{option} {given}", code="file") from error
    return [part.strip() for part in given.split(between)]


def known_wordings(classes: Sequence[ClassText], foreign: Callable[[str], bool]) -> tuple[list[ClassText], list[str]]:
    """(the classes, what to say): wordings in a writing the model does not know are left out where others are left.

    foreign(text): whether the model knows nothing of a text's writing.
    """
    out, said = [], []
    for one in classes:
        strange = [w for w in one.wordings if foreign(w)]
        kept = tuple(w for w in one.wordings if w not in strange)
        if strange and kept:
            said.append(
                f"{one.name}: the writing of {', '.join(strange)} is not known to the model; {', '.join(kept)} stands "
                "for it"
            )
        elif strange:
            said.append(
                f"{one.name} is in a writing that the model does not know, so its answers for it mean little; add a "
                f"wording that it knows ({one.name}|…), or take a model of many languages, such as "
                "google/siglip2-base-patch16-224"
            )
        out.append(ClassText(one.name, kept or one.wordings))
    return out, said


def class_vectors(
    encode: Callable[[list[str]], np.ndarray], classes: Sequence[ClassText], prompts: Sequence[str]
) -> np.ndarray:  # fmt: skip
    """One unit vector for each class, float32[K, D]: the mean over all its wordings in all prompts, made of length 1
    again (Radford et al. 2021, § 3.1.4).

    encode: texts to unit vectors float32[M, D].
    """
    texts = [p.replace(SLOT, wording) for c in classes for wording in c.wordings for p in prompts]
    vectors = np.asarray(encode(texts), np.float64)
    ends = np.cumsum([len(c.wordings) * len(prompts) for c in classes])
    return unit(np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])]))
