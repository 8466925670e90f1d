"""With preset `reference`, this package computes what the authors' code computes.

    python benchmarks/reference_parity.py GOLDEN_DIR [--device cuda]

Prints the largest difference per quantity, as a share of the quantity's largest magnitude. Exits
with 1 if one is over 1e-6.

Networks, sampling and whole training iterations (float64, channels-last layout as in training) are
compared with numbers recorded from the authors' code. GOLDEN_DIR holds
reference_checkpoint_keys.json (names and shapes of their checkpoints, from which the weights are
made by rule), segmenter.npz, rectifier.npz and training_steps.npz. Channels, classes, sizes, batch
and number of iterations are read from the files.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from diffrect.data.batch import Batch
from diffrect.data.task import Task
from diffrect.methods.base import Problem
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.diffrect.options import REFERENCE, DiffRectOptions
from diffrect.methods.diffrect.parts import Draws
from diffrect.networks.diffusion import alphas_cumulative, cosine_betas
from diffrect.networks.rectifier import Rectifier
from diffrect.networks.reference import load_reference_state
from diffrect.networks.unet import UNet

TOLERANCE = 1e-6
Arrays = Mapping[str, np.ndarray]


def weights_by_rule(shapes: Mapping[str, list[int]]) -> dict[str, Tensor]:
    """Return the weights of the recorded numbers: entry i is drawn from seed i."""
    weights = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        z = np.random.RandomState(seed).standard_normal(int(np.prod(shape))).reshape(shape)
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.zeros((), dtype=torch.int64)
            continue
        if len(shape) > 1:
            value = z * np.sqrt(1 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            value = 1 + 0.1 * np.abs(z)
        elif name.endswith("running_mean"):
            value = 0.1 * z
        elif name.endswith("weight"):
            value = 1 + 0.1 * z
        else:
            value = 0.1 * z
        weights[name] = torch.from_numpy(value.astype(np.float32))
    return weights


def tensor(array: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Return floats as float64, integers as int64, images and maps in channels-last layout."""
    kind = torch.float64 if array.dtype.kind == "f" else torch.int64
    found = torch.from_numpy(np.asarray(array)).to(device, kind)
    return found.contiguous(memory_format=torch.channels_last) if found.ndim == 4 else found


def difference(ours: Tensor | np.ndarray | float, theirs: np.ndarray) -> float:
    """Return the largest difference as a share of the largest magnitude of `theirs`."""
    found = ours.cpu().numpy() if isinstance(ours, Tensor) else ours
    gap = np.abs(found - theirs).max()
    return float(gap / max(np.abs(theirs).max(), np.finfo(np.float64).tiny))


def without_dropout(network: nn.Module) -> None:
    """Switch dropout off, as in all recorded numbers."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def problem(channels: int, classes: int, iterations: int) -> Problem:
    """Return the problem of a training, whose classes need no names here."""
    names = tuple(f"class {code}" for code in range(classes))
    return Problem(Task(channels, names, "minmax"), iterations)


class Setup:
    """The recorded shapes, and methods filled with the recorded weights."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.device = torch.device(device)
        keys = json.loads((folder / "reference_checkpoint_keys.json").read_text("utf-8"))
        self.states = {name: weights_by_rule(shapes) for name, shapes in keys.items()}
        self.classes = keys["segmenter"]["decoder.out_conv.bias"][0]
        self.channels = keys["segmenter"]["encoder.in_conv.conv_conv.0.weight"][1]

    def method(self, iterations: int = 1) -> DiffRect:
        """Return DiffRect with preset `reference` in float64, rectifying from the start."""
        # The recorded iterations begin with rectification.
        changes = {
            **REFERENCE,
            "ramp_stairs": iterations,
            "rectify_from": 0,
            "rectify_after": False,
        }
        options = replace(DiffRectOptions(), **changes)
        method = DiffRect(problem(self.channels, self.classes, iterations), options)
        load_reference_state(method.segmenter, self.states["segmenter"])
        load_reference_state(method.rectifier, self.states["rectifier"])
        without_dropout(method)
        method.to(self.device, torch.float64)
        return method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def tensor(self, array: np.ndarray) -> Tensor:
        """Return a recorded array on the device of the methods."""
        return tensor(array, self.device)


def compare_segmenter(setup: Setup, golden: Arrays) -> Iterator[tuple[str, float]]:
    """Yield the differences of the logits in evaluation and training mode."""
    for mode in ("eval", "train"):
        segmenter: UNet = setup.method().segmenter.train(mode == "train")
        with torch.no_grad():
            logits = segmenter(setup.tensor(golden["image"]))
        yield f"segmenter logits, {mode}", difference(logits, golden[f"logits_{mode}"])


def compare_rectifier(setup: Setup, golden: Arrays) -> Iterator[tuple[str, float]]:
    """Yield those of the schedule, one transport in both modes, and sampling."""
    betas = cosine_betas(len(golden["betas"]))
    yield "betas", difference(betas, golden["betas"])
    yield "alphas_cumprod", difference(alphas_cumulative(betas), golden["alphas_cumprod"])
    steps = sorted(setup.method().rectifier.sample_steps)
    yield "sample_timesteps", difference(np.array(steps), golden["sample_timesteps"])
    for mode in ("eval", "train"):
        rectifier: Rectifier = setup.method().rectifier.train(mode == "train")
        with torch.no_grad():
            logits, latent = rectifier.transport(
                *(setup.tensor(golden[name]) for name in ("image", "coarse", "label")),
                setup.tensor(golden["guidance_times_999"]) / 999,
                setup.tensor(golden["timestep"]),
                setup.tensor(golden["noise"]),
            )
        yield f"rectifier latent loss, {mode}", difference(latent, golden[f"latent_loss_{mode}"])
        yield f"rectifier logits, {mode}", difference(logits, golden[f"logits_{mode}"])
    sampled = sample(setup.method(), golden, rows=len(golden["image"]))
    yield "rectifier sampled logits, eval", difference(sampled, golden["sampled_logits_eval"])


def sample(method: DiffRect, golden: Arrays, rows: int) -> Tensor:
    """Return rectified logits in evaluation mode of the first rows of the recorded inputs."""
    device = next(method.parameters()).device
    images, coarse, guidance, noise = (
        tensor(golden[name], device)[:rows]
        for name in ("image", "coarse", "guidance_times_999", "sample_noise")
    )
    return method.rectifier.eval().rectify(images, coarse, guidance / 999, noise)


class RecordedDraws(Draws):
    """Draws that replay those of a recorded training."""

    def __init__(self, golden: Arrays) -> None:
        self.golden, self.step = golden, 0

    def timestep(self, name: str, rows: int, steps: int, like: Tensor) -> Tensor:
        """Return the recorded time steps."""
        return tensor(self.golden[f"timestep_{name}"][self.step], like.device)

    def normal(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return the recorded noise."""
        return tensor(self.golden[f"noise_{name}"][self.step], like.device)


def compare_training(
    setup: Setup, golden: Arrays, rectifier_inputs: Arrays
) -> Iterator[tuple[str, float]]:
    """Yield the differences of every logged value, and of what the weights do after."""
    iterations = len(golden["values"])
    method = setup.method(iterations)
    method.draws = draws = RecordedDraws(golden)
    optimizers = method.optimizers()
    labelled = int(golden["labelled"])
    weak, strong, label = (setup.tensor(golden[name]) for name in ("weak", "strong", "label"))
    batch = Batch(weak, strong, label[:labelled])
    values = np.empty_like(golden["values"])
    after: dict[str, list[float]] = {"segmenter": [], "rectifier": []}
    for step in range(iterations):
        draws.step = step
        logs = train_step(method.train(), optimizers, batch, step)
        values[step] = [float(logs[name]) for name in golden["names"]]
        method.eval()
        with torch.no_grad():
            logits = method.segmenter(batch.weak[:2])
        after["segmenter"].append(difference(logits, golden["segmenter_logits_after"][step]))
        sampled = sample(method, rectifier_inputs, rows=2)
        after["rectifier"].append(
            difference(sampled, golden["rectifier_sampled_logits_after"][step])
        )
    for column, name in enumerate(golden["names"]):
        yield f"training {name}", difference(values[:, column], golden["values"][:, column])
    for network, gaps in after.items():
        yield f"{network} after each iteration", max(gaps)


def train_step(
    method: DiffRect, optimizers: dict, batch: Batch, step: int
) -> dict[str, Tensor | float]:
    """Do one iteration as the training loop does; return everything that was logged.

    Args:
        method: the method, in training mode.
        optimizers: its optimisers by name.
        batch: the batch.
        step: number of the iteration.
    """
    method.set_rates(optimizers, step)
    logs: dict[str, Tensor | float] = {}
    for update in method.updates(batch, step):
        optimizer = optimizers[update.name]
        optimizer.zero_grad()
        update.loss.backward()
        optimizer.step()
        logs |= update.logs
    method.set_rates(optimizers, step + 1)
    logs["next_segmenter_lr"] = optimizers["segmenter"].param_groups[0]["lr"]
    return logs


def compare(folder: Path, device: str = "cpu") -> Iterator[tuple[str, float]]:
    """Yield all quantities of a folder with their relative differences."""
    setup = Setup(folder, device)
    golden = {
        name: dict(np.load(folder / f"{name}.npz", allow_pickle=False))
        for name in ("segmenter", "rectifier", "training_steps")
    }
    yield from compare_segmenter(setup, golden["segmenter"])
    yield from compare_rectifier(setup, golden["rectifier"])
    yield from compare_training(setup, golden["training_steps"], golden["rectifier"])


def main(arguments: list[str] | None = None) -> int:
    """Print one line per quantity; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("golden", type=Path, help="folder with the recorded numbers")
    parser.add_argument("--device", default="cpu", help="such as cuda")
    given = parser.parse_args(arguments)
    failed = 0
    for name, gap in compare(given.golden, given.device):
        verdict = "ok" if gap <= TOLERANCE else "DIFFERS"
        failed += verdict != "ok"
        print(f"{name:44} {gap:9.2e}  {verdict}", flush=True)
    print(
        f"{failed} of the quantities differ by more than {TOLERANCE:g}" if failed else "all equal"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
