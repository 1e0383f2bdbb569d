"""The command line's front door: it knows the commands by name and loads the one that is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from anmok.core.errors import AnmokError

COMMANDS = {
    "audit": "Look at every image: what is there, what is wrong with it.",
    "split": "Divide images into train, val and test, or folds.",
    "train": "Train a classifier: images in, a run folder with model and report out.",
    "evaluate": "Evaluate a run on its own, untouched test split.",
    "predict": "Predict images with a run or a model folder.",
    "demo": "The whole job on real handwritten digits.",
    "doctor": "What this machine has: device, threads, precisions, versions, caches.",
    "convert": "Turn pickled weights that you trust into .safetensors.",
}


def version() -> str:
    """The installed version."""
    from anmok import __version__

    return __version__


app = App(
    name="anmok", help="Image classification from end to end: look, prepare, learn, judge, use.", version=version,
    help_format="plaintext",
)  # fmt: skip
for number, (name, text) in enumerate(COMMANDS.items()):
    app.command(f"anmok.commands:{name}", name=name, help=text, sort_key=number)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every error of ours is one line on standard error and its exit code."""
    try:
        app(arguments, print_error=False, exit_on_error=False, result_action="return_value")
    except AnmokError as error:
        print(f"error [{error.code}] {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except CycloptsError as error:
        print(f"error [usage] {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(5) from None
