"""The command line's front door: it knows the commands by name and loads the one that is called."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError, UnknownOptionError, UnusedCliTokensError

from anmok.core.errors import AnmokError, nearest

COMMANDS = {  # name: (its module in commands/, what it is for)
    "audit": ("data", "Look at every image: what is there, what is wrong with it."),
    "preview": ("data", "See what a preparation and an augmentation do to some of the images."),
    "split": ("data", "Divide images into train, val and test, or folds."),
    "train": ("learn", "Train a classifier: images in, a run folder with model and report out."),
    "pretrain": ("learn", "Learn from images without labels: an encoder to start trainings from."),
    "compare": ("learn", "Train and measure several models on the same split, each for the same time."),
    "models": ("learn", "List networks: family, size, cost, weights and their licence."),
    "auto": ("learn", "The best model for the time: audit, split, candidates, ensemble, decision, report."),
    "tune": ("learn", "Search for the settings that suit the data, within a fixed time."),
    "find-lr": ("learn", "Find a learning rate by one short sweep, in which it grows step by step."),
    "evaluate": ("judge", "Evaluate a run on its own, untouched test split; or compare several."),
    "decide": ("judge", "Turn what mistakes cost into a decision, written into the model."),
    "ensemble": ("judge", "Make one run of several."),
    "crossval": ("judge", "A run for each fold, out-of-fold predictions, one ensemble."),
    "runs": ("judge", "List the runs there are, with their scores."),
    "diff": ("judge", "What differs between two runs: configuration, data and scores."),
    "inspect": ("judge", "See what a model looks at and how it represents the data."),
    "pseudo": ("expand", "Label images by a run's own sure predictions: a new table to train on."),
    "generate": ("expand", "Make images of a class with a diffusion model; those that pass a judge, to train on."),
    "fewshot": ("answer", "Tell classes apart from one or a few images of each; teach a model a new class."),
    "zeroshot": ("answer", "Tell images apart by the names of the classes alone, without a training."),
    "search": ("answer", "Find images by a text or by an image, or texts by an image."),
    "ask": ("answer", "Ask a question about an image, or about each of many."),
    "describe": ("answer", "Caption an image, or each of many: pairs to train on."),
    "predict": ("use", "Predict images with a run or a model folder."),
    "export": ("use", "Write a model folder with an ONNX graph, and find the fastest runtime here."),
    "bench": ("data", "Measure on this machine: how fast data and models are."),
    "demo": ("learn", "The whole job on real handwritten digits."),
    "doctor": ("use", "What this machine has: device, threads, precisions, versions, caches."),
    "convert": ("learn", "Turn pickled weights that you trust into .safetensors."),
}


RANKED = ("train",)  # what torchrun may start


def version() -> str:
    """The installed version."""
    from anmok import __version__

    return __version__


app = App(
    name="anmok", help="Image classification from end to end: look, prepare, learn, judge, use.", version=version,
    help_format="plaintext",
)  # fmt: skip
for number, (name, (module, text)) in enumerate(COMMANDS.items()):
    app.command(f"anmok.commands.{module}:{name.replace('-', '_')}", name=name, help=text, sort_key=number)


def explain(error: CycloptsError) -> str:
    """What is wrong with a call, in our words where cyclopts' would not help."""
    if isinstance(error, UnknownOptionError):
        asked = (error.token.keyword or error.token.value).partition("=")[0].lstrip("-")
        texts = {a.names[0].lstrip("-"): a.parameter.help or "" for a in error.argument_collection if a.names}
        names = {name.lstrip("-") for a in error.argument_collection for name in a.names if "no-" not in name}
        near = nearest(asked, sorted(names), n=2)
        if len(asked) > 3:  # 'learning-rate': the options that speak of it
            near += [n for n, text in texts.items() if asked.replace("-", " ") in text.lower() and n not in near][:2]
        hint = f" Did you mean {', '.join(f'--{name}' for name in near)}?" if near else " --help lists the options."
        return f"Unknown option: --{asked}.{hint}"
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected argument: {' '.join(error.unused_tokens or [])}."
    return str(error)


def as_one_of_several(arguments: Sequence[str]) -> None:
    """Under torchrun: the first process prints; verbs that several would only repeat end here, with exit code 2."""
    if os.environ.get("RANK", "0") != "0":
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)
    verb = next((a for a in arguments if not a.startswith("-")), "train")
    if verb in COMMANDS and verb not in RANKED:
        print(f"error [ranks] anmok {verb} runs in one process. Start it without torchrun.", file=sys.stderr)
        raise SystemExit(2)


def asked_ranks(arguments: Sequence[str]) -> int:
    """How many processes `anmok train … --ranks N` asks for, where this is not one of them already; else 1."""
    if not arguments or arguments[0] not in RANKED or "WORLD_SIZE" in os.environ or "--help" in arguments:
        return 1
    words = [part for word in arguments for part in (word.split("=") if word.startswith("--ranks=") else [word])]
    given = next((after for word, after in itertools.pairwise(words) if word == "--ranks"), "")
    return max(1, int(given)) if given.isdecimal() else 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every error of ours is one line on standard error and its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if os.environ.get("WORLD_SIZE", "1") != "1":
        as_one_of_several(given)
    try:
        if (ranks := asked_ranks(given)) > 1:
            from anmok.scale.launch import launch

            raise SystemExit(launch(ranks, given))
        app(arguments, print_error=False, exit_on_error=False, result_action="return_value")
    except AnmokError as error:
        print(f"error [{error.code}] {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except CycloptsError as error:
        print(f"error [usage] {explain(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # whoever read us has heard enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(5) from None
