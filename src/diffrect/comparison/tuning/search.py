"""Which values to try next: Optuna's tree-structured Parzen estimator.

Bergstra, Bardenet, Bengio, Kégl, "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011;
Akiba, Sano, Yanase, Ohta, Koyama, "Optuna", KDD 2019. The first trial has the method's own
settings, the next ones are drawn at random, the rest follow those that scored best.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diffrect.comparison.tuning.space import Range, Space, holds
from diffrect.comparison.tuning.trials import Trial
from diffrect.errors import InputError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

RANDOM_TRIALS = 4
"""Trials before the search follows the scores, the one with the method's own settings included."""
_LONGEST = 100_000  # seeds of one tuning are never those of another with the next seed


def check_optuna() -> None:
    """Refuse to begin where Optuna is not installed.

    Raises:
        InputError: naming what to install.
    """
    try:
        import optuna  # noqa: F401 - takes a second, which only a tuning pays
    except ImportError:
        hint = "pip install optuna"
        raise InputError("diffrect tune", "the package optuna", hint=hint) from None


def next_values(
    space: Space, trials: Sequence[Trial], own: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Return the values of the next trial, a function of the arguments alone.

    Args:
        space: what is tuned.
        trials: the trials before it, scored or failed.
        own: the method's own values, those of the first trial.
        seed: of the search.
    """
    if not trials:
        return dict(own)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=seed * _LONGEST + len(trials), n_startup_trials=RANDOM_TRIALS
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {name: _distribution(values, own[name]) for name, values in space.items()}
    for trial in trials:
        if not all(holds(space[name], value) for name, value in trial.values.items()):
            continue  # the method's own settings may lie outside
        state = optuna.trial.TrialState
        study.add_trial(
            optuna.trial.create_trial(
                state=state.FAIL if trial.dice is None else state.COMPLETE,
                params=dict(trial.values),
                distributions=distributions,
                value=trial.dice,
            )
        )
    return dict(study.ask(distributions).params)


def _distribution(values: Range | tuple[Any, ...], own: Any) -> "BaseDistribution":
    """Return a range or a list as Optuna calls it; whole numbers stay whole."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(values, Range):
        return CategoricalDistribution(values)
    if isinstance(own, int) and not isinstance(own, bool):
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)
