"""Record numbers of this package in the format that `reference_parity.py` reads.

    python benchmarks/record_parity.py FOLDER

Writes the four files of FOLDER and prints nothing. tests/golden was written in this way when the
package agreed with the authors' numbers. It holds a small problem: 3 classes, 2 channels, 1
labelled and 1 unlabelled row of 64 x 64, two iterations.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from diffrect.data.batch import Batch
from diffrect.methods.diffrect.method import DiffRect
from diffrect.methods.diffrect.options import DiffRectOptions
from diffrect.networks.diffusion import alphas_cumulative, cosine_betas
from diffrect.networks.reference import reference_names
from reference_parity import RecordedDraws, Setup, problem, sample, tensor, train_step

NAMES = [
    "supervised",
    "unsupervised",
    "complementary",
    "confidence_weight",
    "segmenter_total",
    "guidance_weak_to_label",
    "latent_weak_to_label",
    "rectifier_supervised",
    "guidance_strong_to_weak",
    "latent_strong_to_weak",
    "rectifier_unsupervised",
    "rectifier_total",
    "rectification",
    "consistency_weight",
    "next_segmenter_lr",
]
CHANNELS, CLASSES, ROWS, LABELLED, SIZE, ITERATIONS = 2, 3, 2, 1, 64, 2


def inputs(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return smooth images and blocky class maps, which compress well."""
    wave = np.linspace(0, 6, SIZE)
    image = np.sin(wave[:, None] * random.uniform(1, 2, (ROWS, CHANNELS, 1, 1)) + wave)
    blocks = random.integers(CLASSES, size=(2, ROWS, 8, 8)).astype(np.uint8)
    label, coarse = blocks.repeat(8, axis=2).repeat(8, axis=3)
    return {
        "image": ((image + 1) / 2).astype(np.float32).round(2),
        "label": label,
        "coarse": coarse,
    }


def noise(random: np.random.Generator, *leading: int) -> np.ndarray:
    """Return standard normal latents, rounded so that they compress."""
    return random.standard_normal((*leading, 256, 4, 4)).astype(np.float16).astype(np.float32)


def write_keys(folder: Path) -> None:
    """Write names and shapes of the two networks, as the authors' checkpoints have them."""
    method = DiffRect(problem(CHANNELS, CLASSES, 1), DiffRectOptions())
    keys = {}
    for name in ("segmenter", "rectifier"):
        network = getattr(method, name)
        state = network.state_dict()
        keys[name] = {
            theirs: list(state[ours].shape) for theirs, ours in reference_names(network).items()
        }
    (folder / "reference_checkpoint_keys.json").write_text(json.dumps(keys, indent=0), "utf-8")


@torch.no_grad()
def record_networks(setup: Setup, given: dict, random: np.random.Generator) -> dict[str, dict]:
    """Return the content of segmenter.npz and rectifier.npz."""
    segmenter = {"image": given["image"]}
    betas = cosine_betas(10)
    rectifier = given | {
        "guidance_times_999": np.full(ROWS, 999 * 0.37, np.float32),
        "timestep": np.array([2, 8]),
        "noise": noise(random, ROWS),
        "sample_noise": noise(random, ROWS),
        "betas": betas.numpy(),
        "alphas_cumprod": alphas_cumulative(betas).numpy(),
        "sample_timesteps": np.array([0, 9]),
    }
    for mode in ("eval", "train"):
        method: DiffRect = setup.method().train(mode == "train")
        logits = method.segmenter(tensor(given["image"]))
        segmenter[f"logits_{mode}"] = logits.float().numpy()
        logits, latent = method.rectifier.transport(
            *(tensor(rectifier[name]) for name in ("image", "coarse", "label")),
            tensor(rectifier["guidance_times_999"]) / 999,
            tensor(rectifier["timestep"]),
            tensor(rectifier["noise"]),
        )
        rectifier[f"logits_{mode}"] = logits.float().numpy()
        rectifier[f"latent_loss_{mode}"] = latent.numpy()
    sampled = sample(setup.method(), rectifier, ROWS)
    rectifier["sampled_logits_eval"] = sampled.float().numpy()
    return {"segmenter": segmenter, "rectifier": rectifier}


def record_training(
    setup: Setup, given: dict, rectifier: dict, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the content of training_steps.npz.

    Args:
        setup: the recorded shapes and weights.
        given: images and class maps.
        rectifier: the content of rectifier.npz.
        random: source of noise and time steps.
    """
    golden = {
        "weak": given["image"],
        "strong": (given["image"] ** 0.7).round(2),
        "label": given["label"],
        "labelled": np.array(LABELLED),
        "names": np.array(NAMES),
        "noise_sampling": noise(random, ITERATIONS, ROWS),
    }
    for name in ("weak_to_label", "strong_to_weak"):
        golden[f"noise_{name}"] = noise(random, ITERATIONS, ROWS)
        golden[f"timestep_{name}"] = random.integers(10, size=(ITERATIONS, ROWS))
    method = setup.method(ITERATIONS)
    method.draws = draws = RecordedDraws(golden)
    optimizers = method.optimizers()
    batch = Batch(
        tensor(golden["weak"]), tensor(golden["strong"]), tensor(golden["label"])[:LABELLED]
    )
    values, segmenter_after, rectifier_after = [], [], []
    for step in range(ITERATIONS):
        draws.step = step
        logs = train_step(method.train(), optimizers, batch, step)
        values.append([float(logs[name]) for name in NAMES])
        method.eval()
        with torch.no_grad():
            segmenter_after.append(method.segmenter(batch.weak[:2]).float().numpy())
        rectifier_after.append(sample(method, rectifier, 2).float().numpy())
    return golden | {
        "values": np.array(values),
        "segmenter_logits_after": np.array(segmenter_after),
        "rectifier_sampled_logits_after": np.array(rectifier_after),
    }


def main() -> None:
    """Write the four files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    write_keys(folder)
    setup = Setup(folder)
    given = inputs(random)
    files = record_networks(setup, given, random)
    files["training_steps"] = record_training(setup, given, files["rectifier"], random)
    for name, arrays in files.items():
        np.savez_compressed(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
