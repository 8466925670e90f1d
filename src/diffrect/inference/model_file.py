"""A trained model as one file in the format safetensors, which holds tensors and text and no code.

The header of the file has what `predict` needs to know as JSON, a checksum of the weights, and the
model card.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from diffrect.checks import regular_file
from diffrect.data.fields import Fields
from diffrect.errors import InputError
from diffrect.json_files import parse_json
from diffrect.runs.model_state import ModelState, model_state
from diffrect.runs.names import MODEL_FILE_FORMAT

KEY, CARD_KEY = "diffrect", "model_card"
_FACTS = ("step", "config", "task", "network", "code")
_EXPECTED = "a model made by export"
_LONGEST_HEADER = 2**24  # bytes
_LONGEST_TEXT = 2**22  # characters


class ModelFile(NamedTuple):
    """The content of a file: the model, and its card in Markdown."""

    state: ModelState
    card: str


def model_bytes(state: ModelState, card: str) -> bytes:
    """Return the content of the file of a model; the same model and card make the same bytes."""
    from safetensors.torch import save

    content = save(_apart(state.predictor))
    facts = {
        "format": MODEL_FILE_FORMAT,
        **{name: value for name, value in state.to_dict().items() if name in _FACTS},
        "sha256": _digest(content),
    }
    # The library writes texts in any order.
    texts = {KEY: json.dumps(facts, sort_keys=True), CARD_KEY: card, "format": "pt"}
    start = 8 + _header_length(content)
    header = json.dumps({"__metadata__": texts, **json.loads(content[8:start])}).encode()
    header += b" " * (-len(header) % 8)  # the weights begin at a multiple of 8 bytes
    return len(header).to_bytes(8, "little") + header + content[start:]


def _apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of which no two share memory, as the format wants it.

    Modules of a network may share theirs.
    """
    places = {value.untyped_storage().data_ptr() for value in weights.values()}
    if len(places) == len(weights):
        return {name: value.contiguous() for name, value in weights.items()}
    return {name: value.clone().contiguous() for name, value in weights.items()}


def read_model_file(path: Path) -> ModelFile:
    """Return the model and the card in a file that `export` wrote.

    Raises:
        InputError: no such file, another one, one that has changed since, or one of a later
            version.
    """
    regular_file(path, _EXPECTED)
    try:
        content = path.read_bytes()
    except MemoryError:
        raise InputError(path, _EXPECTED, found="more bytes than there is memory") from None
    except OSError as error:
        raise InputError(path, _EXPECTED, reason=error.strerror or error) from None
    texts = Fields(_header(path, content).get("__metadata__", {}), path, "__metadata__")
    if KEY not in texts.values:
        raise InputError(path, _EXPECTED, found="a safetensors file of something else")
    try:
        fields = Fields(parse_json(texts.text(KEY, longest=_LONGEST_TEXT)), path)
    except ValueError as error:  # an InputError is one, too
        raise InputError(path, _EXPECTED, reason=error) from None
    if fields.get("format", None) != MODEL_FILE_FORMAT:
        raise InputError(
            path,
            f"a model of format {MODEL_FILE_FORMAT}",
            got=fields.get("format", None),
            hint="read it with the version of diffrect that wrote it, or a later one",
        )
    if fields.get("sha256", None) != _digest(content):
        raise InputError(path, "a model as export wrote it, its weights have changed")
    state = model_state({**fields.values, "predictor": _tensors(path, content)}, path)
    assert state is not None
    return ModelFile(state, texts.text(CARD_KEY, "", longest=_LONGEST_TEXT))


def _header(path: Path, content: bytes) -> Mapping[str, Any]:
    """Return the header of a safetensors file, checked as any JSON from outside."""
    length = _header_length(content)
    if not 2 <= length <= min(len(content) - 8, _LONGEST_HEADER):
        raise InputError(path, _EXPECTED, found="no header of a safetensors file")
    try:
        header = parse_json(content[8 : 8 + length].decode("utf-8"))
    except ValueError as error:
        raise InputError(path, _EXPECTED, reason=error) from None
    return Fields(header, path).values


def _tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    try:
        return load(content)
    except Exception as error:  # its own and torch's exceptions have no common base
        reason = " ".join(str(error).split())[:200]
        raise InputError(path, _EXPECTED, reason=reason) from None


def _digest(content: bytes) -> str:
    """Return the checksum of all weights in a file: of what follows the header."""
    start = 8 + _header_length(content)
    return hashlib.sha256(memoryview(content)[start:]).hexdigest()


def _header_length(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")
