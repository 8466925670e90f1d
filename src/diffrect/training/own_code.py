"""What a training checks of the user's own networks and views before its first iteration."""

from diffrect.config import TrainConfig
from diffrect.data.view_options import ViewOptions
from diffrect.errors import InputError
from diffrect.methods.base import Method, Problem
from diffrect.networks.own import OwnNetwork
from diffrect.networks.spec import NetworkSpec
from diffrect.networks.trial import check_network
from diffrect.plugins.settings import VIEW_OPTIONS
from diffrect.plugins.views import find_view


def try_network(problem: Problem, config: TrainConfig, *, unlabelled: bool) -> None:
    """Try a network that is not the U-Net on slices as the training has them.

    Args:
        problem: names the network, channels, classes and size.
        config: says how many rows there are.
        unlabelled: whether batches have unlabelled rows.

    Raises:
        InputError: see `check_network`.
    """
    rows = (config.batch_labelled, config.batch_unlabelled)
    fewest = min(n for n in rows if n) if unlabelled else sum(rows)
    check_network(
        problem.network,
        problem.channels,
        problem.classes,
        problem.size,
        fewest=fewest,
        option="size" if config.crop is None else "crop",
    )


def check_use(method: Method, views: ViewOptions, config: TrainConfig) -> None:
    """Check that a method uses the network and can use the views that the user has named.

    Raises:
        InputError: the method makes other networks, or has to know how slices are turned and the
            weak view is the user's own; or there is no such function.
    """
    spec = NetworkSpec.parse(config.network)
    if spec.is_own and not any(isinstance(part, OwnNetwork) for part in method.modules()):
        raise InputError(
            f"--network {spec.name}",
            f"unet with method {config.method}, which makes its network itself",
            setting="network",
        )
    for option in VIEW_OPTIONS:
        name = getattr(views, option)
        if name is not None:
            find_view(name, option)
    if views.weak_view is not None and method.needs_volumes:
        raise InputError(
            f"--option weak_view={views.weak_view}",
            f"none with method {config.method}, which has to know where each pixel comes from",
            hint="strong_view may be your own; so may both with rectifier=slice"
            if config.method == "diffrect"
            else "strong_view may be your own",
            setting="weak_view",
        )
