"""The languages of a page: its sentences, its numbers and its labels, each in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from anmok.core.errors import UsageError, did_you_mean
from anmok.report import labels, labels_ko, words, words_ko


@dataclass(frozen=True)
class Language:
    """code: of ISO 639, as `<html lang>` has it.  words: functions that write numbers and sentences, see `words.py`.

    labels: {key: text or template} of everything else, see `labels.py`; rows: names of facts and settings as shown.
    """

    code: str
    words: ModuleType
    labels: Mapping[str, str]
    rows: Mapping[str, str]

    def say(self, key: str, **facts: object) -> str:
        """A template with its facts in it."""
        return self.labels[key].format(**facts)

    def row(self, name: str) -> str:
        """The name of a fact as shown."""
        return self.rows.get(name, name)


ENGLISH = Language("en", words, labels.LABELS, {})
KOREAN = Language("ko", words_ko, labels_ko.LABELS, labels_ko.ROWS)
LANGUAGES = {language.code: language for language in (ENGLISH, KOREAN)}


def language_of(code: str | None) -> Language:
    """A language by its code; without one that of the environment.  UsageError: none of ours."""
    if code is None:
        return LANGUAGES[from_environment()]
    if code not in LANGUAGES:
        raise UsageError(
            f"no such language as {code}; there are {', '.join(LANGUAGES)}.", where="--language",
            remedy=did_you_mean(code, LANGUAGES), code="setting",
        )  # fmt: skip
    return LANGUAGES[code]


def from_environment() -> str:
    """The code that LC_ALL, LC_MESSAGES or LANG names, the first that is set; en where it is none of ours."""
    set_ = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    code = set_.partition("_")[0].partition(".")[0].lower()
    return code if code in LANGUAGES else "en"
