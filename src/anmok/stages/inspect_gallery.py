"""The errors that a model was surest of, confusion by confusion, with their pictures."""

from __future__ import annotations

import numpy as np

from anmok.core.errors import ImageError
from anmok.core.types import Predictions
from anmok.data.decode import decode
from anmok.data.table import Table
from anmok.report.inspect_content import Error
from anmok.report.words import count
from anmok.stages.inspect_errors import is_wrong, surest
from anmok.stages.inspect_images import SIDE
from anmok.stages.pick import shrunk

CONFUSIONS, EXAMPLES = 8, 3
ANSWERS = 3  # probabilities told of each


def gallery(table: Table, p: Predictions, allow_truncated: bool = False) -> tuple[list[Error], str]:
    """The surest errors of the most frequent confusions, with their pictures, and how many errors there are."""
    place = {identity: row for row, identity in enumerate(table.rows["id"].to_list())}
    found, total = surest(p, EXAMPLES), int(is_wrong(p).sum())
    out = []
    for confusion in found[:CONFUSIONS]:
        for row in confusion.rows:
            image = picture(table, place.get(p.ids[row]), allow_truncated)
            if image is not None:
                best = np.argsort(-p.probs[row], kind="stable")[:ANSWERS]
                told = [(p.classes[k], float(p.probs[row, k])) for k in best]
                out.append(Error(p.ids[row], confusion.truth, confusion.predicted, confusion.images, told, image))
    said = (
        f"{count(total, 'error')} in {count(len(p), 'validation image')}, {count(len(found), 'confusion')}; "
        f"the surest of the {min(CONFUSIONS, len(found))} most frequent."
    )
    return out, said


def picture(table: Table, row: int | None, allow_truncated: bool) -> np.ndarray | None:
    """The image of a row, its long side at most SIDE; None where it cannot be read any more."""
    if row is None:
        return None
    try:
        pixels = decode(table.storage.read(table.rows["image"][row]), allow_truncated=allow_truncated, min_side=SIDE)
    except ImageError:
        return None
    return shrunk(pixels, SIDE).image
