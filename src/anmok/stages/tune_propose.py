"""Candidates of a search: first spread over the space evenly, then proposed by what is known of others.

Spread by a scrambled Sobol sequence; proposed by a tree-structured Parzen estimator of all settings together (Bergstra
et al. 2011; multivariate: Falkner et al. 2018, arXiv:1807.01774), both Optuna's. What is drawn is a function of the
seed and of what is known, so a search that was interrupted draws the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from anmok.core.optional import need
from anmok.stages.tune_space import Range, Settings, Space, name_of

TRIES = 20  # draws for each wanted candidate, as some repeat others


def spread(space: Space, usual: Settings, count: int, seed: int) -> list[dict[str, Any]]:
    """Up to `count` different settings over the whole space, none of them the usual ones."""
    optuna = need("optuna", "tune")
    with _quiet(optuna):
        sampler = optuna.samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
        return _drawn(optuna, sampler, space, [(usual, 0.0)], count)


def propose(
    space: Space, known: Sequence[tuple[Settings, float | None]], count: int, seed: int
) -> list[dict[str, Any]]:
    """Up to `count` new settings that may score high; known: settings with their scores, None where they failed.

    A failure counts as the lowest score, so that its neighbourhood is left.
    """
    optuna = need("optuna", "tune")
    worst = min((score for _, score in known if score is not None), default=0.0)
    told = [(settings, worst if score is None else score) for settings, score in known]
    with _quiet(optuna):
        sampler = optuna.samplers.TPESampler(n_startup_trials=1, multivariate=True, constant_liar=True, seed=seed)
        return _drawn(optuna, sampler, space, told, count)


def _drawn(
    optuna: Any, sampler: Any, space: Space, told: Sequence[tuple[Settings, float]], count: int
) -> list[dict[str, Any]]:  # fmt: skip
    """What the sampler asks for next, each once and none that is known."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    among = {
        name: optuna.distributions.FloatDistribution(values.low, values.high, log=True)
        if isinstance(values, Range)
        else optuna.distributions.CategoricalDistribution(values)
        for name, values in space.items()
    }
    for settings, score in told:
        params = {name: _inside(settings[name], values) for name, values in space.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=among, value=score))
    seen = {name_of(settings) for settings, _ in told}
    out: list[dict[str, Any]] = []
    for _ in range(TRIES * count):
        if len(out) == count:
            break
        params = study.ask(among).params
        settings = {name: _rounded(params[name]) for name in space}
        if name_of(settings) not in seen:
            seen.add(name_of(settings))
            out.append(settings)
    return out


def _rounded(value: Any) -> Any:
    """A number to three digits."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _inside(value: Any, values: Range | tuple[str, ...]) -> Any:
    """A number within its range: a rounded one may lie just outside, no decay lies at its lower end."""
    return min(max(value, values.low), values.high) if isinstance(values, Range) else value


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Optuna says nothing within the block: neither of each trial nor that its Sobol sampler is new."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
