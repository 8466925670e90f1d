"""What a user reads before the first iteration: what is trained, where, and how to stop."""

import torch

from diffrect.config import TrainConfig
from diffrect.console import count, tell
from diffrect.data.choose_split import patients_by_label
from diffrect.data.splits.words import describe_split
from diffrect.networks.spec import UNET
from diffrect.plugins.settings import plugin_options
from diffrect.training.interval import scored_slices
from diffrect.training.trainer import Trainer
from diffrect.training.validation import warn_of_blind_choice


def announce(trainer: Trainer, origin: str, *, progress: bool) -> None:
    """Print the header, and a warning if nothing chooses the best checkpoint, on one process.

    Args:
        trainer: the training.
        origin: where the split comes from.
        progress: whether to print the header.
    """
    if not trainer.fabric.is_global_zero:
        return
    for line in header(trainer, origin) if progress else ():
        tell(line)
    warn_of_blind_choice(trainer.store, trainer.split, trainer.shown)


def header(trainer: Trainer, origin: str) -> list[str]:
    """Return what is known before a training, in lines.

    Args:
        trainer: the training, before its first iteration or in the state that it resumes from.
        origin: where the split comes from.
    """
    store, split, run = trainer.store, trainer.split, trainer.run
    labelled, others = store.training_slices(split)
    slices = f"{len(labelled)} labelled, {len(others)} unlabelled, "
    slices += f"{scored_slices(store, split)} to validate"
    if split.val_slices:
        slices += " (left out of the labelled scans)"
    plugins = plugin_options(trainer.config)
    resume = f"diffrect train {store.path} {run} --resume{plugins}"
    return [
        f"patients: {describe_split(split, patients_by_label(store), origin)}",
        f"slices: {slices}; {count(store.channels, 'channel')}; classes {', '.join(store.classes)}",
        f"method: {_method(trainer)}",
        f"device: {_device(trainer)}",
        f"training: {_length(trainer.config, trainer.step)}",
        f"{run}: takes everything that is written; Ctrl-C saves and stops, continue with: {resume}",
    ]


def _method(trainer: Trainer) -> str:
    config, method = trainer.config, trainer.method
    predicts = sum(p.numel() for p in method.predictor.parameters())
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    sizes = f"{predicts / 1e6:.2f} million parameters predict"
    if trained != predicts:
        sizes += f", {trained / 1e6:.2f} million are trained"
    network = "" if config.network == UNET else f", network {config.network}"
    return f"{config.method}, preset {config.preset}{network}; {sizes}"


def _device(trainer: Trainer) -> str:
    device, processes = trainer.fabric.device, trainer.fabric.world_size
    if device.type == "cuda":
        name = f"{device} ({torch.cuda.get_device_name(device)})"
    else:
        name = f"{device}, {count(torch.get_num_threads(), 'thread')}"
    several = f", {processes} processes" if processes > 1 else ""
    return f"{name}{several}, precision {trainer.config.precision}"


def _length(config: TrainConfig, done: int) -> str:
    batch = f"{config.batch_labelled} + {config.batch_unlabelled} slices"
    whole = f"{count(config.iterations, 'iteration')} of {batch} at {config.side} x {config.side}"
    begun = f", {done} of them done" if done else ""
    return f"{whole}{begun}; validates every {config.validation_interval} (--validate-every)"
