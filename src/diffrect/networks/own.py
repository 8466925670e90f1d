"""Networks of the user or of a library in place of the U-Net: made, and tried before training."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from diffrect.errors import InputError
from diffrect.networks.quick import at_least_single
from diffrect.networks.spec import NetworkSpec
from diffrect.networks.unet import UNet
from diffrect.plugins.names import describe_fault, find_object

INPUT_NAMES = ("in_channels", "in_chns", "in_chans", "n_channels")
"""Names under which a class takes the number of image channels; the first that it has is used."""
OUTPUT_NAMES = ("out_channels", "class_num", "num_classes", "n_classes", "classes")
"""Names under which a class takes the number of classes, background included."""


class OwnNetwork(nn.Module):
    """A network that is not the package's: images (B, channels, H, W) -> logits (B, classes, H, W).

    Attributes:
        network: an object of the class that the user has named.
        spec: how it was named.
        text: the same as the user wrote it.
        channels: channels of the images.
        classes: number of classes, background included.
    """

    def __init__(self, text: str, channels: int, classes: int) -> None:
        """Make the network.

        Args:
            text: how it is named, see `NetworkSpec`.
            channels: channels of the images.
            classes: number of classes, background included.

        Raises:
            InputError: there is no such class, it is no network, or it cannot be made like this.
        """
        super().__init__()
        self.text, self.channels, self.classes = text, channels, classes
        self.spec = spec = NetworkSpec.parse(text)
        kind = find_object(spec.name, f"--network {spec.name}", "network")
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise refuse(spec, "a subclass of torch.nn.Module", got=repr(kind))
        arguments = {**_numbers(kind, channels, classes, spec), **spec.arguments}
        try:
            self.network: nn.Module = kind(**arguments)
        except Exception as error:  # another's code may raise anything
            reason = describe_fault(error)
            hint = flat_hint(kind, spec) or "see its arguments with Python's help()"
            raise refuse(
                spec, "arguments that make it", found=f"{arguments} {reason}", hint=hint
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes, H, W), in at least single precision for losses."""
        return at_least_single(only_map(self.network(images)))


def make_network(text: str, channels: int, classes: int) -> nn.Module:
    """Return a network: images (B, channels, H, W) -> logits (B, classes, H, W).

    Args:
        text: how the user names it, see `NetworkSpec`.
        channels: channels of the images.
        classes: number of classes, background included.

    Raises:
        InputError: there is none of that name, or it cannot be made like this.
    """
    own = NetworkSpec.parse(text).is_own
    return OwnNetwork(text, channels, classes) if own else UNet(channels, classes)


def only_map(found: Any) -> Any:
    """Return what a network answers; the only entry, where it answers a list of one."""
    return found[0] if isinstance(found, list | tuple) and len(found) == 1 else found


def refuse(spec: NetworkSpec, expected: str, **parts: object) -> InputError:
    """Return the error about a network that the user has named."""
    return InputError(f"--network {spec.name}", expected, setting="network", **parts)


def flat_hint(kind: type, spec: NetworkSpec) -> str | None:
    """Return what to add if a class makes networks of several dimensions and none is said."""
    takes = "spatial_dims" in inspect.signature(kind).parameters
    if takes and spec.arguments.get("spatial_dims") != 2:
        return "slices are 2-D: add spatial_dims=2"
    return None


def _numbers(kind: type, channels: int, classes: int, spec: NetworkSpec) -> Mapping[str, int]:
    """Return the numbers of channels and of classes under the names by which a class takes them.

    Raises:
        InputError: it has no such names, and the user gives none of the numbers.
    """
    try:
        parameters = inspect.signature(kind).parameters
    except (TypeError, ValueError):  # written in C
        return {}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    numbers = {}
    for names, number in ((INPUT_NAMES, channels), (OUTPUT_NAMES, classes)):
        taken = next((name for name in names if name in parameters), None)
        if taken is None and open_ended:
            taken = names[0]
        if taken is not None:
            numbers[taken] = number
    return numbers
