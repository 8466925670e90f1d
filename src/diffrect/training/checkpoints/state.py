"""What the checkpoints of a training hold, and the return to what one of them holds."""

from dataclasses import asdict, replace

from diffrect.runs.architecture import describe
from diffrect.runs.model_state import ModelState, halved, name_of
from diffrect.runs.names import BEST
from diffrect.runs.provenance import code_version
from diffrect.runs.resume import TrainingState
from diffrect.runs.state import load_average, load_optimizers, load_weights
from diffrect.training.checkpoints.best import BestSoFar
from diffrect.training.statistics import statistics_of
from diffrect.training.trainer import Trainer


def state_of(trainer: Trainer) -> TrainingState:
    """Return everything needed to resume a training, as `last.pt` holds it."""
    method, best, others = trainer.method, trainer.best, trainer.candidates
    return TrainingState(
        step=trainer.step,
        best=best.dice,
        last_dice=best.last_dice,
        validated=best.last_step,
        skipped=trainer.guard.skipped,
        overflows=trainer.guard.overflows,
        config=trainer.config,
        task=trainer.store.task,
        split=trainer.split,
        method=method.state_dict(),
        optimizers={name: o.state_dict() for name, o in trainer.optimizers.items()},
        loss_scale=trainer.fabric.strategy.precision.state_dict(),  # only 16-mixed has one
        carried={name: float(value) for name, value in method.carried.items()},
        statistics={} if trainer.precise is None else statistics_of(trainer.predictor),
        best_step=best.step,
        predicts=name_of(method.predictor, method),
        network=describe(method.predictor),
        code=asdict(code_version()),
        average={} if others is None else others.average.network.state_dict(),
        best_others={} if others is None else dict(others.best),
        best_steps={} if others is None else dict(others.best_steps),
    )


def model_of(trainer: Trainer) -> ModelState:
    """Return what predicts and rectifies now, as `best.pt` holds it."""
    method = trainer.method
    return ModelState(
        step=trainer.step,
        config=trainer.config,
        task=trainer.store.task,
        code=asdict(code_version()),
        network=describe(method.predictor),
        predictor=trainer.predictor.state_dict(),
        beside={
            name: halved(network.state_dict()) for name, network in method.beside_predictor.items()
        },
    )


def best_models(trainer: Trainer) -> dict[str, ModelState]:
    """Return the models of which the present state is the best, by their checkpoints' names."""
    step, candidates = trainer.step, trainer.candidates
    models = {BEST: model_of(trainer)} if trainer.best.step == step else {}
    if candidates is not None:
        for name, network in candidates.networks():
            if candidates.best_steps.get(name) == step:
                kind, weights = describe(network), network.state_dict()
                models[name] = replace(model_of(trainer), network=kind, predictor=weights)
    return models


def restore(trainer: Trainer, state: TrainingState) -> None:
    """Return to a saved state.

    Args:
        trainer: a training of the same configuration, in whichever state.
        state: what a checkpoint holds.

    Raises:
        InputError: its weights or numbers do not fit the training; names the file and the entry.
    """
    load_weights(trainer.method, state.method, state.path)
    load_optimizers(trainer.optimizers, state.optimizers, state.path)
    if state.loss_scale:
        trainer.fabric.strategy.precision.load_state_dict(dict(state.loss_scale))
    trainer.step, trainer.method.carried = state.step, state.carried
    trainer.best = BestSoFar(state.best, state.best_step, state.last_dice, state.validated)
    trainer.guard.skipped, trainer.guard.overflows = state.skipped, state.overflows
    if trainer.candidates is not None:
        load_average(trainer.candidates.average.network, state.average, state.path)
        trainer.candidates.best = dict(state.best_others)
        trainer.candidates.best_steps = dict(state.best_steps)
