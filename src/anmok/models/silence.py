"""transformers' own bars and notes, kept back while a model is read; what matters of them is said by us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from anmok.core.optional import need


@contextmanager
def silent_transformers() -> Iterator[None]:
    """For the length of the block."""
    logging = need("transformers", "text").utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
