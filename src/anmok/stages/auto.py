"""`anmok auto`: the best model for the time. Look, divide, try candidates, train the best, join and decide them.

Every step writes what the single verbs write (audit/, table.parquet, models/NAME as runs, ensemble/) and a line in
auto.jsonl, from which a later call goes on. The test split is looked at once, by the model that was chosen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anmok.core.config import dump_toml, read_toml, resolve
from anmok.core.errors import Interrupted, UsageError
from anmok.core.files import locked, write_atomic
from anmok.core.optional import need
from anmok.core.progress import say
from anmok.data.sources import open_table
from anmok.data.table import Table
from anmok.stages.auto_candidates import build_candidates, load_candidates, save_candidates
from anmok.stages.auto_diary import FILE, Diary
from anmok.stages.auto_result import Auto
from anmok.stages.auto_settings import AutoTree
from anmok.stages.run_folder import OF_A_RUN, new_folder, remove_unstarted
from anmok.stages.signals import polite_stop


def auto(
    source: Any = None, *, resume: Path | str | None = None, out: Path | str | None = None,
    config: Path | str | None = None, layers: tuple[Mapping[str, Any], ...] = (), **settings: Any,
) -> Auto:  # fmt: skip
    """Find, train and judge the best model for the data in `minutes` (default 30), and return the Auto.

    source: anything `anmok.open` takes. out: the folder, which must not exist yet (default: runs/auto-N). config,
    settings: as `train` takes them, and those of AutoTree (candidates=['resnet18', 'speednet'], cost='fp=1,fn=50');
    what is set holds for every candidate. resume: a folder to go on with instead.

    UsageError for what does not fit together; DataError without validation images, or where no
    candidate can train; Interrupted when a signal ended it resumably.
    """
    need("torch", "train")
    _load_libraries()

    began = time.monotonic()
    if resume is not None:
        if source is not None or config or any((*layers, settings)):
            raise UsageError("--resume takes no data and no settings: it goes on as it began.", code="resume")
        return _resume(Path(resume), began)
    if source is None:
        raise UsageError(
            "nothing to learn from.", remedy="Give a folder, CSV, Parquet or Table, or --resume FOLDER.", code="source"
        )
    resolved = resolve(AutoTree, *layers, settings, file=config)
    if resolved.positive is not None and resolved.cost is None:
        raise UsageError("--positive needs --cost: it says whose costs.", where="--positive", code="setting")
    folder = new_folder(out, "auto", "folder")
    with locked(folder), polite_stop() as stop:
        diary = Diary(folder, resolved.minutes, began, stop)
        try:
            _begin(diary, source, resolved)
        except BaseException:
            diary.events.close()
            _take_back(folder)
            raise
        return _run(diary, resolved)


def _load_libraries() -> None:
    """Bring the heavy packages into memory before the clock runs."""
    import timm  # noqa: F401
    import torchvision.models  # noqa: F401

    from anmok.stages import tune_trial  # noqa: F401


def _begin(diary: Diary, source: Any, config: AutoTree) -> None:
    """Look at the images, divide them, and settle who takes part; from then on a later call can go on."""
    from anmok.stages.auto_look import divide, look

    table = open_table(source, config.data, config.labels)
    with diary.step("look") as found:
        table, facts = look(diary.folder, table, config)
        found |= facts
    _asked(diary)
    with diary.step("split"):
        table = divide(table, config)
        save_candidates(diary.folder, build_candidates(config, table.task, facts["side"]))
        write_atomic(diary.folder / "config.toml", "# anmok auto\n" + dump_toml(config))
        table.save(diary.folder / "table.parquet")


def _run(diary: Diary, config: AutoTree) -> Auto:
    """The steps that are missing, from the baseline to the page."""
    from anmok.stages.auto_baseline import mark
    from anmok.stages.auto_final import decided, finalists, reserve, tested, together, train_all
    from anmok.stages.auto_result import finish
    from anmok.stages.auto_rungs import climb, rung_table, speeds
    from anmok.stages.tune_search import used

    folder = diary.folder
    table, candidates = Table.load(folder / "table.parquet"), load_candidates(folder)
    try:
        baseline = _step(diary, "baseline", lambda: mark(table, config))
        trials = climb(diary, table, candidates, config.seed)
        costs = speeds(diary, table, candidates, config.seed)
        scored = len(rung_table(table, 1.0, config.seed).where(split="val"))
        slowest = max(costs.values(), key=lambda cost: cost.validate)
        images = len(used(table).where(split="train"))
        kept = reserve(diary.total, slowest, table, scored, 1)
        chosen = finalists(trials, candidates, costs, images, diary.left - kept, config.members)
        kept = reserve(diary.total, slowest, table, scored, len(chosen))
        _asked(diary)
        runs = train_all(diary, table, chosen, kept)
        with diary.step("ensemble") as found:
            best, facts = together(diary, runs)
            found |= facts
        decision = _step(diary, "decision", lambda: decided(best, config))
        test = _step(diary, "test", lambda: tested(best, table))
        known = {
            "look": diary.of("look") or {}, "baseline": baseline, "ensemble": facts, "decision": decision, "test": test,
            "task": table.task,
        }  # fmt: skip
        result = finish(folder, config.minutes, diary.spent, best, known)
        diary.events.log("end", spent_s=round(diary.spent, 1))
    except Interrupted as error:
        remedy = f"Go on with: anmok auto --resume {folder}"
        raise Interrupted("stopped as asked; complete steps are kept.", remedy=remedy) from error
    finally:
        diary.events.close()
    say(f"{diary.spent / 60:.1f} of {config.minutes:g} minutes were spent")
    return result


def _step(diary: Diary, name: str, work: Any) -> dict[str, Any]:
    """What a step gives: as it was logged, or by doing it."""
    _asked(diary)
    logged = diary.of(name)
    if logged is not None:
        return {key: value for key, value in logged.items() if key not in ("event", "t", "seconds")}
    with diary.step(name) as found:
        found |= work()
    return found


def _asked(diary: Diary) -> None:
    if diary.stop():
        raise Interrupted("stopped as asked.")


def _take_back(folder: Path) -> None:
    """Remove what was written before anything could be gone on with."""
    import shutil

    if (folder / "table.parquet").is_file():
        return
    for name in ("audit", "candidates"):
        shutil.rmtree(folder / name, ignore_errors=True)
    remove_unstarted(folder, (*OF_A_RUN, FILE))


def _resume(folder: Path, began: float) -> Auto:
    from anmok.stages.run_folder import check_unchanged
    from anmok.stages.tune_search import used

    if not (folder / FILE).is_file() or not (folder / "table.parquet").is_file():
        raise UsageError(
            "nothing to go on with here.", where=str(folder), code="run",
            remedy="Expected a folder that `anmok auto` wrote.",
        )  # fmt: skip
    with locked(folder), polite_stop() as stop:
        if (folder / "auto.json").is_file():
            say(f"{folder} is finished already; nothing to do.")
            return Auto(folder)
        config = resolve(AutoTree, read_toml(folder / "config.toml"))
        check_unchanged(used(Table.load(folder / "table.parquet")))
        return _run(Diary(folder, config.minutes, began, stop), config)
