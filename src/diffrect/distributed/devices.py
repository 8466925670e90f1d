"""Which device computes: what a name such as cuda:1 is on this machine, and whether it is there."""

import torch

from diffrect.checks import check_device
from diffrect.console import count
from diffrect.distributed.ranks import is_launched
from diffrect.errors import InputError
from diffrect.processes import local_rank


def find_device(name: str, number: int = 1) -> torch.device:
    """Return the device of a name such as `cpu` or `cuda:1`; `auto` is a GPU if there is one.

    Of several processes on a machine, each takes a GPU of its own.

    Args:
        name: see `checks.check_device`.
        number: how many devices of this kind are needed.

    Raises:
        InputError: this machine has no such device, or fewer of them.
    """
    check_device("--device", name)
    kind, _, index = name.partition(":")
    if kind == "auto":
        kind = _best_kind()
    if kind == "cpu":
        return torch.device("cpu")
    found = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
    if found < number or found <= int(index or 0):
        raise _missing(name, kind, found, number)
    if kind == "cuda" and not index:
        index = str(local_rank() % found if is_launched() else 0)
    try:
        return torch.empty(0, device=f"{kind}:{index or 0}").device
    except (RuntimeError, AssertionError) as error:  # a driver that does not answer, a GPU in use
        reason = str(error).splitlines()[0]
        subject = f"--device {name}"
        raise InputError(subject, "one that computes", reason=reason, setting="device") from None


def _best_kind() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _missing(name: str, kind: str, found: int, number: int) -> InputError:
    """Return what to say of a device that this machine does not have."""
    subject = f"--device {name}" if number == 1 else f"--device {name} --devices {number}"
    hint = "give --device cpu" if not found else None
    if kind == "mps":
        had = "one Apple GPU" if found else "no Apple GPU that PyTorch can use"
    elif found:
        had = count(found, "GPU") + (", cuda:0" if found == 1 else f", cuda:0 to cuda:{found - 1}")
    else:
        had = "no GPU" if torch.version.cuda or torch.version.hip else "a PyTorch without CUDA"
    return InputError(subject, "what this machine has", found=had, hint=hint, setting="device")
