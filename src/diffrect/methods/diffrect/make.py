"""The parts of DiffRect that depend on the option `rectifier`."""

from torch import nn
from torch.optim import AdamW, Optimizer

from diffrect.methods.base import Problem
from diffrect.methods.diffrect.options import DiffRectOptions
from diffrect.methods.diffrect.transports import Transports
from diffrect.methods.diffrect.volume_labels import VolumeLabels
from diffrect.methods.diffrect.volume_transports import VolumeTransports
from diffrect.networks.latent_rectifier import LatentRectifier
from diffrect.networks.rectifier import Rectifier


def make_rectifier(problem: Problem, options: DiffRectOptions) -> Rectifier | LatentRectifier:
    """Return the network that corrects pseudo-labels; controls have one that learns nothing."""
    if options.of_volumes and options.rectifier == "volume":
        return LatentRectifier(
            problem.channels,
            problem.classes,
            neighbours=options.neighbours,
            colouring=options.colouring,
            two_classes=options.two_classes,
            sees_image=options.rectifier_image,
            diffusion_steps=options.diffusion_steps,
            sample_steps=options.sample_steps,
        )
    return Rectifier(
        problem.channels,
        problem.classes,
        colouring=options.colouring,
        two_classes=options.two_classes,
        sees_image=options.rectifier_image,
        denoiser_input=options.denoiser_input,
        clamp_latent=options.clamp_latent,
        diffusion_steps=options.diffusion_steps,
        sample_steps=options.sample_steps,
    )


def make_volume_labels(classes: int, options: DiffRectOptions) -> VolumeLabels:
    """Return what holds the labels of all volumes and removes their smaller parts.

    Args:
        classes: number of classes, background included.
        options: settings of DiffRect.
    """
    return VolumeLabels(
        classes,
        options.neighbours,
        options.largest_part,
        options.least_part,
        options.joined_foreground,
    )


def make_transports(
    rectifier: Rectifier | LatentRectifier,
    teacher: nn.Module | None,
    volumes: VolumeLabels | None,
    problem: Problem,
    options: DiffRectOptions,
) -> Transports | VolumeTransports:
    """Return what trains and applies a rectifier.

    Args:
        rectifier: the network, see `make_rectifier`.
        teacher: the network that makes the pseudo-labels; not None if there are volumes.
        volumes: the labels of all volumes, if they are what is corrected.
        problem: task and schedule.
        options: settings of DiffRect.
    """
    if volumes is None:
        assert isinstance(rectifier, Rectifier)
        return Transports(rectifier, options, problem.classes)
    assert teacher is not None
    network = rectifier if isinstance(rectifier, LatentRectifier) else None
    return VolumeTransports(network, teacher, volumes, options, problem.iterations)


def make_optimizer(rectifier: LatentRectifier, problem: Problem) -> Optimizer:
    """Return the optimiser of a volume's rectifier, for which `VolumeTransports.rate` is."""
    return AdamW(rectifier.parameters(), weight_decay=problem.weight_decay, fused=True)
