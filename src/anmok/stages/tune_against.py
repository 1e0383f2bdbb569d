"""Is the chosen candidate better than the default? Their difference on the same images, with its interval."""

from __future__ import annotations

from typing import Any

from anmok.core.artifacts import load_predictions
from anmok.evaluate.paired import compare
from anmok.stages.judge import groups_of
from anmok.stages.tune_course import Course
from anmok.stages.tune_result import standing
from anmok.stages.tune_space import DEFAULT


def against_default(course: Course) -> dict[str, Any] | None:
    """{rung, metric, value, low, high} of the chosen less the default in the last rung that both have.

    The interval is of the paired bootstrap over images, or over groups where there are some. None where the default is
    chosen, or there is no rung with predictions of both.
    """
    chosen = standing(course.trials)[0].candidate
    scored = {(trial.candidate, trial.rung): trial for trial in course.trials if trial.score is not None}
    rungs = [rung for name, rung in scored if name == chosen and (DEFAULT, rung) in scored]
    if chosen == DEFAULT or not rungs:
        return None
    rung = max(rungs)
    files = [course.place(rung, name) / "predictions" / "val.parquet" for name in (DEFAULT, chosen)]
    if not all(file.is_file() for file in files):
        return None
    default, other = (load_predictions(file) for file in files)
    found = compare(default, other, groups=groups_of(course.rows), seed=course.config.seed)["metrics"]
    metric = scored[chosen, rung].metric
    metric = metric if metric in found else "accuracy"
    return {"rung": rung, "metric": metric} | {key: found[metric][key] for key in ("value", "low", "high")}
