"""Read the authors' checkpoints: their names of weights become ours."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from diffrect.errors import InputError
from diffrect.networks.rectifier import Rectifier
from diffrect.networks.unet import UNet

# Our name -> theirs, applied in order to every entry of a state dict.
_LEVELS = [
    ("blocks.0.", "in_conv."),
    *[(f"blocks.{k}.", f"down{k}.conv.") for k in range(1, 5)],
    *[(f"downs.{k}.", f"down{k + 1}.conv.") for k in range(2)],
    *[(f"ups.{k}.reduce", f"up{k + 1}.conv1x1") for k in range(4)],
    *[(f"ups.{k}.block.", f"up{k + 1}.conv.") for k in range(4)],
    ("head.", "out_conv."),
]
_SEGMENTER = [
    *_LEVELS,
    *[(f"encoder.down{k}.conv.", f"encoder.down{k}.maxpool_conv.1.") for k in range(1, 5)],
    ("first.conv.", "conv_conv.0."),
    ("first.norm.", "conv_conv.1."),
    ("second.conv.", "conv_conv.4."),
    ("second.norm.", "conv_conv.5."),
]
_RECTIFIER = [
    ("guidance_embedding.first.", "temb.dense.0."),
    ("guidance_embedding.second.", "temb.dense.1."),
    ("denoiser.step_embedding.first.", "deunet.model.temb.dense.0."),
    ("denoiser.step_embedding.second.", "deunet.model.temb.dense.1."),
    ("label_encoder.", "encoder."),
    ("image_encoder.", "embedder."),
    ("denoiser.", "deunet.model."),
    *_LEVELS,
    ("first.conv.", "conv0.0."),
    ("first.norm.", "conv0.1."),
    ("second.conv.", "conv1.1."),
    ("second.norm.", "conv1.2."),
    ("guidance.", "temb_proj."),
]


def reference_names(network: nn.Module) -> dict[str, str]:
    """Return the authors' name -> our name of each weight of a `UNet` or `Rectifier`."""
    rules = _RECTIFIER if isinstance(network, Rectifier) else _SEGMENTER
    names = {}
    for ours in network.state_dict():
        theirs = ours
        for old, new in rules:
            theirs = theirs.replace(old, new)
        names[theirs] = ours
    return names


def load_reference_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict with the authors' names into a `UNet` or `Rectifier`, strictly."""
    names = reference_names(network)
    network.load_state_dict({names.get(theirs, theirs): v for theirs, v in state.items()})


def read_reference_network(path: Path) -> UNet | Rectifier:
    """Return the network in a checkpoint of the authors' code.

    Channels and classes are read from the file. A rectifier (the authors' code never saves one, but
    a user may have) has the reference's settings.

    Raises:
        InputError: the file is not such a checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = content.get("state_dict", content)
        rectifier = "temb.dense.0.weight" in state
        classes = len(state["decoder.out_conv.bias"])
        network: UNet | Rectifier
        if rectifier:
            channels = state["embedder.in_conv.conv0.0.weight"].shape[1]
            network = Rectifier(channels, classes, denoiser_input="noisy", clamp_latent=True)
        else:
            channels = state["encoder.in_conv.conv_conv.0.weight"].shape[1]
            network = UNet(channels, classes)
        load_reference_state(network, state)
    except FileNotFoundError:
        raise InputError(path, "a checkpoint file", found="nothing") from None
    except Exception as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(
            path, "a checkpoint of the reference's code (a state dict)", hint=reason
        ) from error
    return network
