"""A trained segmenter as one ONNX file, for ONNX Runtime and whatever else reads ONNX.

It needs the optional dependencies: `pip install onnx onnxscript onnxruntime`.
"""

import copy
import json
import logging
import os
import warnings
from pathlib import Path

import numpy as np
import torch

from diffrect.atomic import SUFFIX, naming, remove_unfinished, sync_file
from diffrect.config import config_to_dict
from diffrect.distributed.locks import sole_writer_of_file
from diffrect.errors import InputError
from diffrect.inference.model import Model
from diffrect.inference.onnx import METADATA_FORMAT, METADATA_KEY, STRIDE, OnnxNetwork, require
from diffrect.networks.folding import fold_batch_norm
from diffrect.networks.own import OwnNetwork
from diffrect.networks.unet import UNet
from diffrect.runs.names import Checkpoint

TOLERANCE = 1e-3
"""Largest relative difference of logits between PyTorch and ONNX Runtime that is accepted."""


def export_onnx(
    run: Path,
    path: Path,
    *,
    checkpoint: Checkpoint = "best",
    overwrite: bool = False,
) -> Path:
    """Write a RUN folder's segmenter as ONNX and check it against PyTorch.

    Its metadata hold the configuration, the classes and the intensity normalisation.

    Args:
        run: folder made by `train`.
        path: file to write.
        checkpoint: see `evaluate`.
        overwrite: replace a file that exists already.

    Returns:
        The file.

    Raises:
        InputError: see `evaluation.export.export`.
    """
    require("onnx", "onnxscript", "onnxruntime")
    check_new(path, overwrite)
    model = Model.load(run, checkpoint=checkpoint, device="cpu")
    if not isinstance(model.network, UNet | OwnNetwork):
        kind = type(model.network).__name__
        raise InputError(run, f"unet or --network to export, its predictor is a {kind}")
    with sole_writer_of_file(path):
        check_new(path, overwrite)
        remove_unfinished(path.parent, path.name)
        partial = path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")
        try:
            with naming(path):
                _write(model, partial)
            _compare(model, OnnxNetwork(partial), path)
            sync_file(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def check_new(path: Path, overwrite: bool) -> None:
    """Check that a file may be written.

    Raises:
        InputError: it is there already.
    """
    if path.exists() and not overwrite:
        raise InputError(path, problem="exists already", hint="--overwrite replaces it")


def _write(model: Model, path: Path) -> None:
    import onnx

    network = fold_batch_norm(model.network).float()
    sides: dict[int, object] = {}
    height = width = model.size
    if _takes_any_size(model):
        height, width = 4 * STRIDE, 6 * STRIDE
        sides = {2: STRIDE * torch.export.Dim("rows"), 3: STRIDE * torch.export.Dim("columns")}
    images = torch.zeros(2, model.channels, height, width)
    # Silence remarks about packages that are not needed, and the exporter's about itself.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch"), **sides},),
        )
    assert program is not None
    proto = program.model_proto
    metadata = {
        "format": METADATA_FORMAT,
        "config": config_to_dict(model.config),
        "task": model.task.to_dict(),
        "step": model.step,
    }
    onnx.helper.set_model_props(proto, {METADATA_KEY: json.dumps(metadata)})
    onnx.save(proto, path)


def _takes_any_size(model: Model) -> bool:
    """Return whether the network takes slices of other sizes than those it was trained on."""
    return isinstance(model.network, UNet)


@torch.inference_mode()
def _compare(model: Model, exported: OnnxNetwork, path: Path) -> None:
    """Compare an exported model with PyTorch's on other sizes than it was traced with.

    Args:
        model: the trained model.
        exported: the same, exported.
        path: the file that is to be delivered, for the message.

    Raises:
        InputError: their logits differ by more than `TOLERANCE`.
    """
    network = copy.deepcopy(model.network).float()
    generator = torch.Generator().manual_seed(0)
    sizes = [(1, model.size, model.size), (3, model.size, model.size)]
    if _takes_any_size(model):
        sizes = [(1, STRIDE, 2 * STRIDE), (3, 5 * STRIDE, 4 * STRIDE)]
    for rows, height, width in sizes:
        images = torch.rand(rows, model.channels, height, width, generator=generator)
        expected = network(images).numpy()
        found = exported(images).numpy()
        largest = np.abs(expected - found).max() / max(1.0, np.abs(expected).max())
        if not largest <= TOLERANCE:
            expected = f"logits equal to PyTorch's to {TOLERANCE:g}"
            raise InputError(path, expected, got=f"{largest:g}")
