"""The only training loop: iterations, validations between them, and checkpoints after these."""

from torch import nn

from diffrect.data.loader import iterate
from diffrect.distributed.averages import any_process, average_logs
from diffrect.plugins.settings import plugin_options
from diffrect.training.checkpoints.state import best_models, state_of
from diffrect.training.fabric import batch_explained
from diffrect.training.loggers.names import parse_loggers, takes_pictures
from diffrect.training.monitor import Monitor
from diffrect.training.pictures.album import Album
from diffrect.training.profiling import StepProfiler
from diffrect.training.stop import StopRequest
from diffrect.training.trainer import Trainer
from diffrect.training.validation import validate


class Loop:
    """Takes the iterations of a training, and watches over them.

    Args:
        trainer: the training, before its first iteration or in the state that it resumes from.
        monitor: reports it.
        stop: asks for its end.
        profiler: records its first iterations; None if nobody wants to know.

    Attributes:
        album: the slices of which pictures are drawn; None if none are.
    """

    def __init__(
        self,
        trainer: Trainer,
        monitor: Monitor,
        stop: StopRequest,
        profiler: StepProfiler | None = None,
    ) -> None:
        self.trainer, self.monitor, self.stop, self.profiler = trainer, monitor, stop, profiler
        self.album: Album | None = None

    def fit(self) -> None:
        """Train to the last iteration, or until a stop is asked for, and save either way.

        Raises:
            InputError: a value is not finite, or a batch does not fit into memory.
            KeyboardInterrupt: a stop was asked for; the state is saved.
        """
        trainer, saver = self.trainer, self.trainer.saver
        self.monitor.remark(trainer.method.remarks)
        self.album = open_album(trainer)
        if trainer.step:
            for name, model in best_models(trainer).items():
                saver.save_missing(name, model)
        try:
            self.take_iterations()
            saver.wait()
        finally:
            saver.close()
        self.monitor.finish(trainer.step)

    def take_iterations(self) -> None:
        """Train to the last iteration; the checkpoints may still be being written then.

        Raises:
            InputError: see `fit`.
            KeyboardInterrupt: see `fit`.
        """
        trainer, monitor, config = self.trainer, self.monitor, self.trainer.config

        # A validation that a stop has cut short comes first.
        if self.validation_due:
            self.validate()
        for raw in iterate(trainer.batches, trainer.step, config.iterations, config.workers):
            # An iteration makes the views and takes the optimiser steps.
            with batch_explained(config, trainer.fabric):
                logs = trainer.iteration(raw)
            if self.profiler is not None:
                self.profiler.step()

            # Its losses are reported, or the reason why it was skipped.
            step, blow_up = trainer.step, trainer.guard.blow_up
            if blow_up:
                monitor.skipped(step, blow_up, raw.cases)
            if monitor.is_logged(step):
                losses = average_logs(trainer.fabric, logs)
                monitor.iteration(step, losses, trainer.best.last_dice)

            # A validation saves the state, and so does a stop that was asked for.
            if self.validation_due:
                self.validate()
            self.stop_if_asked()
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Save and stop if any process was asked to, unless everything is done.

        Raises:
            KeyboardInterrupt: saying how to resume.
            InputError: a checkpoint could not be written meanwhile, see `Saver.wait`.
            OSError: the same.
        """
        trainer, config = self.trainer, self.trainer.config
        finished = trainer.step == config.iterations and not self.validation_due
        ends = self.stop.requested or trainer.saver.failed
        if any_process(trainer.fabric, ends) and not finished:
            trainer.saver.save(state_of(trainer))
            trainer.saver.wait()
            raise KeyboardInterrupt(
                f"stopped after iteration {trainer.step} of {config.iterations}; resume with: "
                f"diffrect train {trainer.store.path} {trainer.run} --resume"
                f"{plugin_options(config)}"
            )

    @property
    def validation_due(self) -> bool:
        """Whether the iterations done ask for a validation that has not been made."""
        step, config = self.trainer.step, self.trainer.config
        reached = step % config.validation_interval == 0 or step == config.iterations
        return step != self.trainer.best.last_step and reached

    def validate(self) -> None:
        """Score the predictor on the validation patients, and keep the best checkpoint.

        If a stop is asked for meanwhile, the validation is left for the next session.
        """
        # The network that predicts is scored on whole volumes, and those that compete with it.
        trainer, monitor = self.trainer, self.monitor
        monitor.validation_begins()
        predictor = trainer.predictor
        scores = self.scores(predictor)
        others: dict[str, float] | None = {}
        if scores is not None and trainer.candidates is not None:
            others = trainer.candidates.dice(predictor, scores, self.scores)
        if scores is None or others is None:
            return

        # The report is on the disk before the checkpoints that follow from it.
        trainer.best.judge(scores["dice"], trainer.step)
        if trainer.candidates is not None:
            trainer.candidates.judge(others, trainer.step)
        named = {f"{name}_dice": dice for name, dice in others.items()}
        step, album = trainer.step, self.album
        pictures = {} if album is None else album.pictures(trainer.method, step)
        monitor.validation(step, scores | named, trainer.best.dice, pictures)
        monitor.sync()

        # The best models so far are kept apart from the last state.
        trainer.saver.save(state_of(trainer), best_models(trainer))

    def scores(self, network: nn.Module) -> dict[str, float] | None:
        """Return what `validate` says of a network; None if a stop was asked for."""
        trainer, album = self.trainer, self.album
        return validate(
            trainer.over_slices(network),
            trainer.store,
            trainer.scored,
            trainer.shown,
            trainer.fabric,
            self.stop,
            self.monitor.validating,
            album.look if album is not None and network is trainer.predictor else None,
        )


def open_album(trainer: Trainer) -> Album | None:
    """Choose the slices of which pictures are drawn; None if none are wanted."""
    config = trainer.config
    if not (config.log_images and takes_pictures(parse_loggers(config.logger))):
        return None
    interpolation = trainer.views.interpolation
    return Album(trainer.store, trainer.split, config, interpolation, trainer.fabric, trainer.dtype)
