"""Exported models, which ONNX Runtime runs in place of PyTorch."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffrect.data.fields import Fields
from diffrect.errors import InputError
from diffrect.json_files import parse_json

METADATA_KEY = "diffrect"
METADATA_FORMAT = 1
STRIDE = 16  # The sides of an exported network's input are multiples of this.


def require(*modules: str) -> None:
    """Check that optional dependencies are installed.

    Raises:
        InputError: one of them is not.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            expected = f"the package {module}, it is not installed"
            hint = f"pip install {' '.join(modules)}"
            raise InputError("ONNX", expected, hint=hint) from None


class OnnxNetwork(nn.Module):
    """An exported network that is called as PyTorch's is, on the CPU.

    Attributes:
        session: ONNX Runtime's session.
        metadata: the plain values that `export` wrote beside the weights.

    Raises:
        InputError: not a file that `export` wrote, or ONNX Runtime is not installed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        require("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait busily would delay what PyTorch does with the logits.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors
        if not path.is_file():
            raise InputError(path, "a model made by export", found="no such file")
        try:
            self.session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            text = self.session.get_modelmeta().custom_metadata_map[METADATA_KEY]
            self.metadata: Mapping[str, Any] = Fields(parse_json(text), path).values
        except InputError:
            raise
        except Exception as error:  # ONNX Runtime's own exceptions have no common base
            reason = " ".join(str(error).split())[:200]
            raise InputError(path, "a model made by export", reason=reason) from None
        if self.metadata.get("format") != METADATA_FORMAT:
            found = self.metadata.get("format")
            raise InputError(path, f"format {METADATA_FORMAT}", got=found)

    @property
    def has_one_size(self) -> bool:
        """Whether the network takes only slices of the size it was trained on."""
        return all(isinstance(side, int) for side in self.session.get_inputs()[0].shape[2:])

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, channels, H, W) of any size into logits (B, classes, H, W)."""
        height, width = images.shape[-2:]
        padded = images if self.has_one_size else F.pad(images, _to_stride(height, width))
        (logits,) = self.session.run(None, {"images": padded.float().numpy()})
        return torch.from_numpy(logits)[..., :height, :width]


def _to_stride(height: int, width: int) -> tuple[int, int, int, int]:
    """Return the padding to multiples of STRIDE, as `F.pad` takes it."""
    return (0, -width % STRIDE, 0, -height % STRIDE)
