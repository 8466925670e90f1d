"""Define what a training method is: networks, optimisers and a generator of updates.

A method that takes several optimiser steps per batch, and forwards again in between, cannot be
expressed by one returned loss. So `updates` is a generator: the training loop asks it for an
`Update`, back-propagates its loss, steps the optimiser it names, and asks again.
`diffrect.methods` explains the words.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Optimizer

from diffrect.config import TrainConfig
from diffrect.data.batch import Batch
from diffrect.data.task import Task
from diffrect.data.volumes import TrainingVolumes
from diffrect.methods.losses import poly_rate
from diffrect.networks.own import make_network
from diffrect.networks.spec import UNET
from diffrect.networks.unet import UNet


@dataclass(frozen=True)
class Problem:
    """The task and the schedule of a training, as every method receives them."""

    task: Task
    """What is segmented: channels of the images, names of the classes."""
    iterations: int
    """Length of the training; schedules scale with it."""
    rate: float = 0.01
    """Initial learning rate of SGD."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    """Weight decay of SGD."""
    size: int = 256
    """Height and width in pixels of the slices that the method trains on."""
    network: str = UNET
    """The network that segments, as `--network` names it."""

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return self.task.channels

    @property
    def classes(self) -> int:
        """Number of classes, background included."""
        return len(self.task.classes)

    def make_network(self) -> nn.Module:
        """Return a new network that segments, with weights of its own.

        It turns images (B, channels, H, W) into logits (B, classes, H, W).

        Raises:
            InputError: the user has named one that cannot be made.
        """
        return make_network(self.network, self.channels, self.classes)


@dataclass(frozen=True)
class Update:
    """One optimiser step: `loss` moves the parameters of the optimiser called `name`.

    Attributes:
        name: one of the names of `Method.optimizers`.
        loss: scalar with its graph.
        logs: numbers to report by name; tensors are kept without their graphs.
    """

    name: str
    loss: Tensor
    logs: Mapping[str, Tensor | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        detached = {k: v.detach() if isinstance(v, Tensor) else v for k, v in self.logs.items()}
        object.__setattr__(self, "logs", detached)


class Corrections(NamedTuple):
    """Pseudo-labels of unlabelled rows."""

    before: Tensor
    """Class maps (U, H, W) as they are predicted."""
    after: Tensor
    """The same, corrected."""


class Method(nn.Module, ABC):
    """Base of all methods. A subclass sets `Options` and writes `updates`.

    Attributes:
        Options: frozen dataclass of the method's own settings, with its published values as
            defaults.
        presets: for each preset name, the options that differ from `Options()`, and those of the
            views that differ from `data.view_options.VIEW_PRESETS` because the publication
            defines them.
        unlabelled: whether the method learns from unlabelled rows.
        strong_views: how many strong views it reads, 0 to 2; with 0, `Batch.strong` is the weak
            view, with 2, `Batch.second` has the other one.
        needs_unet: whether it reads maps inside the U-Net, so that no other network will do.
        carried: numbers of an earlier iteration that later ones report again. A checkpoint keeps
            them, so that a resumed training writes the same log.
    """

    Options: ClassVar[type]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    unlabelled: ClassVar[bool] = True
    strong_views: int = 1
    needs_unet: ClassVar[bool] = False

    def __init__(self, problem: Problem, options: Any) -> None:
        super().__init__()
        self.problem = problem
        self.options = options
        self.carried: Mapping[str, Tensor | float] = {}
        self.segmenter = problem.make_network()

    @classmethod
    def check_settings(cls, options: Any, config: TrainConfig) -> None:
        """Refuse options of the method that contradict the configuration of the training.

        Args:
            options: the method's own.
            config: the training's.

        Raises:
            InputError: they contradict each other.
        """

    @abstractmethod
    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the updates of iteration `step`, each outside of `no_grad` and `autocast`.

        Args:
            batch: slices on the method's device, see `Batch`.
            step: the iteration, from 0.

        Yields:
            One update per optimiser step, which is taken before the generator resumes.
        """

    @property
    def unet(self) -> UNet:
        """The segmenter of a method that `needs_unet`, with its encoder and decoder."""
        return cast(UNet, self.segmenter)  # `needs_unet` has been checked, tests have stand-ins

    @property
    def needs_volumes(self) -> bool:
        """Whether training needs more of a volume than the slices of the batch, see `attach`."""
        return False

    def attach(self, volumes: TrainingVolumes) -> None:
        """Receive all slices of the training patients, once before the first iteration.

        The training loop calls it only where `needs_volumes`, because it reads all known labels.
        `Batch.slices` and `Batch.geometry` say which of them a row shows, and how.

        Args:
            volumes: the slices, on the CPU.
        """

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the method has decided by the training data, in lines for the log and the user.

        The training loop asks when there is everything to decide by, after `attach`.
        """
        return ()

    def corrections(self, batch: Batch, step: int) -> Corrections | None:
        """Return pseudo-labels before and after the method corrects them, for those who watch.

        It changes nothing that training remembers: no random state, no statistics, no mode. Of
        several processes only one calls it, so it waits for no other.

        Args:
            batch: slices without any change of geometry or intensity, labelled rows first.
            step: iterations done.

        Returns:
            The class maps of the unlabelled rows; None if nothing is corrected, or not yet.
        """
        return None

    def check_batch(self, labelled: int, unlabelled: int) -> None:
        """Refuse batches that are too small to learn from, before the first iteration.

        Args:
            labelled: labelled rows of each batch of this process.
            unlabelled: unlabelled rows of each batch of this process.

        Raises:
            InputError: the method needs more rows.
        """

    def after_step(self, step: int) -> None:
        """Do what follows all updates of iteration `step`, for example a moving average."""

    @property
    def predictor(self) -> nn.Module:
        """The network that predicts after training: images (B, channels, H, W) -> logits."""
        return self.segmenter

    @property
    def beside_predictor(self) -> Mapping[str, nn.Module]:
        """The networks that are of use after training beside the predictor, by their attributes.

        `best.pt` keeps them, in half precision, and the predictor; the others only train.
        """
        return {}

    def optimizers(self) -> dict[str, Optimizer]:
        """Return the optimisers by the names that `updates` uses."""
        return {"segmenter": self.sgd(self.segmenter)}

    def set_rates(self, optimizers: Mapping[str, Optimizer], step: int) -> None:
        """Set the learning rates of iteration `step`: polynomial decay for all optimisers."""
        for optimizer in optimizers.values():
            self.set_rate(optimizer, poly_rate(self.problem.rate, step, self.problem.iterations))

    def sgd(self, network: nn.Module, *, nesterov: bool = False) -> SGD:
        """Return SGD of a network's parameters, with the problem's rate, momentum and decay.

        The fused step is one operation in place of some per parameter; results differ by roundings
        at most. It wants momenta from the start; from zeros, the first step is the plain gradient
        as usual.
        """
        problem = self.problem
        optimizer = SGD(
            network.parameters(),
            lr=problem.rate,
            momentum=problem.momentum,
            weight_decay=problem.weight_decay,
            nesterov=nesterov,
            fused=True,
        )
        for parameter in network.parameters():
            if parameter.requires_grad:
                momentum = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                optimizer.state[parameter]["momentum_buffer"] = momentum
        return optimizer

    @staticmethod
    def set_rate(optimizer: Optimizer, rate: float) -> None:
        """Set one learning rate for all parameter groups."""
        for group in optimizer.param_groups:
            group["lr"] = rate


def make_teacher(student: nn.Module) -> nn.Module:
    """Return a copy of `student` in eval mode whose parameters learn nothing."""
    return deepcopy(student).requires_grad_(False).eval()


@contextmanager
def in_eval_mode(*networks: nn.Module) -> Iterator[None]:
    """Have networks in eval mode while the context lasts, and every module as it was afterwards."""
    training = [module for network in networks for module in network.modules() if module.training]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def own_statistics(network: nn.Module) -> Iterator[None]:
    """Let batch norm use the statistics of its input, which its running ones follow.

    The rest of a network in eval mode stays as it is, so that its dropout stays off.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.train()
    try:
        yield
    finally:
        for norm in norms:
            norm.eval()


@torch.no_grad()
def move_average(
    teacher: nn.Module, student: nn.Module, decay: float, step: int | None, *, buffers: bool = True
) -> None:
    """Move a teacher towards its student: teacher = a teacher + (1 - a) student.

    a = min(1 - 1 / (step + 1), decay) (Tarvainen & Valpola, NeurIPS 2017). The early limit makes
    the first average a plain copy.

    Args:
        teacher: the network to change.
        student: a network of the same architecture.
        decay: a, in [0, 1], once the training is long enough.
        step: the iteration, from 0; None = no early limit.
        buffers: whether the statistics of batch norm are averaged too.
    """
    amount = 1 - (decay if step is None else min(1 - 1 / (step + 1), decay))
    mine, theirs = (_values(network, buffers) for network in (teacher, student))
    floats = [name for name, value in mine.items() if value.is_floating_point()]
    torch._foreach_lerp_([mine[n] for n in floats], [theirs[n] for n in floats], amount)
    for name in mine.keys() - set(floats):
        mine[name].copy_(theirs[name])


def _values(network: nn.Module, buffers: bool) -> dict[str, Tensor]:
    """Return parameters and perhaps buffers by name, each once even if modules share them."""
    values: dict[str, Tensor] = dict(network.named_parameters())
    return values | dict(network.named_buffers()) if buffers else values
