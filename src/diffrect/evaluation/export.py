"""A trained segmenter as one file: with its card in the format safetensors, or as ONNX."""

from dataclasses import replace
from pathlib import Path

from diffrect.atomic import remove_unfinished, write_atomic
from diffrect.distributed.locks import sole_writer_of_file
from diffrect.errors import InputError
from diffrect.evaluation.card import model_card
from diffrect.inference.export import check_new, export_onnx
from diffrect.inference.model import Model
from diffrect.inference.model_file import model_bytes
from diffrect.runs.architecture import describe
from diffrect.runs.model_state import ModelState
from diffrect.runs.names import Checkpoint
from diffrect.runs.recognise import MODEL_SUFFIXES, check_is_run


def export(
    run: Path | str,
    path: Path | str,
    *,
    checkpoint: Checkpoint = "best",
    licence: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a RUN folder's segmenter as one file, from which `predict` needs nothing else.

    A file that ends in .safetensors holds the weights and text, and no code; its labels are those
    of the RUN, bit for bit. Its model card is in it, and beside it as Markdown. The networks of a
    cross-validation are one model, whose probabilities are their mean.

    A file that ends in .onnx is compared with PyTorch. Its input `images` is float32 (B, channels,
    H, W) with any B and any H and W that are multiples of 16 or, where another network takes the
    U-Net's place, those of the training; its output `logits` is float32 (B, classes, H, W). Batch
    norm of the U-Net is folded into the convolutions.

    Example:
        >>> import diffrect
        >>> file = diffrect.export("run", "model.safetensors", licence="CC-BY-4.0")
        >>> diffrect.Model.load(file).classes[0]
        'background'

    Args:
        run: folder made by `train`.
        path: file to write, ending in .safetensors or .onnx.
        checkpoint: see `evaluate`.
        licence: of the weights, for the card; such as CC-BY-4.0.
        overwrite: replace a file, and a card, that exist already.

    Returns:
        The file.

    Raises:
        InputError: no such checkpoint, a file that exists or that another process writes; for ONNX,
            a missing package, a network that a method made itself or that ONNX cannot hold, or
            results that differ from PyTorch's.
    """
    run, path = Path(run), Path(path)
    if path.suffix not in MODEL_SUFFIXES:
        raise InputError(path, f"a file name that ends in {' or '.join(MODEL_SUFFIXES[::-1])}")
    if path.suffix == ".onnx":
        if licence is not None:
            raise InputError("--licence", "a file that has a card, .safetensors", got=path)
        return export_onnx(run, path, checkpoint=checkpoint, overwrite=overwrite)
    card_file = path.with_suffix(".md")
    check_is_run(run, "copy the file and its card")
    _check_new(path, card_file, overwrite)
    model = Model.load(run, checkpoint=checkpoint, device="cpu")
    state = _state_of(model, run)
    card = model_card(run, model, path.name, checkpoint=checkpoint, licence=licence)
    content = model_bytes(state, card)
    with sole_writer_of_file(path):
        _check_new(path, card_file, overwrite)
        remove_unfinished(path.parent, path.name, card_file.name)
        write_atomic(path, content, verify=True)
        write_atomic(card_file, card)
    return path


def _check_new(path: Path, card: Path, overwrite: bool) -> None:
    for file in (path, card):
        check_new(file, overwrite)


def _state_of(model: Model, run: Path) -> ModelState:
    """Return what the file holds of a model.

    Raises:
        InputError: the average of networks, of which one is of a class of its own.
    """
    network = describe(model.network)
    if network is None and hasattr(model.network, "networks"):
        expected = "folds whose network is the U-Net, to export them as one model"
        raise InputError(run, expected, hint="export each fold")
    # A path says something of the machine that trained, and nothing to another.
    config, weights = replace(model.config, split_file=None), model.network.state_dict()
    return ModelState(model.step, config, model.task, model.code, network, weights, {})
